"""Guideline 2 changes the rule for “negative”: labels given before it are looked at again."""

import pytest
from django.urls import reverse
from django.utils import timezone

from curation.models import Decision
from curation.services.bulk_decisions import decide_all, look_at
from curation.services.evidence import review_item
from curation.services.keeping import kept
from curation.services.outdated import ask_again, outdated, outdated_because, undecided
from curation.services.queue import Filter, Queue
from curation.services.review import decide, review_counts, review_queue, undo
from labeling.models import Annotation, Annotator, Batch, Example
from projects.errors import UserError
from projects.models import Project
from projects.services import publish_guideline

WHY = "Labelled under guideline 1; the rule for “negative” changed in 2: Sighs count."


def publish(project, by, *labels, seen=1, note="Sighs count.", **more):
    return publish_guideline(project, text=f"Text {seen + 1}.", note=note, by=by, seen=seen, changed_labels=labels,
                             **more)


def answer(example, name, label, version):
    annotator, _ = Annotator.objects.get_or_create(project=example.project, name=name)
    return Annotation.objects.create(
        example=example, annotator=annotator, value=label, source="file", instructions_version=version,
        created_at=timezone.now())


def keys(scored):
    return sorted(Example.objects.filter(pk__in=outdated(scored.project)).values_list("key", flat=True))


NEGATIVE = [f"p{number:02}" for number in range(0, 24, 3)]
HELD_OUT = ["d0", "d3", "t0", "t3", "t6"]


def test_nothing_is_outdated_before_a_rule_changes(scored, bob, django_assert_num_queries):
    publish(scored.project, bob)
    with django_assert_num_queries(1):
        assert outdated(scored.project) == set()


def test_a_changed_rule_outdates_the_labels_it_is_about(scored, bob):
    publish(scored.project, bob, "negative")
    assert keys(scored) == sorted([*HELD_OUT, *NEGATIVE])
    assert outdated_because(scored.examples["p00"]) == WHY and outdated_because(scored.examples["p01"]) == ""


def test_an_answer_that_others_outvote_is_looked_at_too(scored, bob):
    """p02 is positive for mira and neutral for jon: it hangs on both rules."""
    publish(scored.project, bob, "neutral")
    assert "p02" in keys(scored) and "p05" in keys(scored)


def test_a_change_of_every_rule_outdates_every_label(scored, bob):
    publish(scored.project, bob, changes_all=True)
    assert len(keys(scored)) == 39
    assert outdated_because(scored.examples["p01"]) == (
        "Labelled under guideline 1; the rules changed in 2: Sighs count.")


def test_an_answer_under_the_new_rule_clears_a_pool_example(scored, bob):
    publish(scored.project, bob, "negative")
    answer(scored.examples["p00"], "jon", "neutral", 2)
    assert "p00" not in keys(scored)
    publish(scored.project, bob, "negative", seen=2)
    assert "p00" in keys(scored), "the rule has changed again"


def test_a_held_out_label_needs_three_new_answers(scored, bob):
    publish(scored.project, bob, "negative")
    for n, name in enumerate(("mira", "jon", "kim"), start=1):
        assert "t0" in keys(scored), f"{n - 1} new answers"
        answer(scored.examples["t0"], name, "negative", 2)
    assert "t0" not in keys(scored)


def test_a_decision_clears_it_and_undo_brings_it_back(scored, bob):
    publish(scored.project, bob, "negative")
    for verdict in ("keep", "exclude", "discuss"):
        decide(scored.examples["p00"], verdict=verdict, by=bob, reason="?")
        assert "p00" not in keys(scored), verdict
        undo(scored.project, by=bob)
        assert "p00" in keys(scored), verdict


def test_a_decision_from_before_is_outdated_and_a_taken_back_one_does_not_renew_it(scored, bob):
    decide(scored.examples["p01"], verdict="relabel", value="negative", by=bob)
    decide(scored.examples["p03"], verdict="relabel", value="neutral", by=bob)
    decide(scored.examples["p06"], verdict="exclude", by=bob)
    publish(scored.project, bob, "negative")
    found = keys(scored)
    assert "p01" in found and "p03" not in found and "p06" not in found, "what counts is what was decided"
    assert outdated_because(scored.examples["p01"]) == (
        "Decided before guideline 2; the rule for “negative” changed in 2: Sighs count.")
    decide(scored.examples["p01"], verdict="keep", by=bob)
    assert "p01" not in keys(scored)
    undo(scored.project, by=bob)
    assert Decision.objects.current().get(example=scored.examples["p01"]).value == "negative"
    assert "p01" in keys(scored)


def test_review_has_a_view_of_them_with_the_reason(scored, bob, client_of):
    publish(scored.project, bob, "negative")
    assert [score.example.key for score in review_queue(scored.report, "outdated")] == NEGATIVE
    assert review_counts(scored.report).outdated == len(NEGATIVE)
    assert WHY in review_item(scored.score("p00"), scored.report).why
    client, url = client_of(bob), reverse("curation:review", args=[scored.project.pk])
    html = client.get(url, {"view": "outdated"}).content.decode()
    assert "guideline changed" in html and "Sighs count." in html and "This is text p00." in html
    client.post(reverse("curation:decide", args=[scored.project.pk]) + "?view=outdated",
                {"score": scored.score("p00").pk, "seen": 0, "verdict": "keep"})
    assert review_counts(scored.report).outdated == len(NEGATIVE) - 1


