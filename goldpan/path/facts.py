"""What is counted about a project for its home page: some thirty queries, none of which loads a text."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.urls import reverse

from curation.models import Approval, ApprovalRequest, Decision, ExampleCount, QualityReport, Snapshot
from curation.services.adjudication import adjudication_queue
from curation.services.approvals import n_red
from curation.services.discussions import n_asking
from curation.services.duplicates import groups_left
from curation.services.labels import Ballot, Vote, answers_of
from curation.services.outdated import outdated
from curation.services.review import ReviewCounts, review_counts
from curation.services.scoring import latest_report
from curation.services.snapshots import approval_obstacle
from jobs.models import Job
from labeling.models import Annotation, Annotator, Batch, Example, Upload
from labeling.services.batches import MIN_HELD_OUT_LABELS
from labeling.services.desks import Exchange, exchange_of
from projects.models import Project, Role
from projects.rights import MAY
from serving.services.duties import Duties, duties_of
from stats.agreement import alpha_interval
from stats.intervals import Interval
from training.models import Adapter, Evaluation, Run, Verdict
from training.services.champions import Champion, champion_of
from training.services.lineage import Stale, stale_in

MIN_AGREEMENT = 30  # examples with several labels, below which an interval says next to nothing
MAX_AGREEMENT = 5_000  # held-out examples, above which the home page would have to wait for it
MAX_BY_PARTS = 1_500  # the same where answers are compared field by field or span by span
PACE_DECISIONS = 50  # a curator's last decisions, from which their pace is told
PAUSE_SECONDS = 120  # a longer gap between two decisions is a pause, not work
SHOWN_JOBS = 30


@dataclass(frozen=True)
class HeldOut:
    """The votes on dev and test examples.

    n_ready: split → examples with enough blind labels and a majority. n_short: with too few labels.
    n_tied: with enough labels, no majority and no decision. agreement: alpha; None below MIN_AGREEMENT such examples,
    and where answers are not one label. joint: what several answers have when they settle a label.
    """

    n_ready: dict[str, int]
    n_short: int
    n_tied: int
    n_several: int
    agreement: Interval | None
    has_alpha: bool = True
    joint: str = "majority"


@dataclass(frozen=True)
class Facts:
    """All that the home page counts. `held_out` is None where there are too many held-out examples to look at.

    duplicates: groups that nobody has settled, by what they are. n_red: failing checks of a snapshot that waits.
    live: what waits for people at what serves; None while nothing does.
    """

    project: Project
    role: Role
    n_of_split: dict[str, int]
    uploads: list[Upload]
    n_labels: int
    n_labelled: int
    n_annotators: int
    exchange: Exchange | None
    n_batches: int
    report: QualityReport | None
    counts: ReviewCounts | None
    seconds_per_decision: float | None
    held_out: HeldOut | None
    snapshot: Snapshot | None
    approval: Approval | None
    obstacle: str
    n_decisions_since: int
    n_to_adjudicate: int
    n_outdated: int
    n_asking: int
    verdict: Verdict | None
    best_prompt: Evaluation | None
    lora: Run | None
    lora_evaluation: Evaluation | None
    champion: Champion | None
    jobs: list[Job]
    asked: ApprovalRequest | None
    stale: list[Stale]
    duplicates: dict[str, int]
    n_red: int
    live: Duties | None = None

    @property
    def n_examples(self) -> int:
        return sum(self.n_of_split.values())

    @property
    def n_held_out(self) -> int:
        return self.n_examples - self.n_of_split.get(Example.Split.pool, 0)

    @property
    def n_rejected(self) -> int:
        return sum(upload.n_bad for upload in self.uploads if upload.imported_at)

    @property
    def checked_upload(self) -> Upload | None:
        """The newest file, if it is checked and waits to be imported."""
        newest = self.uploads[0] if self.uploads else None
        return newest if newest and newest.n_good and not newest.imported_at else None

    def running(self, *kinds: str) -> Job | None:
        return next((job for job in self.jobs if job.is_active and job.kind in kinds), None)

    def may(self, action: str) -> bool:
        return self.role in MAY[action]

    @property
    def comparison_url(self) -> str:
        assert self.snapshot
        return reverse("training:comparison", args=[self.snapshot.pk])

    def url(self, name: str, query: str = "") -> str:
        return reverse(name, args=[self.project.pk]) + query


def facts_of(project: Project, user: User, role: Role) -> Facts:
    snapshot = Snapshot.objects.filter(project=project).select_related(
        "created_by", "approval__approver", "request__asked_by").first()
    approval = getattr(snapshot, "approval", None)
    if snapshot is not None:
        snapshot.project = project  # spares a query
    counts_of = list(ExampleCount.objects.filter(project=project))
    n_of_split = {count.split: count.n_examples for count in counts_of if count.n_examples}
    report = latest_report(project)
    counts = review_counts(report) if report else None
    return Facts(
        project=project, role=role, n_of_split=n_of_split,
        uploads=list(Upload.objects.filter(project=project).defer("bad_rows", "mapping")),
        n_labels=sum(count.n_labels for count in counts_of),
        n_labelled=sum(count.n_labelled for count in counts_of),
        n_annotators=Annotator.objects.filter(project=project).count(),
        exchange=exchange_of(project), n_batches=Batch.objects.filter(project=project).count(),
        report=report, counts=counts,
        seconds_per_decision=_pace(project, user) if counts and counts.flagged else None,
        held_out=_held_out(project, n_of_split), snapshot=snapshot, approval=approval,
        obstacle=approval_obstacle(snapshot, user) if snapshot and not approval else "",
        n_decisions_since=_n_decisions_since(project, snapshot.created_at) if snapshot else 0,
        n_to_adjudicate=len(adjudication_queue(project)), n_outdated=len(outdated(project)),
        n_asking=n_asking(project, user) if counts and counts.discuss else 0,
        jobs=list(Job.objects.filter(project=project)[:SHOWN_JOBS]),
        asked=getattr(snapshot, "request", None), stale=stale_in(project, snapshot),
        duplicates=groups_left(report) if report and report.n_clusters else {},
        n_red=n_red(snapshot) if snapshot and not approval else 0, live=duties_of(project),
        **_training(snapshot if approval else None))


def _n_decisions_since(project: Project, at: datetime) -> int:
    return Decision.objects.filter(example__project=project, created_at__gt=at).count()


def _pace(project: Project, user: User) -> float | None:
    """The median seconds between this person's last decisions, pauses left out; None from fewer than ten."""
    times = list(Decision.objects.filter(example__project=project, decided_by=user).order_by("-pk")
                 .values_list("created_at", flat=True)[:PACE_DECISIONS])
    gaps = [(later - earlier).total_seconds() for later, earlier in pairwise(times)]
    gaps = [gap for gap in gaps if gap <= PAUSE_SECONDS]
    return median(gaps) if len(gaps) >= 10 else None


