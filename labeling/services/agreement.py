"""How well people agree where several answered: alpha, raw agreement, noise ceiling, and what they confuse."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from labeling.models import Annotation, Annotator, BatchItem, KnownAnswer
from labeling.task_types import task_type
from projects.models import Project
from stats.agreement import alpha_interval, noise_ceiling
from stats.intervals import Interval, percentiles, resampled_sums, wilson

MAX_ANSWERS = 10_000  # the newest ones; more would not narrow an interval that anybody can see
MAX_COMPARED = 500  # examples whose answers are no mere choice: comparing texts and spans takes time
MIN_EXAMPLES = 30  # below which an interval says next to nothing
N_CONFUSED = 8
RELIABLE, TENTATIVE = 0.80, 0.667  # alpha: sound conclusions from the one, none below the other

Shared = dict[int, list[tuple[int, Any]]]


def shared_answers(project: Project) -> Shared:
    """Example → (annotator, current answer) of everybody, where two or more answered, among the newest answers.

    Known answers are left out: they were chosen because people agreed on them.
    """
    people = list(Annotator.objects.filter(project=project).values_list("pk", flat=True))
    newest = Annotation.objects.filter(annotator__in=people).order_by("-pk")
    known = set(KnownAnswer.objects.filter(project=project).values_list("example_id", flat=True))
    last_word: dict[tuple[int, int], Any] = {}
    for example_id, annotator_id, value in newest.values_list("example_id", "annotator_id", "value")[:MAX_ANSWERS]:
        last_word.setdefault((example_id, annotator_id), value)  # newest first; None was skipped or taken back
    found: Shared = defaultdict(list)
    for (example_id, annotator_id), value in last_word.items():
        if value is not None and example_id not in known:
            found[example_id].append((annotator_id, value))
    return {example_id: answers for example_id, answers in found.items() if len(answers) >= 2}


@dataclass(frozen=True)
class Confused:
    """Two labels, first < second in schema order: on `share.n` examples somebody gave one of them, and on n both."""

    first: str
    second: str
    n: int
    share: Interval


@dataclass(frozen=True)
class Agreement:
    """How far answers to the same examples agree; its intervals are bootstraps over examples.

    raw: the share of pairs of answers that agree, or how much they agree where answers have parts.
    alpha, ceiling: None where answers are no mere choice. Everything is None below MIN_EXAMPLES.
    """

    n: int
    raw: Interval | None = None
    alpha: Interval | None = None
    ceiling: Interval | None = None


def agreement_of(shared: Shared, project: Project) -> Agreement:
    if len(shared) < MIN_EXAMPLES:
        return Agreement(len(shared))
    kind = task_type(project.task_type)
    if not kind.HAS_LABELS:
        compared = [shared[pk] for pk in sorted(shared)[-MAX_COMPARED:]]
        return Agreement(len(shared), raw=mean_interval([kind.agreement([v for _, v in one]) for one in compared]))
    counts = label_counts(shared.values(), project.labels)
    votes = counts.sum(axis=1)
    pairs = (counts * (counts - 1)).sum(axis=1) / (votes * (votes - 1))
    return Agreement(len(shared), raw=mean_interval(pairs), alpha=alpha_interval(counts, seed=0),
                     ceiling=noise_ceiling(counts, seed=0))


def reliability_words(agreement: Agreement) -> str:
    """What alpha means here. Source of the marks 0.80 and 0.667: Krippendorff 2004, Content Analysis, chapter 11."""
    alpha = agreement.alpha
    if alpha is None or not math.isfinite(alpha.low):
        return ("Alpha is not defined: all answers are the same label." if alpha is not None else "")
    if alpha.low >= RELIABLE:
        return "The labels are reliable by the usual mark of 0.80."
    if alpha.high < TENTATIVE:
        return "Too low to conclude anything from these labels: mend the guideline first."
    if alpha.high < RELIABLE:
        return "Below the usual mark of 0.80: see what people confuse, and say in the guideline what holds there."
    return "Whether it reaches the usual mark of 0.80 is open; more examples that several answer can settle it."


def by_batch(shared: Shared, project: Project) -> dict[int, Agreement]:
    """Batch pk → agreement on its examples; of an example in several batches the newest counts."""
    batch_of = dict(BatchItem.objects.filter(batch__project=project, n_wanted__gte=2).order_by("pk").values_list(
        "example_id", "batch_id"))
    parts: dict[int, Shared] = defaultdict(dict)
    for example_id, answers in shared.items():
        if example_id in batch_of:
            parts[batch_of[example_id]][example_id] = answers
    return {batch_id: agreement_of(part, project) for batch_id, part in parts.items()}


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the mean of one value per example with its percentile bootstrap interval."""
    column = np.asarray(values, dtype=float)[:, None]
    sums = resampled_sums(column, n_resamples=1000, seed=0)
    low, high = percentiles(sums[:, 0] / len(column), 0.95)
    return Interval(float(column.mean()), low, high, len(column))


