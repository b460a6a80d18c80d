from argparse import ArgumentParser
from typing import Any

from curation.management.base import add_snapshot, snapshot_of
from curation.services.snapshots import start_roll_back
from jobs.management.base import GoldpanCommand, add_by, add_worker, project_of, user_of


class Command(GoldpanCommand):
    help = "Go back to an earlier snapshot: its rows become the project's newest one, to be approved anew."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_roll_back(snapshot_of(project, options["snapshot"]), by=user_of(options["by"], project),
                              wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
