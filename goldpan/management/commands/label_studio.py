import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from goldpan.supervisor import MARK
from labeling.label_studio_server import ServerError, command, prepare, template_path


class Command(BaseCommand):
    help = "Become the local Label Studio server: prepare its database if there is none, then start it in this process."

    def handle(self, **options: Any) -> None:
        binary, folder = settings.GOLDPAN_LABEL_STUDIO_BINARY, settings.GOLDPAN_DATA / "label-studio"
        try:
            template = template_path(settings.BASE_DIR / "var", binary)
            prepare(folder, template, binary, say=self.stdout.write)
            argv, environment = command(
                binary, folder, port=settings.GOLDPAN_LABEL_STUDIO_PORT,
                secret_key=settings.GOLDPAN_LABEL_STUDIO_SECRET_KEY, admin_email=settings.GOLDPAN_LABEL_STUDIO_EMAIL,
                admin_password=settings.GOLDPAN_LABEL_STUDIO_PASSWORD)
        except ServerError as error:
            raise CommandError(str(error)) from error
        mark = {MARK: os.environ[MARK]} if MARK in os.environ else {}
        os.execve(argv[0], argv, environment | mark)  # noqa: S606
