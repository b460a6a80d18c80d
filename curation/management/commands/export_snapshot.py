from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from curation.management.base import add_snapshot, snapshot_of
from curation.services.snapshots import EXPORTS, export_snapshot
from jobs.management.base import GoldpanCommand, project_of
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Write a snapshot's rows as TRL prompt/completion JSONL or as CSV."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("file", type=Path)
        parser.add_argument("--format", choices=EXPORTS, default="trl")

    def work(self, **options: Any) -> dict[str, Any]:
        snapshot = snapshot_of(project_of(options["project"]), options["snapshot"])
        content = export_snapshot(snapshot, format=options["format"])
        try:
            options["file"].write_bytes(content)
        except OSError as error:
            raise UserError(f"{options['file']} cannot be written: {error.strerror}.") from None
        return {"snapshot": snapshot.number, "file": str(options["file"]), "bytes": len(content)}
