from argparse import ArgumentParser
from typing import Any

from curation.management.base import add_snapshot, snapshot_of
from jobs.management.base import GoldpanCommand, add_by, add_worker, project_of, user_of
from training.services.baseline import start_baseline


class Command(GoldpanCommand):
    help = "Try the prompts and the linear probe on an approved snapshot, and say whether fine-tuning is worth it."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("--arms", nargs="+", metavar="ARM", help="which prompts are tried: zero_shot, defined, "
                            "few_shot, nearest, by_hand-<id>; those that the page ticks if left out")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_baseline(snapshot_of(project, options["snapshot"]), by=user_of(options["by"], project),
                             arms=options["arms"], wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
