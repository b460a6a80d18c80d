from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, project_of, user_of
from labeling.models import Batch
from labeling.services.vendors import export_batch
from labeling.vendor_files import FORMATS
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Write what a batch still asks of its vendor, as JSONL or as CSV."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("batch", type=int, metavar="NUMBER")
        parser.add_argument("file", type=Path)
        parser.add_argument("--format", choices=FORMATS, default="jsonl")
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        batch = Batch.objects.filter(project=project, number=options["batch"]).first()
        if batch is None:
            raise UserError(f"There is no batch {options['batch']} in “{project}”.")
        content = export_batch(batch, options["format"], by=user_of(options["by"], project))
        try:
            options["file"].write_bytes(content)
        except OSError as error:
            raise UserError(f"{options['file']} cannot be written: {error.strerror}.") from None
        return {"batch": batch.number, "file": str(options["file"]), "bytes": len(content)}
