from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from curation.exports import EXPORTS
from curation.management.base import add_snapshot, snapshot_of
from curation.services.snapshots import export_snapshot, left_out_of
from jobs.management.base import GoldpanCommand, project_of
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Write a snapshot's rows as JSONL for TRL, JSONL of messages, JSONL of chosen and rejected answers, or CSV."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("file", type=Path)
        parser.add_argument("--format", choices=EXPORTS, default="trl")
        parser.add_argument("--left-out", action="store_true",
                            help="write a CSV of what is not in the rows, with the reasons, in their place")

    def work(self, **options: Any) -> dict[str, Any]:
        snapshot = snapshot_of(project_of(options["project"]), options["snapshot"])
        write = left_out_of if options["left_out"] else export_snapshot
        content = write(snapshot, format=options["format"])
        try:
            options["file"].write_bytes(content)
        except OSError as error:
            raise UserError(f"{options['file']} cannot be written: {error.strerror}.") from None
        return {"snapshot": snapshot.number, "file": str(options["file"]), "bytes": len(content)}
