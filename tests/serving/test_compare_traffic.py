"""What signals compare with: the test rows at first, then the project's own first requests, so that news is news."""

import pytest

from curation.services.erasing import erase
from jobs.models import Job
from serving.models import Look, SignalReading
from serving.services.drift import drift_of
from serving.services.kept_traffic import compared_words, own_rows
from tests.serving.watched import SYLLABLES, World
from tests.training.story import WORDS

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(champion, backend, project, key, monkeypatch):
    monkeypatch.setattr("stats.shift.MIN_ROWS", 15)  # the project of these tests has few test rows
    world = World(project, key[0])
    monkeypatch.setattr("django.utils.timezone.now", world.clock)
    return world.begin()


def warned(world):
    """Of every regular look the signals that warn."""
    return [set(SignalReading.objects.filter(look=look, is_warning=True).values_list("name", flat=True))
            for look in world.looks()]


def test_test_rows_unlike_traffic_warn_in_the_first_looks_only_and_what_is_new_later_still_warns(world, project):
    def make(label, more=""):
        return " ".join([*("".join(world.random.choice(SYLLABLES, size=3)) for _ in range(6)), more, WORDS[label]])

    for week in range(4):
        world.week(week, n=70, make=make)
    found = warned(world)
    assert found[0] and found[1], "test rows and requests differ for good"
    assert found[2:] == [set(), set()], "nothing has changed since the first weeks"
    assert [look.n_reference for look in world.looks()][2:] == [70, 105]
    assert "test rows, until 60" in compared_words(world.looks()[1])
    assert compared_words(world.looks()[2]) == (
        "Signals compare with the first 70 requests that were drawn at random after promotion, of 04 January to "
        "17 January.")
    assert drift_of(project, now=world.now).compared.startswith("Signals compare with the first 105")
    world.week(4, n=70, labels=False, make=lambda label: make(label, "virtual card frozen in the wallet of my phone"))
    assert "meaning" in warned(world)[4] and "vocabulary" in warned(world)[4]


def test_an_erased_request_is_compared_with_no_more_and_the_first_two_hundred_stay_the_measure(
        world, project, alice, monkeypatch):
    monkeypatch.setattr("serving.services.kept_traffic.MOST_OWN", 50)
    for week in range(2):
        world.week(week, n=50)
    after = world.now.date()
    rows = own_rows(world.deployment, after)
    assert len(rows) == 50 and rows[0].look.number == 1 and all(row.is_uniform for row in rows)
    assert own_rows(world.deployment, Look.objects.get(number=1).since) == []
    Job.objects.filter(state="queued").update(state="cancelled", finished_at=world.now)
    erase([rows[0].example], reason="Somebody asked.", by=alice)
    assert rows[0] not in own_rows(world.deployment, after)
