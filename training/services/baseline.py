"""The prompt first: can a prompt do it, and how cheap is the rival that needs no LLM?

1. Every prompt arm is scored on dev, each with every calibration; the best pair is chosen there.
2. That one and the linear probe look at the test rows once; the looks are logged.
3. The gate turns the prompt's test score into a verdict against the project's target; what is known beside it is
   weighed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse

from curation.models import Snapshot
from curation.probabilities import Probe, fit_probe
from curation.services.embeddings import encoder_name
from curation.services.snapshots import FrozenRow, read_rows, require_approved
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from training.models import Evaluation, PromptVersion, Run, TestLook, Verdict
from training.prompts import bare, few_shot, nearest_shots, prompt_sha256
from training.prompts import zero_shot as with_definitions
from training.services.asking import Candidate, asker_for, write_tried
from training.services.economics import weigh_verdict
from training.services.scoring import Judged, Stopwatch, judge, write_evaluation
from training.services.showing import N_SHOTS, Showable, showable, vectors_of
from training.services.written_prompts import candidate_of, newest_versions
from training.sets_probe import SetsProbe, fit_sets_probe
from training.verdict import gate

SEED = 0
NEAREST_DEV_ROWS = 100  # above, the embedded model tries nearest examples only if asked to
MOST_BY_HAND = 3  # of the prompts that somebody wrote, so many are tried unless more are chosen
NEED_TWO = ("classification", "multilabel", "preference")
NO_PROBE = {  # why nothing cheap can rival the language model
    "response": "No linear probe stands beside the models: it can choose among answers, and not write one.",
    "extraction": "No linear probe stands beside the models: it can choose among answers, and not fill in fields.",
    "preference": "No linear probe stands beside the models: which answer is better does not follow from where a text "
                  "lies among other texts.",
    "spans": "No linear probe stands beside the models: it sees a text as a whole, and not where something stands in "
             "it.",
}
NO_PROBE["chat"] = NO_PROBE["response"]


@dataclass(frozen=True)
class ArmOffer:
    """A prompt that the baseline can try; key: what the form sends. what: how it asks, and what it costs."""

    key: str
    name: str
    what: str
    is_default: bool


def offered_arms(snapshot: Snapshot) -> list[ArmOffer]:
    """What can be tried on the snapshot, in the order in which it is tried; of equally good ones the first wins."""
    n_dev, is_embedded = snapshot.counts["dev"], not settings.GOLDPAN_LLM_URL
    has_time = not is_embedded or n_dev <= NEAREST_DEV_ROWS
    cost = (f"No text shares its examples with another, so each is read in full: many times as long as the others on "
            f"{n_dev:,} dev rows." if is_embedded else f"The endpoint reads {N_SHOTS} examples with each text.")
    offers = [
        ArmOffer("zero_shot", "Zero-shot", "The first paragraph of the guideline and the names of the answers.", True),
        ArmOffer("defined", "With definitions", "The whole guideline, with its edge cases, and what each label means.",
                 True),
        ArmOffer("few_shot", f"With {N_SHOTS} examples", "The same solved ones for every text: balanced between "
                 "labels, and those that best stand for the others.", True),
        ArmOffer("nearest", f"With the {N_SHOTS} nearest examples",
                 f"For each text the training rows most like it. {cost}", has_time)]
    versions = newest_versions(snapshot.project)
    return offers + [ArmOffer(_key(version), str(version), version.note, n < MOST_BY_HAND)
                     for n, version in enumerate(versions)]


def default_arms(snapshot: Snapshot) -> list[str]:
    return [offer.key for offer in offered_arms(snapshot) if offer.is_default]


def _key(version: PromptVersion) -> str:
    return f"by_hand-{version.pk}"


def start_baseline(snapshot: Snapshot, *, by: User, arms: Sequence[str] | None = None, wake: bool = True) -> Job:
    """Queue the prompt baseline; one that waits or runs already is returned.

    arms: keys of `offered_arms` that are tried; those that are by default if left out.
    Raises UserError if the snapshot is not approved or has a verdict already, or no arm or one that is not offered is
    chosen.
    """
    require_trainable(snapshot.project)
    require_approved(snapshot)
    _check_unjudged(snapshot)
    offered = [offer.key for offer in offered_arms(snapshot)]
    chosen = default_arms(snapshot) if arms is None else list(arms)
    if not chosen:
        raise UserError("Choose at least one prompt to try.")
    if unknown := [key for key in chosen if key not in offered]:
        raise UserError(f"“{unknown[0]}” is no prompt that can be tried here. There are: {', '.join(offered)}.")
    waiting = Job.objects.active().filter(project=snapshot.project, kind="baseline", params__snapshot=snapshot.pk)
    return waiting.first() or enqueue(
        "baseline", snapshot.project, title=f"Trying prompts on {snapshot}", requested_by=by,
        params={"snapshot": snapshot.pk, "arms": chosen}, exclusive=f"baseline:{snapshot.pk}", wake=wake)


def training_obstacle(project: Project) -> str:
    """Why Goldpan tries no prompt and trains nothing in this project, in words; "" where it does."""
    if project.task_type in NEED_TWO and len(project.labels) < 2:
        return "There is one possible answer only, so there is nothing to try or to learn."
    return ""


def require_trainable(project: Project) -> None:
    """Raises UserError unless prompts can be tried and adapters trained for the project's type of task."""
    if obstacle := training_obstacle(project):
        raise UserError(obstacle)


def _check_unjudged(snapshot: Snapshot) -> None:
    if Verdict.objects.filter(snapshot=snapshot).exists():
        raise UserError(f"{snapshot} has its verdict already, and its test rows are not looked at twice for the same "
                        "question. Freeze a new snapshot to ask again.")


