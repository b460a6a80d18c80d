import pytest
from django.urls import reverse

from curation.models import Decision
from curation.services.review import current_label, decide, review_counts, undo
from projects.errors import UserError

HTMX = {"HX-Request": "true"}


def post_undo(client, project, headers=None):
    return client.post(reverse("curation:undo", args=[project.pk]) + "?view=flagged", headers=headers)


def test_undo_brings_the_example_back(scored, bob, client_of):
    decide(scored.examples["p00"], verdict="exclude", by=bob, report=scored.report)
    assert review_counts(scored.report).flagged == 3
    html = post_undo(client_of(bob), scored.project, HTMX).content.decode()
    assert "This is text p00." in html and "0 of 4 reviewed" in html and "taken back" in html
    assert review_counts(scored.report).flagged == 4 and Decision.objects.count() == 2


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_who_may_review_may_undo(scored, request, client_of, who, status):
    user = request.getfixturevalue(who)
    decide(scored.examples["p00"], verdict="exclude", by=user, report=scored.report)
    assert post_undo(client_of(user), scored.project).status_code == status
    assert Decision.objects.count() == (2 if status == 302 else 1)


def test_undo_is_not_for_get(scored, bob, client_of):
    assert client_of(bob).get(reverse("curation:undo", args=[scored.project.pk])).status_code == 405


def test_undo_twice_on_one_example_goes_two_steps_back(scored, bob):
    example = scored.examples["p00"]
    decide(example, verdict="relabel", value="neutral", by=bob, report=scored.report)
    decide(example, verdict="relabel", value="positive", by=bob, report=scored.report)
    assert undo(scored.project, by=bob).value == "neutral"
    assert undo(scored.project, by=bob).verdict == "open"
    assert current_label(example, scored.report) == "negative"
    with pytest.raises(UserError, match="no decision to take back"):
        undo(scored.project, by=bob)


def test_a_reason_comes_back_with_its_discussion(scored, bob):
    decide(scored.examples["p00"], verdict="discuss", reason="sarcasm?", by=bob, report=scored.report)
    decide(scored.examples["p00"], verdict="exclude", by=bob, report=scored.report)
    restored = undo(scored.project, by=bob)
    assert (restored.verdict, restored.reason) == ("discuss", "sarcasm?")


def test_everybody_takes_back_their_own(scored, alice, bob):
    decide(scored.examples["p00"], verdict="exclude", by=bob, report=scored.report)
    decide(scored.examples["p01"], verdict="exclude", by=alice, report=scored.report)
    assert undo(scored.project, by=bob).example == scored.examples["p00"]


def test_what_somebody_else_decided_since_stays(scored, alice, bob, client_of):
    decide(scored.examples["p00"], verdict="exclude", by=bob, report=scored.report)
    decide(scored.examples["p00"], verdict="keep", by=alice, report=scored.report)
    html = post_undo(client_of(bob), scored.project, HTMX).content.decode()
    assert "alice has decided on example p00 since" in html
    assert Decision.objects.current().get(example=scored.examples["p00"]).verdict == "keep"


def test_nothing_to_undo_is_said(scored, bob, client_of):
    assert "no decision to take back" in post_undo(client_of(bob), scored.project, HTMX).content.decode()
