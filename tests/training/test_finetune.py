import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from jobs.child import ChildRefused, child_environment, run_child
from tests.training.child_here import run_child_here
from tests.training.tiny_model import SCHEMA, toy_rows
from training import encoding, language_model, prompts
from training.config import TrainingConfig, config_from_json, epochs_for, n_steps
from training.encoding import IGNORED
from training.judges import dev_metrics
from training.packing import PACK_TOKENS, WIDTHS, pack, shared_length
from training.quote import estimate
from training.run_log import MetricsLog, best_epoch
from training.trial import N_STEPS

EMBEDDED = Path("var/models/smollm2-135m-instruct")
PROMPT = prompts.short(SCHEMA)
CONFIG = {"epochs": 3, "batch_size": 4, "checkpoint_steps": 5, "learning_rate": 0.01, "dropout": 0.1, "threads": 1}


# --- configuration


@pytest.mark.parametrize(("values", "words"), [
    ({"r": 0}, "r must be between 1 and 256, got 0"),
    ({"learning_rate": 5.0}, "learning_rate must be between"),
    ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
    ({"batch_size": True}, "batch_size must be a whole number"),
    ({"dropout": "0.1"}, "dropout must be a number"),
    ({"learning_rate": float("nan")}, "learning_rate must be between"),
    ({"lr": 1e-4}, "does not know lr"),
])
def test_a_bad_value_is_named(values, words):
    with pytest.raises(ValueError, match=words):
        config_from_json(values)


def test_whole_numbers_do_for_shares():
    assert config_from_json({"dropout": 0, "warmup_share": 0}) == TrainingConfig(dropout=0, warmup_share=0)


@pytest.mark.parametrize(("n_rows", "epochs"), [(1, 5), (100, 5), (200, 3), (400, 2), (473, 1), (5000, 1)])
def test_small_sets_are_read_more_often(n_rows, epochs):
    assert epochs_for(n_rows) == epochs


def test_steps_count_the_last_small_batch():
    assert n_steps(17, TrainingConfig(epochs=2, batch_size=8)) == 6


# --- packing


def test_a_pack_holds_the_shared_beginning_once():
    packed = pack([([1, 2, 3, 4], [IGNORED, IGNORED, IGNORED, 4]), ([1, 2, 5, 6, 7], [IGNORED] * 3 + [6, 7])], 2, 0)
    assert packed.input_ids.shape == (1, WIDTHS)
    assert packed.input_ids[0, :8].tolist() == [1, 2, 5, 6, 7, 3, 4, 0]
    assert packed.positions[0, :8].tolist() == [0, 1, 2, 3, 4, 2, 3, 0]
    assert packed.segments[0, :8].tolist() == [0, 0, 1, 1, 1, 2, 2, -1]
    assert packed.targets[0, :8].tolist() == [IGNORED, IGNORED, 6, 7, IGNORED, 4, IGNORED, IGNORED]
    sees = packed.allowed[0, :, :8]
    assert sees[4].tolist() == [True, True, True, True, True, False, False, False]
    assert sees[6].tolist() == [True, True, False, False, False, True, True, False]
    assert set(packed.segments[0, 7:].tolist()) == {-1}, "the rest is padding"


def test_rows_beyond_a_pack_start_another():
    rows = [([1] + [9] * (PACK_TOKENS - 101), [IGNORED] * (PACK_TOKENS - 100)),
            ([1] + [8] * 200, [IGNORED] * 201), ([1] + [7] * 50, [IGNORED] * 51)]
    packed = pack(rows, 1, 0)
    assert packed.input_ids.shape == (2, PACK_TOKENS - 32), "462 ids, to the next multiple of 32"
    assert [sorted(set(ids.tolist())) for ids in packed.input_ids] == [[0, 1, 7, 9], [0, 1, 8]]


def test_the_packed_loss_and_its_gradient_are_those_of_padded_rows(tiny_folder):
    import torch

    loaded = language_model.load(tiny_folder)
    rows = encoding.encode_rows(loaded.tokenizer, PROMPT, toy_rows(7)).rows
    packed = pack([(row.input_ids, row.labels) for row in rows], shared_length(rows), 0)
    mask = torch.zeros(packed.allowed.shape).masked_fill(~torch.from_numpy(packed.allowed), -1e9)[:, None]
    logits = loaded.model(input_ids=torch.from_numpy(packed.input_ids), attention_mask=mask,
                          position_ids=torch.from_numpy(packed.positions)).logits
    targets = torch.from_numpy(packed.targets)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    longest = max(len(row.input_ids) for row in rows)
    ids = torch.tensor([row.input_ids + [0] * (longest - len(row.input_ids)) for row in rows])
    labels = torch.tensor([row.labels + [IGNORED] * (longest - len(row.labels)) for row in rows])
    seen = torch.tensor([[1] * len(row.input_ids) + [0] * (longest - len(row.input_ids)) for row in rows])
    padded = loaded.model(input_ids=ids, labels=labels, attention_mask=seen).loss
    weight = loaded.model.model.layers[0].mlp.up_proj.weight
    ours, theirs = (torch.autograd.grad(value, weight)[0] for value in (loss, padded))
    assert loss.item() == pytest.approx(padded.item(), abs=1e-5)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_nothing_that_is_learned_is_shared(tiny_folder):
    tokenizer = language_model.load(tiny_folder).tokenizer
    same = encoding.encode_rows(tokenizer, PROMPT, [{"key": str(n), "text": "x", "label": "good"} for n in range(2)])
    row = same.rows[0]
    assert shared_length(same.rows) == len(row.input_ids) - row.n_completion - 1


