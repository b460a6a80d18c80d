from argparse import ArgumentParser
from typing import Any

from curation.management.base import snapshot_of
from jobs.management.base import GoldpanCommand, add_worker, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.management.base import add_training, config_of
from training.services.quotes import start_quote


class Command(GoldpanCommand):
    help = "Try a few real steps and say what a training would take: time, memory, money. It trains nothing."

    def arguments(self, parser: ArgumentParser) -> None:
        add_training(parser)
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "train", project):
            raise UserError(f"Only an admin of “{project}” asks for a quote; {by} is none.")
        snapshot = snapshot_of(project, options["snapshot"])
        job = start_quote(snapshot, by=by, config=config_of(snapshot, options), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
