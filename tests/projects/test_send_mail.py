"""Notices by mail: at once, once a day, or not; again if the server is away, and the same Message-ID then."""

from datetime import timedelta

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from projects.models import InboxItem, Membership
from projects.services.notices import mark_read
from projects.services.sending import send_mail, send_round
from tests.projects.test_notify import inbox, tell


@pytest.fixture(autouse=True)
def _a_mail_server(settings):
    settings.GOLDPAN_EMAIL_URL = "smtp://mail.example"


@pytest.fixture
def bob_wants(project, bob):
    def choose(how):
        bob.email = "bob@example.org"
        bob.save()
        Membership.objects.filter(user=bob, project=project).update(mail=how)

    return choose


def test_at_once(project, bob_wants, settings):
    bob_wants("at_once")
    tell(project, text="It took 351 s.")
    assert send_round() == 1
    sent, = mail.outbox
    assert sent.subject == "[Goldpan] Run 13 is trained" and sent.to == ["bob@example.org"]
    assert "It took 351 s." in sent.body and f"{settings.GOLDPAN_URL}/runs/13/" in sent.body
    assert f"{settings.GOLDPAN_URL}/inbox/mail/" in sent.body
    assert InboxItem.objects.get(user__username="bob").mailed_at and send_round() == 0


def test_once_a_day_in_one_mail_without_what_was_read(project, bob, bob_wants):
    bob_wants("daily")
    items = [tell(project, title=f"Run {n} is trained").items.get(user=bob) for n in range(3)]
    due = {timezone.localtime(item.mail_due_at).strftime("%H:%M") for item in items}
    assert due == {"07:00"} and all(item.mail_due_at > timezone.now() for item in items) and send_round() == 0
    mark_read(bob, item=items[1].pk)
    InboxItem.objects.exclude(mail_due_at=None).update(mail_due_at=timezone.now())
    assert send_round() == 1
    sent, = mail.outbox
    assert sent.subject == "[Goldpan] 2 notices from Moods" and "Run 0" in sent.body and "Run 1 " not in sent.body


@pytest.mark.parametrize("without", ["choice", "address", "server"])
def test_no_mail_without(project, bob, bob_wants, settings, without):
    bob_wants("none" if without == "choice" else "at_once")
    if without == "address":
        bob.email = ""
        bob.save()
    if without == "server":
        settings.GOLDPAN_EMAIL_URL = ""
    tell(project)
    assert send_round() == 0 and not mail.outbox and InboxItem.objects.filter(user=bob, mail_due_at=None).exists()


class Away:
    """A mail server that cannot be reached."""

    def __init__(self, **options):
        pass

    def open(self):
        raise ConnectionRefusedError

    def close(self):
        pass


def test_a_mail_server_that_is_away_is_asked_again(project, bob, bob_wants, settings):
    bob_wants("at_once")
    tell(project)
    backend, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, f"{__name__}.Away"
    assert send_mail() == 1
    item = InboxItem.objects.get(user=bob)
    assert item.n_mail_tries == 1 and item.mailed_at is None
    assert 20 < (item.mail_due_at - timezone.now()).total_seconds() <= 36
    settings.EMAIL_BACKEND = backend
    InboxItem.objects.filter(pk=item.pk).update(mail_due_at=timezone.now())
    assert send_mail() == 1 and len(mail.outbox) == 1


def test_a_mail_that_is_sent_twice_has_the_same_id(project, bob, bob_wants):
    bob_wants("at_once")
    tell(project)
    send_mail()
    InboxItem.objects.filter(user=bob).update(mailed_at=None, mail_due_at=timezone.now() - timedelta(seconds=1))
    send_mail()
    one, two = (sent.extra_headers["Message-ID"] for sent in mail.outbox)
    assert one == two


def test_whoever_left_the_project_gets_no_mail(project, bob, bob_wants):
    bob_wants("at_once")
    tell(project)
    project.memberships.filter(user=bob).delete()
    assert send_mail() == 0 and not mail.outbox


def test_a_subject_cannot_bring_headers(project, bob_wants):
    bob_wants("at_once")
    tell(project, title="Run\r\nBcc: eve@example.org")
    send_mail()
    assert mail.outbox[0].subject == "[Goldpan] Run Bcc: eve@example.org"


# Choosing

def test_a_person_chooses_per_project(project, bob, alice):
    membership = Membership.objects.get(user=bob, project=project)
    client = inbox(bob)
    said = {"address": "bob@example.org", f"of_{membership.pk}": "daily",
            f"of_{Membership.objects.get(user=alice).pk}": "at_once"}
    assert client.post(reverse("projects:mail"), said).status_code == 302
    membership.refresh_from_db()
    bob.refresh_from_db()
    assert (membership.mail, bob.email) == ("daily", "bob@example.org")
    assert Membership.objects.get(user=alice).mail == "none", "only one's own"


def test_mail_without_an_address_is_refused(project, bob):
    membership = Membership.objects.get(user=bob, project=project)
    answer = inbox(bob).post(reverse("projects:mail"), {"address": "", f"of_{membership.pk}": "daily"})
    membership.refresh_from_db()
    assert answer.status_code == 400 and membership.mail == "none"


def test_whoever_wants_no_mail_any_more_gets_not_even_what_waits(project, bob, bob_wants):
    bob_wants("daily")
    tell(project)
    membership = Membership.objects.get(user=bob, project=project)
    inbox(bob).post(reverse("projects:mail"), {"address": "bob@example.org", f"of_{membership.pk}": "none"})
    assert InboxItem.objects.get(user=bob).mail_due_at is None


def test_the_page_says_where_there_is_no_mail_server(project, bob, settings):
    settings.GOLDPAN_EMAIL_URL = ""
    assert "sends no mail" in inbox(bob).get(reverse("projects:mail")).content.decode()
