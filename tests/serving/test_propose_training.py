"""When a training is proposed: an alarm, the calendar, or a gain that was weighed; never because many labels came."""

import pytest

from jobs import services as jobs
from jobs.models import Job
from serving.models import TrainingProposal
from serving.services.drift import proposal_page
from serving.services.proposals import decide, propose_between_looks, weigh_retraining
from serving.services.watch_plans import FIELDS, plan_of, save_plan, watched_of
from serving.services.weighing import n_unscored, start_due_weighing, weighed_of
from stats.intervals import Interval

pytestmark = pytest.mark.django_db


def run(job):
    jobs.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    return job


def pause(world, by):
    plan = plan_of(world.project)
    save_plan(world.project, {name: getattr(plan, name) for name in FIELDS} | {"is_on": False}, reason="A holiday.",
              by=by, now=world.now)


def test_the_calendar_proposes_while_the_watch_is_paused_and_says_that_nothing_is_new(world, project, alice):
    pause(world, alice)
    watched = watched_of(project)
    due = weigh_retraining(watched, today=world.now.date()).due_on
    day = (due - world.start.date()).days
    world.tick(day - 1)
    assert not TrainingProposal.objects.exists()
    world.tick(day)
    world.tick(day + 1)
    proposal = TrainingProposal.objects.get()
    assert not proposal.is_alarm and "have requests labelled first" in proposal.reasons[0]
    decide(proposal, approves=False, reason="Nothing is new.", by=alice, now=world.now)
    world.tick(day + 8)
    assert TrainingProposal.objects.count() == 1  # the calendar counts anew
    world.tick(day + 92)
    assert TrainingProposal.objects.filter(state="open").count() == 1


def test_many_labels_lead_to_a_scoring_and_a_weighing_not_to_a_proposal(world, project, monkeypatch):
    monkeypatch.setattr("curation.services.experiments.MIN_JUDGES", 5)
    world.week(0, n=60)
    watched = watched_of(project)
    assert n_unscored(watched) > 0
    assert start_due_weighing(watched) is None  # the newest scoring is the one that what serves came from
    run(Job.objects.get(kind="score", state="queued"))  # much is new, so it was started by itself
    assert n_unscored(watched) == 0
    job = run(start_due_weighing(watched))
    assert start_due_weighing(watched) is None  # once for a scoring
    weighed = weighed_of(watched.deployment)
    assert weighed.n_new > 0 and weighed.n_gold == job.result["n_gold"]
    assert not weighed.why_not and weighed.gain.low < weighed.gain.high and weighed.gain.n >= 5
    assert not TrainingProposal.objects.exists()


def test_a_gain_is_proposed_once_and_not_again_while_an_approved_training_is_on_its_way(world, project, alice):
    watched = watched_of(project)
    weigh(watched, world, low=0.009)
    assert propose_between_looks(watched, today=world.now.date()) is None
    world.now = world.at(1)
    weigh(watched, world, low=0.012)
    world.tick(1)
    proposal = TrainingProposal.objects.get()
    assert proposal.reasons[0].startswith("A training is likely to pay.")
    assert proposal_page(proposal).proposal == proposal
    decide(proposal, approves=True, reason="", by=alice, now=world.now)
    weigh(watched, world, low=0.05)
    world.tick(2)
    assert TrainingProposal.objects.count() == 1


def weigh(watched, world, *, low):
    Job.objects.create(
        project=watched.project, kind="weigh", title="Weighing", state="succeeded", finished_at=world.now,
        params={"deployment": watched.deployment.pk},
        result={"gain": vars(Interval(low + 0.02, low, low + 0.04, 120)), "n_new": 40, "n_gold": 100, "why_not": ""})


def test_what_cannot_be_weighed_says_why(world, project, monkeypatch):
    from projects.errors import UserError

    def no_judge(*_):
        raise UserError("12 dev examples have a label.")

    monkeypatch.setattr("serving.services.weighing.judge_of", no_judge)
    watched = watched_of(project)
    job = Job.objects.create(project=project, kind="weigh", title="Weighing", params={
        "deployment": watched.deployment.pk})
    run(job)
    assert weighed_of(watched.deployment).why_not == "12 dev examples have a label."
    assert "could not be weighed: 12 dev" in " ".join(weigh_retraining(watched, today=world.now.date()).reasons)
