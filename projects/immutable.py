"""Database triggers that refuse UPDATE and DELETE, so that a trusted row stays as it was even under raw SQL."""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython

_SQLITE = """CREATE TRIGGER {table}_refuses_{verb} BEFORE {VERB} ON {table}
BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed or removed'); END"""
_POSTGRES_FUNCTION = """CREATE OR REPLACE FUNCTION goldpan_refuse_change() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"""
_POSTGRES = """CREATE TRIGGER {table}_refuses_{verb} BEFORE {VERB} ON {table}
FOR EACH ROW EXECUTE FUNCTION goldpan_refuse_change()"""


def forbid_change(*tables: str) -> RunPython:
    """A migration operation: rows of these tables can be inserted and read, nothing else.

    To be said again after an operation that changes such a table: SQLite makes it anew, and its triggers go with it.
    """

    def add(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        postgres = editor.connection.vendor == "postgresql"
        if postgres:
            editor.execute(_POSTGRES_FUNCTION, params=None)
        remove(apps, editor)
        for table in tables:
            for verb in ("update", "delete"):
                statement = (_POSTGRES if postgres else _SQLITE).format(table=table, verb=verb, VERB=verb.upper())
                editor.execute(statement, params=None)

    def remove(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        for table in tables:
            for verb in ("update", "delete"):
                where = f" ON {table}" if editor.connection.vendor == "postgresql" else ""
                editor.execute(f"DROP TRIGGER IF EXISTS {table}_refuses_{verb}{where}")

    return RunPython(add, remove)
