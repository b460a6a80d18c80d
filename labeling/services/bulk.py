"""Inserting many rows at the pace of the database: prepared statements on SQLite, COPY on PostgreSQL.

Django's bulk_create builds a model object and an SQL text per row; for imports that is most of the time. Rows that
need work before they are inserted are staged: put into a table of this connection's own, then moved by one statement,
so that memory stays flat and SQLite keeps its one writer's lock for the move only.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from tempfile import NamedTemporaryFile
from typing import Any

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connection, models

CHUNK = 2000  # rows per round trip; also keeps IN lists within SQLite's limits
STAGING = "goldpan_staged"
Stage = Callable[[Iterable[Sequence[Any]]], object]


def insert_ignoring_conflicts(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Insert rows into the model's table, leave out those that break a unique constraint; return how many were new.

    columns: database column names. rows: values in that order, as the database takes them (JSON as text).
    """
    table, names = connection.ops.quote_name(model._meta.db_table), _names(columns)
    if connection.vendor != "postgresql":
        return _insert(table, columns, rows, "ON CONFLICT DO NOTHING")
    chosen = f"SELECT {names} FROM"
    with _temporary("goldpan_incoming", f"AS {chosen} {table} WITH NO DATA") as incoming:
        _copy(incoming, columns, rows)
        return execute(f"INSERT INTO {table} ({names}) {chosen} {incoming} ON CONFLICT DO NOTHING")


@contextmanager
def staging_table(columns: Mapping[str, str]) -> Iterator[Stage]:
    """Yield what puts rows into a new table named STAGING, which only this connection sees.

    columns: name → type, as PostgreSQL spells it; SQLite keeps any value under any type. A row's values come in that
    order, as the database takes them.
    """
    typed = ", ".join(f"{connection.ops.quote_name(name)} {type}" for name, type in columns.items())
    if connection.vendor == "postgresql":
        with _temporary(STAGING, f"({typed})") as table:
            yield lambda rows: _copy(table, list(columns), rows)
    elif connection.in_atomic_block:  # nothing can be attached within a transaction
        with _temporary(STAGING, f"({typed})") as table:
            yield lambda rows: _insert(table, list(columns), rows)
    else:
        with _attached(STAGING, f"({typed})") as table:
            yield lambda rows: _insert_at_once(table, list(columns), rows)


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


def one_of(values: Sequence[str] | Sequence[int]) -> tuple[str, Any]:
    """SQL for “is one of these”, and its one parameter: Django's `__in` spends 10 µs on each value."""
    if connection.vendor == "postgresql":
        return "= ANY(%s)", list(values)
    return "IN (SELECT value FROM json_each(%s))", json.dumps(values)


def database_time(value: datetime | None) -> Any:
    """A time as the driver of this database wants it, since raw inserts skip Django's conversion."""
    return value and connection.ops.adapt_datetimefield_value(value)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(connection.ops.quote_name, columns))


@contextmanager
def _temporary(table: str, definition: str) -> Iterator[str]:
    execute(f"DROP TABLE IF EXISTS {table}")
    execute(f"CREATE TEMP TABLE {table} {definition}")
    yield table
    execute(f"DROP TABLE {table}")  # after an error it goes with the connection, or with the next one of its name


@contextmanager
def _attached(table: str, definition: str) -> Iterator[str]:
    """A table in a file without a name, attached to this connection: many SQLites keep temporary tables in memory."""
    with NamedTemporaryFile(dir=settings.GOLDPAN_DATA, prefix=".staged-") as file:
        execute("ATTACH DATABASE %s AS staging", [file.name])
        execute("PRAGMA staging.journal_mode = OFF")  # nobody would read it after a crash
        execute("PRAGMA staging.synchronous = OFF")
        execute(f"CREATE TABLE staging.{table} {definition}")
    try:
        yield table
    finally:
        execute("DETACH DATABASE staging")


def _insert_at_once(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert in one deferred transaction, which unlike `atomic` locks no other database than the table's."""
    execute("SAVEPOINT staging")
    try:
        _insert(table, columns, rows)
    finally:
        execute("RELEASE staging")


def _insert(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], on_conflict: str = "") -> int:
    marks = ", ".join(["%s"] * len(columns))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} ({_names(columns)}) VALUES ({marks}) {on_conflict}",  # noqa: S608
                           rows)  # type: ignore[arg-type]  # it takes iterators, whatever the stubs say
        return max(cursor.rowcount, 0)


def _copy(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({_names(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


@models.BigAutoField.register_lookup
@models.CharField.register_lookup
class Among(models.Lookup):
    """`filter(pk__among=ids)`: one of many ids or names as one parameter, where `__in` would spend one on each."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        if not self.rhs:
            raise EmptyResultSet  # which spares the query
        left, parameters = self.process_lhs(compiler, connection)
        among, ids = one_of(sorted(self.rhs))
        return f"{left} {among}", (*parameters, ids)
