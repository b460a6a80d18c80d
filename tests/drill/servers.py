"""Throwaway PostgreSQL and Redis, from Debian's packages: data in a temporary folder, a free port, no services."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import redis

from tests.installation import free_port

UP_SECONDS = 60


class Postgres:
    """A PostgreSQL server on data of its own. `url` is what DATABASE_URL takes."""

    def __init__(self) -> None:
        # It refuses to run as root, and another user cannot look into root's temporary folders.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="goldpan-postgres-"))
        self.port = free_port()
        self.url = f"postgres://goldpan@127.0.0.1:{self.port}/postgres"
        if self._user:
            shutil.chown(self.folder, self._user, self._user)
        self._run("initdb", "--pgdata", str(self.folder / "data"), "--username", "goldpan", "--auth", "trust",
                  "--encoding", "UTF8", "--locale", "C.UTF-8").wait(UP_SECONDS)
        self.start()

    def start(self) -> None:
        self.process = self._run("postgres", "-D", str(self.folder / "data"), "-p", str(self.port),
                                 "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1")
        wait_until(self._answers, "PostgreSQL")

    def kill(self) -> None:
        """kill -9 of the server and all its processes, as if the power had gone."""
        server = psutil.Process(self.process.pid)
        server.suspend()  # else it forks meanwhile, and whom nobody knows keeps the memory that the next one wants
        family = [server, *server.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family[1:], timeout=10)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(UP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen([_newest(program), *arguments], user=self._user, group=self._user, cwd="/",
                                    extra_groups=[] if self._user else None, stdout=log, stderr=log,
                                    start_new_session=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Redis:
    """A Redis server that keeps nothing on the disk: when it is killed, its data are gone."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="goldpan-redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self.start()

    def start(self) -> None:
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                 "--save", "", "--appendonly", "no"], stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, "Redis")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


def _newest(program: str) -> str:
    """Debian keeps PostgreSQL's programs out of the PATH, in a folder per version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: float(path.parts[4]))
    return str(found[-1]) if found else program


def wait_until(is_so: Callable[[], object], what: str, seconds: float = UP_SECONDS) -> None:
    """Return as soon as it is so. Raises TimeoutError naming `what` if it never is."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {seconds:.0f} seconds")
        time.sleep(0.05)
