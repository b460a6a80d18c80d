"""Small projects of every type of task, each with an approved snapshot, for tests and for drills."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from curation.models import ExampleScore, QualityReport, Snapshot
from curation.services.approvals import judged_checks, override_check
from curation.services.gold_sets import gold_set_of, save_rule
from curation.services.snapshots import approve_snapshot, start_freeze
from jobs import services as jobs
from jobs.models import Job
from labeling.models import Annotation, Annotator, Example
from labeling.task_types import task_type
from projects.models import Project, Role
from projects.schema import METRICS
from projects.services import add_member, create_project

CITIES = ["Lima", "Oslo", "Rome", "Cairo", "Quito", "Paris", "Delhi"]
MOODS = {"late": "has still not come, I have been waiting for weeks", "broken": "came in pieces and is of no use",
         "praise": "arrived early and is lovely, thank you"}
NAMES = list(MOODS)
LABELS = {"labels": [{"name": "late", "description": "did not come in time"},
                     {"name": "broken", "description": "does not work"}, {"name": "praise", "description": "is happy"}]}
RECORD = {"json_schema": {"type": "object", "required": ["city", "parcel"], "properties": {
    "city": {"type": "string"}, "parcel": {"type": "integer"}, "topic": {"enum": NAMES}}}}


def mood(n: int) -> str:
    return NAMES[n * 5 % 3]


def city(n: int) -> str:
    return CITIES[n % 7]


def number(n: int) -> int:
    return 1000 + n * 7919 % 9000


def letter(n: int) -> str:
    return f"My parcel {number(n)} to {city(n)} {MOODS[mood(n)]}."


def reply(n: int) -> str:
    said = {"late": "We look for it today", "broken": "We send a new one today", "praise": "Thank you, too"}[mood(n)]
    return f"{said}: parcel {number(n)}, {city(n)}."


def sides(n: int) -> dict[str, str]:
    good, bad = reply(n), "No."
    return {"left": good, "right": bad} if n % 2 else {"left": bad, "right": good}


def span(n: int) -> list[dict[str, Any]]:
    start = letter(n).index(city(n))
    return [{"start": start, "end": start + len(city(n)), "label": "CITY"}]


@dataclass(frozen=True)
class Kind:
    """A type of task: its schema, what people were told; of example n its right answer, and what it shows beside."""

    name: str
    schema: dict[str, Any]
    instructions: str
    right: Callable[[int], Any]
    data: Callable[[int], dict[str, Any]] = field(default=lambda n: {})


KINDS = {kind.name: kind for kind in (
    Kind("classification", LABELS, "What is the message about?", mood),
    Kind("multilabel", LABELS, "What is the message about?", lambda n: sorted({mood(n), NAMES[n % 2]})),
    Kind("response", {"max_chars": 300}, "Answer the customer in one short sentence.", reply),
    Kind("extraction", RECORD, "Read the message.", lambda n: {"city": city(n), "parcel": number(n), "topic": mood(n)}),
    Kind("preference", {"allow_tie": False}, "Choose the answer that helps the customer.",
         lambda n: "left" if n % 2 else "right", sides),
    Kind("spans", {"labels": [{"name": "CITY"}]}, "Mark every city.", span),
    Kind("chat", {}, "Answer the customer in one short sentence.", reply,
         lambda n: {"messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"},
                                 {"role": "user", "content": letter(n)}]}),
)}


def completion(kind: Kind, n: int) -> str:
    return task_type(kind.name).to_completion(kind.right(n), source=letter(n))


def approved(kind: Kind, *, admin: User, curator: User, n_pool: int, n_dev: int, n_test: int,
             target: float = 0.8) -> Snapshot:
    """A project of this kind whose pool, dev and test examples all have the right answer, frozen and approved."""
    project = create_project(name=f"Letters, {kind.name}", task_type=kind.name, schema=kind.schema, created_by=admin,
                             instructions=kind.instructions, target_metric=METRICS[kind.name], target_value=target,
                             split_salt=kind.name)
    add_member(project, curator, Role.curator, by=admin)
    _write_examples(project, kind, {"pool": n_pool, "dev": n_dev, "test": n_test})
    save_rule(gold_set_of(project), size=n_pool, min_quality=0, min_per_label=1, allow_flagged=True, seed=0, by=curator)
    job = start_freeze(project, by=curator)
    jobs.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    snapshot = Snapshot.objects.get(pk=job.result["snapshot"])
    for judged in judged_checks(snapshot):
        if not judged.is_green:
            override_check(snapshot, name=judged.check.name, n=judged.check.n, reason="A small test.", by=admin)
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=admin)
    return snapshot


def _write_examples(project: Project, kind: Kind, sizes: dict[str, int]) -> None:
    people = [Annotator.objects.create(project=project, name=name) for name in ("mira", "jon", "kim")]
    before, total = timezone.now(), sum(sizes.values())
    report = QualityReport.objects.create(
        project=project, encoder="hashing 3-grams", n_examples=total, n_scored=sizes["pool"], n_issues=0, n_clusters=0,
        n_crossing=0, duplicate_threshold=0.95, job=Job.objects.create(
            project=project, kind="score", title="Scored", state="succeeded", finished_at=timezone.now()))
    for n, split in enumerate(split for split, size in sizes.items() for _ in range(size)):
        example = Example.objects.create(
            project=project, key=f"k{n:03}", text=letter(n), data=kind.data(n), split=split,
            content_sha256=f"{kind.name}{n}".encode().hex()[:64].ljust(64, "0"), group=str(n))
        Annotation.objects.bulk_create(Annotation(
            example=example, annotator=person, value=kind.right(n), source="file", instructions_version=1,
            created_at=before) for person in people)
        ExampleScore.objects.create(report=report, example=example, n_labels=3, cluster=n, cluster_size=1,
                                    label=completion(kind, n) if split == "pool" else "",
                                    label_quality=0.9 if split == "pool" else None)
