"""Folders of a training run that are whole or ignored: a manifest of hashes is written into each one last."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from training.language_model import file_sha256, sync_folder

MANIFEST = "manifest.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
MODEL_FILES = ("model.safetensors", "config.json")  # what stands in an adapter's place where all weights were trained
RANDOM_FILE = "rng_state.pth"
# Without one of them a run would resume silently with a learning rate of 0 or other random numbers.
STATE_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt", RANDOM_FILE)
RESUME_FILES = (*ADAPTER_FILES, *STATE_FILES)
# training_args.bin is a pickle that resuming never reads; the others are copies of what the base model has.
UNWANTED = ("training_args.bin", "README.md", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
            "special_tokens_map.json")


def learned_files(method: str) -> tuple[str, ...]:
    """The files that hold what a method of `training.config` has learned."""
    return MODEL_FILES if method == "full" else ADAPTER_FILES


def write_manifest(folder: Path, *, needed: Sequence[str] = RESUME_FILES) -> Path:
    """Drop what nobody needs, force the rest to the disk, then write the manifest of sha256 and return its path.

    Raises ValueError if a needed file is missing.
    """
    for name in UNWANTED:
        (folder / name).unlink(missing_ok=True)
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise ValueError(f"{folder.name} lacks {', '.join(missing)}")
    sync_folder(folder)
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    write_whole(folder / MANIFEST, json.dumps({"files": files}, indent=1))
    sync_folder(folder)
    return folder / MANIFEST


def is_verified(folder: Path, *, needed: Sequence[str] = RESUME_FILES) -> bool:
    """Whether the folder has a manifest, exactly the files that it names, byte for byte, and all that are needed."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
        return present == set(files) and set(needed) <= present and all(
            file_sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def newest_verified(folder: Path, *, needed: Sequence[str] = RESUME_FILES) -> Path | None:
    """The verified `checkpoint-<step>` below `folder` with the highest step, None if there is none."""
    for checkpoint in sorted(all_checkpoints(folder), key=checkpoint_step, reverse=True):
        if is_verified(checkpoint, needed=needed):
            return checkpoint
    return None


def all_checkpoints(folder: Path) -> list[Path]:
    """Every `checkpoint-<step>` below `folder`, verified or not."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_dir() and re.fullmatch(r"checkpoint-\d+", path.name)]


def checkpoint_step(checkpoint: Path) -> int:
    """The optimiser step in a checkpoint's name."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def take_over(earlier: Sequence[Path], folder: Path) -> None:
    """Copy the checkpoints and the log of an earlier attempt into `folder`: of the first of `earlier` that has any.

    Each checkpoint is verified before it is used, so that a torn one does no harm.
    """
    for place in earlier:
        if (place / "checkpoints").is_dir():
            shutil.copytree(place / "checkpoints", folder / "checkpoints", dirs_exist_ok=True)
            if (place / "metrics.jsonl").exists():
                shutil.copy(place / "metrics.jsonl", folder / "metrics.jsonl")
            return


def write_whole(path: Path, text: str) -> None:
    """Write a small text file so that it is whole or as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
