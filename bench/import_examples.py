"""How fast do examples and their labels come in, and in how much memory, beside Django's own bulk_create?

`python -m bench.import_examples`: a CSV of 100,000 texts, each with a key, a label and a group, goes into an empty
project. Goldpan's side is what a user gets: the file is stored, every row checked, then read again and imported. The
other side is the same job as Django's documentation has it, without any check: csv.DictReader, the same columns,
Example.objects.bulk_create, Annotation.objects.bulk_create. Each measurement is a process of its own on a fresh SQLite
file with Goldpan's settings; the sides take turns. Exits with 1 if Goldpan is less than 3 times as fast.

Then the same on a throwaway PostgreSQL, if there is one (Debian's package): there the seconds of the server count with
those of the process, and the goal, 5 times, is for CPU. `python -m bench.import_examples postgres` does only this.
"""

import csv
import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil
import psycopg

if TYPE_CHECKING:
    from tests.drill.servers import Postgres

GOAL, GOAL_POSTGRES = 3.0, 5.0
N_ROWS, N_MANY_ROWS = 100_000, 300_000
N_ROUNDS = 3
BATCH = 5000
SIDES = ("goldpan", "django")
STAGES = {"wall": "all, wall", "cpu": "all, CPU", "insert_wall": "insert, wall", "insert_cpu": "insert, CPU"}
STAGES_ON_POSTGRES = {"wall": "all, wall", "cpu": "all, CPU", "process": "without server"}
LABELS = ("negative", "neutral", "positive")
WORDS = ("the", "a", "my", "order", "card", "payment", "refund", "parcel", "account", "app", "has", "not", "arrived",
         "yet", "please", "help", "why", "was", "charged", "twice", "cannot", "log", "in", "thanks", "great", "service",
         "delivery", "late", "again", "very", "happy", "with", "support", "nobody", "answered", "phone", "email")


def main() -> int:
    met = [on_sqlite(), on_postgres()]
    return 0 if all(met) else 1


def on_sqlite() -> bool:
    with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as temporary:
        folder = Path(temporary)
        files = {n: write_csv(folder / f"{n}.csv", n) for n in (N_ROWS, N_MANY_ROWS)}
        measure("prepare", files[N_ROWS], folder / "empty")
        found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for number in range(N_ROUNDS):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                found[side].append(on_a_fresh_database(side, files[N_ROWS], folder))
        many = {side: on_a_fresh_database(side, files[N_MANY_ROWS], folder) for side in SIDES}
    ratio = show(found)
    print(f"memory that the import added, MB: {N_ROWS:,} rows then {N_MANY_ROWS:,}: " + "; ".join(
        f"{side} {middle(found[side], 'mb'):.0f} then {many[side]['mb']:.0f}" for side in SIDES))
    print(f"ratio of wall time {ratio:.1f}, goal {GOAL:.1f}")
    return ratio >= GOAL


def on_postgres() -> bool:
    """Whether the goal there is met; True, said so, where no PostgreSQL is installed."""
    if not (shutil.which("postgres") or any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))):
        print("PostgreSQL: not compared, it is not installed (make servers)")
        return True
    from tests.drill.servers import Postgres

    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    server = Postgres()
    try:
        with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as temporary:
            folder = Path(temporary)
            file = write_csv(folder / "rows.csv", N_ROWS)
            asked(server, "CREATE DATABASE empty")
            measure("prepare", file, folder / "empty", server.url.replace("/postgres", "/empty"))
            for number in range(N_ROUNDS):
                for side in SIDES if number % 2 == 0 else reversed(SIDES):
                    found[side].append(on_a_fresh_postgres(side, file, folder, server))
    finally:
        server.stop()
    print("\non PostgreSQL, CPU with the server's:")
    show(found, STAGES_ON_POSTGRES)
    ratio = middle(found["django"], "cpu") / middle(found["goldpan"], "cpu")
    print(f"ratio of CPU time on PostgreSQL {ratio:.1f}, goal {GOAL_POSTGRES:.1f}")
    return ratio >= GOAL_POSTGRES


