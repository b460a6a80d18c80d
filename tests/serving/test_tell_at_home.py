"""Home tells whoever may act what waits at what serves: labels of looks, an alarm, a proposal, a test that won."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from goldpan.path.facts import facts_of
from goldpan.path.steps import open_items, steps_of
from goldpan.path.turn import turn_of
from labeling.models import Annotator, Assignment, BatchItem
from projects.models import Role
from serving.models import Deployment, Experiment, ExperimentEnd, Look, TrainingProposal
from serving.services.duties import duties_of, wanted_soon
from serving.services.proposals import decide
from training.models import Promotion, Verdict

pytestmark = pytest.mark.django_db


def stand(project, user, role):
    facts = facts_of(project, user, role)
    turn = turn_of(facts)
    return turn, {item.words: item.n for item in open_items(facts)}, steps_of(facts, turn)[-1]


def test_a_model_that_serves_is_the_end_of_the_path_and_labels_of_its_look_begin_it_anew(world, project, bob):
    turn, _, live = stand(project, bob, Role.curator)
    assert turn.is_end and "serves. Nobody has looked yet." in turn.headline
    assert live.note == "serves, not looked at yet"
    world.week(0, labels=False)
    turn, items, _ = stand(project, bob, Role.curator)
    look, n = Look.objects.get(), Look.objects.get().rows.count()
    assert turn.headline == f"{n} examples of look 1 wait for labels." and "18 January" in turn.detail
    assert turn.action.url == reverse("labeling:batch", args=[look.batch_id]) and not turn.is_end
    assert items["Labels that look 1 waits for, due on 18 January"] == n
    world.label()
    world.tick(7)
    turn, items, live = stand(project, bob, Role.curator)
    assert turn.is_end and "No sign of a drop." in turn.headline
    assert live.figure.endswith("%") and live.note.endswith("look 1") and live.state == "done"
    assert not any("look 1" in words for words in items)


def test_late_labels_come_before_what_can_wait(world, project, bob):
    world.week(0, labels=False)
    world.label(n=10)
    world.tick(14.5)
    turn, items, live = stand(project, bob, Role.curator)
    n = Look.objects.get(number=1).rows.count()
    assert turn.headline == f"The labels of look 1 are late: {n - 10} examples of {n} wait." and live.state == "now"
    assert items["Labels that look 1 waits for, late since 18 January"] == n - 10


def test_an_alarm_is_told_until_a_training_was_decided_on(world, project, alice, bob):
    world.week(0, n=60, accuracy=0.4)
    turn, _, _ = stand(project, bob, Role.curator)
    extra = Look.objects.get(kind="extra")
    assert turn.headline == "The alarm rang at look 1: accuracy is below the floor."
    assert "that look new wait for labels" in turn.detail
    assert turn.action.url == reverse("labeling:batch", args=[extra.batch_id])
    world.label()
    world.tick(8)
    proposal = TrainingProposal.objects.get()
    turn, items, _ = stand(project, alice, Role.admin)
    assert turn.headline == "A training is proposed, and you decide." and "alarm rang" in turn.detail
    assert turn.action.url == reverse("serving:proposal", args=[proposal.pk])
    turn, items, _ = stand(project, bob, Role.curator)  # who may not decide is told who does
    assert turn.headline.startswith("The alarm rang") and turn.detail == "A training is proposed, and an admin decides."
    assert items["A proposal to train again waits for an admin"] == 1
    decide(proposal, approves=True, reason="", by=alice, now=world.now)
    turn, items, _ = stand(project, bob, Role.curator)
    assert turn.headline.startswith("Training again was approved.") and turn.step == "Snapshot"
    assert turn.second.url == reverse("serving:proposal", args=[proposal.pk])
    TrainingProposal.objects.filter(pk=proposal.pk).update(state="declined")
    assert "what to do was decided" in stand(project, bob, Role.curator)[0].headline


def won(project, challenger: Deployment, by: User) -> Experiment:
    """An A/B test that found the challenger better than what serves."""
    test = Experiment.objects.create(
        project=project, state="ended", challenger=challenger, salt="s", share=0.5, outcome="thumb", n_max=200, size={},
        slow_seconds=10, started_by=by, champion=Deployment.objects.filter(project=project, slot="champion")[0])
    ExperimentEnd.objects.create(experiment=test, outcome="SHIP", words=["It is better."], result={})
    return test


def test_a_test_that_won_waits_for_an_admin_until_its_adapter_serves(world, project, adapter, alice, bob):
    adapter.__class__.objects.filter(pk=adapter.pk).update(stage="candidate")
    test = won(project, Deployment.objects.create(project=project, slot="named", run=adapter.run, adapter=adapter,
                                                  backend="embedded"), alice)
    turn, _, _ = stand(project, alice, Role.admin)
    assert "Ship it?" in turn.headline and turn.action.url == reverse("serving:ab-test", args=[test.pk])
    turn, items, _ = stand(project, bob, Role.curator)
    assert "Ship it?" not in turn.headline and items[f"{test} won and is not shipped"] == 1
    adapter.__class__.objects.filter(pk=adapter.pk).update(stage="champion")
    assert duties_of(project).to_ship is None


def test_a_prompt_that_won_waits_until_it_serves(world, project, adapter, alice):
    prompt = Verdict.objects.get(snapshot=adapter.run.snapshot).best_prompt
    test = won(project, Deployment.objects.create(project=project, slot="named", run=prompt, backend="embedded"), alice)
    assert duties_of(project).to_ship == test
    adapter.__class__.objects.filter(pk=adapter.pk).update(stage="retired")
    Promotion.objects.create(project=project, run=prompt, instead_of=adapter.run, way="proven", by=alice,
                             created_at=world.now)
    assert duties_of(project).to_ship is None


def test_an_annotator_is_told_by_when_but_not_why(world, project, client_of):
    world.week(0, labels=False)
    charlie = User.objects.get(username="charlie")
    me = Annotator.objects.create(project=project, name="charlie", user=charlie)
    assert wanted_soon(me) is None
    for item in BatchItem.objects.filter(batch=Look.objects.get().batch)[:3]:
        Assignment.objects.create(example=item.example, annotator=me, item=item, expires_at=world.at(30))
    html = client_of(charlie).get(reverse("projects:detail", args=[project.pk])).content.decode()
    assert "<b>3</b> of them are wanted by <b>18 January</b>" in html
    assert not any(word in html for word in ("drift", "Drift", "look 1", "model"))


def test_what_waits_takes_few_queries_however_many_looks_there_are(
        world, project, bob, client_of, django_assert_max_num_queries):
    with django_assert_max_num_queries(7):
        duties_of(project)
    world.week(0, n=40)
    world.week(1, n=40, labels=False)
    world.week(2, n=40, labels=False)
    with django_assert_max_num_queries(7):
        assert len(duties_of(project).looks) == 2
    client = client_of(bob)
    with django_assert_max_num_queries(50):
        html = client.get(reverse("projects:detail", args=[project.pk])).content.decode()
    assert "The labels of look 2 are late" in html and html.count("btn-gold") == 1
