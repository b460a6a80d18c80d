"""A training run as files that need neither Goldpan nor a database: data, configuration, code, hashes, one command.

1. `code_files` follows the imports of what trains, so that the bundle holds exactly our own modules that it needs.
2. `make_bundle` puts them beside the rows, the configuration and a README; equal runs give equal bytes.
3. The bundle's id is the hash of its SHA256SUMS, so of everything in it; what comes back has to name it.
"""

import ast
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import versions

FORMAT = 1
SUMS = "SHA256SUMS"
ENTRY = "training.elsewhere"  # what run.py starts
STARTED = ("training.finetune", "training.distributed")  # what that starts by name, as processes of their own
APPS = ("stats", "projects", "jobs", "labeling", "curation", "training")
_ROOT = Path(__file__).resolve().parent.parent
_RUN = '''"""Trains what this bundle holds: `python run.py`. README.md says what it needs."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "code"))

from training.elsewhere import main  # noqa: E402

sys.exit(main(HERE, sys.argv[1:]))
'''


@dataclass(frozen=True)
class RunToBundle:
    """What a bundle is made of.

    spec: what `training.finetune` is told, without the three paths. base_model: its identity, `name@sha256:hex`.
    source: a Hugging Face id (`owner/name` or `owner/name@revision`) that has the same weights, or "".
    processes: how many of them train together, one for each GPU.
    train, dev: rows as `training.finetune` reads them.
    cap_seconds: at which the run stops, all attempts together; None for no cap.
    """

    run: str
    title: str
    snapshot_sha256: str
    config_sha256: str
    base_model: str
    source: str
    spec: Mapping[str, Any]
    processes: int
    train: Sequence[Mapping[str, Any]]
    dev: Sequence[Mapping[str, Any]]
    cap_seconds: float | None = None


@dataclass(frozen=True)
class Bundle:
    """`files` is path → bytes, SHA256SUMS among them; `id` is the sha256 of SHA256SUMS."""

    files: Mapping[str, bytes]
    id: str


def make_bundle(run: RunToBundle, *, extra: Mapping[str, str] | None = None) -> Bundle:
    """The bundle of a run; the same run, code and packages give the same bytes.

    extra: further text files by name, for the place where it will run.
    """
    about = {"format": FORMAT, "run": run.run, "snapshot_sha256": run.snapshot_sha256,
             "config_sha256": run.config_sha256, "base_model": {"identity": run.base_model, "source": run.source},
             "rows": {"train": len(run.train), "dev": len(run.dev)}, "processes": run.processes, "spec": run.spec,
             "cap_seconds": run.cap_seconds}
    files = {
        "README.md": _readme(run).encode(), "run.py": _RUN.encode(),
        "requirements.txt": _requirements(run).encode(), "bundle.json": json_bytes(about),
        "data/train.jsonl": _lines(run.train), "data/dev.jsonl": _lines(run.dev),
        **{f"code/{path}": content for path, content in code_files().items()},
        **{name: text.encode() for name, text in (extra or {}).items()}}
    sums = sums_of({path: hashlib.sha256(content).hexdigest() for path, content in files.items()})
    return Bundle({**files, SUMS: sums}, hashlib.sha256(sums).hexdigest())


def _requirements(run: RunToBundle) -> str:
    qlora = run.spec["config"].get("weight_bits") == 4
    return versions.pinned() + (f"bitsandbytes=={versions.BITSANDBYTES}\n" if qlora else "")


def write_bundle(bundle: Bundle, folder: Path) -> Path:
    """Write the bundle's files below `folder`, SHA256SUMS last, and return the folder."""
    for path, content in bundle.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def tar_of(bundle: Bundle, name: str) -> bytes:
    """The bundle as a tar below one folder `name`; names sorted, no times and no owners, so equal bytes for ever."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(bundle.files):
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size, member.mode = len(bundle.files[path]), 0o644
            archive.addfile(member, io.BytesIO(bundle.files[path]))
    return buffer.getvalue()


def code_files() -> dict[str, bytes]:
    """Path → bytes of our own modules that training imports, whatever they import, and their packages' `__init__`."""
    found: dict[str, Path] = {}
    waiting = [ENTRY, *STARTED]
    while waiting:
        name = waiting.pop()
        path = _module_path(name)
        if path is None or name in found:
            continue
        found[name] = path
        parents = name.split(".")[:-1]
        waiting += [".".join(parents[:n]) for n in range(1, len(parents) + 1)]
        waiting += imported_names(path.read_text())
    return {path.relative_to(_ROOT).as_posix(): path.read_bytes()
            for path in sorted(found.values())}


def imported_names(source: str) -> list[str]:
    """Dotted names below our apps that a module imports anywhere; `from a import b` gives both a and a.b."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in APPS]


def sums_of(hashes: Mapping[str, str]) -> bytes:
    """A SHA256SUMS file as `sha256sum` writes it, sorted by path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(hashes.items())).encode()


def json_bytes(data: Any) -> bytes:
    """JSON with sorted keys and a new line at its end; refuses NaN."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def config_sha256(spec: Mapping[str, Any]) -> str:
    """Hash of what a run depends on beside its snapshot and its base model."""
    return hashlib.sha256(json_bytes(spec)).hexdigest()


def _module_path(name: str) -> Path | None:
    path = _ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()


def _cap_words(seconds: float | None) -> str:
    if seconds is None:
        return "It has no cap; `--cap-minutes M` gives it one, of all attempts together."
    return (f"It stops at its cap of {seconds / 60:.1f} minutes, of all attempts together. `--cap-minutes M` lets it "
            "go on up to\nanother one; `--finish` keeps the best epoch so far.")


def _readme(run: RunToBundle) -> str:
    name, _, digest = run.base_model.partition("@sha256:")
    got = (f"It is downloaded from Hugging Face as `{run.source}`, or taken from a folder that you name."
           if run.source else "Copy its folder to this machine: Goldpan does not know a place to download it from.")
    command = "python run.py" if run.processes == 1 else f"python run.py --processes {run.processes}"
    return f"""# {run.title}

A training run of Goldpan, to be run on another machine. The files hold the {len(run.train):,} train and
{len(run.dev):,} dev rows with their labels, word by word: treat them like the data they are. The held-out test rows are
not here; the evaluation is made where the run came from.

## Run it
Python 3.11 or newer; no Goldpan, no database, no Django.

```
python -m venv venv && . venv/bin/activate
pip install -r requirements.txt
{command} --model FOLDER
```

`--processes N` trains with N processes by `accelerate launch`, one for each GPU; N has to divide the rows per step.
Stopped or killed, the same command goes on from its last checkpoint, which lies in `work/`.
{_cap_words(run.cap_seconds)}

## The base model
`{name}`, sha256 of its weights `{digest}`. {got}
`run.py` looks at `--model`, then at the variable `GOLDPAN_BASE_MODEL`, then at a folder `model/` beside it{
', then downloads it' if run.source else ''}, and refuses any other weights.

## What comes back
The files in `result/`: the adapter, the learning curve, the receipt, and `{SUMS}`. Give all of them to the page of
the run, or to `manage.py import_result`. Goldpan takes them only if every hash holds and they name this bundle.

- Bundle: the sha256 of `{SUMS}`. `sha256sum -c {SUMS}` checks it; `run.py` does so before it starts.
- Snapshot: `{run.snapshot_sha256}`
- Configuration: `{run.config_sha256}`
"""
