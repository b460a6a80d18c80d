from argparse import ArgumentParser
from typing import Any

from curation.management.base import snapshot_of
from jobs.management.base import GoldpanCommand, add_worker, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.management.base import add_training, config_of
from training.services.runs import start_training


class Command(GoldpanCommand):
    help = ("Train a LoRA adapter, or all weights, on an approved snapshot that has a quote. Its evaluation is queued "
            "when it ends.")

    def arguments(self, parser: ArgumentParser) -> None:
        add_training(parser)
        parser.add_argument("--cap-minutes", type=float, help="where it stops; the quote's cap if left out")
        parser.add_argument("--override", default="", metavar="REASON", help="why to train against the gate's advice")
        parser.add_argument("--executor", default="local", help="where: a name that GOLDPAN_EXECUTORS offers")
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "train", project):
            raise UserError(f"Only an admin of “{project}” starts a training run; {by} is none.")
        minutes = options["cap_minutes"]
        snapshot = snapshot_of(project, options["snapshot"])
        run = start_training(snapshot, by=by, config=config_of(snapshot, options),
                             override_reason=options["override"], executor=options["executor"],
                             cap_seconds=60 * minutes if minutes else None, wake=options["worker"])
        return self.finish(run.job, on_worker=options["worker"]).result
