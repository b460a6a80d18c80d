"""Known answers come from what is settled: people who all agree, or a curator's decision on a clear example."""

import pytest
from django.urls import reverse

from curation.models import Decision
from curation.services.known_answers import add_candidates, candidates
from labeling.models import KnownAnswer
from projects.errors import UserError
from tests.labeling.people import Hall


@pytest.fixture
def hall(project, bob):
    return Hall(project, bob)


@pytest.fixture
def say(hall):
    people = [hall.person(name) for name in ("mira", "jon", "lea")]

    def say(example, *labels):
        for annotator, label in zip(people, labels, strict=False):
            hall.ledger(annotator, example, label)

    return say


def decide(hall, example, verdict="relabel", value="positive", **more):
    return Decision.objects.create(example=example, verdict=verdict, value=value, decided_by=hall.by, **more)


def keys(project):
    return [one.example.key for one in candidates(project)]


def test_two_who_agree_and_nobody_who_differs_make_a_candidate(hall, say, project):
    alike, three, differ, alone, skipped = hall.examples(5)
    say(alike, "neutral", "neutral")
    say(three, "positive", "positive", "positive")
    say(differ, "neutral", "neutral", "positive")
    say(alone, "neutral")
    say(skipped, "neutral", None)
    assert {one.example.key: (one.value, one.n_agree) for one in candidates(project)} == {
        "e0": ("neutral", 2), "e1": ("positive", 3)}


def test_a_decision_makes_a_candidate_unless_text_or_guideline_were_the_trouble(hall, project):
    for example, cause in zip(hall.examples(6), ["", "slip", "knowledge", "ambiguous", "guideline", "missing"],
                              strict=True):
        decide(hall, example, cause=cause)
    assert sorted(keys(project)) == ["e0", "e1", "e2"]


def test_what_is_excluded_discussed_or_taken_back_is_no_candidate(hall, say, project):
    excluded, discussed, reopened = hall.examples(3)
    for example in (excluded, discussed):
        say(example, "neutral", "neutral")
    decide(hall, excluded, "exclude", "")
    decide(hall, discussed, "discuss", "")
    decide(hall, reopened)
    decide(hall, reopened, "open", "")
    assert keys(project) == []


def test_a_decision_that_overrules_an_agreement_is_what_counts(hall, say, project):
    example, = hall.examples(1)
    say(example, "neutral", "neutral")
    decide(hall, example)
    assert [(one.value, one.n_agree) for one in candidates(project)] == [("positive", 0)]


def test_held_out_examples_and_known_ones_are_no_candidates(hall, say, project):
    for example in (*hall.examples(1, split="test", prefix="t"), *hall.examples(1, split="dev", prefix="d")):
        say(example, "neutral", "neutral")
    known, = hall.examples(1)
    say(known, "neutral", "neutral")
    add_candidates(project, [known.pk], by=hall.by)
    assert keys(project) == []


def test_labels_take_turns(hall, say, project):
    for number, example in enumerate(hall.examples(4)):
        say(example, *["neutral" if number < 3 else "positive"] * 2)
    assert keys(project) == ["e0", "e3", "e1", "e2"]


def test_chosen_ones_become_known_answers_and_nothing_else_does(hall, say, project, bob, client_of):
    for example in (good := hall.examples(3)):
        say(example, "neutral", "neutral")
    bad = hall.examples(1, prefix="bad")[0]
    url = reverse("curation:known-answers", args=[project.pk])
    page = client_of(bob).get(url).content.decode()
    assert page.count('name="example"') == 3 and "2 people, all alike" in page
    client_of(bob).post(url, {"example": [good[0].pk, good[1].pk, bad.pk, "x"]})
    assert sorted(KnownAnswer.objects.values_list("example__key", "value")) == [("e0", "neutral"), ("e1", "neutral")]


def test_an_empty_choice_is_said(project, bob):
    with pytest.raises(UserError, match="Choose at least one"):
        add_candidates(project, [], by=bob)


def test_free_words_propose_nothing(hall, say, project):
    say(hall.examples(1)[0], "neutral", "neutral")
    project.task_type = "response"
    assert candidates(project) == []
