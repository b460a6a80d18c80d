from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from projects.errors import UserError
from training.models import Run
from training.services.comparison import compare
from training.services.evaluation import queue_evaluation


class Command(GoldpanCommand):
    help = "Evaluate a trained run on the test rows, once, and compare it with the best prompt."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--run", type=int, help="the newest LoRA run if left out")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        runs = Run.objects.filter(snapshot__project=project, kind__in=Run.TRAINED, adapter__isnull=False)
        run = (runs.filter(pk=options["run"]) if options["run"] else runs).first()
        if run is None:
            raise UserError("There is no trained run to evaluate. Train one first.")
        job = queue_evaluation(run, by=user_of(options["by"], project), wake=options["worker"])
        result = self.finish(job, on_worker=options["worker"]).result
        return {**result, "headline": compare(run.snapshot).headline}
