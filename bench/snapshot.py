"""How fast is a snapshot of 100,000 rows frozen and written as Parquet with its sha256, and are two writes equal?

`python -m bench.snapshot`: 100,000 pool rows and 1,500 held-out ones are scored by hand and frozen by Goldpan. Then the
same rows are written as zstd Parquet and hashed, each side in a process of its own, the sides taking turns:
- goldpan: `write_export(…, "parquet")` up to the hash of the data file: it reads the frozen file, hashes all of it,
  and takes the columns out of its lines;
- roof: a table that lies ready in memory, `pyarrow.parquet.write_table` and hashlib: nothing that reads can be faster;
- pyarrow: the same work without Goldpan: hashlib over the frozen file, `read_json`, `write_table`, hashlib;
- datasets: `Dataset.from_json`, `save_to_disk` (Arrow, not compressed) and hashlib, where the package is there.
Before anything is timed the rows of goldpan and pyarrow are compared, and two writes of every format byte by byte.
Exits with 1 if Parquet and sha256 reach less than 0.7 of the roof (goal G8), or two writes differ.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.import_examples import LABELS, WORDS, Watch, middle

GOAL = 0.7
N_POOL, N_HELD_OUT = 100_000, 1_500
N_ROUNDS = 5
SIDES = ("goldpan", "roof", "pyarrow", "datasets")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as temporary:
        data = Path(temporary)
        frozen = measure("prepare", data)
        print(f"{N_POOL + N_HELD_OUT:,} rows, {frozen['mb_of_file']:.0f} MB of JSON Lines; frozen with all checks in "
              f"{frozen['wall']:.1f} s, {frozen['cpu']:.1f} s CPU; its process grew by {frozen['mb']:.0f} MB",
              flush=True)
        equal = measure("equal", data)
        print(f"two writes of every format are equal byte by byte: {', '.join(sorted(equal))}", flush=True)
        found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for number in range(N_ROUNDS):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                if measured := measure(side, data):
                    found[side].append(measured)
        ratio = show(found)
        for format in ("trl", "huggingface"):
            whole = measure(f"whole:{format}", data)
            print(f"a whole {format} export, hashes and what was left out included: {whole['wall']:.1f} s, its process "
                  f"grew by {whole['mb']:.0f} MB")
    print(f"Parquet and sha256 at {ratio:.2f} of the roof, goal {GOAL:.1f}: {'met' if ratio >= GOAL else 'not met'}")
    return 0 if ratio >= GOAL else 1


def measure(side: str, data: Path) -> dict[str, float]:
    environment = os.environ | {"GOLDPAN_DATA": str(data), "GOLDPAN_BROKER": "memory://", "GOLDPAN_LOG_LEVEL": "ERROR",
                                "DJANGO_SETTINGS_MODULE": "goldpan.settings", "HF_HUB_OFFLINE": "1"}
    environment.pop("DATABASE_URL", None)
    done = subprocess.run([sys.executable, "-m", "bench.snapshot", side], env=environment, check=True,
                          stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def show(found: dict[str, list[dict[str, float]]]) -> float:
    """Print a line per side; return how near Goldpan comes to the roof, in the middle round."""
    print(f"\n{N_ROUNDS} rounds, the middle one     wall s   CPU s   grew MB   of the roof")
    roof, roof_cpu = (middle(found["roof"], name) for name in ("wall", "cpu"))
    for side in SIDES:
        if not found[side]:
            print(f"{side:28} not installed")
            continue
        wall, cpu, mb = (middle(found[side], name) for name in ("wall", "cpu", "mb"))
        print(f"{side:28} {wall:6.3f}  {cpu:6.3f}   {mb:7.0f}   {roof / wall:11.2f}")
    rounds = [theirs["wall"] / ours["wall"] for ours, theirs in zip(found["goldpan"], found["roof"], strict=True)]
    like = median(theirs["wall"] / ours["wall"]
                  for ours, theirs in zip(found["goldpan"], found["pyarrow"], strict=True))
    print(f"goldpan beside the roof, round by round: {', '.join(f'{ratio:.2f}' for ratio in sorted(rounds))}, by CPU "
          f"{roof_cpu / middle(found['goldpan'], 'cpu'):.2f}; beside pyarrow at the same work: {like:.2f}")
    return median(rounds)


# What runs in a process of its own

def one_side(side: str) -> None:
    import django

    import goldpan  # noqa: F401  # swaps a newer SQLite in

    django.setup()
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "prepare": prepare, "equal": compare, "goldpan": by_goldpan, "roof": at_the_roof, "pyarrow": by_pyarrow,
        "datasets": by_datasets}
    with contextlib.redirect_stdout(io.StringIO()):
        measured = whole_export(side.removeprefix("whole:")) if side.startswith("whole:") else sides[side]()
    print(json.dumps(measured))


def prepare() -> dict[str, float]:
    """A project whose pool is scored and whose held-out rows have three labels each; frozen."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import transaction

    from curation.models import Snapshot
    from curation.services.gold_sets import gold_set_of, save_rule
    from curation.services.snapshots import start_freeze
    from jobs.models import Job
    from jobs.services import run
    from projects.objects import object_path
    from projects.services import create_project

    call_command("migrate", verbosity=0)
    maker = User.objects.create_user("alice")
    project = create_project(name="Bench", labels=[{"name": label} for label in LABELS], instructions="Say the mood.",
                             split_salt="bench", target_metric="accuracy", target_value=0.8, created_by=maker)
    with transaction.atomic():
        _insert_rows(project)
    save_rule(gold_set_of(project), size=N_POOL, min_quality=0, min_per_label=1, allow_flagged=False, seed=0, by=maker,
              method="draw")  # of 100,000 out of 100,000 nothing is to be chosen, and these texts have no embeddings
    watch = Watch()
    job = start_freeze(project, by=maker, wake=False)
    run(job.pk)
    measured = watch.read()
    job = Job.objects.get(pk=job.pk)
    assert job.state == Job.State.succeeded, job.error
    snapshot = Snapshot.objects.get()
    assert snapshot.rows.count() == N_POOL + N_HELD_OUT, snapshot.rows.count()
    size = object_path(settings.GOLDPAN_OBJECTS, snapshot.rows_sha256).stat().st_size
    return measured | {"mb_of_file": size / 1e6}


