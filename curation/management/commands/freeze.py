from argparse import ArgumentParser
from typing import Any

from curation.services.snapshots import start_freeze
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of


class Command(GoldpanCommand):
    help = "Freeze the gold set and the held-out rows into a snapshot."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_freeze(project, by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
