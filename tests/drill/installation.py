"""A whole installation whose processes are killed in the middle of their work, and what is looked at afterwards."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import psycopg
import pytest
from django.conf import settings

from labeling.label_studio import is_up
from tests.drill.servers import wait_until
from tests.installation import ROOT, Installation, free_port

KILLS: Counter[str] = Counter()  # of the whole session, by what was killed and at what
VERDICTS: list[str] = []  # what trainings with the real model came to, in words
SEED = int(os.environ.get("GOLDPAN_DRILL_SEED", "1"))
JOB_SECONDS = 240  # generous: a job's own time, a lease, and a machine that does other things, too
ENDED = ("succeeded", "failed", "cancelled")


class JobRow(NamedTuple):
    """What the database says about a job right now."""

    state: str
    stage: str
    done: int
    attempt: int
    error: str
    result: Any


class KillableInstallation(Installation):
    """Goldpan on data of its own, with web, worker, tick and Label Studio to start, kill and start again.

    The lease is short, so that a dead worker's job comes back soon.
    environment: settings that differ.
    """

    def __init__(self, data: Path, *, environment: dict[str, str] | None = None) -> None:
        self.random = random.Random(SEED)
        self._killed: dict[int, int] = {}  # job → the attempt that was killed last; its row still looks alive
        label_studio_port = str(free_port())
        super().__init__(data, environment={
            "GOLDPAN_LEASE_SECONDS": "5", "GOLDPAN_TICK_SECONDS": "1", "GOLDPAN_LOG_LEVEL": "WARNING",
            "GOLDPAN_ENCODER": "tests.fakes.HashingEncoder", "OMP_NUM_THREADS": "1", "GOLDPAN_THREADS": "1",
            "GOLDPAN_LABEL_STUDIO_PORT": label_studio_port,
            "GOLDPAN_LABEL_STUDIO_URL": f"http://localhost:{label_studio_port}",
            "GOLDPAN_LABEL_STUDIO_EMAIL": "admin@goldpan.local", "GOLDPAN_LABEL_STUDIO_PASSWORD": "only-for-the-drill",
            **(environment or {})})

    def start_and_wait(self, *names: str) -> None:
        """Start lines of the Procfile; web and Label Studio answer when this returns."""
        self.start(*names)
        if "web" in names:
            wait_until(self._web_answers, "the web server")
        if "labelstudio" in names:
            wait_until(lambda: is_up(self.environment["GOLDPAN_LABEL_STUDIO_URL"]), "Label Studio", 180)

    def start_gateway(self, *names: str) -> None:
        """Start the gateway and the model's process, or one of them; the gateway answers when this returns."""
        self.start(*(names or ("model", "gateway")))
        wait_until(lambda: self._web_answers(self.gateway_port), "the gateway")

    def _web_answers(self, port: int = 0) -> bool:
        try:
            health = f"http://localhost:{port or self.port}/healthz"
            return httpx.get(health, timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    # Inside: functions of tests/drill/inside.py, run in this installation's Django

    def inside(self, function: str, **arguments: Any) -> Any:
        code = ("import django, json, sys; django.setup(); from tests.drill import inside; "
                "print(json.dumps(getattr(inside, sys.argv[1])(**json.loads(sys.argv[2]))))")
        done = subprocess.run([sys.executable, "-c", code, function, json.dumps(arguments)], cwd=ROOT, text=True,
                              env=self.environment, capture_output=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    # The database, looked at from outside while everything runs

    def rows(self, sql: str) -> list[Any]:
        if "DATABASE_URL" in self.environment:
            with psycopg.connect(self.environment["DATABASE_URL"]) as postgres:
                return postgres.execute(sql).fetchall()
        sqlite = sqlite3.connect(self.data / "goldpan.sqlite3", timeout=20)
        try:
            return sqlite.execute(sql).fetchall()
        finally:
            sqlite.close()

    def count(self, of: str) -> int:
        """How many rows there are of “table” or “table WHERE …”."""
        return int(self.rows(f"SELECT count(*) FROM {of}")[0][0])

    def job(self, pk: int) -> JobRow:
        [row] = self.rows(f"SELECT state, stage, done, attempt, error, result FROM jobs_job WHERE id = {pk}")
        job = JobRow(*row)
        return job._replace(result=json.loads(job.result)) if isinstance(job.result, str) else job

    def wait_for(self, pk: int) -> JobRow:
        """Wait until the job has ended, however it did."""
        wait_until(lambda: self.job(pk).state in ENDED, f"the end of job {pk}", JOB_SECONDS)
        return self.job(pk)

    # Kills

    def wait_for_moment(self, job: int, is_the_moment: Callable[[JobRow], bool]) -> None:
        """Wait until an attempt that nobody has killed yet shows the moment in the job's row."""

        def has_come() -> bool:
            row = self.job(job)
            assert row.state not in ENDED, f"job {job} ended before the moment came: {row}"
            return row.state == "running" and row.attempt > self._killed.get(job, 0) and is_the_moment(row)

        wait_until(has_come, f"the moment of job {job}", JOB_SECONDS)

    def kill_in_the_middle(self, name: str, job: int, is_the_moment: Callable[[JobRow], bool],
                           within_seconds: float = 0.5) -> None:
        """kill -9 a process group at a random time after the moment; the job must not have ended by then."""
        self.wait_for_moment(job, is_the_moment)
        time.sleep(self.random.uniform(0, within_seconds))
        self.kill(name)
        row = self.job(job)
        if name == "worker":
            assert row.state == "running", f"the kill came too late: {row}"
            self._killed[job] = row.attempt
        KILLS[f"{name} at “{row.stage}”"] += 1

    def kill(self, name: str) -> None:
        """kill -9 the process group, then see that nothing that it started lives on."""
        started = psutil.Process(self.processes[name].pid).children(recursive=True)
        super().kill(name)
        _, orphans = psutil.wait_procs(started, timeout=10)
        assert not orphans, f"{name} is dead, but what it started lives on: {[orphan.cmdline() for orphan in orphans]}"

    def wipe_the_queue(self) -> None:
        """Lose every wake-up that is on its way."""
        for message in (self.data / "queue").glob("*.msg"):
            message.unlink(missing_ok=True)

    # Afterwards

    def assert_all_is_well(self) -> None:
        """No job is lost, the database is whole, and every hash holds."""
        lost = self.rows("SELECT id, kind, state, error FROM jobs_job WHERE state <> 'succeeded'")
        assert not lost, f"jobs that did not succeed: {lost}"
        if "DATABASE_URL" not in self.environment:
            assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.manage("verify") == {"problems": []}


def need_model() -> None:
    """Skip the drill where the small language model is not on this machine."""
    if not (settings.GOLDPAN_BASE_MODEL / "config.json").exists():
        pytest.skip("the small language model is not there: make setup")


def stop_marked(data: Path) -> None:
    """End whatever still works on this data folder when a drill has failed in the middle."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("GOLDPAN_DATA") == str(data) or str(data) in " ".join(process.cmdline()):
                process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
