"""The comparison page's evidence: every rival on the same test rows, and LoRA against the best prompt in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.models import Snapshot
from curation.services.experiments import n_test_looks
from projects.wording import THIN, in_unit
from stats.intervals import Interval, wilson
from stats.paired import PairedComparison, compare_right_wrong, difference_lower_bound
from training.models import Adapter, Evaluation, Run, TestLook, Verdict
from training.services.scoring import CALIBRATIONS, Prediction, read_predictions
from training.verdict import compare_words

SEED = 0
MAX_LOOKS = 10  # after so many looks a test split should be refreshed
FEW_ROWS = 30  # a label with fewer test rows says little


@dataclass(frozen=True)
class Rival:
    """A run that has been judged on the test rows; `against_prompt` is None for the best prompt itself."""

    run: Run
    evaluation: Evaluation
    adapter: Adapter | None
    accuracy: Interval
    macro_f1: Interval
    is_best_prompt: bool
    against_prompt: PairedComparison | None
    train_seconds: float | None

    @property
    def name(self) -> str:
        return self.run.get_kind_display()

    @property
    def is_lora(self) -> bool:
        return self.run.kind == Run.Kind.lora

    @property
    def is_better(self) -> bool:
        """Shown to be better than the best prompt: the interval of the difference lies above 0."""
        return self.against_prompt is not None and self.against_prompt.difference.low > 0

    @property
    def is_worse(self) -> bool:
        return self.against_prompt is not None and self.against_prompt.difference.high < 0

    @property
    def p_words(self) -> str:
        """The p-value of the paired test: “p < 0.001”, “p = 0.04”; "" for the best prompt itself."""
        if self.against_prompt is None:
            return ""
        p = self.against_prompt.p_value
        return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"

    @property
    def right_range(self) -> str:
        return _range(self.accuracy, "percent")

    @property
    def macro_f1_range(self) -> str:
        return _range(self.macro_f1, "percent")

    @property
    def difference_range(self) -> str:
        return _range(self.against_prompt.difference, "points") if self.against_prompt else ""

    @property
    def n_flips(self) -> int:
        """Test rows on which exactly one of this and the best prompt is right."""
        return self.against_prompt.only_first + self.against_prompt.only_second if self.against_prompt else 0

    @property
    def calibration(self) -> str:
        return str(self.evaluation.metrics.get("calibration", ""))

    @property
    def seconds_per_thousand(self) -> float:
        """Wall time of answering 1,000 rows on this machine."""
        return 1000 * self.evaluation.seconds / self.evaluation.n


def _range(interval: Interval, unit: str) -> str:
    """The interval alone, as it stands small under its figure: “52.1 to 69.1”."""
    low, high = (in_unit(end, unit).removesuffix(" points").removesuffix(f"{THIN}%")
                 for end in (interval.low, interval.high))
    return f"{low} to {high}"


@dataclass(frozen=True)
class DevTry:
    """What a run got on dev: under each of the calibrations in their order, None where it was not tried."""

    run: Run
    cells: list[Interval | None]
    chosen: int | None
    was_tested: bool


@dataclass(frozen=True)
class LabelLine:
    """One label's scores on the test rows: of the best prompt, and of the adapter where there is one.

    n_won, n_lost: rows of the label on which the adapter alone, or the prompt alone, is right.
    """

    label: str
    n: int
    prompt: Mapping[str, float]
    lora: Mapping[str, float] | None
    n_won: int
    n_lost: int

    @property
    def is_small(self) -> bool:
        return self.n < FEW_ROWS


@dataclass(frozen=True)
class Comparison:
    """All that is known about one snapshot's rivals.

    dev: what was tried on dev, for the curious. lora: the LoRA run that the words are about, if any.
    probe_lead: how much better the linear probe is than that LoRA run, where it is shown to be better.
    tone: whether the answer is "yes", "no" or "open".
    """

    snapshot: Snapshot
    verdict: Verdict | None
    rivals: list[Rival]
    dev: list[DevTry]
    labels: list[LabelLine]
    lora: Rival | None
    probe_lead: Interval | None
    headline: str
    paragraph: str
    tone: str
    n_looks: int

    @property
    def question(self) -> str:
        """The headline's question, "" where it asks none."""
        question, mark, _ = self.headline.partition("? ")
        return question + mark.strip() if mark else ""

    @property
    def answer(self) -> str:
        return self.headline.removeprefix(self.question).strip()

    @property
    def accuracies(self) -> list[Interval]:
        return [rival.accuracy for rival in self.rivals]

    @property
    def has_looked_enough(self) -> bool:
        return self.n_looks >= MAX_LOOKS

    @property
    def n_dev(self) -> int:
        return next((cell.n for tried in self.dev for cell in tried.cells if cell), 0)

    @property
    def best_prompt(self) -> Rival | None:
        return next((rival for rival in self.rivals if rival.is_best_prompt), None)

    @property
    def probe(self) -> Rival | None:
        return next((rival for rival in self.rivals if rival.run.kind == Run.Kind.probe), None)

    @property
    def is_probe_enough(self) -> bool:
        """Whether the linear probe's whole interval lies at or above the target."""
        return self.probe is not None and self.probe.accuracy.low >= self.snapshot.project.target_value


