import json

import pytest

from tests.training.elsewhere import HEX, receipt_of, sealed, write_result
from training.results import expect, read_result

LIMIT = 1 << 20


@pytest.fixture
def result(tmp_path):
    return write_result(tmp_path / "result")


def changed(folder, name, **values):
    """The same result with other values in one of its JSON files, and hashes that hold."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return sealed(folder)


def test_a_whole_result_is_read(result):
    read = read_result(result, max_bytes=LIMIT)
    assert (read.bundle, read.snapshot_sha256, read.receipt["steps"]) == (HEX, HEX, 2)
    assert set(read.hashes) == {"adapter_model.safetensors", "adapter_config.json", "metrics.jsonl", "receipt.json",
                                "SHA256SUMS"}


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "metrics.jsonl", "receipt.json", "adapter_config.json"])
def test_one_changed_byte_is_found(result, name):
    content = bytearray((result / name).read_bytes())
    content[len(content) // 2] ^= 1
    (result / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: not the bytes that SHA256SUMS vouches for"):
        read_result(result, max_bytes=LIMIT)


def test_files_that_do_not_belong_are_refused(result):
    (result / "training_args.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ValueError, match=r"training_args\.bin does not belong to a result"):
        read_result(result, max_bytes=LIMIT)


def test_a_missing_file_is_named(result):
    (result / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match=r"Missing: metrics\.jsonl"):
        read_result(result, max_bytes=LIMIT)


def test_links_and_folders_are_refused(result, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("key")
    (result / "metrics.jsonl").unlink()
    (result / "metrics.jsonl").symlink_to(secret)
    with pytest.raises(ValueError, match=r"metrics\.jsonl is a link or a folder"):
        read_result(result, max_bytes=LIMIT)


def test_the_size_is_limited(result):
    with pytest.raises(ValueError, match="at most 0 are taken"):
        read_result(result, max_bytes=100)


@pytest.mark.parametrize(("values", "words"), [
    ({"peft_type": "IA3"}, "not that of a LoRA"), ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
    ({"r": 10**9}, "the rank"), ({"r": True}, "the rank"), ({"r": 16}, "not of rank 16"),
    ({"base_model_name_or_path": "other@sha256:00"}, "names another base model")])
def test_an_adapter_config_that_is_not_sane_is_refused(result, values, words):
    with pytest.raises(ValueError, match=words):
        read_result(changed(result, "adapter_config.json", **values), max_bytes=LIMIT)


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"PK\x03\x04" + b"0" * 100, b"\xff" * 64])
def test_weights_that_are_no_safetensors_are_refused(result, content):
    (result / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="no whole safetensors file"):
        read_result(sealed(result), max_bytes=LIMIT)


def test_weights_of_anything_but_a_lora_are_refused(result):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"model.embed_tokens.weight": np.ones((8, 4), dtype=np.float32)}, result / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="no matrix of a LoRA"):
        read_result(sealed(result), max_bytes=LIMIT)


@pytest.mark.parametrize(("values", "words"), [
    ({"train_seconds": -1}, "must not be negative"), ({"steps": "2"}, "steps must be a number"),
    ({"steps": 3}, "ends at step 2"), ({"refused": [["e1"]]}, "not what a bundle's run.py writes"),
    ({"tokens": True}, "tokens must be a number")])
def test_a_receipt_that_makes_no_sense_is_refused(result, values, words):
    with pytest.raises(ValueError, match=words):
        read_result(changed(result, "receipt.json", receipt=receipt_of(**values)), max_bytes=LIMIT)


@pytest.mark.parametrize(("line", "words"), [
    ('{"step": 2, "loss": NaN}', "no JSON"), ('{"step": -1}', "a step in every line"), ("[1]", "no object"),
    ('{"step": 2, "loss": [[1]]}', "no number"), ("[" * 100_000, "no JSON")])
def test_a_learning_curve_that_is_none_is_refused(result, line, words):
    (result / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=words):
        read_result(sealed(result), max_bytes=LIMIT)


@pytest.mark.parametrize(("what", "words"), [
    ("bundles", "never gave out"), ("snapshot_sha256", "another snapshot"), ("config_sha256", "other settings"),
    ("base_model", "this run is about")])
def test_a_result_of_another_run_is_told_apart(result, what, words):
    read = read_result(result, max_bytes=LIMIT)
    own = {"bundles": [HEX], "snapshot_sha256": HEX, "config_sha256": HEX, "base_model": f"renamed@sha256:{HEX}"}
    expect(read, **own)
    with pytest.raises(ValueError, match=words):
        expect(read, **{**own, what: ["0"] if what == "bundles" else "x@sha256:0"})
