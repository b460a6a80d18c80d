from argparse import ArgumentParser
from typing import Any

from curation.models import GoldSet
from curation.services.gold_sets import gold_set_of, preview, rule_of, save_rule
from jobs.management.base import GoldpanCommand, add_by, add_project, project_of, user_of


class Command(GoldpanCommand):
    help = "Show what the gold set's rule picks now; options change the rule first."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--size", type=int)
        parser.add_argument("--min-quality", type=float)
        parser.add_argument("--min-per-label", type=int)
        parser.add_argument("--allow-flagged", action="store_true", default=None)
        parser.add_argument("--seed", type=int)
        parser.add_argument("--method", choices=GoldSet.Method.values)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        gold_set = gold_set_of(project)
        names = ("size", "min_quality", "min_per_label", "allow_flagged", "seed", "method")
        if any(options[name] is not None for name in names):
            values = {name: getattr(gold_set, name) if options[name] is None else options[name] for name in names}
            save_rule(gold_set, by=user_of(options["by"], project), **values)
        chosen = preview(project, rule_of(gold_set))
        return {"n": chosen.n, "labels": chosen.selection.quota, "left_out": chosen.left_out,
                "coverage": chosen.coverage, "coverage_at_random": chosen.arm_coverage}
