import numpy as np
import pytest

from tests.training.story import TRIAL
from training.config import TrainingConfig
from training.encoding import EncodedRow
from training.quote import Machine, elsewhere, error_of, estimate
from training.trial import N_STEPS, spread_batches


def test_seconds_are_the_sum_of_their_parts():
    found = estimate(TRIAL, TrainingConfig())  # 12 steps: 3 epochs over 30 rows by 8
    assert found.n_steps == 12 and found.parts == pytest.approx(
        {"load": 5.0, "steps": 1.1 * 12 * 5.0, "dev": 3 * 9 * 0.5, "checkpoints": 3 * 0.5})
    assert found.seconds == pytest.approx(86.0) and found.low < found.seconds < found.high
    assert found.cpu_seconds == pytest.approx(3.0 + 1.1 * 12 * 8.0 + 13.5) and found.peak_mb == 1200.0


def test_the_cap_is_half_as_much_again_as_the_upper_end_and_never_under_a_minute():
    found = estimate(TRIAL, TrainingConfig())
    assert found.cap_seconds == pytest.approx(1.5 * found.high)
    short = estimate({**TRIAL, "steps": [0.01], "load_seconds": 1.0}, TrainingConfig(epochs=1))
    assert short.cap_seconds == 60.0


def test_gpus_of_unknown_memory_are_left_out_and_money_follows_time():
    big, small, unknown = (Machine(name, 3.6, "USD", gb, 100.0) for name, gb in (("big", 80), ("small", 0.5),
                                                                                ("unknown", None)))
    found = elsewhere(TRIAL, TrainingConfig(), [big, small, unknown])
    assert [one.machine.name for one in found] == ["big", "small"]
    assert found[0].money == pytest.approx(tuple(seconds * 0.001 for seconds in found[0].seconds))
    assert found[1].seconds is None and "smaller model" in found[1].to_json()["words"]
    assert elsewhere({**TRIAL, "shape": {"d_model": 512}}, TrainingConfig(), [big]) == []


def test_an_error_is_a_share_of_what_came():
    assert error_of(110, 100) == pytest.approx(0.1) and error_of(90, 100) == pytest.approx(-0.1)
    assert error_of(1, 0) is None


def rows(lengths):
    return [EncodedRow(str(number), [7] * 20 + list(range(100, 100 + length)) + [1, 2], 2)
            for number, length in enumerate(lengths)]


def test_tried_batches_are_whole_and_spread_from_the_largest_down():
    lengths = np.random.default_rng(0).integers(5, 120, 200)
    batches = spread_batches(rows(lengths), TrainingConfig(batch_size=4), pad_token=0)
    assert len(batches) == N_STEPS + 1 and all(len(batch) == 4 for batch in batches)
    sizes = [sum(int(lengths[row]) for row in batch) for batch in batches]
    assert sizes[0] >= max(sizes[1:]) - 60 and np.corrcoef(sizes[1:], range(N_STEPS))[0, 1] > 0.8


@pytest.mark.parametrize(("n", "n_batches"), [(3, 1), (9, 6)])
def test_few_rows_make_few_batches(n, n_batches):
    batches = spread_batches(rows([10] * n), TrainingConfig(batch_size=4, epochs=3), pad_token=0)
    assert len(batches) == n_batches
