"""The comparison page's evidence: every rival on the same test rows, and LoRA against the best prompt in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils.text import capfirst

from curation.answers import Answers
from curation.models import Snapshot
from curation.services.experiments import n_test_looks
from projects.models import Project
from projects.wording import THIN, in_unit
from stats.intervals import Interval, wilson
from stats.paired import PairedComparison, PairedScores, compare_right_wrong, difference_lower_bound
from training.judging import TIE, win_headline
from training.metrics import Measured, paired
from training.models import Adapter, Evaluation, Run, TestLook, Verdict
from training.services.arms import n_arm_looks
from training.services.pairwise import Win, win_of
from training.services.scoring import CALIBRATIONS, Prediction, read_predictions
from training.verdict import compare_words, p_words, percent

SEED = 0
MAX_LOOKS = 10  # after so many looks a test split should be refreshed
CALLED: Mapping[str, str] = {
    Run.Kind.lora: "the LoRA adapter", Run.Kind.dpo: "the DPO adapter", Run.Kind.full: "the fully trained model"}
RIGHT_BY_DPO = ("The prompt is asked which answer is better; DPO is right where it has made the better answer likelier "
                "by more. How good its own answers are is not measured.")
FEW_ROWS = 30  # a label with fewer test rows says little


@dataclass(frozen=True)
class Rival:
    """A run that has been judged on the test rows; `against_prompt` is None for the best prompt itself."""

    run: Run
    evaluation: Evaluation
    adapter: Adapter | None
    measured: Measured
    is_best_prompt: bool
    against_prompt: PairedComparison | PairedScores | None
    train_seconds: float | None

    @property
    def score(self) -> Interval:
        """The metric that runs of this project are judged by."""
        return self.measured.interval

    @property
    def others(self) -> list[tuple[str, Interval]]:
        """Its other metrics, each with the name that people read."""
        return self.evaluation.other_metrics

    @property
    def name(self) -> str:
        return self.run.title

    @property
    def is_adapter(self) -> bool:
        return self.run.kind in Run.ADAPTERS

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
        return p_words(self.against_prompt.p_value)

    @property
    def score_range(self) -> str:
        return _range(self.score, "percent")

    @property
    def other_cells(self) -> list[tuple[str, Interval, str]]:
        """Its other metrics: name, interval, and the interval's ends as they stand small under the figure."""
        return [(name, interval, _range(interval, "percent")) for name, interval in self.others]

    @property
    def difference_range(self) -> str:
        return _range(self.against_prompt.difference, "points") if self.against_prompt else ""

    @property
    def n_flips(self) -> int:
        """Test rows that one of this and the best prompt answers better than the other."""
        return self.against_prompt.n_lost + self.against_prompt.n_won if self.against_prompt else 0

    @property
    def calibration(self) -> str:
        return str(self.evaluation.metrics.get("calibration", ""))

    @property
    def seconds_per_thousand(self) -> float | None:
        """Wall time of answering 1,000 rows on this machine; None where an endpoint's answers were all known."""
        n = self.evaluation.n - self.evaluation.metrics.get("usage", {}).get("n_cached", 0)
        return 1000 * self.evaluation.seconds / n if n else None

    @property
    def cost_per_thousand(self) -> float | None:
        """What 1,000 answers cost at the endpoint, by its price of tokens; None where there is no price."""
        usage = self.evaluation.metrics.get("usage") or {}
        n = self.evaluation.n - usage.get("n_cached", 0)
        return 1000 * usage["cost"] / n if n and usage.get("cost") is not None else None


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

    n_won, n_lost: rows of the label that the adapter, or the prompt, answers better than the other.
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
    tone: whether the answer is "yes", "no" or "open". win: how often its answers win against the best prompt's, where
    answers are free text and enough pairs are judged; then the words are about that.
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
    win: Win | None = None

    @property
    def tried(self) -> list[str]:
        """What was tried of every prompt on dev: the balances between labels, or just its answers."""
        balanced = any(cell for one in self.dev for cell in one.cells[1:])
        return list(CALIBRATIONS) if balanced else [CALIBRATIONS[0]]

    @property
    def question(self) -> str:
        """The headline's question, "" where it asks none."""
        question, mark, _ = self.headline.partition("? ")
        return question + mark.strip() if mark else ""

    @property
    def answer(self) -> str:
        return self.headline.removeprefix(self.question).strip()

    @property
    def scores(self) -> list[Interval]:
        return [rival.score for rival in self.rivals]

    @property
    def metric(self) -> str:
        """The name of the metric that all rivals are judged by; "" while there is none."""
        return self.rivals[0].measured.name if self.rivals else ""

    @property
    def is_share_right(self) -> bool:
        """Whether the metric is the share of right answers, so that a row is right or wrong as a whole."""
        return bool(self.rivals) and self.rivals[0].measured.n_right is not None

    @property
    def other_names(self) -> list[str]:
        """The names of the other metrics, those of all rivals in the order of the first that has them."""
        return list(dict.fromkeys(name for rival in self.rivals for name, _ in rival.others))

    @property
    def unread_words(self) -> str:
        """“Answers that could not be read count as wrong: Prompt, zero-shot 12, LoRA (run 3) 1.”; "" without one."""
        each = [f"{rival.name}{f' (run {rival.run.pk})' if rival.run.is_trained else ''} {rival.evaluation.n_unread:,}"
                for rival in self.rivals if rival.evaluation.n_unread]
        return f"Answers that could not be read count as wrong: {'; '.join(each)}." if each else ""

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
        return self.probe is not None and self.probe.score.low >= self.snapshot.project.target_value


