from argparse import ArgumentParser
from typing import Any

from curation.next_labels import CAP
from curation.services.adaptive import start_next_labels
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of


class Command(GoldpanCommand):
    help = "Choose which examples people label next, one more answer where it settles something, and ask for them."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--n", type=int, default=100, help="labels to ask for; 100 if left out")
        parser.add_argument("--target", type=float, help="the quality from which an example is sure; .9 for classes")
        parser.add_argument("--cap", type=int, default=CAP, help=f"answers an example gets at most; {CAP} if left out")
        parser.add_argument("--dry-run", action="store_true", help="say what would be asked, and ask nobody")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        job = start_next_labels(project, n=options["n"], target=options["target"], cap=options["cap"],
                                is_dry=options["dry_run"], by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result

    def say(self, result: dict[str, Any]) -> str:
        asked = f"Batch {result['number']} asks for them." if "batch" in result else "Nobody is asked."
        return "\n".join([*result["words"], asked])
