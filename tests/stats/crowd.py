"""Votes for tests: made by simulated annotators, or drawn by hypothesis with many ties."""

from unittest import mock

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st


def simulated(n, n_annotators, n_labels, *, seed, votes_per_example=(1, 2, 3), n_unseen_labels=0):
    """Return (example, annotator, label), probabilities (n, K) and truth (n,)."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_labels - n_unseen_labels, n)
    skill = random.uniform(0.5, 0.95, n_annotators)
    n_of_example = random.choice(votes_per_example, n)
    example = np.repeat(np.arange(n), n_of_example)
    annotator = np.concatenate([random.choice(n_annotators, k, replace=False) for k in n_of_example])
    wrong = random.integers(0, n_labels - n_unseen_labels, len(example))
    label = np.where(random.random(len(example)) < skill[annotator], truth[example], wrong)
    pred_probs = random.dirichlet(np.full(n_labels, 0.3), n)
    pred_probs[np.arange(n), truth] += 0.7
    return (example, annotator, label), pred_probs / pred_probs.sum(axis=1, keepdims=True), truth


@st.composite
def tied_votes(draw, needs_shared=True):
    """A few votes, annotators and labels, and probabilities of few values, so that every kind of tie occurs."""
    n, m, n_labels = draw(st.integers(2, 10)), draw(st.integers(2, 5)), draw(st.integers(2, 4))
    table = np.array(draw(st.lists(st.lists(st.integers(-2, n_labels - 1), min_size=m, max_size=m), min_size=n,
                                   max_size=n)))
    is_given = table >= 0
    assume(is_given.any(axis=1).all() and is_given.any(axis=0).all())
    assume(not needs_shared or (is_given.sum(axis=1) > 1).any())
    example, annotator = np.nonzero(is_given)
    parts = np.array(draw(st.lists(st.lists(st.integers(0, 3), min_size=n_labels, max_size=n_labels), min_size=n,
                                   max_size=n)), dtype=float)
    parts[parts.sum(axis=1) == 0] = 1
    return (example, annotator, table[is_given]), parts / parts.sum(axis=1, keepdims=True)


def table_of(votes, n):
    """Return cleanlab's (n, m) table, nan where there is no vote; its columns are the annotators in order."""
    example, annotator, label = votes
    annotators, column = np.unique(annotator, return_inverse=True)
    table = np.full((n, len(annotators)), np.nan)
    table[example, column] = label
    return table


def lowest_instead_of_random():
    """Make cleanlab's last tie-break choose the lowest label, as ours does."""
    return mock.patch("numpy.random.choice", lambda labels: labels[0])