def compare(snapshot: Snapshot, *, lora_run: Run | None = None) -> Comparison:
    """Return the comparison as far as it has come; pairs every rival with the best prompt row by row.

    lora_run: the training to speak of, of whatever method; the newest adapter's that has been evaluated if left out.
    """
    verdict = Verdict.objects.filter(snapshot=snapshot).select_related("best_prompt").first()
    evaluations = list(Evaluation.objects.filter(snapshot=snapshot)
                       .select_related("run__snapshot__project", "run__adapter").order_by("run_id"))
    judged = [evaluation for evaluation in evaluations if evaluation.split == "test"]
    said = {evaluation.pk: read_predictions(evaluation) for evaluation in judged}
    prompt = next((e for e in judged if verdict and e.run_id == verdict.best_prompt_id), None)
    rivals = [_rival(evaluation, prompt, said) for evaluation in judged]
    lora = next((rival for rival in reversed(rivals)
                 if (rival.is_adapter if lora_run is None else rival.run == lora_run)), None)
    best = next((rival for rival in rivals if rival.is_best_prompt), None)
    win = (win_of(lora.run, best.run, name=CALLED[lora.run.kind], rival_name="the best prompt") if lora and best
           else None)
    headline, paragraph = _words(snapshot, verdict, rivals, lora, win)
    return Comparison(
        snapshot=snapshot, verdict=verdict, rivals=rivals, lora=lora, headline=headline, paragraph=paragraph, win=win,
        tone=_tone(verdict, lora, win), probe_lead=_probe_lead(rivals, lora, said),
        dev=_dev_tries(evaluations, {evaluation.run_id for evaluation in judged}),
        labels=_label_lines(prompt, lora.evaluation if lora else None, said) if prompt else [],
        n_looks=n_looks(snapshot.project))


def n_looks(project: Project) -> int:
    """How often the test rows have been looked at: by runs, by experiments, and by trainings of their arms."""
    return TestLook.objects.filter(project=project).count() + n_test_looks(project) + n_arm_looks(project)


