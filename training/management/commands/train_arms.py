import json
from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from curation.models import Experiment
from jobs.management.base import GoldpanCommand, add_project, add_worker, project_of, user_of
from projects.errors import UserError
from projects.rights import can
from training.services.arms import MIN_SEEDS, default_steps, plan_of, start_arms


class Command(GoldpanCommand):
    help = "Let the small language model learn the arms of an experiment with LoRA, and compare them."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--by", required=True, help="an admin of the project")
        parser.add_argument("--experiment", type=int, help="its number; the newest if left out")
        parser.add_argument("--arms", nargs="+", metavar="NAME", help="two or more by name; all if left out")
        parser.add_argument("--seeds", type=int, default=MIN_SEEDS, help=f"trainings of each arm, at least {MIN_SEEDS}")
        budget = parser.add_mutually_exclusive_group()
        budget.add_argument("--steps", type=int, help="optimiser steps of every training; if left out, as many as read "
                                                      "the largest arm once")
        budget.add_argument("--passes", type=int, help="passes over each arm's own rows instead of equal steps")
        parser.add_argument("--config", default="{}", help="JSON: values that differ from the defaults")
        add_worker(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project, by = project_of(options["project"]), user_of(options["by"])
        if not can(by, "train", project):
            raise UserError(f"Only an admin of “{project}” starts a training run; {by} is none.")
        experiment = _experiment_of(project.pk, options["experiment"])
        arms = list(experiment.arms.all())
        names = options["arms"] or [arm.name for arm in arms]
        if unknown := sorted(set(names) - {arm.name for arm in arms}):
            raise UserError(f"{experiment} has no arm “{unknown[0]}”. It has: {', '.join(arm.name for arm in arms)}.")
        try:
            config = dict(json.loads(options["config"]))
        except (ValueError, TypeError) as error:
            raise UserError(f"--config is no JSON object: {error}.") from None
        if options["passes"] is not None:
            config["epochs"] = options["passes"]
        chosen = [arm for arm in arms if arm.name in names]
        plan = plan_of(experiment, positions=[arm.position for arm in chosen], n_seeds=options["seeds"],
                       steps=options["steps"], config=config)
        if options["passes"] is None and options["steps"] is None:
            plan = replace(plan, steps=default_steps(chosen, plan.config.batch_size))
        training = start_arms(experiment, plan, by=by, wake=options["worker"])
        return self.finish(training.job, on_worker=options["worker"]).result

    def say(self, result: dict[str, Any]) -> str:
        return "\n".join(result.get("words", []))


def _experiment_of(project_id: int, pk: int | None) -> Experiment:
    found = Experiment.objects.filter(project=project_id)
    experiment = found.filter(pk=pk).first() if pk else found.first()
    if experiment is None:
        raise UserError(f"There is no experiment {pk}." if pk else "There is no experiment yet. Run one first.")
    return experiment
