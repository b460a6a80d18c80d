from argparse import ArgumentParser
from typing import Any

from django.db.models import Exists, OuterRef

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from labeling.models import Batch, BatchItem, Example
from labeling.services.batches import Overlap, create_batch
from labeling.services.desks import annotator_named
from labeling.services.sync import start_sync


class Command(GoldpanCommand):
    help = "Make a batch of examples and put it on the annotators' desks in Label Studio."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--split", choices=Example.Split.values, help="only examples of this split")
        parser.add_argument("--key", action="append", help="only this example; may be repeated")
        parser.add_argument("--limit", type=int, help="at most so many")
        parser.add_argument("--title", default="labels")
        parser.add_argument("--labels", type=int, default=1, help="answers that every example gets")
        parser.add_argument("--overlap-share", type=float, default=0.0, help="share of the examples that get more")
        parser.add_argument("--overlap-labels", type=int, help="answers that those get")
        parser.add_argument("--max-labels", type=int, help="answers at most, where they differ")
        parser.add_argument("--to", action="append", default=[], help="an annotator's name; may be repeated; "
                                                                      "by default everybody who labels here")
        parser.add_argument("--skips", choices=Batch.Skips.values, default=Batch.Skips.next_person)
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, labels = project_of(options["project"]), options["labels"]
        by = user_of(options["by"], project)
        in_batch = BatchItem.objects.filter(example=OuterRef("pk")).exclude(batch__state=Batch.State.closed)
        examples = Example.objects.filter(~Exists(in_batch), project=project).order_by("pk")
        if options["split"]:
            examples = examples.filter(split=options["split"])
        if options["key"]:
            examples = examples.filter(key__in=options["key"])
        more = options["overlap_labels"] or labels
        batch = create_batch(
            project, examples.values_list("pk", flat=True)[:options["limit"]], title=options["title"], by=by,
            overlap=Overlap(labels, options["overlap_share"], more, options["max_labels"] or max(labels, more)),
            annotators=[annotator_named(project, name) for name in options["to"]], skips=options["skips"])
        job = self.finish(start_sync(project, by=by, wake=options["worker"]), on_worker=options["worker"])
        return {"batch": batch.number, "n_examples": batch.items.count(), "n_pushed": job.result["n_handed_out"],
                **job.result}
