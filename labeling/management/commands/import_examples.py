from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from labeling.models import Upload
from labeling.reading import Mapping
from labeling.services.imports import receive_upload, start_import
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Import a CSV, TSV or JSONL file of examples, or of labels (--kind annotations). All or nothing."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("file", type=Path)
        parser.add_argument("--kind", choices=Upload.Kind.values, default=Upload.Kind.examples)
        for column in ("text", "key", "label", "annotator", "group", "observed-at"):
            parser.add_argument(f"--{column}", metavar="COLUMN", help=f"the column that holds the {column}")
        parser.add_argument("--dry-run", action="store_true", help="check every line, import nothing")
        parser.add_argument("--skip-bad", action="store_true", help="import the good rows, leave the bad ones out")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        by = user_of(options["by"], project)
        columns = {f"{name}_column": options[name] for name in
                   ("text", "key", "label", "annotator", "group", "observed_at") if options[name]}
        try:
            with open(options["file"], "rb") as file:
                upload = receive_upload(project, file, name=options["file"].name, kind=options["kind"], by=by,
                                        mapping=Mapping(**columns) if columns else None)
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
