"""What a bundle's run.py would leave, made without training; and a machine that has no Django."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from training.bundle import SUMS, json_bytes, sums_of
from training.elsewhere import ADAPTER_CONFIG, METRICS, RECEIPT, RESULT_FILES, WEIGHTS
from training.language_model import file_sha256

HEX = "ab" * 32
MISSING_THERE = ("django", "celery", "goldpan", "curation", "labeling", "projects")


def receipt_of(**changes: Any) -> dict[str, Any]:
    return {"steps": 2, "train_seconds": 60.0, "dev_seconds": 3.0, "tokens": 4321, "peak_mb": 1234.5, "loss_first": 2.5,
            "loss_last": 1.25, "adapter": "adapter/", "n_rows": 30, "best_step": 2, "refused": [], "resumed_from": 0,
            "spent_seconds": 70.0, "cpu_seconds": 90.0,
            "epochs": [{"step": 2, "dev_accuracy": 0.875}], "versions": {"Python": "3.12"}, "processes": 1} | changes


def write_result(folder: Path, *, base_model: str = f"tiny@sha256:{HEX}", receipt: dict[str, Any] | None = None,
                 **about: Any) -> Path:
    """A folder result/ that proves itself; `about` says which bundle, snapshot and configuration it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = np.ones((8, 4), dtype=np.float32)
    save_file({"base_model.model.layers.0.q_proj.lora_A.weight": matrix,
               "base_model.model.layers.0.q_proj.lora_B.weight": matrix.T.copy()}, folder / WEIGHTS)
    (folder / ADAPTER_CONFIG).write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "auto_mapping": None,
        "base_model_name_or_path": base_model}))
    (folder / METRICS).write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.25}\n')
    (folder / RECEIPT).write_bytes(json_bytes({
        "bundle": HEX, "snapshot_sha256": HEX, "config_sha256": HEX, "base_model": base_model,
        "receipt": receipt or receipt_of()} | about))
    return sealed(folder)


def sealed(folder: Path) -> Path:
    """SHA256SUMS anew, as somebody who changes files on purpose would write it."""
    (folder / SUMS).write_bytes(sums_of({name: file_sha256(folder / name) for name in RESULT_FILES if name != SUMS}))
    return folder


def without_django(folder: Path) -> Path:
    """A folder for PYTHONPATH in whose presence none of what a bundle must not need can be imported."""
    for name in MISSING_THERE:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ImportError('{name} is not on this machine')\n")
    return folder
