"""Who gets which example: exactly as many people as were asked for, nobody twice, and nothing lies for ever."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Desk, LabelingRules, Suggestion
from labeling.services.batches import Overlap, create_batch, progress_of, set_batch_state
from labeling.services.desks import annotator_of, may_answer
from labeling.services.set_aside import leave_settled
from labeling.services.trust import pause
from projects.errors import UserError
from projects.models import Project
from tests.fake_label_studio import FakeLabelStudio
from tests.labeling.conftest import Floor


def n_asked(floor: Floor) -> list[int]:
    """How many people each example was given to, in the examples' order."""
    return [len(floor.asked(item.example)) for item in BatchItem.objects.order_by("example").select_related("example")]


def answer_everything(floor: Floor, *names: str, label: str = "neutral") -> None:
    for name in names:
        for assignment in floor.desk(name):
            floor.answer(name, assignment.example, label)


def expire() -> None:
    Assignment.objects.open().update(expires_at=timezone.now() - timedelta(hours=1))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_example_goes_to_exactly_as_many_people_as_asked_for(n: int, floor: Floor) -> None:
    floor.hire("erin", "frank", "grace")
    floor.ask(floor.examples(12), n=n)
    floor.sync()
    assert n_asked(floor) == [n] * 12
    answer_everything(floor, "charlie", "erin", "frank", "grace")
    floor.sync()
    assert len(floor.labels()) == 12 * n


def test_two_rounds_at_once_cannot_ask_one_person_too_many(floor: Floor) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    item = BatchItem.objects.get()
    with pytest.raises(IntegrityError, match="never_more_labels_than_wanted"), transaction.atomic():
        BatchItem.objects.filter(pk=item.pk).update(n_taken=2)
    with pytest.raises(IntegrityError), transaction.atomic():
        Assignment.objects.create(example=example, annotator=Annotator.objects.get(), item=item,
                                  expires_at=timezone.now())


def test_a_desk_holds_no_more_than_its_limit_and_is_filled_again(floor: Floor) -> None:
    LabelingRules.objects.create(project=floor.project, open_limit=5)
    floor.ask(floor.examples(12))
    floor.sync()
    assert len(floor.desk("charlie")) == 5
    answer_everything(floor, "charlie")
    floor.sync()
    assert len(floor.desk("charlie")) == 5
    answer_everything(floor, "charlie")
    floor.sync()
    assert len(floor.desk("charlie")) == 2


def test_a_daily_limit_ends_the_day(floor: Floor) -> None:
    annotator_of(floor.project, User.objects.get(username="charlie"))
    Annotator.objects.update(daily_limit=3)
    floor.ask(floor.examples(9))
    floor.sync()
    assert len(floor.desk("charlie")) == 3
    answer_everything(floor, "charlie")
    floor.sync()
    assert floor.desk("charlie") == []


def test_what_nobody_answers_in_time_goes_to_somebody_else(floor: Floor, server: FakeLabelStudio) -> None:
    example, = floor.examples(1)
    batch = floor.ask([example])
    floor.sync()
    floor.hire("erin")
    pause(Annotator.objects.get(name="charlie"), because="on holiday", by=floor.curator)  # so that erin is next
    expire()
    assert floor.sync()["n_freed"] == 1
    assert floor.asked(example) == {"charlie": "expired", "erin": "placed"}
    assert [task.ls_project_id for task in server.tasks.values()] == [
        Desk.objects.get(annotator__name="erin").ls_project_id]
    assert progress_of(batch).n_open == 1


def test_an_answer_at_the_last_moment_stays_and_nobody_else_is_asked(floor: Floor) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    floor.answer("charlie", example)
    expire()
    floor.sync()
    assert floor.asked(example) == {"charlie": "answered"} and floor.labels() == ["neutral"]


def test_the_door_refuses_an_answer_whose_time_is_over(floor: Floor) -> None:
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    assignment, desk = Assignment.objects.get(), Desk.objects.get()
    assert may_answer(desk, assignment.ls_task_id or 0) == ""
    expire()
    assert "time for this example is over" in may_answer(desk, assignment.ls_task_id or 0)
    assert "not on your desk" in may_answer(desk, 10_000)


def test_where_people_differ_one_more_is_asked_up_to_the_cap(floor: Floor) -> None:
    floor.hire("erin", "frank", "grace")
    agreed, disputed = floor.examples(2)
    floor.ask([agreed, disputed], n=2, at_most=3)
    floor.sync()
    for example in (agreed, disputed):
        first, second = (name for name, state in floor.asked(example).items() if state == "placed")
        floor.answer(first, example, "neutral")
        floor.answer(second, example, "neutral" if example == agreed else "positive")
    floor.sync()
    assert (len(floor.asked(agreed)), len(floor.asked(disputed))) == (2, 3)
    third, = (name for name, state in floor.asked(disputed).items() if state == "placed")
    floor.answer(third, disputed, "negative")
    floor.sync()
    assert len(floor.asked(disputed)) == 3, "three ways apart, and three is the cap"


def test_held_out_examples_get_three_answers_whatever_the_batch_says(floor: Floor) -> None:
    floor.hire("erin", "frank", "grace")
    floor.ask(floor.examples(2, split="test"), n=1)
    floor.sync()
    assert n_asked(floor) == [3, 3]


