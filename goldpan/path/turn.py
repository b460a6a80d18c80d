"""The one thing to do next, in words, from the counts alone: it asks the database for nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django.urls import reverse
from django.utils import timezone

from curation.answers import MODELLED
from curation.models import Approval, ApprovalRequest, Snapshot
from goldpan.path.facts import Facts
from jobs.models import Job
from labeling.services.batches import MIN_HELD_OUT_LABELS
from projects.wording import ago_words, count_words, counted, duration_words
from serving.services.duties import OpenLook
from serving.services.watch_plans import score_name
from training.models import Verdict
from training.services.baseline import training_obstacle

StepName = Literal["Import", "Label", "Review", "Snapshot", "Prompt", "Train", "Live"]


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
        _import, _label, _drop, _proposal, _ship, _late, _score, _review, _freeze, _approve, _baseline, _decide, _train,
        _compare)
    turn = next(turn for look in looks if (turn := look(facts)))
    return (_live(facts) or turn) if turn.is_end else turn


def _wait(step: StepName, job: Job, then: str) -> Turn:
    return Turn(step, f"{job.title}: nothing to do until it ends.", then,
                Action("Watch it", reverse("jobs:job", args=[job.pk])))


def _import(facts: Facts) -> Turn | None:
    if facts.n_examples:
        return None
    if job := facts.running("import"):
        return _wait("Import", job, "Then the examples can be labelled.")
    if upload := facts.checked_upload:
        bad = f", {counted(upload.n_bad, 'is', 'are')} not" if upload.n_bad else ""
        return Turn("Import", f"{upload.name} is checked: {counted(upload.n_good, 'row is', 'rows are')} good{bad}.",
                    "Nothing is imported yet.",
                    Action("Look and import", reverse("labeling:upload", args=[upload.pk]), "i"))
    return Turn("Import", "Bring the texts that should be labelled.",
                "A CSV, TSV or JSON Lines file, with labels if there are some already. You see what was understood "
                "before anything is imported.",
                Action("Import examples", facts.url("labeling:import"), "i"))


def _label(facts: Facts) -> Turn | None:
    if facts.n_labels:
        return None
    if job := facts.running("import", "sync"):
        return _wait("Label", job, "Then people can label, or go on labelling.")
    if facts.exchange and not facts.exchange.is_ok:
        return Turn("Label", f"Label Studio: {facts.exchange.words}.", facts.exchange.message,
                    Action("Try again", facts.url("labeling:sync"), is_post=True),
                    Action("Import labels instead", facts.url("labeling:import")))
    if facts.n_batches:
        return Turn("Label", "People have been asked, and no answer has come back yet.",
                    "Answers arrive by themselves; fetching them now does no harm.",
                    Action("See the labelling", facts.url("labeling:board"), "l"),
                    Action("Ask for more", facts.url("labeling:example-list", "?asked=no")))
    return Turn("Label", f"{counted(facts.n_examples, 'example')}, and none is labelled yet.",
                "Ask people to label them, or import labels that exist already.",
                Action("Choose what to ask for", facts.url("labeling:example-list", "?asked=no"), "p"),
                Action("Import labels", facts.url("labeling:import")))


def _drop(facts: Facts) -> Turn | None:
    """The alarm rang, and what to do is not decided; whoever may decide on a proposal is told of that instead."""
    live = facts.live
    if not live or not live.is_alarm or (live.waiting and facts.may("decide_training")):
        return None
    assert live.newest
    headline = f"The alarm rang at look {live.newest.look.number}: {score_name(facts.project)} is below the floor."
    drift = Action("See what is known", facts.url("serving:drift"), "d")
    then = "A training is proposed, and an admin decides." if live.waiting else "Then a training is proposed."
    if extra := live.labelled_for_the_alarm:
        return Turn("Live", headline, f"{counted(extra.n_waiting, 'example')} of {extra.n} that look new "
                    f"{'waits' if extra.n_waiting == 1 else 'wait'} for labels. {then}", _labelling_of(extra), drift)
    return Turn("Live", headline, then if live.waiting else f"What looks new is drawn and labelled. {then}", drift)


def _labelling_of(one: OpenLook) -> Action:
    return Action("See who labels", one.url, "l")


def _proposal(facts: Facts) -> Turn | None:
    """Whoever may not decide finds it among what is open."""
    waiting = facts.live.waiting if facts.live else None
    if not waiting or not facts.may("decide_training"):
        return None
    return Turn("Live", "A training is proposed, and you decide.", str(waiting.reasons[0]),
                Action("Decide on the proposal", reverse("serving:proposal", args=[waiting.pk]), "d"),
                Action("See drift", facts.url("serving:drift")))


def _ship(facts: Facts) -> Turn | None:
    test = facts.live.to_ship if facts.live else None
    if not test or not facts.may("promote"):
        return None
    return Turn("Live", f"{test} is over: {test.end.get_outcome_display()}. Ship it?", str(test.end.words[0]),
                Action("Read the result", reverse("serving:ab-test", args=[test.pk]), "d"))


def _late(facts: Facts) -> Turn | None:
    late = facts.live.late if facts.live else None
    if not late:
        return None
    return Turn("Live", f"The labels of {str(late.look).lower()} are late: {counted(late.n_waiting, 'example')} of "
                f"{late.n} {'waits' if late.n_waiting == 1 else 'wait'}.",
                f"They were due on {late.look.due_on:%d %B}. On {late.look.waits_until:%d %B} the look counts with "
                "what is there, and may flatter.", _labelling_of(late), Action("See drift", facts.url("serving:drift")))


def _live(facts: Facts) -> Turn | None:
    """Where it stands once something serves and nothing else is to be done: looks that wait for labels, or nothing."""
    live = facts.live
    if not live:
        return None
    drift = Action("See drift", facts.url("serving:drift"), "d")
    if one := next((one for one in live.looks if one.n_waiting), None):
        return Turn("Live", f"{counted(one.n_waiting, 'example')} of {str(one.look).lower()} "
                    f"{'waits' if one.n_waiting == 1 else 'wait'} for labels.",
                    f"They say how good {live.champion.title} still is, and are due on {one.look.due_on:%d %B}.",
                    _labelling_of(one), drift)
    comparison = Action("Read the comparison", facts.comparison_url) if facts.snapshot else None
    if facts.champion and facts.champion.run.pk != live.champion.run_id:
        return Turn("Live", f"{facts.champion.title} is the champion, and has answered nothing yet.",
                    "With its first answer it is watched. New labels begin the next round.",
                    Action("See what serves", facts.url("serving:live"), "d"), comparison, is_end=True)
    said = {"alarm": "Its accuracy fell below the floor, and what to do was decided.",
            "warning": "It may be getting worse: the next look will tell more.",
            "quiet": "No sign of a drop."}.get(live.newest.level if live.newest else "", "Nobody has looked yet.")
    return Turn("Live", f"{live.champion.title} serves. {said}", "New labels begin the next round.", drift, comparison,
                is_end=True)


def _score(facts: Facts) -> Turn | None:
    if (job := facts.running("score")) and not facts.snapshot:
        return _wait("Review", job, "Then the labels that look wrong can be reviewed, worst first.")
    if facts.report:
        return None
    return Turn("Review", f"{count_words(facts.n_labels)} labels are there. Which of them look wrong?",
                "Scoring reads every text, holds each label against its neighbours and finds repeated texts."
                if facts.project.task_type in MODELLED else
                "Scoring holds answers to one text against each other, checks each of them, and finds repeated texts.",
                Action(f"Score {count_words(facts.n_examples)} examples", facts.url("curation:score"), "s",
                       is_post=True))


def _review(facts: Facts) -> Turn | None:
    assert facts.report and facts.counts
    n, n_all = facts.counts.flagged, facts.counts.totals["all"]
    if not n or (facts.snapshot and facts.snapshot.report_id == facts.report.pk):
        return None  # whoever froze with some left has decided that it is enough
    what = "labels" if facts.project.task_type in MODELLED else "answers"
    pace = (f"At your pace so far, {duration_words(facts.seconds_per_decision)} each, that is about "
            f"{duration_words(60 * max(1, round(n * facts.seconds_per_decision / 60)))}."
            if facts.seconds_per_decision else "The worst come first, with a suggestion and the reasons for each.")
    return Turn("Review", f"{count_words(n)} of {count_words(n_all)} {what} look wrong.", pace,
                Action(f"Review {counted(n, 'example')}", facts.url("curation:review"), "r"),
                Action("Why these?", facts.url("curation:quality")))


def _freeze(facts: Facts) -> Turn | None:
    if job := facts.running("freeze"):
        return _wait("Snapshot", job, "Then an admin approves the snapshot.")
    approved_at = facts.live.approved_at if facts.live else None
    if facts.snapshot and not (approved_at and facts.snapshot.created_at < approved_at):
        return None
    if facts.live and facts.live.proposal and approved_at:
        return Turn("Snapshot", "Training again was approved. Choose the gold set with the new labels and freeze it.",
                    f"{facts.snapshot} is from before.",
                    Action("Choose the gold set", facts.url("curation:gold-set", facts.live.gold_query), "g"),
                    Action("See the whole way", reverse("serving:proposal", args=[facts.live.proposal.pk])))
    if facts.held_out and not all(facts.held_out.n_ready.values()):
        split = next(split for split, n in sorted(facts.held_out.n_ready.items()) if not n)
        return Turn("Label", f"No {split} example has {MIN_HELD_OUT_LABELS} labels with a {facts.held_out.joint} yet.",
                    f"The held-out examples judge every prompt and model, so {MIN_HELD_OUT_LABELS} people label each "
                    "of them blind before anything can be frozen.",
                    Action("See the held-out examples", facts.url("labeling:example-list", f"?split={split}"), "p"),
                    Action("Import labels", facts.url("labeling:import")))
    said = facts.report.hidden_because if facts.report else ""
    headline = "No label can be called wrong by a model yet." if said else "Nothing that looked wrong is left."
    detail = said or ("Its page names a few rows, drawn at random, to check by hand: only that tells how many of its "
                      "labels are wrong.")
    return Turn("Snapshot", f"{headline} Choose the gold set and freeze it.", detail,
                Action("Choose the gold set", facts.url("curation:gold-set"), "g"))


def _approve(facts: Facts) -> Turn | None:
    snapshot, approval = facts.snapshot, facts.approval
    assert snapshot
    url = reverse("curation:snapshot-detail", args=[snapshot.pk])
    if approval is None:
        headline = (f"{snapshot} waits for an admin who did not make it." if facts.obstacle else
                    f"{snapshot} waits for you: read it, then approve or refuse it.")
        asked = f" {_asked_words(facts.asked)}" if facts.asked else ""
        if facts.n_red:
            checks = "1 check fails" if facts.n_red == 1 else f"{facts.n_red} checks fail"
            return Turn("Snapshot", f"{checks}, so nobody can approve {str(snapshot).lower()} yet.",
                        f"Mend what is found and freeze again, or an admin overrides it with a reason.{asked}",
                        Action("See the checks", url + "#checks", "s"))
        return Turn("Snapshot", headline,
                    f"{_rows_of(snapshot)}, frozen by {snapshot.created_by}.{asked} {facts.obstacle}".strip(),
                    Action(f"Read {str(snapshot).lower()}", url, "s"))
    if approval.decision == Approval.Choice.refused:
        why = f" “{approval.comment}”" if approval.comment else ""
        return Turn("Snapshot", f"{approval.approver} refused {str(snapshot).lower()}.{why}",
                    "Change what has to change, then freeze again.",
                    Action("Change the gold set", facts.url("curation:gold-set"), "g"),
                    Action(f"Read {str(snapshot).lower()}", url))
    return None


def _asked_words(asked: ApprovalRequest) -> str:
    note = f": “{asked.note}”" if asked.note else "."
    return f"{asked.asked_by} asked for approval {ago_words(asked.created_at, now=timezone.now())}{note}"


def _rows_of(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    return (f"{count_words(counts['train'])} rows to train on, {count_words(counts['dev'])} to choose by, "
            f"{count_words(counts['test'])} to judge on")


def _baseline(facts: Facts) -> Turn | None:
    assert facts.snapshot
    if facts.verdict:
        return None
    if obstacle := training_obstacle(facts.project):
        return Turn("Snapshot", f"{facts.snapshot} is approved. Export it to train on it.", obstacle,
                    Action("Export", reverse("curation:snapshot-detail", args=[facts.snapshot.pk]) + "#export", "e"),
                    is_end=True)
    if job := facts.running("baseline"):
        return _wait("Prompt", job, "Then you read whether fine-tuning is worth it at all.")
    return Turn("Prompt", f"{facts.snapshot} is approved. Try the prompt first.",
                "It is what any training has to beat, on the same held-out rows; often it is enough.",
                Action("Try the prompt first", reverse("training:baseline", args=[facts.snapshot.pk]), "b",
                       is_post=True))


def _decide(facts: Facts) -> Turn | None:
    verdict = facts.verdict
    if facts.lora or not verdict:
        return None
    read = Action("Read the comparison", facts.comparison_url, "e")
    if verdict.outcome == Verdict.Outcome.prompt_ok:
        return Turn("Prompt", verdict.words, verdict.step, read, is_end=True)
    if facts.may("train"):
        return Turn("Train", verdict.words, verdict.step,
                    Action("Train a LoRA adapter", reverse("training:train", args=[verdict.snapshot_id]), "t"),
                    read)
    return Turn("Train", verdict.words, f"{verdict.step} An admin starts the training.", read)


def _train(facts: Facts) -> Turn | None:
    lora = facts.lora
    assert lora
    if facts.lora_evaluation:
        return None
    url = reverse("training:run", args=[lora.pk])
    if job := facts.running("train", "evaluate"):
        return Turn("Train", f"{job.title}: nothing to do until it ends.",
                    "Then adapter and prompt are compared on the same held-out rows.", Action("Watch the run", url))
    if lora.job.state in (Job.State.failed, Job.State.cancelled):
        return Turn("Train", f"The training {'failed' if lora.job.state == Job.State.failed else 'was cancelled'}.",
                    lora.job.error or "It goes on from its last checkpoint.", Action("Open the run", url, "o"))
    return Turn("Train", "The adapter has not been judged on the held-out rows.", "",
                Action("See the runs", facts.url("training:run-list"), "e"))


def _compare(facts: Facts) -> Turn:
    read = Action("Read the comparison", facts.comparison_url, "c")
    if facts.champion:
        return Turn("Train", f"{facts.champion.title} is the champion.",
                    "The path is walked. New labels begin the next round.", read, is_end=True)
    return Turn("Train", "The adapter is trained and judged. Was it worth it?",
                "The comparison holds it against the best prompt, row by row.", read)
