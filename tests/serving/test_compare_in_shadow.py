"""Champion and challenger on the same kept requests, and people who judge them blind in Label Studio."""

import pytest
from django.urls import reverse

from curation.services.erasing import erase
from jobs.models import Job
from labeling.models import Annotation, Annotator, Example
from projects.models import Project
from projects.services import add_member
from serving.answering import Unanswerable
from serving.models import BlindComparison, BlindPair, ExchangeContent, Shadow, ShadowPair
from serving.services.shadows import ask_people, preferences_of, shadow_shown, start_shadow

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(champion, backend, program, project, model):
    """Twelve requests; prompt and adapter disagree on every third."""
    model.prompt_errs, model.adapter_errs = (lambda number: number % 3 == 0), (lambda number: False)
    for number in range(100, 112):
        program.predict(project, f"Row {number} was lovely.")
    program.predict(project, "Row 100 was lovely.")
    return f"run-{project.snapshots.get().verdict.best_prompt_id}"


@pytest.fixture
def shadow(kept, project, bob, run_jobs):
    start_shadow(project, challenger=kept, by=bob)
    run_jobs()
    assert Job.objects.get(kind="shadow").state == "succeeded", Job.objects.get(kind="shadow").error
    return Shadow.objects.get()


def test_both_are_asked_the_same_requests_each_text_once(shadow):
    assert (shadow.n, shadow.n_differing, shadow.n_unreadable) == (12, 4, [0, 0])
    pairs = ShadowPair.objects.all()
    assert {pair.content.text for pair in pairs} == {f"Row {n} was lovely." for n in (102, 105, 108, 111)}
    assert all(pair.champion_answer["value"] == "positive" != pair.challenger_answer["value"] for pair in pairs)
    shown = shadow_shown(shadow)
    assert "4 of 12 requests are answered differently" in shown.to_judge.words and shown.to_judge.n_judged


def test_a_request_that_one_cannot_answer_is_an_answer_that_cannot_be_read(kept, project, bob, run_jobs, backend,
                                                                           monkeypatch):
    ask = backend.ask

    def short(served, question):
        if served.adapter is None and "Row 101" in question.text:
            raise Unanswerable("Too long.")
        yield from ask(served, question)

    monkeypatch.setattr(backend, "ask", short)
    start_shadow(project, challenger=kept, by=bob)
    run_jobs()
    assert Shadow.objects.get().n_unreadable == [0, 1]


def test_without_kept_words_there_is_nothing_to_ask(champion, project, bob, client_of):
    url = reverse("serving:shadow-start", args=[project.pk])
    named = f"run-{project.snapshots.get().verdict.best_prompt_id}"
    response = client_of(bob).post(url, {"challenger": named, "n": 5})
    assert response.status_code == 400 and "No request is kept with its words" in response.content.decode()
    assert client_of(bob).post(url, {"challenger": "run-9999", "n": 5}).status_code == 400


def test_the_page_shows_where_they_differ_and_an_admin_asks_people(shadow, project, alice, bob, client_of):
    html = client_of(bob).get(reverse("serving:shadow", args=[shadow.pk])).content.decode()
    assert "4 of 12 answers differ." in html and "Row 102 was lovely." in html and "An admin asks them." in html
    assert client_of(bob).post(reverse("serving:shadow-people", args=[shadow.pk])).status_code == 403
    assert client_of(alice).post(reverse("serving:shadow-people", args=[shadow.pk])).status_code == 302
    html = client_of(bob).get(reverse("serving:shadow", args=[shadow.pk])).content.decode()
    assert "4 pairs are open" in html and "Nobody has preferred one" in html
    assert client_of(alice).post(reverse("serving:shadow-people", args=[shadow.pk])).status_code == 400


