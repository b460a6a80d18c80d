import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.task_types import task_type
from stats.intervals import wilson
from training.metrics import Answered, measured_share, paired

RECORD = {"json_schema": {"type": "object", "properties": {"city": {"type": "string"}, "sum": {"type": "integer"}}}}
SETS = {"labels": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}


def records(*predicted, gold=None, sources=None):
    gold = gold or [{"city": "Rome", "sum": 12}] * len(predicted)
    return Answered("extraction", RECORD, gold, predicted, sources or ["To Rome, 12 euros."] * len(predicted),
                    [str(n) for n in range(len(predicted))])


def test_a_share_has_wilson_s_interval_and_bounds():
    found = measured_share(45, 50)
    assert found.interval == wilson(45, 50) and found.n_right == 45
    assert found.interval.low < found.lower < 0.9 < found.upper < found.interval.high


def test_fields_are_counted_together_and_unreadable_answers_are_wrong():
    found = records({"city": "rome", "sum": 12}, {"city": "Oslo"}, None).metrics
    assert list(found) == ["field_f1", "record_exact_match", "schema_valid", "unsaid"]
    assert found["field_f1"].value == pytest.approx(2 * 2 / (6 + 2 + 1 + 1))
    assert found["record_exact_match"].value == pytest.approx(1 / 3)
    assert (found["schema_valid"].value, found["schema_valid"].n_right) == (pytest.approx(2 / 3), 2)


def test_values_that_the_text_does_not_say_are_counted():
    found = records({"city": "Rome", "sum": 12}, {"city": "Oslo", "sum": 4711}, None).metrics["unsaid"]
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)  # of the values; 12 is too small to be looked for


def test_twelve_of_twelve_is_not_certainty():
    found = records(*[{"city": "Rome", "sum": 12}] * 12).metrics["field_f1"]
    assert found.value == found.interval.high == 1
    assert 0.6 < found.lower < 0.95


def test_rows_of_one_group_count_once():
    rows = [{"city": "Rome", "sum": 12}, None] * 20
    single, grouped = records(*rows), records(*rows)
    grouped = Answered(grouped.task_type, grouped.schema, grouped.gold, grouped.predicted, grouped.sources,
                       [str(n // 10) for n in range(40)])
    wide, narrow = (one.metrics["record_exact_match"].interval for one in (
        Answered(grouped.task_type, grouped.schema, grouped.gold, sorted(rows, key=str), grouped.sources,
                 grouped.groups), single))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_labels_of_sets_and_spans_have_scores_of_their_own():
    found = Answered("multilabel", SETS, [["a"], ["a", "b"]], [["a", "c"], None], ["", ""], ["0", "1"])
    a, b, c = found.by_label
    assert (a.label, a.precision, a.recall, a.f1, a.n) == ("a", 1, 0.5, pytest.approx(2 / 3), 2)
    assert (b.recall, b.n, c.precision, c.n) == (0, 1, 0, 0)
    place = [{"start": 0, "end": 2, "label": "a"}]
    [a, *_] = Answered("spans", SETS, [place], [[{"start": 0, "end": 3, "label": "a"}]], ["abc"], ["0"]).by_label
    assert (a.f1, a.n) == (0, 1)


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc"), min_size=1), st.none() | st.sets(st.sampled_from("abc"),
                                                                                          min_size=1)), min_size=1))
def test_counts_give_the_metrics_of_any_rows_again(pairs):
    gold, said = [sorted(a) for a, _ in pairs], [sorted(b) if b else None for _, b in pairs]
    kind = task_type("multilabel")
    counts = kind.counts(gold, said, SETS)
    drawn = [0, len(pairs) - 1, 0]
    again = kind.metrics_of(counts.by_row[drawn].sum(axis=0))
    wanted = kind.score([gold[n] for n in drawn], [said[n] for n in drawn]).parts
    assert {name: float(value) for name, value in again.items()} == pytest.approx(wanted)
    assert counts.row_scores == pytest.approx([kind.score([a], [b]).value for a, b in zip(gold, said, strict=True)])


def test_the_same_answers_do_not_differ_and_better_ones_do():
    good, bad = {"city": "Rome", "sum": 12}, {"city": "Rome", "sum": 13}
    worse, better = records(*[bad] * 30), records(*[good] * 25, *[bad] * 5)

    def compared(first, second):
        return paired("extraction", first.counts.by_row, second.counts.by_row, groups=first.groups, unseen=first.unseen)

    same = compared(better, better)
    assert (same.difference.estimate, same.p_value, same.n_won, same.n_lost) == (0, 1, 0, 0)
    assert same.lower < 0
    found = compared(worse, better)
    assert found.difference.estimate == pytest.approx(25 / 30 / 2 * 1)
    assert (found.n_won, found.n_lost) == (25, 0) and found.p_value < 0.001
    assert 0 < found.difference.low < found.lower < found.difference.estimate < found.difference.high
    back = compared(better, worse)
    assert back.difference.high < 0 and back.p_value < 0.001


def test_chance_alone_is_seldom_called_a_difference():
    random = np.random.default_rng(0)
    good, bad = {"city": "Rome"}, {"city": "Oslo"}
    p_values = []
    for _ in range(40):
        first, second = (records(*[good if coin else bad for coin in random.random(40) < 0.7], gold=[good] * 40)
                         for _ in range(2))
        p_values.append(paired("extraction", first.counts.by_row, second.counts.by_row, groups=first.groups,
                               unseen=first.unseen).p_value)
    assert sum(p < 0.05 for p in p_values) <= 5
