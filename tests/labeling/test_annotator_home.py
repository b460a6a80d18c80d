"""An annotator's home: what is theirs, how long it takes, how they are doing; nothing that would spoil an answer."""

import pytest
from django.urls import reverse
from django.utils import timezone

from curation.models import Decision
from labeling.models import Annotator, Assignment, Desk, LabelingRules
from labeling.services.annotators import own_work
from labeling.services.trust import add_known_answer, look_at_known_answers, pause
from projects.models import Guideline, Project
from tests.labeling.people import Hall


@pytest.fixture
def hall(project, bob):
    return Hall(project, bob)


@pytest.fixture
def mine(hall, charlie):
    annotator = hall.person("charlie", charlie)
    Desk.objects.create(project=hall.project, annotator=annotator, url="http://ls.test", ls_project_id=7,
                        config_sha256="0" * 64, instructions_version=1, webhook_secret="s")
    return annotator


@pytest.fixture
def other(hall):
    return hall.person("mira-the-other")


@pytest.fixture
def page(project, charlie, client_of):
    return lambda: client_of(charlie).get(reverse("projects:detail", args=[project.pk])).content.decode()


def test_it_says_what_is_mine_and_how_long_it_takes_at_my_pace(hall, mine, page):
    for example in hall.examples(12):
        hall.say(mine, example, "neutral", seconds=60)
    for example in hall.examples(5, prefix="open"):
        hall.give(mine, example)
    html = page()
    assert "5 examples are on your desk, about 5\u202fmin of work." in html
    assert "12 answers, 12 in the last seven days." in html and "takes you 1\u202fmin" in html


def test_a_newcomer_is_told_the_projects_pace(hall, mine, other, charlie, project):
    for example in hall.examples(12):
        hall.say(other, example, "neutral", seconds=30)
    hall.give(mine, hall.examples(1, prefix="open")[0])
    work = own_work(project, charlie)
    assert (work.seconds_each, work.is_own_pace) == (30, False)


def test_without_any_pace_no_time_is_foretold(hall, mine, page):
    hall.give(mine, hall.examples(1)[0])
    assert "1 example is on your desk." in page()


def test_what_has_run_out_is_not_mine_any_more(hall, mine, page):
    hall.give(mine, hall.examples(1)[0], hours=-1)
    assert "There is nothing to label yet" in page()


def test_there_is_one_primary_button_straight_to_the_next_example(hall, mine, page, settings):
    hall.give(mine, hall.examples(1)[0])
    html = page()
    assert html.count("btn-gold") == 1
    assert f'href="{settings.GOLDPAN_DOOR_URL}/projects/7/data?labeling=1"' in html


@pytest.mark.parametrize(("n", "is_shown"), [(19, False), (20, True)])
def test_agreement_is_told_from_twenty_shared_examples_on(hall, mine, other, page, n, is_shown):
    for number, example in enumerate(hall.examples(n)):
        hall.say(mine, example, "neutral")
        hall.say(other, example, "neutral" if number else "positive")
    html = page()
    assert ("n = 20" in html and "95.0\u202f%" in html) == is_shown
    assert ("after 1 more example that somebody else" in html) == (not is_shown)


def test_ties_of_the_others_and_known_answers_do_not_count(hall, mine, other, project, charlie):
    third = hall.person("third")
    tied, known, shared = hall.examples(3)
    for annotator, value in ((mine, "neutral"), (other, "positive"), (third, "negative")):
        hall.say(annotator, tied, value)
    hall.say(other, known, "neutral")
    hall.honeypot(mine, known, "positive", "neutral")
    add_known_answer(known, "neutral", by=hall.by)
    hall.say(mine, shared, "neutral")
    hall.say(other, shared, "neutral")
    assert own_work(project, charlie).with_others.n == 1


def test_nothing_on_the_page_tells_names_answers_or_known_answers_of_unanswered_examples(hall, mine, other, page):
    for example in hall.examples(25):
        hall.say(mine, example, "neutral")
        hall.say(other, example, "neutral")
    secret, known = hall.examples(2, prefix="secret")
    hall.say(other, secret, "negative")
    hall.give(mine, secret)
    add_known_answer(known, "neutral", by=hall.by)
    hall.honeypot(mine, known, "positive", "neutral")
    Decision.objects.create(example=secret, verdict="relabel", value="positive", decided_by=hall.by)
    html = page()
    for word in ("mira-the-other", "text secret", "nown answer", "oneypot", "e-value", "label_quality"):
        assert word not in html, word
    assert "26 answers" in html, "a honeypot is an answer like any other"


