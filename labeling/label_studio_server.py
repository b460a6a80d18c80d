"""A Label Studio of our own beside the app: in its own virtual environment and process.

1. `prepare` lays a migrated, empty database into the data folder. Migrating takes 40 s, so it is done once per version.
2. `command` gives the argv and the whole environment to start the server with; the caller starts and ends it.
3. `wait_until_up` waits for its first healthy answer.

The cached database has no user. The server makes the admin from its environment when it starts.
"""

import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from labeling.label_studio import is_up

BUILD_SECONDS = 600
DATABASE = "label_studio.sqlite3"
# Label Studio refuses webhooks to private addresses, and ours is one: this is its own list without loopback.
_BANNED_SUBNETS = ("0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16,224.0.0.0/4,"
                   "240.0.0.0/4,fc00::/7,fe80::/10")


class ServerError(Exception):
    """The server could not be prepared or started; the message says what to do."""


def server_version(binary: Path) -> str:
    """Return the version of the Label Studio that `binary` starts. (Asking itself would open its default database.)

    binary: the label-studio program of a virtual environment.
    Raises ServerError if there is none.
    """
    code = "import importlib.metadata as m; print(m.version('label-studio'))"
    try:
        done = subprocess.run([binary.parent / "python", "-c", code], env={}, check=True, capture_output=True,
                              timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerError(f"There is no Label Studio at {binary}. Run make setup.") from error
    return done.stdout.decode().strip()


def template_path(folder: Path, binary: Path) -> Path:
    """Where the cached database of this version lives in `folder`."""
    return folder / f"label-studio-template-{server_version(binary)}.sqlite3"


def prepare(data_dir: Path, template: Path, binary: Path, *, say: Callable[[str], None] = lambda line: None) -> None:
    """Give `data_dir` a database of this version; one that is there already stays (the server migrates it).

    template: the cached database, built here if it is missing; processes that need it at the same time wait.
    say: called with a sentence before the slow part.
    Raises ServerError if the database could not be built.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    database = data_dir / DATABASE
    if database.exists():
        return
    template.parent.mkdir(parents=True, exist_ok=True)
    with template.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            say("Building Label Studio's database; this takes about 40 seconds, once per version.")
            _build(template, binary)
    temporary = database.with_suffix(".tmp")
    shutil.copyfile(template, temporary)
    temporary.chmod(0o600)
    temporary.rename(database)


def _build(template: Path, binary: Path) -> None:
    """Migrate an empty database. Without a name, quiet `init` makes no user, so the copies hold no credentials."""
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        data_dir = Path(folder)
        environment = _environment(data_dir, secret_key=os.urandom(32).hex())
        with (data_dir / "log.txt").open("w") as log:
            done = subprocess.run([binary, "init", "--quiet"], env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=log, timeout=BUILD_SECONDS)
        if done.returncode != 0:
            tail = (data_dir / "log.txt").read_text(errors="replace")[-1000:]
            raise ServerError(f"Label Studio could not build its database (exit code {done.returncode}): {tail}")
        connection = sqlite3.connect(data_dir / DATABASE)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        (data_dir / DATABASE).rename(template)


def command(binary: Path, data_dir: Path, *, port: int, secret_key: str, admin_email: str,
            admin_password: str) -> tuple[list[str], dict[str, str]]:
    """Return (argv, environment) that start the server on 127.0.0.1:port.

    The environment is the whole of it: Label Studio reads even a bare PASSWORD or PORT, so nothing of ours is in it.
    secret_key: signs sessions and tokens; a new one ends them all.
    admin_email, admin_password: of the account that is made at the first start; the password has at least 8 characters.
    Raises ServerError if the port is taken: Label Studio itself would move to the next one without a word.
    """
    if port_is_taken(port):
        raise ServerError(f"Port {port} is taken. End the program that listens there, or choose another port for Label "
                          "Studio.")
    argv = [str(binary), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), "--log-level",
            "WARNING"]
    return argv, _environment(data_dir, secret_key=secret_key) | {
        "LABEL_STUDIO_USERNAME": admin_email, "LABEL_STUDIO_PASSWORD": admin_password}


def _environment(data_dir: Path, *, secret_key: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": str(data_dir),
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir.resolve()),
        "SECRET_KEY": secret_key,
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "false",
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": _BANNED_SUBNETS,
        "LABEL_STUDIO_AZURE_MOUNT_FIX": "1",  # its name for SQLite's write-ahead log
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }


def port_is_taken(port: int) -> bool:
    """Whether anything listens on this port of the loopback address."""
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == 0


def wait_until_up(url: str, process_alive: Callable[[], bool], timeout: float) -> None:
    """Return as soon as the server says that it is well.

    process_alive: whether the process that was started still runs.
    timeout: seconds to wait at most.
    Raises ServerError if the process ended or the time is over.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if is_up(url):
            return
        if not process_alive():
            raise ServerError("Label Studio ended while it was starting. The end of its log says why.")
        time.sleep(0.1)
    raise ServerError(f"Label Studio was not up after {timeout:.0f} seconds. Its log says how far it came.")
