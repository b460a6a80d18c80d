"""Arms of an experiment learned by the small language model: does it say what the probe said?

1. An admin orders it: some arms, one recipe, at least three seeds, and what “the same budget” means: as many optimiser
   steps for every arm, or as many passes over its own rows.
2. Every arm is learned once for each seed, seed by seed, and judged on the experiment's judging rows. Each result is a
   row as soon as there is one: an attempt that is cut off goes on behind it.
3. When all are there they are compared as the experiment compares its arms, and the words are written down.
No adapter outlives its judging. Judging on test rows is a look at them: `n_arm_looks`.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count

from curation.canonical import canonical_line
from curation.experiments import difference, mean_accuracy, verdict
from curation.models import Experiment, ExperimentArm
from curation.services.experiments import SEED, judging_rows, right_of, rows_of
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, earlier_folders, enqueue, work_folder
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.services import audit
from training import arms
from training.arms import Labelled, Speed
from training.checkpoints import take_over
from training.config import TrainingConfig, n_steps
from training.models import Adapter, ArmResult, ArmTraining, ArmVerdict, Evaluation
from training.prompts import prompt_from_json, prompt_to_json, short

Rows = Sequence[tuple[int, str]]  # example ids and labels
MIN_SEEDS, MAX_SEEDS = 3, 10
UNITS = 100  # of progress, per training and its judging


@dataclass(frozen=True)
class Plan:
    """What is to be learned and how; `steps` of every training, None for the config's epochs over its own rows."""

    arms: list[ExperimentArm]
    n_seeds: int
    steps: int | None
    config: TrainingConfig

    @property
    def n_trainings(self) -> int:
        return len(self.arms) * self.n_seeds

    def steps_of(self, arm: ExperimentArm) -> int:
        return self.steps or n_steps(arm.n_rows, self.config)

    def passes_of(self, arm: ExperimentArm) -> float:
        """How often a training reads the arm's rows."""
        return self.steps_of(arm) * self.config.batch_size / arm.n_rows if self.steps else self.config.epochs


def plan_of(experiment: Experiment, *, positions: Sequence[int], n_seeds: int = MIN_SEEDS, steps: int | None = None,
            config: dict[str, Any] | None = None) -> Plan:
    """The plan as ordered. Raises UserError if it is none: too few arms or seeds, a value out of range."""
    chosen = [arm for arm in experiment.arms.all() if arm.position in positions]
    if len(chosen) < 2 or len(chosen) < len(set(positions)):
        raise UserError(f"Choose at least 2 of the experiment's arms; {len(chosen)} of them are chosen.")
    if not MIN_SEEDS <= n_seeds <= MAX_SEEDS:
        raise UserError(f"Choose {MIN_SEEDS} to {MAX_SEEDS} seeds, not {n_seeds}: one training says little.")
    if steps is not None and not 1 <= steps <= 100_000:
        raise UserError(f"A training takes 1 to 100,000 steps, not {steps}.")
    try:
        return Plan(chosen, n_seeds, steps, TrainingConfig(**{"threads": settings.GOLDPAN_THREADS, **(config or {})}))
    except (TypeError, ValueError) as error:
        raise UserError(f"This training cannot be started: {error}.") from None


def default_steps(found: Sequence[ExperimentArm], batch_size: int) -> int:
    """The same budget, unless somebody says otherwise: the largest arm is read once."""
    return arms.even_steps(max(arm.n_rows for arm in found), batch_size=batch_size)


def arms_obstacle(experiment: Experiment) -> str:
    """Why this experiment's arms cannot be learned by the language model, in words; "" if they can."""
    project = experiment.project
    if project.task_type != Project.TaskType.classification:
        return ("The language model learns the arms of experiments with one label per text; this project is "
                f"“{project.get_task_type_display()}”.")
    return ""


def start_arms(experiment: Experiment, plan: Plan, *, by: User, wake: bool = True) -> ArmTraining:
    """Queue the plan's trainings.

    Raises UserError if the type of task has none, texts have been erased or labels renamed since, the judging rows
    are not known any more, or the project's arms are being learned already.
    """
    if obstacle := arms_obstacle(experiment):
        raise UserError(obstacle)
    project = experiment.project
    prompt = short(project.schema)
    _check(_judges_of(experiment), plan.arms, known={label.name for label in prompt.labels})
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # of two clicks one starts
        if Job.objects.active().filter(project=project, kind="train_arms").exists():
            raise UserError("Arms are being learned in this project already. Wait for them, or cancel that job.")
        job = enqueue("train_arms", project, requested_by=by, exclusive="train", wake=wake,
                      title=f"Learning {len(plan.arms)} arms with LoRA, {plan.n_trainings} trainings")
        training = ArmTraining.objects.create(
            experiment=experiment, positions=[arm.position for arm in plan.arms], seeds=list(range(plan.n_seeds)),
            steps=plan.steps, job=job, created_by=by,
            config={"prompt": prompt_to_json(prompt), "training": asdict(plan.config)})
        audit(project, by, "train_arms", {"experiment": experiment.pk, "arm_training": training.pk,
                                          "n": plan.n_trainings})
    return training


