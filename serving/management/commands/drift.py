from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_project, project_of
from serving.services.drift import drift_of


class Command(GoldpanCommand):
    help = "Say whether the accuracy of what serves a project has fallen; exits with 1 if the alarm has rung."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        found = drift_of(project_of(options["project"]))
        return {
            "level": found.level, "words": found.found.words if found.found else "Nothing is watched yet.",
            "floor": found.floor.value if found.floor else None, "takes": found.takes,
            "next_look_on": str(found.next_end) if found.next_end else None,
            "warnings": [one.name for one in found.signals if one.is_warning],
            "proposal": found.proposal.pk if found.proposal and found.proposal.state == "open" else None}

    def say(self, result: dict[str, Any]) -> str:
        return " ".join(filter(None, [result["words"], result["takes"]]))

    def exit_code(self, result: dict[str, Any]) -> int:
        return 1 if result["level"] == "alarm" else 0
