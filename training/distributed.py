"""One training by several processes, one for each GPU, started by `accelerate launch`.

1. The child `python -m training.distributed <folder>` starts the launcher and reports by the learning curve.
2. Each process trains on its share of every batch; gradients are averaged by how many tokens each has learned, so a
   step is that of one process with the whole batch.
3. Only the first process writes files and scores the dev rows; the others wait.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jobs.child import child_main
from jobs.progress import Progress
from training import checkpoints

POLL_SECONDS = 0.5
ANSWER = "answer.json"  # what the first process leaves for the child that started the launcher


def rank() -> int:
    """The number of this process, 0 if it trains alone."""
    return int(os.environ.get("RANK", 0))


def n_processes() -> int:
    """How many processes train together; 1 if this one trains alone."""
    return int(os.environ.get("WORLD_SIZE", 1))


def resume_files(method: str) -> tuple[str, ...]:
    """What a checkpoint needs; several processes each keep their own random numbers in it."""
    needed = (*checkpoints.learned_files(method), *checkpoints.STATE_FILES)
    if n_processes() == 1:
        return needed
    shared = [name for name in needed if name != checkpoints.RANDOM_FILE]
    stem, _, suffix = checkpoints.RANDOM_FILE.partition(".")
    return (*shared, *(f"{stem}_{number}.{suffix}" for number in range(n_processes())))


def rows_per_process(batch_size: int) -> int:
    """Rows of a batch for each process. Raises ValueError if they cannot be shared out evenly."""
    if batch_size % n_processes():
        raise ValueError(f"{n_processes()} processes cannot share {batch_size} rows per step evenly. Choose a "
                         "number of rows that they can.")
    return batch_size // n_processes()


def average_step(parameters: Iterable[Any], loss: Any, n_learned: int, n_read: int) -> tuple[Any, int]:
    """Average all processes' gradients, weighed by the tokens that each has learned, in place.

    Afterwards every gradient is that of the mean loss over all processes' learned tokens. Returns that loss, and how
    many tokens all have read.
    """
    if n_processes() == 1:
        return loss, n_read
    import torch
    from torch import distributed

    trained = [parameter for parameter in parameters if parameter.grad is not None]
    sums = torch.tensor([n_learned, n_read, n_learned * float(loss)], dtype=torch.float64, device=loss.device)
    distributed.all_reduce(sums)
    all_learned, all_read, all_loss = sums.tolist()
    for parameter in trained:
        parameter.grad.mul_(n_learned / all_learned)
        distributed.all_reduce(parameter.grad)
    return torch.full_like(loss, all_loss / all_learned), int(all_read)


def anyone(asked: bool, device: Any) -> bool:
    """Whether any of the processes says yes; all of them get the same answer."""
    if n_processes() == 1:
        return asked
    import torch
    from torch import distributed

    flag = torch.tensor([int(asked)], device=device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag[0])


def wait_for_all() -> None:
    """Return once every process is here."""
    if n_processes() > 1:
        from torch import distributed

        distributed.barrier()


def launch_command(folder: Path, processes: int) -> list[str]:
    """The command that trains a work folder with several processes on this machine."""
    return [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1",
            "--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no",
            "--main_process_port", "0", "--module", "training.distributed", str(folder), "--process"]


def launch(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: train with `spec["processes"]` processes; like `training.finetune.train` for the rest.

    Raises ValueError in the first process's words, RuntimeError if one of them died.
    """
    (folder / ANSWER).unlink(missing_ok=True)
    progress("Starting the processes", 0, spec["processes"])
    launcher = subprocess.Popen(launch_command(folder, spec["processes"]), stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: launcher.terminate())
    while launcher.poll() is None:
        time.sleep(POLL_SECONDS)
        for stage, done, total in _reports(folder / "progress.json"):
            progress(stage, done, total)
    if not (folder / ANSWER).exists():
        sys.exit(launcher.returncode or 1)
    answer = json.loads((folder / ANSWER).read_text())
    if "refused" in answer:
        raise ValueError(answer["refused"])
    return dict(answer["result"])


def _reports(path: Path) -> list[list[Any]]:
    try:
        return [json.loads(path.read_text())]
    except (OSError, ValueError):
        return []


def process_main(folder: Path) -> None:
    """The main program of each process that the launcher starts."""
    _end_with_launcher()
    import torch

    if not torch.cuda.is_available():  # accelerate would start the processes and let each train alone
        os.environ["ACCELERATE_USE_CPU"] = "true"
    from training import finetune

    spec = json.loads((folder / "spec.json").read_text())
    if rank():
        finetune.train(spec, folder, lambda stage, done, total: None)
        return
    try:
        answer: dict[str, Any] = {"result": finetune.train(spec, folder, _file_progress(folder / "progress.json"))}
    except ValueError as error:
        answer = {"refused": str(error)}
    temporary = folder / f"{ANSWER}.tmp"
    temporary.write_text(json.dumps(answer))
    temporary.rename(folder / ANSWER)


def _file_progress(path: Path) -> Progress:
    last, last_stage = 0.0, ""

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last, last_stage
        if stage == last_stage and time.monotonic() - last < POLL_SECONDS:
            return
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps([stage, done, total]))
        temporary.rename(path)
        last, last_stage = time.monotonic(), stage

    return progress


def _end_with_launcher() -> None:
    # The launcher gives each process a session of its own, so a kill of its group would not reach them.
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[2:] == ["--process"]:
        process_main(Path(sys.argv[1]))
    else:
        child_main(launch)
