"""DPO on a random model: pairs of tokens, the curve, the epoch, the cap, and what a pair is worth afterwards."""

import json
import signal
from itertools import pairwise

import numpy as np
import pytest

from tests.training.test_finetune import metrics_of
from training import checkpoints, encoding, finetune, language_model, pairs, prompts, trial
from training.config import TrainingConfig
from training.label_scoring import answer_log_likelihoods
from training.pairs import answer_rows, margins, pairs_of, preference_metrics, writing_prompt
from training.quote import estimate

CONFIG = {"method": "dpo", "epochs": 2, "batch_size": 4, "checkpoint_steps": 5, "learning_rate": 0.01, "threads": 1}


@pytest.fixture(autouse=True)
def _keep_our_signal():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def comparisons(n, start=0):
    """People prefer the answer with “good” in it, on either side; every tenth is a tie."""
    found = []
    for number in range(start, start + n):
        good, bad = f"{'the news ' * (number % 3)}good answer {number}", f"bad news {number} so so"
        left, right = (good, bad) if number % 2 else (bad, good)
        found.append({"key": f"row-{number}", "text": f"question {number}", "data": {"left": left, "right": right},
                      "label": "tie" if number % 10 == 9 else "left" if number % 2 else "right"})
    return found


def spec_of(folder, model, **config):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", comparisons(30)), ("dev", comparisons(10, 100))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"model": str(model), "rows_file": str(folder / "train.jsonl"), "dev_file": str(folder / "dev.jsonl"),
            "prompt": prompts.prompt_to_json(writing_prompt()), "config": CONFIG | config}


def train(folder, model, **spec):
    return finetune.train(spec_of(folder, model) | spec, folder, lambda *said: None)


@pytest.fixture(scope="module")
def unbroken(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dpo")
    return folder, train(folder, tiny_folder)


def test_a_row_becomes_its_preferred_answer_then_the_other_and_a_tie_none():
    rows = answer_rows(comparisons(10)[7:])
    assert [(row["key"], row["label"]) for row in rows] == [
        ("row-7, left", "the news good answer 7"), ("row-7, right", "bad news 7 so so"),
        ("row-8, right", "the news the news good answer 8"), ("row-8, left", "bad news 8 so so")]


def test_a_pair_shares_its_prompt_and_is_left_out_whole(tiny_folder):
    tokenizer = language_model.load(tiny_folder).tokenizer
    answers = answer_rows(comparisons(3))
    answers[0]["label"] *= 50
    encoded = encoding.encode_rows(tokenizer, writing_prompt(), answers, max_tokens=100)
    found = pairs_of(answers, encoded)
    assert len(encoded.refused) == 1 and [pair.chosen.key for pair in found] == ["row-1, left", "row-2, right"]
    for pair in found:
        for row, ids in zip((pair.chosen, pair.rejected), pair.answers, strict=True):
            assert pair.prompt_ids + ids == row.input_ids and ids[-1] == encoded.end_token


def test_the_metrics_of_a_margin_by_hand():
    policy, reference = np.array([[-10.0, -30.0], [-20.0, -20.0]]), np.array([[-20.0, -20.0], [-10.0, -20.0]])
    assert margins(policy, reference).tolist() == [20.0, -10.0]
    found = preference_metrics(policy, reference)  # beta times these: 2 and -1
    assert (found["dev_preferred"], found["dev_margin"]) == (0.5, pytest.approx(0.5))
    assert found["dev_loss"] == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 2)


def test_answers_of_each_prompts_own_are_scored_as_rows_alone(tiny_folder):
    import torch

    loaded = language_model.load(tiny_folder)
    answers = answer_rows(comparisons(4))
    found = pairs_of(answers, encoding.encode_rows(loaded.tokenizer, writing_prompt(), answers))
    scores = pairs.log_likelihoods(loaded, found)
    for pair, both in zip(found, scores, strict=True):
        for row, score in zip((pair.chosen, pair.rejected), both, strict=True):
            with torch.inference_mode():
                logits = loaded.model(input_ids=torch.tensor([row.input_ids])).logits[0, -row.n_completion - 1 : -1]
            targets = torch.tensor(row.input_ids[-row.n_completion:])
            alone = -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum").item()
            assert score == pytest.approx(alone, abs=1e-3)
    with pytest.raises(ValueError, match="text 0 makes a prompt of 500 tokens"):
        answer_log_likelihoods(loaded, [[1] * 500], [[[2] * 20]])


