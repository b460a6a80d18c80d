import json
from argparse import ArgumentParser
from typing import Any

from curation.management.base import add_snapshot, snapshot_of
from jobs.management.base import GoldpanCommand, add_worker, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.config import METHODS
from training.services.quotes import recipe_config, start_quote


class Command(GoldpanCommand):
    help = "Try a few real steps and say what a training would take: time, memory, money. It trains nothing."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("--by", required=True, help="an admin of the project")
        parser.add_argument("--recipe", choices=["quick", "balanced", "thorough"], help="the defaults if left out")
        parser.add_argument("--method", choices=list(METHODS), default="lora",
                            help="full: all weights, to compare with; dpo: from preferences")
        parser.add_argument("--config", default="{}", help="JSON: values that differ from the defaults")
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "train", project):
            raise UserError(f"Only an admin of “{project}” asks for a quote; {by} is none.")
        try:
            config = {"method": options["method"], **json.loads(options["config"])}
        except (TypeError, ValueError) as error:
            raise UserError(f"--config is no JSON: {error}.") from None
        snapshot = snapshot_of(project, options["snapshot"])
        config = recipe_config(snapshot, options["recipe"], method=config["method"]) | config
        job = start_quote(snapshot, by=by, config=config, wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
