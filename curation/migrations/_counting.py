"""Triggers that keep curation_examplecount: whatever inserts examples or answers, by whatever statement, is counted.

SQLite counts row by row; PostgreSQL once per statement, or a large import would write its one count a million times. An
answer counts if it is the newest of its annotator on its example and neither skipped nor retracted.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython

_COUNT = "curation_examplecount"
_BACKFILL = """INSERT INTO curation_examplecount (project_id, split, n_examples, n_labels, n_labelled)
SELECT e.project_id, e.split, COUNT(*), COALESCE(SUM(c.n), 0), COUNT(c.n) FROM labeling_example e
LEFT JOIN (SELECT a.example_id, COUNT(*) AS n FROM labeling_annotation a
    WHERE NOT a.skipped AND NOT a.retracted AND NOT EXISTS (SELECT 1 FROM labeling_annotation b
        WHERE b.example_id = a.example_id AND b.annotator_id = a.annotator_id AND b.id > a.id)
    GROUP BY a.example_id) c ON c.example_id = e.id
GROUP BY e.project_id, e.split"""

_SQLITE = {
    "labeling_example_is_counted": """AFTER INSERT ON labeling_example BEGIN
INSERT INTO curation_examplecount (project_id, split, n_examples, n_labels, n_labelled)
VALUES (NEW.project_id, NEW.split, 1, 0, 0)
ON CONFLICT (project_id, split) DO UPDATE SET n_examples = n_examples + 1; END""",
    "labeling_example_is_uncounted": """AFTER DELETE ON labeling_example BEGIN
UPDATE curation_examplecount SET n_examples = n_examples - 1
WHERE project_id = OLD.project_id AND split = OLD.split; END""",
    "labeling_annotation_is_counted": """AFTER INSERT ON labeling_annotation BEGIN
UPDATE curation_examplecount SET n_labels = n_labels + d.delta, n_labelled = n_labelled + d.delta * d.is_alone
FROM (SELECT e.project_id, e.split,
    (NOT NEW.skipped AND NOT NEW.retracted) - COALESCE((
        SELECT NOT a.skipped AND NOT a.retracted FROM labeling_annotation a
        WHERE a.example_id = NEW.example_id AND a.annotator_id = NEW.annotator_id AND a.id < NEW.id
        ORDER BY a.id DESC LIMIT 1), 0) AS delta,
    NOT EXISTS (SELECT 1 FROM labeling_annotation a
        WHERE a.example_id = NEW.example_id AND a.annotator_id <> NEW.annotator_id
        AND NOT a.skipped AND NOT a.retracted AND NOT EXISTS (SELECT 1 FROM labeling_annotation b
            WHERE b.example_id = a.example_id AND b.annotator_id = a.annotator_id AND b.id > a.id)) AS is_alone
    FROM labeling_example e WHERE e.id = NEW.example_id) AS d
WHERE curation_examplecount.project_id = d.project_id AND curation_examplecount.split = d.split; END""",
}

_POSTGRES = {
    "labeling_example_is_counted": ("AFTER INSERT ON labeling_example REFERENCING NEW TABLE AS changed", """
INSERT INTO curation_examplecount AS c (project_id, split, n_examples, n_labels, n_labelled)
SELECT project_id, split, COUNT(*), 0, 0 FROM changed GROUP BY project_id, split ORDER BY project_id, split
ON CONFLICT (project_id, split) DO UPDATE SET n_examples = c.n_examples + EXCLUDED.n_examples;"""),
    "labeling_example_is_uncounted": ("AFTER DELETE ON labeling_example REFERENCING OLD TABLE AS changed", """
UPDATE curation_examplecount c SET n_examples = c.n_examples - d.n
FROM (SELECT project_id, split, COUNT(*) AS n FROM changed GROUP BY project_id, split) d
WHERE c.project_id = d.project_id AND c.split = d.split;"""),
    "labeling_annotation_is_counted": ("AFTER INSERT ON labeling_annotation REFERENCING NEW TABLE AS changed", """
PERFORM 1 FROM curation_examplecount c WHERE c.project_id IN (  -- of two writers the second counts what the first wrote
    SELECT e.project_id FROM changed JOIN labeling_example e ON e.id = changed.example_id) ORDER BY c.id FOR UPDATE;
UPDATE curation_examplecount c SET n_labels = c.n_labels + d.n_labels, n_labelled = c.n_labelled + d.n_labelled
FROM (SELECT e.project_id, e.split, SUM(x.delta) AS n_labels,
        SUM((x.n_now > 0)::int - (x.n_now - x.delta > 0)::int) AS n_labelled
    FROM (SELECT p.example_id, SUM(p.is_now - p.was) AS delta, (
            SELECT COUNT(*) FROM labeling_annotation a WHERE a.example_id = p.example_id
            AND NOT a.skipped AND NOT a.retracted AND NOT EXISTS (SELECT 1 FROM labeling_annotation b
                WHERE b.example_id = a.example_id AND b.annotator_id = a.annotator_id AND b.id > a.id)) AS n_now
        FROM (SELECT t.example_id, (
                SELECT (NOT a.skipped AND NOT a.retracted)::int FROM labeling_annotation a
                WHERE a.example_id = t.example_id AND a.annotator_id = t.annotator_id
                ORDER BY a.id DESC LIMIT 1) AS is_now, COALESCE((
                SELECT (NOT a.skipped AND NOT a.retracted)::int FROM labeling_annotation a
                WHERE a.example_id = t.example_id AND a.annotator_id = t.annotator_id AND a.id < t.first_id
                ORDER BY a.id DESC LIMIT 1), 0) AS was
            FROM (SELECT example_id, annotator_id, MIN(id) AS first_id FROM changed
                GROUP BY example_id, annotator_id) t) p
        GROUP BY p.example_id) x
    JOIN labeling_example e ON e.id = x.example_id GROUP BY e.project_id, e.split) d
WHERE c.project_id = d.project_id AND c.split = d.split;"""),
}


def keep_counts() -> RunPython:
    """A migration operation: count what is there, and from then on what comes.

    To be said again after an operation that changes either table: SQLite makes it anew, and its triggers go with it.
    """

    def add(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        remove(apps, editor)
        editor.execute(f"DELETE FROM {_COUNT}")
        editor.execute(_BACKFILL, params=None)
        if editor.connection.vendor != "postgresql":
            for name, body in _SQLITE.items():
                editor.execute(f"CREATE TRIGGER {name} {body}", params=None)
            return
        for name, (event, body) in _POSTGRES.items():
            editor.execute(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger AS $$ BEGIN {body} RETURN NULL; END $$ "
                           "LANGUAGE plpgsql", params=None)
            editor.execute(f"CREATE TRIGGER {name} {event} FOR EACH STATEMENT EXECUTE FUNCTION {name}()", params=None)

    def remove(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        is_postgres = editor.connection.vendor == "postgresql"
        for name in _SQLITE:
            table = name.rsplit("_is_", 1)[0]
            editor.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {table}" if is_postgres else ""))

    return RunPython(add, remove)
