from datetime import date
from itertools import islice

import pytest

from stats.intervals import Interval
from stats.schedule import Deployed, evaluation_days, propose_retraining

DAY = date(2026, 1, 5)


def gain(low, estimate=0.04):
    return Interval(estimate, low, 2 * estimate - low, 212)


def test_an_alarm_and_the_calendar_each_propose_a_training():
    assert propose_retraining(Deployed(DAY, 500, 0, is_alarm=True), date(2026, 1, 19)).reasons == (
        "The alarm rang: accuracy is below the floor.",)
    old = propose_retraining(Deployed(DAY, 500, 7), date(2026, 4, 6))
    assert old.is_due and old.due_on == date(2026, 4, 6) and "13 weeks ago" in old.reasons[0]
    assert "7 examples were labelled since." in old.reasons[0]
    assert "would learn the same again" in propose_retraining(Deployed(DAY, 500, 0), date(2026, 4, 6)).reasons[0]


def test_labels_lead_to_a_weighing_and_only_a_gain_of_a_point_at_its_lower_end_to_a_proposal():
    many = propose_retraining(Deployed(DAY, 501, 400, n_unscored=126), date(2026, 1, 19))
    assert not many.is_due and many.scores_now
    assert not propose_retraining(Deployed(DAY, 501, 400, n_unscored=125), date(2026, 1, 19)).scores_now
    pays = propose_retraining(Deployed(DAY, 500, 3, gain=gain(0.01), n_new_gold=90), date(2026, 1, 19))
    assert pays.is_due and not pays.is_alarm and pays.reasons == (
        "A training is likely to pay. A quick model that learns today's gold set (90 rows of it are new) gains "
        "+4.0 points on 212 dev rows over one that learns the rows of then (+1.0 to +7.0); 1 point is asked for.",)
    not_yet = propose_retraining(Deployed(DAY, 500, 400, gain=gain(0.009)), date(2026, 1, 19))
    assert not not_yet.is_due and not_yet.reasons[1].startswith("That a training pays is not shown.")


def test_a_gain_that_was_declined_asks_again_only_once_much_is_new():
    assert not propose_retraining(Deployed(DAY, 500, 124, gain=gain(0.02), has_declined=True), DAY).is_due
    assert propose_retraining(Deployed(DAY, 500, 125, gain=gain(0.02), has_declined=True), DAY).is_due


def test_where_nothing_can_be_weighed_alarm_and_calendar_propose():
    found = propose_retraining(Deployed(DAY, 500, 400, n_unscored=400, can_weigh=False), date(2026, 1, 19))
    assert not found.is_due and not found.scores_now and "one label per text only" in found.reasons[1]


def test_warnings_ask_for_labels_not_for_a_training():
    found = propose_retraining(Deployed(DAY, 501, 125, is_warning=True, signals=("meaning",)), date(2026, 4, 5))
    assert not found.is_due and "06 April 2026" in found.reasons[0]
    assert found.reasons[-1] == ("Warnings (accuracy may be falling, a change in meaning) ask for labels, not for a "
                                 "training: label the proposed rows.")


def test_days_of_looks_keep_the_first_ones_day():
    assert list(islice(evaluation_days(DAY, "weekly"), 3)) == [DAY, date(2026, 1, 12), date(2026, 1, 19)]
    assert list(islice(evaluation_days(date(2026, 1, 31), "monthly"), 3)) == [date(2026, 1, 31), date(2026, 2, 28),
                                                                             date(2026, 3, 31)]
    assert list(islice(evaluation_days(date(2026, 11, 30), "quarterly"), 3)) == [
        date(2026, 11, 30), date(2027, 2, 28), date(2027, 5, 30)]


def test_a_day_before_the_training_is_refused():
    with pytest.raises(ValueError, match="2026-01-04"):
        propose_retraining(Deployed(DAY, 500, 0), date(2026, 1, 4))
