"""A baseline by an endpoint: what was answered once costs nothing, the rest is counted and priced."""

import json

import pytest

from curation.services.snapshots import read_rows
from projects.errors import UserError
from tests.training.test_openai_endpoint import Vendor
from training.models import CachedAnswer, Evaluation, Run, Verdict
from training.prompts import zero_shot
from training.services.baseline import start_baseline
from training.services.comparison import compare
from training.services.endpoint import answer_rows, token_cost


@pytest.fixture
def vendor(settings):
    vendor = Vendor()
    settings.GOLDPAN_LLM_URL, settings.GOLDPAN_LLM_MODEL = vendor.url, "m"
    settings.GOLDPAN_ALLOWED_ORIGINS = [vendor.origin]
    yield vendor
    vendor.server.shutdown()


@pytest.fixture
def ask(vendor, snapshot):
    vendor.answers = {row.text: row.label for row in read_rows(snapshot)}
    prompt, rows = zero_shot(snapshot.project.schema, "Say the mood."), read_rows(snapshot, "dev")
    return lambda prompt=prompt, rows=rows: answer_rows(snapshot.project, prompt, rows)


def test_what_was_answered_is_not_asked_again(ask, vendor):
    first, again = ask(), ask()
    assert again.answers == first.answers and len(vendor.asked) == 9
    assert (first.usage.n_cached, again.usage.n_cached, again.usage.prompt_tokens) == (0, 9, 0)


def test_another_model_or_another_prompt_is_asked_anew(ask, vendor, settings, snapshot):
    ask()
    settings.GOLDPAN_LLM_MODEL = "another"
    ask()
    ask(zero_shot(snapshot.project.schema, "Say the tone."))
    assert len(vendor.asked) == 27


def test_equal_texts_are_asked_once(ask, vendor, snapshot):
    rows = read_rows(snapshot, "dev")[:1] * 5
    said = ask(rows=rows)
    assert len(vendor.asked) == 1 and said.answers == [rows[0].label] * 5 and said.usage.n_cached == 4


def test_what_came_before_a_failure_is_not_paid_twice(ask, vendor, snapshot):
    rows = [row for row in read_rows(snapshot, "test")][:20]
    vendor.failures = {rows[-1].text: [401]}
    with pytest.raises(UserError, match="401"):
        ask(rows=rows)
    assert CachedAnswer.objects.count() == 16
    vendor.asked.clear()
    assert ask(rows=rows).usage.n_cached == 16 and len(vendor.asked) == 4


def test_cost_follows_the_prices(ask, settings):
    assert token_cost(1_000_000, 1_000_000) is None
    settings.GOLDPAN_LLM_PRICE_INPUT, settings.GOLDPAN_LLM_PRICE_OUTPUT = 2.0, 8.0
    assert token_cost(1_000_000, 500_000) == 6.0
    usage = ask().usage
    assert (usage.prompt_tokens, usage.answer_tokens, usage.n_uncounted) == (180, 18, 0)
    assert usage.cost == pytest.approx((180 * 2 + 18 * 8) / 1e6)
    assert ask().usage.cost == 0


def test_tokens_that_nobody_counted_are_told(ask, vendor):
    vendor.counts = False
    assert ask().usage.n_uncounted == 9


def test_a_baseline_by_an_endpoint_says_what_it_cost(ask, vendor, snapshot, bob, settings, run_jobs, client_of):
    settings.GOLDPAN_LLM_PRICE_INPUT = 1.0
    start_baseline(snapshot, by=bob)
    run_jobs()
    best = Verdict.objects.get().best_prompt
    assert Evaluation.objects.get(run=best, split="test").n_right == 60
    assert best.config["usage"]["prompt_tokens"] == 9 * 20 and "prompt_tokens" not in best.config
    rival = compare(snapshot).best_prompt
    assert rival.cost_per_thousand == pytest.approx(1000 * 20 / 1e6)
    bodies = [json.dumps(asked) for _, asked in vendor.asked]
    assert len(bodies) == len(set(bodies)) == 9 * 3 + 60, "three prompts on dev, the winner once on test"
    near = Run.objects.get(kind="nearest")
    assert max(len(asked["messages"]) for _, asked in vendor.asked) == 2 + 2 * near.config["prompt"]["neighbours"]
    page = client_of(bob).get(f"/snapshots/{snapshot.pk}/comparison/").content.decode()
    assert ">Cost</th>" in page and 'data-label="Cost of 1,000">0.02' in page
