from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from serving.services.parity import start_replay


class Command(GoldpanCommand):
    help = "Ask the test rows through what serves a project, and say whether it answers as it was evaluated."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_replay(project, by=user_of(options["by"], project), wake=options["worker"])
        return dict(self.finish(job, on_worker=options["worker"]).result)

    def say(self, result: dict[str, Any]) -> str:
        return f"{result['model']} answered {result['n_equal']} of {result['n']} test rows as at the evaluation."

    def exit_code(self, result: dict[str, Any]) -> int:
        return 0 if result["n_equal"] == result["n"] else 1
