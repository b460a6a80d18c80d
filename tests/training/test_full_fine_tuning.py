"""All weights trained instead of an adapter: the same run, log, cap and best epoch, and a model folder at its end."""

import json
import signal

import numpy as np
import pytest

from tests.training.test_finetune import PROMPT, losses, metrics_of, spec_of
from tests.training.tiny_model import toy_rows
from training import checkpoints, finetune, language_model, trial
from training.arms import Labelled, learn_and_judge
from training.config import RATES, SEARCHED_RATES, TrainingConfig, config_from_json
from training.label_scoring import label_log_likelihoods
from training.recipes import recipe_of, recipes

FULL = {"method": "full", "learning_rate": 2e-3, "epochs": 2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def _keep_our_signal():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def train(folder, model, **spec):
    return finetune.train(spec_of(folder, model, rows=24, **FULL) | spec, folder, lambda *said: None)


@pytest.fixture(scope="module")
def unbroken(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    return folder, train(folder, tiny_folder)


def test_a_method_has_its_own_learning_rates():
    assert config_from_json({"method": "full"}).learning_rate == RATES["full"] == RATES["lora"] / 10
    assert config_from_json({"method": "full", "learning_rate": 1e-4}).learning_rate == 1e-4
    assert config_from_json({}) == TrainingConfig() and TrainingConfig().learning_rate == RATES["lora"]
    assert max(SEARCHED_RATES["full"]) < min(SEARCHED_RATES["lora"])


@pytest.mark.parametrize(("values", "words"), [
    ({"method": "magic"}, "method must be one of lora, full"),
    ({"method": "full", "weight_bits": 4}, "weight_bits must be 16 where all weights are trained")])
def test_what_no_method_can_do_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        config_from_json(values)


def test_a_recipe_is_known_for_both_methods():
    for method in ("lora", "full"):
        for recipe in recipes(500):
            assert recipe_of(recipe.config_for(method), 500) == recipe
    assert recipes(500)[1].config_for("full")["learning_rate"] == RATES["full"]


def test_all_weights_learn_and_the_best_epoch_is_a_model_that_loads_in_an_adapters_place(unbroken, tiny_folder):
    folder, result = unbroken
    assert result["loss_last"] < 0.8 * result["loss_first"] and result["steps"] == 12
    files = {path.name for path in (folder / "adapter").iterdir()}
    assert set(result["files"]) == set(checkpoints.MODEL_FILES) == files
    base, full = language_model.load(tiny_folder), language_model.load(tiny_folder, adapter=folder / "adapter")
    assert full.model.dtype == base.model.dtype
    changed = [name for (name, new), old in zip(full.model.named_parameters(), base.model.parameters(), strict=True)
               if not new.equal(old)]
    assert len(changed) == len(list(base.model.parameters()))
    texts = [row["text"] for row in toy_rows(9)]
    scores = label_log_likelihoods(full, PROMPT, texts)
    right = scores.argmax(axis=1) == np.arange(9) % 3
    best = next(row for row in result["epochs"] if row["step"] == result["best_step"])
    assert right.mean() == pytest.approx(best["dev_accuracy"])  # what was chosen is what is kept


def test_the_model_names_its_base_and_no_path(unbroken, tiny_folder):
    folder, _ = unbroken
    config = (folder / "adapter" / "config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == language_model.model_identity(tiny_folder)
    assert str(folder) not in config and str(tiny_folder) not in config


def test_only_the_best_epoch_takes_room(unbroken):
    folder, result = unbroken
    kept = [path.name for path in (folder / "checkpoints").glob("epoch-*")]
    assert kept == [f"epoch-{result['best_step']}"]


def test_a_run_at_its_cap_goes_on_to_the_same_losses(unbroken, tiny_folder, tmp_path):
    capped = train(tmp_path, tiny_folder, cap_seconds=0.01)
    assert capped["stopped_at_cap"] and capped["steps"] == 1
    result = train(tmp_path, tiny_folder)
    assert result["resumed_from"] == 1 and result["best_step"] == unbroken[1]["best_step"]
    assert losses(tmp_path) == pytest.approx(losses(unbroken[0]), abs=1e-4)
    assert len(metrics_of(tmp_path)) == len(metrics_of(unbroken[0]))


def test_weights_of_sixteen_bits_are_trained_in_thirty_two_and_kept_in_sixteen(tiny_folder, tmp_path):
    """A step of 5e-5 is below what bfloat16 can tell of most weights: trained in 16 bits they would not move."""
    import torch

    loaded, half = language_model.load(tiny_folder), tmp_path / "half"
    loaded.model.to(torch.bfloat16).save_pretrained(half)
    loaded.tokenizer.save_pretrained(half)
    result = train(tmp_path / "run", half, config=spec_of(tmp_path / "run", half, **FULL)["config"] | {
        "epochs": 1, "learning_rate": 5e-5})
    assert language_model.load(half, adapter=tmp_path / "run" / "adapter").model.dtype == torch.bfloat16
    assert result["loss_last"] < result["loss_first"]


def test_a_trial_measures_full_fine_tuning_with_the_optimiser_of_all_weights(tiny_folder, tmp_path):
    spec = spec_of(tmp_path, tiny_folder, rows=24, **FULL)
    found = trial.try_steps(spec, tmp_path, lambda *said: None)
    names = [check["name"] for check in found["checks"]]
    assert not any("adapter" in name for name in names) and names[-1].endswith("can be learned by heart")
    checkpoint = next((tmp_path / "checkpoints").glob("checkpoint-*"))
    n_bytes = (checkpoint / "model.safetensors").stat().st_size
    assert (checkpoint / "optimizer.pt").stat().st_size == pytest.approx(2 * n_bytes, rel=0.2)


def test_rows_are_learned_by_all_weights_and_judged(tiny_folder, tmp_path):
    rows = [Labelled(row["text"], row["label"]) for row in toy_rows(24)]
    config = TrainingConfig(method="full", learning_rate=2e-3, batch_size=4, checkpoint_steps=5, threads=1)
    found = learn_and_judge(rows, rows[:9], model=tiny_folder, prompt=PROMPT, config=config, steps=8, folder=tmp_path)
    assert (found.n_rows, found.steps, len(found.right)) == (24, 8, 9) and found.train_seconds > 0
