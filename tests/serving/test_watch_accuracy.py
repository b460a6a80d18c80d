"""A model that serves is watched: looks are drawn, labelled, counted, and the alarm rings when accuracy falls."""

from datetime import timedelta
from itertools import islice
from urllib.parse import parse_qs

import pytest

from curation.services.erasing import erase
from jobs.models import Job
from labeling.models import Annotation, Assignment, BatchItem, Example, LabelingRules, Suggestion
from labeling.services.corrections import take_correction
from labeling.services.deliveries import _suggestions
from projects.errors import UserError
from projects.models import AuditEvent, Notice
from serving.models import Deployment, ExchangeContent, Look, LookCount, LookRow, TrainingProposal, WatchPlan
from serving.services.drift import drift_of
from serving.services.exchanges import purge
from serving.services.look_labels import blind_labels
from serving.services.looks import start_extra_now
from serving.services.proposals import decide, gold_query, way_of
from serving.services.watch_plans import FIELDS, plan_of, save_plan, watched_of
from serving.services.watching import poll
from stats.schedule import evaluation_days
from training.models import Run

pytestmark = pytest.mark.django_db


def change(world, by, **values):
    plan = plan_of(world.project)
    return save_plan(world.project, {name: getattr(plan, name) for name in FIELDS} | values, reason="As we need it.",
                     by=by, now=world.now)


def levels(world):
    return list(LookCount.objects.filter(look__project=world.project, look__kind="regular").order_by(
        "look__number").values_list("level", flat=True))


def told(project, event):
    return Notice.objects.filter(project=project, event=event).count()


# drawing and counting

def test_a_week_becomes_a_look_that_people_label_and_that_is_counted(world, project):
    world.week(0, labels=False)
    look = Look.objects.get()
    assert (look.n_answered, look.n_kept, look.n_eligible) == (70, 70, 70)
    assert 40 <= look.rows.count() <= 50 and look.rows.filter(is_uniform=True).count() == 35
    assert look.batch is not None and look.batch.items.count() == look.rows.count()
    assert told(project, "look.drawn") == 1 and not LookCount.objects.exists()
    held_out = look.batch.items.exclude(example__split="pool")
    assert held_out and all(item.n_wanted >= 3 for item in held_out)
    world.label()
    world.tick(7)
    count = LookCount.objects.get()
    assert count.level == "quiet" and count.n_uniform == 35 and count.n_missing == 0
    assert count.share["n"] == 35 and count.estimate["n"] == look.rows.count()
    assert WatchPlan.objects.get().created_by is None


def test_two_ticks_at_once_draw_one_sample(world):
    world.send(40, day=3)
    world.now = world.at(7)
    poll(now=world.now)
    poll(now=world.now)
    assert Job.objects.filter(kind="look").count() == 1
    world.tick(7)
    world.tick(8)
    assert Look.objects.count() == 1


def test_a_customer_who_asks_often_is_one_voice(world):
    world.send(30, day=2, group="customer 7")
    world.send(20, day=2)
    world.tick(7)
    look = Look.objects.get()
    assert (look.n_kept, look.n_eligible) == (50, 21)
    assert look.rows.filter(example__group="customer 7").count() == 1


def test_a_look_never_contains_a_test_row_or_what_nearly_repeats_one(world, project):
    test_row = Example.objects.filter(project=project, split="test").first()
    world.send(40, day=2)
    world.send(1, day=2, make=lambda label: test_row.text)
    world.send(1, day=2, make=lambda label: f"{test_row.text} {test_row.text}")
    world.tick(7)
    look = Look.objects.get()
    assert look.n_repeats == 2 and "repeat a test row" in " ".join(look.words)
    assert not look.rows.filter(example=test_row).exists()
    assert all("row 0" not in example.text.lower() for example in world.examples(look))


def test_a_week_without_requests_is_a_look_that_says_so(world):
    world.tick(7)
    look = Look.objects.get()
    assert look.rows.count() == 0 and look.batch is None
    assert look.count.n_uniform == 0 and look.count.level == "quiet"