def test_a_share_of_the_examples_is_labelled_more_often(project: Project, bob: User, floor: Floor) -> None:
    batch = create_batch(project, [example.pk for example in floor.examples(200)], title="t", by=bob,
                         overlap=Overlap(1, 0.25, 3, 3))
    wanted = sorted(batch.items.values_list("n_wanted", flat=True))
    assert set(wanted) == {1, 3} and 30 <= wanted.count(3) <= 70


def test_a_skipped_example_goes_to_somebody_else_and_not_back(floor: Floor) -> None:
    floor.hire("erin")
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    first, = floor.asked(example)
    floor.answer(first, example, skips=True)
    floor.sync()
    other = "erin" if first == "charlie" else "charlie"
    assert floor.asked(example) == {first: "skipped", other: "placed"}


def test_a_skipped_example_can_wait_for_a_curator_instead(floor: Floor) -> None:
    floor.hire("erin")
    example, = floor.examples(1)
    batch = floor.ask([example], skips=Batch.Skips.set_aside)
    floor.sync()
    floor.answer(next(iter(floor.asked(example))), example, skips=True)
    floor.sync()
    assert len(floor.asked(example)) == 1 and progress_of(batch).n_set_aside == 1


def test_named_people_are_asked_and_nobody_else(floor: Floor, bob: User) -> None:
    floor.hire("erin")
    floor.ask(floor.examples(3), annotators=[annotator_of(floor.project, bob)])
    floor.sync()
    assert len(floor.desk("bob")) == 3 and not floor.desk("charlie") and not floor.desk("erin")


def test_a_curator_is_asked_only_by_name(floor: Floor, bob: User) -> None:
    annotator_of(floor.project, bob)
    floor.ask(floor.examples(3))
    floor.sync()
    assert not floor.desk("bob") and len(floor.desk("charlie")) == 3


def test_somebody_who_said_something_about_an_example_is_not_asked_again(floor: Floor) -> None:
    example, = floor.examples(1)
    charlie = annotator_of(floor.project, User.objects.get(username="charlie"))
    Annotation.objects.create(example=example, annotator=charlie, value="neutral", source="file",
                              instructions_version=1, created_at=timezone.now())
    floor.ask([example])
    assert floor.sync()["n_starved"] == 1
    assert floor.asked(example) == {}


def test_a_closed_batch_is_taken_back_and_cannot_be_opened(floor: Floor, bob: User, server: FakeLabelStudio) -> None:
    batch = floor.ask(floor.examples(3))
    floor.sync()
    set_batch_state(batch, Batch.State.closed, by=bob)
    expire()
    floor.sync()
    assert server.tasks == {} and floor.desk("charlie") == []
    with pytest.raises(UserError, match="closed"):
        set_batch_state(batch, Batch.State.open, by=bob)


def test_a_paused_batch_gives_nothing_more(floor: Floor, bob: User) -> None:
    batch = floor.ask(floor.examples(3))
    set_batch_state(batch, Batch.State.paused, by=bob)
    assert floor.sync()["n_handed_out"] == 0
    set_batch_state(batch, Batch.State.open, by=bob)
    assert floor.sync()["n_handed_out"] == 3


def test_an_example_is_in_one_open_batch_only(floor: Floor) -> None:
    examples = floor.examples(3)
    floor.ask(examples[:2])
    assert floor.ask(examples).items.count() == 1
    with pytest.raises(UserError, match="in an open batch already"):
        floor.ask(examples)


def test_an_overlap_that_contradicts_itself_is_refused(floor: Floor) -> None:
    with pytest.raises(UserError, match="no smaller than what all get"):
        create_batch(floor.project, [1], title="t", by=floor.curator, overlap=Overlap(3, 0.1, 2, 5))


def test_suggestions_are_prefilled_but_for_a_hidden_share_and_never_on_held_out_examples(
        floor: Floor, server: FakeLabelStudio) -> None:
    LabelingRules.objects.create(project=floor.project, shows_suggestions=True, hidden_share=0.5, open_limit=200)
    pool, test = floor.examples(60), floor.examples(3, split="test", prefix="t")
    for example in [*pool, *test]:
        Suggestion.objects.create(example=example, value="positive", by="probe")
    floor.ask([*pool, *test])
    floor.sync()
    shown = {task.key for task in server.tasks.values() if task.prediction}
    assert 15 <= len(shown) <= 45 and all(str(key).startswith("e") for key in shown)
    on_record = Assignment.objects.filter(shows_suggestion=True).values_list("example__key", flat=True)
    assert set(on_record) == shown
    assert Assignment.objects.filter(suggestion__isnull=False).count() == 60


def test_a_set_aside_example_that_a_curator_settles_waits_no_longer(floor: Floor, bob: User) -> None:
    example, = floor.examples(1)
    batch = floor.ask([example], skips=Batch.Skips.set_aside)
    floor.sync()
    floor.answer("charlie", example, skips=True)
    floor.sync()
    leave_settled(example)
    progress = progress_of(batch)
    assert (progress.n_set_aside, progress.n_wanted, progress.n_done) == (0, 0, 1)
