"""The prompt first: can a prompt do it, and how cheap is the rival that needs no LLM?

1. Every prompt arm is scored on dev, each with every calibration; the best pair is chosen there.
2. That one and the linear probe look at the test rows once; the looks are logged.
3. The gate turns the prompt's test score into a verdict against the project's target; what is known beside it is
   weighed.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.models import Snapshot
from curation.probabilities import Probe, fit_probe
from curation.services.embeddings import encoder_name, ensure_embeddings, load_embeddings
from curation.services.snapshots import FrozenRow, read_rows, require_approved
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from training.models import Evaluation, Run, TestLook, Verdict
from training.prompts import Prompt, choose_shots, few_shot, prompt_sha256, prompt_to_json, zero_shot
from training.services.economics import weigh_verdict
from training.services.endpoint import classify_rows
from training.services.scoring import (
    Calibration,
    Prediction,
    Stopwatch,
    best,
    calibrations,
    predictions_of,
    score_rows,
    write_evaluation,
)
from training.verdict import gate

SHOTS_PER_LABEL = 2
SEED = 0


def start_baseline(snapshot: Snapshot, *, by: User, wake: bool = True) -> Job:
    """Queue the prompt baseline; one that waits or runs already is returned.

    Raises UserError if the snapshot is not approved or has a verdict already, or its task is not classification.
    """
    require_trainable(snapshot.project)
    require_approved(snapshot)
    _check_unjudged(snapshot)
    waiting = Job.objects.active().filter(project=snapshot.project, kind="baseline", params__snapshot=snapshot.pk)
    return waiting.first() or enqueue(
        "baseline", snapshot.project, title=f"Trying prompts on {snapshot}", requested_by=by,
        params={"snapshot": snapshot.pk}, exclusive=f"baseline:{snapshot.pk}", wake=wake)


def training_obstacle(project: Project) -> str:
    """Why Goldpan tries no prompt and trains nothing for this type of task, in words; "" where it does."""
    if project.task_type == Project.TaskType.classification:
        return ""
    return (f"Prompt baselines and training for “{project.get_task_type_display()}” come with a later version; so far "
            "they are for one label per text. Review, gold set, freezing, approval and export work.")


def require_trainable(project: Project) -> None:
    """Raises UserError unless prompts can be tried and adapters trained for the project's type of task."""
    if obstacle := training_obstacle(project):
        raise UserError(obstacle)


def _check_unjudged(snapshot: Snapshot) -> None:
    if Verdict.objects.filter(snapshot=snapshot).exists():
        raise UserError(f"{snapshot} has its verdict already, and its test rows are not looked at twice for the same "
                        "question. Freeze a new snapshot to ask again.")


@dataclass(frozen=True)
class _Arm:
    """A prompt tried on dev: what it predicted there under its best calibration, and every calibration's accuracy."""

    kind: str
    prompt: Prompt
    calibration: Calibration
    dev: list[Prediction]
    seconds: float
    config: dict[str, Any]


def run_baseline(job: Job, progress: Progress) -> None:
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    require_approved(snapshot)
    _check_unjudged(snapshot)
    rows = read_rows(snapshot)
    train, dev, test = ([row for row in rows if row.split == split] for split in ("train", "dev", "test"))
    asker = _Endpoint() if settings.GOLDPAN_LLM_URL else _Embedded(job, progress)
    arms = [asker.try_on_dev(kind, prompt, dev, snapshot.project.labels) for kind, prompt in _prompts(snapshot, train)]
    winner = max(arms, key=lambda arm: arm.calibration.dev_accuracy)
    tested, seconds = asker.look_at_test(winner, test, snapshot.project.labels)
    probe = _probe(job, train, dev, test, progress)
    with completing(job) as result:
        best_run = None
        for arm in arms:
            run = _new_run(job, snapshot, arm.kind, arm.config)
            _evaluate(run, "dev", arm.dev, arm.seconds, arm.calibration)
            if arm is winner:
                best_run = run
                evaluation = _evaluate(run, "test", tested, seconds, arm.calibration)
        _write_probe(job, snapshot, probe)
        assert best_run is not None
        verdict = _write_verdict(best_run, evaluation)
        audit(snapshot.project, job.requested_by, "baseline", {
            "snapshot": snapshot.number, "best_prompt": best_run.pk, "outcome": verdict.outcome})
        result |= {"verdict": verdict.outcome, "best_prompt": best_run.pk, "words": verdict.words}


def _prompts(snapshot: Snapshot, train: list[FrozenRow]) -> list[tuple[str, Prompt]]:
    project = snapshot.project
    arms = [(Run.Kind.zero_shot.value, zero_shot(project.schema, project.instructions))]
    try:
        shots = choose_shots([row.text for row in train], [row.label for row in train], per_label=SHOTS_PER_LABEL,
                             seed=SEED)
    except ValueError as error:
        raise UserError(f"No prompt with examples can be made: {error}. Add gold rows of that label.") from None
    return [*arms, (Run.Kind.few_shot.value, few_shot(project.schema, project.instructions, shots))]


