from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from curation.services.importing import receive_snapshot
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Import a snapshot file, which proves itself by its hashes."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("file", type=Path, help="as `export_snapshot --format snapshot` wrote it")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        try:
            with options["file"].open("rb") as file:
                job = receive_snapshot(project, file, name=options["file"].name,
                                       by=user_of(options["by"], project), wake=options["worker"])
        except OSError as error:
            raise UserError(f"{options['file']} cannot be read: {error.strerror}.") from None
        return self.finish(job, on_worker=options["worker"]).result