def test_the_preferred_answers_are_learned_from_where_the_base_model_stands(unbroken):
    folder, result = unbroken
    steps = [row for row in metrics_of(folder) if "loss" in row]
    assert (result["n_rows"], result["steps"], len(steps)) == (27, 14, 14)  # three of 30 are ties
    assert steps[0]["loss"] == pytest.approx(np.log(2), abs=1e-4) and steps[0]["reward_margin"] == 0
    assert steps[-1]["loss"] < 0.3 and steps[-1]["reward_margin"] > 1 and steps[-1]["reward_accuracy"] == 1
    assert all(earlier["tokens"] < later["tokens"] for earlier, later in pairwise(steps))
    assert [row["n_dev"] for row in result["epochs"]] == [9, 9] and result["chosen_by"] == "dev_preferred"
    assert result["epochs"][-1]["dev_preferred"] == 1 and result["epochs"][-1]["dev_loss"] < np.log(2)
    assert set(result["files"]) == set(checkpoints.ADAPTER_FILES)


def test_a_run_at_its_cap_goes_on_to_the_same_losses(unbroken, tiny_folder, tmp_path):
    capped = train(tmp_path, tiny_folder, cap_seconds=0.01)
    assert capped["stopped_at_cap"] and (capped["steps"], capped["n_steps"]) == (1, 14)
    result = train(tmp_path, tiny_folder)
    again, whole = ([row["loss"] for row in metrics_of(folder) if "loss" in row] for folder in (tmp_path, unbroken[0]))
    assert result["resumed_from"] == 1 and again == pytest.approx(whole, abs=1e-4)
    assert result["tokens"] == unbroken[1]["tokens"] and result["best_step"] == unbroken[1]["best_step"]


def test_both_models_read_the_test_pairs(unbroken, tiny_folder, tmp_path):
    rows = comparisons(9, 200)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = pairs.score_pairs({"model": str(tiny_folder), "adapter": str(unbroken[0] / "adapter"), "threads": 1,
                              "prompt": prompts.prompt_to_json(writing_prompt()),
                              "rows_file": str(tmp_path / "rows.jsonl")}, tmp_path, lambda *told: None)
    base, adapted = np.load(tmp_path / said["scores"]).transpose(1, 0, 2)
    gained = adapted - base
    assert gained.shape == np.load(tmp_path / said["lengths"]).shape == (9, 2)
    assert [("left", "right")[side] for side in gained.argmax(axis=1)] == [row["label"] for row in rows]


def test_a_trial_measures_steps_on_pairs(unbroken, tiny_folder, tmp_path):
    found = trial.try_steps(spec_of(tmp_path, tiny_folder), tmp_path, lambda *said: None)
    assert (found["n_rows"], found["n_dev"], found["n_answers"]) == (27, 9, 0) and min(found["steps"]) > 0
    assert {check["state"] for check in found["checks"]} == {"passed"}
    assert not any("by heart" in check["name"] for check in found["checks"])
    assert estimate(found, TrainingConfig(**CONFIG)).n_steps == unbroken[1]["steps"]


def test_dev_rows_that_are_ties_choose_nothing(tiny_folder, tmp_path):
    spec = spec_of(tmp_path, tiny_folder)
    ties = [row | {"label": "tie"} for row in comparisons(5)]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ties))
    with pytest.raises(ValueError, match="at least 2 dev pairs to choose the best epoch on, there are 0"):
        finetune.train(spec, tmp_path, lambda *said: None)
