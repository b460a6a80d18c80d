import pytest
from django.urls import reverse

from curation.models import Decision, ExampleScore
from curation.services.evidence import review_item
from curation.services.review import decide, review_counts, review_queue
from labeling.models import Annotation, LabelingRules
from projects.errors import UserError
from projects.models import Project
from tests.curation.conftest import annotate, new_example, new_report

HTMX = {"HX-Request": "true"}


def page(client, project, **query):
    return client.get(reverse("curation:review", args=[project.pk]), query)


def post(client, scored, key, *, view="flagged", seen=0, headers=None, **answer):
    url = reverse("curation:decide", args=[scored.project.pk]) + f"?view={view}"
    return client.post(url, {"score": scored.score(key).pk, "seen": seen, **answer}, headers=headers or HTMX)


def test_the_worst_label_comes_first_with_all_evidence(scored, bob, client_of):
    html = page(client_of(bob), scored.project).content.decode()
    assert "This is text p00." in html and "This is text p01." not in html
    assert "0 of 4 reviewed" in html
    assert "<b>negative</b>" in html and "· by mira (14\u202fs)" in html
    assert '<b class="suggested">positive</b>' in html and "model: 91\u202f%, given label: 2\u202f%" in html
    assert "The 2 nearest examples all carry “positive”." in html
    assert "The label looks wrong to a model that has not seen it." in html
    assert "This is text p11." in html and "0.95" in html


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_of_the_project_review(scored, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert page(client, scored.project).status_code == status
    answer = post(client, scored, "p00", verdict="keep")
    assert answer.status_code == status
    assert Decision.objects.exists() == (status == 200)


def test_who_is_not_logged_in_is_asked_to(scored, client):
    assert "/accounts/login/" in page(client, scored.project).headers["Location"]


def test_accepting_the_suggestion_relabels_and_shows_the_next(scored, bob, client_of):
    answer = post(client_of(bob), scored, "p00", value="positive")
    html = answer.content.decode()
    decision = Decision.objects.get()
    assert (decision.verdict, decision.value, decision.decided_by) == ("relabel", "positive", bob)
    assert "<html" not in html and html.lstrip().startswith('<div id="review">')
    assert "This is text p01." in html and "1 of 4 reviewed" in html
    assert "Relabelled to “positive”." in html and reverse("curation:undo", args=[scored.project.pk]) in html
    assert answer.headers["HX-Push-Url"].endswith(f"?view=flagged&at={scored.score('p01').pk}")


@pytest.mark.parametrize(("answer", "verdict", "value"), [
    ({"verdict": "keep"}, "keep", "negative"),
    ({"value": "neutral"}, "relabel", "neutral"),
    ({"value": "negative"}, "keep", "negative"),  # the digit of the label it has
    ({"verdict": "relabel", "other": "neutral"}, "relabel", "neutral"),
    ({"verdict": "exclude"}, "exclude", ""),
    ({"verdict": "discuss", "reason": "sarcasm?"}, "discuss", ""),
])
def test_every_button_writes_its_decision(scored, bob, client_of, answer, verdict, value):
    post(client_of(bob), scored, "p00", **answer)
    decision = Decision.objects.get()
    assert (decision.verdict, decision.value) == (verdict, value)
    assert decision.report == scored.report and decision.reason == answer.get("reason", "")


@pytest.mark.parametrize(("answer", "message"), [
    ({"verdict": "discuss"}, "Say in a few words what is to be discussed"),
    ({"value": "furious"}, "“furious” is not a label of this project"),
    ({}, "Say what to do with the example"),
])
def test_an_unusable_answer_is_told_and_not_saved(scored, bob, client_of, answer, message):
    response = post(client_of(bob), scored, "p00", **answer)
    assert message in response.content.decode() and response.headers["HX-Retarget"] == "#messages"
    assert not Decision.objects.exists()


def test_two_curators_on_one_example_do_not_overwrite_each_other_unseen(scored, alice, bob, client_of):
    post(client_of(alice), scored, "p00", verdict="exclude")
    response = post(client_of(bob), scored, "p00", value="positive")
    assert "alice: leave out" in response.content.decode()
    assert Decision.objects.get().verdict == "exclude"
    post(client_of(bob), scored, "p00", value="positive", seen=Decision.objects.get().pk)
    assert Decision.objects.current().get().value == "positive"


def test_a_page_from_before_the_last_scoring_is_told_to_reload(scored, alice, bob, client_of):
    old = scored.score("p00")
    scored.report = new_report(scored.project, alice, scored.examples)
    url = reverse("curation:decide", args=[scored.project.pk])
    response = client_of(bob).post(url, {"score": old.pk, "seen": 0, "verdict": "keep"}, headers=HTMX)
    assert "scored anew" in response.content.decode() and not Decision.objects.exists()
    assert "This is text p00." in page(client_of(bob), scored.project, at=old.pk).content.decode()


def test_a_score_of_another_project_is_refused(scored, dora, client_of):
    theirs = Project.objects.get(name="Somebody else's")
    new_report(theirs, dora, {key: new_example(theirs, key, example.split) for key, example in scored.examples.items()})
    response = client_of(dora).post(reverse("curation:decide", args=[theirs.pk]),
                                    {"score": scored.score("p00").pk, "seen": 0, "verdict": "keep"}, headers=HTMX)
    assert "scored anew" in response.content.decode() and not Decision.objects.exists()


def test_without_javascript_a_decision_leads_to_the_next_page(scored, bob, client_of):
    client = client_of(bob)
    url = reverse("curation:decide", args=[scored.project.pk]) + "?view=flagged"
    response = client.post(url, {"score": scored.score("p00").pk, "seen": 0, "verdict": "keep"}, follow=True)
    html = response.content.decode()
    assert "Kept “negative”." in html and "This is text p01." in html and "<html" in html


def test_next_and_previous_move_without_deciding(scored, bob, client_of):
    response = page(client_of(bob), scored.project, at=scored.score("p01").pk)
    assert response.context["previous_url"].endswith(f"at={scored.score('p00').pk}")
    assert response.context["next_url"].endswith(f"at={scored.score('p02').pk}")
    first, last = (page(client_of(bob), scored.project, at=scored.score(key).pk) for key in ("p00", "p03"))
    assert first.context["previous_url"] == "" and last.context["next_url"] == ""


def test_a_settled_example_can_be_looked_at_and_decided_again(scored, bob, client_of):
    client = client_of(bob)
    post(client, scored, "p00", verdict="exclude")
    html = page(client, scored.project, at=scored.score("p00").pk).content.decode()
    assert "This is text p00." in html and "leave out" in html and "decided</span>" in html
    post(client, scored, "p00", verdict="keep", seen=Decision.objects.get().pk)
    assert Decision.objects.current().get().verdict == "keep"


def test_each_view_holds_its_examples(scored, bob):
    decide(scored.examples["p01"], verdict="discuss", reason="?", by=bob, report=scored.report)
    decide(scored.examples["p10"], verdict="keep", by=bob, report=scored.report)

    def keys(view):
        return [score.example.key for score in review_queue(scored.report, view)]

    assert keys("flagged") == ["p00", "p02", "p03"]
    assert keys("disagreement") == ["p02", "p05"]
    assert keys("discuss") == ["p01"]
    assert len(keys("all")) == 22
    counts = review_counts(scored.report)
    assert (counts.flagged, counts.disagreement, counts.discuss, counts.all, counts.settled) == (3, 2, 1, 22, 1)
    assert counts.totals == {"flagged": 4, "disagreement": 2, "discuss": 1, "outdated": 0, "all": 24}
    with pytest.raises(UserError, match="There is no view “odd”"):
        review_queue(scored.report, "odd")


def test_an_unknown_view_in_an_address_is_the_first_view(scored, bob, client_of):
    assert page(client_of(bob), scored.project, view="odd", at="x").context["view"] == "flagged"
    post(client_of(bob), scored, "p00", verdict="keep", view="odd")
    assert Decision.objects.get().verdict == "keep"


def test_the_discussion_shows_its_reason_and_takes_a_label(scored, alice, bob, client_of):
    post(client_of(bob), scored, "p00", verdict="discuss", reason="Sarcasm or praise?")
    html = page(client_of(alice), scored.project, view="discuss").content.decode()
    assert "Sarcasm or praise?" in html and "bob" in html
    post(client_of(alice), scored, "p00", value="neutral", seen=Decision.objects.get().pk, view="discuss")
    assert review_counts(scored.report).discuss == 0


def test_asking_for_a_reason_is_inline_and_has_an_address(scored, bob, client_of):
    html = page(client_of(bob), scored.project, at=scored.score("p00").pk, ask="discuss").content.decode()
    assert "What is to be discussed?" in html and "This is text p00." in html


def test_an_empty_view_says_what_is_next(scored, bob, client_of):
    for key in ("p00", "p01", "p02", "p03"):
        decide(scored.examples[key], verdict="keep", by=bob, report=scored.report)
    html = page(client_of(bob), scored.project).content.decode()
    assert "Everything that looked wrong is settled." in html and "Annotators disagree: 1" in html
    decide(scored.examples["p05"], verdict="keep", by=bob, report=scored.report)
    html = page(client_of(bob), scored.project).content.decode()
    assert "5 examples settled." in html and reverse("curation:gold-set", args=[scored.project.pk]) in html


def test_a_project_without_report_offers_to_score(project, bob, client_of):
    assert "There are no examples yet" in page(client_of(bob), project).content.decode()
    new_example(project, "p00", "pool")
    assert reverse("curation:score", args=[project.pk]) in page(client_of(bob), project).content.decode()


def test_hidden_scores_are_explained_not_shown(scored, alice, bob, client_of):
    new_report(scored.project, alice, scored.examples, hidden_because="The model has learned too little.", n_scored=0,
               n_issues=0)
    assert "The model has learned too little." in page(client_of(bob), scored.project).content.decode()


def test_going_back_in_the_browser_gives_the_whole_page(scored, bob, client_of):
    client, url = client_of(bob), reverse("curation:review", args=[scored.project.pk])
    fragment = client.get(url, headers=HTMX)
    restored = client.get(url, headers={**HTMX, "HX-History-Restore-Request": "true"})
    assert b"<html" not in fragment.content and b"<html" in restored.content
    assert "HX-Request" in fragment.headers["Vary"]


def test_invisible_characters_of_a_text_are_written_out(scored, bob, client_of):
    score = ExampleScore.objects.create(
        report=scored.report, example=new_example(scored.project, "evil", "pool", text="pay \u202eyap\u200b <b>"),
        label="neutral", n_labels=1, label_quality=0.001, is_label_issue=True, cluster=999, cluster_size=1)
    html = page(client_of(bob), scored.project, at=score.pk).content.decode()
    assert "⟨U+202E⟩" in html and "⟨U+200B⟩" in html and "\u202e" not in html and "&lt;b&gt;" in html


def test_a_held_out_label_is_overruled_only_where_people_tie(scored, bob, client_of):
    html = page(client_of(bob), scored.project, at=scored.score("t0").pk).content.decode()
    assert "nobody overrules it here" in html and 'value="keep"' not in html
    assert "have a majority" in post(client_of(bob), scored, "t0", value="positive").content.decode()
    for name in ("lea", "max", "eva"):
        annotate(scored.examples["t1"], name, "positive")  # three against three
    post(client_of(bob), scored, "t1", value="positive")
    assert Decision.objects.get(example=scored.examples["t1"]).value == "positive"


def test_with_more_than_nine_labels_all_are_in_a_list(scored, bob, client_of):
    labels = scored.project.schema["labels"] + [{"name": f"mood {k}", "description": ""} for k in range(9)]
    Project.objects.filter(pk=scored.project.pk).update(schema={"labels": labels})
    html = page(client_of(bob), scored.project).content.decode()
    assert 'data-key="9"' in html and '<option value="mood 8">' in html and 'data-key="0"' in html


def test_the_label_shown_is_the_label_kept(scored, bob):
    decide(scored.examples["p00"], verdict="relabel", value="neutral", by=bob, report=scored.report)
    item = review_item(scored.score("p00"), scored.report)
    assert item.label == "neutral" and item.suggestion == "positive"
    assert decide(scored.examples["p00"], verdict="keep", by=bob, report=scored.report).value == "neutral"


def test_the_page_asks_as_many_questions_for_many_examples_as_for_few(
        scored, bob, client_of, django_assert_max_num_queries):
    client = client_of(bob)
    page(client, scored.project)
    ExampleScore.objects.bulk_create([
        ExampleScore(report=scored.report, example=new_example(scored.project, f"m{k}", "pool"), label="neutral",
                     n_labels=1, label_quality=0.5, is_label_issue=True, cluster=1000 + k, cluster_size=1,
                     neighbours=[[scored.examples["p11"].pk, 0.9]]) for k in range(60)])
    with django_assert_max_num_queries(26):
        page(client, scored.project, at=scored.score("p01").pk)
    with django_assert_max_num_queries(23):  # a step by J, K or a link
        client.get(reverse("curation:review", args=[scored.project.pk]), {"at": scored.score("p01").pk}, headers=HTMX)
    with django_assert_max_num_queries(42):  # a decision, its audit, and the next example
        post(client, scored, "p01", verdict="keep")


def test_names_are_hidden_from_curators_where_the_rules_say_so(scored, project, bob, alice, client_of):
    LabelingRules.objects.create(project=project, hides_names=True)
    name = Annotation.objects.filter(example__project=project).first().annotator.name
    page = reverse("curation:review", args=[project.pk])
    assert name not in client_of(bob).get(page).content.decode()
    assert name in client_of(alice).get(page).content.decode()
