"""A child's work in this process. A subprocess imports torch anew, which takes longer than a tiny model's training."""

import importlib
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.child import ChildRefused
from jobs.progress import Progress, silent

WORK = {"training.finetune": "train", "training.trial": "try_steps", "training.label_scoring": "score_files"}


def run_child_here(module: str, spec: Mapping[str, Any], *, folder: Path,
                   progress: Progress = silent) -> dict[str, Any]:
    """Return what `jobs.child.run_child` would. That a child dies, stops and tells is for tests with real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    before = signal.getsignal(signal.SIGTERM)
    try:
        work = getattr(importlib.import_module(module), WORK[module])
        return dict(json.loads(json.dumps(work(json.loads(json.dumps(spec)), folder, progress))))
    except ValueError as error:
        raise ChildRefused(str(error)) from error
    finally:
        signal.signal(signal.SIGTERM, before)
