import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from curation.facility_location import coverage
from curation.selection import (
    Candidates,
    GoldRule,
    LeftOut,
    Taken,
    audit_order,
    count_gold,
    matched_draws,
    quotas,
    select_gold,
)


def candidates(labels, **columns):
    n = len(labels)
    nobody = np.zeros(n, dtype=bool)
    return Candidates(labels, **{"quality": np.ones(n), "clusters": np.arange(n), "is_excluded": nobody,
                                 "is_label_issue": nobody, "is_under_discussion": nobody, "crosses_split": nobody,
                                 **{name: np.array(column) for name, column in columns.items()}})


def rule(size=10, **kept):
    return GoldRule(**{"size": size, "seed": 0, "min_quality": 0.5, **kept})


def pool(n=1000, seed=0):
    random = np.random.default_rng(seed)
    labels = list(random.choice(["a", "b", "c", "d"], n, p=[0.7, 0.2, 0.08, 0.02]))
    return candidates(labels, quality=random.random(n), clusters=random.integers(0, n, n),
                      is_label_issue=random.random(n) < 0.1, is_excluded=random.random(n) < 0.02)


def test_every_row_is_selected_or_left_out_with_one_reason():
    selection = select_gold(pool(), rule(200))
    assert len(selection.rows) == 200
    assert sorted([*selection.rows.tolist(), *selection.left_out]) == list(range(1000))
    assert sum(selection.quota.values()) == 200


def test_the_reasons_are_given_in_their_order():
    found = select_gold(candidates(
        ["a"] * 7 + [None], is_excluded=[1, 0, 0, 0, 0, 0, 0, 0], is_under_discussion=[1, 1, 0, 0, 0, 0, 0, 0],
        crosses_split=[1, 1, 1, 0, 0, 0, 0, 0], is_label_issue=[1, 1, 1, 1, 0, 0, 0, 0],
        quality=[0, 0, 0, 0, 0.4, 0.5, np.nan, 1], clusters=range(8)), rule())
    assert found.left_out == {0: LeftOut.EXCLUDED, 1: LeftOut.UNDER_DISCUSSION, 2: LeftOut.CROSSES_SPLIT,
                              3: LeftOut.LABEL_ISSUE, 4: LeftOut.LOW_QUALITY, 7: LeftOut.NO_LABEL}
    assert found.rows.tolist() == [5, 6]


def test_flagged_rows_stay_if_the_rule_says_so():
    flagged = candidates(["a", "a"], is_label_issue=[True, False])
    assert select_gold(flagged, rule()).rows.tolist() == [1]
    assert select_gold(flagged, rule(allow_flagged=True)).rows.tolist() == [0, 1]


def test_the_best_of_a_cluster_stays_and_of_equals_the_first():
    found = select_gold(candidates(["a"] * 6, clusters=[5, 5, 5, 2, 2, 9], quality=[0.6, 0.9, 0.9, np.nan, 0.5, 1]),
                        rule())
    assert found.rows.tolist() == [1, 4, 5]
    assert set(found.left_out.values()) == {LeftOut.DUPLICATE}


def test_a_filtered_row_does_not_stand_for_its_cluster():
    found = select_gold(candidates(["a", "a"], clusters=[0, 0], quality=[1, 0.6], is_excluded=[True, False]), rule())
    assert found.rows.tolist() == [1]


def test_quality_is_a_filter_and_not_the_ranking():
    quality = np.linspace(0.5, 1, 400)
    found = select_gold(candidates(["a"] * 400, quality=quality), rule(200))
    assert quality[found.rows].mean() == pytest.approx(0.75, abs=0.03)


