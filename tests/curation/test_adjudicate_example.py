"""Answers that differ are settled side by side, blind, and with a cause."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from curation.models import Decision
from curation.services.adjudication import adjudication_queue, case_of, settle
from curation.services.causes import causes_of
from curation.services.review import decide, undo
from curation.services.snapshots import held_out
from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Example, LabelingRules
from labeling.services.batches import Overlap, create_batch
from projects.errors import UserError
from projects.models import Membership, Project
from tests.curation.conftest import annotate

HTMX = {"HX-Request": "true"}


def keys(project, queue="waiting"):
    return sorted(waiting.key for waiting in adjudication_queue(project, queue))


def page(client, project, **query):
    return client.get(reverse("curation:adjudicate", args=[project.pk]), query)


def post(client, example, *, queue="waiting", seen=0, headers=None, **answer):
    url = reverse("curation:adjudicate-settle", args=[example.project_id]) + f"?queue={queue}"
    return client.post(url, {"example": example.pk, "seen": seen, **answer}, headers=headers or HTMX)


def tie(scored, key="t0"):
    """The held-out example has three answers, each another."""
    for name, label in (("mira", "negative"), ("jon", "neutral"), ("kim", "positive")):
        annotate(scored.examples[key], name, label)
    return scored.examples[key]


def said(example, label):
    return Annotation.objects.current().get(example=example, value=label).pk


# What waits

def test_a_pool_example_waits_if_its_answers_tie_and_a_held_out_one_if_three_do(scored):
    assert keys(scored.project) == ["p02", "p05"]
    tie(scored)
    assert keys(scored.project) == ["p02", "p05", "t0"]
    annotate(scored.examples["p02"], "kim", "positive")
    annotate(scored.examples["t0"], "lea", "positive")
    assert keys(scored.project) == ["p05"], "a majority needs nobody"


def test_a_held_out_example_with_two_answers_needs_a_third_first(scored):
    example = scored.examples["t0"]
    for row in Annotation.objects.current().filter(example=example)[:1]:
        Annotation.objects.create(example=example, annotator=row.annotator, retracted=True, source="file",
                                  instructions_version=1, created_at=timezone.now())
    annotate(example, "jon", "neutral")
    assert "t0" not in keys(scored.project)


def test_an_answer_that_was_changed_since_counts_as_it_is_now(scored):
    annotate(scored.examples["p02"], "jon", "positive")
    assert keys(scored.project) == ["p05"]


def test_the_order_is_a_hash_and_says_nothing(scored):
    for key in ("t0", "t1", "t2", "d0"):
        tie(scored, key)
    order = [waiting.key for waiting in adjudication_queue(scored.project)]
    assert order == [waiting.key for waiting in adjudication_queue(scored.project)] and order != sorted(order)


def test_it_does_not_wait_while_somebody_is_left_to_ask(scored, bob, charlie):
    p02 = scored.examples["p02"]
    batch = create_batch(scored.project, [p02.pk], title="more", by=bob, overlap=Overlap(1, 0, 1, 1))
    assert keys(scored.project) == ["p05"], "charlie will be asked"
    person = Annotator.objects.create(project=scored.project, name="charlie", user=charlie)
    item = batch.items.get()
    BatchItem.objects.filter(pk=item.pk).update(n_taken=1)
    row = Assignment.objects.create(example=p02, annotator=person, item=item, expires_at=timezone.now())
    assert keys(scored.project) == ["p05"], "it is on charlie's desk"
    Assignment.objects.filter(pk=row.pk).update(state="answered", ended_at=timezone.now())
    assert keys(scored.project) == ["p02", "p05"], "charlie answered, and the tie stands"


def test_it_waits_when_everybody_has_had_it_although_more_were_wanted(scored, bob, charlie):
    batch = create_batch(scored.project, [scored.examples["p02"].pk], title="more", by=bob, overlap=Overlap(3, 0, 3, 3))
    person = Annotator.objects.create(project=scored.project, name="charlie", user=charlie)
    Annotation.objects.create(example=scored.examples["p02"], annotator=person, skipped=True, source="label_studio",
                              instructions_version=1, created_at=timezone.now())
    assert keys(scored.project) == ["p02", "p05"]
    Membership.objects.filter(project=scored.project, user=bob).update(role="annotator")
    assert keys(scored.project) == ["p05"], "bob could answer"
    batch.annotators.set([person])
    assert keys(scored.project) == ["p02", "p05"], "but is not asked in this batch"


def test_what_was_skipped_and_set_aside_waits_until_its_batch_is_closed(scored, bob, charlie):
    batch = create_batch(scored.project, [scored.examples["p01"].pk], title="more", by=bob,
                         skips=Batch.Skips.set_aside)
    BatchItem.objects.update(is_set_aside=True)
    assert keys(scored.project) == ["p01", "p02", "p05"]
    Batch.objects.filter(pk=batch.pk).update(state="closed")
    assert keys(scored.project) == ["p02", "p05"]


def test_what_is_decided_or_in_discussion_waits_no_more(scored, bob):
    decide(scored.examples["p02"], verdict="exclude", by=bob)
    settle(scored.examples["p05"], verdict="discuss", reason="irony?", by=bob)
    assert keys(scored.project) == [] and keys(scored.project, "discuss") == ["p05"]
    undo(scored.project, by=bob)
    assert keys(scored.project) == ["p05"] and keys(scored.project, "discuss") == []


# The page

@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_of_the_project_adjudicate(scored, request, client_of, who, status):
    client, example = client_of(request.getfixturevalue(who)), scored.examples["p02"]
    assert page(client, scored.project).status_code == status
    answer = post(client, example, answer=said(example, "neutral"), cause="slip")
    assert answer.status_code == status
    assert Decision.objects.exists() == (status == 200)


def test_everybody_who_said_it_stands_under_each_answer(scored, bob, client_of):
    annotate(scored.examples["p02"], "kim", "neutral")
    annotate(scored.examples["p02"], "lea", "positive")
    response = page(client_of(bob), scored.project, at=scored.examples["p02"].pk)
    found = {answer.label: [name for name, _ in people] for answer, people in response.context["answers"]}
    assert found == {"positive": ["mira", "lea"], "neutral": ["jon", "kim"]}
    html = response.content.decode()
    assert "2 different answers" in html and "mira, 14\u202fs" in html and 'data-key="1"' in html


@pytest.mark.parametrize("key", ["p02", "t0"])
def test_no_model_is_shown(scored, bob, client_of, key):
    tie(scored)
    url = reverse("curation:adjudicate", args=[scored.project.pk])
    html = client_of(bob).get(url, {"at": scored.examples[key].pk}, headers=HTMX).content.decode()
    for word in ("Suggested", "model:", "quality", "Nearest", "0.91", "91\u202f%"):
        assert word not in html, word


def test_hidden_names_are_numbers_to_all_but_admins(scored, alice, bob, client_of):
    LabelingRules.objects.create(project=scored.project, hides_names=True)
    html = page(client_of(bob), scored.project).content.decode()
    assert "Annotator 1" in html and "mira" not in html
    assert "mira" in page(client_of(alice), scored.project).content.decode()


def test_labels_stand_in_their_own_order_whoever_gave_them(scored):
    assert [answer.label for answer in case_of(tie(scored)).answers] == ["negative", "neutral", "positive"]


def test_picking_an_answer_settles_it_and_shows_the_next(scored, bob, client_of):
    first, second = (Example.objects.get(pk=waiting.example_id) for waiting in adjudication_queue(scored.project))
    client = client_of(bob)
    response = post(client, first, answer=said(first, "neutral"), cause="guideline", reason="Sighs count.")
    decision = Decision.objects.get()
    assert (decision.value, decision.cause, decision.reason, decision.decided_by) == (
        "neutral", "guideline", "Sighs count.", bob)
    html = response.content.decode()
    assert html.lstrip().startswith('<div id="adjudicate">') and second.text in html and first.text not in html
    assert "Settled: “neutral”." in html
    assert response.headers["HX-Push-Url"].endswith(f"?queue=waiting&at={second.pk}")
    assert 'value="guideline" required checked' in html, "the last cause is remembered"
    response = post(client, second, answer=said(second, "neutral"), cause="slip")
    assert "No answers wait to be settled." in response.content.decode()


@pytest.mark.parametrize(("answer", "verdict", "value"), [
    ({"verdict": "relabel", "written": "negative"}, "relabel", "negative"),
    ({"verdict": "exclude"}, "exclude", ""),
    ({"verdict": "discuss", "reason": "irony?"}, "discuss", ""),
])
def test_every_button_writes_its_decision(scored, bob, client_of, answer, verdict, value):
    post(client_of(bob), scored.examples["p02"], cause="ambiguous", **answer)
    decision = Decision.objects.get()
    assert (decision.verdict, decision.value, decision.cause) == (verdict, value, "ambiguous")


@pytest.mark.parametrize(("answer", "message"), [
    ({"verdict": "exclude"}, "Say first why the answers differ"),
    ({"verdict": "relabel", "written": "negative"}, "Say first why the answers differ"),
    ({"verdict": "relabel", "written": "furious", "cause": "slip"}, "“furious” is not a label of this project"),
    ({"verdict": "discuss"}, "Say in a few words what is to be discussed"),
    ({"answer": 10**9, "cause": "slip"}, "changed or taken back since your page showed it"),
    ({"cause": "slip"}, "Pick or write an answer"),
])
def test_an_unusable_answer_is_told_and_not_saved(scored, bob, client_of, answer, message):
    response = post(client_of(bob), scored.examples["p02"], **answer)
    assert message in response.content.decode() and response.headers["HX-Retarget"] == "#messages"
    assert not Decision.objects.exists()


def test_another_examples_answer_cannot_be_picked(scored, bob):
    with pytest.raises(UserError, match="changed or taken back"):
        settle(scored.examples["p02"], verdict="relabel", answer=said(scored.examples["p05"], "neutral"), cause="slip",
               by=bob)


def test_two_curators_do_not_overwrite_each_other_unseen(scored, alice, bob, client_of):
    example = scored.examples["p02"]
    post(client_of(alice), example, verdict="exclude", cause="slip")
    response = post(client_of(bob), example, answer=said(example, "neutral"), cause="slip")
    assert "alice: leave out" in response.content.decode() and Decision.objects.count() == 1


def test_undo_brings_the_example_back_with_its_cause_before(scored, bob, client_of):
    client, example = client_of(bob), scored.examples["p02"]
    post(client, example, verdict="exclude", cause="missing")
    post(client, example, answer=said(example, "neutral"), cause="slip", seen=Decision.objects.get().pk)
    response = client.post(reverse("curation:adjudicate-undo", args=[scored.project.pk]), headers=HTMX)
    last = Decision.objects.current().get()
    assert (last.verdict, last.cause) == ("exclude", "missing")
    assert example.text in response.content.decode() and "taken back" in response.content.decode()


def test_next_and_previous_move_without_deciding_and_each_ends(scored, bob, client_of):
    tie(scored)
    first, middle, last = (waiting.example_id for waiting in adjudication_queue(scored.project))
    at = {pk: page(client_of(bob), scored.project, at=pk).context for pk in (first, middle, last)}
    assert at[middle]["previous_url"].endswith(f"at={first}") and at[middle]["next_url"].endswith(f"at={last}")
    assert at[first]["previous_url"] == "" and at[last]["next_url"] == ""


def test_without_javascript_a_decision_leads_to_the_next_page(scored, bob, client_of):
    url = reverse("curation:adjudicate-settle", args=[scored.project.pk])
    response = client_of(bob).post(url, {"example": scored.examples["p02"].pk, "seen": 0, "verdict": "exclude",
                                         "cause": "slip"}, follow=True)
    assert "Excluded." in response.content.decode() and "<html" in response.content.decode()


# Held out

def test_a_tie_among_the_held_out_is_settled_and_frozen_with_that_label(scored, bob, client_of):
    example = tie(scored)
    assert example.pk not in held_out(scored.project, scored.report).label_of["test"]
    post(client_of(bob), example, answer=said(example, "neutral"), cause="ambiguous")
    assert held_out(scored.project, scored.report).label_of["test"][example.pk] == "neutral"


def test_a_held_out_majority_is_not_overruled(scored, bob, client_of):
    example = scored.examples["t0"]
    response = page(client_of(bob), scored.project, at=example.pk)
    html = response.content.decode()
    assert "given by hand only where those tie" in html and 'name="answer"' not in html
    response = post(client_of(bob), example, answer=said_first(example), cause="slip")
    assert "given by hand only where those tie" in response.content.decode() and not Decision.objects.exists()


def said_first(example):
    return Annotation.objects.current().filter(example=example).first().pk


# Every kind of answer

SCHEMAS = {
    "multilabel": {"labels": [{"name": "bug"}, {"name": "billing"}, {"name": "other"}]},
    "spans": {"labels": [{"name": "PERSON"}, {"name": "PLACE"}]},
    "extraction": {"json_schema": {"type": "object", "properties": {
        "seller": {"type": "string"}, "total": {"type": "integer"}}, "required": ["seller"]}},
    "response": {"max_chars": 200}, "chat": {}, "preference": {},
}
DATA = {"chat": {"messages": [{"role": "user", "content": "Where is it?"}]},
        "preference": {"left": "By train.", "right": "By bus."}}


def case(project, kind, *values):
    Project.objects.filter(pk=project.pk).update(task_type=kind, schema=SCHEMAS[kind])
    project.refresh_from_db()
    example = Example.objects.create(project=project, key="x", text="Ada met Bob in Paris", data=DATA.get(kind, {}),
                                     group="x", split="pool", content_sha256="x" * 64)
    for name, value in zip(("mira", "jon", "kim"), values, strict=False):
        annotate(example, name, value)
    return example


ADA = {"start": 0, "end": 3, "label": "PERSON"}


@pytest.mark.parametrize(("kind", "values", "form", "shown"), [
    ("multilabel", (["bug", "other"], ["billing", "other"]), "names", "<mark>billing</mark>"),
    ("spans", ([ADA], [{**ADA, "label": "PLACE"}]), "spans", "<mark>Ada<small>PLACE</small></mark>"),
    ("extraction", ({"seller": "Ada", "total": 5}, {"seller": "Bob", "total": 5}), "fields", "<mark>Bob</mark>"),
    ("response", ("They met in Paris.", "A cat sleeps."), "text", "</ins>"),
    ("chat", ("On the shelf in the kitchen.", "No idea, sorry!"), "text", "Where is it?"),
    ("preference", ("left", "right"), "names", "By train."),
])
def test_every_kind_of_answer_is_shown_side_by_side(project, bob, client_of, kind, values, form, shown):
    example = case(project, kind, *values)
    assert keys(project) == ["x"]
    response = page(client_of(bob), project)
    assert case_of(example).form == form and shown in response.content.decode()
    picked = case_of(example).answers[1]
    post(client_of(bob), example, answer=picked.pk, cause="ambiguous")
    assert Decision.objects.get().value == picked.label and keys(project) == []


@pytest.mark.parametrize(("kind", "values", "answer", "value"), [
    ("multilabel", (["bug"], ["billing"]), {"names": ["other", "bug"]}, "bug\nother"),
    ("spans", ([ADA], []), {"written": '[ {"text": "Paris", "label": "PLACE"}]'},
     '[{"text": "Paris", "label": "PLACE"}]'),
    ("extraction", ({"seller": "Ada"}, {"seller": "Bob"}), {"written": '{"seller": "Eve",\n "total": 3}'},
     '{"seller": "Eve", "total": 3}'),
    ("response", ("They met in Paris.", "A cat sleeps."), {"written": " In Paris.\r\n"}, "In Paris."),
])
def test_another_answer_is_written_and_saved_in_its_one_spelling(project, bob, client_of, kind, values, answer, value):
    example = case(project, kind, *values)
    html = page(client_of(bob), project, write=1).content.decode()
    assert ('name="names"' if kind == "multilabel" else 'name="written"') in html
    post(client_of(bob), example, verdict="relabel", cause="slip", **answer)
    assert Decision.objects.get().value == value


@pytest.mark.parametrize(("kind", "values", "written", "message"), [
    ("spans", ([ADA], []), '[{"text": "Rome", "label": "PLACE"}]', "Rome"),
    ("extraction", ({"seller": "Ada"}, {"seller": "Bob"}), '{"total": "three"}', "seller"),
    ("extraction", ({"seller": "Ada"}, {"seller": "Bob"}), "{", "not JSON"),
    ("response", ("They met in Paris.", "A cat sleeps."), "x" * 201, "at most 200 are allowed"),
])
def test_what_is_no_answer_is_told_in_words(project, bob, client_of, kind, values, written, message):
    example = case(project, kind, *values)
    response = post(client_of(bob), example, verdict="relabel", cause="slip", written=written)
    assert message in response.content.decode() and not Decision.objects.exists()


# Why they differ

def test_the_report_counts_causes_and_pairs_of_labels(scored, bob, client_of):
    p02, p05, t0 = scored.examples["p02"], scored.examples["p05"], tie(scored)
    settle(p02, verdict="relabel", answer=said(p02, "neutral"), cause="guideline", by=bob, reason="Sighs count.")
    settle(p05, verdict="relabel", answer=said(p05, "neutral"), cause="guideline", by=bob)
    settle(t0, verdict="exclude", cause="missing", by=bob)
    found = causes_of(scored.project)
    assert found.n == 3 and [(row.cause, row.n) for row in found.rows] == [("guideline", 2), ("missing", 1)]
    assert found.words == "2 of 3 because: the guideline does not say, or says it badly."
    pair = found.pairs[0]
    assert (pair.first, pair.second, pair.n, pair.n_cause) == ("neutral", "positive", 3, 2)
    client, url = client_of(bob), reverse("curation:causes", args=[scored.project.pk])
    html = client.get(url, {"cause": "guideline"}).content.decode()
    assert "This is text p02." in html and "This is text t0." not in html and "Sighs count." in html
    assert reverse("curation:guideline-edit", args=[scored.project.pk]) in html
    assert "Why answers differ" in client.get(reverse("curation:quality", args=[scored.project.pk])).content.decode()


def test_a_decision_that_was_taken_back_is_no_cause(scored, bob):
    settle(scored.examples["p02"], verdict="exclude", cause="slip", by=bob)
    undo(scored.project, by=bob)
    assert causes_of(scored.project).n == 0


# The command

def test_the_command_lists_and_settles(scored, capsys):
    call_command("adjudicate", "Moods", json=True)
    listed = json.loads(capsys.readouterr().out)["examples"]
    assert sorted((one["key"], one["split"], sorted(one["answers"])) for one in listed) == [
        ("p02", "pool", ["neutral", "positive"]), ("p05", "pool", ["neutral", "positive"])]
    call_command("adjudicate", "Moods", key="p02", answer="neutral", cause="slip", note="Sighs.", by="bob", json=True)
    assert json.loads(capsys.readouterr().out)["label"] == "neutral"
    call_command("adjudicate", "Moods")
    assert "1 examples." in capsys.readouterr().out
    for wrong, message in (({"key": "p05"}, "Give one of"), ({"key": "p05", "answer": "neutral"}, "Say first why"),
                           ({"key": "none", "exclude": True}, "no example with the key")):
        with pytest.raises(CommandError, match=message):
            call_command("adjudicate", "Moods", by="bob", **wrong)


def test_the_page_asks_few_queries_however_many_wait(scored, bob, client_of, django_assert_max_num_queries):
    for key in ("t0", "t1", "t2", "d0", "d1"):
        tie(scored, key)
    client = client_of(bob)
    with django_assert_max_num_queries(30):
        page(client, scored.project)


def test_home_says_how_many_wait(scored, bob, client_of):
    html = client_of(bob).get(reverse("projects:detail", args=[scored.project.pk])).content.decode()
    assert "Answers differ, and nobody else is asked" in html and reverse(
        "curation:adjudicate", args=[scored.project.pk]) in html