def test_late_labels_are_told_of_once_and_the_look_counts_without_them_in_the_end(world, project):
    world.week(0, labels=False)
    world.label(n=20)
    world.tick(13)
    assert told(project, "look.late") == 0
    world.tick(14)
    world.tick(15)
    assert told(project, "look.late") == 1 and not LookCount.objects.exists()
    world.tick(21)
    count = LookCount.objects.get(look__number=1)
    assert count.n_missing == count.look.rows.count() - 20 and "may flatter" in count.words[-1]
    assert count.estimate is None and "hard ones" in " ".join(count.words)


def test_a_purge_and_an_erasure_do_not_break_a_look(world, project, alice):
    world.week(0, labels=False)
    look = Look.objects.get()
    row = look.rows.filter(is_uniform=True).first()
    world.label()
    while purge(now=world.at(60)):
        pass
    Job.objects.filter(state="queued").update(state="cancelled", finished_at=world.now)
    erase([row.example], reason="Somebody asked.", by=alice)
    Job.objects.filter(state="queued").update(state="cancelled", finished_at=world.now)
    assert not ExchangeContent.objects.exists() and LookRow.objects.get(pk=row.pk).answer == {}
    world.tick(8)
    count = LookCount.objects.get()
    assert (count.n_uniform, count.n_missing) == (34, 1) and "erased" in " ".join(count.words)


# blind

def test_no_suggestion_is_shown_with_what_a_look_asks_about(world, project, charlie_labels):
    LabelingRules.objects.create(project=project, shows_suggestions=True, hidden_share=0)
    world.week(0, labels=False)
    items = BatchItem.objects.filter(batch=Look.objects.get().batch, example__split="pool")[:3]
    rows = [Assignment.objects.create(example=item.example, annotator=charlie_labels, item=item,
                                      expires_at=world.at(30)) for item in items]
    for row in rows:
        Suggestion.objects.create(example=row.example, value="neutral", by="adapter 1")
    assert _suggestions(project, rows) == {}
    Assignment.objects.all().delete()
    world.label()
    world.tick(7)
    later = [Assignment.objects.create(example=rows[0].example, annotator=charlie_labels, item=items[0],
                                       expires_at=world.at(30))]
    assert len(_suggestions(project, later)) == 1  # it is counted: nothing is given away any more


@pytest.fixture
def charlie_labels(project):
    from labeling.models import Annotator
    return Annotator.objects.create(project=project, name="charlie's desk")


def test_answers_of_users_who_saw_the_models_are_no_labels_of_a_look(world, project):
    world.week(0, labels=False)
    row = LookRow.objects.filter(example__split="pool").first()
    take_correction(project, text=row.example.text, data={}, group="", value="neutral", annotator="feedback by shop",
                    at=world.now)
    assert Annotation.objects.filter(example=row.example).exists()
    assert blind_labels(project, [row.example])[row.example_id].why_not == "no label yet"


# the alarm

def test_a_drop_from_92_to_78_rings_as_soon_as_the_table_says(world, project, alice):
    change(world, alice, floor=0.9)
    for week in range(4):
        world.week(week, n=50, accuracy=0.92)
    assert "alarm" not in levels(world)
    for week in range(4, 12):
        world.week(week, n=50, accuracy=0.78)
        if levels(world)[-1] == "alarm":
            break
    # 35 of 50 labels are random: half within 4 weeks, nine in ten within 6 (docs/methods.md)
    assert levels(world)[-1] == "alarm" and len(levels(world)) - 4 <= 6
    assert told(project, "drift.alarm") == 1 and told(project, "drift.warning") <= 1


def test_a_year_without_a_drop_is_quiet(world, project, alice):
    change(world, alice, labels=25, uniform_share=1.0, floor=0.85, cadence="monthly")
    ends = list(islice(evaluation_days(world.start.date(), "monthly"), 1, 13))
    for day in ((end - world.start.date()).days for end in ends):
        world.send(29, day=day - 4, accuracy=0.93)
        world.tick(day)
        world.label()
        world.tick(day)
    assert len(levels(world)) == 12 and not {"alarm", "warning"} & set(levels(world))
    assert told(project, "drift.alarm") == told(project, "drift.warning") == 0
    proposals = [reason for proposal in TrainingProposal.objects.all() for reason in proposal.reasons]
    assert proposals and not any("alarm rang" in reason for reason in proposals)  # by the calendar


