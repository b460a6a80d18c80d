"""The seven steps from texts to a model in use, and what stands open beside them, from the counts alone."""

from dataclasses import dataclass
from typing import Literal

from django.urls import reverse

from goldpan.path.facts import Facts
from goldpan.path.turn import StepName, Turn
from jobs.models import Job
from labeling.services.batches import MIN_HELD_OUT_LABELS
from projects.models import Project
from projects.wording import count_words, percent_words
from stats.intervals import Interval
from training.models import Evaluation, Verdict

RELIABLE, TENTATIVE = 0.80, 0.667  # marks for alpha: sound conclusions from the one, none below the other
STEPS: tuple[StepName, ...] = ("Import", "Label", "Review", "Snapshot", "Prompt", "Train", "Live")


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
    return [*steps, _live(facts, turn)]


def _live(facts: Facts, turn: Turn) -> Step:
    """The newest look's share of right answers: with it the way begins anew."""
    if facts.live is None:
        return Step("Live", UNKNOWN, "comes later", "later")
    share, measured = facts.live.share, facts.live.measured
    figure, note = (UNKNOWN, "serves, not looked at yet") if not share or not measured else (
        percent_words(share.estimate), f"{100 * share.low:.1f} to {percent_words(share.high)}, look "
        f"{measured.look.number}")
    return Step("Live", figure, note, "now" if turn.step == "Live" and not turn.is_end else "done",
                facts.url("serving:drift"))


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
    if facts.report.hidden_because and not facts.counts.totals["all"]:
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
    """Something that could be done, too: what, for how many examples, groups or decisions, and where."""

    words: str
    n: int
    verb: str
    url: str


def open_items(facts: Facts) -> list[Open]:
    examples, quality, gold_set = (facts.url(name) for name in (
        "labeling:example-list", "curation:quality", "curation:gold-set"))
    review = facts.url("curation:review")
    items = _open_live(facts)
    if facts.report and facts.counts:
        items += [
            Open("Labels that look wrong", facts.counts.flagged, "Review", review),
            Open("Annotators disagree", facts.counts.disagreement, "Settle", f"{review}?view=disagreement"),
            Open("Your word is asked for in a discussion", facts.n_asking, "Answer",
                 facts.url("curation:discussions", "?asked=me")),
            Open("Set aside for discussion", facts.counts.discuss, "Discuss", facts.url("curation:discussions")),
            Open("Groups of duplicates in training and held out", facts.duplicates.get("leak", 0), "Settle",
                 facts.url("curation:duplicates", "?what=leak")),
            Open("Groups of duplicates with different labels", facts.duplicates.get("conflict", 0), "Settle",
                 facts.url("curation:duplicates", "?what=conflict")),
            Open("Examples newer than the last scoring", max(0, facts.n_examples - facts.report.n_examples), "Score",
                 quality)]
    items += [
        Open("Answers differ, and nobody else is asked", facts.n_to_adjudicate, "Adjudicate",
             facts.url("curation:adjudicate")),
        Open("Labels older than the rule they follow", facts.n_outdated, "Look again", facts.url("curation:guideline"))]
    if facts.n_labels:
        items.append(Open("Examples without a label", facts.n_examples - facts.n_labelled, "Send",
                          f"{examples}?label=+none"))
    if facts.n_labels and facts.held_out:
        items += [
            Open(f"Held-out examples with fewer than {MIN_HELD_OUT_LABELS} labels", facts.held_out.n_short, "See",
                 f"{examples}?split=test"),
            Open(f"Held-out examples without a {facts.held_out.joint}", facts.held_out.n_tied, "Settle",
                 facts.url("curation:adjudicate"))]
    items += [Open(stale.words, stale.n, "See", reverse("curation:snapshot-detail", args=[stale.snapshot.pk]))
              for stale in facts.stale]
    items.append(Open("Decisions since the last snapshot", facts.n_decisions_since, "Freeze", gold_set))
    return [item for item in items if item.n]


def _open_live(facts: Facts) -> list[Open]:
    live = facts.live
    if live is None:
        return []
    items = [Open(f"Labels that {str(one.look).lower()} waits for, {'late since' if one.is_late else 'due on'} "
                  f"{one.look.due_on:%d %B}", one.n_waiting, "See", one.url)
             for one in live.looks]
    if live.waiting:
        items.append(Open("A proposal to train again waits for an admin", 1, "Read",
                          reverse("serving:proposal", args=[live.waiting.pk])))
    if live.to_ship:
        items.append(Open(f"{live.to_ship} won and is not shipped", 1, "Read",
                          reverse("serving:ab-test", args=[live.to_ship.pk])))
    return items


def jobs_to_show(jobs: list[Job]) -> list[Job]:
    """What runs or waits, then for each kind of job its newest if that failed; jobs: newest first."""
    newest: dict[str, Job] = {}
    for job in jobs:
        newest.setdefault(job.kind, job)
    failed = [job for job in newest.values() if job.state == Job.State.failed]
    return [*reversed([job for job in jobs if job.is_active]), *failed]