def asked(server: "Postgres", sql: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql)


def on_a_fresh_postgres(side: str, file: Path, folder: Path, server: "Postgres") -> dict[str, float]:
    asked(server, "CREATE DATABASE fresh TEMPLATE empty")
    asked(server, "CHECKPOINT")
    data = folder / "data"
    shutil.copytree(folder / "empty", data)
    before = cpu_of(server)
    try:
        measured = measure(side, file, data, server.url.replace("/postgres", "/fresh"))
        return measured | {"process": measured["cpu"], "cpu": measured["cpu"] + cpu_of(server) - before}
    finally:
        shutil.rmtree(data)
        asked(server, "DROP DATABASE fresh WITH (FORCE)")


def cpu_of(server: "Postgres") -> float:
    """CPU seconds of the server, with those of the connections that have ended."""
    postmaster = psutil.Process(server.process.pid)
    used = postmaster.cpu_times()
    at_work = [child.cpu_times() for child in postmaster.children()]
    return float(used.user + used.system + used.children_user + used.children_system
                 + sum(one.user + one.system for one in at_work))


def write_csv(path: Path, n: int) -> Path:
    draw = random.Random(1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "text", "label", "group"])
        for row in range(n):
            text = " ".join(draw.choices(WORDS, k=draw.randint(6, 24))).capitalize()
            writer.writerow([f"ticket-{row:07}", f"{text}.", draw.choice(LABELS), f"customer-{draw.randrange(n // 4)}"])
    return path


def on_a_fresh_database(side: str, file: Path, folder: Path) -> dict[str, float]:
    data = folder / "data"
    shutil.copytree(folder / "empty", data)
    try:
        return measure(side, file, data)
    finally:
        shutil.rmtree(data)


