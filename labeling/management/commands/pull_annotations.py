from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from labeling.services.sync import start_sync


class Command(GoldpanCommand):
    help = "Fetch new answers from Label Studio into the ledger, and fill the desks again."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--reconcile", action="store_true", help="read everything again and compare both sides")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_sync(project, by=user_of(options["by"], project), reconcile=options["reconcile"],
                         wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
