"""The curator's board: where labelling stands, what blocks it, how people agree; batches and known answers."""

import io
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job
from labeling.models import Annotator, Assignment, Batch, BatchItem, Desk, KnownAnswer, LabelingRules
from labeling.services.agreement import (
    agreement_of,
    by_batch,
    confused_labels,
    confusion,
    shared_answers,
)
from labeling.services.batches import progress_of
from labeling.services.board import board_of, headline
from labeling.services.set_aside import give_out_again
from labeling.services.trust import add_known_answer, pause
from projects.errors import UserError
from projects.models import AuditEvent, Role
from projects.services import add_member
from tests.labeling.people import Hall


@pytest.fixture
def hall(project, bob):
    return Hall(project, bob)


@pytest.fixture
def mira(hall, charlie):
    return hall.person("mira", charlie)


@pytest.fixture
def jon(hall):
    return hall.person("jon")


@pytest.fixture
def see(project, bob, client_of):
    def get(name="labeling:board", pk=None, who=bob, **query):
        return client_of(who).get(reverse(name, args=[pk or project.pk]), query)

    return get


def text(response):
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_see_the_board(project, request, client_of, who, status):
    for name in ("labeling:board", "labeling:confusion", "labeling:known-answers", "labeling:rules"):
        response = client_of(request.getfixturevalue(who)).get(reverse(name, args=[project.pk]))
        assert response.status_code == status, name


# Where it stands

def test_an_empty_project_is_told_what_to_do(see):
    html = text(see())
    assert "Nobody has been asked yet." in html and "No batches yet" in html and html.count("btn-gold") == 1


def test_counts_are_those_of_the_answers_themselves(hall, mira, jon, project):
    examples = hall.examples(6)
    for example in examples[:3]:
        hall.say(mira, example, "neutral")
        hall.say(jon, example, "neutral")
    hall.say(mira, examples[3], None)
    hall.give(jon, examples[3])
    BatchItem.objects.filter(example__in=examples[:2]).update(n_wanted=2)
    hall.item(examples[4])
    row, progress = board_of(project).rows[0], progress_of(hall.batch)
    expected = {"n_examples": 5, "n_done": 2, "n_wanted": 13, "n_answered": 6, "n_open": 1}
    for name, n in expected.items():
        assert getattr(row, name) == getattr(progress, name) == n, name


def test_the_headline_says_what_is_left_and_when_it_will_be_there(hall, mira, project):
    examples = hall.examples(30)
    for day in range(1, 6):
        for example in examples[4 * day:4 * day + 4]:
            hall.say(mira, example, "neutral", days_ago=day)
    for example in hall.examples(20, prefix="more"):
        hall.item(example)
    BatchItem.objects.update(n_wanted=1)
    said = headline(board_of(project))
    assert said.startswith("20 of 40 answers are in; 20 are still to come.") and "about 5 days (5 to 5)" in said


def test_all_in_leads_to_scoring(hall, mira, project):
    example, = hall.examples(1)
    hall.say(mira, example, "neutral")
    BatchItem.objects.update(n_wanted=1)
    assert "Score the labels next" in headline(board_of(project))


def test_a_pause_of_everything_and_closed_batches_are_said(hall, mira, project):
    hall.item(hall.examples(1)[0])
    Batch.objects.update(state="paused")
    assert "nothing more is given out" in headline(board_of(project))
    Batch.objects.update(state="closed")
    assert "All batches are closed." in headline(board_of(project))


# What blocks

def test_nobody_left_for_an_example_is_said_with_its_count(hall, mira, jon, see):
    first, second = hall.examples(2)
    for example in (first, second):
        hall.item(example, n_wanted=2)
    hall.say(mira, first, "neutral")
    html = text(see())
    assert "At least 1 example wants one more person than there is: all 1 at work have had it." in html
    assert "batch 1 cannot be finished as things are" in html


def test_where_somebody_is_left_nothing_is_stuck(hall, mira, project, bob):
    hall.item(hall.examples(1)[0], n_wanted=2)
    assert board_of(project).rows[0].obstacles == []


