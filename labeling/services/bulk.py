"""Inserting many rows at the pace of the database: prepared statements on SQLite, COPY on PostgreSQL.

Django's bulk_create builds a model object and an SQL text per row; for imports that is most of the time.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models

CHUNK = 2000  # rows per round trip; also keeps IN lists within SQLite's limits


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
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows)  # noqa: S608
        return max(cursor.rowcount, 0)


def database_time(value: datetime | None) -> Any:
    """A time as the driver of this database wants it, since raw inserts skip Django's conversion."""
    return connection.ops.adapt_datetimefield_value(value)


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
