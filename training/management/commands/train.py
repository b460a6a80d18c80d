import json
from argparse import ArgumentParser
from typing import Any

from curation.management.base import add_snapshot, snapshot_of
from jobs.management.base import GoldpanCommand, add_worker, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.config import METHODS
from training.services.quotes import recipe_config
from training.services.runs import start_training


class Command(GoldpanCommand):
    help = ("Train a LoRA adapter, or all weights, on an approved snapshot that has a quote. Its evaluation is queued "
            "when it ends.")

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("--by", required=True, help="an admin of the project")
        parser.add_argument("--recipe", choices=["quick", "balanced", "thorough"], help="the defaults if left out")
        parser.add_argument("--method", choices=list(METHODS), default="lora",
                            help="full: all weights, to compare with; dpo: from preferences")
        parser.add_argument("--config", default="{}", help="JSON: values that differ from the defaults")
        parser.add_argument("--cap-minutes", type=float, help="where it stops; the quote's cap if left out")
        parser.add_argument("--override", default="", metavar="REASON", help="why to train against the gate's advice")
        parser.add_argument("--executor", default="local", help="where: a name that GOLDPAN_EXECUTORS offers")
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "train", project):
            raise UserError(f"Only an admin of “{project}” starts a training run; {by} is none.")
        try:
            config = {"method": options["method"], **json.loads(options["config"])}
        except (TypeError, ValueError) as error:
            raise UserError(f"--config is no JSON: {error}.") from None
        minutes = options["cap_minutes"]
        snapshot = snapshot_of(project, options["snapshot"])
        config = recipe_config(snapshot, options["recipe"], method=config["method"]) | config
        run = start_training(snapshot, by=by, config=config,
                             override_reason=options["override"], executor=options["executor"],
                             cap_seconds=60 * minutes if minutes else None, wake=options["worker"])
        return self.finish(run.job, on_worker=options["worker"]).result