def run_baseline(job: Job, progress: Progress) -> None:
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    require_approved(snapshot)
    _check_unjudged(snapshot)
    rows = read_rows(snapshot)
    train, dev, test = ([row for row in rows if row.split == split] for split in ("train", "dev", "test"))
    shown = showable(job, snapshot, progress, rows=rows)
    asker = asker_for(job, shown, progress, [row.label for row in train])
    candidates = _candidates(snapshot, shown, job.params.get("arms") or default_arms(snapshot))
    if not candidates:
        raise UserError("None of the chosen prompts can be tried: no training row is short enough to be shown as an "
                        "example. Choose a prompt without examples.")
    arms = [asker.try_on_dev(candidate, dev) for candidate in candidates]
    winner = max(arms, key=lambda arm: arm.dev_score)
    tested = asker.look_at_test(winner, test)
    probe = None if job.project.task_type in NO_PROBE else _probe(job, train, dev, test, progress)
    with completing(job) as result:
        best_run = None
        for arm in arms:
            run = write_tried(job, snapshot, arm, seed=SEED)
            if arm is winner:
                best_run = run
                evaluation = write_evaluation(run, "test", tested.judged, seconds=tested.seconds, extra=tested.extra)
                TestLook.objects.create(project=snapshot.project, run=run, n=evaluation.n)
        if probe:
            _write_probe(job, snapshot, probe)
        assert best_run is not None
        verdict = _write_verdict(best_run, evaluation)
        audit(snapshot.project, job.requested_by, "baseline", {
            "snapshot": snapshot.number, "best_prompt": best_run.pk, "outcome": verdict.outcome})
        notify(snapshot.project, "verdict.reached", title=f"The verdict on {snapshot} is there", text=verdict.words,
               people=[job.requested_by], link=reverse("training:run", args=[best_run.pk]),
               data={"snapshot": snapshot.pk, "outcome": verdict.outcome, "run": best_run.pk})
        result |= {"verdict": verdict.outcome, "best_prompt": best_run.pk, "words": verdict.words}


def _candidates(snapshot: Snapshot, shown: Showable, keys: Sequence[str]) -> list[Candidate]:
    """The prompts of these arms, in the fixed order; one that says the same as an earlier one is left out."""
    project = snapshot.project
    about = project.schema, project.instructions
    kind, shots = project.task_type, shown.spread()
    found = [Candidate(Run.Kind.zero_shot, bare(*about, kind)),
             Candidate(Run.Kind.defined, with_definitions(*about, kind))]
    if shots:
        found.append(Candidate(Run.Kind.few_shot, few_shot(*about, shots, kind)))
        found.append(Candidate(Run.Kind.nearest, nearest_shots(*about, N_SHOTS, kind)))
    chosen = [candidate for candidate in found if candidate.kind in keys]
    chosen += [candidate_of(version, shown) for version in newest_versions(project) if _key(version) in keys]
    return list({prompt_sha256(candidate.prompt): candidate for candidate in reversed(chosen)}.values())[::-1]


@dataclass(frozen=True)
class _Probed:
    """What the probe said; dev and test each with the seconds that took, once their texts were embedded."""

    inverse_regularisation: float
    dev: tuple[Judged, float]
    test: tuple[Judged, float]
    fit_seconds: float


def _probe(job: Job, train: list[FrozenRow], dev: list[FrozenRow], test: list[FrozenRow],
           progress: Progress) -> _Probed:
    progress("Fitting the probe", 0, 1)
    every = vectors_of(job, [*train, *dev, *test], progress)
    of_train, of_dev, of_test = np.split(every, [len(train), len(train) + len(dev)])
    watch = Stopwatch()
    given = of_train, [row.label for row in train], of_dev, [row.label for row in dev]
    is_sets = job.project.task_type == "multilabel"
    probe: Probe | SetsProbe = fit_sets_probe(*given, seed=SEED) if is_sets else fit_probe(*given, seed=SEED)
    fit_seconds = watch.seconds

    def predict(rows: list[FrozenRow], vectors: np.ndarray) -> tuple[Judged, float]:
        watch = Stopwatch()
        if isinstance(probe, SetsProbe):
            return judge(job.project, rows, probe.predict(vectors)), watch.seconds
        probabilities = probe.predict_proba(vectors)
        said = [probe.labels[k] for k in probabilities.argmax(axis=1)]
        return judge(job.project, rows, said, probability=list(probabilities.max(axis=1))), watch.seconds

    return _Probed(probe.inverse_regularisation, predict(dev, of_dev), predict(test, of_test), fit_seconds)


def _write_probe(job: Job, snapshot: Snapshot, probed: _Probed) -> None:
    run = Run.objects.create(
        snapshot=snapshot, kind=Run.Kind.probe, seed=SEED, job=job, created_by=job.requested_by or snapshot.created_by,
        config={"inverse_regularisation": probed.inverse_regularisation,
                "encoder": encoder_name(settings.GOLDPAN_ENCODER)})
    for split, (judged, seconds) in (("dev", probed.dev), ("test", probed.test)):
        write_evaluation(run, split, judged, seconds=seconds, extra={"fit_seconds": probed.fit_seconds})
    TestLook.objects.create(project=snapshot.project, run=run, n=len(probed.test[0].predictions))


def _write_verdict(best_run: Run, evaluation: Evaluation) -> Verdict:
    project = best_run.project
    found = gate(evaluation.measured, project.target_value)
    verdict = Verdict.objects.create(
        snapshot=best_run.snapshot, best_prompt=best_run, outcome=found.outcome, target_metric=project.target_metric,
        target_value=project.target_value, lower=found.lower, upper=found.upper, words=found.words,
        next_step=found.next_step)
    weigh_verdict(verdict)
    return verdict
