"""Database triggers that refuse UPDATE and DELETE, so that a trusted row stays as it was even under raw SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Blanking:
    """The one change that a table allows: `columns` lose their content, while `condition` holds of the row.

    columns: name → the SQL values that it may get. condition: SQL about OLD, the row as it is.
    inside: name of a JSON column → path to the one part of it that may become another; all around it stays.
    """

    columns: Mapping[str, Sequence[str]]
    condition: str
    inside: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def allows(self, unchanged: str, *, postgres: bool) -> str:
        """SQL that says whether an UPDATE is this change. unchanged: SQL that says that all other columns stay."""
        blanked = [f"(NEW.{name} = OLD.{name} OR NEW.{name} IN ({', '.join(values)}))"
                   for name, values in self.columns.items()]
        without = "({row}.{name} #- '{{{path}}}')" if postgres else "json_remove({row}.{name}, '$.{path}')"
        around = [" = ".join(without.format(row=row, name=name, path=("," if postgres else ".").join(path))
                             for row in ("NEW", "OLD")) for name, path in self.inside.items()]
        return " AND ".join([self.condition, *blanked, *around, unchanged])


_SQLITE_BUT = """CREATE TRIGGER {table}_refuses_update BEFORE UPDATE{of} ON {table} WHEN NOT COALESCE({allowed}, 0)
BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed or removed'); END"""
_POSTGRES_FUNCTION_BUT = """CREATE OR REPLACE FUNCTION {table}_refuse_change() RETURNS trigger AS $$
BEGIN
  IF {allowed} THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME;
END $$ LANGUAGE plpgsql"""
_POSTGRES_BUT = """CREATE TRIGGER {table}_refuses_update BEFORE UPDATE{of} ON {table}
FOR EACH ROW EXECUTE FUNCTION {table}_refuse_change()"""


def forbid_change_but(table: str, blanking: Blanking, *, of: Sequence[str] = ()) -> RunPython:
    """A migration operation: like `forbid_change`, but for one change, which `blanking` says.

    of: the columns that are guarded, all of them if left out. To be said again after a column was added or changed.
    """
    forbid = forbid_change(table)

    def add(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
        forbid.code(apps, editor)
        postgres = editor.connection.vendor == "postgresql"
        editor.execute(f"DROP TRIGGER {table}_refuses_update" + (f" ON {table}" if postgres else ""))
        with editor.connection.cursor() as cursor:
            columns = [column.name for column in editor.connection.introspection.get_table_description(cursor, table)]
        same = "IS NOT DISTINCT FROM" if postgres else "IS"
        guarded = [name for name in columns if name not in blanking.columns and name not in blanking.inside]
        allowed = blanking.allows(" AND ".join(f'NEW."{name}" {same} OLD."{name}"' for name in guarded),
                                  postgres=postgres)
        values = {"table": table, "allowed": allowed, "of": f" OF {', '.join(of)}" if of else ""}
        for statement in (_POSTGRES_FUNCTION_BUT, _POSTGRES_BUT) if postgres else (_SQLITE_BUT,):
            editor.execute(statement.format(**values), params=None)

    return RunPython(add, forbid.reverse_code)
