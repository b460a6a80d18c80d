import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import runtimes
from curation.encoder import MiniLMEncoder
from curation.runtimes import Trial, fastest, runtime_for, sample_texts, token_batches, verdict_flips


@given(st.lists(st.integers(0, 300), max_size=80), st.integers(1, 2000))
def test_every_row_is_in_one_batch_and_no_batch_is_over_budget(lengths, budget):
    batches = list(token_batches(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(max(lengths[row] for row in batch), 1) <= budget


def test_batches_by_hand():
    assert list(token_batches([3, 10, 4, 3], budget=10)) == [[1], [2, 0], [3]]


def test_flips_are_counted_over_pairs_and_thresholds():
    reference = np.array([[1.0, 0], [0.96, 0.28], [0, 1]])  # cosines .96, 0, .28
    other = np.array([[1.0, 0], [0.94, np.sqrt(1 - 0.94**2)], [0, 1]])  # .94
    assert verdict_flips(reference, other, np.array([0.90, 0.95])) == (1, 2)
    assert verdict_flips(reference, reference, np.array([0.90, 0.95])) == (0, 2)


def test_the_fastest_runtime_that_is_sound_is_used():
    slow, quick = Trial("torch", 90, 4, 1000), Trial("openvino", 200, 5, 1000)
    wrong = Trial("onnxruntime", 300, 6, 1000)
    assert fastest([slow, quick, wrong]) == "openvino"
    assert fastest([wrong]) == "torch"


def test_the_choice_is_kept_until_the_machine_changes(tmp_path, monkeypatch):
    tests = []
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(runtimes, "_machine", lambda names, precision: f"machine {precision}")
    monkeypatch.setattr(runtimes, "self_test", lambda *given: tests.append(given) or [Trial("openvino", 9, 0, 100)])
    kept = tmp_path / "runtimes.json"
    for _ in range(2):
        assert runtime_for(tmp_path, "bfloat16", kept) == "openvino"
    assert len(tests) == 1 and json.loads(kept.read_text())["machine bfloat16"]["trials"][0]["n_verdicts"] == 100
    runtime_for(tmp_path, "float32", kept)
    assert len(tests) == 2
    assert runtime_for(tmp_path, "float32", None) == "torch"


def test_the_sample_has_verdicts_to_flip():
    texts = sample_texts()
    assert len(texts) == len(set(texts)) == 400
    assert max(len(text.split()) for text in texts) < 80


@pytest.mark.models
def test_every_runtime_here_says_what_torch_says_in_float32():
    encoder = MiniLMEncoder()
    names = [name for name in runtimes.RUNTIMES if runtimes.importlib.util.find_spec(name)]
    texts = ["Where is my card?", "My card has not arrived, where is it?", "", "a " * 400]
    reference = runtimes.embed(runtimes.load("torch", encoder.folder, "float32"), encoder.folder, texts)
    for name in names:
        vectors = runtimes.embed(runtimes.load(name, encoder.folder, encoder.precision), encoder.folder, texts)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert (vectors * reference).sum(axis=1) == pytest.approx(1, abs=1e-3), name