def _rival(evaluation: Evaluation, prompt: Evaluation | None, said: Mapping[int, Sequence[Prediction]]) -> Rival:
    is_best_prompt = prompt is not None and evaluation.pk == prompt.pk
    adapter = getattr(evaluation.run, "adapter", None)
    return Rival(
        run=evaluation.run, evaluation=evaluation, adapter=adapter,
        measured=evaluation.measured, is_best_prompt=is_best_prompt,
        against_prompt=_pair(prompt, said[prompt.pk], said[evaluation.pk]) if prompt and not is_best_prompt else None,
        train_seconds=adapter.receipt["train_seconds"] if adapter else evaluation.metrics.get("fit_seconds"))


def _tone(verdict: Verdict | None, lora: Rival | None, win: Win | None) -> str:
    if win is not None:
        return "yes" if win.interval.low > TIE else "no" if win.interval.high < TIE else "open"
    if lora is not None:
        return "yes" if lora.is_better else "no" if lora.is_worse else "open"
    return "yes" if verdict and verdict.outcome == Verdict.Outcome.prompt_ok else "open"


def _probe_lead(rivals: Sequence[Rival], lora: Rival | None,
                said: Mapping[int, Sequence[Prediction]]) -> Interval | None:
    probe = next((rival for rival in rivals if rival.run.kind == Run.Kind.probe), None)
    if lora is None or probe is None:
        return None
    lead = _pair(lora.evaluation, said[lora.evaluation.pk], said[probe.evaluation.pk]).difference
    return lead if lead.low > 0 else None


def _dev_tries(evaluations: Sequence[Evaluation], tested: set[int]) -> list[DevTry]:
    tries = []
    for evaluation in evaluations:
        if evaluation.split == "dev":
            metrics, run = evaluation.metrics, evaluation.run
            shares = metrics.get("calibrations") or run.config.get("calibrations")
            cells = [wilson(round(shares[kind] * evaluation.n), evaluation.n) if kind in shares else None
                     for kind in CALIBRATIONS] if shares else [evaluation.measured.interval, None, None]
            kind = metrics.get("calibration", CALIBRATIONS[0])
            tries.append(DevTry(run, cells, CALIBRATIONS.index(kind) if kind in CALIBRATIONS else None,
                                run.pk in tested))
    return tries


def _label_lines(prompt: Evaluation, lora: Evaluation | None,
                 said: Mapping[int, Sequence[Prediction]]) -> list[LabelLine]:
    scores = _by_label(lora) if lora else {}
    won: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    project = prompt.snapshot.project
    answers = Answers(project.task_type, project.schema)
    for a, b in zip(said[prompt.pk], said[lora.pk], strict=True) if lora else ():
        for name in answers.names_in(a.gold):
            won[name] += b.row_score > a.row_score
            lost[name] += a.row_score > b.row_score
    return [LabelLine(label, score["n"], score, scores.get(label), won[label], lost[label])
            for label, score in _by_label(prompt).items()]


