from argparse import ArgumentParser
from typing import Any

from curation.models import Experiment
from curation.services.experiments import start_experiment
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of


class Command(GoldpanCommand):
    help = "Let one recipe learn from different rows: does the gold set help, or what do corrections bring?"

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--kind", choices=Experiment.Kind.values, default=Experiment.Kind.arms.value)
        parser.add_argument("--look-at-test", action="store_true", help="judge on test instead of dev; counted")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_experiment(project, kind=options["kind"], split="test" if options["look_at_test"] else "dev",
                               by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