def compare(snapshot: Snapshot, *, lora_run: Run | None = None) -> Comparison:
    """Return the comparison as far as it has come; pairs every rival with the best prompt row by row.

    lora_run: the LoRA run to speak of; the newest that has been evaluated if left out.
    """
    verdict = Verdict.objects.filter(snapshot=snapshot).select_related("best_prompt").first()
    evaluations = list(Evaluation.objects.filter(snapshot=snapshot)
                       .select_related("run__snapshot__project", "run__adapter").order_by("run_id"))
    judged = [evaluation for evaluation in evaluations if evaluation.split == "test"]
    said = {evaluation.pk: read_predictions(evaluation) for evaluation in judged}
    prompt = next((e for e in judged if verdict and e.run_id == verdict.best_prompt_id), None)
    rivals = [_rival(evaluation, prompt, said) for evaluation in judged]
    lora = next((rival for rival in reversed(rivals) if rival.is_lora and lora_run in (None, rival.run)), None)
    headline, paragraph = _words(snapshot, verdict, rivals, lora)
    return Comparison(
        snapshot=snapshot, verdict=verdict, rivals=rivals, lora=lora, headline=headline, paragraph=paragraph,
        tone=_tone(verdict, lora), probe_lead=_probe_lead(rivals, lora, said),
        dev=_dev_tries(evaluations, {evaluation.run_id for evaluation in judged}),
        labels=_label_lines(prompt, lora.evaluation if lora else None, said) if prompt else [],
        n_looks=TestLook.objects.filter(project=snapshot.project).count() + n_test_looks(snapshot.project))


def _rival(evaluation: Evaluation, prompt: Evaluation | None, said: Mapping[int, Sequence[Prediction]]) -> Rival:
    is_best_prompt = prompt is not None and evaluation.pk == prompt.pk
    adapter = getattr(evaluation.run, "adapter", None)
    return Rival(
        run=evaluation.run, evaluation=evaluation, adapter=adapter,
        accuracy=Interval(**evaluation.metrics["accuracy"]), macro_f1=Interval(**evaluation.metrics["macro_f1"]),
        is_best_prompt=is_best_prompt,
        against_prompt=_pair(said[prompt.pk], said[evaluation.pk]) if prompt and not is_best_prompt else None,
        train_seconds=adapter.receipt["train_seconds"] if adapter else evaluation.metrics.get("fit_seconds"))


def _tone(verdict: Verdict | None, lora: Rival | None) -> str:
    if lora is not None:
        return "yes" if lora.is_better else "no" if lora.is_worse else "open"
    return "yes" if verdict and verdict.outcome == Verdict.Outcome.prompt_ok else "open"


def _probe_lead(rivals: Sequence[Rival], lora: Rival | None,
                said: Mapping[int, Sequence[Prediction]]) -> Interval | None:
    probe = next((rival for rival in rivals if rival.run.kind == Run.Kind.probe), None)
    if lora is None or probe is None:
        return None
    lead = _pair(said[lora.evaluation.pk], said[probe.evaluation.pk]).difference
    return lead if lead.low > 0 else None


