from datetime import date
from itertools import islice

import pytest

from stats.schedule import Deployed, evaluation_days, propose_retraining

DAY = date(2026, 1, 5)


def test_an_alarm_the_calendar_or_new_gold_each_propose_a_training():
    assert propose_retraining(Deployed(DAY, 500, 0, is_alarm=True), date(2026, 1, 19)).reasons == (
        "The alarm rang: accuracy is below the floor.",)
    old = propose_retraining(Deployed(DAY, 500, 0), date(2026, 4, 6))
    assert old.is_due and old.due_on == date(2026, 4, 6) and "13 weeks ago" in old.reasons[0]
    gold = propose_retraining(Deployed(DAY, 500, 125), date(2026, 1, 19))
    assert gold.is_due and gold.reasons == ("125 gold examples are new, 25% of the 500 the model learned from.",)


def test_warnings_ask_for_labels_not_for_a_training():
    found = propose_retraining(Deployed(DAY, 501, 125, is_warning=True, signals=("meaning",)), date(2026, 4, 5))
    assert not found.is_due
    assert "of the 126 that would be enough" in found.reasons[0] and "06 April 2026" in found.reasons[0]
    assert found.reasons[1] == ("Warnings (accuracy may be falling, a change in meaning) ask for labels, not for a "
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
