"""The prompt first: can a prompt do it, and how cheap is the rival that needs no LLM?

1. Every prompt arm is scored on dev, each with every calibration; the best pair is chosen there.
2. That one and the linear probe look at the test rows once; the looks are logged.
3. The gate turns the prompt's test score into a verdict against the project's target; what is known beside it is
   weighed.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

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
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from training.models import Evaluation, Run, TestLook, Verdict
from training.openai_endpoint import parse_label
from training.prompts import (
    Prompt,
    choose_shots,
    choose_written_shots,
    few_shot,
    prompt_sha256,
    prompt_to_json,
    zero_shot,
)
from training.services.economics import weigh_verdict
from training.services.endpoint import answer_rows
from training.services.scoring import (
    Calibration,
    Judged,
    Stopwatch,
    WrittenAnswers,
    best,
    calibrations,
    judge,
    judge_scores,
    read_answers,
    score_rows,
    write_evaluation,
    write_rows,
)
from training.sets_probe import SetsProbe, fit_sets_probe
from training.verdict import gate

SHOTS_PER_LABEL = 2
WRITTEN_SHOTS = 4  # solved examples where answers are written
WRITTEN_DEV_ROWS = 100  # a written answer takes seconds without a GPU: prompts are chosen on at most so many
SEED = 0
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


@dataclass(frozen=True)
class _Arm:
    """A prompt tried on dev: how well its answers did there; calibration: how labels are balanced, where there are."""

    kind: str
    prompt: Prompt
    dev: Judged
    seconds: float
    config: dict[str, Any]
    calibration: Calibration | None = None

    @property
    def dev_score(self) -> float:
        return self.calibration.dev_accuracy if self.calibration else self.dev.measured.value


def run_baseline(job: Job, progress: Progress) -> None:
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    require_approved(snapshot)
    _check_unjudged(snapshot)
    rows = read_rows(snapshot)
    train, dev, test = ([row for row in rows if row.split == split] for split in ("train", "dev", "test"))
    asker = _asker(job, progress, [row.label for row in train])
    arms = [asker.try_on_dev(kind, prompt, dev) for kind, prompt in _prompts(snapshot, train)]
    winner = max(arms, key=lambda arm: arm.dev_score)
    tested, seconds = asker.look_at_test(winner, test)
    probe = None if job.project.task_type in NO_PROBE else _probe(job, train, dev, test, progress)
    with completing(job) as result:
        best_run = None
        for arm in arms:
            run = _new_run(job, snapshot, arm.kind, arm.config)
            _evaluate(run, "dev", arm.dev, arm.seconds, arm.calibration)
            if arm is winner:
                best_run = run
                evaluation = _evaluate(run, "test", tested, seconds, arm.calibration)
        if probe:
            _write_probe(job, snapshot, probe)
        assert best_run is not None
        verdict = _write_verdict(best_run, evaluation)
        audit(snapshot.project, job.requested_by, "baseline", {
            "snapshot": snapshot.number, "best_prompt": best_run.pk, "outcome": verdict.outcome})
        result |= {"verdict": verdict.outcome, "best_prompt": best_run.pk, "words": verdict.words}


def _prompts(snapshot: Snapshot, train: list[FrozenRow]) -> list[tuple[str, Prompt]]:
    project = snapshot.project
    kind, schema, instructions = project.task_type, project.schema, project.instructions
    arms = [(Run.Kind.zero_shot.value, zero_shot(schema, instructions, kind))]
    texts, labels, data = [row.text for row in train], [row.label for row in train], [row.data for row in train]
    try:
        shots = choose_shots(texts, labels, per_label=SHOTS_PER_LABEL, seed=SEED, data=data) \
            if kind == "classification" else choose_written_shots(texts, labels, n=WRITTEN_SHOTS, seed=SEED, data=data)
    except ValueError as error:
        raise UserError(f"No prompt with examples can be made: {error}. Add gold rows of that label.") from None
    return [*arms, (Run.Kind.few_shot.value, few_shot(schema, instructions, shots, kind))] if shots else arms


class _Asker(Protocol):
    """Asks a model about rows: first on dev, under a prompt of a kind, then once on the test rows."""

    def try_on_dev(self, kind: str, prompt: Prompt, dev: list[FrozenRow]) -> _Arm: ...

    def look_at_test(self, arm: _Arm, test: list[FrozenRow]) -> tuple[Judged, float]:
        """Return how well it did, and the seconds that it took."""


def _asker(job: Job, progress: Progress, completions: list[str]) -> _Asker:
    if settings.GOLDPAN_LLM_URL:
        return _Endpoint(job, progress, completions)
    has_labels = task_type(job.project.task_type).HAS_LABELS
    return _Scorer(job, progress) if has_labels else _Writer(job, progress, completions)


class _Scorer:
    """Asks the embedded model, in a subprocess, for the likelihood of every label."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self.project, self.folder, self.progress = job.project, work_folder(job), progress

    def try_on_dev(self, kind: str, prompt: Prompt, dev: list[FrozenRow]) -> _Arm:
        labels = self.project.labels
        said = score_rows(dev, [prompt], folder=self.folder / f"dev-{kind}", progress=self.progress)[0]
        gold = np.array([labels.index(row.label) for row in dev])
        choices = calibrations(said, gold, [row.group for row in dev])
        calibration = best(choices)
        config = {"prompt": prompt_to_json(prompt), "prompt_sha256": prompt_sha256(prompt), "model": said.model,
                  "calibration": asdict(calibration), "prompt_tokens": said.prompt_tokens,
                  "calibrations": {choice.kind: choice.dev_accuracy for choice in choices}}
        return _Arm(kind, prompt, judge_scores(self.project, dev, said.scores, calibration), said.seconds, config,
                    calibration)

    def look_at_test(self, arm: _Arm, test: list[FrozenRow]) -> tuple[Judged, float]:
        said = score_rows(test, [arm.prompt], folder=self.folder / "test", progress=self.progress)[0]
        assert arm.calibration is not None
        return judge_scores(self.project, test, said.scores, arm.calibration), said.seconds