def label_counts(votes: Iterable[list[tuple[int, Any]]], labels: list[str]) -> np.ndarray:
    """Return (n, K) int: how often each label was given to each example; answers outside the labels are left out."""
    column, rows = {label: k for k, label in enumerate(labels)}, list(votes)
    counts = np.zeros((len(rows), len(labels)), dtype=int)
    for row, answers in enumerate(rows):
        for _, value in answers:
            if value in column:
                counts[row, column[value]] += 1
    return counts[counts.sum(axis=1) >= 2]


def confused_labels(shared: Shared, labels: list[str]) -> list[Confused]:
    """The pairs of labels that are given to the same examples most often, that first."""
    together, single = Counter[tuple[str, str]](), Counter[str]()
    order = {label: k for k, label in enumerate(labels)}
    for answers in shared.values():
        said = sorted({value for _, value in answers if value in order}, key=order.__getitem__)
        together.update(combinations(said, 2))
        single.update(said)
    return [Confused(a, b, n, wilson(n, single[a] + single[b] - n)) for (a, b), n in together.most_common(N_CONFUSED)]


def confusion(shared: Shared, labels: list[str], *, first: int | None = None, second: int | None = None) -> np.ndarray:
    """Return (K, K) int: on how many examples the row's label was given by one and the column's by another.

    With `first` and `second`, two annotators: the row's by the first, the column's by the second. Otherwise by any
    two, and the table is symmetric.
    """
    column = {label: k for k, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=int)
    for answers in shared.values():
        said = [(who, column[value]) for who, value in answers if value in column]
        if first is not None and second is not None:
            of = dict(said)
            if first in of and second in of:
                table[of[first], of[second]] += 1
            continue
        cells = {(a, b) for (_, a), (_, b) in combinations(said, 2)}
        for a, b in cells | {(b, a) for a, b in cells}:
            table[a, b] += 1
    return table


@dataclass(frozen=True)
class WithOthers:
    """How one person agrees with what the others say together.

    n: examples that others answered, too, and agree on. agreement: None below MIN_SHARED of them.
    pairs: (their label, the others' label, n), most frequent first; [] where answers are no mere choice.
    """

    n: int
    agreement: Interval | None
    pairs: list[tuple[str, str, int]]


MIN_SHARED = 20
MAX_OWN = 2_000  # newest answers of theirs that are looked at
CHUNK = 500


def with_others(annotator: Annotator) -> WithOthers:
    """Hold somebody's newest answers against the consensus of the others on the same examples; ties do not count."""
    kind, project = task_type(annotator.project.task_type), annotator.project
    known = set(KnownAnswer.objects.filter(project=project).values_list("example_id", flat=True))
    mine = dict(Annotation.objects.current().filter(annotator=annotator).order_by("-pk").values_list(
        "example_id", "value")[:MAX_OWN])
    ids, theirs = [pk for pk in mine if pk not in known], defaultdict(list)
    for start in range(0, len(ids), CHUNK):
        rows = Annotation.objects.current().filter(example__in=ids[start:start + CHUNK]).exclude(annotator=annotator)
        for example_id, value in rows.values_list("example_id", "value"):
            theirs[example_id].append(value)
    agreed = {pk: kind.consensus(values) for pk, values in theirs.items()}
    pairs: list[tuple[Any, Any]] = [(mine[pk], value) for pk, value in agreed.items() if value is not None]
    if kind.HAS_LABELS:
        differ = Counter(pair for pair in pairs if pair[0] != pair[1])
        n_same = len(pairs) - differ.total()
        found = wilson(n_same, len(pairs)) if len(pairs) >= MIN_SHARED else None
        return WithOthers(len(pairs), found, [(said, others, n) for (said, others), n in differ.most_common(5)])
    compared = pairs[:MAX_COMPARED]
    found = mean_interval([kind.agreement(pair) for pair in compared]) if len(compared) >= MIN_SHARED else None
    return WithOthers(len(pairs), found, [])
