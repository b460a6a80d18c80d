"""An adapter merged into its base model: one folder that every server of such models opens."""

import os
import time
from pathlib import Path
from typing import Any

from jobs.child import child_main
from jobs.progress import Progress
from training import language_model


def merge_files(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: write the merged model into `folder`/merged.

    spec: "model", "adapter" (folders), optional "threads".
    """
    language_model.prepare_process(int(spec.get("threads") or len(os.sched_getaffinity(0))))
    started = time.perf_counter()
    progress("Merging the adapter into the model", 0, 1)
    language_model.merge(Path(spec["model"]), Path(spec["adapter"]), folder / "merged")
    return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    child_main(merge_files)
