import pytest

from training.findings import curve_findings, why_failed

CONFIG = {"batch_size": 8, "max_tokens": 512, "learning_rate": 5e-4}


@pytest.mark.parametrize("error", [
    "exit code 1\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "exit code -9\n",
    "The work stopped by itself (job 3). The end of its log:\nexit code -9\nLoading"])
def test_out_of_memory_says_what_to_lower(error):
    said = why_failed(error, CONFIG)
    assert "“Rows per step” from 8 to 4" in said and "from 512 to 256" in said


def test_one_row_per_step_is_not_halved():
    assert "Rows per step" not in why_failed("CUDA out of memory", CONFIG | {"batch_size": 1})


def test_a_loss_that_is_no_number_halves_the_learning_rate():
    assert "from 0.0005 to 0.00025" in why_failed("The loss became nan at step 3: choose …", CONFIG)


def test_words_that_say_it_already_stand_alone():
    assert why_failed("No row is left to train on.", CONFIG) == ""


def curve(losses, name, values):
    epochs = [{"step": step, "epoch": step, name: value} for step, value in enumerate(values, 1)]
    return curve_findings([*({"step": k, "loss": loss} for k, loss in enumerate(losses)), *epochs], CONFIG)


FALLING = [3.0 - 0.2 * k for k in range(12)]


def test_dev_that_falls_while_train_falls_asks_for_fewer_passes():
    [said] = curve(FALLING, "dev_calibrated", [0.70, 0.80, 0.75])
    assert "the score on dev went from 80.0 % to 75.0 %" in said and "2 passes would have done" in said
    [said] = curve(FALLING, "dev_loss", [0.50, 0.70])
    assert "from 0.500 to 0.700" in said and "1 pass would have done" in said


@pytest.mark.parametrize(("losses", "values"), [
    (FALLING, [0.70, 0.80, 0.79]), (FALLING, [0.7, 0.8]), (FALLING, [0.8]), (FALLING, []), (FALLING[:5], [0.8, 0.5])])
def test_a_small_step_back_a_rise_or_too_few_steps_say_nothing(losses, values):
    assert curve(losses, "dev_calibrated", values) == []


def test_a_flat_loss_doubles_the_learning_rate():
    [said] = curve([2.0] * 12, "dev_calibrated", [0.5, 0.5])
    assert "stayed flat, 2.00" in said and "to 0.001." in said