# --- what is written down


def test_a_resumed_log_forgets_what_came_after_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 4, "loss": 1.0}, {"step": 4, "dev_accuracy": 0.5}, {"step": 5, "loss": 0.9}]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 6, "lo')
    log = MetricsLog(path, keep_steps=4)
    log.append({"step": 5, "loss": 0.8})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [*lines[:2], {"step": 5, "loss": 0.8}]
    assert len(log.steps) == 2 and len(log.epochs) == 1


def test_dev_metrics_credit_a_balance_only_where_it_was_not_fitted():
    labels = np.array([0, 1] * 50)
    scores = np.stack([np.zeros(100), labels * 2.0 - 6], axis=1)
    metrics = dev_metrics(scores, labels)
    assert metrics["dev_accuracy"] == 0.5 and metrics["dev_calibrated"] == 1.0
    assert metrics["dev_loss"] == pytest.approx((np.log1p(np.exp(-6)) + np.log1p(np.exp(4))) / 2)


def test_the_best_epoch_is_that_of_the_best_measure_there_is():
    losses = [{"step": 1, "dev_loss": 2.0}, {"step": 2, "dev_loss": 1.0}, {"step": 3, "dev_loss": 1.5}]
    assert best_epoch(losses) == (losses[1], "dev_loss")
    scores = [row | {"dev_score": score} for row, score in zip(losses, (0.5, 0.2, 0.5), strict=True)]
    assert best_epoch(scores) == (scores[2], "dev_score")


# --- whole runs on a random model


def spec_of(folder, model, rows=40, dev=9, **config):
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("train.jsonl", rows), ("dev.jsonl", dev)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in toy_rows(n)))
    return {"model": str(model), "rows_file": str(folder / "train.jsonl"), "dev_file": str(folder / "dev.jsonl"),
            "prompt": prompts.prompt_to_json(PROMPT), "config": CONFIG | config}


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    calls = []
    result = run_child("training.finetune", spec_of(folder, tiny_folder), folder=folder,
                       progress=lambda *call: calls.append(call))
    return folder, result, calls


def test_a_run_learns_and_counts_every_step(unbroken):
    folder, result, _ = unbroken
    steps = [row for row in metrics_of(folder) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 31)) and result["steps"] == 30
    assert result["loss_last"] < 0.8 * result["loss_first"]
    assert all(earlier["seconds"] <= later["seconds"] and earlier["tokens"] < later["tokens"]
               for earlier, later in pairwise(steps))
    assert result["train_seconds"] > 0 and result["peak_mb"] > 50
    assert result["resumed_from"] == 0 and result["refused"] == []