class _Embedded:
    """Asks the embedded model, in a subprocess, for the likelihood of every label."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self.folder, self.progress = work_folder(job), progress

    def try_on_dev(self, kind: str, prompt: Prompt, dev: list[FrozenRow], labels: list[str]) -> _Arm:
        said = score_rows(dev, [prompt], folder=self.folder / f"dev-{kind}", progress=self.progress)[0]
        gold = np.array([labels.index(row.label) for row in dev])
        choices = calibrations(said, gold, [row.group for row in dev])
        calibration = best(choices)
        columns, probability = calibration.predict(said.scores)
        config = {"prompt": prompt_to_json(prompt), "prompt_sha256": prompt_sha256(prompt), "model": said.model,
                  "calibration": asdict(calibration), "prompt_tokens": said.prompt_tokens,
                  "calibrations": {choice.kind: choice.dev_accuracy for choice in choices}}
        predicted = predictions_of(dev, [labels[k] for k in columns], list(probability))
        return _Arm(kind, prompt, calibration, predicted, said.seconds, config)

    def look_at_test(self, arm: _Arm, test: list[FrozenRow], labels: list[str]) -> tuple[list[Prediction], float]:
        said = score_rows(test, [arm.prompt], folder=self.folder / "test", progress=self.progress)[0]
        columns, probability = arm.calibration.predict(said.scores)
        return predictions_of(test, [labels[k] for k in columns], list(probability)), said.seconds


class _Endpoint:
    """Asks an OpenAI-compatible endpoint for the label itself; an answer that is no label counts as wrong."""

    def try_on_dev(self, kind: str, prompt: Prompt, dev: list[FrozenRow], labels: list[str]) -> _Arm:
        watch = Stopwatch()
        predicted = predictions_of(dev, classify_rows(prompt, dev), [None] * len(dev))
        accuracy = float(np.mean([prediction.gold == prediction.predicted for prediction in predicted]))
        calibration = Calibration("as it is", (0.0,) * len(labels), accuracy)
        config = {"prompt": prompt_to_json(prompt), "prompt_sha256": prompt_sha256(prompt),
                  "model": settings.GOLDPAN_LLM_MODEL, "calibration": asdict(calibration),
                  "calibrations": {calibration.kind: accuracy}}
        return _Arm(kind, prompt, calibration, predicted, watch.seconds, config)

    def look_at_test(self, arm: _Arm, test: list[FrozenRow], labels: list[str]) -> tuple[list[Prediction], float]:
        watch = Stopwatch()
        return predictions_of(test, classify_rows(arm.prompt, test), [None] * len(test)), watch.seconds


@dataclass(frozen=True)
class _Probed:
    """The probe and what it said; dev and test each with the seconds that took, once their texts were embedded."""

    probe: Probe
    dev: tuple[list[Prediction], float]
    test: tuple[list[Prediction], float]
    fit_seconds: float


def _probe(job: Job, train: list[FrozenRow], dev: list[FrozenRow], test: list[FrozenRow],
           progress: Progress) -> _Probed:
    progress("Fitting the probe", 0, 1)
    contents = dict(Example.objects.filter(project=job.project, snapshot_rows__snapshot_id=job.params["snapshot"])
                    .values_list("key", "content_sha256"))
    ensure_embeddings(job, {contents[row.key]: row.text for row in (*train, *dev, *test)}, progress)

    def vectors(rows: list[FrozenRow]) -> np.ndarray:
        return load_embeddings([contents[row.key] for row in rows])

    watch = Stopwatch()
    probe = fit_probe(vectors(train), [row.label for row in train], vectors(dev), [row.label for row in dev], seed=SEED)
    fit_seconds = watch.seconds

    def predict(rows: list[FrozenRow]) -> tuple[list[Prediction], float]:
        watch = Stopwatch()
        probabilities = probe.predict_proba(vectors(rows))
        said = [probe.labels[k] for k in probabilities.argmax(axis=1)]
        return predictions_of(rows, said, list(probabilities.max(axis=1))), watch.seconds

    return _Probed(probe, predict(dev), predict(test), fit_seconds)


def _write_probe(job: Job, snapshot: Snapshot, probed: _Probed) -> None:
    run = _new_run(job, snapshot, Run.Kind.probe, {"inverse_regularisation": probed.probe.inverse_regularisation,
                                                   "encoder": encoder_name(settings.GOLDPAN_ENCODER)})
    for split, (said, seconds) in (("dev", probed.dev), ("test", probed.test)):
        write_evaluation(run, split, said, seconds=seconds, extra={"fit_seconds": probed.fit_seconds})
    TestLook.objects.create(project=snapshot.project, run=run, n=len(probed.test[0]))


def _new_run(job: Job, snapshot: Snapshot, kind: str, config: dict[str, Any]) -> Run:
    return Run.objects.create(snapshot=snapshot, kind=kind, config=config, seed=SEED, job=job,
                              created_by=job.requested_by or snapshot.created_by)


def _evaluate(run: Run, split: str, predictions: list[Prediction], seconds: float,
              calibration: Calibration) -> Evaluation:
    if split == "test":
        TestLook.objects.create(project=run.project, run=run, n=len(predictions))
    return write_evaluation(run, split, predictions, seconds=seconds, extra={"calibration": calibration.kind})


def _write_verdict(best_run: Run, evaluation: Evaluation) -> Verdict:
    project = best_run.project
    found = gate(evaluation.n_right, evaluation.n, project.target_value)
    verdict = Verdict.objects.create(
        snapshot=best_run.snapshot, best_prompt=best_run, outcome=found.outcome, target_metric=project.target_metric,
        target_value=project.target_value, lower=found.lower, upper=found.upper, words=found.words,
        next_step=found.next_step)
    weigh_verdict(verdict)
    return verdict
