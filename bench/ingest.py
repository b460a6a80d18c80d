"""How does importing grow with the file, what does the same file cost again, how long do the home page's counts take?

`python -m bench.ingest`: CSVs of 100,000, 300,000 and 1,000,000 texts with labels go into empty projects on a fresh
SQLite file, each in a process of its own, then each file a second time. Seconds are CPU seconds of the process; the
growth exponent is the slope of log seconds over log rows. Beside it: Django's bulk_create on the smallest file, as
bench.import_examples has it, and the counts by GROUP BY. Exits with 1 if the exponent is over 1.15, importing again
costs more than 0.6 of the first time, the counts take more than 5 ms at the largest size, memory grows by more than
200 bytes a row, or bulk_create is less than 3 times as slow. Memory is what the process holds of its own, at its peak.
The peak of all that is mapped stands beside it: SQLite maps its file, whose pages the system takes back when it needs
them. The growth is drawn to bench/out/ingest-growth.svg.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.charts import draw_growth, exponent
from bench.import_examples import measure as measure_import
from bench.import_examples import on_a_fresh_database, write_csv

SIZES = (100_000, 300_000, 1_000_000)
GOAL_EXPONENT, GOAL_AGAIN, GOAL_COUNTS_MS, GOAL_BYTES, GOAL_RATIO = 1.15, 0.6, 5.0, 200.0, 3.0
N_ASKED = 21  # times that the counts are read


def main(sizes: tuple[int, ...] = SIZES) -> int:
    with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as temporary:
        folder = Path(temporary)
        files = {n: write_csv(folder / f"{n}.csv", n) for n in sizes}
        measure_import("prepare", files[sizes[0]], folder / "empty")
        print("      rows   import s  again s  again/first  MB own  mapped  counts ms  by GROUP BY ms", flush=True)
        found = {}
        for n in sizes:
            found[n] = one = fresh(files[n], folder)
            print(f"{n:10,}  {one['first']:9.1f}  {one['again']:7.1f}  {one['again'] / one['first']:11.2f}  "
                  f"{one['mb']:6.0f}  {one['mapped_mb']:6.0f}  {one['counts_ms']:9.2f}  {one['group_by_ms']:14.1f}",
                  flush=True)
        django = on_a_fresh_database("django", files[sizes[0]], folder)["cpu"]
    draw_growth("ingest-growth", {"Import": [(n, one["first"]) for n, one in found.items()]})
    return show(found, django / found[sizes[0]]["first"])


def show(found: dict[int, dict[str, float]], ratio: float) -> int:
    least, most = min(found), max(found)
    slope = exponent([(least, found[least]["first"]), (most, found[most]["first"])])
    n_bytes = (found[most]["mb"] - found[least]["mb"]) * 1e6 / (most - least)
    goals = [
        ("x bulk_create (CPU)", ratio, GOAL_RATIO, ratio >= GOAL_RATIO),
        ("growth exponent", slope, GOAL_EXPONENT, slope <= GOAL_EXPONENT),
        ("the same file again", found[most]["again"] / found[most]["first"], GOAL_AGAIN,
         found[most]["again"] <= GOAL_AGAIN * found[most]["first"]),
        (f"counts at {most:,} rows, ms", found[most]["counts_ms"], GOAL_COUNTS_MS,
         found[most]["counts_ms"] <= GOAL_COUNTS_MS),
        ("memory a row, bytes", n_bytes, GOAL_BYTES, n_bytes <= GOAL_BYTES)]
    for name, value, goal, is_met in goals:
        print(f"G7 {name}: {value:.2f}, goal {goal:g}: {'met' if is_met else 'not met'}")
    return 0 if all(is_met for *_, is_met in goals) else 1


def fresh(file: Path, folder: Path) -> dict[str, float]:
    """Import the file twice into an empty installation, in a process of its own; return what it measured."""
    data = folder / "data"
    shutil.copytree(folder / "empty", data)
    environment = os.environ | {"GOLDPAN_DATA": str(data), "GOLDPAN_BROKER": "memory://", "GOLDPAN_LOG_LEVEL": "ERROR",
                                "DJANGO_SETTINGS_MODULE": "goldpan.settings"}
    environment.pop("DATABASE_URL", None)
    try:
        done = subprocess.run([sys.executable, "-m", "bench.ingest", "once", str(file)], env=environment, check=True,
                              stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout))
    finally:
        shutil.rmtree(data)


def once(file: Path) -> dict[str, float]:
    import django

    django.setup()
    from django.db.models import Count

    from curation.models import ExampleCount
    from labeling.models import Annotation, Example
    from projects.models import Project

    project = Project.objects.get()
    with file.open() as opened:
        n = sum(1 for _ in opened) - 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with OwnMemory() as own:
        first = bring(project, file)
    mapped_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    again = bring(project, file)
    counts = ExampleCount.objects.filter(project=project)
    assert sum(count.n_examples for count in counts) == n == Example.objects.count()
    assert sum(count.n_labels for count in counts) == n == Annotation.objects.count()
    by_group = Example.objects.filter(project=project).order_by().values_list("split").annotate(n=Count("pk"))
    return {"first": first, "again": again, "mb": own.mb, "mapped_mb": mapped_mb,
            "counts_ms": milliseconds(lambda: list(counts.all())),
            "group_by_ms": milliseconds(lambda: list(by_group.all()))}


class OwnMemory:
    """By how many MB the process's own memory grew at most within the block, looked at fifty times a second."""

    mb = 0.0

    def __enter__(self) -> "OwnMemory":
        self._before, self._done = self._now(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.mb = max(self.mb, self._now() - self._before)

    @staticmethod
    def _now() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


def bring(project: Any, file: Path) -> float:
    """Import the file as a person would; return its CPU seconds."""
    from jobs.models import Job
    from jobs.services import run
    from labeling.services.imports import receive_upload, start_import

    started = time.process_time()
    with file.open("rb") as opened:
        upload = receive_upload(project, opened, name=file.name, kind="examples", by=project.created_by)
    job = start_import(upload, by=project.created_by, wake=False)
    run(job.pk)
    job = Job.objects.get(pk=job.pk)
    assert job.state == Job.State.succeeded, job.error
    return time.process_time() - started


def milliseconds(ask: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(N_ASKED):
        started = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - started)
    return 1000 * median(seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["once"]:
        print(json.dumps(once(Path(sys.argv[2]))))
    else:
        sys.exit(main())
