from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from curation.services.outdated import outdated
from jobs.management.base import GoldpanCommand, add_by, add_project, project_of, user_of
from labeling.models import Desk
from labeling.services.sync import start_sync
from projects.errors import UserError
from projects.services import publish_guideline


class Command(GoldpanCommand):
    help = "Make a text the project's guideline; say which labels' rules it changes, and they are looked at again."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("file", type=Path, help="the whole guideline, a text file in UTF-8")
        parser.add_argument("--note", required=True, help="what changed and why")
        parser.add_argument("--changes", action="append", default=[], metavar="LABEL",
                            help="a label whose rule changed; may be said several times")
        parser.add_argument("--changes-all", action="store_true", help="every rule changed")
        parser.add_argument("--seen", type=int, help="the version it was written from; the current one if left out")
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        try:
            text = options["file"].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{options['file']} cannot be read as UTF-8 text: {error}.") from None
        by = user_of(options["by"], project)
        guideline = publish_guideline(
            project, text=text, note=options["note"], by=by, changed_labels=options["changes"],
            changes_all=options["changes_all"], seen=options["seen"] or project.instructions_version)
        if Desk.objects.filter(project=project).exists():
            start_sync(project, by=by)
        return {"version": guideline.version, "n_outdated": len(outdated(project))}

    def say(self, result: dict[str, Any]) -> str:
        return f"Guideline {result['version']} is published; {result['n_outdated']} examples are to be looked at again."