class _Writer:
    """Lets the embedded model write its answers, in a subprocess; one that cannot be read counts as wrong."""

    def __init__(self, job: Job, progress: Progress, completions: list[str]) -> None:
        self.project, self.folder, self.progress = job.project, work_folder(job), progress
        self.completions = completions

    def try_on_dev(self, kind: str, prompt: Prompt, dev: list[FrozenRow]) -> _Arm:
        judged, said = self._write(f"dev-{kind}", prompt, dev[:WRITTEN_DEV_ROWS])
        config = {"prompt": prompt_to_json(prompt), "prompt_sha256": prompt_sha256(prompt), "model": said.model,
                  "prompt_tokens": said.prompt_tokens, "answer_tokens": said.answer_tokens, "n_cut": said.n_cut,
                  "max_new_tokens": said.max_new_tokens}
        return _Arm(kind, prompt, judged, said.seconds, config)

    def look_at_test(self, arm: _Arm, test: list[FrozenRow]) -> tuple[Judged, float]:
        judged, said = self._write("test", arm.prompt, test)
        return judged, said.seconds

    def _write(self, name: str, prompt: Prompt, rows: list[FrozenRow]) -> tuple[Judged, WrittenAnswers]:
        [said] = write_rows(rows, [prompt], completions=self.completions, folder=self.folder / name,
                            progress=self.progress)
        return judge(self.project, rows, read_answers(prompt, rows, said.answers), answers=said.answers), said


