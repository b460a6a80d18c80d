"""How far every snapshot has come on the way from approval to a champion, and its next step in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from curation.models import Approval, Snapshot
from jobs.models import Job
from projects.models import Project
from stats.intervals import Interval
from training.models import Adapter, Evaluation, Run, Verdict, Weighing
from training.services.champions import Champion, champion_of

KINDS = {  # kind of job → what is said while it waits or runs, and when it has failed
    "baseline": ("Prompts are being tried; the verdict follows.", "Trying the prompts failed"),
    "quote": ("A few steps are tried for a quote.", "The quote failed"),
    "train": ("An adapter is being trained; its evaluation follows.", "The training failed"),
    "evaluate": ("The adapter is being evaluated on the test rows.", "The evaluation failed"),
}


@dataclass(frozen=True)
class RunLine:
    """A run in a list. `score` is what it is judged by on the test rows, None where it has not looked at them."""

    run: Run
    adapter: Adapter | None
    score: Interval | None
    is_best_prompt: bool


@dataclass(frozen=True)
class SnapshotState:
    """A snapshot, its runs newest first, the jobs that wait, run or have failed, and what comes next.

    champion: of the project.
    """

    snapshot: Snapshot
    approval: Approval | None
    verdict: Verdict | None
    lines: list[RunLine]
    jobs: list[Job]
    next_step: str
    champion: Champion | None

    @property
    def is_approved(self) -> bool:
        return self.approval is not None and self.approval.decision == Approval.Choice.approved

    @property
    def is_busy(self) -> bool:
        return any(job.is_active for job in self.jobs)

    @property
    def scores(self) -> list[Interval]:
        return [line.score for line in self.lines if line.score]


def states_of(project: Project, snapshots: Sequence[Snapshot]) -> list[SnapshotState]:
    """The state of each of these snapshots of the project, in their order; the number of queries is fixed."""
    runs = list(Run.objects.filter(snapshot__in=snapshots).select_related("job", "adapter", "created_by"))
    tested = {e.run_id: e for e in Evaluation.objects.filter(run__in=runs, split="test").only(
        "run_id", "n", "n_right", "metric", "metrics")}
    verdicts = {verdict.snapshot_id: verdict for verdict in Verdict.objects.filter(snapshot__in=snapshots)}
    weighings = Weighing.objects.filter(verdict__in=list(verdicts.values())).order_by("pk")
    newest = {weighing.verdict_id: weighing for weighing in weighings}
    for verdict in verdicts.values():
        verdict.weighing = newest.get(verdict.pk)
    approvals = {approval.snapshot_id: approval
                 for approval in Approval.objects.filter(snapshot__in=snapshots).select_related("approver")}
    jobs, champion = _open_jobs(project, runs), champion_of(project)
    return [_state(snapshot, approvals.get(snapshot.pk), verdicts.get(snapshot.pk),
                   [run for run in runs if run.snapshot_id == snapshot.pk], tested, jobs.get(snapshot.pk, []), champion)
            for snapshot in snapshots]


def _state(snapshot: Snapshot, approval: Approval | None, verdict: Verdict | None, runs: Sequence[Run],
           tested: dict[int, Evaluation], jobs: list[Job], champion: Champion | None) -> SnapshotState:
    lines = [RunLine(run, getattr(run, "adapter", None),
                     tested[run.pk].measured.interval if run.pk in tested else None,
                     verdict is not None and run.pk == verdict.best_prompt_id) for run in runs]
    return SnapshotState(snapshot, approval, verdict, lines, jobs, _next_step(approval, verdict, lines, jobs, champion),
                         champion)


def _next_step(approval: Approval | None, verdict: Verdict | None, lines: Sequence[RunLine],
               jobs: Sequence[Job], champion: Champion | None) -> str:
    if approval is None:
        return "It waits for an admin who did not make it: approve it, or refuse it."
    if approval.decision != Approval.Choice.approved:
        return "It was refused, so nothing is trained on it."
    active = next((job for job in jobs if job.is_active), None)
    if active is not None:
        return KINDS[active.kind][0]
    if jobs:
        return f"{KINDS[jobs[0].kind][1]}: read why, then try again."
    if verdict is None:
        return "Try the prompt first: it is what any training has to beat."
    newest = next((line for line in lines if line.adapter), None)
    if newest is None:
        return f"{verdict.words} {verdict.step}"
    if newest.score is None:
        return f"{newest.adapter} has not been evaluated yet."
    assert newest.adapter is not None
    if champion is not None and newest.adapter.stage != Adapter.Stage.candidate:
        return f"{champion.title} is the champion. Freeze a new snapshot when there are new labels."
    return f"Read the comparison and decide whether {newest.adapter} becomes the champion."


def _open_jobs(project: Project, runs: Sequence[Run]) -> dict[int, list[Job]]:
    """Snapshot id → of every kind the newest job, where that waits, runs or has failed; newest first."""
    snapshot_of = {run.pk: run.snapshot_id for run in runs}
    newest: dict[tuple[int, str], Job] = {}
    for job in Job.objects.filter(project=project, kind__in=KINDS):
        snapshot = job.params.get("snapshot") or snapshot_of.get(job.params.get("run", 0))
        if snapshot is not None:
            newest.setdefault((snapshot, job.kind), job)
    found: dict[int, list[Job]] = {}
    for (snapshot, _), job in newest.items():
        if job.is_active or job.state == Job.State.failed:
            found.setdefault(snapshot, []).append(job)
    return found
