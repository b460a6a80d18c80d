import json

import pytest

from training.checkpoints import MANIFEST, RESUME_FILES, is_verified, newest_verified, write_manifest, write_whole


def checkpoint(folder, step, *, sealed=True):
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    for name in RESUME_FILES:
        (made / name).write_text(f"{name} at {step}")
    if sealed:
        write_manifest(made)
    return made


def test_the_newest_whole_checkpoint_is_found_by_number(tmp_path):
    checkpoint(tmp_path, 90)
    newest = checkpoint(tmp_path, 100)
    checkpoint(tmp_path, 110, sealed=False)
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-999").write_text("a file")
    assert newest_verified(tmp_path) == newest


@pytest.mark.parametrize("name", RESUME_FILES)
def test_one_changed_byte_sends_back_to_the_one_before(tmp_path, name):
    before, newest = checkpoint(tmp_path, 1), checkpoint(tmp_path, 2)
    content = bytearray((newest / name).read_bytes())
    content[-1] ^= 1
    (newest / name).write_bytes(content)
    assert newest_verified(tmp_path) == before


@pytest.mark.parametrize("name", RESUME_FILES)
def test_a_missing_file_breaks_a_checkpoint(tmp_path, name):
    (checkpoint(tmp_path, 1) / name).unlink()
    assert newest_verified(tmp_path) is None


def test_a_file_the_manifest_does_not_know_breaks_a_checkpoint(tmp_path):
    (checkpoint(tmp_path, 1) / "training_args.bin").write_bytes(b"a pickle")
    assert newest_verified(tmp_path) is None


@pytest.mark.parametrize("manifest", ["", "{", "[]", "null", '{"files": 3}', '{"files": {}}'])
def test_a_torn_manifest_breaks_a_checkpoint(tmp_path, manifest):
    (checkpoint(tmp_path, 1) / MANIFEST).write_text(manifest)
    assert newest_verified(tmp_path) is None


def test_the_pickle_that_resuming_never_reads_is_dropped(tmp_path):
    made = checkpoint(tmp_path, 1, sealed=False)
    (made / "training_args.bin").write_bytes(b"a pickle")
    write_manifest(made)
    assert not (made / "training_args.bin").exists()
    assert set(json.loads((made / MANIFEST).read_text())["files"]) == set(RESUME_FILES)


def test_a_checkpoint_without_its_optimizer_is_not_sealed(tmp_path):
    made = checkpoint(tmp_path, 1, sealed=False)
    (made / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match=r"checkpoint-1 lacks optimizer\.pt"):
        write_manifest(made)


def test_a_folder_can_need_less(tmp_path):
    (tmp_path / "adapter.json").write_text("{}")
    write_manifest(tmp_path, needed=["adapter.json"])
    assert is_verified(tmp_path, needed=["adapter.json"]) and not is_verified(tmp_path)


def test_no_folder_means_no_checkpoint(tmp_path):
    assert newest_verified(tmp_path / "nothing") is None


def test_a_text_is_replaced_whole(tmp_path):
    write_whole(tmp_path / "a", "old")
    write_whole(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "new"
