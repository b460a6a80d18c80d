"""What an A/B test shows, from exposures and feedback through the real services: sums, looks, guardrails, ends."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from projects.models import AuditEvent, Notice
from serving.models import ArmName, Exchange, Experiment, ExperimentDay, ExperimentEnd, ExperimentLook, Exposure
from serving.services import experiments
from serving.services.experiments import Asked, judge, note_day, poll, read, stop_experiment
from serving.services.exposures import Given, expose
from serving.services.feedback import give_feedback
from serving.services.gateway import name_of
from serving.services.outcomes import arms_of, harms_of
from tests.serving.ab import after, begin_test, deployment_of, users

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _same_salt(monkeypatch):
    """So that the same users get the same arms in every run."""
    monkeypatch.setattr(experiments.secrets, "token_hex", lambda n: "5a17" * n)


@pytest.fixture
def test(champion, project, alice):
    return begin_test(project, alice, f"run-{project.snapshots.get().verdict.best_prompt_id}")


@pytest.fixture
def shop(key):
    return key[0]


def one_user(experiment, arm, start=0):
    """A new user who happens to get this arm."""
    return next(given for k in range(start, start + 100) if (given := expose(
        experiment.champion, f"{arm} {k}")).exposure.arm == arm and given.is_first)


def answer_to(given):
    deployment = given.experiment.challenger if given.is_challenger else given.experiment.champion
    return name_of(deployment, given.experiment.started_at, given)


def arm(experiment, name, days=8):
    return dict(zip(ArmName.values, arms_of(experiment, now=after(experiment, days)), strict=True))[name]


# Sums

def test_the_last_word_on_an_answer_counts_and_a_units_answers_make_one_outcome(test, shop):
    given = one_user(test, "challenger")
    first, second = answer_to(given), answer_to(given)
    for exchange, thumb in ((first, "up"), (first, "down"), (second, "up")):
        give_feedback(shop, exchange=exchange, thumb=thumb)
    found = arm(test, "challenger")
    assert (found.n, found.total, found.total_of_squares) == (1, 0.5, 0.25), "one unit, half of its answers up"
    give_feedback(shop, exchange=first, outcome=3.0)
    assert arm(test, "challenger").total == 0.5, "a number is no thumb"
    give_feedback(shop, exchange=first, thumb="up")
    assert arm(test, "challenger").total == 1.0
    give_feedback(shop, exchange=answer_to(one_user(test, "champion")), thumb="down")
    assert (arm(test, "champion").n, arm(test, "champion").total) == (1, 0.0)


def test_the_same_feedback_sent_twice_counts_once(test, shop):
    exchange = answer_to(one_user(test, "challenger"))
    for _ in range(2):
        give_feedback(shop, exchange=exchange, thumb="up", idempotency_key="order-1")
    assert arm(test, "challenger").n == 1 and test.exposures.get(arm="challenger").feedback.count() == 1


def test_an_outcome_counts_up_to_its_cap_and_not_below_nothing(champion, project, alice, shop):
    test = begin_test(project, alice, asked=Asked("value", 0.5, 0.3, 1.0, 1000, cap=10.0))
    for start, value in ((0, 25.0), (200, -4.0), (400, 5.0)):
        give_feedback(shop, exchange=answer_to(one_user(test, "champion", start)), outcome=value)
    found = arm(test, "champion")
    assert (found.n, found.total, found.total_of_squares) == (3, 1.5, 1.25)


def test_who_corrects_nothing_in_a_day_is_content(champion, project, alice, shop):
    test = begin_test(project, alice, asked=Asked("correction_free", 0.8, 0.1, 0.03, 1000))
    quiet, unhappy = one_user(test, "champion"), one_user(test, "champion", 200)
    give_feedback(shop, exchange=answer_to(unhappy), correction="neutral")
    give_feedback(shop, exchange=answer_to(quiet), thumb="down")
    assert arm(test, "champion", days=0.9).n == 0, "nobody has had a day yet"
    found = arm(test, "champion", days=1.1)
    assert (found.n, found.total) == (found.n_exposed, found.n_exposed - 1)


def test_feedback_on_an_answer_outside_of_the_test_counts_in_no_arm(test, shop, project):
    give_feedback(shop, exchange=name_of(test.champion, test.started_at, None), thumb="up")
    assert arm(test, "champion").n == 0


# Ends, through the services that the gateway and the feedback route use

def test_a_better_challenger_ships_and_two_equals_do_not(champion, project, alice, shop):
    test = begin_test(project, alice, f"run-{project.snapshots.get().verdict.best_prompt_id}")
    outcomes = []
    for first in range(0, 260, 20):
        users(test, shop, 20, good={"champion": 0.4, "challenger": 0.85}, first=first)
        outcomes.append(judge(Experiment.objects.get(pk=test.pk), now=after(test)).outcome)
        if outcomes[-1] != "CONTINUE":
            break
    end = ExperimentEnd.objects.get(experiment=test)
    assert outcomes[-1] == end.outcome == "SHIP" and "It is better: ship it." in end.words[0]
    assert Experiment.objects.get(pk=test.pk).state == "ended" and end.by is None
    looks = ExperimentLook.objects.filter(experiment=test)
    assert looks and abs(looks.last().z) >= looks.last().bound

    equal = begin_test(project, alice)
    for first in range(0, 260, 20):
        users(equal, shop, 20, good={"champion": 0.6, "challenger": 0.6}, first=first, seed=3)
        found = judge(Experiment.objects.get(pk=equal.pk), now=after(equal))
        if found.is_over:
            break
    assert found.outcome == "AA_PASSED" and len(found.looks) <= 5
    assert AuditEvent.objects.filter(what="end_ab_test").count() == 2
    told = Notice.objects.filter(event="experiment.ended").order_by("pk")
    assert [one.data["outcome"] for one in told] == ["SHIP", "AA_PASSED"]


def test_nothing_is_decided_in_the_first_week(test, shop):
    users(test, shop, 130, good={"champion": 0.0, "challenger": 1.0})
    found = judge(test, now=after(test, 6.9))
    assert found.outcome == "CONTINUE" and "nothing is decided before day 7" in found.words[0] and not found.looks
    assert judge(test, now=after(test, 7.1)).outcome == "SHIP"


def test_whoever_looks_between_two_looks_changes_nothing(test, shop):
    users(test, shop, 130, good={"champion": 0.5, "challenger": 0.5})
    for _ in range(3):
        judge(test, now=after(test))
    assert ExperimentLook.objects.filter(experiment=test).count() == 1


def test_of_two_that_look_at_once_one_stores_the_look(test, shop):
    users(test, shop, 130, good={"champion": 0.0, "challenger": 1.0})
    one, other = read(test, now=after(test)), read(test, now=after(test))
    assert one.due and other.due
    assert experiments._store(one) and not experiments._store(other)
    assert ExperimentLook.objects.filter(experiment=test).count() == ExperimentEnd.objects.count() == 1
    assert AuditEvent.objects.filter(what="end_ab_test").count() == 1


def test_feedback_after_the_end_changes_nothing_in_the_result(test, shop):
    given = users(test, shop, 130, good={"champion": 0.0, "challenger": 1.0})
    end = judge(test, now=after(test))
    assert end.outcome == "SHIP"
    for one in given:
        give_feedback(shop, exchange=answer_to(one), thumb="down")
    test.refresh_from_db()
    later = judge(test, now=after(test, 30))
    assert (later.outcome, later.words, later.champion, later.challenger, later.days) == (
        end.outcome, end.words, end.champion, end.challenger, end.days)
    assert read(test).harms[0].n == end.harms[0].n


def test_units_that_did_not_come_as_planned_end_it_at_once(test):
    Exposure.objects.bulk_create(Exposure(experiment=test, unit_sha256=f"{k:064x}", arm="champion") for k in range(200))
    found = judge(test, now=after(test, 0.1))
    assert found.outcome == "INVALID" and "Units did not come as planned" in found.words[0]
    assert found.end.outcome == "INVALID" and "start anew with a new salt" in found.end.words[0]
    assert expose(test.champion, "user") is None, "everybody gets the champion from now on"


def first_requests(test, key, *, fails=lambda k: False, says_nothing=lambda k: False, n=400, seconds=0.1, cost=None):
    """n units of each arm with the row of their first request; the challenger's fail, say nothing, are slow or dear."""
    exposures = Exposure.objects.bulk_create(
        Exposure(experiment=test, unit_sha256=f"{k:064x}", arm=ArmName.values[k % 2]) for k in range(2 * n))
    rows = []
    for k, exposure in enumerate(exposures):
        is_challenger = exposure.arm == "challenger"
        rows.append(Exchange(
            name=f"ex-{test.pk}-{k}", project=test.project, api_key=key, route="predict", first_of=exposure,
            deployment=test.challenger if is_challenger else test.champion, at=test.started_at,
            is_answered=not (is_challenger and fails(k)),
            is_readable=not (is_challenger and (fails(k) or says_nothing(k))),
            seconds=seconds if is_challenger else 0.1, cost=cost if is_challenger else 0.001))
    Exchange.objects.bulk_create(rows)