OUTDATED = Filter(view="outdated")


def decide_outdated(scored, bob, meanwhile):
    look = look_at(Queue(scored.report, OUTDATED))
    assert look.seen.n == len(NEGATIVE)
    meanwhile()
    return decide_all(scored.project, OUTDATED, seen=look.seen, action="keep", by=bob)


@pytest.mark.parametrize("most_touched", [1000, 0])
def test_many_are_decided_though_somebody_decides_or_answers_about_some_meanwhile(
        scored, alice, bob, monkeypatch, most_touched):
    monkeypatch.setattr("curation.services.keeping.MOST_TOUCHED", most_touched)
    publish(scored.project, bob, "negative")

    def meanwhile():
        decide(scored.examples["p00"], verdict="exclude", by=alice, report=scored.report)
        answer(scored.examples["p03"], "jon", "neutral", 2)
        decide(scored.examples["p01"], verdict="relabel", value="negative", by=alice)  # never among them

    bulk = decide_outdated(scored, bob, meanwhile)
    assert (bulk.n_previewed, bulk.n_decided, bulk.n_changed) == (len(NEGATIVE), len(NEGATIVE) - 2, 2)
    assert sorted(bulk.decisions.values_list("example__key", flat=True)) == sorted({*NEGATIVE} - {"p00", "p03"})
    assert Decision.objects.current().get(example=scored.examples["p00"]).verdict == "exclude"
    assert keys(scored) == HELD_OUT


def test_a_rule_that_changes_meanwhile_makes_others_of_them_so_nothing_is_decided(scored, bob):
    publish(scored.project, bob, "negative")
    with pytest.raises(UserError, match="Nothing was decided"):
        decide_outdated(scored, bob, lambda: publish(scored.project, bob, "neutral", seen=2))
    assert not Decision.objects.exists()


def test_people_are_asked_again_about_what_nobody_decided(scored, bob, charlie, client_of):
    decide(scored.examples["p00"], verdict="keep", by=bob)
    publish(scored.project, bob, "negative")
    assert outdated(scored.project) - undecided(scored.project) == {scored.examples["p00"].pk}
    url = reverse("curation:guideline-ask-again", args=[scored.project.pk])
    assert client_of(charlie).post(url).status_code == 403
    assert client_of(bob).post(url).status_code == 302
    items = Batch.objects.get().items
    assert items.count() == len(HELD_OUT) + len(NEGATIVE) - 1
    assert {item.n_wanted for item in items.filter(example__split="pool")} == {1}
    assert {item.n_wanted for item in items.exclude(example__split="pool")} == {3}
    with pytest.raises(UserError, match="in an open batch already"):
        ask_again(scored.project, by=bob)


def test_there_is_nothing_to_ask_while_no_rule_has_changed(scored, bob):
    with pytest.raises(UserError, match="nothing to ask again"):
        ask_again(scored.project, by=bob)


@pytest.mark.parametrize(("task_type", "schema", "old", "other"), [
    ("multilabel", {"labels": [{"name": "a“ü"}, {"name": "b"}]}, ["a“ü", "b"], ["b"]),
    ("spans", {"labels": [{"name": "a“ü"}, {"name": "b"}]}, [{"start": 0, "end": 4, "label": "a“ü"}],
     [{"start": 0, "end": 4, "label": "b"}]),
])
def test_a_label_is_found_within_answers_that_have_several(project, bob, task_type, schema, old, other):
    Project.objects.filter(pk=project.pk).update(task_type=task_type, schema=schema)
    project.refresh_from_db()
    examples = [Example.objects.create(project=project, key=key, text="This text", data={}, group=key, split="pool",
                                       content_sha256=key * 64) for key in "xy"]
    for example, value in zip(examples, (old, other), strict=True):
        answer(example, "mira", value, 1)
    publish(project, bob, "a“ü")
    assert outdated(project) == {examples[0].pk}
    assert "the rule for “a“ü” changed in 2" in outdated_because(examples[0])


def test_free_text_has_no_rules_but_all_of_them(project, bob):
    Project.objects.filter(pk=project.pk).update(task_type="response", schema={})
    project.refresh_from_db()
    example = Example.objects.create(project=project, key="x", text="Why?", data={}, group="x", split="pool",
                                     content_sha256="x" * 64)
    answer(example, "mira", "Because.", 1)
    with pytest.raises(UserError, match="Its answers have no labels"):
        publish(project, bob, "negative")
    publish(project, bob, changes_all=True)
    assert outdated(project) == {example.pk}


def test_of_a_large_ledger_what_was_found_is_kept_for_a_moment(scored, monkeypatch):
    found = []

    def find():
        found.append(1)
        return {7}

    assert kept(scored.project, "test", find) == kept(scored.project, "test", find) == {7} and len(found) == 2
    monkeypatch.setattr("curation.services.keeping.MANY_ANSWERS", 1)
    assert kept(scored.project, "test", find) == kept(scored.project, "test", find) == {7} and len(found) == 3
