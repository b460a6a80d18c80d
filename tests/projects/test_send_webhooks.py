"""Deliveries to a real receiver: signed, again until they are taken, the same id each time, never two states."""

import json
import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from standardwebhooks import Webhook as Verifier

from projects.backoff import MAX_TRIES, wait_seconds
from projects.models import InboxItem, Notice, WebhookDelivery
from projects.services import sending
from projects.services.sending import LEASE, MIN_FAILURES, send, send_due, send_round
from projects.services.webhooks import create_webhook, rotate_secret, send_again, set_webhook_state
from tests.projects.test_notify import tell
from tests.receiver import receiver


@pytest.fixture
def there(settings):
    with receiver() as found:
        settings.GOLDPAN_ALLOWED_ORIGINS = [found.origin]
        yield found


@pytest.fixture
def made(project, alice, there):
    """The webhook and its secret."""
    return create_webhook(project, url=there.url, events=["run.finished"], by=alice)


def only():
    return WebhookDelivery.objects.select_related("webhook").get()


def let_it_be_due():
    WebhookDelivery.objects.filter(state="waiting").update(next_at=timezone.now())


def later(monkeypatch, **by):
    """Let the clock of deliveries go ahead."""
    now = timezone.now() + timedelta(**by)
    monkeypatch.setattr(timezone, "now", lambda: now)


def test_a_delivery_is_signed_and_says_what_happened(project, made, there, settings):
    notice = tell(project, text="It took 351 s.")
    assert send_round() == 1
    (_, headers, body), = there.came
    said = Verifier(made[1]).verify(body, headers)
    delivery = only()
    assert said == {
        "id": str(delivery.uuid), "type": "run.finished", "timestamp": notice.at.isoformat(),
        "project": {"id": project.pk, "name": "Moods"}, "title": "Run 13 is trained", "text": "It took 351 s.",
        "link": f"{settings.GOLDPAN_URL}/runs/13/", "data": {"run": 13, "adapter": 2}}
    assert headers["webhook-id"] == str(delivery.uuid) and headers["content-type"] == "application/json"
    assert (delivery.state, delivery.status, delivery.n_tries, delivery.answer) == ("delivered", 200, 1, "thanks")
    assert send_round() == 0, "once"


def test_what_fails_comes_again_later_under_the_same_id(project, made, there):
    there.answers = [500, 503]
    tell(project)
    send_round()
    waiting = only()
    assert (waiting.state, waiting.status, waiting.n_tries) == ("waiting", 500, 1)
    assert 24 <= (waiting.next_at - timezone.now()).total_seconds() <= 36
    assert send_round() == 0, "not before its time"
    for _ in range(2):
        let_it_be_due()
        send_round()
    assert only().state == "delivered" and only().n_tries == 3
    assert len({headers["webhook-id"] for _, headers, _ in there.came}) == 1
    assert len({body for _, _, body in there.came}) == 1 and only().webhook.n_failures == 0


def test_a_receiver_that_asks_for_time_gets_it(project, made, there):
    there.status, there.headers = 429, {"Retry-After": "600"}
    tell(project)
    send_round()
    assert 590 <= (only().next_at - timezone.now()).total_seconds() <= 601


def test_a_receiver_that_takes_nothing_is_paused_and_what_waits_is_kept(project, made, there, alice, monkeypatch):
    there.status = 500
    tell(project)
    for _ in range(MAX_TRIES):
        let_it_be_due()
        send_round()
        later(monkeypatch, hours=2)
    waiting = only()
    assert waiting.state == "waiting" and MIN_FAILURES <= waiting.n_tries < MAX_TRIES and waiting.webhook.paused_at
    notice = Notice.objects.get(event="webhook.paused")
    assert [item.user.username for item in notice.items.all()] == ["alice"] and "in a row failed" in notice.text
    there.status = 200
    set_webhook_state(made[0], "sending", by=alice)
    send_round()
    assert only().state == "delivered"


def test_a_notice_that_a_receiver_refuses_for_a_day_is_given_up(project, made, there):
    """While it takes others, the webhook stays in use."""
    there.status = 422
    tell(project)
    WebhookDelivery.objects.update(n_tries=MAX_TRIES - 1)
    send_round()
    assert (only().state, only().n_tries, only().next_at, only().webhook.paused_at) == (
        "given_up", MAX_TRIES, None, None)


def test_all_tries_take_longer_than_it_takes_to_pause():
    shortest = sum(wait_seconds(n, 0) for n in range(1, MAX_TRIES))
    assert shortest > sending.PAUSE_AFTER.total_seconds()


def test_a_short_trouble_pauses_nothing_however_much_happens(project, made, there):
    there.status = 500
    for _ in range(MIN_FAILURES + 3):
        tell(project)
    send_round()
    webhook = only_webhook(made)
    assert webhook.n_failures == MIN_FAILURES + 3 and webhook.failing_since and not webhook.paused_at
    there.status = 200
    let_it_be_due()
    send_round()
    webhook = only_webhook(made)
    assert (webhook.n_failures, webhook.failing_since) == (0, None)


def only_webhook(made):
    made[0].refresh_from_db()
    return made[0]


def test_a_receiver_that_is_gone_for_good_is_left_alone(project, made, there):
    there.status = 410
    tell(project)
    send_round()
    assert only().state == "given_up" and only().webhook.paused_because == "Its receiver says that it is gone for good."


