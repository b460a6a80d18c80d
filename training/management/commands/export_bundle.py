from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from jobs.management.base import GoldpanCommand
from training.management.base import add_run, run_and_admin
from training.services.bundles import download


class Command(GoldpanCommand):
    help = "Write a run that is trained elsewhere as a tar: data, settings, code, hashes, one command."

    def arguments(self, parser: ArgumentParser) -> None:
        add_run(parser)
        parser.add_argument("--to", type=Path, default=Path(), metavar="FOLDER", help="where; here if left out")

    def work(self, **options: Any) -> dict[str, Any]:
        run, by = run_and_admin(options)
        name, content = download(run, by=by)
        path = options["to"] / name
        path.write_bytes(content)
        return {"file": str(path), "bytes": len(content)}

    def say(self, result: dict[str, Any]) -> str:
        return f"{result['file']} ({result['bytes'] >> 10:,} KB). Unpack it there; its README.md says the rest."
