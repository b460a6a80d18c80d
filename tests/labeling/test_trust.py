"""Known answers: who is paused and who is not, the entry exam, and what happens when somebody goes on."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, BatchItem, KnownAnswer, LabelingRules
from labeling.services.batches import rules_of, set_batch_state
from labeling.services.desks import annotator_of
from labeling.services.trust import (
    add_known_answer,
    is_right,
    let_pass,
    look_at_known_answers,
    pause,
    results,
    resume,
    retire_known_answer,
)
from projects.errors import UserError
from projects.models import AuditEvent
from tests.labeling.conftest import Floor

HONEYPOT, EXAM = Assignment.Purpose.honeypot, Assignment.Purpose.exam


@pytest.fixture
def known(floor):
    """Forty examples whose answer is “neutral”."""
    return [add_known_answer(example, "neutral", by=floor.curator) for example in floor.examples(40, prefix="known")]


@pytest.fixture
def charlie_(floor, charlie):
    return Annotator.objects.create(project=floor.project, name="charlie", user=charlie)


def grade(annotator, known, said, purpose=HONEYPOT):
    """The annotator has answered these known examples so; None is a skip. One a minute, the last just now."""
    for number, (one, value) in enumerate(zip(known, said, strict=True)):
        at = timezone.now() - timedelta(minutes=len(said) - number)
        Assignment.objects.create(
            example=one.example, annotator=annotator, purpose=purpose, expected=one.value, ended_at=at, expires_at=at,
            state="skipped" if value is None else "answered")
        Annotation.objects.create(example=one.example, annotator=annotator, value=value, skipped=value is None,
                                  source="label_studio", instructions_version=1, created_at=at)


def rules(floor, **values):
    return LabelingRules.objects.update_or_create(project=floor.project, defaults=values)[0]


def audited(floor, what):
    return AuditEvent.objects.filter(project=floor.project, what=what).count()


# What a known answer is

@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_held_out_example_is_never_a_known_answer(floor, split):
    example, = floor.examples(1, split=split)
    with pytest.raises(UserError, match=f"held out for {split}"):
        add_known_answer(example, "neutral", by=floor.curator)


def test_a_known_answer_is_one_that_the_project_can_have(floor):
    example, = floor.examples(1)
    with pytest.raises(UserError):
        add_known_answer(example, "no such label", by=floor.curator)
    assert not KnownAnswer.objects.exists()


@pytest.mark.parametrize("kind", ["response", "chat"])
def test_free_words_have_no_known_answer(floor, kind):
    floor.project.task_type = kind
    example, = floor.examples(1)
    with pytest.raises(UserError, match="free words"):
        add_known_answer(example, "Thank you for your message.", by=floor.curator)


@pytest.mark.parametrize(("said", "known", "kind", "right"), [
    ("neutral", "neutral", "classification", True), ("positive", "neutral", "classification", False),
    ("left", "left", "preference", True), ("tie", "left", "preference", False),
    (["a", "b"], ["b", "a"], "multilabel", True), (["a"], ["a", "b"], "multilabel", False),
    ([{"start": 0, "end": 4, "label": "who"}], [{"start": 0, "end": 4, "label": "who"}], "spans", True),
    ([{"start": 0, "end": 4, "label": "who"}], [{"start": 9, "end": 12, "label": "who"}], "spans", False)])
def test_right_is_what_tells_the_same(said, known, kind, right):
    assert is_right(said, known, kind) is right


def test_an_answer_that_is_put_right_is_put_right_for_those_who_gave_it_before(floor, known, charlie_):
    grade(charlie_, known[:3], ["positive", "neutral", "neutral"])
    assert results(charlie_, HONEYPOT).rights == [False, True, True]
    add_known_answer(known[0].example, "positive", by=floor.curator)
    assert results(charlie_, HONEYPOT).rights == [True, True, True]


def test_a_retired_answer_grades_nobody_and_is_given_to_nobody(floor, known, charlie_):
    grade(charlie_, known[:3], ["positive", "neutral", "neutral"])
    retire_known_answer(known[0], by=floor.curator)
    assert results(charlie_, HONEYPOT).rights == [True, True]
    assert audited(floor, "retire_known_answer") == 1


def test_a_skipped_honeypot_says_nothing_and_a_skipped_exam_example_is_not_right(known, charlie_):
    grade(charlie_, known[:2], [None, "neutral"])
    grade(charlie_, known[2:4], [None, "neutral"], EXAM)
    assert results(charlie_, HONEYPOT).rights == [True]
    assert results(charlie_, EXAM).rights == [False, True]


def test_an_answer_changed_afterwards_counts_as_it_is_now(known, charlie_):
    grade(charlie_, known[:1], ["positive"])
    Annotation.objects.create(example=known[0].example, annotator=charlie_, value="neutral", source="label_studio",
                              instructions_version=1, created_at=timezone.now())
    assert results(charlie_, HONEYPOT).rights == [True]


# Honeypots

def test_honeypots_are_mixed_in_as_often_as_the_rules_say_and_nobody_gets_one_twice(floor, known):
    rules(floor, honeypot_share=0.5, open_limit=60)
    floor.ask(floor.examples(60))
    floor.sync()
    purposes = list(Assignment.objects.values_list("purpose", flat=True))
    assert 15 <= purposes.count("honeypot") <= 40 and purposes.count("label") == 60
    assert len(set(Assignment.objects.values_list("example_id", flat=True))) == len(purposes)


def test_without_a_share_there_are_no_honeypots(floor, known):
    rules(floor, honeypot_share=0)
    floor.ask(floor.examples(20))
    floor.sync()
    assert not Assignment.objects.filter(purpose="honeypot").exists()


def test_nothing_on_the_server_tells_a_honeypot_from_other_examples(floor, known, server):
    rules(floor, honeypot_share=0.5)
    floor.ask(floor.examples(20))
    floor.sync()
    hidden = {assignment.ls_task_id for assignment in Assignment.objects.filter(purpose="honeypot")}
    told = [(set(task.data), task.prediction, task.batch) for task in server.tasks.values()]
    assert hidden and all(one == told[0] for one in told)
    order = [pk in hidden for pk in sorted(server.tasks)]
    assert order != sorted(order) and order != sorted(order, reverse=True)


def test_who_is_right_as_often_as_asked_is_left_alone(floor, known, charlie_):
    grade(charlie_, known, ["neutral"] * 34 + ["positive"] * 6)
    assert look_at_known_answers(floor.project) == []


def test_who_is_proven_below_the_floor_is_paused_once_with_the_figures_and_others_are_asked(floor, known):
    floor.hire("erin")
    examples = floor.examples(2)
    batch = floor.ask(examples)
    erin = annotator_of(floor.project, User.objects.get(username="erin"))
    pause(erin, because="later", by=floor.curator)
    floor.sync()
    for example in examples:
        floor.answer("charlie", example, "positive")
    floor.sync()
    charlie_ = Annotator.objects.get(name="charlie")
    grade(charlie_, known[:12], ["positive"] * 10 + ["neutral"] * 2)
    assert look_at_known_answers(floor.project) == [charlie_]
    charlie_.refresh_from_db()
    assert charlie_.paused_at is not None and "2 of 12 known answers right" in charlie_.paused_because
    assert list(batch.items.values_list("n_wanted", flat=True)) == [2, 2]
    assert floor.labels().count("positive") >= 2, "the answers stay"
    assert look_at_known_answers(floor.project) == []
    assert AuditEvent.objects.filter(what="pause_annotator", who="goldpan").count() == 1


def test_of_a_closed_batch_nothing_is_asked_again(floor, charlie_):
    example, = floor.examples(1)
    batch = floor.ask([example])
    floor.sync()
    floor.answer("charlie", example)
    floor.sync()
    set_batch_state(batch, "closed", by=floor.curator)
    pause(charlie_, because="below", by=None, asks_again=True)
    assert BatchItem.objects.get().n_wanted == 1


def test_what_was_asked_again_is_not_asked_a_third_time_after_a_new_beginning(floor, known, charlie_):
    example, = floor.examples(1)
    floor.ask([example])
    floor.sync()
    floor.answer("charlie", example)
    floor.sync()
    grade(charlie_, known[:10], ["positive"] * 10)
    look_at_known_answers(floor.project)
    assert BatchItem.objects.get().n_wanted == 2
    assert resume(charlie_, by=floor.curator)
    charlie_.refresh_from_db()
    pause(charlie_, because="once more", by=floor.curator, asks_again=True)
    assert BatchItem.objects.get().n_wanted == 2


# Pause and resume

def test_a_pause_takes_back_the_desk_and_needs_a_reason(floor, charlie_):
    floor.ask(floor.examples(3))
    floor.sync()
    with pytest.raises(UserError, match="Say why"):
        pause(charlie_, because="  ", by=floor.curator)
    pause(charlie_, because="on holiday", by=floor.curator)
    assert not Assignment.objects.open().filter(expires_at__gt=timezone.now()).exists()
    Assignment.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    floor.sync()
    assert list(BatchItem.objects.values_list("n_taken", flat=True)) == [0, 0, 0]
    assert floor.desk("charlie") == []


def test_the_first_pause_stands(floor, charlie_):
    pause(charlie_, because="on holiday", by=floor.curator)
    pause(charlie_, because="something else", by=floor.curator)
    charlie_.refresh_from_db()
    assert charlie_.paused_because == "on holiday" and audited(floor, "pause_annotator") == 1


def test_after_a_holiday_all_goes_on_as_it_was(floor, known, charlie_):
    passed = timezone.now() - timedelta(days=9)
    Annotator.objects.filter(pk=charlie_.pk).update(passed_exam_at=passed)
    rules(floor, exam_size=5)
    grade(charlie_, known[:4], ["neutral", "neutral", "neutral", "positive"])
    pause(charlie_, because="on holiday", by=floor.curator)
    assert not resume(charlie_, by=floor.curator)
    charlie_.refresh_from_db()
    assert (charlie_.paused_at, charlie_.trusted_from, charlie_.passed_exam_at) == (None, None, passed)
    assert results(charlie_, HONEYPOT).n == 4, "the record stays"


def test_who_was_proven_wrong_begins_anew_with_the_exam(floor, known, charlie_):
    Annotator.objects.filter(pk=charlie_.pk).update(passed_exam_at=timezone.now())
    rules(floor, exam_size=5)
    grade(charlie_, known[:12], ["positive"] * 12)
    look_at_known_answers(floor.project)
    assert resume(Annotator.objects.get(pk=charlie_.pk), by=floor.curator)
    charlie_.refresh_from_db()
    assert charlie_.trusted_from is not None and charlie_.passed_exam_at is None
    assert results(charlie_, HONEYPOT).n == 0
    assert look_at_known_answers(floor.project) == [], "the old answers do not pause again"


def test_a_curator_can_let_somebody_go_on_without_another_exam(floor, known, charlie_):
    rules(floor, exam_size=3, exam_pass=1)
    grade(charlie_, known[:3], ["positive"] * 3, EXAM)
    look_at_known_answers(floor.project)
    resume(Annotator.objects.get(pk=charlie_.pk), by=floor.curator, passed=True)
    charlie_.refresh_from_db()
    assert charlie_.passed_exam_at is not None and charlie_.paused_at is None


def test_nobody_goes_on_who_is_not_paused(floor, charlie_):
    with pytest.raises(UserError, match="not paused"):
        resume(charlie_, by=floor.curator)


# The exam

def test_a_new_annotator_gets_the_exam_and_nothing_else(floor, known):
    rules(floor, exam_size=6)
    floor.ask(floor.examples(5))
    assert floor.sync()["n_handed_out"] == 6
    assert set(Assignment.objects.values_list("purpose", flat=True)) == {"exam"}
    assert floor.sync()["n_handed_out"] == 0


@pytest.mark.parametrize(("n_right", "passes"), [(6, True), (5, True), (4, False)])
def test_the_exam_is_passed_at_its_mark(floor, known, n_right, passes):
    rules(floor, exam_size=6, exam_pass=0.8)
    floor.ask(floor.examples(2))
    floor.sync()
    for number, assignment in enumerate(floor.desk("charlie")):
        floor.answer("charlie", assignment.example, "neutral" if number < n_right else "positive")
    floor.sync()
    charlie_ = Annotator.objects.get(name="charlie")
    assert (charlie_.passed_exam_at is not None, charlie_.paused_at is None) == (passes, passes)
    assert len([one for one in floor.desk("charlie") if one.purpose == "label"]) == (2 if passes else 0)
    assert passes or f"{n_right} of 6" in charlie_.paused_because


def test_a_mark_that_a_float_misses_by_a_hair_is_reached(floor, known, charlie_):
    rules(floor, exam_size=20, exam_pass=0.55)  # 0.55 * 20 is 11.000000000000002
    grade(charlie_, known[:20], ["neutral"] * 11 + ["positive"] * 9, EXAM)
    assert look_at_known_answers(floor.project) == []
    charlie_.refresh_from_db()
    assert charlie_.passed_exam_at is not None


def test_an_exam_is_judged_at_its_end_only(floor, known, charlie_):
    rules(floor, exam_size=5)
    grade(charlie_, known[:4], ["positive"] * 4, EXAM)
    assert look_at_known_answers(floor.project) == []


def test_an_exam_with_a_skip_comes_to_an_end(floor, known):
    rules(floor, exam_size=3, exam_pass=0.6)
    floor.ask(floor.examples(1))
    floor.sync()
    for number, assignment in enumerate(floor.desk("charlie")):
        floor.answer("charlie", assignment.example, skips=number == 0)
    floor.sync()
    assert Annotator.objects.get(name="charlie").passed_exam_at is not None


def test_an_exam_example_that_is_retired_meanwhile_is_replaced(floor, known):
    rules(floor, exam_size=3)
    floor.ask(floor.examples(1))
    floor.sync()
    answered, *_ = floor.desk("charlie")
    floor.answer("charlie", answered.example)
    floor.sync()
    retire_known_answer(KnownAnswer.objects.get(example=answered.example), by=floor.curator)
    assert floor.sync()["n_handed_out"] == 1
    for assignment in floor.desk("charlie"):
        floor.answer("charlie", assignment.example)
    floor.sync()
    assert Annotator.objects.get(name="charlie").passed_exam_at is not None


def test_who_failed_tries_again_with_other_examples(floor, known):
    rules(floor, exam_size=4, exam_pass=1)
    floor.ask(floor.examples(1))
    floor.sync()
    first = {assignment.example_id for assignment in floor.desk("charlie")}
    for assignment in floor.desk("charlie"):
        floor.answer("charlie", assignment.example, "positive")
    floor.sync()
    resume(Annotator.objects.get(name="charlie"), by=floor.curator)
    floor.sync()
    second = {assignment.example_id for assignment in floor.desk("charlie")}
    assert len(second) == 4 and not first & second
    assert look_at_known_answers(floor.project) == []


def test_who_is_let_pass_gets_ordinary_work(floor, known):
    rules(floor, exam_size=4)
    floor.ask(floor.examples(2))
    floor.sync()
    charlie_ = Annotator.objects.get(name="charlie")
    let_pass(charlie_, by=floor.curator)
    floor.sync()
    assert Assignment.objects.filter(purpose="label").count() == 2
    with pytest.raises(UserError, match="passed the exam already"):
        let_pass(charlie_, by=floor.curator)


def test_rules_are_there_before_anybody_has_written_them(floor: Floor) -> None:
    assert rules_of(floor.project).honeypot_floor == 0.85
