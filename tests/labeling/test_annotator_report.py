"""The report on one annotator: for curators all of it, for themself without what would show known answers."""

import pytest
from django.urls import reverse

from labeling.models import LabelingRules
from labeling.services.annotators import Report, evidence_words, names_for, report_on
from labeling.services.trust import add_known_answer, pause
from projects.models import AuditEvent
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
def see(client_of, bob):
    def get(annotator, who=bob):
        return client_of(who).get(reverse("labeling:annotator", args=[annotator.pk]))

    return get


def text(response):
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def full(annotator) -> Report:
    return report_on(annotator, for_themself=False)


def test_an_annotator_sees_their_own_report_and_nobody_elses(hall, mira, jon, charlie, dora, see):
    assert see(mira, charlie).status_code == 200
    assert see(jon, charlie).status_code == 403
    assert see(mira, dora).status_code == 404


def test_ones_own_report_says_nothing_of_known_answers_speed_or_a_pause(hall, mira, jon, charlie, see):
    for example in hall.examples(25):
        hall.say(mira, example, "neutral", seconds=0.1)
        hall.say(jon, example, "positive")
    known = hall.examples(1, prefix="k")[0]
    add_known_answer(known, "neutral", by=hall.by)
    hall.honeypot(mira, known, "positive", "neutral")
    html = text(see(mira, charlie))
    assert "You agree with the others on 0 % of the 25 examples" in html
    for word in ("nown answers</h2>", "Speed", "Pause", "See them", "jon", "btn-gold", "no reason to doubt"):
        assert word not in html, word


def test_agreement_has_its_interval_and_names_where_answers_differ(hall, mira, jon, see):
    for number, example in enumerate(hall.examples(30)):
        hall.say(mira, example, "neutral" if number < 27 else "positive")
        hall.say(jon, example, "neutral")
    found = full(mira).with_others
    assert (found.n, found.agreement.estimate, found.pairs) == (30, 0.9, [("positive", "neutral", 3)])
    html = text(see(mira))
    assert "90.0 %" in html and "n = 30" in html
    assert f"?said=positive&amp;by={mira.pk}&amp;other=neutral" in html


def test_honeypots_are_told_in_words(hall, mira, see, project):
    for number, example in enumerate(hall.examples(12)):
        add_known_answer(example, "neutral", by=hall.by)
        hall.honeypot(mira, example, "neutral" if number < 11 else "positive", "neutral")
    found = full(mira).honeypots
    assert (found.n_right, found.share.n, found.words) == (11, 12, "no reason to doubt")
    assert "No reason to doubt. 11 of 12 right." in text(see(mira)).replace("<b>", "").replace("</b>", "")


@pytest.mark.parametrize(("e_value", "words"), [
    (0.1, "no reason"), (1.9, "no reason"), (2, "weak signs"), (5, "some reason"), (19.9, "some reason"),
    (20, "proven below the floor")])
def test_evidence_in_words(e_value, words):
    assert evidence_words(e_value).startswith(words)


def test_implausibly_fast_answers_are_flagged_against_the_others_pace(hall, mira, jon, see):
    for number, example in enumerate(hall.examples(30)):
        hall.say(mira, example, "neutral", seconds=0.9 if number < 10 else 12)
        hall.say(jon, example, "neutral", seconds=10)
    speed = full(mira).speed
    assert (speed.n, speed.others, speed.limit, speed.n_fast, speed.is_implausible) == (30, 10, 2, 10, True)
    assert "faster than the text can be read" in text(see(mira))
    assert not full(jon).speed.is_implausible


def test_few_fast_answers_are_no_flag(hall, mira, jon):
    for number, example in enumerate(hall.examples(30)):
        hall.say(mira, example, "neutral", seconds=0.9 if number < 5 else 12)
        hall.say(jon, example, "neutral", seconds=10)
    assert not full(mira).speed.is_implausible


