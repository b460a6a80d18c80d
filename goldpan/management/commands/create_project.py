from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, user_of
from projects.models import Project
from projects.services import create_project


class Command(GoldpanCommand):
    help = "Create a classification project."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--label", action="append", required=True, metavar="NAME[=DESCRIPTION]",
                            help="once per label, in the order annotators see them")
        parser.add_argument("--instructions", default="", help="what annotators and the prompt are told")
        parser.add_argument("--target", type=float, required=True, help="the share to reach, e.g. 0.8")
        parser.add_argument("--metric", choices=Project.Metric.values, default="accuracy")
        parser.add_argument("--by", required=True, help="the user name of its creator and first admin")

    def work(self, **options: Any) -> dict[str, Any]:
        labels = [dict(zip(("name", "description"), label.split("=", 1), strict=False)) for label in options["label"]]
        project = create_project(
            name=options["name"], labels=labels, instructions=options["instructions"],
            target_metric=options["metric"], target_value=options["target"], created_by=user_of(options["by"]))
        return {"project": project.pk, "name": project.name, "labels": project.labels}
