"""Groups of like texts, which the gold set is spread over where answers have no names."""

import json

import numpy as np
from django.conf import settings

from curation.groups import group_texts
from curation.models import QualityReport
from curation.services.scored import SEED, Scored
from jobs.progress import Progress
from labeling.models import Example
from projects.objects import open_object, put_object


def group_pool(scored: Scored, embeddings: np.ndarray, progress: Progress) -> None:
    """Groups of like texts among the pool, which the gold set is spread over; kept in the store by their hash."""
    pool = np.array([i for i, row in enumerate(scored.rows) if row.split == Example.Split.pool], dtype=np.intp)
    if not len(pool):
        return
    progress("Grouping texts", 0, 1)
    found = group_texts(embeddings[pool], seed=SEED)
    names = [f"{k + 1:02}: like “{' '.join(scored.rows[pool[row]].text.split())[:80]}”"
             for k, row in enumerate(found.central)]
    content = json.dumps({"names": names, "group_of": dict(zip(
        (str(scored.rows[row].pk) for row in pool), found.group.tolist(), strict=True))})
    scored.facts["groups"] = put_object(settings.GOLDPAN_OBJECTS, content.encode())


def groups_of(report: QualityReport) -> dict[int, str]:
    """Example id → the name of its group of like texts, for the pool of a report; {} where there are no groups."""
    if not (sha256 := report.job.result.get("groups")):
        return {}
    with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
        stored = json.load(file)
    return {int(pk): stored["names"][number] for pk, number in stored["group_of"].items()}
