"""Telling of something: who finds it in their inbox, that it stands or falls with the caller's transaction."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.events import EVENTS, event_of
from projects.models import InboxItem, Notice, Role, Webhook, WebhookDelivery
from projects.services import add_member, notify
from projects.services.notices import forget_notices


def tell(project, event="run.finished", **more):
    """A notice with the event's example data."""
    data = EVENTS[event].data
    return notify(project, event, **{"title": "Run 13 is trained", "link": "/runs/13/", "data": data, **more})


EXAMPLE = EVENTS["run.finished"].data


def told(notice):
    return sorted(item.user.username for item in notice.items.select_related("user"))


def inbox(user):
    client = Client()
    client.force_login(user)
    return client


def test_the_members_with_its_roles_are_told(project):
    assert told(tell(project)) == ["alice", "bob"]
    assert told(tell(project, "job.failed")) == ["alice"]


def test_whoever_is_named_is_told_if_they_are_a_member(project, bob, charlie, dora):
    assert told(tell(project, "job.failed", people=[bob, charlie, bob, None, dora])) == ["alice", "bob", "charlie"]


def test_whoever_did_it_is_not_told(project, alice, bob):
    assert told(tell(project, by=alice, people=[alice])) == ["bob"]


def test_somebody_who_left_the_house_is_not_told(project, bob):
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert told(tell(project)) == ["alice"]


def test_what_is_taken_back_was_never_told(project, alice):
    Webhook.objects.create(project=project, url="https://a.example", events=list(EVENTS), created_by=alice)
    with pytest.raises(RuntimeError), transaction.atomic():
        tell(project)
        raise RuntimeError
    assert not Notice.objects.exists() and not InboxItem.objects.exists() and not WebhookDelivery.objects.exists()


def test_what_has_a_key_is_told_once(project, dora):
    other = dora.memberships.get().project
    assert tell(project, key="batch 3") and tell(project, key="batch 3") is None and tell(other, key="batch 3")
    assert Notice.objects.count() == 2 and tell(project) and tell(project)


def test_a_webhook_gets_what_it_has_chosen(project, alice, dora):
    chosen = {"url": "https://a.example", "created_by": alice, "project": project}
    some = Webhook.objects.create(events=["run.finished"], **chosen)
    Webhook.objects.create(events=["job.failed"], **chosen)
    Webhook.objects.create(events=["run.finished"], **{**chosen, "project": dora.memberships.get().project})
    removed = Webhook.objects.create(events=["run.finished"], **chosen)
    Webhook.objects.filter(pk=removed.pk).update(removed_at=removed.created_at)
    assert [delivery.webhook for delivery in tell(project).deliveries.all()] == [some]


def test_long_words_are_shortened_and_stand_on_one_line(project):
    notice = tell(project, title="a\nb " + "x" * 300, text="y" * 900)
    assert notice.title.startswith("a b x") and len(notice.title) == 160 and notice.title.endswith("…")
    assert len(notice.text) == 500


@pytest.mark.parametrize(("wrong", "words"), [
    ({"event": "run.flew"}, "unknown event 'run.flew'"), ({"data": {"run": 1}}, "has the data"),
    ({"link": "https://evil.example/"}, "page of Goldpan"), ({"link": "//evil.example/"}, "page of Goldpan")])
def test_a_callers_mistake_is_said(project, wrong, words):
    with pytest.raises(ValueError, match=words):
        notify(project, **{"event": "run.finished", "title": "x", "link": "/", "data": EXAMPLE} | wrong)


def test_every_event_has_words_roles_and_an_example():
    for name in EVENTS:
        event = event_of(name)
        assert event.words and event.roles and set(event.roles) <= set(Role.values) and event.data, name


# The inbox

def test_the_header_counts_what_is_unread(project, bob):
    tell(project)
    tell(project)
    page = inbox(bob).get(reverse("projects:inbox")).content.decode()
    assert 'aria-label="Inbox, 2 unread"' in page and "2 notices that you have not read." in page


