from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_project, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.models import Adapter
from training.services.promotion import promote


class Command(GoldpanCommand):
    help = "Make an adapter the project's champion, if the gate allows it or with a written reason."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--adapter", type=int, help="the newest if left out")
        parser.add_argument("--by", required=True, help="an admin of the project")
        parser.add_argument("--override", default="", metavar="REASON", help="why to promote against the gate")

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "promote", project):
            raise UserError(f"Only an admin of “{project}” promotes an adapter; {by} is none.")
        adapters = Adapter.objects.filter(project=project)
        adapter = (adapters.filter(pk=options["adapter"]) if options["adapter"] else adapters).first()
        if adapter is None:
            raise UserError("There is no adapter to promote. Train one first.")
        promote(adapter, by=by, override_reason=options["override"])
        return {"adapter": adapter.pk, "stage": Adapter.Stage.champion}
