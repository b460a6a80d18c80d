"""Comparisons have no classifier: people are weighed by how reliable they show themselves to be."""

import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from curation.models import ExampleScore
from curation.services.scoring import latest_report, start_score
from labeling.models import Annotator
from projects.models import Project
from projects.services import create_project
from tests.curation.conftest import annotate, new_example

RELIABLE, CARELESS = ("ann", "ben"), ("joe", "kit", "lou")
SIDES = ("left", "right")
N = 120


@pytest.fixture
def comparisons(alice: User) -> Project:
    """Left and right are better in turn. Ann and Ben say which; the careless three say anything; three people each."""
    project = create_project(name="Which is better", task_type="preference", schema={"allow_tie": False},
                             instructions="", target_value=0.8, created_by=alice)
    draw = random.Random(1)
    for number in range(N):
        example = new_example(project, f"p{number:03}", "pool", data={"left": f"yes {number}", "right": f"no {number}"})
        for name in draw.sample([*RELIABLE, *CARELESS], 3):
            annotate(example, name, SIDES[number % 2] if name in RELIABLE else draw.choice(SIDES))
    return project


def n_right(project: Project, by: User, run_jobs: Callable[[], None]) -> int:
    """Score; return how many labels of the report are the better side."""
    start_score(project, by=by)
    run_jobs()
    scores = ExampleScore.objects.filter(report=latest_report(project)).order_by("example")
    return sum(score.label == SIDES[number % 2] for number, score in enumerate(scores))


def test_reliable_people_decide_where_careless_ones_outnumber_them(
        comparisons: Project, alice: User, run_jobs: Callable[[], None]) -> None:
    weighed = n_right(comparisons, alice, run_jobs)
    report = latest_report(comparisons)
    assert report is not None and min(report.annotators[name] for name in RELIABLE) > 0.9
    assert max(report.annotators[name] for name in CARELESS) < 0.8
    assert report.scores.filter(reasons__icontains="weighed by how reliable").count() > 5
    Annotator.objects.update(is_person=False)
    assert weighed > n_right(comparisons, alice, run_jobs) + 10


def test_names_that_stand_for_many_people_are_not_weighed(
        comparisons: Project, alice: User, run_jobs: Callable[[], None]) -> None:
    Annotator.objects.update(is_person=False)
    assert n_right(comparisons, alice, run_jobs) < N
    report = latest_report(comparisons)
    assert report is not None and report.annotators == {}
