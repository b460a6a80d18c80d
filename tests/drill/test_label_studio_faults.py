"""What Label Studio, or whoever administrates it, can do to us: each fault, what was lost, and what people read.

The table is printed at the end: `make drill` shows it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drill.conftest import Install
from tests.drill.installation import JobRow, KillableInstallation
from tests.label_studio_fixture import BINARY

pytestmark = [pytest.mark.drill, pytest.mark.labelstudio]

TABLE: list[tuple[str, str, int, str]] = []  # fault, what happened, answers lost, what the curator reads
N_TEXTS = 60


@pytest.fixture(scope="module")
def goldpan(install: Install) -> Iterator[KillableInstallation]:
    if not Path(BINARY).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no Label Studio at {BINARY}; run make setup")
    installation = install(GOLDPAN_POLL_SECONDS="86400")
    installation.start_and_wait("labelstudio", "tick", "worker")
    yield installation
    installation.stop()
    print("\n\nfault | what happened | answers lost | what the curator reads")
    for row in TABLE:
        print(" | ".join(map(str, row)))


@pytest.fixture
def project(goldpan: KillableInstallation, request: pytest.FixtureRequest) -> int:
    """A project of its own with two people at their desks; one has answered five examples, which are in the ledger."""
    project = int(goldpan.inside("add_project", name=request.node.name[5:50]))
    salt = f"p{project}"
    goldpan.inside("add_examples", project=project, n=N_TEXTS, salt=salt, labelled=False)
    goldpan.inside("hire", project=project, names=["erin", "frank"])
    assert goldpan.wait_for(goldpan.inside("ask", project=project, n_labels=1, max_labels=1, open_limit=10)).state == \
        "succeeded"
    for _ in range(5):
        goldpan.inside("answer_one", project=project, name="erin")
        exchange(goldpan, project)
    return project


def exchange(goldpan: KillableInstallation, project: int) -> JobRow:
    return goldpan.wait_for(goldpan.inside("queue_sync", project=project))


def compare(goldpan: KillableInstallation, project: int) -> JobRow:
    return goldpan.wait_for(goldpan.inside("queue_comparison", project=project))


def n_answers(goldpan: KillableInstallation, project: int) -> int:
    return goldpan.count(f"labeling_annotation a JOIN labeling_example e ON e.id = a.example_id "
                         f"WHERE e.project_id = {project} AND NOT a.retracted")


def note(fault: str, happened: str, lost: int, reads: str) -> None:
    TABLE.append((fault, happened, lost, reads))
    assert lost == 0


def test_the_server_is_down_for_long(goldpan: KillableInstallation, project: int) -> None:
    goldpan.inside("answer_one", project=project, name="erin")  # given before the server went, not fetched yet
    goldpan.kill("labelstudio")
    for _ in range(3):  # half an hour is six such rounds of the tick; each fails alike
        failed = exchange(goldpan, project)
        assert failed.state == "failed" and "cannot be reached. Start it" in failed.error
    assert goldpan.inside("desk_of", project=project, name="erin")["state"] == "unavailable"
    goldpan.start_and_wait("labelstudio")
    assert exchange(goldpan, project).result["n_new"] == 1
    assert compare(goldpan, project).result["are_equal"]
    note("server down", "rounds fail, the first one after its return brings what was answered before",
         6 - n_answers(goldpan, project), failed.error)


def test_the_token_is_revoked(goldpan: KillableInstallation, project: int) -> None:
    goldpan.inside("answer_one", project=project, name="erin")
    goldpan.inside("revoke_token")
    assert exchange(goldpan, project).state == "succeeded"
    note("token revoked", "the round that meets it makes a new token and goes on",
         6 - n_answers(goldpan, project), "nothing: it is mended by itself")


def test_a_desk_is_deleted(goldpan: KillableInstallation, project: int) -> None:
    before = goldpan.inside("desk_of", project=project, name="erin")
    goldpan.inside("in_label_studio", method="delete_project", arguments=[before["ls_project_id"]])
    assert exchange(goldpan, project).state == "succeeded"
    after = goldpan.inside("desk_of", project=project, name="erin")
    assert after["ls_project_id"] != before["ls_project_id"] and set(before["tasks"]) <= set(after["tasks"])
    goldpan.inside("answer_one", project=project, name="erin")
    assert exchange(goldpan, project).result["n_new"] == 1
    assert compare(goldpan, project).result["are_equal"]
    note("project deleted there", "a new desk is made, everything unanswered is put on it",
         6 - n_answers(goldpan, project), "nothing: it is mended by itself")


def test_tasks_are_deleted(goldpan: KillableInstallation, project: int) -> None:
    desk = goldpan.inside("desk_of", project=project, name="erin")
    gone = dict(list(desk["tasks"].items())[:4])
    goldpan.inside("in_label_studio", method="delete_tasks", arguments=[desk["ls_project_id"], list(gone.values())])
    compared = compare(goldpan, project)
    assert compared.result["n_missing_there"] == 4 and not compared.result["are_equal"]
    assert compare(goldpan, project).result["are_equal"]
    lying = goldpan.rows(f"SELECT count(*) FROM labeling_batchitem i JOIN labeling_batch b ON b.id = i.batch_id "
                         f"WHERE b.project_id = {project} AND i.n_taken > i.n_wanted")
    assert lying == [(0,)]
    note("tasks deleted there", "the comparison frees them, the same round gives them out again",
         5 - n_answers(goldpan, project), "“4 were deleted there” beside the comparison")


def test_the_labels_change_under_answers(goldpan: KillableInstallation, project: int) -> None:
    goldpan.inside("add_label", project=project, label="mixed")
    for name in ("erin", "frank"):  # the next delivery to a desk brings its page along
        goldpan.inside("answer_one", project=project, name=name)
    assert exchange(goldpan, project).state == "succeeded"
    goldpan.inside("answer_one", project=project, name="erin", label="mixed")
    assert exchange(goldpan, project).result["n_unreadable"] == 0
    note("labels changed under answers", "the page of every desk follows, answers given before stay",
         8 - n_answers(goldpan, project), "nothing")


def test_somebody_else_changes_the_page_there(goldpan: KillableInstallation, project: int) -> None:
    desk = goldpan.inside("desk_of", project=project, name="frank")
    strange = ('<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
               '<Choice value="positive"/><Choice value="strange"/></Choices></View>')
    goldpan.inside("in_label_studio", method="update_config", arguments=[desk["ls_project_id"], strange])
    goldpan.inside("answer_one", project=project, name="frank", label="strange")
    goldpan.inside("answer_one", project=project, name="erin", label="positive")
    assert exchange(goldpan, project).result["n_unreadable"] == 1
    note("page changed by hand there", "an answer that is no label here is left out and counted, the others arrive",
         6 - n_answers(goldpan, project), "“1 answer could not be read” in the job")