def _judges_of(experiment: Experiment) -> Rows:
    return list(zip(*judging_rows(experiment), strict=True))


def _check(judges: Rows, chosen: Sequence[ExperimentArm], *, known: set[str]) -> None:
    rows = [row for draw in (judges, *(draw for arm in chosen for draw in rows_of(arm))) for row in draw]
    n_gone = sum(not text for text in _texts(rows).values())
    if n_gone:
        raise UserError(f"{n_gone:,} of the experiment's texts have been erased since. Run the experiment again.")
    if unknown := sorted({label for _, label in rows} - known):
        raise UserError(f"The experiment has labels that the project has not: {', '.join(unknown)}. Run it again.")


def _texts(rows: Rows) -> dict[int, str]:
    """Example id → text."""
    return dict(Example.objects.filter(pk__among={pk for pk, _ in rows}).values_list("pk", "text"))


def _labelled(rows: Rows) -> list[Labelled]:
    text_of = _texts(rows)
    return [Labelled(text_of[pk], label) for pk, label in rows]


def run_train_arms(job: Job, progress: Progress) -> None:
    training = ArmTraining.objects.select_related("experiment__project").get(job=job)
    experiment, project, by = training.experiment, training.experiment.project, job.requested_by
    chosen = [arm for arm in experiment.arms.all() if arm.position in training.positions]
    rows = _judges_of(experiment)
    _check(rows, chosen, known={label["name"] for label in training.config["prompt"]["labels"]})
    judges = _labelled(rows)
    done = set(training.results.values_list("arm_id", "seed"))
    left = [(arm, seed) for seed in training.seeds for arm in chosen if (arm.pk, seed) not in done]
    for number, (arm, seed) in enumerate(left):
        _learn(training, arm, seed, judges, _part(progress, number, len(left)))
    progress("Comparing", 0, 1)
    found, words = _compared(training, chosen, [pk for pk, _ in rows])
    with completing(job) as result:
        ArmVerdict.objects.create(training=training, words=words, arms=found)
        audit(project, by, "trained_arms", {"experiment": experiment.pk, "arm_training": training.pk,
                                            "split": experiment.split, "n": len(rows)})
        result |= {"experiment": experiment.pk, "arm_training": training.pk, "words": words, "arms": found}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


