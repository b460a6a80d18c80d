import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score

from stats.multiple import holm
from stats.shift import Traffic, _auc, joined, label_shares, shift_signals


def embeddings(n, *, seed, away=0.0, share=1.0):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, 8))
    rows[:int(n * share), 0] += away
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_labels_are_tested_by_chi_squared_with_rare_ones_together():
    before = np.array(["a"] * 60 + ["b"] * 39 + ["c"])
    now = np.array(["a"] * 30 + ["b"] * 66 + ["d"] * 4)
    [signal] = shift_signals(Traffic(labels=before), Traffic(labels=now), seed=0)
    assert signal.p_value == pytest.approx(chi2_contingency([[60, 39, 1], [30, 66, 4]], correction=False).pvalue)
    assert signal.effect == pytest.approx((0.30 + 0.27 + 0.03) / 2)
    assert signal.is_warning and "“a” went from 60.0% to 30.0%" in signal.words
    assert set(now[signal.rows]) == {"b"} and len(signal.rows) == 20


def test_without_any_change_nothing_warns_and_it_is_said():
    random = np.random.default_rng(0)
    sides = [Traffic(labels=random.integers(0, 3, n), confidence=random.random(n), lengths=random.random(n) * 100,
                     languages=random.choice(["en", "de"], n), failed=random.random(n) < 0.02,
                     embeddings=embeddings(n, seed=n),
                     words=[frozenset(random.choice(list("abcdefg"), 3)) for _ in range(n)])
             for n in (300, 150)]
    signals = shift_signals(*sides, seed=0)
    assert len(signals) == 8 and not any(signal.is_warning for signal in signals)
    assert all(signal.words.startswith("No clear change.") for signal in signals)
    assert [signal.p_adjusted for signal in signals] == holm([signal.p_value for signal in signals])


def test_a_new_kind_of_text_is_found_by_meaning_and_its_rows_come_first():
    before = Traffic(embeddings=embeddings(400, seed=1))
    now = Traffic(embeddings=embeddings(200, seed=2, away=9.0, share=0.3))
    found = {signal.name: signal for signal in shift_signals(before, now, seed=0)}
    assert found["meaning"].is_warning and found["meaning"].effect > 0.6
    assert np.mean(found["meaning"].rows < 60) >= 0.9


def test_texts_unlike_everything_before_are_strangers():
    flat = np.zeros((300, 8))
    flat[:, :2] = np.random.default_rng(0).normal(size=(300, 2))
    before = Traffic(embeddings=flat / np.linalg.norm(flat, axis=1, keepdims=True))
    rows = np.array(before.embeddings)[:100].copy()
    rows[:10] = np.eye(8)[5]
    found = {signal.name: signal for signal in shift_signals(before, Traffic(embeddings=rows), seed=0)}
    assert found["new kinds"].is_warning and found["new kinds"].effect >= 0.1
    assert set(found["new kinds"].rows[:10]) == set(range(10))


def test_unknown_words_longer_texts_and_failures_are_told():
    random = np.random.default_rng(1)
    old = [frozenset(random.choice(list("abcdefgh"), 4)) for _ in range(200)]
    new = [words | {"refund"} for words in old[:100]]
    before = Traffic(words=old, lengths=random.normal(100, 10, 200), failed=np.zeros(200, bool))
    now = Traffic(words=new, lengths=random.normal(110, 10, 100), failed=np.arange(100) < 20)
    found = {signal.name: signal for signal in shift_signals(before, now, seed=0)}
    assert all(found[name].is_warning for name in ("vocabulary", "lengths", "failures"))
    assert "“refund” in 100" in found["vocabulary"].words
    assert list(found["failures"].rows) == list(range(20))
    assert "20 of 100 answers could not be read" in found["failures"].words


def test_a_large_sample_does_not_make_a_small_change_a_warning():
    random = np.random.default_rng(2)
    [signal] = shift_signals(Traffic(lengths=random.normal(0, 1, 20_000)),
                             Traffic(lengths=random.normal(0.08, 1, 20_000)), seed=0)
    assert signal.p_adjusted < 0.001 and not signal.is_warning


def test_too_few_rows_are_left_out_and_unequal_lengths_refused():
    assert shift_signals(Traffic(failed=np.zeros(29, bool)), Traffic(failed=np.zeros(90, bool)), seed=0) == []
    with pytest.raises(ValueError, match="same rows"):
        shift_signals(Traffic(failed=np.zeros(29, bool), lengths=np.ones(3)), Traffic(), seed=0)


def test_the_area_under_the_curve_is_scikit_learns():
    random = np.random.default_rng(0)
    scores, is_new = random.integers(0, 9, (50, 1)).astype(float), (np.arange(50) < 20)[:, None]
    assert _auc(scores, is_new)[0] == pytest.approx(roc_auc_score(is_new[:, 0], scores[:, 0]))


def test_label_shares_are_solved_from_the_confusion_by_hand():
    gold = np.repeat([0, 1], [50, 50])
    answered = np.concatenate([np.repeat([0, 1], [40, 10]), np.repeat([0, 1], [10, 40])])
    now = np.repeat([0, 1], [32, 68])  # .8 q + .2 (1 - q) = .32, so q = .2
    assert label_shares(gold, answered, now, n_labels=2).shares == pytest.approx([0.2, 0.8])
    assert "10 are needed" in label_shares(gold[45:], answered[45:], now, n_labels=2).why_not
    blind = label_shares(gold, np.zeros(100, int), now, n_labels=2)
    assert blind.shares is None and "cannot be told apart" in blind.why_not


def test_holm_is_the_step_down_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_traffic_is_joined_as_far_as_both_sides_know_it():
    both = joined(Traffic(lengths=np.array([1.0]), words=[frozenset("a")], failed=np.array([False])),
                  Traffic(lengths=np.array([2.0, 3.0]), words=[frozenset("b"), frozenset("c")]))
    assert both.lengths is not None and both.lengths.tolist() == [1, 2, 3]
    assert both.words == [frozenset("a"), frozenset("b"), frozenset("c")] and both.failed is None
