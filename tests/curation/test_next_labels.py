import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.next_labels import Judged, judge, next_labels, words
from stats.activelab import activelab
from stats.crowdlab import crowdlab

UNIT = np.eye(8)


def plan(quality, n_answers, *, score=None, clusters=None, embeddings=None, n=10, target=0.9, cap=5, **rows):
    """Rows with these qualities and numbers of answers; every row may be asked unless `rows` says otherwise."""
    size = len(quality)
    quality = np.array(quality, dtype=float)
    masks = {"may_ask": True, "is_asked": False, "has_somebody": True} | rows
    return next_labels(
        Judged(quality if score is None else np.array(score), quality), np.array(n_answers),
        np.arange(size) if clusters is None else np.array(clusters),
        UNIT[np.arange(size) % 8] if embeddings is None else embeddings,
        **{name: np.broadcast_to(np.array(value), size) for name, value in masks.items()}, n=n, target=target, cap=cap)


NEW = np.nan


def test_unsure_examples_come_first_the_lowest_score_first_then_new_ones():
    found = plan([0.8, NEW, 0.3, 0.95, NEW], [1, 0, 2, 1, 0], score=[0.6, 0.7, 0.2, 0.8, 0.4], n=3)
    assert found.again.tolist() == [2, 0]
    assert found.new.tolist() == [4]
    assert (found.n_later, found.n_new_later, found.is_sure) == (0, 1, False)


def test_unsure_examples_that_do_not_fit_are_counted():
    found = plan([0.5, 0.4, 0.3, NEW], [1, 1, 1, 0], n=2)
    assert (found.again.tolist(), found.new.tolist(), found.n_later, found.n_new_later) == ([2, 1], [], 1, 1)


def test_at_the_cap_nobody_is_asked_but_an_adjudicator():
    found = plan([0.5, 0.6, 0.95], [5, 4, 5], n=5)
    assert (found.again.tolist(), found.at_cap.tolist()) == ([1], [0])
    done = plan([0.5, 0.95], [5, 1])
    assert done.is_sure
    assert words(done, target=0.9, cap=5)[0] == (
        "Every consensus that can be judged is at or above 90\u202f%, or at the cap of 5 answers: ask an adjudicator "
        "for the 1 that ends so.")
    both = plan([0.5, 0.5, 0.95], [5, 2, 1], has_somebody=[True, False, True])
    assert words(both, target=0.9, cap=5)[0] == (
        "Every consensus that can be judged is at or above 90\u202f%, or at the cap of 5 answers, or with nobody left "
        "to ask: ask an adjudicator for the 2 that end so.")
    assert words(found, target=0.9, cap=5)[1] == "1 below 90\u202f% is at the cap of 5 answers: ask an adjudicator."


def test_an_example_that_everybody_has_had_waits_for_an_adjudicator():
    found = plan([0.5, 0.6], [2, 2], has_somebody=[False, True])
    assert (found.again.tolist(), found.nobody_left.tolist()) == ([1], [0])


def test_what_may_not_be_asked_is_never_chosen():
    found = plan([0.1, NEW, 0.2, NEW], [1, 0, 1, 0], may_ask=[False, False, True, True])
    assert (found.again.tolist(), found.new.tolist()) == ([2], [3])


def test_examples_in_an_open_batch_and_their_duplicates_wait():
    found = plan([0.1, 0.2, NEW, NEW, 0.3], [1, 1, 0, 0, 1], clusters=[0, 0, 0, 1, 2], is_asked=[True, *[False] * 4])
    assert (found.again.tolist(), found.new.tolist(), found.n_waiting) == ([4], [3], 2)
    assert not plan([0.1], [1], is_asked=True).is_sure


def test_of_near_duplicates_one_is_asked_and_none_whose_cluster_is_labelled():
    found = plan([0.5, 0.4, NEW, NEW, NEW], [1, 1, 0, 0, 0], score=[0.5, 0.4, 0.1, 0.3, 0.2], clusters=[0, 0, 0, 1, 1])
    assert (found.again.tolist(), found.new.tolist()) == ([1], [4])