def test_people_judge_in_a_preference_project_without_seeing_whose_is_whose(shadow, project, alice):
    comparison = ask_people(shadow, by=alice)
    judged = comparison.judged_in
    assert judged.task_type == "preference" and comparison.batch.items.count() == 4
    assert {(one.user.username, one.role) for one in judged.memberships.all()} == {
        ("alice", "admin"), ("bob", "curator"), ("charlie", "annotator")}
    for pair in BlindPair.objects.select_related("example"):
        stored = ShadowPair.objects.get(content__text=pair.example.text)
        sides = (stored.champion_answer["text"], stored.challenger_answer["text"])
        shown = (pair.example.data["left"], pair.example.data["right"])
        assert shown == (sides[::-1] if pair.is_swapped else sides)
        assert "champion" not in str(pair.example.data).lower() and pair.example.split == "pool"


def say(comparison, choose, people=("mira",)):
    """choose: from the number of the pair, the person's number and the challenger's side, to what is said."""
    judged = comparison.judged_in
    for k, pair in enumerate(comparison.pairs.order_by("pk")):
        mine = "left" if pair.is_swapped else "right"
        for n, name in enumerate(people):
            person, _ = Annotator.objects.get_or_create(project=judged, name=name)
            Annotation.objects.create(example=pair.example, annotator=person, value=choose(k, n, mine), source="file",
                                      instructions_version=1, created_at=comparison.created_at)


def test_what_people_prefer_is_told_whatever_side_it_stood_on(shadow, alice):
    comparison = ask_people(shadow, by=alice)
    assert shadow_shown(shadow).n_open == 4
    say(comparison, lambda k, n, mine: "tie" if k == 3 else mine)
    found = preferences_of(comparison)
    assert (found.challenger, found.champion, found.ties) == (3, 0, 1)
    shown = shadow_shown(shadow)
    assert shown.n_open == 0 and shown.result.win_rate.estimate == 1.0 and "100% of 3 cases" in shown.result.words


def test_where_people_differ_most_of_them_count_and_a_draw_is_a_tie(shadow, alice):
    comparison = ask_people(shadow, by=alice, n_labels=2)
    other = {"left": "right", "right": "left"}
    say(comparison, lambda k, n, mine: other[mine] if (k, n) == (0, 1) else mine, people=("mira", "jon"))
    found = preferences_of(comparison)
    assert (found.challenger, found.champion, found.ties) == (3, 0, 1)


def test_pairs_go_with_the_words_and_then_nobody_can_be_asked(shadow, alice):
    ExchangeContent.objects.all().delete()
    assert not ShadowPair.objects.exists() and shadow_shown(shadow).n_kept == 0
    with pytest.raises(Exception, match="nothing to judge"):
        ask_people(shadow, by=alice)


def test_an_erasure_reaches_the_copies_that_people_judge(shadow, project, alice):
    comparison = ask_people(shadow, by=alice)
    copy = comparison.pairs.first().example
    original = Example.objects.create(project=project, key="gone", text=copy.text, data={}, split="pool",
                                      content_sha256=comparison.pairs.first().content_sha256, group="gone")
    erase([original], reason="They asked for it.", by=alice, wake=False)
    copy.refresh_from_db()
    assert copy.text == "" and copy.data == {} and not ShadowPair.objects.filter(content__text=original.text).exists()
    assert Example.objects.filter(project=comparison.judged_in, text="").count() == 1


def test_an_outsider_sees_neither_shadow_nor_comparison(shadow, alice, client_of, django_user_model):
    comparison = ask_people(shadow, by=alice)
    erin = django_user_model.objects.create_user("erin")
    assert client_of(erin).get(reverse("serving:shadow", args=[shadow.pk])).status_code == 404
    add_member(comparison.judged_in, erin, "annotator", by=alice)
    assert client_of(erin).get(reverse("serving:shadow", args=[shadow.pk])).status_code == 404
    assert BlindComparison.objects.count() == 1 and Project.objects.visible_to(erin).get() == comparison.judged_in
