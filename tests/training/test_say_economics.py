import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.urls import reverse

from projects.models import AuditEvent
from tests.training.conftest import trained
from tests.training.story import approved_snapshot, quoted
from training.models import Cap, Price, ProjectEconomics, Weighing
from training.services.baseline import start_baseline
from training.services.economics import economics_of, latest_weighing
from training.services.prices import prices
from training.services.runs import gate_objection, start_training

SAID = {"requests": "20000", "months": "12", "value": "0.2"}


def url(project, name="economics"):
    return reverse(f"training:{name}", args=[project.pk])


@pytest.fixture
def machine(alice):
    return Price.objects.create(kind="machine", name="our box", currency="USD", per_hour=36.0, since="2026-01-01",
                                source="the bill", created_by=alice)


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_say_what_answers_are_worth(project, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert client.get(url(project)).status_code == status
    assert client.post(url(project), SAID).status_code == (302 if status == 200 else status)


def test_nothing_is_said_until_somebody_says_it(project, alice, client_of):
    html = client_of(alice).get(url(project)).content.decode()
    assert 'name="requests" value' not in html and economics_of(project).pk is None
    assert "nothing is made up in its place" in html and "No prompt has been tried yet" in html


def test_every_saving_is_kept_with_its_name(project, alice, bob, client_of):
    client_of(alice).post(url(project), SAID)
    client_of(bob).post(url(project), SAID | {"value": "0.3", "realised": "80"})
    assert [(one.value, one.realised, one.created_by) for one in ProjectEconomics.objects.all()] == [
        (0.3, 0.8, bob), (0.2, None, alice)]
    assert AuditEvent.objects.filter(what="say_economics").count() == 2
    assert 'value="80' in client_of(bob).get(url(project)).content.decode()
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        ProjectEconomics.objects.update(value=1)


@pytest.mark.parametrize(("changes", "words"), [
    ({"requests": "-1"}, "greater than or equal to 0"), ({"realised": "101"}, "less than or equal to 100"),
    ({"value_low": "0.5"}, "has to lie between the least and the most"), ({"months": "0"}, "has to be above 0"),
    ({"value": "", "value_high": "2"}, "Say the likeliest worth between the two ends.")])
def test_what_cannot_be_is_said_at_its_field(project, alice, client_of, changes, words):
    response = client_of(alice).post(url(project), SAID | changes)
    assert response.status_code == 422 and words in response.content.decode()
    assert not ProjectEconomics.objects.exists()


def test_a_verdict_is_weighed_when_it_is_given(judged):
    weighing = Weighing.objects.get()
    assert weighing.outcome == "FINE_TUNE" and weighing.economics is None and weighing.quote is None
    assert "nor what answers are worth: this verdict stands on the prompt's bounds alone." in weighing.words[-1]
    assert weighing.ceiling["n"] == 69  # 9 dev and 60 test rows have three answers each
    assert gate_objection(judged) == ""


def test_an_earlier_run_tells_what_the_next_may_bring(judged, project, alice, bob, client_of, run_jobs):
    trained(judged, alice, run_jobs)
    client_of(alice).post(url(project), SAID)
    weighing = latest_weighing(judged.verdict)
    assert "if it does as run" in weighing.words[0]
    assert weighing.found["gain"]["estimate"] == pytest.approx(0.45, abs=0.02)
    assert weighing.found["worth"]["value"]["estimate"] > 0 and weighing.outcome == "FINE_TUNE"
    html = client_of(alice).get(url(project)).content.decode()
    assert "Value over all months" in html and "It pays" in html


def test_a_training_that_cannot_pay_needs_a_reason(judged, project, alice, machine, client_of, run_jobs):
    trained(judged, alice, run_jobs)
    client_of(alice).post(url(project), {"requests": "1", "months": "1", "value": "0.1", "machine": machine.pk,
                                         "hosting": "50"})
    weighing = latest_weighing(judged.verdict)
    assert weighing.outcome == "INCONCLUSIVE" and "Training is not shown to pay here." in weighing.next_step
    assert "it pays in under 1\u202f% of what may come" in gate_objection(judged)
    assert "The gate advises against training." in client_of(alice).get(
        reverse("training:train", args=[judged.pk])).content.decode()
    assert "Training is not shown to be worth it" in client_of(alice).get(
        reverse("training:run-list", args=[project.pk])).content.decode()


def test_a_prompt_that_is_good_enough_stays_so_whatever_is_said(project, alice, bob, model, run_jobs, client_of):
    model.prompt_errs = lambda number: False
    snapshot = approved_snapshot(project, maker=bob, approver=alice)
    start_baseline(snapshot, by=bob)
    run_jobs()
    client_of(alice).post(url(project), SAID)
    assert latest_weighing(snapshot.verdict).outcome == "PROMPT_OK"


def test_the_machines_price_turns_time_into_money(judged, project, alice, machine, client_of, run_jobs):
    client_of(alice).post(url(project), SAID | {"machine": machine.pk})
    quote = quoted(judged, alice)
    assert quote.money == pytest.approx(0.86) and "costs about 0.86 USD" in quote.words[0]  # 86 s at 36 an hour
    run = start_training(judged, by=alice, cap_money=0.9)
    assert Cap.objects.get(run=run).seconds == pytest.approx(90)
    run_jobs()
    assert run.receipts.get().money == pytest.approx(0.80)


def test_an_admin_keeps_the_price_table(project, alice, bob, machine, client_of):
    assert client_of(bob).get(url(project, "prices")).status_code == 403
    client = client_of(alice)
    html = client.get(url(project, "prices")).content.decode()
    assert "H100" in html and "check before you rely on it" in html and "our box" in html
    row = {"kind": "machine", "name": "our box", "currency": "usd", "per_hour": "40", "since": "2026-06-01",
           "source": "the next bill"}
    assert client.post(url(project, "prices"), row).status_code == 302
    assert [price.per_hour for price in prices("machine") if price.name == "our box"] == [40.0]
    assert client.post(url(project, "prices"), row | {"per_hour": ""}).status_code == 422
    newest = next(price for price in prices() if price.name == "our box")
    assert client.post(url(project, "price-withdraw"), {"price": newest.pk}).status_code == 302
    assert "our box" not in [price.name for price in prices()]
    assert client.post(url(project, "price-withdraw"), {"price": newest.pk}).status_code == 400


def test_the_pages_ask_few_queries(judged, project, alice, client_of, django_assert_max_num_queries, run_jobs):
    trained(judged, alice, run_jobs)
    client_of(alice).post(url(project), SAID)
    client = client_of(alice)
    for address, most in ((url(project), 18), (reverse("training:train", args=[judged.pk]), 24)):
        with django_assert_max_num_queries(most):
            client.get(address)


def test_the_command_says_it_in_the_same_words(judged, alice, charlie):
    def said(by, **values):
        return call_command("economics", "Moods", "--by", by, "--say", json.dumps(values), "--json", stdout=StringIO())

    said("alice", requests=500, realised=80)
    said("alice", months=6)
    kept = economics_of(judged.project)
    assert (kept.requests, kept.realised, kept.months, kept.created_by) == (500, 0.8, 6, alice)
    for by, values, words in (("charlie", {}, "neither"), ("alice", {"wealth": 1}, "There is no wealth"),
                              ("alice", {"months": -1}, "months: ")):
        with pytest.raises(CommandError, match=words):
            said(by, **values)