def test_the_link_leads_to_the_page_and_marks_it_read(project, bob, alice):
    item = tell(project).items.get(user=bob)
    answer = inbox(bob).get(reverse("projects:notice", args=[item.pk]))
    item.refresh_from_db()
    assert answer.url == "/runs/13/" and item.read_at
    assert InboxItem.objects.get(user=alice).read_at is None


def test_another_persons_item_is_not_there(project, bob, alice):
    item = tell(project).items.get(user=bob)
    assert inbox(alice).get(reverse("projects:notice", args=[item.pk])).status_code == 404
    assert InboxItem.objects.get(pk=item.pk).read_at is None


def test_all_are_marked_as_read_but_what_came_since(project, bob):
    seen = tell(project).items.get(user=bob)
    since = tell(project).items.get(user=bob)
    inbox(bob).post(reverse("projects:inbox-read"), {"up_to": seen.pk})
    assert list(InboxItem.objects.filter(user=bob, read_at=None)) == [since]
    for nonsense in ("", "x", "-1", "9" * 30):
        inbox(bob).post(reverse("projects:inbox-read"), {"up_to": nonsense})
    assert InboxItem.objects.filter(user=bob, read_at=None).count() == 1


def test_whoever_left_the_project_sees_its_notices_no_more(project, bob):
    item = tell(project).items.get(user=bob)
    project.memberships.filter(user=bob).delete()
    client = inbox(bob)
    page = client.get(reverse("projects:inbox")).content.decode()
    assert "Run 13" not in page and "unread" not in page.split("<main")[0]
    assert client.get(reverse("projects:notice", args=[item.pk])).status_code == 404


def test_what_is_read_stands_under_all(project, bob):
    InboxItem.objects.filter(pk=tell(project).items.get(user=bob).pk).update(read_at="2026-11-26T06:00:00Z")
    client = inbox(bob)
    assert "Nothing new" in client.get(reverse("projects:inbox")).content.decode()
    assert "Run 13" in client.get(reverse("projects:inbox"), {"show": "all"}).content.decode()


def test_the_inbox_asks_few_questions(project, bob, django_assert_max_num_queries):
    for _ in range(60):
        tell(project)
    client = inbox(bob)
    with django_assert_max_num_queries(5):  # session, user, count, rows, header
        client.get(reverse("projects:inbox"))


def test_the_header_asks_one_question(project, bob, django_assert_num_queries, rf):
    from jobs.context_processors import header_counts

    tell(project)
    request = rf.get("/")
    request.user = bob
    with django_assert_num_queries(1):
        assert header_counts(request) == {"n_running_jobs": 0, "n_unread": 1}


def test_text_of_people_is_escaped(project, bob):
    tell(project, title="<script>alert(1)</script>", text="<b>")
    page = inbox(bob).get(reverse("projects:inbox")).content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_a_new_member_has_an_empty_inbox(project, alice):
    tell(project)
    erin = User.objects.create_user("erin")
    add_member(project, erin, Role.curator, by=alice)
    assert "Nothing new" in inbox(erin).get(reverse("projects:inbox")).content.decode()


def test_an_old_notice_goes_with_all_that_came_of_it_unless_it_still_waits_to_be_sent(project, alice, settings):
    settings.GOLDPAN_NOTICE_DAYS = 30
    webhook = Webhook.objects.create(project=project, url="https://example.org", secret_encrypted="x",
                                     events=["run.finished"], created_by=alice)
    sent, waiting, fresh = (tell(project) for _ in range(3))
    Notice.objects.filter(pk__in=[sent.pk, waiting.pk]).update(at=timezone.now() - timedelta(days=31))
    WebhookDelivery.objects.filter(notice=sent).update(state="delivered", next_at=None)
    assert forget_notices() == 1 and forget_notices() == 0
    assert set(Notice.objects.all()) == {waiting, fresh}
    assert InboxItem.objects.filter(user=alice).count() == 2 and webhook.deliveries.count() == 2
