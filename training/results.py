"""What comes back from a bundle, read with distrust: a handful of flat files that have to prove what they are.

Never executed and never unpacked: the names are a fixed list, the weights are safetensors with tensors of a LoRA only.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import language_model
from training.bundle import SUMS, sums_of
from training.checkpoints import ADAPTER_FILES
from training.elsewhere import ADAPTER_CONFIG, METRICS, RECEIPT, RESULT_FILES, WEIGHTS, same_weights

MAX_TEXT_BYTES = 64 << 20  # of the learning curve; the other texts are far smaller
MAX_RECEIPT_BYTES = 4 << 20
MAX_WORD = 200  # characters of a text in the learning curve
_LORA_NAME = re.compile(r"\.lora_(A|B|embedding_A|embedding_B)(\.\w+)?(\.weight)?$")
NUMBERS = ("steps", "train_seconds", "dev_seconds", "tokens", "peak_mb", "loss_first", "loss_last", "n_rows",
           "best_step", "resumed_from", "spent_seconds", "cpu_seconds")


@dataclass(frozen=True)
class Result:
    """Files whose hashes hold and that fit together. `paths`: name → file; `hashes`: name → sha256."""

    bundle: str
    snapshot_sha256: str
    config_sha256: str
    base_model: str
    receipt: dict[str, Any]
    paths: Mapping[str, Path]
    hashes: Mapping[str, str]

    @property
    def adapter_files(self) -> tuple[str, ...]:
        return ADAPTER_FILES


def _files_in(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{path.name} is a link or a folder; a result is {len(RESULT_FILES)} plain files.")
        found[path.name] = path
    return found


def read_result(folder: Path, *, max_bytes: int) -> Result:
    """Read the files that a bundle's run.py left in `folder`.

    max_bytes: how large all of them together may be.
    Raises ValueError, in words for whoever brought them, at the first thing that does not hold.
    """
    files = _files_in(folder)
    _check_names(files)
    size = sum(path.stat().st_size for path in files.values())
    if size > max_bytes:
        raise ValueError(f"The files have {size >> 20:,} MB, at most {max_bytes >> 20:,} are taken.")
    hashes = {name: _file_sha256(path) for name, path in files.items()}
    _check_sums(files[SUMS], {name: digest for name, digest in hashes.items() if name != SUMS})
    about = _read_json(files[RECEIPT])
    try:
        texts = [about[name] for name in ("bundle", "snapshot_sha256", "config_sha256", "base_model")]
        receipt = dict(about["receipt"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{RECEIPT} is not what a bundle's run.py writes.") from None
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{RECEIPT} is not what a bundle's run.py writes.")
    config = _read_json(files[ADAPTER_CONFIG])
    language_model.check_folder(folder)
    _check_adapter_config(config, texts[3])
    _check_weights(files[WEIGHTS], config)
    _check_receipt(receipt)
    _check_metrics(files[METRICS], receipt)
    return Result(texts[0], texts[1], texts[2], texts[3], receipt, files, hashes)


def _check_names(files: Mapping[str, Path]) -> None:
    missing, unknown = sorted(set(RESULT_FILES) - set(files)), sorted(set(files) - set(RESULT_FILES))
    if missing:
        raise ValueError(f"Missing: {', '.join(missing)}. Give all files of the folder result/.")
    if unknown:
        raise ValueError(f"{', '.join(unknown)[:200]} does not belong to a result: only {', '.join(RESULT_FILES)} do.")


def _check_sums(path: Path, hashes: Mapping[str, str]) -> None:
    if path.read_bytes()[:MAX_TEXT_BYTES] != sums_of(hashes):
        lines = [line.partition("  ") for line in path.read_text(errors="replace").splitlines()]
        said = {name: digest for digest, _, name in lines}
        wrong = sorted(name for name, digest in hashes.items() if said.get(name) != digest) or [SUMS]
        raise ValueError(f"{', '.join(wrong)}: not the bytes that {SUMS} vouches for. Copy the folder result/ again.")


def _check_adapter_config(config: dict[str, Any], base_model: str) -> None:
    if config.get("peft_type") != "LORA" or config.get("task_type") != "CAUSAL_LM":
        raise ValueError(f"{ADAPTER_CONFIG} is not that of a LoRA adapter for a language model.")
    if not same_weights(str(config.get("base_model_name_or_path")), base_model):
        raise ValueError(f"{ADAPTER_CONFIG} names another base model than {RECEIPT}.")
    rank = config.get("r")
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= 256:
        raise ValueError(f"{ADAPTER_CONFIG} has the rank {rank!r}, expected 1 to 256.")


def _check_weights(path: Path, config: Mapping[str, Any]) -> None:
    """Safetensors by its own library, which refuses what is not whole, with LoRA matrices of the config's rank."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # no dict
    except SafetensorError as error:
        raise ValueError(f"{WEIGHTS} is no whole safetensors file: {error}.") from None
    if not shapes:
        raise ValueError(f"{WEIGHTS} holds no tensor.")
    for name, shape in shapes.items():
        if not _LORA_NAME.search(name):
            raise ValueError(f"{WEIGHTS} holds {name[:80]}, which is no matrix of a LoRA.")
        if config["r"] not in shape:
            raise ValueError(f"{WEIGHTS}: {name[:80]} has the shape {shape}, which is not of rank {config['r']}.")