def test_everybody_paused_is_an_obstacle(hall, mira, see):
    hall.item(hall.examples(1)[0])
    pause(mira, because="on holiday", by=hall.by)
    html = text(see())
    assert "Everybody who is asked is paused." in html and "on holiday" in html and "Let go on" in html


def test_nobody_who_labels_is_an_obstacle(hall, project):
    hall.item(hall.examples(1)[0])
    assert "Nobody labels in this project yet." in board_of(project).rows[0].obstacles[0]


def test_a_named_batch_waits_for_its_people_only(hall, mira, bob, project):
    hall.item(hall.examples(1)[0])
    curator = hall.person("bob", bob)
    hall.batch.annotators.set([curator])
    hall.give(curator, hall.examples(1, prefix="b")[0])
    BatchItem.objects.update(n_wanted=1)
    pause(mira, because="ill", by=hall.by)
    assert board_of(project).rows[0].obstacles == []


def test_an_exam_larger_than_the_stock_is_warned_of(hall, mira, see, project):
    LabelingRules.objects.create(project=project, exam_size=5)
    add_known_answer(hall.examples(1)[0], "neutral", by=hall.by)
    hall.item(hall.examples(1, prefix="b")[0])
    assert "asks 5 known answers and there is 1" in text(see())
    assert "asks 5 known answers and there is 1" in text(see("labeling:rules"))
    assert "asks 5 and there is 1" in text(see("labeling:known-answers"))


# Cost

def test_cost_is_time_at_the_wage_and_what_vendors_charged(hall, mira, jon, project, see):
    LabelingRules.objects.create(project=project, hourly_wage=Decimal("18"), currency="EUR")
    a, b, c = hall.examples(3)
    hall.say(mira, a, "neutral", seconds=600)
    hall.say(mira, b, "neutral", seconds=50_000)  # went home; an hour counts
    hall.ledger(jon, c, "neutral", cost=Decimal("0.50"), source="file")
    cost = board_of(project).cost
    assert (cost.n_timed, cost.n_vendors, cost.n) == (2, 1, 3)
    assert cost.total == Decimal("21.50") and round(cost.hours, 4) == round(4200 / 3600, 4)
    assert "21.50 EUR" in text(see())


def test_without_a_wage_no_cost_is_made_up(hall, mira, project, see):
    hall.say(mira, hall.examples(1)[0], "neutral", seconds=3600)
    assert board_of(project).cost.total is None
    assert "Set a wage" in text(see())


# The exchange

def desk_of(annotator, **more):
    return Desk.objects.create(**{
        "project": annotator.project, "annotator": annotator, "url": "http://ls.test", "ls_project_id": annotator.pk,
        "config_sha256": "0" * 64, "instructions_version": 1, "webhook_secret": "s",
        "pulled_at": timezone.now(), **more})


def test_the_lag_is_that_of_the_oldest_desk_and_trouble_says_what_to_do(hall, mira, jon, see):
    desk_of(mira, pulled_at=timezone.now() - timezone.timedelta(minutes=4, seconds=10))
    desk_of(jon, state="unavailable", message="Label Studio cannot be reached. Start it.")
    html = text(see())
    assert "Answers up to 5 minutes ago are here" in html
    assert "jon’s desk: not reachable." in html and "Start it." in html


def test_comparing_both_sides_shows_its_result(hall, mira, see, project, bob, client_of):
    desk_of(mira)
    client_of(bob).post(reverse("labeling:sync", args=[project.pk]), {"compare": "1"})
    job = Job.objects.get(kind="sync")
    assert job.params == {"reconcile": True}
    Job.objects.filter(pk=job.pk).update(state="succeeded", finished_at=timezone.now(), result={
        "n_here": 8, "n_there": 9, "n_missing_there": 0, "n_strange": 1, "are_equal": False})
    assert "1 there that Goldpan did not put there" in text(see())


# Agreement and confusion

