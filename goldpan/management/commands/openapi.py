from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from goldpan.api.joined import openapi_text


class Command(BaseCommand):
    help = "Write the API's description to docs/openapi.json; with --check only say whether it is as it should be."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true")

    def handle(self, *, check: bool, **options: Any) -> None:
        path, text = Path(settings.BASE_DIR) / "docs" / "openapi.json", openapi_text()
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise CommandError("docs/openapi.json is not what the operations say. Run `manage.py openapi`.")
