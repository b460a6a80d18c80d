import numpy as np
import pytest

from curation.duplicate_threshold import DEFAULT, MIN_JUDGED, N_BINS, PER_BIN, bin_of, sample_pairs, threshold_from
from tests.curation.test_similar_pairs import random_rows

SPREAD = np.linspace(0.70, 0.999, 200)
EQUAL = np.ones(N_BINS)


def people(middle, slope, seed=0):
    return np.random.default_rng(seed).random(200) < 1 / (1 + np.exp(-slope * (SPREAD - middle)))


def test_bins_by_hand():
    assert bin_of(np.array([0.69, 0.70, 0.729, 0.73, 0.97, 1.0])).tolist() == [-1, 0, 0, 1, 9, 9]


def test_until_enough_is_judged_the_default_stands_and_says_so():
    found = threshold_from(SPREAD[:59], np.ones(59, bool), EQUAL)
    assert (found.value, found.is_calibrated, found.n_judged) == (DEFAULT, False, 59)
    assert f"59 of at least {MIN_JUDGED}" in found.why


def test_the_threshold_follows_where_people_change_their_mind():
    low, high = (threshold_from(SPREAD, people(middle, 80), EQUAL) for middle in (0.78, 0.88))
    assert low.is_calibrated and high.is_calibrated and 0.75 < low.value < high.value < 0.95
    assert low.precision.low >= 0.95 and low.precision.n == 200
    assert "200 pairs judged" in low.why


def test_where_even_the_most_alike_differ_the_default_stands_and_says_so():
    found = threshold_from(SPREAD, people(0.98, 30), EQUAL)
    assert found.value == DEFAULT and not found.is_calibrated and "no threshold is sure" in found.why


def test_it_does_not_go_below_what_was_judged():
    found = threshold_from(np.linspace(0.9, 1, 100), np.ones(100, bool), EQUAL)
    assert found.value == pytest.approx(0.9)


def test_bins_with_many_pairs_weigh_more():
    crowded = np.array([1000, 800, 600, 400, 200, 100, 50, 20, 5, 1.0])
    assert threshold_from(SPREAD, people(0.85, 60), crowded).value > threshold_from(SPREAD, people(0.85, 60),
                                                                                    EQUAL).value


def test_the_precision_promised_is_kept_nineteen_times_in_twenty():
    kept = []
    for seed in range(40):
        found = threshold_from(SPREAD, people(0.85, 50, seed), EQUAL)
        cosines = np.linspace(found.value, 1, 500)
        kept.append((1 / (1 + np.exp(-50 * (cosines - 0.85)))).mean() >= 0.95)
    assert sum(kept) >= 37


def test_pairs_are_drawn_from_every_bin_and_counted():
    rows = random_rows(900, dimension=12, spread=0.25)
    sample = sample_pairs(rows, np.arange(900))
    cosines = (rows @ rows.T)[np.triu_indices(900, k=1)]
    wanted = np.bincount(bin_of(cosines[cosines >= 0.7]), minlength=N_BINS)
    assert sample.n_in_bin == pytest.approx(wanted, abs=3)  # all 900 rows are sampled, so these are exact
    assert (np.bincount(bin_of(sample.similarity), minlength=N_BINS) == np.minimum(wanted, PER_BIN)).all()
    assert (sample.rows_a < sample.rows_b).all()
    assert sample.similarity == pytest.approx(np.einsum("nd,nd->n", rows[sample.rows_a], rows[sample.rows_b]), abs=1e-5)
    assert len({(a, b) for a, b in zip(sample.rows_a, sample.rows_b, strict=True)}) == len(sample.rows_a)
