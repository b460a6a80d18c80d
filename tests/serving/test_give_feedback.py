"""What comes back about answers: stored once, checked by the type of task, and made an answer where it may be one."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from curation.services.erasing import erase
from labeling.models import Annotation, Example
from projects.models import AuditEvent
from serving.exchange_id import Named, new_id
from serving.models import Exchange, ExchangeContent, Feedback, TakenCorrection
from serving.services.feedback import facts_of, poll
from serving.services.rules import save_rules
from tests.conftest import new_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(champion, backend, program, project):
    """Ask about a text and return the exchange's id."""
    def asked(text="Row 103 was lovely.", **more):
        return program.predict(project, text, **more).json()["exchange"]

    return asked


def of_split(project, split, word="lovely"):
    """A text that falls to this split."""
    from labeling.texts import content_sha256, split_of
    shares = tuple(project.split_shares[name] for name in ("pool", "dev", "test"))
    return next(text for n in range(1000, 2000) if split_of(content_sha256(text := f"Row {n} was {word}."),
                                                            project.split_salt, shares) == split)


def test_a_correction_becomes_an_answer_with_its_source(ask, program, project):
    text = of_split(project, "pool")
    exchange = ask(text)
    said = program.say(exchange, thumb="down", correction="neutral").json()
    assert said == {"id": said["id"], "exchange": exchange, "is_new": True, "correction": "answer"}
    taken = TakenCorrection.objects.get(feedback=said["id"])
    assert taken.example.text == text and taken.example.split == "pool"
    annotation = taken.annotation
    assert (annotation.value, annotation.source) == ("neutral", "feedback")
    assert annotation.annotator.name == "feedback by shop"
    assert not annotation.annotator.is_person, "one key, many people"
    assert AuditEvent.objects.filter(project=project, what="take_correction").count() == 1


def test_a_text_that_is_an_example_already_gets_another_answer(ask, program, project):
    text = of_split(project, "pool")
    for correction in ("neutral", "negative"):
        program.say(ask(text), correction=correction)
    example = Example.objects.get(project=project, text=text)
    assert list(example.annotations.values_list("value", flat=True)) == ["neutral", "negative"]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_held_out_text_is_taken_to_be_labelled_blind(ask, program, project, split):
    text = of_split(project, split)
    assert program.say(ask(text), correction="neutral").json()["correction"] == "held out"
    example = Example.objects.get(project=project, text=text)
    assert example.split == split and not example.annotations.exists()


def test_the_callers_group_decides_the_split(ask, program, project):
    program.say(ask(group="customer 7"), correction="neutral")
    program.say(ask("Row 104 was awful.", group="customer 7"), correction="neutral")
    assert len(set(Example.objects.filter(group="customer 7").values_list("split", flat=True))) == 1


@pytest.mark.parametrize(("said", "words"), [
    ({}, "Say something"), ({"thumb": "sideways"}, "up or down"), ({"correction": "angry"}, "angry"),
    ({"correction": {"label": "neutral"}}, "correction"), ({"outcome": "many"}, "number"),
    ({"outcome": True}, "number"),
    ({"thumb": "up", "comment": "c" * 2001}, "2,000"), ({"thumb": 3}, "text")])
def test_what_is_no_feedback_is_refused_in_words(ask, program, said, words):
    response = program.say(ask(), **said)
    assert response.status_code == 400 and words in response.json()["error"]["message"]
    assert not Feedback.objects.exists()


def test_the_same_again_adds_nothing_and_other_words_under_its_key_are_refused(ask, program):
    exchange = ask()
    first = program.say(exchange, key="order-1", correction="neutral").json()
    again = program.say(exchange, key="order-1", correction="neutral").json()
    assert (first["is_new"], again["is_new"], first["id"]) == (True, False, again["id"])
    other = program.say(exchange, key="order-1", correction="negative")
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_conflict"
    assert Feedback.objects.count() == 1 and Annotation.objects.filter(source="feedback").count() <= 1
    program.say(exchange, thumb="up")
    program.say(exchange, thumb="up")
    assert Feedback.objects.count() == 3, "without a key each counts"


