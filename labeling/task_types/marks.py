"""Marks of several people on one text, as spans (start, end, label): how they overlap, and which of them stand."""

import itertools
import math
from collections.abc import Collection, Iterator, Sequence

from labeling.task_types.voting import beside_half, checked

Span = tuple[int, int, str]
Marks = list[tuple[Span, int]]  # each with the number of the answer that has it


def consensus(answers: Sequence[Collection[Span]], weights: Sequence[float] | None = None) -> list[Span] | None:
    """Return the spans on which answers of more than half of the weight agree, in no order.

    1. A span that more than half marked alike stands; others that overlap it with its label are versions of it.
    2. Of the rest, those that overlap in a chain with one label are one span. It stands if more than half marked a
       part of it, from the median of its starts to the median of its ends (of two, the lower).
    None without an answer, or if a span of step 2 has exactly half of the weight: that is a tie.
    """
    each = checked(weights, len(answers))
    marks = [(span, n) for n, answer in enumerate(answers) for span in answer]
    whose: dict[Span, list[int]] = {}
    for span, n in marks:
        whose.setdefault(span, []).append(n)
    agreed = [span for span, numbers in whose.items() if _side(numbers, each) > 0]
    rest = [(span, n) for span, n in marks if not any(overlap(span, kept) for kept in agreed)]
    for chain in _chains(rest):
        side = _side([n for _, n in chain], each)
        if side == 0:
            return None
        if side > 0:
            start = _median([(span[0], each[n]) for span, n in chain])
            end = _median([(span[1], each[n]) for span, n in chain])
            agreed.append((start, end, chain[0][0][2]))
    return agreed if answers else None


def overlap(a: Span, b: Span) -> int:
    """Return how many characters two spans of one label share; 0 if their labels differ."""
    return max(0, min(a[1], b[1]) - max(a[0], b[0])) if a[2] == b[2] else 0


def n_overlapping(wanted: Collection[Span], given: Collection[Span]) -> int:
    """Return how many pairs of a wanted and a given span overlap, each span in one pair, the largest overlaps first."""
    pairs = sorted((-overlap(a, b), a, b) for a in wanted for b in given if overlap(a, b))
    paired: set[Span] = set()  # wanted ones
    taken: set[Span] = set()  # given ones
    for _, a, b in pairs:
        if a not in paired and b not in taken:
            paired.add(a)
            taken.add(b)
    return len(paired)


def _chains(marks: Marks) -> Iterator[Marks]:
    """The marks in groups of one label whose spans overlap in a chain."""
    chain: Marks = []
    end = 0
    for span, n in sorted(marks, key=lambda mark: (mark[0][2], *mark)):
        if chain and (span[2] != chain[0][0][2] or span[0] >= end):
            yield chain
            chain = []
        end = max(end, span[1]) if chain else span[1]
        chain.append((span, n))
    if chain:
        yield chain


def _side(numbers: Collection[int], weights: Sequence[float]) -> int:
    return beside_half(math.fsum(weights[n] for n in set(numbers)), math.fsum(weights))


def _median(weighted: Sequence[tuple[int, float]]) -> int:
    """The first position up to which half of the weight lies; medians of starts lie before those of ends."""
    ordered = sorted(weighted)
    reached = list(itertools.accumulate(weight for _, weight in ordered))
    return next(position for (position, _), weight in zip(ordered, reached, strict=True) if 2 * weight >= reached[-1])
