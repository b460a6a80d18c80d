from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from labeling.models import Example
from labeling.services.sync import start_push


class Command(GoldpanCommand):
    help = "Send examples to Label Studio; those that are there already are left alone."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--split", choices=Example.Split.values, help="only examples of this split")
        parser.add_argument("--key", action="append", help="only this example; may be repeated")
        parser.add_argument("--limit", type=int, help="at most so many")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        examples = Example.objects.filter(project=project, ls_task_id__isnull=True).order_by("pk")
        if options["split"]:
            examples = examples.filter(split=options["split"])
        if options["key"]:
            examples = examples.filter(key__in=options["key"])
        ids = list(examples.values_list("pk", flat=True)[:options["limit"]])
        job = start_push(project, ids, by=user_of(options["by"], project), wake=options["worker"])
        return self.finish(job, on_worker=options["worker"]).result