class _Endpoint:
    """Asks an OpenAI-compatible endpoint for the answer itself; one that cannot be read counts as wrong."""

    def __init__(self, job: Job, progress: Progress, completions: list[str]) -> None:
        self.project, self.progress, self.longest = job.project, progress, max(map(len, completions), default=0)

    def try_on_dev(self, kind: str, prompt: Prompt, dev: list[FrozenRow]) -> _Arm:
        watch = Stopwatch()
        judged = self._ask(prompt, dev, "Asking the endpoint about dev rows")
        config: dict[str, Any] = {"prompt": prompt_to_json(prompt), "prompt_sha256": prompt_sha256(prompt),
                                  "model": settings.GOLDPAN_LLM_MODEL}
        calibration = None
        if prompt.has_labels:
            calibration = Calibration("as it is", (0.0,) * len(prompt.labels), judged.measured.value)
            config |= {"calibration": asdict(calibration), "calibrations": {calibration.kind: judged.measured.value}}
        return _Arm(kind, prompt, judged, watch.seconds, config, calibration)

    def look_at_test(self, arm: _Arm, test: list[FrozenRow]) -> tuple[Judged, float]:
        watch = Stopwatch()
        return self._ask(arm.prompt, test, "Asking the endpoint about test rows"), watch.seconds

    def _ask(self, prompt: Prompt, rows: list[FrozenRow], stage: str) -> Judged:
        answers = answer_rows(prompt, rows, longest=self.longest, progress=self.progress, stage=stage)
        said = [parse_label(answer, prompt) for answer in answers] if prompt.has_labels else read_answers(
            prompt, rows, answers)
        return judge(self.project, rows, said, answers=answers)


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
    contents = dict(Example.objects.filter(project=job.project, snapshot_rows__snapshot_id=job.params["snapshot"])
                    .values_list("key", "content_sha256"))
    ensure_embeddings(job, {contents[row.key]: row.text for row in (*train, *dev, *test)}, progress)

    def vectors(rows: list[FrozenRow]) -> np.ndarray:
        return load_embeddings([contents[row.key] for row in rows])

    watch = Stopwatch()
    given = vectors(train), [row.label for row in train], vectors(dev), [row.label for row in dev]
    is_sets = job.project.task_type == "multilabel"
    probe: Probe | SetsProbe = fit_sets_probe(*given, seed=SEED) if is_sets else fit_probe(*given, seed=SEED)
    fit_seconds = watch.seconds

    def predict(rows: list[FrozenRow]) -> tuple[Judged, float]:
        watch = Stopwatch()
        if isinstance(probe, SetsProbe):
            return judge(job.project, rows, probe.predict(vectors(rows))), watch.seconds
        probabilities = probe.predict_proba(vectors(rows))
        said = [probe.labels[k] for k in probabilities.argmax(axis=1)]
        return judge(job.project, rows, said, probability=list(probabilities.max(axis=1))), watch.seconds

    return _Probed(probe.inverse_regularisation, predict(dev), predict(test), fit_seconds)


def _write_probe(job: Job, snapshot: Snapshot, probed: _Probed) -> None:
    run = _new_run(job, snapshot, Run.Kind.probe, {"inverse_regularisation": probed.inverse_regularisation,
                                                   "encoder": encoder_name(settings.GOLDPAN_ENCODER)})
    for split, (judged, seconds) in (("dev", probed.dev), ("test", probed.test)):
        write_evaluation(run, split, judged, seconds=seconds, extra={"fit_seconds": probed.fit_seconds})
    TestLook.objects.create(project=snapshot.project, run=run, n=len(probed.test[0].predictions))


def _new_run(job: Job, snapshot: Snapshot, kind: str, config: dict[str, Any]) -> Run:
    return Run.objects.create(snapshot=snapshot, kind=kind, config=config, seed=SEED, job=job,
                              created_by=job.requested_by or snapshot.created_by)


def _evaluate(run: Run, split: str, judged: Judged, seconds: float, calibration: Calibration | None) -> Evaluation:
    if split == "test":
        TestLook.objects.create(project=run.project, run=run, n=len(judged.predictions))
    extra = {"calibration": calibration.kind} if calibration else {}
    return write_evaluation(run, split, judged, seconds=seconds, extra=extra)


def _write_verdict(best_run: Run, evaluation: Evaluation) -> Verdict:
    project = best_run.project
    found = gate(evaluation.measured, project.target_value)
    verdict = Verdict.objects.create(
        snapshot=best_run.snapshot, best_prompt=best_run, outcome=found.outcome, target_metric=project.target_metric,
        target_value=project.target_value, lower=found.lower, upper=found.upper, words=found.words,
        next_step=found.next_step)
    weigh_verdict(verdict)
    return verdict