def measure(side: str, file: Path, data: Path, database_url: str = "") -> dict[str, float]:
    """Run one side in a process of its own on this data folder, and its SQLite file if no database is named."""
    environment = os.environ | {"GOLDPAN_DATA": str(data), "GOLDPAN_BROKER": "memory://", "GOLDPAN_LOG_LEVEL": "ERROR",
                                "DJANGO_SETTINGS_MODULE": "goldpan.settings"}
    environment.pop("DATABASE_URL", None)
    environment |= {"DATABASE_URL": database_url} if database_url else {}
    done = subprocess.run([sys.executable, "-m", "bench.import_examples", side, str(file)], env=environment, check=True,
                          stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def middle(rounds: list[dict[str, float]], name: str) -> float:
    return median(measured[name] for measured in rounds)


def show(found: dict[str, list[dict[str, float]]], stages: dict[str, str] = STAGES) -> float:
    """Print a line per stage; return how many times as fast Goldpan is as a whole, in the middle round."""
    print(f"{N_ROWS:,} rows, {N_ROUNDS} rounds, the middle one; seconds")
    print("                    goldpan  django   ratio  least")
    for name, words in stages.items():
        ours, theirs = (middle(found[side], name) for side in SIDES)
        least = min(one["django"][name] / one["goldpan"][name] for one in by_round(found))
        print(f"{words:18}  {ours:7.2f}  {theirs:6.2f}  {theirs / ours:6.1f}  {least:5.1f}")
    return middle(found["django"], "wall") / middle(found["goldpan"], "wall")


def by_round(found: dict[str, list[dict[str, float]]]) -> list[dict[str, dict[str, float]]]:
    return [dict(zip(found, pair, strict=True)) for pair in zip(*found.values(), strict=True)]


# What runs in a process of its own

def one_side(side: str, file: Path) -> None:
    import django

    import goldpan  # noqa: F401  # swaps a newer SQLite in

    django.setup()
    measured = {"prepare": prepare, "goldpan": import_with_goldpan, "django": import_with_django}[side](file)
    print(json.dumps(measured))


def prepare(file: Path) -> dict[str, float]:
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from projects.services import create_project

    call_command("migrate", verbosity=0)
    create_project(name="Bench", labels=[{"name": label} for label in LABELS], instructions="", split_salt="bench",
                   target_metric="accuracy", target_value=0.8, created_by=User.objects.create_user("alice"))
    return {}


class Watch:
    """Wall and CPU seconds since it was made, and by how many MB the process has grown at its largest."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.mb = self._now()

    def read(self) -> dict[str, float]:
        wall, cpu, mb = self._now()
        return {"wall": wall - self.wall, "cpu": cpu - self.cpu, "mb": mb - self.mb}

    @staticmethod
    def _now() -> tuple[float, float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def with_insert(whole: dict[str, float], insert: dict[str, float]) -> dict[str, float]:
    return whole | {"insert_wall": insert["wall"], "insert_cpu": insert["cpu"]}


def import_with_goldpan(file: Path) -> dict[str, float]:
    from jobs.models import Job
    from jobs.services import run
    from labeling.services.imports import receive_upload, start_import
    from projects.models import Project

    project = Project.objects.get()
    watch = Watch()
    with file.open("rb") as opened:
        upload = receive_upload(project, opened, name=file.name, kind="examples", by=project.created_by)
    job = start_import(upload, by=project.created_by, wake=False)
    inserting = Watch()  # with reading and checking every row a second time
    run(job.pk)
    insert, whole = inserting.read(), watch.read()
    job = Job.objects.get(pk=job.pk)
    check(job.result)
    return with_insert(whole, insert)


def import_with_django(file: Path) -> dict[str, float]:
    """A batch at a time, since a competent peer would not hold the whole file either."""
    from django.db import transaction
    from django.utils import timezone

    from labeling.models import Annotation, Annotator, Example
    from labeling.texts import content_sha256, split_of
    from projects.models import Project

    project = Project.objects.get()
    shares = (project.split_shares["pool"], project.split_shares["dev"], project.split_shares["test"])

    def examples_of(rows: list[dict[str, str]]) -> Iterator[Example]:
        for row in rows:
            yield Example(project=project, key=row["key"], text=row["text"], data={}, group=row["group"],
                          content_sha256=content_sha256(row["text"]),
                          split=split_of(row["group"], project.split_salt, shares))

    def annotations_of(examples: list[Example], rows: list[dict[str, str]]) -> Iterator[Annotation]:
        now = timezone.now()
        for example, row in zip(examples, rows, strict=True):
            yield Annotation(example=example, annotator=annotator, value=row["label"], created_at=now,
                             source=Annotation.Source.file, instructions_version=1)

    inserted = {"wall": 0.0, "cpu": 0.0}
    watch = Watch()
    with transaction.atomic(), file.open(newline="") as opened:
        annotator = Annotator.objects.create(project=project, name="given")
        reader = csv.DictReader(opened)
        while rows := list(itertools.islice(reader, BATCH)):
            inserting = Watch()
            examples = Example.objects.bulk_create(examples_of(rows), batch_size=BATCH)
            Annotation.objects.bulk_create(annotations_of(examples, rows), batch_size=BATCH)
            inserted = {name: seconds + inserting.read()[name] for name, seconds in inserted.items()}
    whole = watch.read()
    check({"n_examples": Example.objects.count(), "n_annotations": Annotation.objects.count()})
    return with_insert(whole, inserted)


def check(result: dict[str, int]) -> None:
    """Both sides must have done the whole job."""
    with Path(sys.argv[2]).open() as file:
        n = sum(1 for _ in file) - 1
    assert result == {"n_examples": n, "n_annotations": n}, result


if __name__ == "__main__":
    if len(sys.argv) == 3:
        one_side(sys.argv[1], Path(sys.argv[2]))
    elif sys.argv[1:] == ["postgres"]:
        sys.exit(0 if on_postgres() else 1)
    else:
        sys.exit(main())