def _dev_tries(evaluations: Sequence[Evaluation], tested: set[int]) -> list[DevTry]:
    tries = []
    for evaluation in evaluations:
        if evaluation.split == "dev":
            metrics, run = evaluation.metrics, evaluation.run
            shares = metrics.get("calibrations") or run.config.get("calibrations") or {
                CALIBRATIONS[0]: evaluation.n_right / evaluation.n}
            cells = [wilson(round(shares[kind] * evaluation.n), evaluation.n) if kind in shares else None
                     for kind in CALIBRATIONS]
            kind = metrics.get("calibration", CALIBRATIONS[0])
            tries.append(DevTry(run, cells, CALIBRATIONS.index(kind) if kind in CALIBRATIONS else None,
                                run.pk in tested))
    return tries


def _label_lines(prompt: Evaluation, lora: Evaluation | None,
                 said: Mapping[int, Sequence[Prediction]]) -> list[LabelLine]:
    scores = _by_label(lora) if lora else {}
    won: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for a, b in zip(said[prompt.pk], said[lora.pk], strict=True) if lora else ():
        won[a.gold] += _is_right(b) and not _is_right(a)
        lost[a.gold] += _is_right(a) and not _is_right(b)
    return [LabelLine(label, score["n"], score, scores.get(label), won[label], lost[label])
            for label, score in _by_label(prompt).items()]


def _by_label(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    return {score["label"]: score for score in evaluation.metrics["per_label"]}


def _words(snapshot: Snapshot, verdict: Verdict | None, rivals: list[Rival], lora: Rival | None) -> tuple[str, str]:
    prompt = next((rival for rival in rivals if rival.is_best_prompt), None)
    if verdict is None or prompt is None:
        return "No prompt has been tried yet.", "Run the baseline: it is what any training has to beat."
    if lora is None or lora.against_prompt is None:
        return verdict.advice_words + ".", f"{verdict.all_words} {verdict.step}"
    probe = next((rival for rival in rivals if rival.run.kind == Run.Kind.probe), None)
    return compare_words(prompt.accuracy, lora.accuracy, probe.accuracy if probe else None, lora.against_prompt,
                         snapshot.project.target_value)


def pair(first: Evaluation, second: Evaluation) -> PairedComparison:
    """Compare two runs row by row on the same test rows."""
    return _pair(read_predictions(first), read_predictions(second))


def lower_bound(first: Evaluation, second: Evaluation) -> float:
    """The one-sided 95 % lower bound of accuracy(second) - accuracy(first)."""
    a, b = read_predictions(first), read_predictions(second)
    return difference_lower_bound(*_right(a, b), groups=_groups(a), seed=SEED)


def _pair(first: Sequence[Prediction], second: Sequence[Prediction]) -> PairedComparison:
    return compare_right_wrong(*_right(first, second), groups=_groups(first), seed=SEED)


def _right(first: Sequence[Prediction], second: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    if [prediction.key for prediction in first] != [prediction.key for prediction in second]:
        raise ValueError("two evaluations of different rows, or in another order, cannot be paired")
    return np.array([_is_right(prediction) for prediction in first]), np.array([_is_right(p) for p in second])


def _is_right(prediction: Prediction) -> bool:
    return prediction.predicted == prediction.gold


def _groups(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.unique([prediction.group for prediction in predictions], return_inverse=True)[1]


@dataclass(frozen=True)
class Flip:
    """A test row that two runs answer differently: one right, one wrong. `example` is its id."""

    example: int
    key: str
    text: str
    gold: str
    first: str | None
    second: str | None
    is_second_right: bool


def flips(first: Evaluation, second: Evaluation) -> list[Flip]:
    """The rows on which exactly one of two runs is right: those that the second loses first, label by label."""
    said = {prediction.key: prediction for prediction in read_predictions(second)}
    differing = [a for a in read_predictions(first) if _is_right(a) != _is_right(said[a.key])]
    texts = {key: (pk, text) for key, pk, text in first.snapshot.rows.filter(split="test").values_list(
        "example__key", "example_id", "example__text")}
    found = [Flip(texts[a.key][0], a.key, texts[a.key][1], a.gold, a.predicted, said[a.key].predicted,
                  _is_right(said[a.key])) for a in differing]
    return sorted(found, key=lambda flip: (flip.is_second_right, flip.gold, flip.key))
