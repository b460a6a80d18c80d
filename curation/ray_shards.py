"""Pieces of work as tasks of a Ray cluster. The only module that imports ray, and it does so when it spreads.

The cluster is the one that RAY_ADDRESS names, else the one on this machine. Every node needs this code and the same
packages. Ray asks for no password: keep its ports inside a network that you trust.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from curation.shards import Work
from jobs.progress import Progress, silent

MAX_RETRIES = 5  # of a piece whose node or process died
WAIT_SECONDS = 1.0  # between two reports of progress, which are also how a cancelled job stops


def on_ray(work: Work, pieces: Sequence[Any], *, shared: Any, sizes: Sequence[int], stage: str,
           progress: Progress = silent) -> Iterator[tuple[int, Any]]:
    """A Spread over a Ray cluster: a piece a core, twice as many in flight as there are cores.

    A piece whose node dies is done again elsewhere; what it had answered by then is lost with it, so nothing counts
    twice. Raises ValueError if no cluster answers.
    """
    ray, is_ours = _connected()
    held = ray.put(shared)  # once, by this process: it survives whatever node dies
    task = ray.remote(_piece).options(num_cpus=1, max_retries=MAX_RETRIES, scheduling_strategy="SPREAD")
    waiting = iter(enumerate(pieces))
    n_in_flight = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    number_of: dict[Any, int] = {}
    n_done, n_all = 0, sum(sizes)
    try:
        while True:
            while len(number_of) < n_in_flight and (following := next(waiting, None)) is not None:
                number, piece = following
                number_of[task.remote(work, held, piece)] = number
            if not number_of:
                return
            for done in ray.wait(list(number_of), timeout=WAIT_SECONDS)[0]:
                number = number_of.pop(done)
                yield number, _result(ray, done)
                n_done += sizes[number]
            progress(stage, n_done, n_all)
    finally:
        for left in number_of:  # cancelled, or an error of one piece: nobody waits for the others
            ray.cancel(left, force=True)
        if is_ours:  # a worker lives long, and its next job may find another cluster
            ray.shutdown()


def _piece(work: Work, shared: Any, piece: Any) -> Any:
    return work(shared, piece, silent)


def _result(ray: Any, done: Any) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # what the work itself raised, as it would have here
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"a piece of work died {MAX_RETRIES + 1} times on the Ray cluster: {error}") from error


def _connected() -> tuple[Any, bool]:
    """Ray, connected, and whether this is what connected it."""
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        try:
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)  # RAY_ADDRESS goes before “auto”
        except ConnectionError:
            raise ValueError("No Ray cluster answers. Start one (ray start --head), set RAY_ADDRESS to where it is, or "
                             "leave GOLDPAN_BACKENDS empty to work on this machine.") from None
    return ray, is_ours
