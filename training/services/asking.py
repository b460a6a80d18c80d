"""Asking the configured model about a snapshot's rows under a prompt: on dev, and the winner once on test."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from django.conf import settings

from curation.models import Snapshot
from curation.services.snapshots import FrozenRow
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import work_folder
from labeling.task_types import task_type
from training.models import Run
from training.openai_endpoint import parse_label
from training.prompts import Prompt, prompt_sha256, prompt_to_json
from training.services.endpoint import Usage, answer_rows
from training.services.scoring import (
    Calibration,
    Judged,
    RowShots,
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
from training.services.showing import Showable

WRITTEN_DEV_ROWS = 100  # a written answer takes seconds without a GPU: prompts are chosen on at most so many


@dataclass(frozen=True)
class Candidate:
    """A prompt that may be tried; kind: of Run. config: what its run remembers beside prompt and model."""

    kind: str
    prompt: Prompt
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
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

    @property
    def extra(self) -> dict[str, Any]:
        """What its evaluations say beside the metrics."""
        return {"calibration": self.calibration.kind} if self.calibration else {}


@dataclass(frozen=True)
class Tested:
    """How well the winner did on test, in how many seconds; extra: what its evaluation says beside the metrics."""

    judged: Judged
    seconds: float
    extra: dict[str, Any]


class Asker(Protocol):
    """Asks a model about rows: first on dev, under a prompt, then once on the test rows."""

    def try_on_dev(self, candidate: Candidate, dev: list[FrozenRow]) -> Arm: ...

    def look_at_test(self, arm: Arm, test: list[FrozenRow]) -> Tested: ...


def asker_for(job: Job, shown: Showable, progress: Progress, completions: list[str]) -> Asker:
    """The configured model. completions: the training answers, which say how long an answer may get."""
    if settings.GOLDPAN_LLM_URL:
        return _Endpoint(job, shown, progress, completions)
    has_labels = task_type(job.project.task_type).HAS_LABELS
    return _Scorer(job, shown, progress) if has_labels else _Writer(job, shown, progress, completions)


def _config(candidate: Candidate, model: str) -> dict[str, Any]:
    return {"prompt": prompt_to_json(candidate.prompt), "prompt_sha256": prompt_sha256(candidate.prompt),
            "model": model, **candidate.config}


def _balanced(calibration: Calibration, choices: Sequence[Calibration]) -> dict[str, Any]:
    return {"calibration": asdict(calibration),
            "calibrations": {choice.kind: choice.dev_accuracy for choice in choices}}


class _Scorer:
    """Asks the embedded model, in a subprocess, for the likelihood of every label."""

    def __init__(self, job: Job, shown: Showable, progress: Progress) -> None:
        self.project, self.folder, self.shown, self.progress = job.project, work_folder(job), shown, progress

    def try_on_dev(self, candidate: Candidate, dev: list[FrozenRow]) -> Arm:
        labels, prompt = self.project.labels, candidate.prompt
        said = score_rows(dev, [prompt], folder=self.folder / f"dev-{prompt_sha256(prompt)[:12]}",
                          progress=self.progress, shots=self.shown.nearest(dev, prompt.neighbours))[0]
        gold = np.array([labels.index(row.label) for row in dev])
        choices = calibrations(said, gold, [row.group for row in dev])
        calibration = best(choices)
        config = {**_config(candidate, said.model), "prompt_tokens": said.prompt_tokens,
                  **_balanced(calibration, choices)}
        return Arm(candidate.kind, prompt, judge_scores(self.project, dev, said.scores, calibration), said.seconds,
                   config, calibration)

    def look_at_test(self, arm: Arm, test: list[FrozenRow]) -> Tested:
        said = score_rows(test, [arm.prompt], folder=self.folder / "test", progress=self.progress,
                          shots=self.shown.nearest(test, arm.prompt.neighbours))[0]
        assert arm.calibration is not None
        return Tested(judge_scores(self.project, test, said.scores, arm.calibration), said.seconds, arm.extra)


class _Writer:
    """Lets the embedded model, in a subprocess, write the answers; one that cannot be read counts as wrong."""

    def __init__(self, job: Job, shown: Showable, progress: Progress, completions: list[str]) -> None:
        self.project, self.folder, self.shown, self.progress = job.project, work_folder(job), shown, progress
        self.completions = completions

    def try_on_dev(self, candidate: Candidate, dev: list[FrozenRow]) -> Arm:
        judged, said = self._write(f"dev-{prompt_sha256(candidate.prompt)[:12]}", candidate.prompt,
                                   dev[:WRITTEN_DEV_ROWS])
        config = {**_config(candidate, said.model), "prompt_tokens": said.prompt_tokens,
                  "answer_tokens": said.answer_tokens, "n_cut": said.n_cut, "max_new_tokens": said.max_new_tokens}
        return Arm(candidate.kind, candidate.prompt, judged, said.seconds, config)

    def look_at_test(self, arm: Arm, test: list[FrozenRow]) -> Tested:
        judged, said = self._write("test", arm.prompt, test)
        return Tested(judged, said.seconds, arm.extra)

    def _write(self, name: str, prompt: Prompt, rows: list[FrozenRow]) -> tuple[Judged, WrittenAnswers]:
        [said] = write_rows(rows, [prompt], completions=self.completions, folder=self.folder / name,
                            progress=self.progress, shots=self.shown.nearest(rows, prompt.neighbours))
        return judge(self.project, rows, read_answers(prompt, rows, said.answers), answers=said.answers), said


class _Endpoint:
    """Asks an OpenAI-compatible endpoint for the answer itself; one that cannot be read counts as wrong."""

    def __init__(self, job: Job, shown: Showable, progress: Progress, completions: list[str]) -> None:
        self.project, self.shown, self.progress = job.project, shown, progress
        self.longest = max(map(len, completions), default=0)

    def try_on_dev(self, candidate: Candidate, dev: list[FrozenRow]) -> Arm:
        watch, prompt = Stopwatch(), candidate.prompt
        judged, usage = self._ask(prompt, dev, f"Asking the endpoint about dev rows, {prompt.name}")
        config = {**_config(candidate, settings.GOLDPAN_LLM_MODEL), "usage": asdict(usage)}
        calibration = None
        if prompt.has_labels:
            calibration = Calibration("as it is", (0.0,) * len(prompt.labels), judged.measured.value)
            config |= _balanced(calibration, [calibration])
        return Arm(candidate.kind, prompt, judged, watch.seconds, config, calibration)

    def look_at_test(self, arm: Arm, test: list[FrozenRow]) -> Tested:
        watch = Stopwatch()
        judged, usage = self._ask(arm.prompt, test, "Asking the endpoint about test rows")
        return Tested(judged, watch.seconds, {**arm.extra, "usage": asdict(usage)})

    def _ask(self, prompt: Prompt, rows: list[FrozenRow], stage: str) -> tuple[Judged, Usage]:
        shots: RowShots = self.shown.nearest(rows, prompt.neighbours)
        told = answer_rows(self.project, prompt, rows, longest=self.longest, shots=shots, progress=self.progress,
                           stage=stage)
        said = [parse_label(answer, prompt) for answer in told.answers] if prompt.has_labels else read_answers(
            prompt, rows, told.answers)
        return judge(self.project, rows, said, answers=told.answers), told.usage


def write_tried(job: Job, snapshot: Snapshot, arm: Arm, *, seed: int = 0) -> Run:
    """Write down a prompt that was tried on dev, in the caller's transaction."""
    run = Run.objects.create(snapshot=snapshot, kind=arm.kind, config=arm.config, seed=seed, job=job,
                             created_by=job.requested_by or snapshot.created_by)
    write_evaluation(run, "dev", arm.dev, seconds=arm.seconds, extra=arm.extra)
    return run