def _check_receipt(receipt: Mapping[str, Any]) -> None:
    for name in NUMBERS:
        value = receipt.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{RECEIPT}: {name} must be a number, got {value!r}.")
        if value < 0 and not name.startswith("loss"):
            raise ValueError(f"{RECEIPT}: {name} must not be negative, got {value!r}.")
    refused, epochs, packages = receipt.get("refused"), receipt.get("epochs"), receipt.get("versions")
    if not (_are_pairs(refused) and isinstance(epochs, list) and isinstance(packages, dict)):
        raise ValueError(f"{RECEIPT} is not what a bundle's run.py writes.")


def _are_pairs(rows: Any) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row) for row in rows)


def _check_metrics(path: Path, receipt: Mapping[str, Any]) -> None:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"{METRICS} has {path.stat().st_size >> 20:,} MB, at most {MAX_TEXT_BYTES >> 20} are taken.")
    rows = [_parsed(line, METRICS) for line in path.read_bytes().split(b"\n") if line]
    steps = [row["step"] for row in rows if type(row.get("step")) is int and row["step"] >= 0]
    if not rows or len(steps) < len(rows):
        raise ValueError(f"{METRICS} must have a step in every line.")
    if max(steps) != receipt["steps"]:
        raise ValueError(f"{METRICS} ends at step {max(steps)}, but {RECEIPT} says {receipt['steps']} steps.")
    for row in rows:
        if not all(_is_plain(value) for value in row.values()):
            raise ValueError(f"{METRICS}: step {row['step']} holds something that is no number and no short text.")


def _is_plain(value: Any) -> bool:
    return len(value) <= MAX_WORD if isinstance(value, str) else isinstance(value, int | float) and math.isfinite(value)


def _read_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_RECEIPT_BYTES:
        raise ValueError(f"A text of the result has {path.stat().st_size >> 20:,} MB, at most "
                         f"{MAX_RECEIPT_BYTES >> 20} are taken.")
    return _parsed(path.read_bytes(), "A text of the result")


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    try:
        data = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} holds something that is no JSON.") from None
    if not isinstance(data, dict):
        raise ValueError(f"{name} holds JSON, but no object.")
    return data


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect(result: Result, *, bundles: Sequence[str], snapshot_sha256: str, config_sha256: str,
           base_model: str) -> None:
    """Raise ValueError unless the result is that of one of these bundles of this run."""
    if result.bundle not in bundles:
        raise ValueError(f"The result is of bundle {result.bundle[:12]!r}, which this run never gave out. "
                         "Is it another run's?")
    if result.snapshot_sha256 != snapshot_sha256:
        raise ValueError("The result was trained on another snapshot than this run's.")
    if result.config_sha256 != config_sha256:
        raise ValueError("The result was trained with other settings than this run's.")
    if not same_weights(result.base_model, base_model):
        raise ValueError(f"The result was trained from {result.base_model}, this run is about {base_model}.")