def disagreeing(hall, mira, jon, n=40):
    """n examples that both answered: mira says neutral, jon says neutral but positive on every fourth."""
    for number, example in enumerate(hall.examples(n)):
        hall.say(mira, example, "neutral")
        hall.say(jon, example, "positive" if number % 4 == 0 else "neutral")


def test_agreement_is_that_of_shared_examples_with_its_interval(hall, mira, jon, project, see):
    disagreeing(hall, mira, jon)
    hall.say(mira, hall.examples(1, prefix="alone")[0], "negative")
    shared = shared_answers(project)
    found = agreement_of(shared, project)
    assert (found.n, found.raw.estimate, found.ceiling.estimate) == (40, 0.75, 0.75)
    assert found.raw.low < 0.75 < found.raw.high and found.alpha.high < 0.3
    assert by_batch(shared, project)[hall.batch.pk].n == 40
    html = text(see())
    assert "75.0 %" in html and "Too low to conclude anything" in html


def test_below_thirty_shared_examples_there_is_no_figure(hall, mira, jon, project, see):
    disagreeing(hall, mira, jon, n=29)
    assert agreement_of(shared_answers(project), project).alpha is None
    assert "From 30 on, agreement stands here" in text(see())


def test_known_answers_and_what_was_taken_back_do_not_count(hall, mira, jon, project):
    known, taken_back, changed = hall.examples(3)
    for example in (known, taken_back, changed):
        hall.say(mira, example, "neutral")
        hall.say(jon, example, "neutral")
    add_known_answer(known, "neutral", by=hall.by)
    hall.ledger(jon, taken_back, None, skipped=False, retracted=True)
    hall.ledger(jon, changed, "positive")
    assert shared_answers(project) == {changed.pk: [(jon.pk, "positive"), (mira.pk, "neutral")]}


def test_confusion_counts_examples_by_hand():
    shared = {1: [(1, "a"), (2, "b")], 2: [(1, "b"), (2, "a")], 3: [(1, "a"), (2, "a")],
              4: [(1, "a"), (3, "c"), (2, "a")]}
    labels = ["a", "b", "c"]
    assert confusion(shared, labels).tolist() == [[2, 2, 1], [2, 0, 0], [1, 0, 0]]
    assert confusion(shared, labels, first=1, second=2).tolist() == [[2, 1, 0], [1, 0, 0], [0, 0, 0]]
    found = confused_labels(shared, labels)
    assert [(one.first, one.second, one.n, one.share.n) for one in found] == [("a", "b", 2, 4), ("a", "c", 1, 4)]


def test_a_cell_leads_to_its_examples(hall, mira, jon, project, see):
    disagreeing(hall, mira, jon, n=8)
    html = text(see("labeling:confusion", first=mira.pk, second=jon.pk))
    assert "mira and jon answered 8 same examples, 6 of them alike." in html
    url = f"?said=neutral&amp;other=positive&amp;by={mira.pk}&amp;other_by={jon.pk}"
    assert url in html
    found = see("labeling:example-list", said="neutral", other="positive", by=mira.pk, other_by=jon.pk)
    assert [row.record.key for row in found.context["table"].page.object_list] == ["e0", "e4"]
    assert "where mira said “neutral” and jon “positive”" in text(found)


@pytest.mark.parametrize(("query", "keys"), [
    ({"said": "neutral", "other": "positive"}, ["e0"]),
    ({"said": "positive", "other": "neutral"}, ["e0"]),
    ({"said": "neutral", "other": "neutral"}, ["e1"]),
    ({"said": "positive"}, ["e0", "e2"]),
    ({"said": "negative", "other": "positive"}, []),
    ({"other": "positive"}, ["e0", "e1", "e2"])])
def test_the_list_finds_where_people_differ(hall, mira, jon, see, query, keys):
    for example, first, second in zip(hall.examples(3), ("neutral", "neutral", "positive"),
                                      ("positive", "neutral", None), strict=True):
        hall.say(mira, example, first)
        hall.say(jon, example, second)
    found = see("labeling:example-list", **query)
    assert [row.record.key for row in found.context["table"].page.object_list] == keys