def test_what_a_curator_settled_otherwise_is_shown_with_the_note(hall, mine, page):
    differs, same = hall.examples(2)
    [held_out], [known] = hall.examples(1, split="test", prefix="t"), hall.examples(1, prefix="k")
    for example in (differs, same, held_out):
        hall.say(mine, example, "neutral")
    hall.honeypot(mine, known, "neutral", "positive")
    for example, value in ((differs, "positive"), (same, "neutral"), (held_out, "positive"), (known, "positive")):
        Decision.objects.create(example=example, verdict="relabel", value=value, decided_by=hall.by, cause="slip",
                                reason=f"Thanks are positive: {example.key}.")
    html = page()
    assert "text e0" in html and "Thanks are positive: e0." in html and "the guideline says it clearly" in html
    for text in ("text e1", "text t0", "text k0", "bob"):
        assert text not in html


def test_a_lesson_that_is_taken_back_is_gone(hall, mine, page):
    example, = hall.examples(1)
    hall.say(mine, example, "neutral")
    first = Decision.objects.create(example=example, verdict="relabel", value="positive", decided_by=hall.by)
    Decision.objects.create(example=example, verdict="open", undoes=first, decided_by=hall.by)
    assert "Settled otherwise" not in page()


def test_who_is_paused_by_a_curator_reads_why_and_finds_no_button(hall, mine, page):
    hall.give(mine, hall.examples(1)[0])
    pause(mine, because="We change the guideline today.", by=hall.by)
    html = page()
    assert "You are asked to wait. We change the guideline today." in html and "btn-gold" not in html


def test_who_is_stopped_by_known_answers_reads_kind_words_and_no_figures(hall, mine, page, project):
    for example in hall.examples(12):
        add_known_answer(example, "neutral", by=hall.by)
        hall.honeypot(mine, example, "positive", "neutral")
    assert look_at_known_answers(project) == [mine]
    html = page()
    assert "A curator would like to go through the guideline with you" in html
    for word in ("nown answer", "0 of 12", "85"):
        assert word not in html.split("<main")[1]  # the head has random letters


def test_the_exam_is_told_while_it_is_under_way_and_kindly_when_it_failed(hall, mine, page, project):
    LabelingRules.objects.create(project=project, exam_size=3, exam_pass=1)
    known = hall.examples(3)
    for example in known:
        add_known_answer(example, "neutral", by=hall.by)
    assert "The first 3 examples are an entry exam, 0 of them are answered." in page()
    for example in known:
        hall.honeypot(mine, example, "positive", "neutral")
    Assignment.objects.update(purpose="exam")
    look_at_known_answers(project)
    assert "The entry exam did not work out this time." in page()


def test_a_changed_guideline_is_announced_until_the_next_answer(hall, mine, page, project):
    first, second = hall.examples(2)
    hall.say(mine, first, "neutral")
    assert "guideline has changed" not in page()
    Guideline.objects.create(project=project, version=2, text="Say the mood.", note="Irony is negative.",
                             changed_labels=["negative"], created_by=hall.by)
    Project.objects.update(instructions_version=2)
    html = page()
    assert "The guideline has changed since your last answer." in html
    assert "Irony is negative." in html and "Changed: negative" in html and "version 2" in html
    hall.say(mine, second, "neutral", version=2)
    assert "guideline has changed" not in page()


def test_somebody_who_has_never_labelled_has_a_page_too(page):
    html = page()
    assert "Say the mood." in html and "guideline has changed" not in html and html.count("btn-gold") == 1


def test_the_page_takes_few_queries_however_many_answers_there_are(
        hall, mine, other, project, charlie, client_of, django_assert_max_num_queries):
    for example in hall.examples(40):
        hall.say(mine, example, "neutral")
        hall.say(other, example, "positive")
        Decision.objects.create(example=example, verdict="keep", value="positive", decided_by=hall.by)
    client = client_of(charlie)
    with django_assert_max_num_queries(24):
        client.get(reverse("projects:detail", args=[project.pk]))


def test_who_looks_for_work_where_there_is_none_is_told_so(project, charlie, client_of):
    client = client_of(charlie)
    html = client.post(reverse("labeling:desk", args=[project.pk]), follow=True).content.decode()
    assert "There is nothing to label yet. A curator asks, then it is here." in html and "Make a batch" not in html


def test_one_person_is_one_annotator_in_each_project(hall, mine, charlie, project):
    assert own_work(project, charlie).annotator == mine
    Annotator.objects.filter(pk=mine.pk).update(passed_exam_at=timezone.now())
    assert own_work(project, charlie).exam == "", "there is no exam here"
