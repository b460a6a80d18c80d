from argparse import ArgumentParser
from pathlib import Path
from typing import Any, BinaryIO

from django.contrib.auth.models import User

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from labeling.models import Batch, Upload
from labeling.reading import FORMATS, Mapping
from labeling.services.imports import receive_upload, start_import
from labeling.services.vendors import receive_vendor_answers
from projects.errors import UserError
from projects.models import Project

COLUMNS = ("text", "key", "label", "annotator", "group", "observed_at", "left", "right", "messages", "seconds", "cost")


class Command(GoldpanCommand):
    help = ("Import a file of examples, of labels (--kind annotations), or of a vendor's answers (--batch). All or "
            "nothing.")

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("file", type=Path)
        parser.add_argument("--kind", choices=Upload.Kind.values, default=Upload.Kind.examples)
        parser.add_argument("--batch", type=int, metavar="NUMBER", help="the file is its vendor's answers")
        parser.add_argument("--format", choices=FORMATS, help="told from the file unless given")
        for column in COLUMNS:
            parser.add_argument(f"--{column.replace('_', '-')}", metavar="COLUMN",
                                help=f"the column that holds the {column.replace('_', ' ')}")
        parser.add_argument("--dry-run", action="store_true", help="check every line, import nothing")
        parser.add_argument("--skip-bad", action="store_true", help="import the good rows, leave the bad ones out")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        by = user_of(options["by"], project)
        try:
            with open(options["file"], "rb") as file:
                upload = _receive(project, file, by, options)
        except OSError as error:
            raise UserError(f"{options['file']} cannot be read: {error.strerror}.") from None
        report = {"upload": upload.pk, "n_good": upload.n_good, "n_bad": upload.n_bad, "bad_rows": upload.bad_rows}
        if options["dry_run"]:
            return report
        job = start_import(upload, by=by, skip_bad=options["skip_bad"], wake=options["worker"])
        return {**report, **self.finish(job, on_worker=options["worker"]).result}

    def say(self, result: dict[str, Any]) -> str:
        lines = [f"line {line}: {reason}" for line, reason in result["bad_rows"]]
        checked = f"{result['n_good']:,} rows are good, {result['n_bad']:,} are not."
        if "n_examples" in result:
            checked += f" New: {result['n_examples']:,} examples, {result['n_annotations']:,} labels."
        return "\n".join([*lines, checked])


def _receive(project: Project, file: BinaryIO, by: User, options: dict[str, Any]) -> Upload:
    columns = {f"{name}_column": options[name] for name in COLUMNS if options[name]}
    given: dict[str, Any] = {"name": options["file"].name, "by": by, "format": options["format"],
                             "mapping": Mapping(**columns) if columns else None}
    if options["batch"] is None:
        return receive_upload(project, file, kind=options["kind"], **given)
    batch = Batch.objects.filter(project=project, number=options["batch"]).first()
    if batch is None:
        raise UserError(f"There is no batch {options['batch']} in “{project}”.")
    return receive_vendor_answers(batch, file, **given)
