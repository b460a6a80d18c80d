import sys
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from goldpan.supervisor import serve
from projects.errors import UserError


class Command(BaseCommand):
    help = "Serve: Label Studio, web, worker and tick under one supervisor, until Ctrl-C."

    def handle(self, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        try:
            sys.exit(serve(story="addresses --stay"))
        except UserError as error:
            raise CommandError(str(error)) from error
