"""An empty, migrated SQLite database that tests copy: a minute's migrations are applied once, not in every process.

It is kept in var/ under the hash of what made it: every migration of ours, and the versions of Django and allauth.
"""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent


def template_database(folder: Path = ROOT / "var") -> Path:
    """Return the template; the first caller builds it, and processes that need it at the same time wait."""
    made_of = sha256(f"{version('django')} {version('django-allauth')}".encode())
    for path in sorted(ROOT.glob("*/migrations/*.py")):
        made_of.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    template = folder / f"tests-template-{made_of.hexdigest()[:16]}.sqlite3"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            for old in folder.glob("tests-template-*.sqlite3"):
                old.unlink()
            _build(template)
    return template


def copy_into_memory(name: str) -> sqlite3.Connection:
    """Fill the shared in-memory database of this name; it lives until the last connection to it is closed."""
    memory = sqlite3.connect(name, uri=True)
    template = sqlite3.connect(f"file:{template_database()}?mode=ro", uri=True)
    template.backup(memory)
    template.close()
    return memory


def copy_to_file(path: Path) -> None:
    shutil.copyfile(template_database(), path)


def _build(template: Path) -> None:
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        done = subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, text=True,
                              env=kept | {"GOLDPAN_DATA": folder}, capture_output=True)
        assert done.returncode == 0, done.stderr[-3000:]
        database = Path(folder) / "goldpan.sqlite3"
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=DELETE")  # one file, whole; whoever opens a copy sets a mode of its own
        connection.close()
        database.rename(template)