def test_feedback_needs_an_exchange_of_its_project(ask, program, project, dora):
    exchange, other = ask(), new_project("Another", dora)
    deployment = Exchange.objects.get(name=exchange).deployment_id
    made_up = new_id(Named(project.pk, deployment, 0), secret="somebody else's")
    foreign = new_id(Named(other.pk, deployment, 0), secret=settings.SECRET_KEY)
    for name in ("", "ex-", "ex-ä", "x" * 300, exchange[:-1], made_up, foreign):
        response = program.say(name, thumb="up")
        assert response.status_code == 404 and response.json()["error"]["code"] == "exchange_not_found", name


def test_feedback_counts_although_nothing_was_kept(ask, program, project, alice):
    save_rules(project, {"sample_share": 0.0}, by=alice)
    exchange = ask()
    Exchange.objects.all().delete()
    said = program.say(exchange, thumb="down", correction="neutral").json()
    assert said["correction"] == "waits" and Feedback.objects.get().deployment is not None
    assert poll() == 0 and not TakenCorrection.objects.exists()


def test_a_correction_that_was_faster_than_the_log_is_taken_later(ask, program, project, monkeypatch):
    from serving.services.exchanges import LOG

    monkeypatch.setattr(LOG, "_is_threaded", True)
    monkeypatch.setattr(LOG, "_thread", object())  # nobody writes yet
    exchange = ask(of_split(project, "pool"))
    assert program.say(exchange, correction="neutral").json()["correction"] == "waits"
    assert poll() == 0
    LOG.flush()
    assert (poll(), poll()) == (1, 0)
    assert Annotation.objects.get(source="feedback").value == "neutral"


def test_that_a_person_took_over_is_feedback_of_its_own(ask, program, project):
    exchange = ask()
    for _ in range(2):
        assert program.say(exchange, escalated=True).status_code == 200
    assert list(Feedback.objects.values_list("is_escalated", "thumb")) == [(True, ""), (True, "")]
    assert facts_of(project, since=timezone.now() - timedelta(days=1)).n_escalated == 1, "answers, not words on them"
    assert program.say(exchange, escalated=False).status_code == 400
    wrong = program.say(exchange, escalated="yes")
    assert wrong.status_code == 400 and "true or false" in wrong.json()["error"]["message"]


def test_feedback_cannot_be_changed(ask, program):
    program.say(ask(), thumb="up")
    for change in (lambda: Feedback.objects.update(thumb="down"), lambda: Feedback.objects.all().delete()):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            change()


def test_an_erasure_blanks_what_was_said_about_it(ask, program, project, alice):
    program.say(ask(of_split(project, "pool")), correction="neutral", comment="Ann wrote this.")
    example = TakenCorrection.objects.get().example
    erase([example], reason="Somebody asked.", by=alice)
    assert Feedback.objects.get().comment == "" and not ExchangeContent.objects.exists()
    assert Feedback.objects.get().correction == "neutral", "a label holds no words of anybody"


def test_the_last_word_on_an_answer_counts(ask, program, project):
    one, other = ask(), ask()
    for exchange, thumb in ((one, "up"), (one, "down"), (other, "up")):
        program.say(exchange, thumb=thumb)
    program.say(one, outcome=3)
    program.say(one, outcome=5)
    program.say(other, outcome=7)
    facts = facts_of(project, since=project.created_at)
    assert (facts.n_up, facts.n_down, facts.thumbs.n) == (1, 1, 2)
    assert facts.thumbs.low == pytest.approx(0.0945, abs=1e-3), "Wilson's, of 1 in 2"
    assert (facts.n_outcomes, facts.outcome.estimate) == (2, 6.0)
