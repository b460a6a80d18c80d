import json
from pathlib import Path

import numpy as np
import pytest

from jobs.child import ChildRefused, run_child
from tests.training.tiny_model import SCHEMA
from training import language_model, prompts
from training.label_scoring import CONTENT_FREE, label_log_likelihoods

EMBEDDED = Path("var/models/smollm2-135m-instruct")
TEXTS = ["good news", "bad", "", "so so weather for everybody " * 4, "the answer is <|im_end|>", "x"]


@pytest.fixture(scope="module")
def loaded(tiny_folder):
    return language_model.load(tiny_folder)


def one_by_one(loaded, prompt, texts):
    """Every text with every label through the whole model: slow, and nothing shared."""
    import torch

    scores = []
    for text in texts:
        asked = language_model.encode_messages(loaded.tokenizer, prompts.render(prompt, text))
        for label in prompt.labels:
            answer = language_model.encode_completion(loaded.tokenizer, label.completion)
            with torch.no_grad():
                logits = loaded.model(torch.tensor([asked + answer])).logits[0].float().log_softmax(-1)
            scores.append(sum(float(logits[len(asked) - 1 + n, token]) for n, token in enumerate(answer)))
    return np.array(scores).reshape(len(texts), -1)


@pytest.mark.parametrize("prompt", [
    prompts.short(SCHEMA), prompts.zero_shot(SCHEMA, "What is the mood?"),
    prompts.few_shot(SCHEMA, "Mood?", [prompts.Shot("awful", "bad"), prompts.Shot("fine", "good")])],
    ids=lambda prompt: prompt.name)
def test_shared_work_changes_no_score(loaded, prompt):
    assert label_log_likelihoods(loaded, prompt, TEXTS) == pytest.approx(one_by_one(loaded, prompt, TEXTS), abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_no_score(loaded, batch_size):
    prompt = prompts.short(SCHEMA)
    assert label_log_likelihoods(loaded, prompt, TEXTS, batch_size=batch_size) == pytest.approx(
        label_log_likelihoods(loaded, prompt, TEXTS), abs=1e-4)


def test_one_text_alone_scores_as_among_others(loaded):
    prompt = prompts.short(SCHEMA)
    alone = label_log_likelihoods(loaded, prompt, TEXTS[:1])
    assert alone[0] == pytest.approx(label_log_likelihoods(loaded, prompt, TEXTS)[0], abs=1e-4)


def test_many_long_labels_are_scored_like_few_short_ones(loaded):
    schema = {"labels": [{"name": f"a {'so ' * (n % 4)}good {n}"} for n in range(12)]}
    prompt = prompts.short(schema)
    assert label_log_likelihoods(loaded, prompt, TEXTS[:3]) == pytest.approx(
        one_by_one(loaded, prompt, TEXTS[:3]), abs=1e-4)


def test_no_texts_give_no_scores(loaded):
    assert label_log_likelihoods(loaded, prompts.short(SCHEMA), []).shape == (0, 3)


def test_a_text_beyond_the_models_context_is_named(loaded):
    with pytest.raises(ValueError, match=r"text 1 makes a prompt of \d+ tokens"):
        label_log_likelihoods(loaded, prompts.short(SCHEMA), ["short", "news " * 600])


def test_progress_counts_the_texts(loaded):
    calls = []
    label_log_likelihoods(loaded, prompts.short(SCHEMA), TEXTS, batch_size=4, progress=lambda *call: calls.append(call))
    assert calls == [("Scoring", 0, 6), ("Scoring", 4, 6), ("Scoring", 6, 6)]


def test_a_model_that_forgets_early_tokens_is_refused(tiny_folder):
    loaded = language_model.load(tiny_folder)
    loaded.model.config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(ValueError, match="attend to all tokens"):
        label_log_likelihoods(loaded, prompts.short(SCHEMA), TEXTS)


def spec_of(tiny_folder, folder):
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return {"model": str(tiny_folder), "adapter": None, "threads": 1, "texts_file": str(folder / "texts.jsonl"),
            "prompts": [prompts.prompt_to_json(prompts.short(SCHEMA)),
                        prompts.prompt_to_json(prompts.zero_shot(SCHEMA, "Mood?"))]}


def test_the_child_leaves_the_scores_of_every_prompt(loaded, tiny_folder, tmp_path):
    result = run_child("training.label_scoring", spec_of(tiny_folder, tmp_path), folder=tmp_path / "work")
    first, second = result["prompts"]
    expected = label_log_likelihoods(loaded, prompts.zero_shot(SCHEMA, "Mood?"), TEXTS)
    assert np.load(tmp_path / "work" / second["scores"]) == pytest.approx(expected, abs=1e-4)
    assert np.load(tmp_path / "work" / first["content_free"]).shape == (len(CONTENT_FREE), 3)
    assert second["labels"] == ["bad", "so so", "good"] and second["prompt_tokens"] > first["prompt_tokens"]
    assert result["model"] == language_model.model_identity(tiny_folder)


def test_the_child_refuses_a_folder_that_can_run_code(tiny_folder, tmp_path):
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "model.py").write_text("raise SystemExit")
    with pytest.raises(ChildRefused, match="can run code"):
        run_child("training.label_scoring", spec_of(evil, tmp_path), folder=tmp_path / "work")


@pytest.mark.models
def test_the_embedded_model_scores_as_one_by_one_and_prefers_the_obvious():
    if not EMBEDDED.exists():
        pytest.skip("the embedded model is not prepared")
    loaded = language_model.load(EMBEDDED)
    loaded.model.float()
    prompt = prompts.few_shot({"labels": [{"name": "negative"}, {"name": "positive"}]}, "Label the mood.", [
        prompts.Shot("i love it, thank you", "positive"), prompts.Shot("what an awful day", "negative")])
    texts = ["this is wonderful, i am so happy", "i hate this terrible broken thing"]
    scores = label_log_likelihoods(loaded, prompt, texts)
    assert scores == pytest.approx(one_by_one(loaded, prompt, texts), abs=1e-3)
    assert scores[0, 1] - scores[0, 0] > scores[1, 1] - scores[1, 0]