def test_every_epoch_is_scored_on_dev_and_the_best_is_kept(unbroken):
    folder, result, _ = unbroken
    epochs = [row for row in metrics_of(folder) if "dev_accuracy" in row]
    assert [(row["step"], row["epoch"], row["n_dev"]) for row in epochs] == [(10, 1, 9), (20, 2, 9), (30, 3, 9)]
    best = max(epochs, key=lambda row: (row["dev_calibrated"], row["step"]))
    assert result["best_step"] == best["step"]
    kept = folder / "checkpoints" / f"epoch-{best['step']}" / "adapter_model.safetensors"
    assert kept.read_bytes() == (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_the_adapter_is_two_files_that_tell_no_path(unbroken, tiny_folder):
    folder, result, _ = unbroken
    files = {path.name: path for path in (folder / result["adapter"]).iterdir()}
    assert set(files) == set(result["files"]) == {"adapter_model.safetensors", "adapter_config.json"}
    assert all(language_model.file_sha256(path) == result["files"][name] for name, path in files.items())
    config = files["adapter_config.json"].read_text()
    assert language_model.model_identity(tiny_folder) in config
    assert str(tiny_folder) not in config and str(folder) not in config
    modules = json.loads(config)["target_modules"]
    assert modules == sorted(modules) and len({name.split(".")[-1] for name in modules}) == 7  # equal runs, equal files


def test_the_adapter_loads_and_changes_what_the_model_says(unbroken, tiny_folder):
    from training.label_scoring import label_log_likelihoods

    folder, _, _ = unbroken
    texts = [row["text"] for row in toy_rows(9)]
    with_adapter = label_log_likelihoods(language_model.load(tiny_folder, adapter=folder / "adapter"), PROMPT, texts)
    without = label_log_likelihoods(language_model.load(tiny_folder), PROMPT, texts)
    assert np.abs(with_adapter - without).max() > 1


def test_written_answers_are_learned_and_judged_by_loss_and_by_what_is_written(tiny_folder, tmp_path):
    schema = {"json_schema": {"type": "object", "required": ["mood"], "properties": {
        "mood": {"enum": ["bad", "good", "so so"]}}}}
    prompt = prompts.short(schema, "extraction")
    spec = spec_of(tmp_path, tiny_folder, rows=24, dev=6, epochs=2, dev_answers=4)
    for name in ("train.jsonl", "dev.jsonl"):
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        (tmp_path / name).write_text("".join(
            json.dumps(row | {"label": json.dumps({"mood": row["label"]})}) + "\n" for row in rows))
    result = run_child_here("training.finetune", spec | {"prompt": prompts.prompt_to_json(prompt)}, folder=tmp_path)
    first, last = result["epochs"]
    assert result["loss_last"] < result["loss_first"] and last["dev_loss"] < first["dev_loss"]
    assert (first["n_dev"], first["n_answered"], result["chosen_by"]) == (6, 4, "dev_score")
    assert 0 < last["dev_score"] <= 1  # one field of three values, kept to the schema

    loaded = language_model.load(tiny_folder, adapter=tmp_path / "adapter")
    dev = [json.loads(line) for line in (tmp_path / "dev.jsonl").read_text().splitlines()]
    rows = encoding.encode_rows(loaded.tokenizer, prompt, dev).rows
    kept = next(row for row in result["epochs"] if row["step"] == result["best_step"])
    assert padded_loss(loaded, rows) == pytest.approx(kept["dev_loss"], abs=1e-4)


def padded_loss(loaded, rows):
    """The mean loss of the completions' tokens, row by row."""
    import torch

    losses = []
    with torch.inference_mode():
        for row in rows:
            logits = loaded.model(input_ids=torch.tensor([row.input_ids])).logits[0, -row.n_completion - 1 : -1].float()
            targets = torch.tensor(row.input_ids[-row.n_completion :])
            losses += torch.nn.functional.cross_entropy(logits, targets, reduction="none").tolist()
    return sum(losses) / len(losses)


def test_progress_tells_the_steps(unbroken):
    assert ("Training", 30, 30) in unbroken[2]


def kill_at(folder, spec, step, how):
    """Start the run and send it a signal once it has written `step` down; return its exit code."""
    (folder / "spec.json").write_text(json.dumps(spec))
    with Path(os.devnull).open("w") as sink, (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen([sys.executable, "-m", "training.finetune", str(folder)], stdout=log, stderr=log,
                                 pass_fds=[sink.fileno()], env=child_environment(sink.fileno()))
        deadline = time.monotonic() + 120
        while child.poll() is None and time.monotonic() < deadline:
            written = (folder / "metrics.jsonl").read_text() if (folder / "metrics.jsonl").exists() else ""
            if f'"step": {step}, "loss"' in written:
                child.send_signal(how)
                break
            time.sleep(0.002)
        return child.wait(120)


def losses(folder):
    return {row["step"]: row["loss"] for row in metrics_of(folder) if "loss" in row}


def test_a_killed_run_resumes_to_the_same_losses_in_another_folder(unbroken, tiny_folder, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    assert kill_at(before, spec_of(before, tiny_folder), 18, signal.SIGKILL) == -signal.SIGKILL
    shutil.copytree(before / "checkpoints", after / "checkpoints")
    shutil.copy(before / "metrics.jsonl", after / "metrics.jsonl")
    result = run_child("training.finetune", spec_of(after, tiny_folder), folder=after)
    assert result["resumed_from"] in (15, 20)
    assert losses(after) == pytest.approx(losses(unbroken[0]), abs=1e-4)
    assert [row["step"] for row in metrics_of(after) if "dev_accuracy" in row] == [10, 20, 30]
    assert result["best_step"] == unbroken[1]["best_step"] and result["tokens"] == unbroken[1]["tokens"]


def test_a_run_stops_at_its_cap_with_a_checkpoint_and_goes_on_to_the_same_losses(unbroken, tiny_folder, tmp_path):
    capped = run_child_here("training.finetune", spec_of(tmp_path, tiny_folder) | {"cap_seconds": 0.01},
                            folder=tmp_path)
    assert capped["stopped_at_cap"] and (capped["steps"], capped["n_steps"], capped["n_epochs"]) == (1, 30, 0)
    result = run_child_here("training.finetune", spec_of(tmp_path, tiny_folder), folder=tmp_path)
    assert result["resumed_from"] == 1 and "stopped_at_cap" not in result
    assert losses(tmp_path) == pytest.approx(losses(unbroken[0]), abs=1e-4)
    assert result["spent_seconds"] > capped["spent_seconds"] > 0 and result["cpu_seconds"] > capped["cpu_seconds"]


def test_a_stopped_run_can_be_ended_with_its_best_epoch_so_far(unbroken, tiny_folder, tmp_path):
    kept = tmp_path / "checkpoints"
    shutil.copytree(unbroken[0] / "checkpoints", kept)
    lines = [row for row in metrics_of(unbroken[0]) if row["step"] <= 20]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    for beyond in ("checkpoint-25", "checkpoint-30"):
        shutil.rmtree(kept / beyond, ignore_errors=True)
    shutil.rmtree(kept / "epoch-30")
    result = run_child_here("training.finetune", spec_of(tmp_path, tiny_folder) | {"finish": True}, folder=tmp_path)
    assert result["steps"] == 20 and result["best_step"] in (10, 20) and len(result["epochs"]) == 2
    assert set(result["files"]) == {path.name for path in (tmp_path / "adapter").iterdir()}


def test_a_trial_measures_the_steps_of_the_same_run(unbroken, tiny_folder, tmp_path):
    spec = spec_of(tmp_path, tiny_folder)
    found = run_child("training.trial", spec, folder=tmp_path)
    assert len(found["steps"]) == N_STEPS and min(found["steps"]) > 0 and found["save_seconds"] > 0
    assert (found["n_rows"], found["n_dev"], found["refused"]) == (40, 9, []) and found["dev_seconds"] > 0
    assert found["longest"] > found["prompt_tokens"] > found["completion_tokens"] > 1
    assert found["peak_mb"] == pytest.approx(unbroken[1]["peak_mb"], rel=0.15)
    assert estimate(found, TrainingConfig(**CONFIG)).n_steps == unbroken[1]["steps"]
    assert [check["state"] for check in found["checks"][:6]] == ["passed"] * 6
    by_heart = found["checks"][6]
    assert by_heart["name"] == "16 rows can be learned by heart" and "fell from" in by_heart["words"]


def test_a_trial_of_rows_that_are_refused_tries_no_step(tiny_folder, tmp_path):
    found = run_child_here("training.trial", spec_of(tmp_path, tiny_folder, max_tokens=8), folder=tmp_path)
    assert found.keys() == {"checks"}
    assert [check["name"] for check in found["checks"] if check["state"] == "failed"] == ["No row is cut"]


@pytest.mark.drill
def test_a_run_asked_to_stop_leaves_a_checkpoint_of_that_moment(tiny_folder, tmp_path):
    from training.checkpoints import newest_verified

    code = kill_at(tmp_path, spec_of(tmp_path, tiny_folder, checkpoint_steps=1000), 12, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert int(newest_verified(tmp_path / "checkpoints").name.split("-")[1]) >= 12
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(("changed", "words"), [
    ({"config": {"r": 0}}, "r must be between"),
    ({"config": CONFIG | {"max_tokens": 8}}, "No row is left"),
    ({"dev_file": "/dev/null"}, "at least 2 dev rows"),
])
def test_what_cannot_be_trained_is_refused_in_words(tiny_folder, tmp_path, changed, words):
    with pytest.raises(ChildRefused, match=words):
        run_child_here("training.finetune", spec_of(tmp_path, tiny_folder) | changed, folder=tmp_path)


@pytest.mark.models
@pytest.mark.drill
def test_the_embedded_model_resumes_after_a_kill_to_the_same_loss(tmp_path):
    if not EMBEDDED.exists():
        pytest.skip("the embedded model is not prepared")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changed = {"rows": 32, "epochs": 2, "batch_size": 8, "checkpoint_steps": 3, "learning_rate": 5e-4, "threads": 2}
    run_child("training.finetune", spec_of(whole, EMBEDDED, **changed), folder=whole)
    kill_at(killed, spec_of(killed, EMBEDDED, **changed), 5, signal.SIGKILL)
    result = run_child("training.finetune", spec_of(killed, EMBEDDED, **changed), folder=killed)
    assert result["resumed_from"] in (4, 6)  # 4 is the end of an epoch
    assert losses(killed) == pytest.approx(losses(whole), abs=1e-4)
