"""A preference project's model learns to write the better answer, and is judged beside the prompt on the same rows."""

import json

import numpy as np
import pytest
from django.urls import reverse

from projects.errors import UserError
from serving.services.deployments import NotServed, choose, names_of
from tests.training.kinds import KINDS, approved
from tests.training.story import start_quoted
from tests.training.test_every_task_type import N_DEV, N_POOL, N_TEST, FakeModel
from training.config import RATES
from training.models import Adapter, Evaluation, Run
from training.services.baseline import start_baseline
from training.services.comparison import compare
from training.services.exports import start_merge
from training.services.promotion import promote, standing
from training.services.quotes import run_config
from training.services.runs import start_training


class PairReader(FakeModel):
    """Its base model likes the longer answer; the adapter has come to like the right one, but on every sixth row."""

    def __call__(self, module, spec, *, folder, progress=None):
        if module != "training.pairs":
            return super().__call__(module, spec, folder=folder)
        self.asked.append((module, spec))
        folder.mkdir(parents=True, exist_ok=True)
        numbers = self._numbers({"texts_file": spec["rows_file"]})
        right = np.array([[self.kind.right(n) == side for side in ("left", "right")] for n in numbers])
        lengths = np.where(right, 20, 2)
        base = np.where(right, -2.0, -1.0) * lengths  # by token the short answers, which are wrong, are likelier
        learned = right ^ (np.array(numbers) % 6 == 0)[:, None]
        np.save(folder / "pairs.npy", np.stack([base, base + 5.0 * learned], axis=1))
        np.save(folder / "lengths.npy", lengths)
        return {"scores": "pairs.npy", "lengths": "lengths.npy", "seconds": 4.0, "model": "tiny@sha256:00"}


@pytest.fixture
def model(monkeypatch):
    fake = PairReader("preference")
    for place in ("scoring", "executors", "quotes", "general", "exports"):
        monkeypatch.setattr(f"training.services.{place}.run_child", fake)
    return fake


@pytest.fixture
def judged(model, alice, bob, run_jobs):
    snapshot = approved(model.kind, admin=alice, curator=bob, n_pool=N_POOL, n_dev=N_DEV, n_test=N_TEST)
    start_baseline(snapshot, by=bob)
    run_jobs()
    return snapshot


@pytest.fixture
def run(judged, alice, run_jobs):
    run = start_quoted(judged, by=alice, config={"method": "dpo"}, override_reason="To see.")
    run_jobs()
    return Run.objects.get(pk=run.pk)


def test_it_is_asked_with_the_text_alone_and_keeps_its_own_rate(run, model):
    assert (run.kind, run.config["training"]["learning_rate"]) == ("dpo", RATES["dpo"])
    assert run.config["prompt"]["instruction"] == "{text}" and not run.config["prompt"]["labels"]
    [asked] = [spec for module, spec in model.asked if module == "training.pairs"]
    assert json.loads(json.dumps(asked["prompt"])) == run.config["prompt"] and asked["adapter"]


def test_what_it_has_come_to_prefer_is_held_against_the_prompt_on_the_same_rows(run, judged):
    mine = Evaluation.objects.get(run=run, split="test")
    assert (mine.n, mine.n_right, mine.n_unread) == (24, 20, 0)
    found = compare(judged)
    assert found.lora.run == run and found.lora.against_prompt.difference.n == 24
    assert "The DPO adapter gets 83.3 %" in found.paragraph and "How good its own answers are" in found.paragraph
    assert mine.interval_of("untrained").estimate == 0 and mine.metrics["n_ties"] == 0
    difference = mine.interval_of("against_untrained")
    assert difference.estimate == pytest.approx(20 / 24) and difference.low > 0.5


def test_its_page_says_what_right_means_and_what_is_not_measured(run, bob, client_of):
    html = client_of(bob).get(reverse("training:run", args=[run.pk])).content.decode()
    assert "raised the likelihood of the better answer more" in html and "token for token, in 0.0" in html
    assert "How good its own answers are is not measured by this." in html


def test_it_does_not_serve_what_it_was_never_asked(run, alice):
    adapter = Adapter.objects.get(run=run)
    assert not adapter.can_serve and not adapter.is_whole_model and not standing(adapter).allowed
    with pytest.raises(UserError, match="learned to write what people prefer"):
        promote(adapter, by=alice, override_reason="All the same.")
    assert f"adapter-{adapter.pk}" not in " ".join(names_of(adapter.project))
    with pytest.raises(NotServed, match="does not serve"):
        choose(adapter.project, f"adapter-{adapter.pk}")


def test_it_is_not_merged_and_its_page_says_where_it_can_be_used(run, alice, client_of):
    adapter = Adapter.objects.get(run=run)
    with pytest.raises(UserError, match="Load its files with peft"):
        start_merge(adapter, by=alice, wake=False)
    client = client_of(alice)
    html = client.get(reverse("training:adapter", args=[adapter.pk])).content.decode()
    assert "to be used elsewhere." in html and "Ready to serve" not in html and "Promote" not in html
    card = client.get(reverse("training:adapter-card", args=[adapter.pk])).content.decode()
    assert "trained by DPO to write what people prefer" in card and '"dpo"' in card


def test_only_preferences_are_learned_so_and_only_here(judged, alice, bob):
    with pytest.raises(UserError, match="on this machine only"):
        start_training(judged, by=alice, executor="bundle", config={"method": "dpo"}, override_reason="x", wake=False)
    other = approved(KINDS["response"], admin=alice, curator=bob, n_pool=6, n_dev=2, n_test=4)
    with pytest.raises(UserError, match="this project has none"):
        run_config(other, {"method": "dpo"})
