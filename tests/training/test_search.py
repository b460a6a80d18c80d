"""A search with the random two-layer model: five trainings, chosen on dev, capped and resumed as one."""

import json
from pathlib import Path

import pytest

from tests.training.test_finetune import spec_of
from training import search
from training.run_log import Diverged
from training.search import spread_words


class FakeTrainings:
    """In place of `finetune.train`: what each training comes to on dev, by its rate and seed."""

    def __init__(self, dev):
        self.dev, self.asked = dev, []

    def __call__(self, spec, folder, progress):
        config = spec["config"]
        self.asked.append((config["learning_rate"], config["seed"]))
        value = self.dev[self.asked[-1]]
        if value is None:
            raise Diverged("The loss became nan at step 3: choose a lower learning rate.")
        if value == "cap" and not spec.get("finish"):
            return {"stopped_at_cap": True, "steps": 4, "n_steps": 10, "n_epochs": 0, "best_dev": None, "chosen_by": "",
                    "peak_mb": 1.0}
        progress("Training", 5, 10)
        (folder / "adapter").mkdir(parents=True)
        (folder / "adapter" / "adapter_model.safetensors").write_text(f"{self.asked[-1]}")
        (folder / "metrics.jsonl").write_text("")
        epoch = {"step": 10, "dev_calibrated": value, "dev_loss": 1.0}
        return {"steps": 10, "tokens": 7, "train_seconds": 2.0, "dev_seconds": 1.0, "epochs": [epoch], "best_step": 10,
                "loss_last": 0.5}


def searched(monkeypatch, folder, dev, **spec):
    fake, seen = FakeTrainings(dev), []
    monkeypatch.setattr("training.finetune.train", fake)
    config = {"search_seeds": 3, "seed": 1}
    return search.search({"config": config, **spec}, folder, lambda *said: seen.append(said)), fake.asked, seen


DEV = {(1e-4, 1): 0.7, (2e-4, 1): 0.8, (5e-4, 1): 0.8, (2e-4, 2): 0.84, (2e-4, 3): 0.79}


def test_the_best_rate_gets_more_seeds_and_the_best_of_all_is_kept(monkeypatch, tmp_path):
    found, asked, seen = searched(monkeypatch, tmp_path, DEV)
    assert asked == [(1e-4, 1), (2e-4, 1), (5e-4, 1), (2e-4, 2), (2e-4, 3)]  # of equal rates the lower
    assert (tmp_path / "adapter" / "adapter_model.safetensors").read_text() == "(0.0002, 2)"
    assert [line["is_winner"] for line in found["search"]] == [False, False, False, True, False]
    assert (found["steps"], found["tokens"], found["train_seconds"]) == (50, 35, 10.0)
    assert "between 79.0 % and 84.0 %: chance alone moves it by 5.0 points" in found["spread_words"]
    assert seen[-1] == ("Training 5 of 5", 4500, 5000)


def test_a_rate_that_diverges_is_out(monkeypatch, tmp_path):
    found, asked, _ = searched(monkeypatch, tmp_path, DEV | {(5e-4, 1): None})
    assert len(asked) == 5 and found["search"][2]["diverged"].startswith("The loss became nan")


def test_where_all_diverge_it_says_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="choose lower learning rates by hand"):
        searched(monkeypatch, tmp_path, dict.fromkeys(DEV))


def test_at_the_cap_it_stops_and_goes_on_behind_what_is_done(monkeypatch, tmp_path):
    found, asked, _ = searched(monkeypatch, tmp_path, DEV | {(2e-4, 1): "cap"}, cap_seconds=60)
    assert asked == [(1e-4, 1), (2e-4, 1)]
    assert (found["stopped_at_cap"], found["steps"], found["n_steps"], found["n_epochs"], found["best_dev"]) == (
        True, 14, 50, 1, 0.7)
    _, asked, _ = searched(monkeypatch, tmp_path, DEV)
    assert asked == [(2e-4, 1), (5e-4, 1), (2e-4, 2), (2e-4, 3)]


def test_somebody_can_end_it_with_the_best_so_far(monkeypatch, tmp_path):
    searched(monkeypatch, tmp_path, DEV | {(2e-4, 1): "cap"}, cap_seconds=60)
    found, asked, _ = searched(monkeypatch, tmp_path, DEV, finish=True)
    assert asked == [] and [line["learning_rate"] for line in found["search"]] == [1e-4]


def test_seeds_that_agree_are_said_to():
    same = {"learning_rate": 1e-4, "chosen_by": "dev_calibrated"}
    lines = [{**same, "dev": 0.80, "is_winner": False}, {**same, "dev": 0.82, "is_winner": True}]
    assert spread_words(lines).endswith("so chance moves it little.")
    assert spread_words(lines[1:]) == ""


def test_a_real_search_trains_five_adapters_and_keeps_one(tiny_folder, tmp_path):
    spec = spec_of(tmp_path, tiny_folder, epochs=1, search_seeds=3)
    found = search.search(spec, tmp_path, lambda *_: None)
    assert len(found["search"]) == 5 and len({line["loss_last"] for line in found["search"]}) == 5
    assert sum(line["is_winner"] for line in found["search"]) == 1
    best = max(line["dev"] for line in found["search"])
    assert next(line["dev"] for line in found["search"] if line["is_winner"]) == best
    places = list((tmp_path / "checkpoints").glob("rate-*"))
    weights = (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()
    assert sum((Path(place) / "adapter" / "adapter_model.safetensors").read_bytes() == weights for place in places) == 1
    assert found["steps"] == 5 * len([line for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
                                      if "loss" in json.loads(line) and "dev_loss" not in json.loads(line)])
