"""Heavy work in a subprocess of its own: memory comes back, a kill is real, torch stays out of the worker.

1. The parent writes `spec.json` into the work folder and starts `python -m <module> <folder>`.
2. The child reports progress as JSON lines on a pipe; its prints go to `log.txt` in the folder.
3. The child writes `result.json` last, by rename, so a result is whole or absent.
4. If the parent stops (cancelled, lease lost, killed) the child's process group ends with it.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobs.progress import Progress, silent

BEAT_SECONDS = 1.0  # how often the parent looks whether it should go on, whatever the child reports
GRACE_SECONDS = 5.0  # between asking a child to stop and killing it
LOG_TAIL_BYTES = 4000
_ROOT = Path(__file__).resolve().parent.parent  # where modules are found, wherever the parent was started


class ChildFailed(Exception):
    """The subprocess ended without a result; the message holds its exit code and the end of its log."""


class ChildRefused(Exception):
    """The child found something its reader can put right; the message is for them."""


def run_child(module: str, spec: Mapping[str, Any], *, folder: Path, progress: Progress = silent,
              environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run `python -m module folder` to its end and return its result.

    spec: JSON-able input, given to the child's work function.
    folder: exists afterwards with spec.json, log.txt and result.json; the child may keep its files there.
    environment: variables that this child gets beside the few that every child has.
    Raises ChildRefused with the child's own words, ChildFailed if it died, and whatever `progress` raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").unlink(missing_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    read_end, write_end = os.pipe()
    with open(folder / "log.txt", "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", module, str(folder.resolve())],
            cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write_end], start_new_session=True,
            env=child_environment(write_end) | dict(environment or {}), preexec_fn=die_with_parent)
    os.close(write_end)
    try:
        _relay(read_end, child, progress)
    finally:
        os.close(read_end)
        _end(child)
    return _result(folder, child.returncode)


def child_environment(progress_fd: int | None = None) -> dict[str, str]:
    """The environment of a child: paths and thread counts, no secret and no database address."""
    kept = {name: os.environ[name] for name in _KEPT_NAMES if name in os.environ}
    reporting = {} if progress_fd is None else {"GOLDPAN_PROGRESS_FD": str(progress_fd)}
    return _DEFAULTS | kept | reporting


_DEFAULTS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve each other on a busy machine
    "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "PYTHONUNBUFFERED": "1",
}
_KEPT_NAMES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES",
               "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LD_LIBRARY_PATH", "RAY_ADDRESS")


def child_main(work: Callable[[dict[str, Any], Path, Progress], dict[str, Any]]) -> None:
    """The whole main program of a child: read the spec, do `work(spec, folder, progress)`, leave the result.

    A ValueError raised by `work` is for the person who started the job: its words are handed to them.
    """
    folder = Path(sys.argv[1])
    spec = json.loads((folder / "spec.json").read_text())
    try:
        answer: dict[str, Any] = {"result": work(spec, folder, _pipe_progress())}
    except ValueError as error:
        answer = {"refused": str(error)}
    temporary = folder / "result.json.tmp"
    temporary.write_text(json.dumps(answer))
    temporary.rename(folder / "result.json")


def _pipe_progress() -> Progress:
    pipe = os.fdopen(int(os.environ["GOLDPAN_PROGRESS_FD"]), "w", buffering=1)

    def progress(stage: str, done: int, total: int) -> None:
        pipe.write(json.dumps([stage, done, total]) + "\n")

    return progress


def _relay(read_end: int, child: subprocess.Popen[bytes], progress: Progress) -> None:
    """Hand the child's reports to `progress` until it closes its pipe; repeat the last one as a heartbeat."""
    stage, done, total, rest = "Starting", 0, 1, b""
    with selectors.DefaultSelector() as selector:
        selector.register(read_end, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=BEAT_SECONDS):
                data = os.read(read_end, 65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                if lines:
                    stage, done, total = json.loads(lines[-1])
            progress(stage, done, total)
    while child.poll() is None:
        progress(stage, done, total)
        time.sleep(0.05)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _result(folder: Path, exit_code: int) -> dict[str, Any]:
    try:
        answer = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        with open(folder / "log.txt", "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            tail = log.read().decode(errors="replace")
        raise ChildFailed(f"exit code {exit_code}\n{tail}") from None
    if "refused" in answer:
        raise ChildRefused(answer["refused"])
    return dict(answer["result"])


def die_with_parent() -> None:
    """For `preexec_fn`: on Linux a child is killed when its parent ends, however that ends."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
