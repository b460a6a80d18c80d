"""A model that serves is watched: looks are drawn, labelled, counted, and the alarm rings when accuracy falls."""

import pytest

from projects.models import Notice
from serving.models import Look, LookCount, TrainingProposal, WatchPlan
from tests.serving.watched import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(champion, backend, project, key, monkeypatch):
    world = World(project, key[0])
    monkeypatch.setattr("django.utils.timezone.now", world.clock)
    return world.begin()


def levels(world):
    return list(LookCount.objects.filter(look__project=world.project, look__kind="regular").order_by(
        "look__number").values_list("level", flat=True))


def told(project, event):
    return Notice.objects.filter(project=project, event=event).count()


def test_a_week_becomes_a_look_that_people_label_and_that_is_counted(world, project):
    world.week(0, labels=False)
    look = Look.objects.get()
    assert (look.n_answered, look.n_kept, look.n_eligible) == (70, 70, 70)
    assert 46 <= look.rows.count() <= 50 and look.rows.filter(is_uniform=True).count() == 35
    assert look.batch is not None and look.batch.items.count() == look.rows.count()
    assert told(project, "look.drawn") == 1 and not LookCount.objects.exists()
    world.label()
    world.tick(7)
    count = LookCount.objects.get()
    assert count.level == "quiet" and count.n_uniform == 35 and count.n_missing == 0
    assert count.share["n"] == 35 and WatchPlan.objects.get().created_by is None
