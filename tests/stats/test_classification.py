import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from stats.classification import accuracy, confusion, label_codes, macro_f1, scores_by_label

LABELS = ["billing", "card", "refund"]
GOLD = ["billing", "billing", "card", "card", "card", "refund"]
PREDICTED = ["billing", "card", "card", "card", "refund", "refund"]


def test_accuracy_is_the_share_of_equal_labels():
    assert accuracy(GOLD, PREDICTED) == pytest.approx(4 / 6)
    assert accuracy(np.array(GOLD), np.array(PREDICTED)) == pytest.approx(4 / 6)
    assert np.isnan(accuracy([], []))


def test_confusion_has_gold_in_rows():
    assert confusion(GOLD, PREDICTED, LABELS).tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 1]]


def test_macro_f1_is_the_mean_over_labels():
    assert macro_f1(GOLD, PREDICTED, LABELS) == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)


def test_an_unreadable_answer_is_a_miss_and_in_no_column():
    predicted = ["billing", None, "card", "card", "card", "refund"]
    assert accuracy(GOLD, predicted) == pytest.approx(5 / 6)
    assert confusion(GOLD, predicted, LABELS).tolist() == [[1, 0, 0], [0, 3, 0], [0, 0, 1]]
    assert macro_f1(GOLD, predicted, LABELS) == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert scores_by_label(GOLD, predicted, LABELS)[0].recall == 0.5


def test_a_label_that_does_not_occur_does_not_count():
    assert macro_f1(["card", "card"], ["card", "card"], LABELS) == 1
    assert np.isnan(macro_f1([], [], LABELS))


def test_all_figures_equal_those_of_scikit_learn():
    random = np.random.default_rng(0)
    gold = random.integers(0, 12, 500)
    predicted = np.where(random.random(500) < 0.7, gold, random.integers(0, 12, 500))
    labels = range(12)
    precision, recall, f1, n = precision_recall_fscore_support(gold, predicted, labels=labels)
    scores = scores_by_label(gold, predicted, labels)
    assert [score.precision for score in scores] == pytest.approx(precision)
    assert [score.recall for score in scores] == pytest.approx(recall)
    assert [score.f1 for score in scores] == pytest.approx(f1)
    assert [score.n for score in scores] == n.tolist()
    assert (confusion(gold, predicted, labels) == confusion_matrix(gold, predicted)).all()
    assert macro_f1(gold, predicted, labels) == pytest.approx(f1_score(gold, predicted, average="macro"))


def test_int_and_string_labels_give_the_same():
    gold, predicted = label_codes(GOLD, LABELS), label_codes(PREDICTED, LABELS)
    assert macro_f1(gold, predicted, range(3)) == macro_f1(GOLD, PREDICTED, LABELS)
    assert label_codes(np.array([7, 3, 9]), [9, 7]).tolist() == [1, -1, 0]


def test_a_gold_label_outside_the_labels_is_refused():
    with pytest.raises(ValueError, match="row 1 has 'loan'"):
        macro_f1(["card", "loan"], ["card", "card"], LABELS)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2 and 1"):
        accuracy(["card", "card"], ["card"])
