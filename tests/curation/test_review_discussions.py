import pytest
from django.db import connection
from django.db.utils import DatabaseError
from django.urls import reverse

from curation.models import Message
from curation.services.discussions import discussions, n_asking, write_message
from curation.services.review import decide
from projects.errors import UserError

HTMX = {"HX-Request": "true"}


@pytest.fixture
def opened(scored, alice, bob):
    """Bob asks Alice about p00, and anybody about p01."""
    decide(scored.examples["p00"], verdict="discuss", reason="Sarcasm?", by=bob, report=scored.report, asked=alice)
    decide(scored.examples["p01"], verdict="discuss", reason="Or neutral?", by=bob, report=scored.report)
    return scored


def open_now(scored, **more):
    return [(one.decision.example.key, str(one.asked) if one.asked else "", one.n)
            for one in discussions(scored.project, **more)]


def test_a_question_waits_for_whom_it_asks(opened, alice, bob):
    assert open_now(opened) == [("p00", "alice", 1), ("p01", "", 1)]
    assert open_now(opened, asking=alice) == [("p00", "alice", 1)]
    assert (n_asking(opened.project, alice), n_asking(opened.project, bob)) == (1, 0)


def test_an_answer_ends_the_waiting_and_may_ask_back(opened, alice, bob):
    write_message(opened.examples["p00"], text="I think so.", by=alice)
    assert n_asking(opened.project, alice) == 0
    write_message(opened.examples["p00"], text="You saw more of these.", by=alice, asked=bob)
    assert open_now(opened, asking=bob) == [("p00", "bob", 3)]
    assert [one.decision.example.key for one in discussions(opened.project)] == ["p01", "p00"]  # the quiet one first


def test_a_remark_of_another_person_leaves_the_question_open(opened, alice, bob):
    write_message(opened.examples["p00"], text="It says “great”, after all.", by=bob)
    assert n_asking(opened.project, alice) == 1


def test_a_decision_ends_the_discussion_and_keeps_what_was_said(opened, alice):
    decide(opened.examples["p00"], verdict="keep", by=alice, report=opened.report)
    assert open_now(opened) == [("p01", "", 1)] and n_asking(opened.project, alice) == 0
    with pytest.raises(UserError, match="not in discussion any more"):
        write_message(opened.examples["p00"], text="Too late.", by=alice)
    assert Message.objects.filter(example=opened.examples["p00"]).count() == 1


@pytest.mark.parametrize(("text", "says"), [(" ", "this one has 0"), ("x" * 4001, "this one has 4,001")])
def test_an_unusable_message_is_refused(opened, bob, text, says):
    with pytest.raises(UserError, match=says):
        write_message(opened.examples["p00"], text=text, by=bob)


def test_only_who_can_review_is_asked(opened, bob, charlie):
    with pytest.raises(UserError, match="charlie cannot review in “Moods”"):
        write_message(opened.examples["p00"], text="You?", by=bob, asked=charlie)


@pytest.mark.parametrize("sql", ["UPDATE curation_message SET text = 'x'", "DELETE FROM curation_message"])
def test_what_was_said_stands(opened, sql):
    with pytest.raises(DatabaseError, match="never changed or removed"), connection.cursor() as cursor:
        cursor.execute(sql)


# Pages

def test_setting_aside_asks_a_person_from_the_page(scored, alice, bob, client_of):
    url = reverse("curation:decide", args=[scored.project.pk]) + "?view=flagged"
    client_of(bob).post(url, {"score": scored.score("p00").pk, "seen": 0, "verdict": "discuss", "reason": "Irony?",
                              "asked": alice.pk}, headers=HTMX)
    assert open_now(scored) == [("p00", "alice", 1)]


def test_the_thread_is_read_and_written_beside_the_example(opened, alice, client_of):
    client, at = client_of(alice), opened.score("p00").pk
    page = client.get(reverse("curation:review", args=[opened.project.pk]), {"view": "discuss", "at": at})
    html = page.content.decode()
    assert "Sarcasm?" in html and "asks alice" in html and 'data-key="m"' in html
    url = reverse("curation:message", args=[opened.project.pk]) + "?view=discuss"
    answer = client.post(url, {"score": at, "text": "Yes, clearly."}, headers=HTMX)
    assert "Yes, clearly." in answer.content.decode() and "This is text p00." in answer.content.decode()
    assert answer.headers["HX-Push-Url"].endswith(f"?view=discuss&at={at}")


def test_a_message_to_another_projects_example_is_a_404(opened, dora, client_of):
    theirs = dora.memberships.get().project
    url = reverse("curation:message", args=[theirs.pk])
    assert client_of(dora).post(url, {"score": opened.score("p00").pk, "text": "Hi"}).status_code == 404


def test_open_discussions_are_listed_with_the_way_to_settle_them(
        opened, alice, client_of, django_assert_max_num_queries):
    client, url = client_of(alice), reverse("curation:discussions", args=[opened.project.pk])
    with django_assert_max_num_queries(12):
        html = client.get(url).content.decode()
    assert "2 examples wait for a word, 1 for yours" in html and "Or neutral?" in html
    assert f"?view=discuss&amp;at={opened.score('p00').pk}" in html
    mine = client.get(url, {"asked": "me"}).content.decode()
    assert "Sarcasm?" in mine and "Or neutral?" not in mine


def test_home_says_who_is_asked(opened, alice, bob, client_of):
    home = reverse("projects:detail", args=[opened.project.pk])
    assert "Your word is asked for" in client_of(alice).get(home).content.decode()
    assert "Your word is asked for" not in client_of(bob).get(home).content.decode()
    assert "Set aside for discussion" in client_of(bob).get(home).content.decode()


def test_nobody_talks_says_what_would_come_here(scored, bob, client_of):
    assert "Nothing is in discussion." in client_of(bob).get(
        reverse("curation:discussions", args=[scored.project.pk])).content.decode()
