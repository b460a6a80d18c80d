"""Both directions of Label Studio are idempotent, and nothing that was answered is lost."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from jobs.models import Job
from labeling.label_studio import AnnotationOut
from labeling.models import Annotation, Annotator, Example, LabelStudioLink, PushBatch
from labeling.services import sync
from labeling.task_types.classification import to_result
from projects.errors import UserError
from projects.models import Project
from tests.fake_label_studio import FakeLabelStudio

SERVER: list[FakeLabelStudio] = []
RunJobs = Callable[[], None]


def the_server(url: str, token: str) -> FakeLabelStudio:
    return SERVER[0]


def a_token(url: str, email: str, password: str) -> str:
    SERVER[0]._reach()
    return "token"


@pytest.fixture(autouse=True)
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> FakeLabelStudio:
    SERVER[:] = [FakeLabelStudio()]
    settings.GOLDPAN_LABEL_STUDIO_CLIENT = f"{__name__}.the_server"
    settings.GOLDPAN_LABEL_STUDIO_BOOTSTRAP = f"{__name__}.a_token"
    monkeypatch.setattr(sync, "SETTLE_SECONDS", 0.0)
    return SERVER[0]


@pytest.fixture
def examples(project: Project) -> list[Example]:
    return [Example.objects.create(project=project, key=f"e{n}", text=f"text {n}", data={}, content_sha256=f"{n:064x}",
                                   group=str(n), split="pool") for n in range(3)]


def push(project: Project, examples: list[Example], by: User) -> Job:
    return sync.start_push(project, [example.pk for example in examples], by=by)


def pull(project: Project, by: User, run_jobs: RunJobs, *, reconcile: bool = False) -> dict[str, int]:
    job = sync.start_pull(project, by=by, reconcile=reconcile)
    run_jobs()
    job.refresh_from_db()
    assert job.state == Job.State.succeeded, job.error
    return dict(job.result)


def answer(server: FakeLabelStudio, example: Example, annotator: Annotator, label: str) -> int:
    assert annotator.ls_user_id is not None
    return server.answer(task_of(example), to_result(label), annotator.ls_user_id, 7.0)


def task_of(example: Example) -> int:
    example.refresh_from_db()
    assert example.ls_task_id is not None
    return example.ls_task_id


def labels() -> list[Any]:
    return list(Annotation.objects.current().order_by("pk").values_list("value", flat=True))


def test_pushing_twice_makes_one_task_each(
        project: Project, bob: User, examples: list[Example], server: FakeLabelStudio, run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    with pytest.raises(UserError, match="already"):
        push(project, examples, bob)
    assert sorted(task.key or "" for task in server.tasks.values()) == ["e0", "e1", "e2"]
    assert Example.objects.filter(ls_task_id__isnull=False).count() == 3


@pytest.mark.parametrize("switch", ["ambiguous_writes", "lost_writes"])
def test_a_push_whose_answer_got_lost_is_finished_without_doubles(
        switch: str, project: Project, bob: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    sync.link_project(project)
    setattr(server, switch, 1)
    job = push(project, examples, bob)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, PushBatch.objects.get().state) == (Job.State.failed, PushBatch.State.unknown)
    push(project, [], bob)
    run_jobs()
    assert sorted(task.key or "" for task in server.tasks.values()) == ["e0", "e1", "e2"]
    assert PushBatch.objects.get().state == PushBatch.State.confirmed


def test_an_answer_arrives_once_however_often_it_is_pulled(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    annotator = sync.provision_annotator(project, charlie)
    answer(server, examples[0], annotator, "positive")
    assert pull(project, bob, run_jobs)["n_new"] == 1
    assert pull(project, bob, run_jobs)["n_new"] == 0
    assert pull(project, bob, run_jobs, reconcile=True)["n_new"] == 0
    ledger = Annotation.objects.get()
    assert (ledger.value, ledger.annotator, ledger.seconds) == ("positive", annotator, 7.0)


def test_a_changed_answer_is_a_new_row_and_the_last_word_counts(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    annotation = answer(server, examples[0], sync.provision_annotator(project, charlie), "positive")
    pull(project, bob, run_jobs)
    server.change_annotation(task_of(examples[0]), annotation, to_result("negative"))
    assert pull(project, bob, run_jobs)["n_changed"] == 1
    assert Annotation.objects.count() == 2
    assert labels() == ["negative"]


def test_a_deleted_answer_is_retracted_and_stays_in_the_ledger(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    annotation = answer(server, examples[0], sync.provision_annotator(project, charlie), "positive")
    pull(project, bob, run_jobs)
    server.delete_annotation(task_of(examples[0]), annotation)
    assert pull(project, bob, run_jobs)["n_retracted"] == 1
    assert (labels(), Annotation.objects.count()) == ([], 2)


def test_a_malformed_answer_does_not_stop_the_others(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    annotator = sync.provision_annotator(project, charlie)
    answer(server, examples[0], annotator, "no such label")
    answer(server, examples[1], annotator, "neutral")
    assert pull(project, bob, run_jobs)["n_unreadable"] == 1
    assert labels() == ["neutral"]


def test_a_deleted_task_can_be_pushed_again_and_its_answers_stay(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    answer(server, examples[0], sync.provision_annotator(project, charlie), "neutral")
    pull(project, bob, run_jobs)
    server.delete_tasks(LabelStudioLink.objects.get().ls_project_id, [task_of(examples[0])])
    assert pull(project, bob, run_jobs, reconcile=True)["n_missing_there"] == 1
    assert labels() == ["neutral"]
    push(project, examples, bob)
    run_jobs()
    assert len(server.tasks) == 3


def test_an_answer_of_a_deleted_account_is_nobody_elses(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio) -> None:
    Annotator.objects.create(project=project, name="from a file")
    answer_without_user = AnnotationOut(ls_annotation_id=9, ls_user_id=None, result=to_result("neutral"),
                                             was_cancelled=False, seconds=1.0, updated_at=timezone.now())
    assert sync._annotator_of(project, answer_without_user).name == "deleted account"


def test_a_server_that_is_down_is_said_in_words_and_noted_on_the_link(
        project: Project, bob: User, examples: list[Example], server: FakeLabelStudio, run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    server.unavailable = True
    job = sync.start_pull(project, by=bob)
    run_jobs()
    job.refresh_from_db()
    link = LabelStudioLink.objects.get()
    assert (job.state, link.state) == (Job.State.failed, LabelStudioLink.State.unavailable)
    assert job.error and job.error == link.message


def test_an_annotator_is_provisioned_once(project: Project, charlie: User, server: FakeLabelStudio) -> None:
    first, second = (sync.provision_annotator(project, charlie) for _ in range(2))
    assert first == second
    assert len(server.users) == 1
    assert sync.decrypt(first.ls_password_encrypted) == server.passwords[first.ls_email]


def test_the_ledger_refuses_changes_even_by_raw_sql(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    answer(server, examples[0], sync.provision_annotator(project, charlie), "neutral")
    pull(project, bob, run_jobs)
    for statement in ("UPDATE labeling_annotation SET value = '\"positive\"'", "DELETE FROM labeling_annotation"):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert labels() == ["neutral"]


def test_a_lost_webhook_costs_a_delay_not_an_answer(
        project: Project, bob: User, charlie: User, examples: list[Example], server: FakeLabelStudio,
        run_jobs: RunJobs, settings: Any) -> None:
    push(project, examples, bob)
    run_jobs()
    pull(project, bob, run_jobs)
    answer(server, examples[0], sync.provision_annotator(project, charlie), "neutral")
    sync.poll()
    assert not Job.objects.filter(state=Job.State.queued).exists(), "a pull has just been"
    settings.GOLDPAN_POLL_SECONDS = 0
    sync.poll()
    run_jobs()
    assert labels() == ["neutral"]


def test_hints_that_come_together_ask_for_one_pull(
        project: Project, bob: User, examples: list[Example], server: FakeLabelStudio, run_jobs: RunJobs) -> None:
    push(project, examples, bob)
    run_jobs()
    for _ in range(5):
        sync.pull_soon(LabelStudioLink.objects.get())
    assert Job.objects.filter(kind="pull").count() == 1
