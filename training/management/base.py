from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User

from jobs.management.base import project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.models import Run


def add_run(parser: ArgumentParser) -> None:
    parser.add_argument("project", help="the project's name or number")
    parser.add_argument("run", type=int, help="the run's number")
    parser.add_argument("--by", required=True, help="an admin of the project")


def run_and_admin(options: dict[str, Any]) -> tuple[Run, User]:
    """The run and the person. Raises UserError unless the run is the project's and the person its admin."""
    project, by = project_of(options["project"]), user_of(options["by"])
    if not can(by, "train", project):
        raise UserError(f"Only an admin of “{project}” takes runs out and brings results in; {by} is none.")
    run = Run.objects.filter(snapshot__project=project, pk=options["run"]).first()
    if run is None:
        raise UserError(f"“{project}” has no run {options['run']}.")
    return run, by
