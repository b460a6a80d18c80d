"""The whole path with the real small language model, sixty rows a type of task: prompt, gate, LoRA, honest verdict.

What comes out is printed. A model of 135 million parameters is no match for these tasks, and so few rows settle
little: nothing is asserted about who wins, only that every number holds together and the words say what it says.
"""

import math
import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from jobs.models import Job
from tests.drill.installation import VERDICTS, need_model
from tests.training.kinds import KINDS, approved
from tests.training.story import start_quoted
from training.models import Adapter, Evaluation, Verdict
from training.services.baseline import start_baseline
from training.services.comparison import compare
from training.services.scoring import read_predictions

pytestmark = pytest.mark.drill
N_POOL, N_DEV, N_TEST = 34, 6, 20


@pytest.mark.parametrize("name", ["classification", "extraction", "response", "preference"])
def test_the_whole_path_ends_in_an_honest_verdict(name: str, alice: User, bob: User,
                                                  run_jobs: Callable[[], None]) -> None:
    need_model()
    started = time.perf_counter()
    snapshot = approved(KINDS[name], admin=alice, curator=bob, n_pool=N_POOL, n_dev=N_DEV, n_test=N_TEST)
    start_baseline(snapshot, by=bob)
    run_jobs()
    verdict = Verdict.objects.get(snapshot=snapshot)
    prompt = Evaluation.objects.get(run=verdict.best_prompt, split="test")
    measured = prompt.measured
    assert verdict.outcome == ("PROMPT_OK" if measured.lower >= 0.8 else "FINE_TUNE" if measured.upper < 0.8 else
                               "INCONCLUSIVE")
    run = start_quoted(snapshot, by=alice, config={"epochs": 4}, override_reason="A drill.")
    run_jobs()
    failed = [job.error for job in Job.objects.exclude(state=Job.State.succeeded)]
    assert not failed
    mine, receipt = Evaluation.objects.get(run=run, split="test"), Adapter.objects.get(run=run).receipt
    assert receipt["loss_last"] < receipt["loss_first"]
    for evaluation in (prompt, mine):
        said = read_predictions(evaluation)
        assert len(said) == evaluation.n == N_TEST
        assert evaluation.n_unread == sum(one.predicted is None for one in said)
        assert all(0 <= one.row_score <= 1 for one in said)
    found = compare(snapshot)
    lora = found.lora
    assert lora is not None and lora.against_prompt is not None
    difference = lora.against_prompt.difference
    assert difference.estimate == pytest.approx(mine.measured.value - measured.value)
    word = "Yes" if difference.low > 0 else "No" if difference.high < 0 else "Not proven"
    assert found.headline.startswith(f"Is fine-tuning worth it? {word}")
    VERDICTS.append(
        f"{name}: {time.perf_counter() - started:.0f} s. {verdict.outcome}. {found.headline} {found.paragraph} "
        f"Unreadable: prompt {prompt.n_unread}, adapter {mine.n_unread}. Epoch chosen by {receipt['chosen_by']}.")


def test_preferences_teach_the_model_to_write_the_better_answer(alice: User, bob: User,
                                                                run_jobs: Callable[[], None]) -> None:
    """DPO with the real model: the test rows' better answers are preferred by what training has changed."""
    need_model()
    started = time.perf_counter()
    snapshot = approved(KINDS["preference"], admin=alice, curator=bob, n_pool=N_POOL, n_dev=N_DEV, n_test=N_TEST)
    start_baseline(snapshot, by=bob)
    run_jobs()
    run = start_quoted(snapshot, by=alice, config={"method": "dpo", "epochs": 2}, override_reason="A drill.")
    run_jobs()
    failed = [job.error for job in Job.objects.exclude(state=Job.State.succeeded)]
    assert not failed
    mine, receipt = Evaluation.objects.get(run=run, split="test"), Adapter.objects.get(run=run).receipt
    assert receipt["loss_first"] == pytest.approx(math.log(2), abs=1e-3), "it begins as its reference"
    assert receipt["loss_last"] < receipt["loss_first"] - 0.03
    assert mine.n == N_TEST and receipt["chosen_by"] == "dev_preferred"
    untrained, against = mine.interval_of("untrained"), mine.interval_of("against_untrained")
    found = compare(snapshot)
    VERDICTS.append(
        f"preference by DPO: {time.perf_counter() - started:.0f} s. {found.headline} {found.paragraph} Untrained, by "
        f"likelihood per token: {untrained.estimate:.3f} [{untrained.low:.3f}, {untrained.high:.3f}]; difference "
        f"{against.estimate:+.3f} [{against.low:+.3f}, {against.high:+.3f}].")
