"""A small scored project, written by hand, so that every figure on a page can be checked."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from curation.models import ExampleScore, QualityReport
from jobs.models import Job
from labeling.models import Annotation, Annotator, Example
from projects.models import Project

N_POOL, N_DEV, N_TEST = 24, 6, 9


@dataclass
class Scored:
    """Pool examples p00 … p23 are labelled by mira in turn negative, neutral, positive; p00 to p03 look wrong, worst
    first, and the model would call them positive; jon disagrees on p02 and p05; p06 repeats p07; p08 repeats a test
    example. Dev d0 … d5 and test t0 … t8 have three equal labels each.
    """

    project: Project
    report: QualityReport
    examples: dict[str, Example]

    def score(self, key: str, report: QualityReport | None = None) -> ExampleScore:
        return ExampleScore.objects.get(report=report or self.report, example=self.examples[key])


@pytest.fixture
def scored(project: Project, alice: User) -> Scored:
    keys = ([(f"p{i:02}", "pool") for i in range(N_POOL)] + [(f"d{i}", "dev") for i in range(N_DEV)]
            + [(f"t{i}", "test") for i in range(N_TEST)])
    examples = {key: new_example(project, key, split) for key, split in keys}
    for number, (key, split) in enumerate(keys):
        label = project.labels[number % 3]
        for name in ("mira",) if split == "pool" else ("mira", "jon", "kim"):
            annotate(examples[key], name, label)
    for key in ("p02", "p05"):
        annotate(examples[key], "jon", "neutral" if project.labels[int(key[1:]) % 3] != "neutral" else "positive")
    return Scored(project, new_report(project, alice, examples), examples)


def new_example(project: Project, key: str, split: str, **more: Any) -> Example:
    fields = {"text": f"This is text {key}.", "data": {}, "group": key, "split": split,
              "content_sha256": hashlib.sha256(key.encode()).hexdigest(), **more}
    return Example.objects.create(project=project, key=key, **fields)


def annotate(example: Example, name: str, label: str) -> Annotation:
    annotator, _ = Annotator.objects.get_or_create(project=example.project, name=name)
    return Annotation.objects.create(example=example, annotator=annotator, value=label, seconds=14, source="file",
                                     instructions_version=1, created_at=timezone.now())


def new_job(project: Project, by: User, kind: str, state: str = Job.State.succeeded) -> Job:
    ended = None if state in Job.ACTIVE else timezone.now()
    return Job.objects.create(project=project, kind=kind, title=f"A {kind} job", state=state, requested_by=by,
                              started_at=timezone.now(), finished_at=ended)


def new_report(project: Project, by: User, examples: dict[str, Example], **more: Any) -> QualityReport:
    fields = {"encoder": "hashing", "n_examples": len(examples), "n_scored": N_POOL, "n_issues": 4, "n_clusters": 2,
              "n_crossing": 1, "duplicate_threshold": 0.9, "accuracy": 0.75, "majority_share": 1 / 3, **more}
    report = QualityReport.objects.create(project=project, job=new_job(project, by, "score"), **fields)
    cluster_of = {key: number for number, key in enumerate(examples)}
    cluster_of["p07"], cluster_of["p08"] = cluster_of["p06"], cluster_of["t0"]
    is_hidden = bool(report.hidden_because)
    ExampleScore.objects.bulk_create([
        score_of(report, examples, key, cluster, is_scored=key[0] == "p" and not is_hidden)
        for key, cluster in cluster_of.items()])
    return report


def score_of(report: QualityReport, examples: dict[str, Example], key: str, cluster: int, *,
             is_scored: bool) -> ExampleScore:
    number, is_flagged = int(key[1:]), key in ("p00", "p01", "p02", "p03")
    label = report.project.labels[number % 3] if key[0] == "p" else ""
    score = ExampleScore(report=report, example=examples[key], cluster=cluster, label=label, n_labels=1,
                         cluster_size=2 if key in ("p06", "p07", "p08", "t0") else 1, crosses_split=key == "p08")
    if is_scored:
        score.label_quality = 0.02 + number / 25
        score.is_label_issue = is_flagged
        score.predicted_label = "positive" if is_flagged else label
        score.label_probability, score.predicted_probability = (0.02, 0.91) if is_flagged else (0.9, 0.9)
        score.annotator_agreement = 0.5 if key in ("p02", "p05") else None
        score.neighbours = [[examples["p11"].pk, 0.95], [examples["p14"].pk, 0.8]]
        score.reasons = ["The label looks wrong to a model that has not seen it."] if is_flagged else []
    return score