def test_the_draw_depends_on_the_seed_alone():
    rows = [select_gold(pool(), rule(200, seed=seed)).rows.tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_excluding_one_row_replaces_one_row():
    before = candidates(["a", "b"] * 200)
    chosen = set(select_gold(before, rule(100)).rows.tolist())
    is_excluded = before.is_excluded.copy()
    is_excluded[min(chosen)] = True
    after = set(select_gold(replace(before, is_excluded=is_excluded), rule(100)).rows.tolist())
    assert len(after) == 100
    assert len(chosen - after) == 1


def test_the_table_counts_each_label_from_candidates_to_selected():
    found = select_gold(candidates(["a"] * 5 + ["b"] * 3, clusters=[0, 0, 1, 2, 3, 4, 5, 6],
                                   is_excluded=[0, 0, 0, 0, 0, 0, 0, 1]), rule(4))
    table = {row.label: (row.n_candidates, row.n_available, row.n_selected) for row in found.table}
    assert table == {"a": (5, 4, 2), "b": (3, 2, 2)}
    assert found.quota == {"a": 2, "b": 2}
    labels = Counter("a" if row < 5 else "b" for row in found.rows)
    assert labels == {"a": 2, "b": 2}


def test_a_quota_lies_between_the_share_and_an_equal_share():
    # 100 * (.8 / 2 + 1 / 8) = 52.5 of the first, 100 * (.0667 / 2 + 1 / 8) = 15.8 of the others
    assert quotas(np.array([1200, 100, 100, 100]), 100, 0).tolist() == [52, 16, 16, 16]


def test_a_small_label_gets_the_minimum_as_far_as_it_has_it():
    counts = quotas(np.array([5000, 30, 12]), 100, 20)
    assert counts[1] >= 20
    assert counts[2] == 12
    assert counts.sum() == 100


def test_what_a_small_label_cannot_give_goes_to_the_others():
    assert quotas(np.array([3, 500, 500]), 300, 20).tolist() == [3, 149, 148]
    assert quotas(np.array([3, 150, 500]), 600, 20).tolist() == [3, 150, 447]


def test_more_minimums_than_room_are_shared_equally():
    counts = quotas(np.full(77, 100), 500, 20)
    assert counts.sum() == 500
    assert set(counts) == {6, 7}


@pytest.mark.parametrize("seed", range(30))
def test_the_total_is_exact_and_nobody_gives_more_than_they_have(seed):
    random = np.random.default_rng(seed)
    available = (random.pareto(1, random.integers(1, 80)) * 20).astype(int)
    size, minimum = int(random.integers(1, 1200)), int(random.integers(0, 40))
    counts = quotas(available, size, minimum)
    assert counts.sum() == min(size, available.sum())
    assert (counts >= 0).all()
    assert (counts <= available).all()
    n_labels = np.count_nonzero(available)
    floor = min(minimum, min(size, available.sum()) // max(n_labels, 1))
    assert (counts >= np.minimum(floor, available)).all()


def test_nothing_available_selects_nothing():
    found = select_gold(candidates(["a", "b"], is_excluded=[True, True]), rule())
    assert found.rows.tolist() == []
    assert found.quota == {"a": 0, "b": 0}
    assert select_gold(candidates([]), rule()).rows.tolist() == []


@pytest.mark.parametrize(("change", "message"), [({"size": 0}, "size"), ({"min_quality": 1.5}, "1.5")])
def test_a_rule_outside_its_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        select_gold(candidates(["a"]), rule(**change))


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="clusters must have one value per row, got 1 for 2"):
        select_gold(candidates(["a", "b"], clusters=[0]), rule())


def test_quotas_go_by_strata_where_an_answer_is_not_one_label():
    answers = [f"answer {n}" for n in range(12)]
    found = select_gold(candidates(answers, strata=["few"] * 3 + ["many"] * 9), rule(size=6, min_per_label=1))
    assert found.quota == {"few": 2, "many": 4}  # halfway between a share of 1.5 and an equal 3 is 2.25
    assert sum(row < 3 for row in found.rows) == 2


def test_a_row_has_a_stratum_exactly_if_it_has_a_label():
    with pytest.raises(ValueError, match="row 1 has None and 'b'"):
        select_gold(candidates(["a", "b"], strata=["x", None]), rule())
    with pytest.raises(ValueError, match="one name per row, got 1 for 2 rows"):
        select_gold(candidates(["a", "b"], strata=["x"]), rule())


# By “spread”

def directions(n=300, seed=0):
    """Thirty heaps of like texts, in turn."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(30, 8))[np.arange(n) % 30] + 0.3 * random.normal(size=(n, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def spread_rule(size=40, **more):
    return rule(size, method="spread", **{"min_per_label": 1, "min_quality": 0.0, **more})


def spread_pool(n=300, **columns):
    return candidates(["a", "b"] * (n // 2), embeddings=directions(n), **columns)


def test_an_old_rule_has_no_method_and_draws_as_it_did():
    old = GoldRule(**{"size": 6, "seed": 3, "min_quality": 0.5, "min_per_label": 1, "allow_flagged": False})
    found = select_gold(candidates(["a", "b", "b"] * 10), old)
    draw = np.random.default_rng(3).random(30)
    of_a = [row for row in np.argsort(draw) if row % 3 == 0][:found.quota["a"]]
    of_b = [row for row in np.argsort(draw) if row % 3][:found.quota["b"]]
    assert found.rows.tolist() == sorted([*of_a, *of_b])
    assert {pick.why for pick in found.picks.values()} == {Taken.DRAWN}


def test_spread_covers_more_than_a_matched_draw_with_the_same_quotas():
    pool = spread_pool()
    found = select_gold(pool, spread_rule())
    arms = matched_draws(pool, spread_rule(), range(3))
    assert len({tuple(arm) for arm in arms}) == 3
    for arm in arms:
        assert Counter(row % 2 for row in arm) == Counter(row % 2 for row in found.rows.tolist())
        assert coverage(pool.embeddings, arm) < coverage(pool.embeddings, found.rows)


def test_of_two_heaps_each_gives_one_before_either_gives_two():
    heaps = np.repeat(np.eye(3, dtype=np.float32), [5, 3, 2], axis=0)
    found = select_gold(candidates(["a"] * 10, embeddings=heaps), spread_rule(3))
    by_place = sorted(found.picks, key=lambda row: found.picks[row].place)
    assert [int(heaps[row].argmax()) for row in by_place] == [0, 1, 2]
    assert [found.picks[row].gain for row in by_place] == pytest.approx([0.5, 0.3, 0.2])
    assert set(found.left_out.values()) == {LeftOut.COVERED}


def test_a_doubtful_row_counts_for_less():
    heaps = np.repeat(np.eye(2, dtype=np.float32), [5, 3], axis=0)
    found = select_gold(candidates(["a"] * 8, embeddings=heaps, quality=[0.1] * 5 + [1.0] * 3), spread_rule(1))
    assert found.rows[0] >= 5


def test_places_are_kept_for_the_check_and_for_the_hardest_that_are_settled():
    quality = np.linspace(0.1, 1, 300)
    settled = np.arange(300) < 20
    found = select_gold(spread_pool(quality=quality, is_settled=settled, was_flagged=settled),
                        spread_rule(40, uncertain_share=0.1, audit_share=0.05))
    whys = Counter(pick.why for pick in found.picks.values())
    assert whys == {Taken.AUDIT: 2, Taken.UNCERTAIN: 4, Taken.SPREAD: 34}
    assert [row for row, pick in found.picks.items() if pick.why == Taken.UNCERTAIN] == [0, 1, 2, 3]
    assert all(row >= 20 for row, pick in found.picks.items() if pick.why == Taken.AUDIT)
    assert Counter(row % 2 for row in found.rows.tolist()) == {0: 20, 1: 20}


def test_places_are_kept_for_favoured_batches_within_the_quota_of_each_label():
    labels = ["a"] * 30 + ["b"] * 10
    favoured = [number in (0, 1, 2, 3, 30, 31, 32, 33, 34, 35) for number in range(40)]
    found = select_gold(candidates(labels, is_favoured=favoured), rule(10, method="spread", favoured_share=0.9))
    plain = select_gold(candidates(labels, is_favoured=favoured), rule(10, method="spread"))
    taken = {row for row, pick in found.picks.items() if pick.why == Taken.FAVOURED}
    assert found.quota == plain.quota == {"a": 5, "b": 5}  # no label gets more for it
    assert {0, 1, 2, 3} < taken and len(taken) == 9 and taken <= {row for row, is_one in enumerate(favoured) if is_one}
    assert not any(pick.why == Taken.FAVOURED for pick in plain.picks.values())


def test_a_rule_from_json_is_the_rule_that_was_written():
    favouring = rule(favoured_share=0.2, favoured_batches=(3, 4))
    assert GoldRule(**json.loads(json.dumps(asdict(favouring)))) == favouring


def test_what_a_person_has_settled_does_not_leave_for_its_quality():
    doubted = candidates(["a", "a"], quality=[0.1, 0.1], is_settled=[True, False], embeddings=np.eye(2))
    assert select_gold(doubted, spread_rule(min_quality=0.5)).rows.tolist() == [0]
    assert select_gold(doubted, rule(min_quality=0.5)).rows.tolist() == []


def test_without_embeddings_the_seed_draws():
    found = [select_gold(candidates(["a"] * 100), spread_rule(10, seed=seed)).rows.tolist() for seed in (1, 1, 2)]
    drawn = select_gold(candidates(["a"] * 100), rule(10, seed=1, min_quality=0.0)).rows.tolist()
    assert found[0] == found[1] == drawn != found[2]


def test_a_row_that_leaves_disturbs_no_other_label_and_few_of_its_own():
    before = spread_pool()
    chosen = select_gold(before, spread_rule(40))
    gone = next(row for row, pick in chosen.picks.items() if row % 2 == 0 and pick.place >= 10)
    after = select_gold(replace(before, is_excluded=np.arange(300) == gone), spread_rule(40))
    lost = set(chosen.rows.tolist()) - set(after.rows.tolist())
    assert gone in lost and len(after.rows) == 40
    assert all(row % 2 == 0 for row in lost) and len(lost) <= 6


def test_rows_are_counted_as_they_are_selected():
    for wanted in (rule(200), rule(5000)):
        assert count_gold(pool(), wanted) == len(select_gold(pool(), wanted).rows)


def test_the_check_by_hand_keeps_its_order_whatever_is_decided():
    order = audit_order(spread_pool(), spread_rule())
    decided = spread_pool(is_excluded=np.arange(300) == order[0], is_settled=np.arange(300) == order[1])
    assert audit_order(decided, spread_rule()).tolist() == order.tolist()
    flagged = audit_order(spread_pool(was_flagged=np.arange(300) == order[0]), spread_rule())
    assert flagged.tolist() == order[1:].tolist()


@pytest.mark.parametrize(("change", "message"), [
    ({"method": "best"}, "best"), ({"uncertain_share": 0.7, "audit_share": 0.4}, "0.4"),
    ({"audit_share": -0.1}, "-0.1")])
def test_shares_and_methods_that_are_none_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        select_gold(candidates(["a"]), replace(spread_rule(), **change))