def _part(progress: Progress, number: int, n: int) -> Progress:
    """One training's progress as its part of all that are left; one stage, so that the time left is that of all."""

    def part(stage: str, done: int, total: int) -> None:
        progress(f"Training {n} model{'' if n == 1 else 's'}", UNITS * number + (UNITS * done // total if total else 0),
                 UNITS * n)

    return part


def _learn(training: ArmTraining, arm: ExperimentArm, seed: int, judges: Sequence[Labelled],
           progress: Progress) -> None:
    """Learn the arm's draw with this seed and write down how it was judged; draws take turns where seeds are more."""
    started = time.perf_counter()
    draws = rows_of(arm)
    name = f"arm-{arm.position}-seed-{seed}"
    folder = work_folder(training.job) / name
    take_over([place / name / arms.TRAINING for place in earlier_folders(training.job)], folder / arms.TRAINING)
    made = arms.learn_and_judge(
        _labelled(draws[seed % len(draws)]), judges, model=settings.GOLDPAN_BASE_MODEL,
        prompt=prompt_from_json(training.config["prompt"]), steps=training.steps, folder=folder, progress=progress,
        config=replace(TrainingConfig(**training.config["training"]), seed=seed))
    seconds = max(time.perf_counter() - started, made.train_seconds + made.score_seconds)  # all attempts trained
    stored = put_object(settings.GOLDPAN_OBJECTS, canonical_line({"right": made.right.astype(int).tolist()}))
    ArmResult.objects.get_or_create(training=training, arm=arm, seed=seed, defaults={
        "n": len(made.right), "n_right": int(made.right.sum()), "right_sha256": stored, "seconds": seconds,
        "receipt": {key: value for key, value in asdict(made).items() if key != "right"}})
    shutil.rmtree(folder)  # the adapter has said what it was trained for


def _compared(training: ArmTraining, chosen: Sequence[ExperimentArm],
              ids: Sequence[int]) -> tuple[list[dict[str, Any]], list[str]]:
    """Every arm's figures beside the probe's, and the words."""
    group_of = dict(Example.objects.filter(pk__among=ids).values_list("pk", "group"))
    groups = np.array([group_of[pk] for pk in ids])
    results = {arm.pk: [one for one in training.results.order_by("seed") if one.arm_id == arm.pk] for arm in chosen}
    right = {arm.name: np.stack([_read_right(one) for one in results[arm.pk]]) for arm in chosen}
    probe = {arm.name: right_of(arm) for arm in chosen}
    first = chosen[0].name

    def gap(said: dict[str, np.ndarray], name: str) -> dict[str, Any] | None:
        return None if name == first else asdict(difference(said[first], said[name], groups, seed=SEED))

    found = [{"position": arm.position, "accuracies": [float(row.mean()) for row in right[arm.name]],
              "accuracy": asdict(mean_accuracy(right[arm.name], groups, seed=SEED)),
              "difference": gap(right, arm.name),
              "probe": {"accuracy": asdict(mean_accuracy(probe[arm.name], groups, seed=SEED)),
                        "difference": gap(probe, arm.name)},
              "steps": results[arm.pk][0].receipt["steps"],
              "seconds": float(np.mean([one.seconds for one in results[arm.pk]]))} for arm in chosen]
    words = _verdict(right, groups)
    if {"gold", "random of the gold's kind"} <= right.keys() and first != "random of the gold's kind":
        words += _verdict({name: right[name] for name in ("random of the gold's kind", "gold")}, groups)
    return found, [*words, _agreement([arm.name for arm in chosen], found)]


def _agreement(names: Sequence[str], found: Sequence[dict[str, Any]]) -> str:
    """Whether the probe's differences say the same: better, worse, or nothing shown."""
    told = {(True, False): "worse", (False, True): "better", (False, False): "no different"}

    def says(gap: dict[str, Any]) -> str:
        return told[gap["high"] < 0, gap["low"] > 0]

    other = [f"“{name}” {says(one['probe']['difference'])}" for name, one in zip(names, found, strict=True)
             if one["difference"] and says(one["difference"]) != says(one["probe"]["difference"])]
    if not other:
        return "The probe said the same of every arm."
    return f"The probe said otherwise: it found {', '.join(other)}."


def _verdict(right: dict[str, np.ndarray], groups: np.ndarray) -> list[str]:
    first, *others = right.values()
    return verdict(list(right), [mean_accuracy(one, groups, seed=SEED) for one in right.values()],
                   [None, *(difference(first, other, groups, seed=SEED) for other in others)])


def _read_right(result: ArmResult) -> np.ndarray:
    with open_object(settings.GOLDPAN_OBJECTS, result.right_sha256) as file:
        return np.array(json.loads(file.read())["right"], dtype=bool)


def n_arm_looks(project: Project) -> int:
    """How many arm trainings have looked at the test rows; one that judged a single model has."""
    looked = ArmResult.objects.filter(training__experiment__project=project, training__experiment__split="test")
    return int(looked.aggregate(n=Count("training", distinct=True))["n"])


@dataclass(frozen=True)
class Forecast:
    """How long a plan takes at a measured speed: seconds of one training of each arm, and of all, rounded.

    source: what was measured, in words.
    """

    seconds: list[float]
    total: float
    source: str


def forecast_of(experiment: Experiment, plan: Plan) -> Forecast | None:
    """The plan at the speed of the newest training of this project, else of this installation; None without any."""
    measured = _measured(experiment.project)
    if measured is None:
        return None
    speed, source = measured
    seconds = [speed.seconds(steps=plan.steps_of(arm), batch_size=plan.config.batch_size, n_judges=experiment.n)
               for arm in plan.arms]
    total = sum(seconds) * plan.n_seeds
    unit = 60 if total > 100 else 10
    return Forecast(seconds, max(unit, unit * round(total / unit)), source)


def _measured(project: Project) -> tuple[Speed, str] | None:
    result = ArmResult.objects.filter(training__experiment__project=project).last()
    if result is not None:
        return _speed_of_result(result), f"training {result.training_id} of an experiment's arms"
    adapter = Adapter.objects.filter(project=project).select_related("run").first()
    if adapter is not None:
        return _speed_of_adapter(adapter), f"run {adapter.run_id}"
    elsewhere = "a training in another project here, whose texts may be longer or shorter"
    if (result := ArmResult.objects.last()) is not None:
        return _speed_of_result(result), elsewhere
    if (adapter := Adapter.objects.select_related("run").first()) is not None:
        return _speed_of_adapter(adapter), elsewhere
    return None


def _speed_of_result(result: ArmResult) -> Speed:
    receipt, batch_size = result.receipt, result.training.config["training"]["batch_size"]
    train, score = receipt["train_seconds"], receipt["score_seconds"]
    return Speed(train / (receipt["steps"] * batch_size), score / result.n, max(0.0, result.seconds - train - score))


def _speed_of_adapter(adapter: Adapter) -> Speed:
    """Judging from the run's evaluation; where there is none a row costs a pass forward of three."""
    receipt = adapter.receipt
    per_row = receipt["train_seconds"] / (receipt["steps"] * adapter.run.config["training"]["batch_size"])
    judged = Evaluation.objects.filter(run=adapter.run, split="test").first()
    return Speed(per_row, judged.seconds / judged.n if judged else per_row / arms.PASSES)