def test_alone_nobody_is_called_fast(hall, mira):
    for example in hall.examples(30):
        hall.say(mira, example, "neutral", seconds=0.1)
    speed = full(mira).speed
    assert (speed.others, speed.limit, speed.is_implausible) == (None, None, False)


def test_answers_are_counted_by_day_and_skips_apart(hall, mira):
    first, second, third = hall.examples(3)
    hall.say(mira, first, "neutral", days_ago=1)
    hall.say(mira, second, "neutral")
    hall.say(mira, third, None)
    found = full(mira)
    assert (found.daily[-2:], sum(found.daily), found.n_answers, found.n_skipped) == ([1, 1], 2, 2, 1)


def test_a_name_for_several_people_gets_no_report_and_is_told_why(hall, see):
    crowd = hall.person("column 1", is_person=False)
    for example in hall.examples(3):
        hall.ledger(crowd, example, "neutral")
    html = text(see(crowd))
    assert "figures about it would judge nobody" in html and "Agreement" not in html


def test_a_curator_pauses_with_a_reason_and_lets_go_on(hall, mira, see, bob, client_of):
    client = client_of(bob)
    assert client.post(reverse("labeling:annotator-pause", args=[mira.pk]), {"because": " "}).status_code == 400
    client.post(reverse("labeling:annotator-pause", args=[mira.pk]), {"because": "on holiday"})
    mira.refresh_from_db()
    assert mira.paused_because == "on holiday"
    html = text(see(mira))
    assert "on holiday" in html and html.count("btn-gold") == 1 and "begin anew" not in html
    client.post(reverse("labeling:annotator-resume", args=[mira.pk]))
    mira.refresh_from_db()
    assert mira.paused_at is None
    assert list(AuditEvent.objects.filter(what__endswith="_annotator").values_list("what", "who")) == [
        ("pause_annotator", "bob"), ("resume_annotator", "bob")]


def test_who_would_be_stopped_again_is_said_to_begin_anew(hall, mira, see):
    for example in hall.examples(12):
        add_known_answer(example, "neutral", by=hall.by)
        hall.honeypot(mira, example, "positive", "neutral")
    pause(mira, because="0 of 12", by=None)
    assert "going on means to begin anew" in text(see(mira))


def test_a_curator_lets_somebody_pass_the_exam(hall, mira, see, project, bob, client_of):
    LabelingRules.objects.create(project=project, exam_size=3)
    assert "Let pass without it" in text(see(mira))
    client_of(bob).post(reverse("labeling:annotator-pass", args=[mira.pk]))
    mira.refresh_from_db()
    assert mira.passed_exam_at is not None
    html = text(see(mira))
    assert "The entry exam is passed." in html and "Let pass without it" not in html


def test_an_annotator_changes_nothing_about_themself(hall, mira, charlie, client_of):
    for name in ("pause", "resume", "pass"):
        response = client_of(charlie).post(reverse(f"labeling:annotator-{name}", args=[mira.pk]), {"because": "x"})
        assert response.status_code == 403
    mira.refresh_from_db()
    assert mira.paused_at is None


def test_numbers_stay_with_people_when_others_come(hall, mira, jon, bob, alice, project):
    LabelingRules.objects.create(project=project, hides_names=True)
    before = names_for(project, bob)
    hall.person("aaa")
    after = names_for(project, bob)
    assert [before[one.pk] for one in (mira, jon)] == [after[one.pk] for one in (mira, jon)] == [
        "Annotator 1", "Annotator 2"]
    assert names_for(project, alice)[mira.pk] == "mira"


def test_the_report_takes_few_queries(hall, mira, jon, bob, client_of, django_assert_max_num_queries):
    for example in hall.examples(40):
        hall.say(mira, example, "neutral")
        hall.say(jon, example, "positive")
    client = client_of(bob)
    with django_assert_max_num_queries(29):
        client.get(reverse("labeling:annotator", args=[mira.pk]))
