import numpy as np
import pytest

from stats.learning_curve import errors_at, fit_curves, forecast

SIZES = np.array([40, 80, 160, 320, 640, 1280])


def curve(sizes, a=1.0, b=0.5, c=0.1):
    return a * np.asarray(sizes, dtype=float) ** -b + c


def measured(random, n_test, a=1.0, b=0.5, c=0.1, n_subsets=5):
    """Errors as a probe would give them: every subset of a size varies, and all are judged on the same test rows."""
    shift = random.normal(0, 0.5 * np.sqrt(c * (1 - c) / n_test))
    spread = 0.3 * curve(SIZES, a, b, 0)[:, None] * random.normal(size=(len(SIZES), n_subsets)) / 3
    return np.clip(curve(SIZES, a, b, c)[:, None] + spread + shift, 0, 1)


def told(errors, target=0.12, n_test=500):
    return forecast(SIZES, errors, target_error=target, n_test=n_test, seed=0)


@pytest.mark.parametrize(("a", "b", "c"), [(1.0, 0.5, 0.1), (2.0, 1.0, 0.0), (0.6, 0.2, 0.05)])
def test_a_curve_without_noise_is_found_again(a, b, c):
    found = fit_curves(SIZES, curve(SIZES, a, b, c)[None])
    assert errors_at(found, np.array([60.0, 2560.0]))[0] == pytest.approx(curve([60, 2560], a, b, c), abs=0.003)


def test_a_curve_that_rises_or_falls_below_zero_is_held_at_the_bound():
    rising, below = fit_curves(SIZES, np.array([[0.1, 0.1, 0.1, 0.2, 0.2, 0.3], SIZES ** -1.0 - 0.0005]))
    assert rising[0] == 0 and rising[2] == pytest.approx((SIZES / SIZES.sum()) @ [0.1, 0.1, 0.1, 0.2, 0.2, 0.3])
    assert below[2] == 0


def test_the_band_is_widened_by_the_backtest_and_two_standard_errors():
    exact = told(np.repeat(curve(SIZES)[:, None], 5, axis=1))
    last = curve(SIZES)[-1]
    assert exact.backtest < 0.002
    assert exact.widened_by == pytest.approx(exact.backtest + 2 * np.sqrt(last * (1 - last) / 500))
    assert np.all(exact.band.high - exact.band.error >= exact.widened_by - 1e-9)


def test_the_band_holds_the_truth_at_twice_the_size_far_more_often_than_the_fit_alone():
    random = np.random.default_rng(0)
    held, narrow = [], []
    for _ in range(100):
        found = told(measured(random, 400), n_test=400)
        truth = curve([2 * SIZES[-1]])[0]
        low, high = found.band.low[-1], found.band.high[-1]
        held.append(low <= truth <= high)
        narrow.append(low + found.widened_by <= truth <= high - found.widened_by)
    assert np.mean(held) >= 0.95
    assert np.mean(narrow) < 0.95


def test_nothing_is_said_beyond_twice_the_largest_size():
    assert told(measured(np.random.default_rng(0), 400)).band.sizes[-1] == 2 * SIZES[-1]


def test_a_target_within_reach_takes_a_number_of_rows_between_two_others():
    found = told(np.repeat(curve(SIZES, 1.0, 0.5, 0.0)[:, None], 5, axis=1), target=0.05, n_test=10_000)
    assert found.needed == pytest.approx(400, rel=0.05)  # n^-0.5 = 0.05
    assert found.needed_low < found.needed < found.needed_high


def test_a_floor_at_the_target_may_never_be_passed():
    found = told(np.repeat(curve(SIZES, 1.0, 0.5, 0.2)[:, None], 5, axis=1), target=0.1)
    assert found.may_never and found.needed is None and found.needed_high is None
    assert not told(np.repeat(curve(SIZES, 1.0, 0.5, 0.0)[:, None], 5, axis=1), target=0.2, n_test=5000).may_never


@pytest.mark.parametrize(("change", "message"), [
    ({"sizes": SIZES[:3]}, "m >= 4"), ({"sizes": SIZES[::-1]}, "must rise"), ({"target_error": 1.2}, "1.2"),
    ({"n_test": 0}, "n_test")])
def test_what_cannot_be_fitted_is_refused(change, message):
    values = {"sizes": SIZES, "target_error": 0.1, "n_test": 100, **change}
    with pytest.raises(ValueError, match=message):
        forecast(errors=np.full((len(values["sizes"]), 5), 0.3), seed=0, **values)
