"""How good answers are, in figures that gates and pages can rely on: a metric with its interval and its bounds.

1. `Answered` takes gold and predicted answers apart into the counts that the metrics of their task type are made of.
2. Its `metrics` draw groups of rows anew for an interval; a share of right answers has Wilson's instead.
3. `paired` compares two sets of answers to the same rows by their counts.
Two rows that were never seen, one answered perfectly and one not at all, are among those that are drawn: without them
twelve right answers of twelve would look certain to be right for ever.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from curation.text_checks import count_unsaid
from labeling.task_types import task_type
from labeling.task_types.metrics import Counts, f1
from stats.classification import LabelScore
from stats.intervals import Interval, percentiles, resampled_sums, wilson, wilson_bounds
from stats.paired import PairedScores, compare_scores

NAMES = {
    "accuracy": "accuracy", "macro_f1": "macro-F1", "exact_match": "exact sets", "field_f1": "field F1",
    "record_exact_match": "exact records", "strict_f1": "span F1", "partial_f1": "partial span F1",
    "rouge_l": "ROUGE-L", "readable": "readable", "schema_valid": "schema-valid", "unsaid": "values not in the text",
}
WHOLE = ("classification", "preference")  # an answer is right or wrong as a whole
N_RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True)
class Measured:
    """A metric of n rows: its two-sided 95 % interval, and one-sided 95 % bounds for gates.

    metric: a key of NAMES. n_right: of answers that are right or wrong as a whole; None for the others.
    """

    metric: str
    interval: Interval
    lower: float
    upper: float
    n_right: int | None = None

    @property
    def value(self) -> float:
        return self.interval.estimate

    @property
    def n(self) -> int:
        return self.interval.n

    @property
    def name(self) -> str:
        return NAMES[self.metric]


def measured_share(n_right: int, n: int, *, metric: str = "accuracy") -> Measured:
    """The share of n answers that are right, by Wilson. Raises ValueError unless 0 <= n_right <= n."""
    return Measured(metric, wilson(n_right, n), *wilson_bounds(n_right, n), n_right)


@dataclass(frozen=True)
class Answered:
    """The answers to n rows of one task type, as its values.

    gold, predicted: n values; None is an answer that could not be read. sources: n texts. groups: n names; rows of one
    group are drawn together. schema: the project's.
    """

    task_type: str
    schema: Mapping[str, Any]
    gold: Sequence[Any]
    predicted: Sequence[Any]
    sources: Sequence[str]
    groups: Sequence[str]

    @property
    def n_unread(self) -> int:
        return sum(value is None for value in self.predicted)

    @cached_property
    def counts(self) -> Counts:
        return task_type(self.task_type).counts(self.gold, self.predicted, self.schema)

    @cached_property
    def unseen(self) -> np.ndarray:
        """(2, p) counts of a mean row that is answered perfectly, and of one that is not answered at all."""
        counts = task_type(self.task_type).counts
        return np.array([counts(self.gold, said, self.schema).by_row.mean(axis=0)
                         for said in (self.gold, [None] * len(self.gold))])

    @cached_property
    def metrics(self) -> dict[str, Measured]:
        """Every metric of the task type by its name, the primary one first, then how many answers could be read."""
        n = len(self.gold)
        found = self._shares() if self.task_type in WHOLE else self._drawn()
        if self.task_type == "extraction":
            found["schema_valid"] = measured_share(n - self.n_unread, n, metric="schema_valid")
            if unsaid := self._unsaid():
                found["unsaid"] = unsaid
        elif self.n_unread:
            found["readable"] = measured_share(n - self.n_unread, n, metric="readable")
        return found

    @cached_property
    def by_label(self) -> list[LabelScore]:
        """Precision, recall, F1 and rows of every label of the schema, in its order; [] where answers have none."""
        pairs = list(zip(map(self._named, self.gold), map(self._named, self.predicted), strict=True))
        n_gold, n_said, n_right = (Counter(label for found in each for label, _ in found) for each in (
            [a for a, _ in pairs], [b for _, b in pairs], [a & b for a, b in pairs]))
        return [LabelScore(name, n_right[name] / max(n_said[name], 1), n_right[name] / max(n_gold[name], 1),
                           f1(n_right[name], n_gold[name], n_said[name]) if n_gold[name] + n_said[name] else 0.0,
                           n_gold[name]) for name in self._label_names]

    @property
    def _label_names(self) -> list[str]:
        return [label["name"] for label in self.schema.get("labels", ())]

    def _named(self, value: Any) -> set[tuple[str, Hashable]]:
        """The labels in a value, each with its place."""
        if value is None or not self._label_names:
            return set()
        if self.task_type == "spans":
            return {(span["label"], (span["start"], span["end"])) for span in value}
        return {(label, None) for label in ([value] if isinstance(value, str) else value)}

    def _shares(self) -> dict[str, Measured]:
        found = {"accuracy": measured_share(int(self.counts.by_row[:, 0].sum()), len(self.gold))}
        if self.task_type == "classification":
            found["macro_f1"] = self._macro_f1()
        return found

    def _macro_f1(self) -> Measured:
        sums = resampled_sums(_by_group(self.counts.by_row, self.groups), n_resamples=N_RESAMPLES, seed=SEED)
        low, high = percentiles(self.counts.of_sums(sums)["macro_f1"], 0.95)
        value = Interval(self.counts.metrics.parts["macro_f1"], low, high, len(self.gold))
        return Measured("macro_f1", value, low, high)  # no gate asks for it here

    def _drawn(self) -> dict[str, Measured]:
        sums = np.vstack([_by_group(self.counts.by_row, self.groups), self.unseen])
        drawn = self.counts.of_sums(resampled_sums(sums, n_resamples=N_RESAMPLES, seed=SEED))
        return {name: _measured(name, value, drawn[name], len(self.gold))
                for name, value in self.counts.metrics.parts.items()}

    def _unsaid(self) -> Measured | None:
        """Of the values that a text would have to say, the share that it does not; None where there is none."""
        each = np.array([count_unsaid(source, value or {}, self.schema["json_schema"])
                         for source, value in zip(self.sources, self.predicted, strict=True)], dtype=float)
        n_unsaid, n_values = each.sum(axis=0)
        if not n_values:
            return None
        drawn = resampled_sums(_by_group(each, self.groups), n_resamples=N_RESAMPLES, seed=SEED)
        shares = np.divide(drawn[:, 0], drawn[:, 1], out=np.full(len(drawn), np.nan), where=drawn[:, 1] > 0)
        return _measured("unsaid", float(n_unsaid / n_values), shares, int(n_values))


def paired(kind: str, first: np.ndarray, second: np.ndarray, *, groups: Sequence[str],
           unseen: np.ndarray, n_resamples: int = 10_000) -> PairedScores:
    """Compare two sets of answers to the same rows by their task type's primary metric, second minus first.

    first, second: (n, p) counts by row, as `Answered.counts` has them; unseen: as there.
    """
    of_sums = task_type(kind).metrics_of
    return compare_scores(first, second, lambda sums: next(iter(of_sums(sums).values())), groups=_numbers(groups),
                          unseen=(unseen[0], unseen[1]), seed=SEED, n_resamples=n_resamples)


def _measured(metric: str, value: float, drawn: np.ndarray, n: int) -> Measured:
    """The interval holds the estimate also where the two unseen rows pull all draws to one side of it."""
    (low, high), (lower, upper) = (percentiles(drawn, confidence) for confidence in (0.95, 0.9))
    return Measured(metric, Interval(value, min(low, value), max(high, value), n), min(lower, value),
                    max(upper, value))


def _by_group(by_row: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """(g, p) sums of the rows of each group."""
    group = _numbers(groups)
    sums = np.zeros((group.max() + 1, by_row.shape[1]))
    np.add.at(sums, group, by_row)
    return sums


def _numbers(groups: Sequence[str]) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1]
