import numpy as np
import pytest

from curation.probabilities import deal_folds, fit_probe, out_of_sample_probabilities, probabilities_of_unlabelled

NAMES = ["billing", "card", "refund"]


def clouds(n, spread=0.5, seed=0, dimension=8):
    """n rows of length 1 around one direction per label, and their labels."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 3, n)
    rows = np.eye(dimension)[codes] + spread * random.normal(size=(n, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), [NAMES[code] for code in codes]


def test_probabilities_follow_the_label_order_and_are_right_for_easy_labels():
    rows, labels = clouds(600, spread=0.2)
    found = out_of_sample_probabilities(rows, labels, np.arange(600), labels_order=["refund", "billing", "card"],
                                        seed=0)
    assert found.labels_order == ["refund", "billing", "card"]
    assert found.pred_probs.sum(axis=1) == pytest.approx(1)
    predicted = [found.labels_order[k] for k in found.pred_probs.argmax(axis=1)]
    assert np.mean([p == g for p, g in zip(predicted, labels, strict=True)]) == found.accuracy > 0.95
    assert found.majority_share == max(labels.count(name) for name in NAMES) / 600
    assert found.is_better_than_chance
    assert found.rows_scored.all()


def test_rows_without_a_label_are_predicted_as_surely_as_labelled_ones():
    rows, labels = clouds(900, spread=0.6)
    given = [label if row < 500 else None for row, label in enumerate(labels)]
    beside = out_of_sample_probabilities(rows, given, np.arange(900), labels_order=["refund", "billing", "card"],
                                         seed=0)
    found = probabilities_of_unlabelled(rows, given, rows[500:], beside=beside)
    assert found.shape == (400, 3)
    assert found.sum(axis=1) == pytest.approx(1)
    is_right = [beside.labels_order[k] == label for k, label in zip(found.argmax(axis=1), labels[500:], strict=True)]
    assert np.mean(is_right) == pytest.approx(beside.accuracy, abs=0.05)
    assert found.max(axis=1).mean() == pytest.approx(np.mean(is_right), abs=0.05)  # the temperature is taken over
    assert probabilities_of_unlabelled(rows, given, rows[:0], beside=beside).shape == (0, 3)


def test_labels_that_have_nothing_to_do_with_the_texts_are_not_better_than_chance():
    rows, labels = clouds(300)
    shuffled = list(np.random.default_rng(1).permutation(labels))
    found = out_of_sample_probabilities(rows, shuffled, np.arange(300), labels_order=NAMES, seed=0)
    assert not found.is_better_than_chance


def test_a_very_common_label_leaves_room_to_be_better_than_chance():
    random = np.random.default_rng(0)
    is_card = np.arange(1000) < 60
    rows = np.where(is_card[:, None], [1.0, 0], [0, 1.0]) + 0.1 * random.normal(size=(1000, 2))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = ["card" if is_it else "billing" for is_it in is_card]
    found = out_of_sample_probabilities(rows, labels, np.arange(1000), labels_order=NAMES[:2], seed=0)
    assert found.majority_share == 0.94
    assert found.is_better_than_chance


def test_a_copy_of_a_row_never_helps_to_predict_it():
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 256)).repeat(3, axis=0)  # random labels, learnable only from copies
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = [NAMES[code] for code in random.integers(0, 3, 300).repeat(3)]
    copies = np.arange(300).repeat(3)
    assert out_of_sample_probabilities(rows, labels, copies, labels_order=NAMES, seed=0).accuracy < 0.45
    assert out_of_sample_probabilities(rows, labels, np.arange(900), labels_order=NAMES, seed=0).accuracy > 0.7


def test_a_label_with_too_few_clusters_is_left_out_and_said_so():
    rows, labels = clouds(200)
    clusters = np.arange(200)
    labels[:20] = ["loan"] * 20
    clusters[:20] = np.arange(20) // 5  # 20 rows, 4 distinct
    found = out_of_sample_probabilities(rows, labels, clusters, labels_order=["loan", *NAMES, "tax"], seed=0)
    assert found.labels_order == NAMES
    assert found.left_out == {"loan": "4 distinct examples, at least 5 are needed",
                              "tax": "0 distinct examples, at least 5 are needed"}
    assert np.isnan(found.pred_probs[:20]).all()
    assert found.rows_scored.tolist() == [False] * 20 + [True] * 180


def test_rows_without_a_label_are_not_scored():
    rows, labels = clouds(100)
    labels[3] = None
    found = out_of_sample_probabilities(rows, labels, np.arange(100), labels_order=NAMES, seed=0)
    assert np.flatnonzero(~found.rows_scored).tolist() == [3]


def test_a_label_whose_clusters_share_a_fold_is_not_scored_there(monkeypatch):
    def one_fold_for_loans(given, groups, *, n_folds, seed):
        return np.where(given == 3, 0, np.arange(len(given)) % n_folds)

    monkeypatch.setattr("curation.probabilities.deal_folds", one_fold_for_loans)
    rows, labels = clouds(100)
    labels[:6] = ["loan"] * 6
    found = out_of_sample_probabilities(rows, labels, np.arange(100), labels_order=[*NAMES, "loan"], seed=0)
    assert found.rows_scored.tolist() == [False] * 6 + [True] * 94


def test_folds_keep_groups_whole_and_spread_every_label_evenly():
    random = np.random.default_rng(0)
    groups = np.sort(random.integers(0, 300, 700))
    given = (groups * 7) % 3  # one label a group
    fold = deal_folds(given, groups, n_folds=5, seed=0)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    for label in range(3):
        n_groups = [len(set(groups[(given == label) & (fold == number)])) for number in range(5)]
        assert max(n_groups) - min(n_groups) <= 1
    assert (fold != deal_folds(given, groups, n_folds=5, seed=1)).any()


def test_an_overconfident_classifier_is_cooled():
    rows, labels = clouds(800, spread=0.8, dimension=32)
    random = np.random.default_rng(0)
    labels = [NAMES[random.integers(3)] if random.random() < 0.3 else label for label in labels]
    found = out_of_sample_probabilities(rows, labels, np.arange(800), labels_order=NAMES, seed=0)
    assert found.temperature > 1
    assert found.pred_probs.max(axis=1).mean() == pytest.approx(found.accuracy, abs=0.03)


def test_the_seed_decides_everything():
    rows, labels = clouds(120)
    found = [out_of_sample_probabilities(rows, labels, np.arange(120), labels_order=NAMES, seed=seed).pred_probs
             for seed in (1, 1, 2)]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_progress_counts_the_fits():
    rows, labels = clouds(120)
    reports = []
    out_of_sample_probabilities(rows, labels, np.arange(120), labels_order=NAMES, seed=0,
                                progress=lambda *report: reports.append(report))
    assert reports[-1] == ("Scoring labels", 15, 15)  # 5 folds, 3 times below 500 rows


def test_one_label_cannot_be_scored():
    rows, _ = clouds(20)
    with pytest.raises(ValueError, match="1 of 3 labels"):
        out_of_sample_probabilities(rows, ["card"] * 20, np.arange(20), labels_order=NAMES, seed=0)


@pytest.mark.parametrize("n_labels", [2, 3])
def test_a_probe_predicts_new_rows_and_its_probabilities_follow_its_labels(n_labels):
    train, train_labels = clouds(400)
    dev, dev_labels = clouds(150, seed=1)
    keep, keep_dev = ([k for k, label in enumerate(labels) if label in NAMES[:n_labels]]
                      for labels in (train_labels, dev_labels))
    probe = fit_probe(train[keep], [train_labels[k] for k in keep], dev[keep_dev], [dev_labels[k] for k in keep_dev],
                      seed=0)
    assert probe.labels == tuple(NAMES[:n_labels])
    probs = probe.predict_proba(dev[keep_dev])
    assert probs.shape == (len(keep_dev), n_labels)
    assert probs.sum(axis=1) == pytest.approx(1)
    n_right = sum(p == dev_labels[k] for p, k in zip(probe.predict(dev[keep_dev]), keep_dev, strict=True))
    assert n_right / len(keep_dev) == pytest.approx(probe.dev_accuracy)
    assert probe.dev_accuracy > 0.8


def test_of_equally_good_choices_a_probe_takes_the_smallest():
    train, labels = clouds(200, spread=0.05)
    assert fit_probe(train, labels, train[:50], labels[:50], seed=0).inverse_regularisation == 0.1


def test_a_probe_needs_two_labels_and_a_dev_row():
    rows, labels = clouds(20)
    with pytest.raises(ValueError, match="two labels"):
        fit_probe(rows, ["card"] * 20, rows, labels, seed=0)
    with pytest.raises(ValueError, match="dev"):
        fit_probe(rows, labels, rows[:0], [], seed=0)