def _insert_rows(project: Any) -> None:
    import random

    from django.utils import timezone

    from curation.models import ExampleScore, QualityReport
    from jobs.models import Job
    from labeling.models import Annotation, Annotator, Example
    from labeling.services.bulk import database_time, insert_ignoring_conflicts
    from labeling.texts import content_sha256

    draw, now = random.Random(1), timezone.now()
    split_of = ["pool"] * N_POOL + ["dev"] * (N_HELD_OUT // 3) + ["test"] * (N_HELD_OUT - N_HELD_OUT // 3)

    def examples() -> Iterator[tuple[Any, ...]]:
        for row, split in enumerate(split_of):
            text = f"{' '.join(draw.choices(WORDS, k=draw.randint(20, 60))).capitalize()} {row}."
            yield project.pk, f"ticket-{row:07}", text, "{}", content_sha256(text), f"customer-{row}", split

    insert_ignoring_conflicts(Example, ("project_id", "key", "text", "data", "content_sha256", "group", "split"),
                              examples())
    people = [Annotator.objects.create(project=project, name=name).pk for name in ("mira", "jon", "kim")]
    rows = list(Example.objects.order_by("pk").values_list("pk", "split"))
    insert_ignoring_conflicts(
        Annotation, ("example_id", "annotator_id", "value", "skipped", "retracted", "source", "instructions_version",
                     "created_at"),
        ((pk, person, json.dumps(LABELS[pk % 3]), False, False, "file", 1, database_time(now))
         for pk, split in rows for person in people[:1 if split == "pool" else 3]))
    report = QualityReport.objects.create(
        project=project, job=Job.objects.create(project=project, kind="score", title="Scored", state="succeeded",
                                                finished_at=now), encoder="none", n_examples=len(rows),
        n_scored=N_POOL, n_issues=0, n_clusters=0, n_crossing=0, duplicate_threshold=0.95)
    insert_ignoring_conflicts(
        ExampleScore, ("report_id", "example_id", "label", "n_labels", "predicted_label", "label_quality",
                       "is_label_issue", "cluster", "cluster_size", "crosses_split", "neighbours", "reasons",
                       "expected_gain", "language", "failures"),
        ((report.pk, pk, LABELS[pk % 3] if split == "pool" else "", 1, "", 0.9 if split == "pool" else None, False, pk,
          1, False, "[]", "[]", 0.0, "", "[]") for pk, split in rows))


def compare() -> dict[str, float]:
    """Both writes of every format, and what Goldpan and pyarrow make of the rows; their sizes in MB."""
    import pyarrow.parquet as pq

    from curation.exports import formats_of
    from curation.services.exporting import exported

    sizes = {}
    for format in formats_of("classification"):
        digests = []
        for _ in range(2):
            with exported(snapshot(), format, whole=True) as (path, _):
                digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
                sizes[format] = path.stat().st_size / 1e6
        assert digests[0] == digests[1], f"two writes of {format} differ"
    with folder() as path:
        _goldpan(path)
        ours, theirs = pq.read_table(path / "data.parquet"), frozen_table()
        assert ours.select(sorted(theirs.column_names)).equals(theirs.select(sorted(theirs.column_names)))
    return sizes


def snapshot() -> Any:
    from curation.models import Snapshot

    return Snapshot.objects.select_related("project").get()


def rows_file() -> Path:
    from django.conf import settings

    from projects.objects import object_path

    return object_path(settings.GOLDPAN_OBJECTS, snapshot().rows_sha256)


def frozen_table() -> Any:
    import pyarrow.json as pj

    return pj.read_json(rows_file())


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=os.environ["GOLDPAN_DATA"]))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _goldpan(path: Path) -> None:
    from curation.exports import Folder
    from curation.services.exporting import _write_columns, source_of

    written = Folder(path)
    _write_columns(source_of(snapshot(), "parquet"), {None: path / "data.parquet"}, written)
    assert written.n == N_POOL + N_HELD_OUT and len(written.sha256s["data.parquet"]) == 64


