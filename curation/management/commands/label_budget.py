from argparse import ArgumentParser
from typing import Any

from curation.services.forecasts import start_forecast
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of


class Command(GoldpanCommand):
    help = "Foretell how many labels more the target may take, in hours and in money."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_forecast(project, by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