def test_new_examples_are_unlike_each_other():
    embeddings = np.vstack([UNIT[[0, 0, 0, 0]], UNIT[[1]]])
    found = plan([NEW] * 5, [0] * 5, score=[0.1, 0.11, 0.12, 0.13, 0.2], embeddings=embeddings, n=2)
    assert found.new.tolist() == [0, 4]


def test_without_scores_new_examples_are_drawn_by_the_seed():
    draws = {tuple(next_labels(
        Judged(np.full(40, NEW), np.full(40, NEW)), np.zeros(40, dtype=int), np.arange(40), UNIT[np.arange(40) % 8],
        may_ask=np.ones(40, dtype=bool), is_asked=np.zeros(40, dtype=bool), has_somebody=np.ones(40, dtype=bool),
        n=3, seed=seed).new.tolist()) for seed in range(5)}
    assert len(draws) > 1


@pytest.mark.parametrize("wrong", [{"n": 0}, {"cap": 0}, {"target": 0}, {"target": 1.1}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        plan([0.5], [1], **wrong)


def test_the_words_say_how_many_and_why():
    said = words(plan([0.1, 0.2, NEW, NEW, NEW], [1, 1, 0, 0, 0], n=4), target=0.9, cap=5)
    assert said[0] == "4 labels: 2 for examples whose answers are not sure yet, 2 for new texts."
    assert words(plan([0.99], [1]), target=0.9, cap=5) == [
        "Every consensus that can be judged is at or above 90\u202f%.",
        "No text is left that nobody has labelled. Nothing needs to be asked."]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_nothing_is_asked_twice_and_never_more_than_asked_for(seed, n):
    random = np.random.default_rng(seed)
    size = 40
    n_answers, clusters = random.integers(0, 6, size), random.integers(0, 25, size)
    quality = np.where(n_answers > 0, random.random(size), NEW)
    masks = {name: random.random(size) < share
             for name, share in (("may_ask", 0.8), ("is_asked", 0.1), ("has_somebody", 0.9))}
    embeddings = random.normal(size=(size, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = next_labels(Judged(random.random(size), quality), n_answers, clusters, embeddings, n=n, **masks)
    chosen = np.concatenate([found.again, found.new])
    assert len(chosen) <= n
    assert len(set(clusters[chosen].tolist())) == len(chosen)
    assert (masks["may_ask"] & masks["has_somebody"] & ~masks["is_asked"])[chosen].all()
    assert (quality[found.again] < 0.9).all()
    assert (n_answers[found.again] < 5).all()
    assert (n_answers[found.new] == 0).all()
    assert not len(found.new) or not found.n_later


# Judging

VOTES = (np.array([0, 0, 1, 2, 2, 4]), np.array([7, 8, 7, 7, 8, 8]), np.array([0, 0, 1, 0, 1, 0]))
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3], [np.nan, np.nan]])


def test_scores_are_activelabs_and_qualities_crowdlabs():
    found = judge(*VOTES, PROBS)
    votes = tuple(column[:5] for column in VOTES)
    expected = activelab(*votes, PROBS[:3], PROBS[3:4])
    assert found.score[:3] == pytest.approx(expected.labelled)
    assert found.score[3] == pytest.approx(expected.unlabelled[0])
    assert found.quality[:3] == pytest.approx(crowdlab(*votes, PROBS[:3]).consensus_quality)
    assert np.isnan(found.quality[3:]).all()
    assert np.isnan(found.score[4])


def test_of_single_answers_the_quality_is_the_labels_probability():
    found = judge(np.array([1, 0]), np.array([7, 7]), np.array([1, 1]), PROBS)
    assert found.quality[:2].tolist() == [0.1, 0.8]


def test_without_any_answer_everything_is_new():
    nobody = np.empty(0, dtype=int)
    found = judge(nobody, nobody, nobody, PROBS)
    assert np.isnan(found.quality).all()
    assert (~np.isnan(found.score)).tolist() == [True, True, True, True, False]
