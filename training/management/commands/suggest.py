from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from training.services.suggestions import start_suggest


class Command(GoldpanCommand):
    help = "Let the best model so far suggest labels, to prefill on people's desks."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_suggest(project, by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result

    def say(self, result: dict[str, Any]) -> str:
        if not result["n_asked"]:
            return f"Every example that may have a suggestion has one by {result['by']} already."
        left = f" {result['n_left']:,} in open batches are left: run it again." if result["n_left"] else ""
        return f"{result['by']} suggests a label for {result['n']:,} of {result['n_asked']:,} examples.{left}"
