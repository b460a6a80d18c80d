"""Inserting many rows at the pace of the database: prepared statements on SQLite, COPY on PostgreSQL.

Django's bulk_create builds a model object and an SQL text per row; for imports that is most of the time. Rows that
need work before they are inserted are staged: put into a temporary table, then moved by one statement, so that SQLite
keeps its one writer's lock for the move only.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, models

CHUNK = 2000  # rows per round trip; also keeps IN lists within SQLite's limits
STAGING = "goldpan_staged"
Stage = Callable[[Iterable[Sequence[Any]]], None]


@contextmanager
def staging_table(columns: Mapping[str, str]) -> Iterator[Stage]:
    """Yield what puts rows into a new temporary table named STAGING, which only this connection sees.

    columns: name → type, as PostgreSQL spells it; SQLite keeps any value under any type. A row's values come in that
    order, as the database takes them.
    """
    names = ", ".join(map(connection.ops.quote_name, columns))
    typed = ", ".join(f"{connection.ops.quote_name(name)} {type}" for name, type in columns.items())
    execute(f"DROP TABLE IF EXISTS {STAGING}")
    execute(f"CREATE TEMP TABLE {STAGING} ({typed})")

    def stage(rows: Iterable[Sequence[Any]]) -> None:
        with connection.cursor() as cursor:
            _add(cursor, STAGING, names, len(columns), rows)

    yield stage
    execute(f"DROP TABLE {STAGING}")  # after an error it goes with the connection, or with the next one of that name


def execute(sql: str, parameters: Sequence[Any] = ()) -> int:
    """Run one statement and return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return max(cursor.rowcount, 0)


def query(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows that a statement finds."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def one_of(values: Sequence[str]) -> tuple[str, Any]:
    """SQL for “is one of these”, and its one parameter: Django's `__in` spends 10 µs on each value."""
    if connection.vendor == "postgresql":
        return "= ANY(%s)", list(values)
    return "IN (SELECT value FROM json_each(%s))", json.dumps(values)


def _add(cursor: Any, table: str, names: str, n_columns: int, rows: Iterable[Sequence[Any]]) -> None:
    if connection.vendor == "postgresql":
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        marks = ", ".join(["%s"] * n_columns)
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608  # names of ours


def insert_ignoring_conflicts(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Insert rows into the model's table, leave out those that break a unique constraint; return how many were new.

    columns: database column names. rows: values in that order, as the database takes them (JSON as text).
    """
    table = connection.ops.quote_name(model._meta.db_table)
    names = ", ".join(connection.ops.quote_name(column) for column in columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return _copy(cursor, table, names, rows)
        marks = ", ".join(["%s"] * len(columns))
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608
                           rows)  # type: ignore[arg-type]  # it takes iterators, whatever the stubs say
        return max(cursor.rowcount, 0)


def database_time(value: datetime | None) -> Any:
    """A time as the driver of this database wants it, since raw inserts skip Django's conversion."""
    return value and connection.ops.adapt_datetimefield_value(value)


def _copy(cursor: Any, table: str, names: str, rows: Iterable[Sequence[Any]]) -> int:
    cursor.execute("CREATE TEMP TABLE IF NOT EXISTS goldpan_incoming AS "
                   f"SELECT {names} FROM {table} WITH NO DATA")  # noqa: S608
    try:
        with cursor.copy(f"COPY goldpan_incoming ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM goldpan_incoming "  # noqa: S608
                       "ON CONFLICT DO NOTHING")
        return int(cursor.rowcount)
    finally:
        cursor.execute("DROP TABLE goldpan_incoming")