def test_the_list_behind_a_figure_leaves_known_answers_out_too(hall, mira, jon, see):
    example, = hall.examples(1)
    hall.say(mira, example, "neutral")
    hall.say(jon, example, "positive")
    add_known_answer(example, "neutral", by=hall.by)
    assert see("labeling:example-list", said="neutral", other="positive").context["n"] == 0


def test_a_person_of_another_project_is_no_filter(hall, mira, see, dora):
    stranger = Annotator.objects.create(project=dora.memberships.get().project, name="secret-name")
    assert "secret-name" not in text(see("labeling:example-list", said="neutral", by=stranger.pk))


# Names

def test_hidden_names_are_numbers_to_curators_and_names_to_admins(hall, mira, jon, project, bob, alice, see):
    LabelingRules.objects.create(project=project, hides_names=True)
    disagreeing(hall, mira, jon, n=30)
    for name, pk in (("labeling:board", None), ("labeling:confusion", None), ("labeling:batch", hall.batch.pk),
                     ("labeling:annotator", mira.pk), ("labeling:example", BatchItem.objects.first().example_id)):
        hidden, shown = text(see(name, pk)), text(see(name, pk, who=alice))
        assert "Annotator 1" in hidden and "mira" not in hidden, name
        assert "mira" in shown and "Annotator 1" not in shown, name


def test_somebody_who_labels_too_still_knows_themself(hall, jon, project, bob, see):
    LabelingRules.objects.create(project=project, hides_names=True)
    me = hall.person("bob", bob)
    hall.give(me, hall.examples(1)[0])
    assert ">bob<" in text(see())


# A batch

def test_a_batch_says_its_policy_and_who_said_what(hall, mira, jon, see):
    for example in hall.examples(2):
        hall.say(mira, example, "neutral")
    html = text(see("labeling:batch", hall.batch.pk))
    assert "everybody who labels here" in html and "one more is asked at a time, up to 3" in html
    assert "<b>neutral</b>" in html and "1 of 3" in html


def test_a_curator_who_has_to_answer_does_not_see_what_others_said(hall, mira, bob, see):
    example, = hall.examples(1)
    hall.say(mira, example, "negative")
    hall.give(hall.person("bob", bob), example)
    for name, pk in (("labeling:batch", hall.batch.pk), ("labeling:example", example.pk)):
        html = text(see(name, pk))
        assert "on your desk" in html and "<b>negative</b>" not in html


@pytest.mark.parametrize(("show", "keys"), [
    ("", ["e0", "e1", "e2"]), ("set_aside", ["e2"]), ("done", ["e0"]), ("waiting", ["e1", "e2"]), ("nonsense", 3)])
def test_a_batch_is_shown_in_parts(hall, mira, see, show, keys):
    done, lying, aside = hall.examples(3)
    hall.say(mira, done, "neutral")
    hall.give(mira, lying)
    BatchItem.objects.update(n_wanted=1)
    BatchItem.objects.create(batch=hall.batch, example=aside, n_wanted=1, is_set_aside=True)
    found = [row["item"].example.key for row in see("labeling:batch", hall.batch.pk, show=show).context["rows"]]
    assert found == (keys if isinstance(keys, list) else ["e0", "e1", "e2"])


def test_set_aside_examples_are_given_out_again_one_or_all(hall, bob, client_of):
    items = [BatchItem.objects.create(batch=hall.batch, example=example, n_wanted=1, is_set_aside=True)
             for example in hall.examples(3)]
    url = reverse("labeling:batch-again", args=[hall.batch.pk])
    client_of(bob).post(url, {"item": items[0].pk})
    assert BatchItem.objects.filter(is_set_aside=True).count() == 2
    client_of(bob).post(url)
    assert not BatchItem.objects.filter(is_set_aside=True).exists()
    assert AuditEvent.objects.filter(what="give_out_again").count() == 2
    with pytest.raises(UserError, match="set aside any more"):
        give_out_again(hall.batch, None, by=bob)
    hall.batch.state = "closed"
    with pytest.raises(UserError, match="closed"):
        give_out_again(hall.batch, None, by=bob)


