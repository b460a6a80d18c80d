from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_project, project_of, user_of
from projects.errors import UserError
from projects.models import Role
from projects.rights import can
from projects.services import add_member


class Command(GoldpanCommand):
    help = "Give a user a role in a project."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("user")
        parser.add_argument("role", choices=Role.values)
        parser.add_argument("--by", required=True, help="an admin of the project")

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "manage_members", project):
            raise UserError(f"Only an admin of “{project}” adds members; {by} is none.")
        membership = add_member(project, user_of(options["user"]), options["role"], by=by)
        return {"user": membership.user.username, "role": membership.role}
