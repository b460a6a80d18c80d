"""Work in pieces that do not need each other: embedding texts, comparing blocks of rows.

What spreads it is one callable named in settings (GOLDPAN_BACKENDS). `here` does it in this process, one piece after
the other; `curation.ray_shards.on_ray` gives it to a cluster. The function is the same, so the results are.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from jobs.progress import Progress, silent

Work = Callable[[Any, Any, Progress], Any]  # shared, piece, progress → result; at the top of a module, and pure


class Spread(Protocol):
    """Does `work(shared, piece, progress)` for every piece and yields (the piece's number, its result).

    Every piece is yielded exactly once, in whatever order they are finished, also where a machine dies meanwhile.
    sizes: how much each piece is in units that people know, for progress(stage, done, total).
    An error of the work's own is raised as it is; a piece whose machine keeps dying raises RuntimeError.
    """

    def __call__(self, work: Work, pieces: Sequence[Any], *, shared: Any, sizes: Sequence[int], stage: str,
                 progress: Progress = silent) -> Iterator[tuple[int, Any]]: ...


def here(work: Work, pieces: Sequence[Any], *, shared: Any, sizes: Sequence[int], stage: str,
         progress: Progress = silent) -> Iterator[tuple[int, Any]]:
    """A Spread over nothing: one piece after the other in this process."""
    n_before, n_all = 0, sum(sizes)

    def of_all(stage: str, done: int, total: int) -> None:
        progress(stage, n_before + done, n_all)

    for number, (piece, size) in enumerate(zip(pieces, sizes, strict=True)):
        yield number, work(shared, piece, of_all)
        n_before += size
        progress(stage, n_before, n_all)


def shards_of(dotted_path: str) -> Spread:
    """The Spread that a dotted path names."""
    module, _, name = dotted_path.rpartition(".")
    spread: Spread = getattr(importlib.import_module(module), name)
    return spread
