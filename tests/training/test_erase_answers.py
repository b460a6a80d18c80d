"""What evaluations keep of an erased example: its score, and no word."""

import pytest
from django.conf import settings
from django.urls import reverse

from curation.services.erasing import erase
from goldpan.verification import problems
from jobs.models import Job
from labeling.models import Example
from projects.objects import object_exists, open_object
from tests.training.kinds import KINDS, approved
from tests.training.pairs import compared
from training.models import Evaluation, RedactedPredictions
from training.services.comparison import compare
from training.services.forgetting import erase_answers
from training.services.scoring import predictions_file_of, read_predictions


@pytest.fixture
def runs(alice, bob):
    return compared(approved(KINDS["response"], admin=alice, curator=bob, n_pool=4, n_dev=2, n_test=8), by=bob)


def kept():
    files = []
    for evaluation in Evaluation.objects.all():
        with open_object(settings.GOLDPAN_OBJECTS, predictions_file_of(evaluation)) as file:
            files.append(file.read().decode())
    return files


def test_its_answers_leave_every_evaluation_and_the_figures_stay(runs, alice, client_of, run_jobs):
    snapshot = runs[0].snapshot
    row = snapshot.rows.filter(split="test").select_related("example").first()
    before = {one.pk: (one.predictions_sha256, read_predictions(one)) for one in Evaluation.objects.all()}
    figures = [rival.score for rival in compare(snapshot).rivals]
    erase([row.example], reason="Somebody asked.", by=alice)
    run_jobs()
    assert Job.objects.get(kind="erase").result["n_evaluations"] == 2
    for evaluation in Evaluation.objects.filter(split="test"):
        sha256, said = before[evaluation.pk]
        [old] = [one for one in said if one.key == row.example.key]
        [now] = [one for one in read_predictions(evaluation) if one.key == row.example.key]
        assert (now.gold, now.row_score, now.counts) == ("[erased]", old.row_score, old.counts)
        assert not any(old.gold in file for file in kept())
        assert not object_exists(settings.GOLDPAN_OBJECTS, sha256) and evaluation.predictions_sha256 == sha256
    assert [rival.score for rival in compare(snapshot).rivals] == figures
    assert [one for one in problems() if "Training curve" not in one] == []  # the story's adapter has none
    assert client_of(alice).get(reverse("training:run", args=[runs[0].pk])).status_code == 200
    assert client_of(alice).get(reverse("training:flips", args=[runs[1].pk])).status_code == 200


def test_a_job_that_was_cut_off_does_the_rest_and_nothing_twice(runs, alice, run_jobs, monkeypatch):
    example = Example.objects.filter(split="test").first()
    monkeypatch.setattr("training.services.forgetting.delete_object", lambda *_: None)
    erase([example], reason="Somebody asked.", by=alice)
    run_jobs()
    monkeypatch.undo()
    left = [one.replaces_sha256 for one in RedactedPredictions.objects.all()]
    assert len(left) == 2 and all(object_exists(settings.GOLDPAN_OBJECTS, sha256) for sha256 in left)
    erase_answers(Job.objects.get(kind="erase"), [example])
    assert RedactedPredictions.objects.count() == 2
    assert not any(object_exists(settings.GOLDPAN_OBJECTS, sha256) for sha256 in left)
