import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stats.agreement import (
    alpha_interval,
    krippendorff_alpha,
    noise_ceiling,
    raw_agreement,
)

# Krippendorff 2011, section C: 4 observers, 12 units, 5 nominal labels, missing values; alpha = 0.743.
OBSERVERS = ["1 2 3 3 2 1 4 1 2 . . .",
             "1 2 3 3 2 2 4 1 2 5 . 3",
             ". 3 3 3 2 3 4 2 2 5 1 .",
             "1 2 3 3 2 4 4 1 2 5 1 ."]


def published_counts():
    columns = zip(*(line.split() for line in OBSERVERS), strict=True)
    return np.array([[column.count(str(label)) for label in range(1, 6)] for column in columns])


def test_alpha_of_the_published_example():
    assert krippendorff_alpha(published_counts()) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_two_observers_worked_by_hand():
    # Krippendorff 2011, section A: 10 units, 4 disagreements, 14 zeros and 6 ones: 1 - 19 * 8 / (2 * 14 * 6).
    counts = np.array([[1, 1]] * 4 + [[2, 0]] * 5 + [[0, 2]])
    assert krippendorff_alpha(counts) == pytest.approx(1 - 19 * 8 / (2 * 14 * 6))
    assert krippendorff_alpha(counts) == pytest.approx(0.095, abs=5e-4)


def test_items_with_one_vote_change_nothing():
    counts = published_counts()
    padded = np.vstack([counts, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]])
    assert krippendorff_alpha(padded) == krippendorff_alpha(counts)
    assert raw_agreement(padded) == raw_agreement(counts)
    assert alpha_interval(padded, seed=0).n == 11


def test_full_agreement_is_one_and_constant_disagreement_is_below_zero():
    assert krippendorff_alpha(np.array([[2, 0], [0, 3], [2, 0]])) == 1
    assert krippendorff_alpha(np.array([[1, 1], [1, 1]])) < 0


def test_alpha_is_undefined_where_only_one_label_is_used():
    assert np.isnan(krippendorff_alpha(np.array([[3, 0], [2, 0]])))
    assert np.isnan(krippendorff_alpha(np.array([[1, 0], [0, 1]])))
    assert np.isnan(krippendorff_alpha(np.empty((0, 3))))
    assert np.isnan(alpha_interval(np.array([[1, 0]]), seed=0).low)
    assert raw_agreement(np.array([[3, 0], [2, 0]])) == 1


def test_raw_agreement_is_the_mean_share_of_agreeing_pairs():
    assert raw_agreement(np.array([[3, 0, 0], [2, 1, 0], [1, 1, 1], [1, 0, 0]])) == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_the_interval_holds_alpha_and_narrows_with_more_items():
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 400)
    votes = np.where(random.random((400, 3)) < 0.85, truth[:, None], random.integers(0, 3, (400, 3)))
    counts = np.stack([(votes == label).sum(axis=1) for label in range(3)], axis=1)
    many, few = alpha_interval(counts, seed=1), alpha_interval(counts[:50], seed=1)
    assert many.low < many.estimate < many.high
    assert many.estimate == krippendorff_alpha(counts)
    assert few.high - few.low > 2 * (many.high - many.low)
    assert many == alpha_interval(counts, seed=1)


def test_a_flat_array_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        krippendorff_alpha(np.array([1, 2, 3]))


def one_against_the_others(counts):
    """Return the noise ceiling by leaving each vote out in turn."""
    shares = []
    for item in counts[counts.sum(axis=1) >= 2]:
        credit = 0.0
        for label in np.flatnonzero(item):
            others = item - (np.arange(len(item)) == label)
            modes = np.flatnonzero(others == others.max())
            credit += item[label] * (label in modes) / len(modes)
        shares.append(credit / item.sum())
    return np.mean(shares) if shares else np.nan


@given(arrays(int, st.tuples(st.integers(0, 5), st.integers(2, 5)), elements=st.integers(0, 4)))
def test_the_noise_ceiling_leaves_each_vote_out_in_turn(counts):
    found = noise_ceiling(counts, seed=0, n_resamples=2)
    assert found.estimate == pytest.approx(one_against_the_others(counts), abs=1e-12, nan_ok=True)


def test_the_noise_ceiling_worked_by_hand():
    counts = np.array([[3, 0], [2, 1], [1, 1], [2, 0], [1, 0]])
    # all three agree; two of three meet a tie of the others, so half of 2/3; nobody; both; one vote alone is left out
    found = noise_ceiling(counts, seed=0)
    assert found.estimate == pytest.approx((1 + 1 / 3 + 0 + 1) / 4)
    assert found.n == 4
    assert found.low <= found.estimate <= found.high
    assert noise_ceiling(counts[2:4], seed=0).estimate == raw_agreement(counts[2:4])


def test_the_noise_ceiling_is_near_the_accuracy_of_one_vote_where_many_vote():
    random = np.random.default_rng(0)
    is_right = random.random((2000, 15)) < 0.8
    counts = np.stack([is_right.sum(axis=1), (~is_right).sum(axis=1)], axis=1)
    found = noise_ceiling(counts, seed=0)
    assert found.estimate == pytest.approx(0.8, abs=0.01)
    assert found.high - found.low < 0.02
