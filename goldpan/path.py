"""Where a project stands: the seven steps from texts to a model in use, and the one thing to do next.

1. `facts_of` counts: about twenty queries, none of which loads a text.
2. `turn_of`, `steps_of` and `open_items` put the counts into words and ask the database for nothing.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any, Literal

import numpy as np
from django.contrib.auth.models import User
from django.db.models import Count
from django.urls import reverse

from curation.models import Approval, Decision, QualityReport, Snapshot
from curation.services.labels import majority
from curation.services.review import ReviewCounts, review_counts
from curation.services.scoring import latest_report
from curation.services.snapshots import MIN_BLIND_LABELS, approval_obstacle
from jobs.models import Job
from labeling.models import Annotation, Annotator, Example, LabelStudioLink, Upload
from projects.models import Project, Role
from projects.rights import MAY
from projects.wording import count_words, duration_words, percent_words
from stats.agreement import alpha_interval
from stats.intervals import Interval
from training.models import Adapter, Evaluation, Run, Verdict

MIN_AGREEMENT = 30  # examples with several labels, below which an interval says next to nothing
MAX_AGREEMENT = 5_000  # held-out examples, above which the home page would have to wait for it
RELIABLE, TENTATIVE = 0.80, 0.667  # marks for alpha: sound conclusions from the one, none below the other
PACE_DECISIONS = 50  # a curator's last decisions, from which their pace is told
PAUSE_SECONDS = 120  # a longer gap between two decisions is a pause, not work
SHOWN_JOBS = 30

StepName = Literal["Import", "Label", "Review", "Snapshot", "Prompt", "Train", "Live"]
STEPS: tuple[StepName, ...] = ("Import", "Label", "Review", "Snapshot", "Prompt", "Train", "Live")


@dataclass(frozen=True)
class HeldOut:
    """The votes on dev and test examples.

    n_ready: split → examples with enough blind labels and a majority. n_short: with too few labels.
    n_tied: with enough labels, no majority and no decision. agreement: None below MIN_AGREEMENT such examples.
    """

    n_ready: dict[str, int]
    n_short: int
    n_tied: int
    n_several: int
    agreement: Interval | None


@dataclass(frozen=True)
class Facts:
    """All that the home page counts. `held_out` is None where there are too many held-out examples to look at."""

    project: Project
    role: Role
    n_of_split: dict[str, int]
    uploads: list[Upload]
    n_labels: int
    n_labelled: int
    n_annotators: int
    link: LabelStudioLink | None
    report: QualityReport | None
    counts: ReviewCounts | None
    seconds_per_decision: float | None
    held_out: HeldOut | None
    snapshot: Snapshot | None
    approval: Approval | None
    obstacle: str
    n_decisions_since: int
    verdict: Verdict | None
    best_prompt: Evaluation | None
    lora: Run | None
    lora_evaluation: Evaluation | None
    adapter: Adapter | None
    jobs: list[Job]

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
    snapshot = Snapshot.objects.filter(project=project).select_related("created_by", "approval__approver").first()
    approval = getattr(snapshot, "approval", None)
    if snapshot is not None:
        snapshot.project = project  # spares a query
    labels = Annotation.objects.current().filter(annotator__project=project).aggregate(
        n=Count("pk"), n_examples=Count("example_id", distinct=True))
    n_of_split = dict(Example.objects.filter(project=project).order_by().values_list("split").annotate(n=Count("pk")))
    report = latest_report(project)
    counts = review_counts(report) if report else None
    return Facts(
        project=project, role=role, n_of_split=n_of_split,
        uploads=list(Upload.objects.filter(project=project).defer("bad_rows", "mapping")),
        n_labels=labels["n"], n_labelled=labels["n_examples"],
        n_annotators=Annotator.objects.filter(project=project).count(),
        link=LabelStudioLink.objects.filter(project=project).first(),
        report=report, counts=counts,
        seconds_per_decision=_pace(project, user) if counts and counts.flagged else None,
        held_out=_held_out(project, n_of_split), snapshot=snapshot, approval=approval,
        obstacle=approval_obstacle(snapshot, user) if snapshot and not approval else "",
        n_decisions_since=_n_decisions_since(project, snapshot.created_at) if snapshot else 0,
        jobs=list(Job.objects.filter(project=project)[:SHOWN_JOBS]),
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
    held_out = {Example.Split.dev, Example.Split.test}
    n_held_out = sum(n_of_split.get(split, 0) for split in held_out)
    if n_held_out > MAX_AGREEMENT:
        return None
    votes: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for pk, split, label in Annotation.objects.current().filter(
            example__project=project, example__split__in=held_out).values_list(
            "example_id", "example__split", "value"):
        votes[pk, split].append(str(label))
    enough = {row: majority(labels) for row, labels in votes.items() if len(labels) >= MIN_BLIND_LABELS}
    tied = [pk for (pk, _), label in enough.items() if label is None]
    decided = Decision.objects.current().filter(example_id__in=tied, verdict__in=Decision.SETTLED)
    settled = decided.count() if tied else 0
    several = [labels for labels in votes.values() if len(labels) >= 2]
    return HeldOut(
        n_ready={split: sum(of == split and label is not None for (_, of), label in enough.items())
                 for split in held_out},
        n_short=n_held_out - len(enough), n_tied=len(tied) - settled, n_several=len(several),
        agreement=alpha_interval(_vote_counts(several), seed=0) if len(several) >= MIN_AGREEMENT else None)


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
        return dict.fromkeys(("verdict", "best_prompt", "lora", "lora_evaluation", "adapter"))
    verdict = Verdict.objects.filter(snapshot=snapshot).first()
    evaluation_of = {evaluation.run_id: evaluation for evaluation in
                     Evaluation.objects.filter(snapshot=snapshot, split=Example.Split.test)}
    lora = Run.objects.filter(snapshot=snapshot, kind=Run.Kind.lora).select_related("job", "adapter").first()
    return {"verdict": verdict, "best_prompt": evaluation_of.get(verdict.best_prompt_id) if verdict else None,
            "lora": lora, "lora_evaluation": evaluation_of.get(lora.pk) if lora else None,
            "adapter": getattr(lora, "adapter", None)}


# What to do next

@dataclass(frozen=True)
class Action:
    """A button: a link, or where it changes something at once a POST. `key` presses it."""

    words: str
    url: str
    key: str = ""
    is_post: bool = False


@dataclass(frozen=True)
class Turn:
    """The one thing to do next, in the step that it belongs to; `action` is None where there is only waiting."""

    step: StepName
    headline: str
    detail: str = ""
    action: Action | None = None
    second: Action | None = None
    is_end: bool = False


def turn_of(facts: Facts) -> Turn:
    looks: tuple[Callable[[Facts], Turn | None], ...] = (
        _import, _label, _score, _review, _freeze, _approve, _baseline, _decide, _train, _compare)
    return next(turn for look in looks if (turn := look(facts)))


def _wait(step: StepName, job: Job, then: str) -> Turn:
    return Turn(step, f"{job.title}: nothing to do until it ends.", then,
                Action("Watch it", reverse("jobs:job", args=[job.pk])))


def _import(facts: Facts) -> Turn | None:
    if facts.n_examples:
        return None
    if job := facts.running("import"):
        return _wait("Import", job, "Then the examples can be labelled.")
    if upload := facts.checked_upload:
        bad = f", {count_words(upload.n_bad)} are not" if upload.n_bad else ""
        return Turn("Import", f"{upload.name} is checked: {count_words(upload.n_good)} rows are good{bad}.",
                    "Nothing is imported yet.",
                    Action("Look and import", reverse("labeling:upload", args=[upload.pk]), "i"))
    return Turn("Import", "Bring the texts that should be labelled.",
                "A CSV, TSV or JSON Lines file, with labels if there are some already. You see what was understood "
                "before anything is imported.",
                Action("Import examples", facts.url("labeling:import"), "i"))


def _label(facts: Facts) -> Turn | None:
    if facts.n_labels:
        return None
    if job := facts.running("push", "import", "pull"):
        return _wait("Label", job, "Then people can label, or go on labelling.")
    if facts.link and facts.link.state != LabelStudioLink.State.ok:
        return Turn("Label", f"Label Studio: {facts.link.get_state_display()}.", facts.link.message,
                    Action("Try again", facts.url("labeling:pull"), is_post=True),
                    Action("Import labels instead", facts.url("labeling:import")))
    if facts.link:
        return Turn("Label", "Examples are in Label Studio, and no answer has come back yet.",
                    "Answers arrive by themselves; fetching them now does no harm.",
                    Action("Fetch answers", facts.url("labeling:pull"), is_post=True),
                    Action("Send more examples", facts.url("labeling:example-list", "?there=no")))
    return Turn("Label", f"{count_words(facts.n_examples)} examples, and none is labelled yet.",
                "Send them to Label Studio, or import labels that exist already.",
                Action("Choose what to send", facts.url("labeling:example-list", "?there=no"), "p"),
                Action("Import labels", facts.url("labeling:import")))


def _score(facts: Facts) -> Turn | None:
    if (job := facts.running("score")) and not facts.snapshot:
        return _wait("Review", job, "Then the labels that look wrong can be reviewed, worst first.")
    if facts.report:
        return None
    return Turn("Review", f"{count_words(facts.n_labels)} labels are there. Which of them look wrong?",
                "Scoring reads every text, holds each label against its neighbours and finds repeated texts.",
                Action(f"Score {count_words(facts.n_examples)} examples", facts.url("curation:score"), "s",
                       is_post=True))


def _review(facts: Facts) -> Turn | None:
    assert facts.report and facts.counts
    n = facts.counts.flagged
    if not n or (facts.snapshot and facts.snapshot.report_id == facts.report.pk):
        return None  # whoever froze with some left has decided that it is enough
    pace = (f"At your pace so far, {duration_words(facts.seconds_per_decision)} each, that is about "
            f"{duration_words(60 * max(1, round(n * facts.seconds_per_decision / 60)))}."
            if facts.seconds_per_decision else "The worst come first, with a suggestion and the reasons for each.")
    return Turn("Review", f"{count_words(n)} of {count_words(facts.report.n_scored)} labels look wrong.", pace,
                Action(f"Review {count_words(n)} example{'' if n == 1 else 's'}", facts.url("curation:review"), "r"),
                Action("Why these?", facts.url("curation:quality")))


def _freeze(facts: Facts) -> Turn | None:
    if job := facts.running("freeze"):
        return _wait("Snapshot", job, "Then an admin approves the snapshot.")
    if facts.snapshot:
        return None
    if facts.held_out and not all(facts.held_out.n_ready.values()):
        split = next(split for split, n in sorted(facts.held_out.n_ready.items()) if not n)
        return Turn("Label", f"No {split} example has {MIN_BLIND_LABELS} labels with a majority yet.",
                    f"The held-out examples judge every prompt and model, so {MIN_BLIND_LABELS} people label each of "
                    "them blind before anything can be frozen.",
                    Action("See the held-out examples", facts.url("labeling:example-list", f"?split={split}"), "p"),
                    Action("Import labels", facts.url("labeling:import")))
    said = facts.report.hidden_because if facts.report and facts.report.hidden_because else ""
    headline = "No label can be called wrong by a model yet." if said else "Nothing that looked wrong is left."
    return Turn("Snapshot", f"{headline} Choose the gold set and freeze it.", said,
                Action("Choose the gold set", facts.url("curation:gold-set"), "g"))


def _approve(facts: Facts) -> Turn | None:
    snapshot, approval = facts.snapshot, facts.approval
    assert snapshot
    url = reverse("curation:snapshot-detail", args=[snapshot.pk])
    if approval is None:
        headline = (f"{snapshot} waits for an admin who did not make it." if facts.obstacle else
                    f"{snapshot} waits for you: read it, then approve or refuse it.")
        return Turn("Snapshot", headline, f"{_rows_of(snapshot)}, frozen by {snapshot.created_by}. {facts.obstacle}",
                    Action(f"Read {str(snapshot).lower()}", url, "s"))
    if approval.decision == Approval.Choice.refused:
        why = f" “{approval.comment}”" if approval.comment else ""
        return Turn("Snapshot", f"{approval.approver} refused {str(snapshot).lower()}.{why}",
                    "Change what has to change, then freeze again.",
                    Action("Change the gold set", facts.url("curation:gold-set"), "g"),
                    Action(f"Read {str(snapshot).lower()}", url))
    return None


def _rows_of(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    return (f"{count_words(counts['train'])} rows to train on, {count_words(counts['dev'])} to choose by, "
            f"{count_words(counts['test'])} to judge on")


def _baseline(facts: Facts) -> Turn | None:
    assert facts.snapshot
    if facts.verdict:
        return None
    if job := facts.running("baseline"):
        return _wait("Prompt", job, "Then you read whether fine-tuning is worth it at all.")
    return Turn("Prompt", f"{facts.snapshot} is approved. Try the prompt first.",
                "It is what any training has to beat, on the same held-out rows; often it is enough.",
                Action("Run the baseline", reverse("training:baseline", args=[facts.snapshot.pk]), "b", is_post=True))


def _decide(facts: Facts) -> Turn | None:
    verdict = facts.verdict
    if facts.lora or not verdict:
        return None
    read = Action("Read the evidence", facts.comparison_url, "e")
    if verdict.outcome == Verdict.Outcome.prompt_ok:
        return Turn("Prompt", verdict.words, verdict.next_step, read, is_end=True)
    if facts.may("train"):
        return Turn("Train", verdict.words, verdict.next_step,
                    Action("Train an adapter", reverse("training:train", args=[verdict.snapshot_id]), "t"), read)
    return Turn("Train", verdict.words, f"{verdict.next_step} An admin starts the training.", read)


def _train(facts: Facts) -> Turn | None:
    lora = facts.lora
    assert lora
    if facts.lora_evaluation:
        return None
    if job := facts.running("train", "evaluate"):
        return _wait("Train", job, "Then adapter and prompt are compared on the same held-out rows.")
    url = reverse("jobs:job", args=[lora.job_id])
    if lora.job.state in (Job.State.failed, Job.State.cancelled):
        return Turn("Train", f"The training {'failed' if lora.job.state == Job.State.failed else 'was cancelled'}.",
                    lora.job.error or "It goes on from its last checkpoint.", Action("See the job", url, "j"))
    return Turn("Train", "The adapter has not been judged on the held-out rows.", "",
                Action("See the runs", facts.url("training:run-list"), "e"))


def _compare(facts: Facts) -> Turn:
    read = Action("Read the comparison", facts.comparison_url, "c")
    if facts.adapter and facts.adapter.stage == Adapter.Stage.champion:
        return Turn("Train", f"{facts.adapter} is the champion.",
                    "The path is walked. New labels begin the next round.", read, is_end=True)
    return Turn("Train", "The adapter is trained and judged. Was it worth it?",
                "The comparison holds it against the best prompt, row by row.", read)


# The path

@dataclass(frozen=True)
class Step:
    """A step as the path shows it; state is done, now or later, and `url` is "" where there is no page yet."""

    name: StepName
    figure: str
    note: str
    state: Literal["done", "now", "later"]
    url: str = ""


UNKNOWN = count_words(None)


def steps_of(facts: Facts, turn: Turn) -> list[Step]:
    now = STEPS.index(turn.step)
    pages = ("labeling:import", "labeling:example-list", "curation:review", "curation:snapshot-list",
             "training:run-list", "training:run-list")
    figures = (_imported(facts), _labelled(facts), _reviewed(facts), _frozen(facts),
               _scored(facts.project, facts.best_prompt, "tried first"), _trained(facts))
    steps = [Step(name, *figures[number], _state(number, now, turn.is_end), facts.url(pages[number]))
             for number, name in enumerate(STEPS[:-1])]
    return [*steps, Step("Live", UNKNOWN, "comes later", "later")]


def _state(number: int, now: int, is_end: bool) -> Literal["done", "now", "later"]:
    if number < now or (number == now and is_end):
        return "done"
    return "now" if number == now else "later"


def _imported(facts: Facts) -> tuple[str, str]:
    if not facts.n_examples:
        return UNKNOWN, "texts from a file"
    rejected = f", {count_words(facts.n_rejected)} rejected" if facts.n_rejected else ""
    return count_words(facts.n_examples), f"{count_words(facts.n_held_out)} held out{rejected}"


def _labelled(facts: Facts) -> tuple[str, str]:
    if not facts.n_labels:
        return UNKNOWN, "by people"
    return count_words(facts.n_labels), f"{facts.n_labels / facts.n_examples:.1f} per example"


def _reviewed(facts: Facts) -> tuple[str, str]:
    if facts.counts is None or facts.report is None:
        return UNKNOWN, "what looks wrong"
    if facts.report.hidden_because:
        return UNKNOWN, "no scores to go by"
    if facts.counts.flagged:
        is_frozen = facts.snapshot is not None and facts.snapshot.report_id == facts.report.pk
        return count_words(facts.counts.flagged), "left undecided" if is_frozen else "look wrong"
    return count_words(facts.counts.settled), "settled, none left"


def _frozen(facts: Facts) -> tuple[str, str]:
    if facts.snapshot is None:
        return UNKNOWN, "after review"
    state = facts.approval.decision if facts.approval else "not approved yet"
    return count_words(facts.snapshot.counts["train"]), f"rows, {state}"


def _scored(project: Project, evaluation: Evaluation | None, otherwise: str) -> tuple[str, str]:
    if evaluation is None:
        return UNKNOWN, otherwise
    metric = Interval(**evaluation.metrics[project.target_metric])
    return percent_words(metric.estimate), f"{100 * metric.low:.1f} to {percent_words(metric.high)}"


def _trained(facts: Facts) -> tuple[str, str]:
    if facts.lora is None and facts.verdict and facts.verdict.outcome == Verdict.Outcome.prompt_ok:
        return UNKNOWN, "not needed"
    return _scored(facts.project, facts.lora_evaluation, "under way" if facts.lora else "only if needed")


# Beside it

def agreement_words(agreement: Interval) -> str:
    """What an agreement means. Source of the two marks: Krippendorff 2004, Content Analysis, chapter 11."""
    if agreement.low >= RELIABLE:
        return "The labels are reliable by the usual mark of 0.80."
    if agreement.high < TENTATIVE:
        return "Too low to conclude anything from these labels: mend the instructions or the labels first."
    if agreement.high < RELIABLE:
        return "Below the usual mark of 0.80: see which labels people confuse."
    return "Whether it reaches the usual mark of 0.80 is open; more held-out labels can settle it."


@dataclass(frozen=True)
class Open:
    """Something that could be done, too: what, for how many examples, and where."""

    words: str
    n: int
    verb: str
    url: str


def open_items(facts: Facts) -> list[Open]:
    examples, quality, gold_set = (facts.url(name) for name in (
        "labeling:example-list", "curation:quality", "curation:gold-set"))
    review = facts.url("curation:review")
    items = []
    if facts.report and facts.counts:
        items += [
            Open("Labels that look wrong", facts.counts.flagged, "Review", review),
            Open("Annotators disagree", facts.counts.disagreement, "Settle", f"{review}?view=disagreement"),
            Open("Set aside for discussion", facts.counts.discuss, "Discuss", f"{review}?view=discuss"),
            Open("Near-duplicates across the held-out line", facts.report.n_crossing, "Look", quality),
            Open("Examples newer than the last scoring", max(0, facts.n_examples - facts.report.n_examples), "Score",
                 quality)]
    if facts.n_labels:
        items.append(Open("Examples without a label", facts.n_examples - facts.n_labelled, "Send",
                          f"{examples}?label=+none"))
    if facts.n_labels and facts.held_out:
        items += [
            Open(f"Held-out examples with fewer than {MIN_BLIND_LABELS} labels", facts.held_out.n_short, "See",
                 f"{examples}?split=test"),
            Open("Held-out examples without a majority", facts.held_out.n_tied, "Settle", gold_set)]
    items.append(Open("Decisions since the last snapshot", facts.n_decisions_since, "Freeze", gold_set))
    return [item for item in items if item.n]


def jobs_to_show(jobs: list[Job]) -> list[Job]:
    """What runs or waits, then for each kind of job its newest if that failed; jobs: newest first."""
    newest: dict[str, Job] = {}
    for job in jobs:
        newest.setdefault(job.kind, job)
    failed = [job for job in newest.values() if job.state == Job.State.failed]
    return [*reversed([job for job in jobs if job.is_active]), *failed]
