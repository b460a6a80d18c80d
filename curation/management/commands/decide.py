from argparse import ArgumentParser
from typing import Any

from curation.models import Decision
from curation.services.review import decide, undo
from curation.services.scoring import latest_report
from jobs.management.base import GoldpanCommand, add_by, add_project, project_of, user_of
from labeling.models import Example
from projects.errors import UserError


class Command(GoldpanCommand):
    help = "Decide about one example, or take your last decision back (--undo)."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--key", help="the example's key")
        parser.add_argument("--verdict", choices=[*Decision.SETTLED, Decision.Verdict.discuss])
        parser.add_argument("--label", default="", help="the new label, with --verdict relabel")
        parser.add_argument("--reason", default="")
        parser.add_argument("--undo", action="store_true")
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        by = user_of(options["by"], project)
        if options["undo"]:
            decision = undo(project, by=by)
        else:
            if not options["key"] or not options["verdict"]:
                raise UserError("Give --key and --verdict, or --undo.")
            example = Example.objects.filter(project=project, key=options["key"]).first()
            if example is None:
                raise UserError(f"“{project}” has no example with the key “{options['key']}”.")
            decision = decide(example, verdict=options["verdict"], value=options["label"], reason=options["reason"],
                              by=by, report=latest_report(project))
        return {"decision": decision.pk, "example": decision.example.key, "verdict": decision.verdict,
                "label": decision.value}
