"""Embeddings by text: a text is encoded once per encoder and found again by its hash."""

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from curation.encoder import normalised
from curation.models import Embedding, EmbeddingShard
from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import work_folder
from labeling.services.bulk import CHUNK, insert_ignoring_conflicts
from projects.objects import object_path, put_object

TEXTS_PER_SHARD = 100_000  # kept at once: what a killed worker has to do again
TEXTS_PER_PIECE = 4_096  # embedded at once, by one process or one node of a cluster
TEXTS = "texts.jsonl"  # in a job's folder
BLOCK = 65_536  # rows handed out at a time by `embedding_blocks`


@lru_cache(maxsize=4)
def encoder_name(dotted_path: str) -> str:
    """What the configured encoder calls itself; loads no model."""
    return str(import_string(dotted_path)().name)


def ensure_embeddings(job: Job, texts: dict[str, str], progress: Progress) -> int:
    """Encode the texts that have no embedding yet, in a subprocess; return how many there were.

    texts: content_sha256 → text. This is a cache: it may be filled by any attempt and by two jobs at once. Every
    TEXTS_PER_SHARD texts are kept as soon as they are done.
    """
    name = encoder_name(settings.GOLDPAN_ENCODER)
    contents = list(texts)
    places = _places(name, contents)
    missing = [contents[row] for row in np.flatnonzero(places.shard == 0)]
    for start in range(0, len(missing), TEXTS_PER_SHARD):
        chosen = missing[start:start + TEXTS_PER_SHARD]

        def of_all(stage: str, done: int, total: int, before: int = start) -> None:
            is_embedding = stage == "Embedding"
            progress(stage, before + done if is_embedding else done, len(missing) if is_embedding else total)

        _encode(job, name, {sha256: texts[sha256] for sha256 in chosen}, of_all)
    return len(missing)


def encode_once(job: Job, texts: Sequence[str], progress: Progress) -> np.ndarray:
    """Encode texts that are kept for a while only: neither they nor their vectors stay behind.

    Returns (n, d) float32 rows of length 1, in their order.
    """
    if not texts:
        return np.zeros((0, 1), dtype=np.float32)
    try:
        return normalised(np.load(_vectors_of(job, encoder_name(settings.GOLDPAN_ENCODER), texts, progress)))
    finally:
        shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)  # what a killed attempt left, too


def _encode(job: Job, name: str, texts: dict[str, str], progress: Progress) -> None:
    sha256 = put_object(settings.GOLDPAN_OBJECTS, _vectors_of(job, name, list(texts.values()), progress))
    with transaction.atomic():
        shard = EmbeddingShard.objects.create(encoder=name, sha256=sha256, n_rows=len(texts))
        insert_ignoring_conflicts(Embedding, ("encoder", "content_sha256", "shard_id", "row"),
                                  ((name, content, shard.pk, row) for row, content in enumerate(texts)))


def _vectors_of(job: Job, name: str, texts: Sequence[str], progress: Progress) -> Path:
    """A file in the job's folder with (n, d) float16 vectors of the texts."""
    folder = work_folder(job)
    with (folder / TEXTS).open("w") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
    run_child("curation.encoder", {
        "encoder": settings.GOLDPAN_ENCODER, "name": name, "texts_file": TEXTS,
        "kept_in": str(settings.GOLDPAN_DATA / "runtimes.json"), "shards": settings.GOLDPAN_BACKENDS,
        "texts_per_piece": TEXTS_PER_PIECE}, folder=folder, progress=progress)
    return folder / "embeddings.npy"


def load_embeddings(content_sha256s: Sequence[str]) -> np.ndarray:
    """Return (n, d) float32 rows of length 1, in the order asked for. Raises KeyError for a text never encoded."""
    blocks = list(embedding_blocks(content_sha256s))
    return np.concatenate(blocks) if blocks else np.zeros((0, 1), dtype=np.float32)


def embedding_blocks(content_sha256s: Sequence[str], block: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the same rows block by block, so that memory stays flat however many there are."""
    name = encoder_name(settings.GOLDPAN_ENCODER)
    files: dict[int, np.ndarray] = {}
    for start in range(0, len(content_sha256s), block):
        chosen = content_sha256s[start:start + block]
        places = _places(name, chosen)
        if not places.shard.all():
            raise KeyError(chosen[int(np.flatnonzero(places.shard == 0)[0])])
        new = set(np.unique(places.shard).tolist()) - files.keys()
        files |= {pk: np.load(object_path(settings.GOLDPAN_OBJECTS, sha256), mmap_mode="r", allow_pickle=False)
                  for pk, sha256 in EmbeddingShard.objects.filter(pk__in=new).values_list("pk", "sha256")}
        yield normalised(_gathered(files, places))  # float16 lost a little of the length


class _Places:
    """Where each of n texts is: the pk of its shard, 0 where it is not encoded, and its row there; (n,) ints."""

    def __init__(self, n: int) -> None:
        self.shard, self.row = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)


def _gathered(files: dict[int, np.ndarray], places: _Places) -> np.ndarray:
    shards = np.unique(places.shard)
    vectors = np.empty((len(places.shard), files[int(shards[0])].shape[1]), dtype=np.float16)
    for shard in shards.tolist():
        chosen = np.flatnonzero(places.shard == shard)
        in_order = chosen[np.argsort(places.row[chosen])]  # a file is read from its beginning to its end
        vectors[in_order] = files[shard][places.row[in_order]]
    return vectors


def _places(encoder: str, contents: Sequence[str]) -> _Places:
    places = _Places(len(contents))
    positions: dict[str, list[int]] = {}
    for position, content in enumerate(contents):
        positions.setdefault(content, []).append(position)
    distinct = list(positions)
    for start in range(0, len(distinct), CHUNK):
        for content, shard, row in Embedding.objects.filter(
                encoder=encoder, content_sha256__in=distinct[start:start + CHUNK]).values_list(
                "content_sha256", "shard_id", "row"):
            places.shard[positions[content]], places.row[positions[content]] = shard, row
    return places