def test_the_item_of_another_batch_is_not_given_out_by_this_one(hall, bob, project):
    elsewhere = Batch.objects.create(project=project, number=2, title="other", created_by=bob)
    item = BatchItem.objects.create(batch=elsewhere, example=hall.examples(1)[0], n_wanted=1, is_set_aside=True)
    with pytest.raises(UserError):
        give_out_again(hall.batch, [item.pk], by=bob)


def test_a_batch_is_paused_opened_and_closed_from_its_page(hall, bob, client_of):
    client, url = client_of(bob), reverse("labeling:batch-state", args=[hall.batch.pk])
    for state in ("paused", "open", "closed"):
        client.post(url, {"state": state})
        hall.batch.refresh_from_db()
        assert hall.batch.state == state
    assert client.post(url, {"state": "open"}).status_code == 400


def test_a_vendors_batch_goes_out_as_a_file_and_its_answers_come_back(hall, bob, project, client_of, see):
    batch = Batch.objects.create(project=project, number=2, title="night", vendor="Works", created_by=bob)
    for example in hall.examples(2):
        BatchItem.objects.create(batch=batch, example=example, n_wanted=1)
    client = client_of(bob)
    sent = client.get(reverse("labeling:batch-file", args=[batch.pk]), {"format": "csv"})
    assert sent["Content-Disposition"] == 'attachment; filename="moods-batch-2.csv"'
    assert b"text e0" in sent.content
    file = io.BytesIO(b"key,label,annotator\ne0,neutral,ann\n")
    file.name = "back.csv"
    answer = client.post(reverse("labeling:batch-answers", args=[batch.pk]), {"file": file})
    assert answer["Location"].startswith("/uploads/")
    html = text(see("labeling:batch", batch.pk))
    assert "Works, by file" in html and "back.csv" in html


# Known answers

def test_known_answers_are_listed_with_how_people_did(hall, mira, jon, see, project):
    example, = hall.examples(1)
    known = add_known_answer(example, "neutral", by=hall.by)
    hall.honeypot(mira, example, "neutral", "neutral")
    hall.honeypot(jon, example, "positive", "neutral")
    row, = see("labeling:known-answers").context["rows"]
    assert (row.known, row.n_given, row.n_right, row.right.n) == (known, 2, 1, 2)


def test_a_known_answer_that_many_get_wrong_is_doubted(hall, see):
    example, = hall.examples(1)
    add_known_answer(example, "neutral", by=hall.by)
    for number in range(6):
        hall.honeypot(hall.person(f"p{number}"), example, "positive" if number else "neutral", "neutral")
    assert "is it right itself?" in text(see("labeling:known-answers"))


def test_a_known_answer_is_retired_from_the_list(hall, bob, client_of, see):
    known = add_known_answer(hall.examples(1)[0], "neutral", by=hall.by)
    client_of(bob).post(reverse("labeling:known-answer-retire", args=[known.pk]))
    assert KnownAnswer.objects.get().retired_at is not None
    assert "retired" in text(see("labeling:known-answers"))


# Large projects

def test_the_board_takes_few_queries_however_much_there_is(
        hall, mira, jon, project, bob, client_of, django_assert_max_num_queries):
    disagreeing(hall, mira, jon)
    for number in range(2, 9):
        Batch.objects.create(project=project, number=number, title="more", created_by=bob)
    for number in range(5):
        add_member(project, type(bob).objects.create_user(f"u{number}"), Role.annotator, by=bob)
        hall.person(f"u{number}", type(bob).objects.get(username=f"u{number}"))
    client = client_of(bob)
    with django_assert_max_num_queries(40):
        client.get(reverse("labeling:board", args=[project.pk]))


def test_a_batch_page_takes_few_queries(hall, mira, jon, bob, client_of, django_assert_max_num_queries):
    disagreeing(hall, mira, jon)
    client = client_of(bob)
    with django_assert_max_num_queries(30):
        client.get(reverse("labeling:batch", args=[hall.batch.pk]))
    assert Assignment.objects.count() == 80
