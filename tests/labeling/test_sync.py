"""Both directions of Label Studio are idempotent, and nothing that was answered is lost."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from jobs import services as jobs
from jobs.models import Job
from labeling.label_studio import AnnotationOut, AuthFailed, TaskIn
from labeling.models import Annotation, Annotator, Assignment, Delivery, Desk
from labeling.services import pulling, sync
from labeling.task_types.classification import to_result
from projects.errors import UserError
from projects.models import Project
from projects.services.sealing import decrypt
from tests.fake_label_studio import FakeLabelStudio
from tests.labeling.conftest import Floor


def test_a_second_round_changes_nothing(floor: Floor, server: FakeLabelStudio) -> None:
    floor.ask(floor.examples(3))
    assert floor.sync()["n_handed_out"] == 3
    assert floor.sync()["n_handed_out"] == 0
    assert sorted(task.key or "" for task in server.tasks.values()) == ["e0", "e1", "e2"]
    assert len(server.projects) == len(server.users) == 1


def test_there_is_nothing_to_exchange_before_somebody_is_asked(project: Project, bob: User) -> None:
    with pytest.raises(UserError, match="Make a batch first"):
        sync.start_sync(project, by=bob)


@pytest.mark.parametrize("switch", ["ambiguous_writes", "lost_writes"])
def test_a_delivery_whose_answer_got_lost_is_finished_without_doubles(
        switch: str, floor: Floor, server: FakeLabelStudio) -> None:
    floor.ask(floor.examples(1, prefix="first"))
    floor.sync()  # the desk is there
    floor.ask(floor.examples(3))
    setattr(server, switch, 1)
    floor.sync(fails=True)
    assert Delivery.objects.last().state == Delivery.State.unknown  # type: ignore[union-attr]
    floor.sync()
    assert sorted(task.key or "" for task in server.tasks.values()) == ["e0", "e1", "e2", "first0"]
    assert not Delivery.objects.exclude(state=Delivery.State.confirmed).exists()
    assert len(floor.desk("charlie")) == 4


def test_an_answer_arrives_once_however_often_it_is_pulled(floor: Floor) -> None:
    examples = floor.examples(3)
    floor.ask(examples)
    floor.sync()
    floor.answer("charlie", examples[0], "positive")
    assert floor.sync()["n_new"] == 1
    assert floor.sync()["n_new"] == 0
    assert floor.sync(reconcile=True)["n_new"] == 0
    ledger = Annotation.objects.get()
    assert (ledger.value, ledger.annotator.name, ledger.seconds) == ("positive", "charlie", 7.0)
    assert floor.asked(examples[0]) == {"charlie": "answered"}


def test_a_changed_answer_is_a_new_row_and_the_last_word_counts(floor: Floor, server: FakeLabelStudio) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    annotation = floor.answer("charlie", example, "positive")
    floor.sync()
    server.change_annotation(Assignment.objects.get().ls_task_id or 0, annotation, to_result("negative"))
    assert floor.sync()["n_changed"] == 1
    assert (Annotation.objects.count(), floor.labels()) == (2, ["negative"])


def test_a_deleted_answer_is_retracted_and_its_example_is_open_again(floor: Floor, server: FakeLabelStudio) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    annotation = floor.answer("charlie", example, "positive")
    floor.sync()
    server.delete_annotation(Assignment.objects.get().ls_task_id or 0, annotation)
    assert floor.sync()["n_retracted"] == 1
    assert (floor.labels(), Annotation.objects.count()) == ([], 2)
    assert floor.asked(example) == {"charlie": "placed"}


def test_a_malformed_answer_does_not_stop_the_others(floor: Floor) -> None:
    examples = floor.examples(2)
    floor.ask(examples)
    floor.sync()
    floor.answer("charlie", examples[0], "no such label")
    floor.answer("charlie", examples[1], "neutral")
    assert floor.sync()["n_unreadable"] == 1
    assert floor.labels() == ["neutral"]


def test_a_task_deleted_there_is_given_out_again_and_answers_stay(floor: Floor, server: FakeLabelStudio) -> None:
    examples = floor.examples(2)
    floor.ask(examples)
    floor.sync()
    floor.answer("charlie", examples[0])
    floor.sync()
    server.lose_tasks([row.ls_task_id for row in Assignment.objects.all() if row.ls_task_id])
    compared = floor.sync(reconcile=True)
    assert compared["n_missing_there"] == 2
    assert floor.labels() == ["neutral"]
    assert [task.key for task in server.tasks.values()] == [examples[1].key]
    assert floor.sync(reconcile=True)["are_equal"]


def test_a_task_that_is_there_twice_is_removed_and_its_answer_kept(floor: Floor, server: FakeLabelStudio) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    desk = Desk.objects.get()
    [twice] = server.import_tasks(desk.ls_project_id, [TaskIn(key=example.key, data={"text": "t"}, batch="lost")])
    server.answer(twice, to_result("positive"), desk.annotator.ls_user_id or 0, 1.0)
    compared = floor.sync(reconcile=True)
    assert (compared["n_strange"], compared["are_equal"]) == (1, False)
    assert floor.labels() == ["positive"] and twice not in server.tasks
    assert floor.sync(reconcile=True)["are_equal"]


def test_a_desk_deleted_there_is_made_anew(floor: Floor, server: FakeLabelStudio) -> None:
    examples = floor.examples(2)
    floor.ask(examples)
    floor.sync()
    floor.answer("charlie", examples[0])
    floor.sync()
    server.delete_project(Desk.objects.get().ls_project_id)
    floor.sync()
    assert [task.key for task in server.tasks.values()] == [examples[1].key]
    assert Desk.objects.get().state == Desk.State.ok
    assert floor.labels() == ["neutral"]


def test_an_answer_of_a_deleted_account_is_nobody_elses(floor: Floor) -> None:
    floor.ask(floor.examples(1))
    floor.sync()
    nobody = AnnotationOut(ls_annotation_id=9, ls_user_id=None, result=to_result("neutral"), was_cancelled=False,
                           seconds=1.0, updated_at=timezone.now())
    assert pulling._annotator_of(Desk.objects.get(), nobody).name == "deleted account"


def test_a_server_that_is_down_is_said_in_words_and_noted_on_the_desk(floor: Floor, server: FakeLabelStudio) -> None:
    floor.ask(floor.examples(1))
    floor.sync()
    server.unavailable = True
    error = floor.sync(fails=True)["error"]
    desk = Desk.objects.get()
    assert desk.state == Desk.State.unavailable and error == desk.message
    server.unavailable = False
    floor.sync()
    assert Desk.objects.get().state == Desk.State.ok


def test_a_refused_token_is_forgotten_and_the_next_round_makes_another(floor: Floor, server: FakeLabelStudio) -> None:
    floor.ask(floor.examples(1))
    floor.sync()
    server.auth_fails = True
    assert "refused" in floor.sync(fails=True)["error"]
    server.auth_fails = False
    assert floor.sync()["n_handed_out"] == 0


def test_a_revoked_token_is_replaced_within_the_round(floor: Floor, server: FakeLabelStudio,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    floor.answer("charlie", example)
    pull_changes, calls = server.pull_changes, []

    def refuse_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise AuthFailed("Label Studio refused the access token.")
        return pull_changes(*arguments)

    monkeypatch.setattr(server, "pull_changes", refuse_once)
    assert floor.sync()["n_new"] == 1 and floor.labels() == ["neutral"]


def test_an_account_is_one_per_person_and_its_password_is_kept_encrypted(floor: Floor, server: FakeLabelStudio) -> None:
    floor.ask(floor.examples(1))
    floor.sync()
    annotator = Annotator.objects.get(name="charlie")
    assert decrypt(annotator.ls_password_encrypted) == server.passwords[annotator.ls_email]


def test_the_ledger_refuses_changes_even_by_raw_sql(floor: Floor) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    floor.answer("charlie", example)
    floor.sync()
    for statement in ("UPDATE labeling_annotation SET value = '\"positive\"'", "DELETE FROM labeling_annotation"):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert floor.labels() == ["neutral"]


def test_a_lost_webhook_costs_a_delay_not_an_answer(floor: Floor, settings: Any) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    floor.answer("charlie", example)
    sync.poll()
    assert not Job.objects.filter(state=Job.State.queued).exists(), "a round has just been"
    settings.GOLDPAN_POLL_SECONDS = 0
    for _ in range(3):
        sync.poll()
    assert Job.objects.filter(state=Job.State.queued).count() == 1
    floor.run_jobs()
    assert floor.labels() == ["neutral"]


def test_hints_that_come_together_ask_for_one_round(floor: Floor) -> None:
    floor.ask(floor.examples(1))
    floor.sync()
    n_before = Job.objects.filter(kind="sync").count()
    for _ in range(5):
        sync.sync_soon(Desk.objects.get())
    assert Job.objects.filter(kind="sync").count() == n_before + 1


def test_only_the_desks_that_hinted_are_asked(floor: Floor, server: FakeLabelStudio,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    floor.hire("erin")
    examples = floor.examples(4)
    floor.ask(examples, n=2)
    floor.sync()
    floor.sync()
    floor.answer("erin", examples[0])
    asked: list[int] = []
    pull_changes = server.pull_changes

    def note(ls_project_id: int, since: Any) -> Any:
        asked.append(ls_project_id)
        return pull_changes(ls_project_id, since)

    monkeypatch.setattr(server, "pull_changes", note)
    desk = Desk.objects.get(annotator__name="erin")
    Desk.objects.update(pulled_at=timezone.now() - timedelta(seconds=1))
    sync.sync_soon(desk)
    Job.objects.filter(state=Job.State.queued).update(run_after=timezone.now())
    floor.run_jobs()
    assert asked == [desk.ls_project_id] and floor.labels() == ["neutral"]


def test_a_changed_guideline_reaches_the_desks_and_new_answers_carry_its_version(
        floor: Floor, server: FakeLabelStudio) -> None:
    examples = floor.examples(2)
    floor.ask(examples)
    floor.sync()
    floor.answer("charlie", examples[0])
    Project.objects.update(instructions="Say the mood, not the topic.", instructions_version=2)
    floor.project.refresh_from_db()
    floor.sync()
    assert "not the topic" in next(iter(server.projects.values())).label_config
    floor.answer("charlie", examples[1])
    floor.sync()
    assert list(Annotation.objects.order_by("pk").values_list("instructions_version", flat=True)) == [1, 2]


def test_what_was_read_once_is_not_read_again(floor: Floor, server: FakeLabelStudio,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    examples = floor.examples(3)
    floor.ask(examples)
    floor.sync()
    for example in examples[:2]:
        floor.answer("charlie", example)
    now = server.clock()
    monkeypatch.setattr(server, "clock", lambda: now + pulling.MARGIN + timedelta(seconds=1))
    assert floor.sync()["n_tasks"] == 3
    server._now = now + timedelta(hours=1)
    floor.answer("charlie", examples[2])
    assert floor.sync()["n_tasks"] == 1


def test_a_row_committed_later_than_its_stamp_is_still_read(floor: Floor, server: FakeLabelStudio) -> None:
    examples = floor.examples(2)
    floor.ask(examples)
    floor.sync()
    floor.answer("charlie", examples[0])
    stamp = server.clock()
    floor.sync()
    floor.answer("charlie", examples[1])
    assignment = Assignment.objects.get(example=examples[1])
    server.tasks[assignment.ls_task_id or 0].updated_at = stamp
    assert floor.sync()["n_new"] == 1


def test_a_round_where_little_changed_asks_little(floor: Floor,
                                                  django_assert_max_num_queries: Any) -> None:
    """Neither the people nor the examples that are done cost a round anything."""
    people = [person.username for person in floor.hire(*(f"person{n}" for n in range(8)))]
    examples = floor.examples(24)
    floor.ask(examples, n=2, at_most=3)
    for _ in range(4):
        floor.sync()
        for assignment in Assignment.objects.filter(state=Assignment.State.placed).select_related("annotator"):
            floor.answer(assignment.annotator.name, assignment.example)
    floor.sync()
    assert len(floor.labels()) == 48 and people
    Desk.objects.update(pulled_at=timezone.now())
    job = sync.start_sync(floor.project, by=None, wake=False)
    with django_assert_max_num_queries(40):
        jobs.run(job.pk)