def timed(work: Callable[[Path], object]) -> dict[str, float]:
    """Do it once to warm up, on a folder of its own, then once by the watch."""
    for _ in range(2):
        with folder() as path:
            watch = Watch()
            work(path)
            measured = watch.read()
    return measured


def by_goldpan() -> dict[str, float]:
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401

    return timed(_goldpan)


def at_the_roof() -> dict[str, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = frozen_table()
    hashes = [hashlib.sha256(line).hexdigest() for line in rows_file().read_bytes().splitlines(keepends=True)]
    table = table.append_column("row_sha256", pa.array(hashes))

    def write(path: Path) -> None:
        pq.write_table(table, path / "data.parquet", compression="zstd")
        sha256_of(path / "data.parquet")

    return timed(write)


def by_pyarrow() -> dict[str, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(path: Path) -> None:
        content = rows_file().read_bytes()
        hashlib.sha256(content).hexdigest()
        hashes = [hashlib.sha256(line).hexdigest() for line in content.splitlines(keepends=True)]
        table = frozen_table().append_column("row_sha256", pa.array(hashes))
        pq.write_table(table, path / "data.parquet", compression="zstd")
        sha256_of(path / "data.parquet")

    return timed(write)


def by_datasets() -> dict[str, float]:
    try:
        from datasets import Dataset, disable_progress_bars
    except ImportError:
        return {}
    disable_progress_bars()

    def write(path: Path) -> None:
        source = path / "rows.jsonl"
        source.symlink_to(rows_file())
        Dataset.from_json(str(source), cache_dir=str(path / "cache")).save_to_disk(str(path / "out"))
        for file in (path / "out").rglob("*"):
            sha256_of(file)

    return timed(write)


def whole_export(format: str) -> dict[str, float]:
    from curation.services.exporting import write_export

    with folder() as path:
        started, watch = time.perf_counter(), Watch()
        write_export(snapshot(), format, path / "out")
        return watch.read() | {"wall": time.perf_counter() - started}


if __name__ == "__main__":
    if len(sys.argv) == 2:
        one_side(sys.argv[1])
    else:
        sys.exit(main())