def _by_label(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    return {score["label"]: score for score in evaluation.metrics["per_label"]}


def _words(snapshot: Snapshot, verdict: Verdict | None, rivals: list[Rival], lora: Rival | None,
           win: Win | None) -> tuple[str, str]:
    prompt = next((rival for rival in rivals if rival.is_best_prompt), None)
    if verdict is None or prompt is None:
        return "No prompt has been tried yet.", "Try the prompt first: it is what any training has to beat."
    if lora is None or lora.against_prompt is None:
        return verdict.advice_words + ".", f"{verdict.all_words} {verdict.step}"
    if win is not None:
        return win_headline(win.interval), (
            f"{win.words} {prompt.measured.name}, a trend only, is {percent(prompt.measured.value)} for the prompt and "
            f"{percent(lora.measured.value)} for the adapter.")
    probe = next((rival for rival in rivals if rival.run.kind == Run.Kind.probe), None)
    headline, paragraph = compare_words(
        prompt.measured, lora.measured, probe.measured if probe else None, lora.against_prompt,
        snapshot.project.target_value, who=capfirst(CALLED[lora.run.kind]))
    return headline, f"{paragraph} {RIGHT_BY_DPO}" if lora.run.kind == Run.Kind.dpo else paragraph


def pair(first: Evaluation, second: Evaluation) -> PairedComparison | PairedScores:
    """Compare two runs row by row on the same test rows, by the metric that they are judged by."""
    return _pair(first, read_predictions(first), read_predictions(second))


def lower_bound(first: Evaluation, second: Evaluation) -> float:
    """The one-sided 95 % lower bound of the difference between the runs' metrics, second minus first."""
    a, b = read_predictions(first), read_predictions(second)
    if first.n_right is None:
        return _paired_scores(first, a, b).lower
    return difference_lower_bound(*_right(a, b), groups=_groups(a), seed=SEED)


def _pair(evaluation: Evaluation, first: Sequence[Prediction],
          second: Sequence[Prediction]) -> PairedComparison | PairedScores:
    """evaluation: of the first; it says whether an answer is right or wrong as a whole."""
    if evaluation.n_right is None:
        return _paired_scores(evaluation, first, second)
    return compare_right_wrong(*_right(first, second), groups=_groups(first), seed=SEED)


def _paired_scores(evaluation: Evaluation, first: Sequence[Prediction],
                   second: Sequence[Prediction]) -> PairedScores:
    _check_same_rows(first, second)
    return paired(evaluation.snapshot.project.task_type, counts_of(first), counts_of(second),
                  groups=[prediction.group for prediction in first], unseen=np.array(evaluation.metrics["unseen"]))


def counts_of(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([prediction.counts for prediction in predictions], dtype=float)


def _right(first: Sequence[Prediction], second: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    _check_same_rows(first, second)
    return np.array([is_right(prediction) for prediction in first]), np.array([is_right(p) for p in second])


def _check_same_rows(first: Sequence[Prediction], second: Sequence[Prediction]) -> None:
    if [prediction.key for prediction in first] != [prediction.key for prediction in second]:
        raise ValueError("two evaluations of different rows, or in another order, cannot be paired")


def is_right(prediction: Prediction) -> bool:
    return prediction.predicted == prediction.gold


def _groups(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.unique([prediction.group for prediction in predictions], return_inverse=True)[1]


@dataclass(frozen=True)
class Flip:
    """A test row that two runs answer differently well. `example` is its id; answers are as people read them.

    first, second: "" where the answer could not be read; then it stands in first_raw or second_raw. gain: the row's
    score by the second run minus that by the first, in [-1, 1]; 1 and -1 where answers are right or wrong as a whole.
    """

    example: int
    key: str
    text: str
    gold: str
    first: str
    second: str
    gain: float
    names: list[str]
    first_raw: str = ""
    second_raw: str = ""

    @property
    def is_second_better(self) -> bool:
        return self.gain > 0


def flips(first: Evaluation, second: Evaluation) -> list[Flip]:
    """The rows that one of two runs answers better: those that the second loses first.

    Where answers are right or wrong as a whole they come label by label, else the largest change first.
    """
    project = first.snapshot.project
    answers = Answers(project.task_type, project.schema)
    said = {prediction.key: prediction for prediction in read_predictions(second)}
    differing = [a for a in read_predictions(first) if a.row_score != said[a.key].row_score]
    rows = first.snapshot.rows.filter(split="test", example__key__in=[a.key for a in differing])
    texts = {key: (pk, text) for key, pk, text in rows.values_list("example__key", "example_id", "example__text")}

    def shown(label: str | None, text: str) -> str:
        return (label if answers.is_free_text else answers.show(label, source=text)) if label else ""

    found = []
    for a in differing:
        b, (pk, text) = said[a.key], texts[a.key]
        found.append(Flip(pk, a.key, text, shown(a.gold, text), shown(a.predicted, text), shown(b.predicted, text),
                          b.row_score - a.row_score, answers.names_in(a.gold), a.answer, b.answer))
    is_whole = first.n_right is not None
    return sorted(found, key=lambda flip: (flip.is_second_better, flip.gold if is_whole else -abs(flip.gain), flip.key))
