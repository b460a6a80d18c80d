"""Webhooks of a project: an admin makes them, tries them, reads what was sent, exchanges the secret, stops them."""

import re

import pytest
from django.urls import reverse

from projects.errors import UserError
from projects.models import AuditEvent, Notice, Webhook, WebhookDelivery
from projects.services.sending import send_round
from projects.services.webhooks import MAX_WEBHOOKS, create_webhook, edit_webhook, rotate_secret
from tests.projects.test_notify import inbox, tell
from tests.receiver import receiver

URL = "https://hooks.example.org/goldpan"


@pytest.fixture
def there(settings):
    with receiver() as found:
        settings.GOLDPAN_ALLOWED_ORIGINS = [found.origin]
        yield found


@pytest.fixture
def webhook(project, alice, there):
    return create_webhook(project, url=there.url, events=["run.finished"], by=alice)[0]


def page(client, name, pk, **data):
    url = reverse(f"projects:{name}", args=[pk])
    here = {"Referer": f"http://testserver{url}"}
    return client.post(url, data, follow=True, headers=here) if data else client.get(url)


def secret_in(html):
    found = re.search(r'<code id="secret">(whsec_[^<]+)</code>', html)
    return found and found[1]


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_an_admin_makes_webhooks(project, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert page(client, "webhooks", project.pk).status_code == status
    assert page(client, "webhooks", project.pk, url=URL, events=["run.finished"]).status_code == status
    assert Webhook.objects.exists() == (status == 200)


def test_the_secret_is_shown_once_and_stored_encrypted(project, alice):
    client = inbox(alice)
    html = page(client, "webhooks", project.pk, url=URL, events=["run.finished", "job.failed"]).content.decode()
    made = Webhook.objects.get()
    secret = secret_in(html)
    assert made.events == ["job.failed", "run.finished"] and secret and secret not in made.secret_encrypted
    assert secret_in(page(client, "webhook", made.pk).content.decode()) is None
    assert secret not in str(list(AuditEvent.objects.values_list("detail", flat=True)))


@pytest.mark.parametrize(("url", "words"), [
    ("http://hooks.example.org/", "has to begin with https://"), ("https://10.0.0.1/", "in a private network"),
    ("hooks.example.org", "must look like"), ("https://a:b@hooks.example.org/", "must look like")])
def test_an_address_that_nothing_is_sent_to_is_refused_on_the_page(project, alice, url, words):
    html = page(inbox(alice), "webhooks", project.pk, url=url, events=["run.finished"]).content.decode()
    assert words in html and url in html and not Webhook.objects.exists()


def test_without_an_event_or_with_an_unknown_one_it_is_refused(project, alice):
    for events, words in (([], "at least one event"), (["run.flew"], "nothing that happens here")):
        with pytest.raises(UserError, match=words):
            create_webhook(project, url=URL, events=events, by=alice)


def test_a_project_has_ten_at_most(project, alice):
    for _ in range(MAX_WEBHOOKS):
        create_webhook(project, url=URL, events=["run.finished"], by=alice)
    with pytest.raises(UserError, match="at most 10"):
        create_webhook(project, url=URL, events=["run.finished"], by=alice)


def test_a_test_is_sent_at_once_and_its_answer_shown(webhook, alice, there):
    html = page(inbox(alice), "webhook-test", webhook.pk, sure="1").content.decode()
    assert "It works: the receiver answered 200." in html and len(there.came) == 1
    assert not Notice.objects.get(event="webhook.test").items.exists(), "nobody's inbox has it"


def test_a_test_that_fails_is_not_repeated(webhook, alice, there):
    there.status = 500
    html = page(inbox(alice), "webhook-test", webhook.pk, sure="1").content.decode()
    delivery = WebhookDelivery.objects.get()
    webhook.refresh_from_db()
    assert "The receiver answered 500" in html and delivery.state == "given_up" and webhook.n_failures == 0


def test_the_log_says_what_came_back_and_when_it_is_tried_next(project, webhook, alice, there):
    there.status, there.text = 503, "<b>back soon</b>"
    tell(project)
    send_round()
    html = page(inbox(alice), "webhook", webhook.pk).content.decode()
    assert "503" in html and "&lt;b&gt;back soon" in html and "next try in" in html and "failing" in html
    assert "Nothing of this kind" in inbox(alice).get(
        reverse("projects:webhook", args=[webhook.pk]), {"show": "delivered"}).content.decode()


def test_a_delivery_is_sent_again_by_a_button(project, webhook, alice, there):
    tell(project)
    send_round()
    client, delivery = inbox(alice), WebhookDelivery.objects.get()
    assert "under the same id" in page(client, "webhook-again", webhook.pk, delivery=delivery.pk).content.decode()
    send_round()
    assert len(there.came) == 2
    for wrong in ("", "x", "99999"):
        assert "waits to be sent already" in client.post(
            reverse("projects:webhook-again", args=[webhook.pk]), {"delivery": wrong}).content.decode()


def test_another_projects_delivery_is_not_sent_by_this_webhooks_button(project, webhook, alice, there):
    other = create_webhook(project, url=there.url, events=["job.failed"], by=alice)[0]
    tell(project)
    send_round()
    page(inbox(alice), "webhook-again", other.pk, delivery=WebhookDelivery.objects.get().pk)
    assert WebhookDelivery.objects.get().state == "delivered"


def test_a_new_secret_is_shown_once_and_another_has_to_wait(webhook, alice):
    client = inbox(alice)
    html = client.post(reverse("projects:webhook-secret", args=[webhook.pk])).content.decode()
    assert secret_in(html) and "signs as well until" in html
    webhook.refresh_from_db()
    assert secret_in(client.get(reverse("projects:webhook-secret", args=[webhook.pk]), follow=True).content.decode()
                     ) is None
    with pytest.raises(UserError, match="before this one signs until"):
        rotate_secret(webhook, by=alice)


def test_of_two_who_make_a_new_secret_one_is_told(webhook, alice):
    stale = Webhook.objects.get(pk=webhook.pk)
    rotate_secret(webhook, by=alice)
    with pytest.raises(UserError, match="has just changed"):
        rotate_secret(stale, by=alice)


def test_pausing_going_on_and_removing_are_written_down(webhook, alice):
    client = inbox(alice)
    assert "alice paused it." in page(client, "webhook-state", webhook.pk, state="paused").content.decode()
    assert "in use" in page(client, "webhook-state", webhook.pk, state="sending").content.decode()
    assert "No webhooks yet" in page(client, "webhook-state", webhook.pk, state="removed").content.decode()
    assert [event.detail["state"] for event in AuditEvent.objects.filter(what="set_webhook_state")] == [
        "paused", "sending", "removed"]
    with pytest.raises(UserError, match="was removed"):
        edit_webhook(webhook, url=URL, events=["run.finished"], by=alice)
    assert page(client, "webhook", webhook.pk).status_code == 200, "its log can still be read"


def test_address_and_events_can_be_changed(webhook, alice):
    page(inbox(alice), "webhook-edit", webhook.pk, url=URL, events=["job.failed"])
    webhook.refresh_from_db()
    assert (webhook.url, webhook.events) == (URL, ["job.failed"])
    html = page(inbox(alice), "webhook-edit", webhook.pk, url="http://x.example", events=["job.failed"])
    webhook.refresh_from_db()
    assert webhook.url == URL and "has to begin with https://" in html.content.decode()


def test_the_log_asks_few_questions(project, webhook, alice, django_assert_max_num_queries):
    for _ in range(60):
        tell(project)
    client = inbox(alice)
    with django_assert_max_num_queries(8):
        client.get(reverse("projects:webhook", args=[webhook.pk]))
    with django_assert_max_num_queries(6):
        client.get(reverse("projects:webhooks", args=[project.pk]))
