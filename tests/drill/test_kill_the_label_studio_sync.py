"""kill -9 of the worker, and of Label Studio itself, while texts go there and answers come back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drill.conftest import Install
from tests.drill.installation import JobRow, KillableInstallation
from tests.label_studio_fixture import BINARY

pytestmark = [pytest.mark.drill, pytest.mark.labelstudio]

N_TEXTS, N_ANSWERS = 2400, 100
PUTTING = "Putting examples on desks"


@pytest.fixture(scope="module")
def goldpan(install: Install) -> Iterator[KillableInstallation]:
    if not Path(BINARY).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no Label Studio at {BINARY}; run make setup")
    installation = install()
    installation.start_and_wait("labelstudio", "tick", "worker")
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def project(goldpan: KillableInstallation) -> int:
    project = int(goldpan.inside("add_project", name="Synced"))
    goldpan.inside("add_examples", project=project, n=N_TEXTS, salt="s", labelled=False)
    return project


def tried_again_to_its_end(goldpan: KillableInstallation, job: int) -> JobRow:
    """A job that lost Label Studio says so and ends; run again it succeeds."""
    ended = goldpan.wait_for(job)
    if ended.state == "failed":
        assert "Label Studio at http://localhost" in ended.error
        goldpan.inside("retry", job=job)
        ended = goldpan.wait_for(job)
    return ended


def test_every_text_becomes_one_task(goldpan: KillableInstallation, project: int) -> None:
    job = goldpan.inside("queue_batch", project=project)
    goldpan.kill_in_the_middle("worker", job, lambda row: row.stage == PUTTING)
    goldpan.start("worker")
    goldpan.kill_in_the_middle("labelstudio", job, lambda row: row.stage == PUTTING and row.done >= 500)
    goldpan.start_and_wait("labelstudio")
    assert tried_again_to_its_end(goldpan, job).state == "succeeded"
    there = goldpan.inside("tasks_in_label_studio", project=project)
    assert sorted(key for key, _ in there) == sorted(goldpan.inside("keys_of_the_pool", project=project))
    assert goldpan.inside("tasks_here", project=project) == there
    goldpan.assert_all_is_well()


def test_every_answer_arrives_once(goldpan: KillableInstallation, project: int) -> None:
    goldpan.inside("answer_in_label_studio", project=project, n=N_ANSWERS)
    job = goldpan.inside("queue_sync", project=project)
    goldpan.kill_in_the_middle("worker", job, lambda row: row.stage.startswith("Fetching"))
    goldpan.start("worker")
    goldpan.kill_in_the_middle("labelstudio", job, lambda row: row.stage.startswith("Fetching"))
    goldpan.start_and_wait("labelstudio")
    assert tried_again_to_its_end(goldpan, job).state == "succeeded"
    again = goldpan.wait_for(goldpan.inside("queue_sync", project=project))
    assert again.state == "succeeded" and again.result["n_new"] == again.result["n_changed"] == 0
    assert goldpan.count("labeling_annotation WHERE source = 'label_studio'") == N_ANSWERS
    assert len(goldpan.rows("SELECT DISTINCT example_id, annotator_id FROM labeling_annotation")) == N_ANSWERS
    goldpan.assert_all_is_well()
