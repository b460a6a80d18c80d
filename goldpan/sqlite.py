"""Swaps a newer SQLite in before Django looks: releases up to 3.51.2 can corrupt a WAL with several writers."""

import sqlite3
import sys

FIRST_SOUND_VERSION = (3, 51, 3)


def use_newer_sqlite() -> None:
    """Make `import sqlite3` mean pysqlite3 where the system's SQLite is older than 3.51.3."""
    if sqlite3.sqlite_version_info >= FIRST_SOUND_VERSION:
        return
    try:
        import pysqlite3  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return  # `manage.py doctor` says so
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
