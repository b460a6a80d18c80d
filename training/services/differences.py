"""Any two runs of a snapshot beside each other, and the answers of one that are best and worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curation.answers import Answers
from projects.errors import UserError
from stats.intervals import Interval
from stats.paired import PairedComparison, PairedScores
from training.models import Evaluation, Run
from training.prompts import prompt_from_json
from training.services.comparison import pair
from training.services.scoring import Prediction, read_predictions

N_SAMPLES = 5


@dataclass(frozen=True)
class SettingLine:
    """One setting of two runs, in words; None where a run has none of that name."""

    name: str
    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        return bool(self.first != self.second)


@dataclass(frozen=True)
class Differences:
    """split: where both were judged on the same rows, test before dev; "" if nowhere. paired: second minus first."""

    first: Run
    second: Run
    settings: list[SettingLine]
    split: str
    scores: list[Interval]
    paired: PairedComparison | PairedScores | None
    is_same_prompt: bool

    @property
    def differing(self) -> list[SettingLine]:
        """Of the settings that both runs have."""
        return [line for line in self.settings if line.differs and None not in (line.first, line.second)]

    @property
    def only_one(self) -> list[SettingLine]:
        """The settings that one of the two has no use for, as ranks in a prompt."""
        return [line for line in self.settings if line.differs and None in (line.first, line.second)]

    @property
    def same(self) -> list[SettingLine]:
        return [line for line in self.settings if not line.differs]


def differences(first: Run, second: Run, settings: Sequence[Sequence[tuple[str, Any]]]) -> Differences:
    """Compare two runs of one snapshot. settings: of each, names as people read them, with values.

    Raises UserError if they are of two snapshots: their rows differ, so that nothing could be paired.
    """
    if first.snapshot_id != second.snapshot_id:
        raise UserError(f"{first} is on {first.snapshot}, {second} on {second.snapshot}: choose two runs of one "
                        "snapshot, which are judged on the same rows.")
    a, b = (dict(lines) for lines in settings)
    lines = [SettingLine("Kind", first.get_kind_display(), second.get_kind_display()),
             *(SettingLine(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]))]
    judged = {(e.run_id, e.split): e for e in Evaluation.objects.filter(run__in=[first, second]).select_related(
        "snapshot__project")}
    split = next((split for split in ("test", "dev") if all((run.pk, split) in judged for run in (first, second))), "")
    both = [judged[run.pk, split] for run in (first, second)] if split else []
    return Differences(first, second, lines, split, [one.measured.interval for one in both],
                       pair(both[0], both[1]) if both and first != second else None,
                       _prompt(first) == _prompt(second))


def _prompt(run: Run) -> Any:
    return prompt_from_json(run.config["prompt"]) if "prompt" in run.config else None


@dataclass(frozen=True)
class Sample:
    """One answer of a run. answer: as it wrote it where that could not be read. sure: in [0, 1], None if not known."""

    example: int
    text: str
    gold: str
    predicted: str
    answer: str
    score: float
    sure: float | None


@dataclass(frozen=True)
class Samples:
    best: list[Sample]
    worst: list[Sample]


def samples_of(evaluation: Evaluation) -> Samples:
    """The answers that a run did best and worst at, N_SAMPLES each: by their own score, of equal ones the surest first.

    The surest mistakes are where to look first: is the model wrong, or the label?
    """
    said = read_predictions(evaluation)
    by_score = sorted(said, key=lambda one: (-one.row_score, -(one.probability or 0.0), one.key))
    best = [one for one in by_score if one.row_score > 0][:N_SAMPLES]
    by_failure = sorted(said, key=lambda one: (one.row_score, -(one.probability or 0.0), one.key))
    worst = [one for one in by_failure if one.row_score < 1][:N_SAMPLES]
    rows = evaluation.snapshot.rows.filter(split=evaluation.split,
                                           example__key__in=[one.key for one in (*best, *worst)])
    texts = {key: (pk, text) for key, pk, text in rows.values_list("example__key", "example_id", "example__text")}
    project = evaluation.snapshot.project
    answers = Answers(project.task_type, project.schema)

    def shown(value: str | None, text: str) -> str:
        return (value if answers.is_free_text else answers.show(value, source=text)) if value else ""

    def sample(one: Prediction) -> Sample:
        pk, text = texts[one.key]
        return Sample(pk, text, shown(one.gold, text), shown(one.predicted, text), one.answer, one.row_score,
                      one.probability)

    return Samples([sample(one) for one in best], [sample(one) for one in worst])
