"""The same on PostgreSQL and Redis: the services' own tests, and workers that die while the broker loses everything."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation
from tests.drill.servers import Postgres, Redis, wait_until
from tests.installation import ROOT

pytestmark = pytest.mark.drill

FOLDERS = ("tests/jobs", "tests/labeling", "tests/curation", "tests/projects", "tests/training", "tests/api",
           "tests/serving")
ELSEWHERE = "not drill and not browser and not models and not labelstudio"
N_PROJECTS, N_FILES, N_ROWS = 4, 5, 8000


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


@pytest.mark.timeout(5400)  # most of the suite, by one process
def test_whatever_touches_the_database_does_the_same_there(postgres: Postgres, redis: Redis) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *FOLDERS, "-m", ELSEWHERE, "-p", "tests.drill.only_database",
         "-p", "no:cacheprovider", "--reuse-db"], cwd=ROOT, text=True, capture_output=True,
        env=os.environ | {"DATABASE_URL": postgres.url, "GOLDPAN_BROKER": redis.url})
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 100
    with psycopg.connect(postgres.url) as connection:  # it really was this server
        names = [name for name, in connection.execute("SELECT datname FROM pg_database")]
    assert "test_postgres" in names


def n_ended(goldpan: KillableInstallation) -> int:
    return goldpan.count("jobs_job WHERE state = 'succeeded'")


def kill_while_it_works(goldpan: KillableInstallation) -> None:
    """kill -9 a worker that has jobs in hand, and start another one."""
    at_work = "jobs_job WHERE state = 'running' AND stage IN ('Reading', 'Writing')"
    for _ in range(10):
        wait_until(lambda: goldpan.count(at_work), "a job at work")
        goldpan.kill("worker")
        was_in_hand = goldpan.count("jobs_job WHERE state = 'running'") > 0
        goldpan.start("worker")
        if was_in_hand:  # else the jobs ended between the look and the kill: another try
            KILLS["worker on Redis and PostgreSQL"] += 1
            return
    raise AssertionError("ten kills, and never was a job in hand")


def test_no_job_is_lost_when_workers_die_and_the_broker_forgets_everything(
        install: Install, postgres: Postgres, redis: Redis) -> None:
    goldpan: KillableInstallation = install(DATABASE_URL=postgres.url, GOLDPAN_BROKER=redis.url)
    projects = [goldpan.inside("add_project", name=f"Project {n}") for n in range(N_PROJECTS)]
    jobs = goldpan.inside("queue_imports", projects=projects, n_files=N_FILES, n=N_ROWS)
    goldpan.start("worker", "tick")
    kill_while_it_works(goldpan)
    wait_until(lambda: n_ended(goldpan) >= 2, "the next job's end")
    redis.kill()
    KILLS["Redis with its data"] += 1
    assert n_ended(goldpan) < len(jobs) - 5, "Redis died too late to matter"
    redis.start()
    after = n_ended(goldpan) + 3
    wait_until(lambda: n_ended(goldpan) >= after, "the jobs whose wake-ups were lost")
    kill_while_it_works(goldpan)
    kill_while_it_works(goldpan)
    assert [goldpan.wait_for(job).state for job in jobs] == ["succeeded"] * len(jobs)
    n_rows = N_PROJECTS * N_FILES * N_ROWS
    assert goldpan.count("labeling_example") == goldpan.count("labeling_annotation") == n_rows
    assert goldpan.count("projects_auditevent WHERE what = 'import'") == len(jobs)
    goldpan.assert_all_is_well()
    goldpan.stop()
