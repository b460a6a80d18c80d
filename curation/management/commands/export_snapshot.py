import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from curation.exports import EXPORTS
from curation.management.base import add_snapshot, snapshot_of
from curation.services.exporting import write_export
from jobs.management.base import GoldpanCommand, project_of
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Write a snapshot in one of the formats that others train on."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("file", type=Path, help="the data file; with --folder, or for a format of several files, "
                                                    "a folder that is not there yet")
        parser.add_argument("--format", choices=EXPORTS, default="trl")
        parser.add_argument("--folder", action="store_true",
                            help="with all that stands beside the data: hashes, versions, what was left out and why")
        parser.add_argument("--left-out", action="store_true",
                            help="write a CSV of what is not in the rows, with the reasons, in their place")

    def work(self, **options: Any) -> dict[str, Any]:
        snapshot, target = snapshot_of(project_of(options["project"]), options["snapshot"]), options["file"]
        name = "left-out.csv" if options["left_out"] else EXPORTS[options["format"]].data
        try:
            with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".export-") as temporary:
                folder = write_export(snapshot, options["format"], Path(temporary) / "folder")
                if options["folder"] or not name:
                    if target.exists():
                        raise UserError(f"{target} is there already. Name a folder that is not there yet.")
                    folder.path.rename(target)
                else:
                    shutil.copyfile(folder.path / name, target)
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror}.") from None
        return {"snapshot": snapshot.number, "file": str(target), "n_rows": folder.n, "files": folder.sha256s}
