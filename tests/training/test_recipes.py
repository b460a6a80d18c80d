import pytest

from tests.training.story import TRIAL
from training.config import TrainingConfig, n_steps
from training.quote import estimate, seconds_of_another
from training.recipes import recipe_of, recipes


def config_of(name, n_rows):
    return TrainingConfig(**next(recipe for recipe in recipes(n_rows) if recipe.name == name).config)


@pytest.mark.parametrize(("n_rows", "epochs", "batch_size"), [(30, 5, 8), (160, 5, 8), (300, 3, 8), (599, 3, 8),
                                                               (600, 3, 16), (20_000, 3, 16)])
def test_balanced_makes_a_hundred_steps_in_three_to_five_passes(n_rows, epochs, batch_size):
    config = config_of("balanced", n_rows)
    assert (config.epochs, config.batch_size, config.r, config.alpha) == (epochs, batch_size, 16, 32)
    assert n_steps(n_rows, config) >= 100 or epochs == 5


def test_quick_takes_two_passes_at_most():
    assert [config_of("quick", n).epochs for n in (30, 300, 480, 5000)] == [2, 2, 1, 1]


def test_thorough_is_five_trainings_of_balanced():
    thorough, balanced = config_of("thorough", 300), config_of("balanced", 300)
    assert (thorough.n_trainings, balanced.n_trainings) == (5, 1)
    assert estimate(TRIAL, thorough).seconds == pytest.approx(5 * estimate(TRIAL, balanced).seconds)
    assert estimate(TRIAL, thorough).n_steps == 5 * estimate(TRIAL, balanced).n_steps


def test_a_recipe_is_known_by_its_settings_and_others_are_ones_own():
    for recipe in recipes(300):
        assert recipe_of({"threads": 9, **recipe.config}, 300) == recipe
    assert recipe_of({**recipes(300)[1].config, "epochs": 4}, 300) is None


def test_steps_of_larger_batches_last_longer_in_proportion():
    tried = TrainingConfig(batch_size=4)
    assert seconds_of_another(TRIAL, tried, tried) == pytest.approx(estimate(TRIAL, tried).seconds)
    parts, n = estimate(TRIAL, TrainingConfig(batch_size=8)).parts, 12
    assert seconds_of_another(TRIAL, tried, TrainingConfig(batch_size=8)) == pytest.approx(
        sum(parts.values()) - parts["steps"] + 1.1 * n * 2 * 5.0)
