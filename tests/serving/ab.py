"""An A/B test with users that are made up: who gets what, and what they say about it."""

import random
from datetime import datetime, timedelta
from typing import Any

from projects.models import ApiKey, Project
from serving.models import ArmName, Deployment, Experiment, Exposure
from serving.services.deployments import serve
from serving.services.experiments import Asked, start_experiment
from serving.services.exposures import Given, arm_for, expose
from serving.services.feedback import give_feedback
from serving.services.gateway import name_of

ASKED = Asked("thumb", base=0.5, difference=0.3, feedback_rate=1.0, units_a_week=1000)  # n_max comes to 100


def begin_test(project: Project, by: Any, challenger: str = "", **how: Any) -> Experiment:
    """A/A without a challenger."""
    return start_experiment(project, challenger=challenger or "same", is_aa=not challenger, by=by,
                            **{"asked": ASKED, **how})


def after(experiment: Experiment, days: float = 8) -> datetime:
    return experiment.started_at + timedelta(days=days)


def deployment_of(project: Project) -> Deployment:
    return serve(project, "")[1]


def users(experiment: Experiment, key: ApiKey, n: int, *, good: dict[str, float], first: int = 0,
          seed: int = 0) -> list[Given]:
    """n new users, every other one of each arm, each with an answer and a thumb.

    good: the chance of a thumb up in each arm. Arms depend on the test's number, which a database may not count from 1.
    """
    chance, champion = random.Random(seed + first), experiment.champion
    given = []
    for number in range(first, first + n):
        arm = ArmName.values[number % 2]
        name = next(name for k in range(100) if arm_for(experiment, name := f"user {number}, try {k}") == arm)
        one = expose(champion, name)
        assert one is not None and one.exposure.arm == arm
        deployment = experiment.challenger if one.is_challenger else champion
        give_feedback(key, exchange=name_of(deployment, experiment.started_at, one),
                      thumb="up" if chance.random() < good[one.exposure.arm] else "down")
        given.append(one)
    return given


def n_exposed(experiment: Experiment) -> int:
    return Exposure.objects.filter(experiment=experiment).count()
