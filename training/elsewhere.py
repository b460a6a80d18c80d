"""What a bundle's `run.py` does, on whatever machine: check the files, find the base model, train, leave the result.

Nothing of it needs Goldpan's database; `training.bundle` packs it, `training.results` reads what it leaves.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.child import ChildFailed, ChildRefused, run_child
from training import checkpoints, language_model, versions
from training.bundle import SUMS, json_bytes, sums_of

WORK, RESULT, MODEL = "work", "result", "model"
AT_CAP = 3  # exit code of a run that has used up its seconds
WEIGHTS, ADAPTER_CONFIG = checkpoints.ADAPTER_FILES
METRICS, RECEIPT = "metrics.jsonl", "receipt.json"
RESULT_FILES = (WEIGHTS, ADAPTER_CONFIG, METRICS, RECEIPT, SUMS)
SAY_SECONDS = 5.0  # between two lines of progress


def main(bundle: Path, arguments: Sequence[str]) -> int:
    """Train a bundle; the exit code is 0, 2 where something has to be put right first, AT_CAP where it stopped there.

    Both are said in words.
    """
    parser = argparse.ArgumentParser(prog="run.py", description="Trains what this bundle holds.")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="the base model's folder on this machine")
    parser.add_argument("--processes", type=int, metavar="N", help="how many train together, one for each GPU")
    parser.add_argument("--cap-minutes", type=float, metavar="M", help="where it stops, instead of the bundle's cap")
    parser.add_argument("--finish", action="store_true", help="train no more: the best epoch so far is the result")
    parser.add_argument("--check", action="store_true", help="only check the files and the base model")
    given = parser.parse_args(arguments)
    try:
        bundle_id, about = read_bundle(bundle)
        model = find_model(bundle, about["base_model"], given.model)
        if given.check:
            _say(f"bundle {bundle_id[:12]}: every hash holds; base model {about['base_model']['identity']} in {model}")
            return 0
        result = train_bundle(bundle, bundle_id, about, model, processes=given.processes or about["processes"],
                              cap_seconds=60 * given.cap_minutes if given.cap_minutes else about["cap_seconds"],
                              finish=given.finish)
    except (ValueError, ChildRefused) as error:
        _say(str(error))
        return 2
    except ChildFailed as error:
        _say(f"The training stopped by itself: {error}\nThe same command goes on from the last checkpoint.")
        return 1
    except StoppedAtCap as stop:
        _say(f"{stop} `--cap-minutes M` goes on from there; `--finish` keeps the best epoch so far.")
        return AT_CAP
    _say(f"Done. Give the files in {result} to the page of run {about['run']}.")
    return 0


def read_bundle(bundle: Path) -> tuple[str, dict[str, Any]]:
    """The bundle's id and its bundle.json, after every file was hashed. Raises ValueError naming what differs."""
    sums = (bundle / SUMS).read_bytes()
    for line in sums.decode().splitlines():
        digest, _, path = line.partition("  ")
        if not (bundle / path).is_file():
            raise ValueError(f"{path} is missing: unpack the bundle again.")
        if language_model.file_sha256(bundle / path) != digest:
            raise ValueError(f"{path} is not the file that was packed: unpack the bundle again.")
    return hashlib.sha256(sums).hexdigest(), json.loads((bundle / "bundle.json").read_text())


def find_model(bundle: Path, wanted: Mapping[str, str], given: Path | None) -> Path:
    """The folder of the base model: `given`, GOLDPAN_BASE_MODEL, `model/` in the bundle, or a download.

    wanted: "identity", `name@sha256:hex`, and "source", a Hugging Face id or "".
    Raises ValueError if there is none, or its weights have another hash.
    """
    named = given or (Path(os.environ["GOLDPAN_BASE_MODEL"]) if os.environ.get("GOLDPAN_BASE_MODEL") else None)
    folder = named or (bundle / MODEL if (bundle / MODEL).is_dir() else None)
    if folder is None and not wanted["source"]:
        raise ValueError(f"Where is {wanted['identity']}? Name its folder with --model, or copy it to {MODEL}/ here.")
    folder = folder.resolve() if folder else _downloaded(wanted["source"])
    language_model.check_folder(folder)
    found = language_model.model_identity(folder)
    if not same_weights(found, wanted["identity"]):
        raise ValueError(f"{folder} holds {found}, but the run is about {wanted['identity']}: the weights differ.")
    return folder


def same_weights(one: str, other: str) -> bool:
    """Whether two identities `name@sha256:hex` mean the same weights; a folder may have another name."""
    return "@sha256:" in one and one.partition("@")[2] == other.partition("@")[2]


def _downloaded(source: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    return Path(snapshot_download(name, revision=revision or None, allow_patterns=[
        "*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]))


class StoppedAtCap(Exception):
    """The run has used up its seconds; the message says how far it came."""


def train_bundle(bundle: Path, bundle_id: str, about: Mapping[str, Any], model: Path, *, processes: int,
                 cap_seconds: float | None = None, finish: bool = False) -> Path:
    """Train in `work/` and publish `result/`, whole or not at all; return it. Raises StoppedAtCap if it did."""
    spec = {**about["spec"], "model": str(model), "rows_file": str(bundle / "data" / "train.jsonl"),
            "dev_file": str(bundle / "data" / "dev.jsonl"), "processes": processes,
            "started_at": time.time(), "cap_seconds": cap_seconds, "finish": finish}
    module = "training.finetune" if processes == 1 else "training.distributed"
    receipt = run_child(module, spec, folder=bundle / WORK, progress=_spoken())
    if receipt.get("stopped_at_cap"):
        raise StoppedAtCap(f"Stopped at its cap of {(cap_seconds or 0) / 60:.1f} minutes, after step "
                           f"{receipt['steps']:,} of {receipt['n_steps']:,}. Nothing is lost.")
    receipt |= {"versions": versions.package_versions(), "processes": processes, "finish": finish}
    temporary = bundle / f".{RESULT}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name in checkpoints.ADAPTER_FILES:
        shutil.copyfile(bundle / WORK / receipt["adapter"] / name, temporary / name)
    shutil.copyfile(bundle / WORK / METRICS, temporary / METRICS)
    (temporary / RECEIPT).write_bytes(json_bytes({
        "bundle": bundle_id, "run": about["run"], "snapshot_sha256": about["snapshot_sha256"],
        "config_sha256": about["config_sha256"], "base_model": language_model.model_identity(model),
        "receipt": receipt}))
    (temporary / SUMS).write_bytes(sums_of({
        path.name: language_model.file_sha256(path) for path in temporary.iterdir()}))
    language_model.sync_folder(temporary)
    shutil.rmtree(bundle / RESULT, ignore_errors=True)
    return temporary.rename(bundle / RESULT)


def _spoken() -> Any:
    last, last_stage = 0.0, ""

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last, last_stage
        now = time.monotonic()
        if stage != last_stage or now - last >= SAY_SECONDS:
            _say(f"{stage}, {done} of {total}")
            last, last_stage = now, stage

    return progress


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
