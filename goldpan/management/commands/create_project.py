from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from jobs.management.base import GoldpanCommand, user_of
from labeling.starters import STARTERS
from projects.errors import UserError
from projects.models import Project
from projects.schema import METRICS
from projects.services import create_project
from projects.strict_json import parse_strict


class Command(GoldpanCommand):
    help = "Create a project: from labels, from a schema in a file, or from a starter."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--type", choices=Project.TaskType.values, help="classification unless a starter says else")
        parser.add_argument("--label", action="append", metavar="NAME[=DESCRIPTION]",
                            help="once per label, in the order annotators see them")
        parser.add_argument("--schema", type=Path, metavar="FILE.json", help="what an answer may be; see docs/files.md")
        parser.add_argument("--starter", choices=[starter.name for starter in STARTERS],
                            help="type, schema and instructions that can be used as they are")
        parser.add_argument("--instructions", help="what annotators and the prompt are told")
        parser.add_argument("--target", type=float, required=True, help="the share to reach, e.g. 0.8")
        parser.add_argument("--metric", choices=sorted(set(METRICS.values())), default="",
                            help="what is judged; it follows from the type")
        parser.add_argument("--by", required=True, help="the user name of its creator and first admin")

    def work(self, **options: Any) -> dict[str, Any]:
        project = create_project(
            name=options["name"], target_metric=options["metric"], target_value=options["target"],
            created_by=user_of(options["by"]), **_asked(options))
        return {"project": project.pk, "name": project.name, "task_type": project.task_type, "labels": project.labels}


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """What is asked in the project: type, schema, instructions."""
    given = [name for name in ("label", "schema", "starter") if options[name]]
    if len(given) > 1:
        raise UserError(f"Give one of --label, --schema and --starter; got --{' and --'.join(given)}.")
    if options["starter"]:
        starter = next(starter for starter in STARTERS if starter.name == options["starter"])
        if options["type"] not in (None, starter.task_type):
            raise UserError(f"“{starter.name}” is of type {starter.task_type}. Leave --type out.")
        instructions = starter.instructions if options["instructions"] is None else options["instructions"]
        return {"task_type": starter.task_type, "schema": starter.schema, "instructions": instructions}
    labels = [dict(zip(("name", "description"), label.split("=", 1), strict=False)) for label in options["label"] or ()]
    return {"task_type": options["type"] or Project.TaskType.classification, "labels": labels or None,
            "schema": _schema(options["schema"]) if options["schema"] else None,
            "instructions": options["instructions"] or ""}


def _schema(path: Path) -> Any:
    try:
        return parse_strict(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
