import pytest
from scipy.stats import binom

from stats.intervals import Interval
from stats.paired import PairedComparison, PairedScores
from training.metrics import Measured, measured_share
from training.verdict import Forgetting, compare_words, examples_to_settle, gate, promotion_gate, worse_sentence


def comparison(n, only_first, only_second, low, high):
    difference = Interval((only_second - only_first) / n, low, high, n)
    return PairedComparison(n, n - only_first - only_second, only_first, only_second, 0, 0.01, difference)


def test_a_prompt_that_meets_the_target_ends_the_matter():
    found = gate(measured_share(470, 500), 0.9)
    assert found.outcome == "PROMPT_OK" and found.lower >= 0.9
    assert found.words == ("The best prompt gets 94.0 % of 500 held-out examples right, at least 92.0 %: "
                           "it meets your target of 90 %.")


def test_a_prompt_that_cannot_meet_the_target_leads_to_training():
    found = gate(measured_share(398, 500), 0.9)
    assert found.outcome == "FINE_TUNE"
    assert found.words == ("The best prompt gets 79.6 % of 500 held-out examples right and cannot reach your target "
                           "of 90 % (at most 82.5 %).")
    assert "LoRA" in found.next_step


def test_too_few_examples_ask_for_more():
    found = gate(measured_share(93, 100), 0.9)
    assert found.outcome == "INCONCLUSIVE"
    assert "open whether" in found.words
    assert found.next_step == "Label about 460 more held-out examples; that would probably settle it."


def test_a_share_on_the_target_asks_nobody_to_label_for_ever():
    assert "too close" in gate(measured_share(450, 500), 0.9).next_step


def test_wrong_go_aheads_are_rare():
    outcomes = {n: gate(measured_share(n, 500), 0.9).outcome for n in range(420, 481)}
    chance = {n: binom.pmf(n, 500, 0.9) for n in outcomes}  # a prompt that is exactly at the target
    for outcome in ("PROMPT_OK", "FINE_TUNE"):
        assert sum(chance[n] for n in outcomes if outcomes[n] == outcome) <= 0.055


@pytest.mark.parametrize(("share", "n"), [(0.95, 184), (0.93, 558), (0.92, 1303)])
def test_examples_to_settle_are_the_known_ones(share, n):
    assert examples_to_settle(share, 0.9) == pytest.approx(n, abs=1)


@pytest.mark.parametrize(("n", "target", "words"), [(0, 0.9, "n must be"), (10, 90, "target must be")])
def test_a_gate_without_sense_is_refused(n, target, words):
    with pytest.raises(ValueError, match=words):
        gate(measured_share(0, n), target)


def test_a_gain_is_a_yes_with_its_points_and_counts():
    headline, paragraph = compare_words(measured_share(398, 500), measured_share(444, 500), measured_share(421, 500),
                                        comparison(500, 12, 58, 0.061, 0.124), 0.9)
    assert headline == "Is fine-tuning worth it? Yes, by 9 points."
    assert paragraph.startswith(
        "The best prompt gets 79.6 % right and cannot reach your target of 90 % (at most 82.5 %). The LoRA adapter "
        "gets 88.8 %; it is right on 58 examples where the prompt is wrong, and wrong on 12 where the prompt is "
        "right. The difference is +9.2 points, between +6.1 and +12.4 (95 % interval). It is not yet shown to reach "
        "90 %: about ")
    assert paragraph.endswith("needs no language model, gets 84.2 %.")


def test_an_interval_that_holds_zero_proves_nothing():
    headline, paragraph = compare_words(measured_share(160, 200), measured_share(165, 200), None,
                                        comparison(200, 10, 15, -0.02, 0.07), 0.7)
    assert headline == "Is fine-tuning worth it? Not proven better than the prompt."
    assert "meets your target of 70 % already" in paragraph and "It reaches 70 %" in paragraph


def test_a_loss_is_a_no():
    headline, _ = compare_words(measured_share(160, 200), measured_share(140, 200), None,
                                comparison(200, 25, 5, -0.15, -0.05), 0.9)
    assert headline == "Is fine-tuning worth it? No, it is worse by 10 points."


def test_a_small_gain_keeps_its_decimal():
    headline, _ = compare_words(measured_share(8000, 10000), measured_share(8080, 10000), None,
                                comparison(10000, 20, 100, 0.006, 0.01), 0.9)
    assert headline.endswith("Yes, by 0.8 points.")


def test_a_probe_that_does_as_well_is_recommended():
    _, paragraph = compare_words(measured_share(300, 500), measured_share(400, 500), measured_share(405, 500),
                                 comparison(500, 10, 110, 0.15, 0.25), 0.95)
    assert "serve the probe" in paragraph and "It does not reach 95 %" in paragraph


def test_a_probe_within_chance_is_said_to_be():
    _, paragraph = compare_words(measured_share(300, 500), measured_share(400, 500), measured_share(395, 500),
                                 comparison(500, 10, 110, 0.15, 0.25), 0.95)
    assert "chance alone could explain" in paragraph