def test_what_happens_during_a_pause_is_sent_afterwards(project, made, there, alice):
    set_webhook_state(made[0], "paused", by=alice)
    tell(project)
    assert send_round() == 0 and only().state == "waiting"
    set_webhook_state(made[0], "sending", by=alice)
    assert send_round() == 1 and only().state == "delivered"


def test_a_removed_webhook_gets_nothing_more(project, made, there, alice):
    tell(project)
    set_webhook_state(made[0], "removed", by=alice)
    tell(project)
    assert send_round() == 0 and not there.came and WebhookDelivery.objects.count() == 1


def test_while_a_secret_is_exchanged_both_open_it_and_after_a_day_only_the_new_one(
        project, made, there, alice, monkeypatch):
    webhook, old = made
    new = rotate_secret(webhook, by=alice)
    tell(project)
    send_round()
    _, headers, body = there.came[-1]
    assert Verifier(new).verify(body, headers) == Verifier(old).verify(body, headers)
    later(monkeypatch, days=1, seconds=1)
    tell(project)
    send_round()
    assert len(there.came[-1][1]["webhook-signature"].split()) == 1 and len(headers["webhook-signature"].split()) == 2


def test_a_lost_key_sends_nothing_unsigned(project, made, there, settings):
    settings.GOLDPAN_FERNET_KEY = "A" * 43 + "="
    tell(project)
    send_round()
    assert not there.came and only().state == "waiting" and "GOLDPAN_FERNET_KEY" in only().words


def test_of_two_ticks_one_sends_it(project, made, there):
    tell(project)
    seen_by_both = [WebhookDelivery.objects.select_related("webhook", "notice__project").get() for _ in range(2)]
    assert send(seen_by_both[:1]) == 1 and send(seen_by_both[1:]) == 0 and len(there.came) == 1


def test_a_sender_that_dies_between_sending_and_writing_sends_again_under_the_same_id(
        project, made, there, monkeypatch):
    """At least once: the receiver has it twice and can tell by the id."""
    tell(project)
    monkeypatch.setattr(sending, "_record", lambda delivery, answer: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        send_round()
    monkeypatch.undo()
    assert only().state == "waiting" and only().n_tries == 1 and send_round() == 0, "its lease is not over"
    later(monkeypatch, seconds=LEASE.total_seconds() + 1)
    assert send_round() == 1 and only().state == "delivered"
    assert len(there.came) == 2 and len({headers["webhook-id"] for _, headers, _ in there.came}) == 1


def test_the_word_of_a_sender_that_was_overtaken_does_not_count(project, made, there):
    tell(project)
    zombie = WebhookDelivery.objects.select_related("webhook", "notice__project").get()
    zombie.n_tries = 1
    WebhookDelivery.objects.update(n_tries=2)
    sending._record(zombie, sending.Answer(500))
    assert only().status is None and only_webhook(made).n_failures == 0


def test_one_that_was_given_up_can_be_sent_again(project, made, there, alice):
    there.answers = [410]
    tell(project)
    send_round()
    set_webhook_state(made[0], "sending", by=alice)
    send_again(made[0], only().pk, by=alice)
    assert send_round() == 1 and only().state == "delivered" and only().n_tries == 1
    assert len({headers["webhook-id"] for _, headers, _ in there.came}) == 1


def test_a_webhook_with_much_to_send_leaves_room_for_others(project, made, there, alice):
    other, _ = create_webhook(project, url=f"{there.origin}/other", events=["run.finished"], by=alice)
    for _ in range(20):
        tell(project)
    first = sending._next_deliveries()
    assert len(first) == 8 and sum(delivery.webhook == other for delivery in first) == 4
    send_round()
    assert WebhookDelivery.objects.filter(state="delivered").count() == 40 == len(there.came)


def test_the_tick_does_not_wait_for_a_slow_receiver(monkeypatch):
    """The round runs in a thread, one at a time."""
    begun, go_on = threading.Event(), threading.Event()
    rounds = []

    class Due:
        def exists(self):
            return True

    def slow_round():
        rounds.append(1)
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr(sending, "_due_deliveries", Due)
    monkeypatch.setattr(sending, "send_round", slow_round)
    monkeypatch.setattr(sending.connection, "close", lambda: None)
    send_due()
    assert begun.wait(10)
    send_due()
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "goldpan-sending":
            thread.join(10)
    assert rounds == [1] and sending._round.acquire(blocking=False)
    sending._round.release()


def test_a_tick_with_nothing_to_send_starts_no_thread(project):
    call_command("tick", "--once")
    assert not any(thread.name == "goldpan-sending" for thread in threading.enumerate())


def test_the_receivers_words_cannot_break_the_log(project, made, there):
    there.status, there.text = 500, "\x00\u202e<b>" + "z" * 900
    tell(project)
    send_round()
    assert "\x00" not in only().answer and "<b>zz" in only().answer and len(only().answer) <= 500


def test_no_secret_is_in_what_is_sent(project, made, there):
    tell(project)
    send_round()
    _, headers, body = there.came[0]
    assert made[1] not in body.decode() and made[1] not in json.dumps(headers)
    assert InboxItem.objects.count() == 2
