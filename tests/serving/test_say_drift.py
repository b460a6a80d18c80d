"""The command that says where things stand."""

import json

import pytest
from django.core.management import call_command

from serving.models import Look
from tests.serving.watched import World

pytestmark = pytest.mark.django_db


def test_the_command_says_so_and_ends_with_1_once_the_alarm_has_rung(champion, backend, project, key, monkeypatch,
                                                                    capsys):
    world = World(project, key[0])
    call_command("drift", "Moods", "--json")
    assert json.loads(capsys.readouterr().out)["words"] == "Nothing is watched yet."
    monkeypatch.setattr("django.utils.timezone.now", world.clock)
    world.begin().week(0, n=40, accuracy=0.3)
    assert Look.objects.filter(kind="regular").get().count.level == "alarm"
    with pytest.raises(SystemExit) as ended:
        call_command("drift", "Moods")
    assert ended.value.code == 1 and "Alarm in week 1" in capsys.readouterr().out