def test_an_alarm_asks_about_what_is_new_then_proposes_a_training_that_an_admin_decides_on(world, project, alice, bob):
    world.week(0, n=60, accuracy=0.4, words="virtual card")
    assert levels(world) == ["alarm"]
    extra = Look.objects.get(kind="extra")
    assert extra.because == Look.objects.get(kind="regular") and extra.rows.exists()
    assert not extra.rows.filter(is_uniform=True).exists()
    assert not TrainingProposal.objects.exists()
    world.label()
    world.tick(8)
    proposal = TrainingProposal.objects.get()
    assert proposal.is_alarm and proposal.reasons[0].startswith("The alarm rang")
    assert extra.count.level == "none" and told(project, "training.proposed") == 1
    assert [step.title for step in way_of(proposal) if step.state == "now"] == ["Score"]
    with pytest.raises(UserError, match="why not"):
        decide(proposal, approves=False, reason=" ", by=alice, now=world.now)
    decide(proposal, approves=True, reason="", by=alice, now=world.now)
    asked = parse_qs(gold_query(proposal).removeprefix("?"))
    assert asked["favoured_batches"] == [f"{extra.because.batch.number}, {extra.batch.number}"]
    assert 0 < float(asked["favoured_share"][0]) <= 0.5
    freeze = next(step for step in way_of(proposal) if step.title == "Freeze")
    assert freeze.state == "later" or freeze.url.endswith(gold_query(proposal))
    with pytest.raises(UserError, match="decided already"):
        decide(proposal, approves=False, reason="No.", by=bob, now=world.now)
    assert AuditEvent.objects.filter(what="decide_training", who="alice").count() == 1
    assert not Run.objects.filter(created_at__gt=proposal.created_at).exists()  # approving starts nothing
    world.week(1, n=60, accuracy=0.4)
    assert TrainingProposal.objects.filter(is_alarm=True).count() == 1  # the same alarm is not told twice


def test_a_new_deployment_begins_the_evidence_anew(world, project, champion):
    world.week(0, n=60, accuracy=0.4)
    assert drift_of(project, now=world.now).is_alarm
    prompt = Run.objects.filter(snapshot=champion.run.snapshot, kind__in=Run.PROMPTS, evaluations__split="test").first()
    world.now += timedelta(hours=1)
    world.deployment = Deployment.objects.create(project=project, slot="champion", run=prompt, backend="embedded")
    found = drift_of(project, now=world.now)
    assert found.level == "none" and found.lines == [] and found.watched.deployment == world.deployment
    assert found.watched.period(world.now.date()) is None
    world.send(40, day=9, accuracy=0.9)
    world.tick(14)
    look = Look.objects.filter(kind="regular").first()
    assert look.deployment == world.deployment and look.n_answered == 40


def test_another_floor_begins_the_evidence_anew_and_more_labels_do_not(world, project, alice):
    world.week(0, n=60)
    change(world, alice, labels=80)
    assert watched_of(project).looks.count() == 1
    world.now = world.at(8)
    change(world, alice, floor=0.6)
    assert watched_of(project).looks.count() == 0
    assert watched_of(project).period(world.at(14).date()) is None  # the first week by the new floor is not over
    with pytest.raises(UserError, match="Write down"):
        save_plan(project, {name: getattr(plan_of(project), name) for name in FIELDS}, reason="", by=alice,
                  now=world.now)
    with pytest.raises(UserError, match="watched already"):
        change(world, alice)


def test_a_paused_watch_draws_nothing(world, alice):
    change(world, alice, is_on=False)
    world.send(40, day=3)
    world.tick(7)
    assert not Look.objects.exists()


def test_somebody_asks_for_more_of_what_is_new(world, project, bob):
    world.send(40, day=2)
    world.now = world.at(5)
    job = start_extra_now(project, by=bob, today=world.now.date())
    assert start_extra_now(project, by=bob, today=world.now.date()) == job
    world.tick(5)
    look = Look.objects.get()
    assert look.kind == "extra" and 0 < look.rows.count() <= 40
