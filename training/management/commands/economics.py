import json
from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.forms import EconomicsForm
from training.models import Verdict
from training.services.economics import economics_of, save_economics


class Command(GoldpanCommand):
    help = "Say what answers are worth and cost in a project, and print how its newest verdict weighs with that."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--say", default="{}", help="JSON: fields of the economics page, shares in per cent")
        parser.add_argument("--by", required=True, help="a curator or admin of the project")

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "say_economics", project):
            raise UserError(f"Only a curator or an admin of “{project}” says what answers are worth; {by} is neither.")
        try:
            given = dict(json.loads(options["say"]))
        except ValueError as error:
            raise UserError(f"--say is no JSON object: {error}.") from None
        known = EconomicsForm(instance=economics_of(project))
        if unknown := sorted(set(given) - set(known.fields)):
            raise UserError(f"There is no {', '.join(unknown)}; there are {', '.join(known.fields)}.")
        if given:
            form = EconomicsForm({**known.initial, **given}, instance=economics_of(project))
            if not form.is_valid():
                raise UserError(" ".join(f"{name}: {' '.join(map(str, wrong))}" for name, wrong in form.errors.items()))
            save_economics(project, form.cleaned_data, by=by)
        verdict = Verdict.objects.filter(snapshot__project=project).order_by("-pk").first()
        weighing = verdict.weighing if verdict else None
        return {"said": {name: value for name, value in EconomicsForm(instance=economics_of(project)).initial.items()
                         if value is not None},
                "advice": weighing.outcome if weighing else None, "words": weighing.words if weighing else [],
                "next_step": weighing.next_step if weighing else "", **(weighing.found if weighing else {})}
