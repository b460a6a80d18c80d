"""The comparison page's evidence: every rival on the same test rows, and LoRA against the best prompt in words."""

from dataclasses import dataclass

import numpy as np

from curation.models import Snapshot
from stats.intervals import Interval
from stats.paired import PairedComparison, compare_right_wrong, difference_lower_bound
from training.models import Evaluation, Run, TestLook, Verdict
from training.services.scoring import read_predictions
from training.verdict import compare_words

SEED = 0
MAX_LOOKS = 10  # after so many looks a test split should be refreshed


@dataclass(frozen=True)
class Rival:
    """A run that has been judged on the test rows; `against_prompt` is None for the best prompt itself."""

    run: Run
    evaluation: Evaluation
    accuracy: Interval
    macro_f1: Interval
    is_best_prompt: bool
    against_prompt: PairedComparison | None
    train_seconds: float | None

    @property
    def name(self) -> str:
        return self.run.get_kind_display()

    @property
    def calibration(self) -> str:
        return str(self.evaluation.metrics.get("calibration", ""))

    @property
    def seconds_per_thousand(self) -> float:
        """Wall time of answering 1,000 rows on this machine."""
        return 1000 * self.evaluation.seconds / self.evaluation.n


@dataclass(frozen=True)
class Comparison:
    """All that is known about one snapshot's rivals.

    dev: what was tried on dev only, for the curious. lora: the newest evaluated LoRA run, if any.
    """

    snapshot: Snapshot
    verdict: Verdict | None
    rivals: list[Rival]
    dev: list[Evaluation]
    lora: Rival | None
    headline: str
    paragraph: str
    n_looks: int

    @property
    def best_prompt(self) -> Rival | None:
        return next((rival for rival in self.rivals if rival.is_best_prompt), None)


def compare(snapshot: Snapshot) -> Comparison:
    """Return the comparison as far as it has come; pairs every rival with the best prompt row by row."""
    verdict = Verdict.objects.filter(snapshot=snapshot).select_related("best_prompt").first()
    evaluations = list(Evaluation.objects.filter(snapshot=snapshot).select_related("run__snapshot__project")
                       .order_by("run_id"))
    judged = [evaluation for evaluation in evaluations if evaluation.split == "test"]
    prompt = next((e for e in judged if verdict and e.run_id == verdict.best_prompt_id), None)
    rivals = [_rival(evaluation, prompt) for evaluation in judged]
    lora = next((rival for rival in reversed(rivals) if rival.run.kind == Run.Kind.lora), None)
    headline, paragraph = _words(snapshot, verdict, rivals, lora)
    return Comparison(
        snapshot=snapshot, verdict=verdict, rivals=rivals, lora=lora, headline=headline, paragraph=paragraph,
        dev=[evaluation for evaluation in evaluations if evaluation.split == "dev"],
        n_looks=TestLook.objects.filter(project=snapshot.project).count())


def _rival(evaluation: Evaluation, prompt: Evaluation | None) -> Rival:
    is_best_prompt = prompt is not None and evaluation.pk == prompt.pk
    adapter = getattr(evaluation.run, "adapter", None)
    return Rival(
        run=evaluation.run, evaluation=evaluation, accuracy=Interval(**evaluation.metrics["accuracy"]),
        macro_f1=Interval(**evaluation.metrics["macro_f1"]), is_best_prompt=is_best_prompt,
        against_prompt=pair(prompt, evaluation) if prompt and not is_best_prompt else None,
        train_seconds=adapter.receipt["train_seconds"] if adapter else None)


def _words(snapshot: Snapshot, verdict: Verdict | None, rivals: list[Rival], lora: Rival | None) -> tuple[str, str]:
    prompt = next((rival for rival in rivals if rival.is_best_prompt), None)
    if verdict is None or prompt is None:
        return "No prompt has been tried yet.", "Run the baseline: it is what any training has to beat."
    if lora is None or lora.against_prompt is None:
        return verdict.get_outcome_display() + ".", f"{verdict.words} {verdict.next_step}"
    probe = next((rival for rival in rivals if rival.run.kind == Run.Kind.probe), None)
    return compare_words(prompt.accuracy, lora.accuracy, probe.accuracy if probe else None, lora.against_prompt,
                         snapshot.project.target_value)


def pair(first: Evaluation, second: Evaluation) -> PairedComparison:
    """Compare two runs row by row on the same test rows."""
    return compare_right_wrong(*_right(first, second), groups=_groups(first), seed=SEED)


def lower_bound(first: Evaluation, second: Evaluation) -> float:
    """The one-sided 95 % lower bound of accuracy(second) - accuracy(first)."""
    return difference_lower_bound(*_right(first, second), groups=_groups(first), seed=SEED)


def _right(first: Evaluation, second: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    a = {prediction.key: prediction.predicted == prediction.gold for prediction in read_predictions(first)}
    b = {prediction.key: prediction.predicted == prediction.gold for prediction in read_predictions(second)}
    if a.keys() != b.keys():
        raise ValueError(f"evaluations {first.pk} and {second.pk} are of different rows")
    return np.array(list(a.values())), np.array([b[key] for key in a])


def _groups(evaluation: Evaluation) -> np.ndarray:
    return np.unique([prediction.group for prediction in read_predictions(evaluation)], return_inverse=True)[1]


@dataclass(frozen=True)
class Flip:
    """A test row that two runs answer differently: one right, one wrong."""

    key: str
    text: str
    gold: str
    first: str | None
    second: str | None
    is_second_right: bool


def flips(first: Evaluation, second: Evaluation) -> list[Flip]:
    """The rows on which exactly one of two runs is right, those that the second loses first."""
    said = {prediction.key: prediction for prediction in read_predictions(second)}
    texts = dict(first.snapshot.rows.filter(split="test").values_list("example__key", "example__text"))
    found = [Flip(a.key, texts[a.key], a.gold, a.predicted, said[a.key].predicted, said[a.key].predicted == a.gold)
             for a in read_predictions(first) if (a.predicted == a.gold) != (said[a.key].predicted == a.gold)]
    return sorted(found, key=lambda flip: (flip.is_second_right, flip.key))
