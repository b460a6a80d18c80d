"""Who is in an A/B test: a unit is a user or a thread, has one arm for all of it, and is counted before it is answered.

1. A request that asks for the champion and names its unit gets the unit's arm, by the hash of the test's own salt.
2. The exposure is committed before the model is asked, so a process that is killed loses none.
3. Whatever becomes of the request, the unit stays in its arm and counts there.
"""

import hashlib
import logging
from dataclasses import dataclass

from django.db import OperationalError

from serving.models import ArmName, Deployment, Experiment, Exposure
from stats.assignment import arm_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """The arm that a unit has. is_first: this request is its first in the test."""

    experiment: Experiment
    exposure: Exposure
    is_first: bool

    @property
    def is_challenger(self) -> bool:
        return self.exposure.arm == ArmName.challenger


def expose(champion: Deployment, unit: str) -> Given | None:
    """Return the arm of a unit that asks for the champion, written down and committed; None while no test runs.

    champion: what serves the project now; if that is no longer the one that the test began with, nobody is exposed.
    A unit that the database has no room for at the moment is served by the champion and not counted.
    """
    experiment = Experiment.objects.filter(
        project=champion.project_id, state=Experiment.State.running, champion=champion).first()
    if experiment is None:
        return None
    try:
        exposure, is_first = Exposure.objects.get_or_create(  # unique: of two first requests at once one is the first
            experiment=experiment, unit_sha256=unit_sha256(experiment, unit),
            defaults={"arm": arm_for(experiment, unit)})
    except OperationalError:
        log.exception("a unit could not be counted in %s, so the champion answers it", experiment)
        return None
    return Given(experiment, exposure, is_first)


def arm_for(experiment: Experiment, unit: str) -> str:
    return arm_of(unit, experiment=str(experiment.pk), salt=experiment.salt, shares=experiment.shares)


def unit_sha256(experiment: Experiment, unit: str) -> str:
    """What is kept of a unit: nobody can tell from it who that was, and in another test it is another."""
    return hashlib.sha256(f"{experiment.salt}:{unit}".encode()).hexdigest()
