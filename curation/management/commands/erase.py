from argparse import ArgumentParser
from typing import Any

from curation.services.erasing import NOT_REACHED, erase
from jobs.management.base import GoldpanCommand, add_project, add_worker, project_of, user_of
from labeling.models import Example
from projects.errors import UserError
from projects.rights import can


class Command(GoldpanCommand):
    help = "Erase examples because a person asks: their words go, hashes and lineage stay. It cannot be undone."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--key", action="append", required=True, help="of an example; may be given several times")
        parser.add_argument("--reason", required=True, help="for the record, without the name of whoever asked")
        parser.add_argument("--by", required=True, help="an admin of the project")
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "erase", project):
            raise UserError(f"Only an admin of “{project}” erases its examples.")
        found = {example.key: example for example in Example.objects.filter(project=project, key__in=options["key"])}
        if missing := [key for key in options["key"] if key not in found]:
            raise UserError(f"“{project}” has no example “{missing[0]}”.")
        job = erase(list(found.values()), reason=options["reason"], by=by, wake=options["worker"])
        return {**self.finish(job, on_worker=options["worker"]).result, "not_reached": list(NOT_REACHED)}
