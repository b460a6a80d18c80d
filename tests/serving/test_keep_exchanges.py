"""What is kept of requests, and for how long."""

from datetime import timedelta

import pytest
from django.utils import timezone

from curation.services.erasing import erase
from serving.masking import mask, mask_all
from serving.models import Exchange, ExchangeContent, TrafficDay
from serving.services.exchanges import LOG, purge
from serving.services.rules import rules_of, save_rules
from training.models import Price
from training.services.economics import save_economics

pytestmark = pytest.mark.django_db


def change(project, alice, **values):
    rules = rules_of(project)
    before = {name: getattr(rules, name) for name in (
        "sample_share", "masks", "retention_days", "key_limit", "project_limit")}
    return save_rules(project, before | values, by=alice)


def test_a_request_is_an_example_to_be(champion, backend, program, project, key):
    said = program.predict(project, "Row 003 was lovely.", group="customer 7").json()
    exchange = Exchange.objects.get(name=said["exchange"])
    assert (exchange.api_key, exchange.route) == (key[0], "predict")
    assert exchange.is_answered and exchange.is_readable
    assert (exchange.prompt_tokens, exchange.answer_tokens, exchange.model_seconds) == (50, 2, 0.04)
    content = exchange.content
    assert (content.text, content.group) == ("Row 003 was lovely.", "customer 7")
    assert content.answer["value"] == "positive" and content.answer["probability"] > 0.9


def test_personal_data_is_covered_unless_somebody_says_otherwise(champion, backend, program, project, alice):
    text = "Row 003 was lovely, write to ann@example.org"
    program.predict(project, text)
    assert ExchangeContent.objects.get().text == "Row 003 was lovely, write to •••••••••••••••"
    assert backend.asked[0][1].text == text, "the model reads what came"
    change(project, alice, masks=False)
    program.predict(project, text)
    assert ExchangeContent.objects.first().text != ExchangeContent.objects.last().text == text


def test_masks_are_as_long_as_what_they_cover():
    text = "Pay DE89 3704 0044 0532 0130 00 or call +49 30 1234567."
    assert len(mask(text)) == len(text) and "0532" not in mask(text) and mask(text).endswith(".")
    assert mask("no such thing, 2026-01-01") == "no such thing, 2026-01-01"
    assert mask_all({"a": ["x@y.org", 3], "b": None}) == {"a": ["•••••••", 3], "b": None}


def test_a_sample_of_none_keeps_no_words_and_counts_all(champion, backend, program, project, alice):
    change(project, alice, sample_share=0.0)
    for _ in range(3):
        program.predict(project)
    assert Exchange.objects.count() == 3 and not ExchangeContent.objects.exists()
    assert TrafficDay.objects.get(project=project).n_answered == 3


def test_words_go_when_their_retention_ends(champion, backend, program, project, alice):
    program.predict(project)
    now = timezone.now()
    assert purge(now=now + timedelta(days=29)) == 0
    assert purge(now=now + timedelta(days=30)) == 1
    assert not ExchangeContent.objects.exists() and Exchange.objects.exists()
    purge(now=now + timedelta(days=401))
    assert not Exchange.objects.exists() and TrafficDay.objects.get(project=project).n_answered == 1


def test_a_shorter_retention_counts_at_once_and_a_longer_one_does_not(champion, backend, program, project, alice):
    program.predict(project)
    change(project, alice, retention_days=3)
    today = ExchangeContent.objects.get().exchange.at.date()
    assert ExchangeContent.objects.get().delete_on == today + timedelta(days=3)
    change(project, alice, retention_days=99)
    assert ExchangeContent.objects.get().delete_on == today + timedelta(days=3)


def test_an_answer_does_not_depend_on_the_log(champion, backend, program, project, monkeypatch):
    def broken(entries, lost):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(LOG, "_write", broken)
    monkeypatch.setattr(LOG, "_sleep", lambda seconds: None)
    assert program.predict(project).json()["answer"] == "positive"
    assert not Exchange.objects.exists()


def test_what_the_log_lost_is_counted_by_the_next_that_is_written(champion, backend, program, project, monkeypatch):
    monkeypatch.setattr(LOG, "_room", 0)
    program.predict(project)
    monkeypatch.setattr(LOG, "_room", 100)
    program.predict(project)
    day = TrafficDay.objects.get(project=project)
    assert (day.n_answered, day.n_lost) == (1, 1)


def test_the_cost_is_the_models_time_at_the_machines_price(champion, backend, program, project, alice):
    program.predict(project)
    machine = Price.objects.create(kind="machine", name="box", per_hour=3600.0, since="2026-01-01", source="a bill",
                                   created_by=alice)
    save_economics(project, {"machine": machine}, by=alice)
    program.predict(project)
    assert list(Exchange.objects.order_by("pk").values_list("cost", flat=True)) == [None, pytest.approx(0.02)]
    day = TrafficDay.objects.get(project=project)
    assert (day.cost, day.n_uncosted) == (pytest.approx(0.02), 1)


def test_an_erasure_takes_the_words_of_requests_along(champion, backend, program, project, alice):
    example = project.examples.filter(split="pool").first()
    program.predict(project, example.text)
    program.predict(project, "Row 003 was lovely and else.")
    erase([example], reason="Somebody asked.", by=alice)
    assert [content.text for content in ExchangeContent.objects.all()] == ["Row 003 was lovely and else."]