@pytest.mark.parametrize(("bound", "allowed", "words"), [
    (0.02, True, "better than the best prompt by at least 2 points"),
    (-0.004, True, "not worse than the best prompt by more than 1 point, and not shown to be better"),
    (-0.01, False, "may be worse than the best prompt by 1 point, more than the 1 point allowed"),
    (-0.052, False, "may be worse than the best prompt by 5.2 points")])
def test_an_adapter_may_not_be_worse_than_the_prompt_by_more_than_a_point(bound, allowed, words):
    found, reasons = promotion_gate([("best prompt", bound)], mine=measured_share(440, 500), target=0.8)
    assert found is allowed and words in reasons[0]


def test_a_worse_critical_slice_blocks_whatever_the_rest_says():
    worse = worse_sentence("Label: refund", "the champion", 152, -0.104, 0.004)
    assert worse == ("Label: refund: it is worse than the champion by 10.4 points on 152 rows (p = 0.004 after "
                     "correction for the number of parts).")
    allowed, reasons = promotion_gate([("best prompt", 0.1)], mine=measured_share(440, 500), target=0.8, slices=["a"],
                                      worse=[worse])
    assert not allowed and worse in reasons
    allowed, reasons = promotion_gate([("best prompt", 0.1)], mine=measured_share(440, 500), target=0.8,
                                      slices=["a", "b"])
    assert allowed and "On none of the 2 critical parts" in reasons[1] and "not been checked yet" in reasons[2]


@pytest.mark.parametrize(("n_adapter", "p", "allowed"), [(40, 0.5, True), (31, 0.002, False)])
def test_only_a_clear_loss_of_general_answers_blocks(n_adapter, p, allowed):
    found, reasons = promotion_gate([("best prompt", 0.1)], mine=measured_share(440, 500), target=0.8, slices=[],
                                    forgetting=Forgetting(50, 41, n_adapter, p))
    assert found is allowed
    assert f"Of 50 general questions the base model answers 41 and the adapter {n_adapter}" in reasons[2]


def test_a_missed_target_is_told_and_does_not_block():
    allowed, reasons = promotion_gate([("best prompt", 0.152)], mine=measured_share(820, 1000), target=0.9)
    assert allowed
    assert reasons == ["It is better than the best prompt by at least 15.2 points.",
                       "It cannot reach the target of 90 %: 82.0 %, at most 84.0 %. This does not block the promotion."]


@pytest.mark.parametrize(("against_champion", "allowed"), [(0.02, True), (0.0, True), (-0.009, True), (-0.02, False)])
def test_the_champion_may_be_missed_by_a_point(against_champion, allowed):
    adapter = measured_share(950, 1000)
    found, reasons = promotion_gate([("best prompt", 0.1), ("champion", against_champion)], mine=adapter, target=0.9)
    assert found is allowed and "champion" in reasons[1] and "reaches the target" in reasons[2]


def field_f1(value, low, high, n=200):
    return Measured("field_f1", Interval(value, low - 0.01, high + 0.01, n), low, high)


def test_other_metrics_are_called_by_their_names():
    found = gate(field_f1(0.721, 0.68, 0.76), 0.8)
    assert found.outcome == "FINE_TUNE"
    assert found.words == ("The best prompt has a field F1 of 72.1 % on 200 held-out examples and cannot reach your "
                           "target of 80 % (at most 76.0 %).")
    assert gate(field_f1(0.9, 0.85, 0.95), 0.8).outcome == "PROMPT_OK"


def test_the_spread_of_a_metric_says_how_many_examples_settle_it():
    # Bounds 0.04 to each side of 200 rows: 0.04 · (1 + 0.8416 / 1.6449) / 0.03 is 2.0155, so 4.06 times as many.
    found = gate(field_f1(0.77, 0.73, 0.81), 0.8)
    assert found.outcome == "INCONCLUSIVE"
    assert found.next_step == "Label about 620 more held-out examples; that would probably settle it."


def test_wording_is_no_proof():
    found = gate(Measured("rouge_l", Interval(0.9, 0.84, 0.96, 100), 0.85, 0.95), 0.8)
    assert found.outcome == "PROMPT_OK" and "let people compare answers" in found.words
    adapter = Measured("rouge_l", Interval(0.9, 0.84, 0.96, 100), 0.85, 0.95)
    assert "let people compare answers" in promotion_gate([("best prompt", 0.1)], mine=adapter, target=0.8)[1][-1]


def test_a_comparison_of_scores_counts_better_and_worse_rows():
    difference = Interval(0.1, 0.04, 0.16, 200)
    headline, paragraph = compare_words(field_f1(0.7, 0.66, 0.74), field_f1(0.8, 0.76, 0.84), None,
                                        PairedScores(200, 60, 20, 0.001, difference, 0.05), 0.9)
    assert headline == "Is fine-tuning worth it? Yes, by 10 points."
    assert "has a field F1 of 70.0 %" in paragraph
    assert "The LoRA adapter has 80.0 %; its answer is better on 60 examples and worse on 20." in paragraph
