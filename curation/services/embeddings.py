"""Embeddings by text: a text is encoded once per encoder and found again by its hash."""

import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from curation.models import Embedding, EmbeddingShard
from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import work_folder
from labeling.services.bulk import CHUNK, insert_ignoring_conflicts
from projects.objects import object_path, put_object


@lru_cache(maxsize=4)
def encoder_name(dotted_path: str) -> str:
    """What the configured encoder calls itself; loads no model."""
    return str(import_string(dotted_path)().name)


def ensure_embeddings(job: Job, texts: dict[str, str], progress: Progress) -> int:
    """Encode the texts that have no embedding yet, in a subprocess; return how many there were.

    texts: content_sha256 → text. This is a cache: it may be filled by any attempt and by two jobs at once.
    """
    name = encoder_name(settings.GOLDPAN_ENCODER)
    known = _places(name, list(texts))
    missing = [sha256 for sha256 in texts if sha256 not in known]
    if not missing:
        return 0
    folder = work_folder(job)
    (folder / "texts.jsonl").write_text("".join(json.dumps(texts[sha256]) + "\n" for sha256 in missing))
    run_child("curation.encoder", {"encoder": settings.GOLDPAN_ENCODER, "texts_file": "texts.jsonl"},
              folder=folder, progress=progress)
    sha256 = put_object(settings.GOLDPAN_OBJECTS, folder / "embeddings.npy")
    with transaction.atomic():
        shard = EmbeddingShard.objects.create(encoder=name, sha256=sha256, n_rows=len(missing))
        insert_ignoring_conflicts(Embedding, ("encoder", "content_sha256", "shard_id", "row"),
                                  ((name, content, shard.pk, row) for row, content in enumerate(missing)))
    return len(missing)


def load_embeddings(content_sha256s: Sequence[str]) -> np.ndarray:
    """Return (n, d) float32 rows of length 1, in the order asked for. Raises KeyError for a text never encoded."""
    places = _places(encoder_name(settings.GOLDPAN_ENCODER), list(dict.fromkeys(content_sha256s)))
    shards = {pk: np.load(object_path(settings.GOLDPAN_OBJECTS, sha256), mmap_mode="r", allow_pickle=False)
              for pk, sha256 in EmbeddingShard.objects.filter(pk__in={shard for shard, _ in places.values()})
              .values_list("pk", "sha256")}
    if not shards:
        return np.zeros((0, 1), dtype=np.float32)
    vectors = np.empty((len(content_sha256s), next(iter(shards.values())).shape[1]), dtype=np.float32)
    for position, content in enumerate(content_sha256s):
        shard, row = places[content]
        vectors[position] = shards[shard][row]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # float16 lost a little of the length


def _places(encoder: str, contents: list[str]) -> dict[str, tuple[int, int]]:
    """content_sha256 → (shard, row) of those that are encoded."""
    found: dict[str, tuple[int, int]] = {}
    for start in range(0, len(contents), CHUNK):
        for content, shard, row in Embedding.objects.filter(
                encoder=encoder, content_sha256__in=contents[start:start + CHUNK]).values_list(
                "content_sha256", "shard_id", "row"):
            found[content] = (shard, row)
    return found
