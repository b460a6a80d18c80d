from argparse import ArgumentParser
from typing import Any

from curation.services.scoring import start_score
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of


class Command(GoldpanCommand):
    help = "Embed, find near-duplicates, score every label of the pool, and write a quality report."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_score(project, by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
