"""A program runs a project's webhooks: it makes, changes, tries and stops them, and reads what was sent."""

import json

import pytest

from projects.models import AuditEvent, RememberedAnswer, Webhook, WebhookDelivery
from projects.services.sending import send_round
from projects.services.webhooks import MAX_WEBHOOKS, create_webhook
from tests.receiver import receiver

URL = "https://hooks.example.org/goldpan"


@pytest.fixture
def program(program_of, alice):
    return program_of(alice)


@pytest.fixture
def there(settings):
    with receiver() as found:
        settings.GOLDPAN_ALLOWED_ORIGINS = [found.origin]
        yield found


@pytest.fixture
def path(project):
    return f"/projects/{project.pk}/webhooks"


def test_the_secret_is_told_at_creation_and_never_again(path, program):
    wish = {"url": URL, "events": ["run.finished", "job.failed"]}
    made = program.post(path, wish, Idempotency_Key="one")
    assert made.status_code == 201 and made.data["secret"].startswith("whsec_")
    assert made.data["webhook"]["events"] == ["job.failed", "run.finished"]
    again = program.post(path, wish, Idempotency_Key="one")
    assert again["Idempotent-Replayed"] == "true" and again.data == made.data | {"secret": None}
    number = Webhook.objects.get().pk
    told = [program.get(path), program.get(f"/webhooks/{number}"), program.get(f"/webhooks/{number}/deliveries"),
            program.put(f"/webhooks/{number}", wish), program.put(f"/webhooks/{number}/state", {"state": "paused"})]
    kept = [*AuditEvent.objects.values_list("detail", flat=True), *RememberedAnswer.objects.values_list(
        "content", flat=True)]
    assert made.data["secret"] not in str([one.data for one in told]) + json.dumps(kept)


def test_a_new_secret_is_told_once_too(path, program):
    number = program.post(path, {"url": URL, "events": ["job.failed"]}).data["webhook"]["id"]
    new = program.post(f"/webhooks/{number}/secret", Idempotency_Key="two")
    assert new.status_code == 201 and new.data["secret"].startswith("whsec_") and new.data["old_secret_until"]
    assert program.post(f"/webhooks/{number}/secret", Idempotency_Key="two").data["secret"] is None
    refused = program.post(f"/webhooks/{number}/secret")
    assert refused.status_code == 409 and "Make another one after that" in refused.data["detail"]


@pytest.mark.parametrize(("wish", "status", "words"), [
    ({"url": "http://hooks.example.org", "events": ["job.failed"]}, 409, "has to begin with https://"),
    ({"url": "https://10.0.0.1/", "events": ["job.failed"]}, 409, "in a private network"),
    ({"url": URL, "events": ["flying"]}, 409, "“flying” is nothing that happens here"),
    ({"url": URL, "events": []}, 409, "at least one event"),
    ({"url": URL}, 422, "events"), ({"url": "", "events": ["job.failed"]}, 422, "url")])
def test_a_wrong_webhook_is_refused_in_words(path, program, wish, status, words):
    answer = program.post(path, wish)
    assert answer.status_code == status and words in json.dumps(answer.data, ensure_ascii=False)
    assert not Webhook.objects.exists()


def test_a_project_has_no_more_than_ten(path, project, program, alice):
    for _ in range(MAX_WEBHOOKS):
        create_webhook(project, url=URL, events=["job.failed"], by=alice)
    assert program.post(path, {"url": URL, "events": ["job.failed"]}).status_code == 409
    page = program.get(f"{path}?limit=6").data
    rest = program.get(f"{path}?limit=6&cursor={page['next']}").data
    assert [len(page["items"]), len(rest["items"]), rest["next"]] == [6, 4, None]


def test_it_is_changed_paused_and_removed_for_good(path, program):
    number = program.post(path, {"url": URL, "events": ["job.failed"]}).data["webhook"]["id"]
    changed = program.put(f"/webhooks/{number}", {"url": f"{URL}/2", "events": ["run.finished"]})
    assert (changed.data["url"], changed.data["events"]) == (f"{URL}/2", ["run.finished"])
    paused = program.put(f"/webhooks/{number}/state", {"state": "paused"}).data
    assert paused["state"] == "paused" and paused["paused_because"] == "alice paused it."
    assert program.put(f"/webhooks/{number}/state", {"state": "sending"}).data["state"] == "sending"
    assert program.put(f"/webhooks/{number}/state", {"state": "asleep"}).status_code == 422
    assert program.put(f"/webhooks/{number}/state", {"state": "removed"}).data["state"] == "removed"
    assert program.get(path).data["items"] == [] and program.get(f"/webhooks/{number}").data["state"] == "removed"
    for late in (program.put(f"/webhooks/{number}", {"url": URL, "events": ["job.failed"]}),
                 program.post(f"/webhooks/{number}/test")):
        assert late.status_code == 409 and "was removed" in late.data["detail"]


def test_a_test_tells_how_it_went_and_what_was_sent_is_sent_again_under_the_same_id(path, program, there):
    number = program.post(path, {"url": there.url, "events": ["job.failed"]}).data["webhook"]["id"]
    tried = program.post(f"/webhooks/{number}/test")
    assert tried.status_code == 201 and (tried.data["state"], tried.data["status"]) == ("delivered", 200)
    assert tried.data["answer"] == "thanks" and tried.data["event"] == "webhook.test"
    [sent] = program.get(f"/webhooks/{number}/deliveries?state=delivered").data["items"]
    assert sent == tried.data and there.came[0][1]["webhook-id"] == sent["uuid"]
    again = program.post(f"/webhooks/{number}/again", {"delivery": sent["id"]})
    assert again.status_code == 200 and again.data["state"] == "waiting"
    waits = program.post(f"/webhooks/{number}/again", {"delivery": sent["id"]})
    assert waits.status_code == 409 and "waits to be sent already" in waits.data["detail"]
    send_round()
    assert [headers["webhook-id"] for _, headers, _ in there.came] == [sent["uuid"]] * 2


def test_a_receiver_that_refuses_is_told_with_its_answer(path, program, there):
    there.status, there.text = 500, "no room"
    number = program.post(path, {"url": there.url, "events": ["job.failed"]}).data["webhook"]["id"]
    tried = program.post(f"/webhooks/{number}/test").data
    assert (tried["status"], tried["answer"]) == (500, "no room") and tried["state"] != "delivered"
    assert program.get(f"/webhooks/{number}/deliveries?state=delivered").data["items"] == []
    assert program.get(f"/webhooks/{number}/deliveries?state=lost").status_code == 422


def test_a_delivery_of_another_webhook_is_not_sent_again(path, project, program, alice, there):
    [mine, other] = [create_webhook(project, url=there.url, events=["job.failed"], by=alice)[0] for _ in range(2)]
    program.post(f"/webhooks/{other.pk}/test")
    number = WebhookDelivery.objects.get().pk
    assert program.post(f"/webhooks/{mine.pk}/again", {"delivery": number}).status_code == 409
    assert program.post(f"/webhooks/{mine.pk}/again", {"delivery": 0}).status_code == 422


def test_reading_deliveries_takes_as_many_queries_however_many_there_are(
        path, project, program, alice, there, django_assert_max_num_queries):
    webhook = create_webhook(project, url=there.url, events=["job.failed"], by=alice)[0]
    for _ in range(3):
        program.post(f"/webhooks/{webhook.pk}/test")
    for address in (path, f"/webhooks/{webhook.pk}/deliveries"):
        with django_assert_max_num_queries(8):
            assert program.get(address).status_code == 200