def test_a_challenger_that_fails_more_often_is_stopped_before_the_first_week_is_over(test, shop):
    first_requests(test, shop, fails=lambda k: k % 9 == 0)
    found = judge(test, now=after(test, 0.5))
    assert found.outcome == "HARM" and found.harms[0].is_harm and "stop it" in found.words[0]
    assert not Experiment.objects.get(pk=test.pk).is_running
    notice = Notice.objects.get(event="experiment.ended")
    assert notice.data == {"experiment": test.pk, "outcome": "HARM"} and f"/ab-tests/{test.pk}/" in notice.link


def test_slow_answers_and_twice_the_cost_are_harm_and_a_little_more_of_either_is_not(champion, project, alice, shop):
    def harms(**how):
        test = begin_test(project, alice, f"run-{project.snapshots.get().verdict.best_prompt_id}", slow_seconds=1.0)
        first_requests(test, shop, n=200, **how)
        found = [one.name.split(",")[0] for one in harms_of(test, now=after(test)) if one.is_harm]
        stop_experiment(test, reason="Next.", by=alice)
        return found

    Exchange.objects.create(  # what requests have cost lately makes the cap
        name="ex-before", project=project, api_key=shop, route="predict", seconds=0.1, cost=0.001, at=timezone.now(),
        deployment=deployment_of(project), is_answered=True, is_readable=True)
    assert harms(cost=0.001) == []
    assert harms(cost=0.0012, seconds=0.9) == []
    assert harms(cost=0.004, seconds=0.9) == ["Cost of a request"]
    assert harms(cost=0.001, seconds=1.5) == ["Answers that took longer than 1 s"]
    assert harms(cost=0.001, says_nothing=lambda k: k % 9 == 0) == ["Refused"]


