import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User

from curation.management.base import add_snapshot
from curation.models import Snapshot
from jobs.management.base import project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.config import METHODS
from training.models import Run
from training.services.quotes import recipe_config


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


def add_training(parser: ArgumentParser) -> None:
    """What says how a snapshot is trained on, and who asks."""
    add_snapshot(parser)
    parser.add_argument("--by", required=True, help="an admin of the project")
    parser.add_argument("--recipe", choices=["quick", "balanced", "thorough"], help="the defaults if left out")
    parser.add_argument("--method", choices=list(METHODS), default="lora",
                        help="full: all weights, to compare with; dpo: from preferences")
    parser.add_argument("--config", default="{}", help="JSON: values that differ from the defaults")


def config_of(snapshot: Snapshot, options: dict[str, Any]) -> dict[str, Any]:
    try:
        config = {"method": options["method"], **json.loads(options["config"])}
    except (TypeError, ValueError) as error:
        raise UserError(f"--config is no JSON: {error}.") from None
    return recipe_config(snapshot, options["recipe"], method=config["method"]) | config
