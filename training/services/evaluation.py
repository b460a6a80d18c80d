"""Evaluating an adapter on the rows that the best prompt was judged on."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse

from curation.services.snapshots import FrozenRow, read_rows
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from labeling.task_types.preference import LEFT, RIGHT, TIE
from projects.errors import UserError
from projects.services import audit, notify
from projects.wording import counted, percent_words
from stats.paired import compare_right_wrong
from training.metrics import NAMES
from training.models import Adapter, Evaluation, Run, TestLook
from training.pairs import BETA
from training.prompts import Prompt, prompt_from_json
from training.services.comparison import SEED, is_right
from training.services.general import queue_general_check
from training.services.scoring import (
    CALIBRATIONS,
    Calibration,
    Judged,
    best,
    calibrations,
    judge,
    judge_scores,
    read_answers,
    read_pairs,
    score_rows,
    write_evaluation,
    write_rows,
)
from training.services.stored import materialise


def queue_evaluation(run: Run, *, by: User, wake: bool = True) -> Job:
    """Queue the evaluation of a trained run; one that is queued already is returned."""
    return enqueue("evaluate", run.project, title=f"Evaluating the adapter of run {run.pk}", requested_by=by,
                   params={"run": run.pk}, exclusive=f"evaluate:{run.pk}", dedupe_key=f"evaluate:{run.pk}", wake=wake)


def run_evaluate(job: Job, progress: Progress) -> None:
    """Choose the calibration on dev where answers are labels, then look at the test rows once."""
    run = Run.objects.select_related("snapshot__project").get(pk=job.params["run"])
    if Evaluation.objects.filter(run=run, split="test").exists():
        raise UserError(f"{run} has been evaluated already; test rows are looked at once per run.")
    prompt = prompt_from_json(run.config["prompt"])
    folder = work_folder(job)
    adapter = materialise(Adapter.objects.get(run=run), folder / "adapter")
    answer = _preferred if run.kind == Run.Kind.dpo else _scored if prompt.has_labels else _written
    found = answer(run, prompt, adapter, folder, progress)
    with completing(job) as result:
        for split, judged, seconds in found.splits:
            evaluation = write_evaluation(run, split, judged, seconds=seconds, extra=found.extra)
        TestLook.objects.create(project=run.project, run=run, n=evaluation.n)
        measured = evaluation.measured
        said = {"n_right": measured.n_right, "n": evaluation.n} if measured.n_right is not None else {
            "metric": measured.metric, "value": measured.value, "n": evaluation.n, "n_unread": evaluation.n_unread}
        queue_general_check(Adapter.objects.get(run=run), by=job.requested_by)
        audit(run.project, job.requested_by, "evaluate", {"run": run.pk, **said})
        notify(run.project, "run.evaluated", people=[job.requested_by], link=reverse("training:run", args=[run.pk]),
               title=f"Run {run.pk}: {NAMES[measured.metric]} {percent_words(measured.value)} on "
                     f"{counted(evaluation.n, 'test row')}",
               data={"run": run.pk, "metric": measured.metric, "value": measured.value, "n": evaluation.n})
        result |= {"run": run.pk, **said}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


@dataclass(frozen=True)
class _Found:
    """What an adapter did, split by split with the seconds it took, the test rows last; and how that came about."""

    splits: list[tuple[str, Judged, float]]
    extra: dict[str, Any]


def _scored(run: Run, prompt: Prompt, adapter: Path, folder: Path, progress: Progress) -> _Found:
    """Every label's likelihood for dev and test rows, balanced as is best on dev."""
    dev, test = read_rows(run.snapshot, "dev"), read_rows(run.snapshot, "test")
    said = score_rows([*dev, *test], [prompt], folder=folder, progress=progress, adapter=adapter)[0]
    gold = np.array([run.project.labels.index(row.label) for row in dev])
    choices = calibrations(replace(said, scores=said.scores[:len(dev)]), gold, [row.group for row in dev])
    calibration = best(choices)
    share = len(test) / (len(dev) + len(test))
    return _Found([
        ("dev", judge_scores(run.project, dev, said.scores[:len(dev)], calibration), said.seconds * (1 - share)),
        ("test", judge_scores(run.project, test, said.scores[len(dev):], calibration), said.seconds * share)],
        {"calibration": calibration.kind, "calibration_details": asdict(calibration),
         "calibrations": {choice.kind: choice.dev_accuracy for choice in choices}})


def _preferred(run: Run, prompt: Prompt, adapter: Path, folder: Path, progress: Progress) -> _Found:
    """The answer of each pair whose likelihood the adapter has raised more; a tie is never said.

    Beside it on the same test rows what the base model finds likelier by token, before anything was learned.
    """
    dev, test = read_rows(run.snapshot, "dev"), read_rows(run.snapshot, "test")
    said = read_pairs([*dev, *test], prompt, folder=folder, progress=progress, adapter=adapter)
    labels, n_dev = run.project.labels, len(dev)
    sides = [labels.index(side) for side in (LEFT, RIGHT)]
    as_it_is = Calibration(CALIBRATIONS[0], (0.0,) * len(labels), 0.0)

    def judged(rows: Sequence[FrozenRow], values: np.ndarray) -> Judged:
        scores = np.full((len(rows), len(labels)), -np.inf)
        scores[:, sides] = values
        return judge_scores(run.project, rows, scores, as_it_is)

    rewards = BETA * (said.adapted - said.base)
    mine, before = judged(test, rewards[n_dev:]), judged(test, (said.base / said.lengths)[n_dev:])
    before_right, mine_right = (np.array([is_right(one) for one in found.predictions]) for found in (before, mine))
    against = compare_right_wrong(before_right, mine_right, seed=SEED,
                                  groups=np.unique([row.group for row in test], return_inverse=True)[1])
    share = len(test) / (n_dev + len(test))
    return _Found([("dev", judged(dev, rewards[:n_dev]), said.seconds * (1 - share)),
                   ("test", mine, said.seconds * share)],
                  {"untrained": asdict(before.measured.interval), "against_untrained": asdict(against.difference),
                   "n_ties": sum(row.label == TIE for row in test)})


def _written(run: Run, prompt: Prompt, adapter: Path, folder: Path, progress: Progress) -> _Found:
    """What the adapter writes about the test rows; nothing is chosen on dev, so that nothing is written there."""
    test = read_rows(run.snapshot, "test")
    [said] = write_rows(test, [prompt], completions=[row.label for row in read_rows(run.snapshot, "train")],
                        folder=folder, progress=progress, adapter=adapter)
    judged = judge(run.project, test, read_answers(prompt, test, said.answers), answers=said.answers)
    return _Found([("test", judged, said.seconds)], {"answer_tokens": said.answer_tokens, "n_cut": said.n_cut,
                                                     "max_new_tokens": said.max_new_tokens})
