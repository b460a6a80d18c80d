from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from jobs.management.base import GoldpanCommand, add_worker
from projects.errors import UserError
from training.management.base import add_run, run_and_admin
from training.services.bundles import import_result


class Command(GoldpanCommand):
    help = "Bring in the result of a run that was trained elsewhere, and evaluate it."

    def arguments(self, parser: ArgumentParser) -> None:
        add_run(parser)
        parser.add_argument("folder", type=Path, help="the folder result/ that run.py left")
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        run, by = run_and_admin(options)
        if not options["folder"].is_dir():
            raise UserError(f"{options['folder']} is no folder. Name the folder result/ that run.py left.")
        adapter, evaluation = import_result(run, options["folder"], by=by, wake=options["worker"])
        return {"adapter": adapter.pk, **self.finish(evaluation, on_worker=options["worker"]).result}