def test_units_that_a_person_took_over_are_harm_once_their_day_is_over(test, shop, program):
    first_requests(test, shop, n=150)
    exposures = Exposure.objects.filter(experiment=test, arm="challenger")
    for k, exposure in enumerate(exposures):
        if k % 3 == 0:
            named = name_of(test.challenger, test.started_at, Given(test, exposure, True))
            assert program.say(named, escalated=True).status_code == 200
    young = harms_of(test, now=after(test, 0.5))[3]
    assert young.name == "Handed over to a person" and young.n == 0, "a person may still take over"
    found = judge(test, now=after(test, 1.5))
    assert found.outcome == "HARM" and "Handed over to a person: 33.3%" in found.words[0]
    assert [one.is_harm for one in read(test).harms] == [False, False, False, True]


def test_all_guardrails_together_stop_a_harmless_challenger_in_at_most_three_per_cent(test, shop):
    harms = harms_of(test, now=after(test))
    assert sum(1 / one.needed for one in harms) == pytest.approx(0.025), "half a per cent is the costs', where known"
    assert {one.name: one.needed for one in harms}["Failed requests"] == 100


def test_what_the_champion_had_to_answer_or_nobody_did_is_the_challengers_failure(test, shop):
    first_requests(test, shop, n=3)
    lost = Exposure.objects.create(experiment=test, unit_sha256="a" * 64, arm="challenger")
    [answered_by_champion] = Exchange.objects.filter(first_of__arm="challenger")[:1]
    Exchange.objects.filter(pk=answered_by_champion.pk).update(deployment=test.champion)
    Exposure.objects.create(experiment=test, unit_sha256="b" * 64, arm="champion")
    young = harms_of(test, now=lost.created_at + timedelta(minutes=1))[0]
    assert (young.n, round(3 * young.worse_by)) == (3, 1), "a row may still come"
    old = harms_of(test, now=lost.created_at + timedelta(minutes=11))[0]
    assert (old.n, round(4 * old.worse_by)) == (4, 1), "both arms have one that was lost"


# The tick, and people

def test_the_tick_judges_what_runs_about_once_a_minute_and_notes_the_day(test, shop, monkeypatch):
    monkeypatch.setattr(experiments, "_judged_at", {})
    users(test, shop, 130, good={"champion": 0.5, "challenger": 0.5})
    assert poll() == 1 and poll() == 0
    note_day(judge(test))
    day = ExperimentDay.objects.get(experiment=test)
    assert day.n_exposed == 130 and day.band["low"] < 0 < day.band["high"]


def test_another_champion_ends_it_without_a_result(test, champion):
    type(champion).objects.filter(pk=champion.pk).update(stage="retired")
    found = judge(test, now=after(test))
    assert found.outcome == "STOPPED" and found.end.by is None
    assert "Something else became the champion" in found.words[0]


def test_a_champion_that_was_away_in_between_ends_it_too(test, champion):
    type(champion).objects.filter(pk=champion.pk).update(stage="retired")
    deployment_of(test.project)  # somebody was answered by the prompt
    type(champion).objects.filter(pk=champion.pk).update(stage="champion")
    assert judge(test, now=after(test)).outcome == "STOPPED"


def test_what_was_planned_looked_at_and_ended_cannot_be_changed(test, shop, alice):
    users(test, shop, 130, good={"champion": 0.5, "challenger": 0.5})
    judge(test, now=after(test))
    stop_experiment(test, reason="Enough.", by=alice)
    for statement in ("UPDATE serving_experiment SET share = 0.9", "UPDATE serving_experiment SET state = 'running'",
                      "DELETE FROM serving_experiment", "UPDATE serving_experimentlook SET z = 9",
                      "UPDATE serving_experimentend SET outcome = 'SHIP'", "DELETE FROM serving_exposure",
                      "DELETE FROM serving_exposedfeedback"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_page_of_a_large_test_needs_few_queries(test, shop, django_assert_max_num_queries):
    users(test, shop, 130, good={"champion": 0.5, "challenger": 0.5})
    judge(test, now=after(test))
    with django_assert_max_num_queries(12):
        judge(test, now=after(test))