def _held_out(project: Project, n_of_split: dict[str, int]) -> HeldOut | None:
    answers = answers_of(project)
    held_out = {Example.Split.dev, Example.Split.test}
    n_held_out = sum(n_of_split.get(split, 0) for split in held_out)
    if n_held_out > (MAX_BY_PARTS if answers.joint == "consensus" else MAX_AGREEMENT):
        return None
    votes: defaultdict[tuple[int, str, str], list[Vote]] = defaultdict(list)
    needs_text = project.task_type == "spans"
    columns = ("pk", "annotator_id", "value", "example_id", "example__split", *(("example__text",) * needs_text))
    for pk, annotator, value, example_id, split, *text in Annotation.objects.current().filter(
            example__project=project, example__split__in=held_out).values_list(*columns):
        source = text[0] if text else ""
        votes[example_id, split, source].append(Vote(pk, annotator, answers.label(value, source=source), value))
    enough = {(pk, split): Ballot(given, None, answers, text).has_blind_label
              for (pk, split, text), given in votes.items() if len(given) >= MIN_HELD_OUT_LABELS}
    tied = [pk for (pk, _), has_label in enough.items() if not has_label]
    decided = Decision.objects.current().filter(example_id__in=tied, verdict__in=Decision.SETTLED)
    settled = decided.count() if tied else 0
    several = [[vote.label for vote in given] for given in votes.values() if len(given) >= 2]
    return HeldOut(
        n_ready={split: sum(of == split and has_label for (_, of), has_label in enough.items()) for split in held_out},
        n_short=n_held_out - len(enough), n_tied=len(tied) - settled, n_several=len(several),
        has_alpha=answers.are_labels, joint=answers.joint,
        agreement=alpha_interval(_vote_counts(several), seed=0)
        if answers.are_labels and len(several) >= MIN_AGREEMENT else None)


def _vote_counts(votes: list[list[str]]) -> np.ndarray:
    """Return (n_items, K): how often each label was given to each item."""
    column = {label: k for k, label in enumerate(sorted({label for labels in votes for label in labels}))}
    counts = np.zeros((len(votes), len(column)), dtype=int)
    for row, labels in enumerate(votes):
        for label in labels:
            counts[row, column[label]] += 1
    return counts


def _training(snapshot: Snapshot | None) -> dict[str, Any]:
    """What has been tried on this snapshot: its verdict, the newest LoRA run, and how both did on the test rows."""
    if snapshot is None:
        return dict.fromkeys(("verdict", "best_prompt", "lora", "lora_evaluation", "champion"))
    verdict = Verdict.objects.filter(snapshot=snapshot).first()
    evaluation_of = {evaluation.run_id: evaluation for evaluation in
                     Evaluation.objects.filter(snapshot=snapshot, split=Example.Split.test)}
    lora = Run.objects.filter(snapshot=snapshot, kind__in=Run.ADAPTERS).select_related("job", "adapter").first()
    adapter = getattr(lora, "adapter", None)
    champion = None
    if adapter is not None and adapter.stage != Adapter.Stage.candidate:  # retired: the champion is another one
        is_it = adapter.stage == Adapter.Stage.champion
        champion = Champion(adapter.run, adapter) if is_it else champion_of(snapshot.project)
    return {"verdict": verdict, "best_prompt": evaluation_of.get(verdict.best_prompt_id) if verdict else None,
            "lora": lora, "lora_evaluation": evaluation_of.get(lora.pk) if lora else None,
            "champion": champion}
