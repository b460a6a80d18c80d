"""The secrets of an installation: random, made once, readable by their owner only."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from goldpan.secrets import NAMES, load_secrets

ROOT = Path(__file__).resolve().parents[2]


def test_they_are_made_on_the_first_start_and_stay(tmp_path: Path) -> None:
    first = load_secrets(tmp_path / "secrets.env")
    assert set(first) == set(NAMES)
    assert load_secrets(tmp_path / "secrets.env") == first


def test_no_two_installations_share_one(tmp_path: Path) -> None:
    here, there = (load_secrets(tmp_path / name / "secrets.env") for name in ("here", "there"))
    assert not set(here.values()) & set(there.values())
    assert len(set(here.values())) == len(NAMES)


def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        load_secrets(tmp_path / "data" / "secrets.env")
    finally:
        os.umask(umask)
    assert (tmp_path / "data" / "secrets.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_missing_one_is_added_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text("GOLDPAN_SECRET_KEY=mine=with=signs\n")
    found = load_secrets(path)
    assert found["GOLDPAN_SECRET_KEY"] == "mine=with=signs"
    assert load_secrets(path) == found and set(found) == set(NAMES)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_fernet_key_has_32_bytes(tmp_path: Path) -> None:
    assert len(base64.urlsafe_b64decode(load_secrets(tmp_path / "secrets.env")["GOLDPAN_FERNET_KEY"])) == 32


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    # Loaded by its path: importing the package would start all of Django, and the race would be over.
    code = ("import importlib.util as u, sys; from pathlib import Path\n"
            "spec = u.spec_from_file_location('secrets_of', 'goldpan/secrets.py'); module = u.module_from_spec(spec)\n"
            "spec.loader.exec_module(module); print(sorted(module.load_secrets(Path(sys.argv[1])).items()))")
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "secrets.env")], cwd=ROOT,
                                 stdout=subprocess.PIPE) for _ in range(6)]
    said = {child.communicate()[0] for child in children}
    assert len(said) == 1 and b"GOLDPAN_SECRET_KEY" in said.pop()
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.env"]


@pytest.mark.parametrize("moment", ["before the file is written", "before it gets its name"])
def test_who_comes_second_takes_what_is_there(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secrets.env"
    theirs = {name: f"theirs-{name}" for name in NAMES}
    name = "fsync" if moment == "before the file is written" else "link"
    step = getattr(os, name)

    def overtaken(*given: Any) -> None:
        path.write_text("".join(f"{name}={value}\n" for name, value in theirs.items()))
        step(*given)

    monkeypatch.setattr(os, name, overtaken)
    assert load_secrets(path) == theirs
    assert load_secrets(path) == theirs
    assert [left.name for left in tmp_path.iterdir()] == ["secrets.env"]
