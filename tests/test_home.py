"""The home page: where the project stands and the one thing to do next, from the first file to the champion."""

import hashlib
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from curation.models import (
    Approval,
    CheckOverride,
    Decision,
    DuplicateCluster,
    ExampleScore,
    QualityReport,
    Snapshot,
    SnapshotCheck,
)
from goldpan.path.facts import facts_of
from goldpan.path.steps import agreement_words, jobs_to_show, open_items, steps_of
from goldpan.path.turn import turn_of
from jobs.models import Job
from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Desk, Example, Upload
from projects.models import Role
from projects.services import add_member
from projects.services.sealing import encrypt
from stats.intervals import Interval
from tests.conftest import new_project
from training.models import Adapter, Evaluation, Run, Verdict


class Story:
    """A project that goes its way step by step; every method is one step."""

    def __init__(self, project, by):
        self.project, self.by = project, by

    def examples(self, n_pool=6, n_dev=3, n_test=4):
        for split, n in (("pool", n_pool), ("dev", n_dev), ("test", n_test)):
            for number in range(n):
                key = f"{split}{number}"
                Example.objects.create(
                    project=self.project, key=key, text=f"Text {key}", data={}, group=key, split=split,
                    content_sha256=hashlib.sha256(key.encode()).hexdigest())

    def label(self, split, *labels):
        for example in Example.objects.filter(project=self.project, split=split):
            for number, label in enumerate(labels):
                annotator, _ = Annotator.objects.get_or_create(project=self.project, name=f"annotator-{number}")
                Annotation.objects.create(example=example, annotator=annotator, value=label, source="file",
                                          instructions_version=1, created_at=timezone.now())

    def label_all(self):
        self.label("pool", "positive")
        for split in ("dev", "test"):
            self.label(split, "positive", "positive", "neutral")

    def job(self, kind, state="succeeded", **more):
        ended = None if state in Job.ACTIVE else timezone.now()
        return Job.objects.create(project=self.project, kind=kind, title=f"A {kind} job", state=state,
                                  finished_at=ended, **more)

    def report(self, n_issues=2, **more):
        report = QualityReport.objects.create(
            project=self.project, job=self.job("score"), encoder="hashing", n_examples=13, n_scored=6,
            n_issues=n_issues, n_clusters=0, n_crossing=0, duplicate_threshold=0.95, **more)
        for number, example in enumerate(Example.objects.filter(project=self.project, split="pool")):
            ExampleScore.objects.create(report=report, example=example, n_labels=1, label_quality=number / 100,
                                        cluster=number, cluster_size=1, is_label_issue=number < n_issues)
        return report

    def decide(self, n, verdict="exclude"):
        for example in Example.objects.filter(project=self.project, split="pool")[:n]:
            Decision.objects.create(example=example, verdict=verdict, decided_by=self.by)

    def freeze(self, by=None):
        report = QualityReport.objects.filter(project=self.project).first()
        counts = {"train": 6, "dev": 3, "test": 4}
        return Snapshot.objects.create(project=self.project, number=Snapshot.objects.count() + 1, sha256="a" * 64,
                                       rows_sha256="b" * 64, rule={}, counts=counts, report=report,
                                       created_by=by or self.by)

    def approve(self, snapshot, by, decision="approved", comment=""):
        return Approval.objects.create(snapshot=snapshot, sha256=snapshot.sha256, decision=decision, comment=comment,
                                       approver=by, created_by=snapshot.created_by)

    def run(self, snapshot, kind, n_right, job=None):
        run = Run.objects.create(snapshot=snapshot, kind=kind, config={}, job=job or self.job("baseline"),
                                 created_by=self.by)
        if n_right is not None:
            accuracy = {"estimate": n_right / 100, "low": n_right / 100 - 0.05, "high": n_right / 100 + 0.05, "n": 100,
                        "confidence": 0.95}
            Evaluation.objects.create(run=run, snapshot=snapshot, split="test", n=100, n_right=n_right, seconds=1,
                                      metrics={"accuracy": accuracy, "macro_f1": accuracy}, predictions_sha256="c" * 64)
        return run

    def verdict(self, snapshot, outcome, n_right=70):
        return Verdict.objects.create(
            snapshot=snapshot, best_prompt=self.run(snapshot, "zero_shot", n_right), outcome=outcome, lower=0.6,
            upper=0.8, target_metric="accuracy", target_value=0.8, words="The best prompt gets 70.0 % right.",
            next_step="Train.")

    def adapter(self, run, stage="candidate"):
        return Adapter.objects.create(project=self.project, run=run, files={}, receipt={}, metrics_sha256="d" * 64,
                                      stage=stage)


@pytest.fixture
def story(project, bob):
    return Story(project, bob)


@pytest.fixture
def approved(story, alice):
    """All went well up to an approved snapshot."""
    story.examples()
    story.label_all()
    story.report(n_issues=0)
    snapshot = story.freeze()
    story.approve(snapshot, alice)
    return snapshot


def stand(project, user, role=Role.curator):
    facts = facts_of(project, user, role)
    turn = turn_of(facts)
    return facts, turn, steps_of(facts, turn)


def turn(project, user, role=Role.curator):
    return stand(project, user, role)[1]


def states(project, user):
    return " ".join(step.state for step in stand(project, user)[2])


def opened(project, user):
    return {item.words: item.n for item in open_items(facts_of(project, user, Role.curator))}


def home(client, project):
    return client.get(reverse("projects:detail", args=[project.pk]))


# Your turn, one step after the other

def test_first_comes_a_file(project, bob):
    found = turn(project, bob)
    assert found.step == "Import" and found.action.url == reverse("labeling:import", args=[project.pk])
    assert states(project, bob) == "now later later later later later later"


def test_a_checked_file_waits_to_be_imported(project, bob):
    upload = Upload.objects.create(project=project, name="a.csv", kind="examples", format="csv", mapping={}, n_good=5,
                                   n_bad=2, sha256="a" * 64, created_by=bob)
    found = turn(project, bob)
    assert "5 rows are good, 2 are not" in found.headline
    assert found.action.url == reverse("labeling:upload", args=[upload.pk])


def test_examples_without_labels_are_sent_to_people(project, bob, story):
    story.examples()
    found = turn(project, bob)
    assert (found.step, found.action.words) == ("Label", "Choose what to ask for")
    assert states(project, bob).startswith("done now later")


def test_a_server_that_is_away_is_told_before_anybody_waits_for_answers(project, bob, story):
    story.examples()
    new_desk(project, bob, state="unavailable", message="It cannot be reached. Start it.")
    found = turn(project, bob)
    assert "not reachable" in found.headline and found.detail == "It cannot be reached. Start it."


def test_labels_are_scored(project, bob, story):
    story.examples()
    story.label_all()
    found = turn(project, bob)
    assert (found.step, found.action.words, found.action.is_post) == ("Review", "Score 13 examples", True)


def test_while_a_job_does_the_next_step_there_is_only_waiting(project, bob, story):
    story.examples()
    story.label_all()
    job = story.job("score", "running")
    found = turn(project, bob)
    assert "nothing to do until it ends" in found.headline and found.action.url == reverse("jobs:job", args=[job.pk])


def test_what_looks_wrong_is_reviewed(project, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=2)
    assert turn(project, bob).headline == "2 of 6 labels look wrong."
    story.decide(1)
    assert turn(project, bob).action.words == "Review 1 example"


def test_the_time_it_takes_is_told_from_the_persons_own_pace(project, alice, bob, story, monkeypatch):
    story.examples(n_pool=40)
    story.label_all()
    story.report(n_issues=36)
    start = timezone.now()
    pauses = [0, 20, 40, 60, 80, 100, 4000, 4020, 4040, 4060, 4080, 4100]  # a long pause among them
    for seconds, example in zip(pauses, Example.objects.filter(split="pool"), strict=False):
        monkeypatch.setattr(timezone, "now", lambda at=start + timedelta(seconds=seconds): at)
        Decision.objects.create(example=example, verdict="exclude", decided_by=bob)
    said = turn(project, bob).detail.replace("\u202f", " ")
    assert said == "At your pace so far, 20 s each, that is about 8 min."  # 24 are left
    assert "The worst come first" in turn(project, alice).detail, "she has decided nothing yet"


def test_held_out_examples_need_three_labels_before_anything_is_frozen(project, bob, story):
    story.examples()
    story.label("pool", "positive")
    story.label("test", "positive", "positive", "positive")
    story.report(n_issues=0)
    found = turn(project, bob)
    assert found.step == "Label" and "No dev example has 3 labels" in found.headline


def test_then_the_gold_set_is_chosen_and_frozen(project, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=0)
    found = turn(project, bob)
    assert (found.step, found.action.url) == ("Snapshot", reverse("curation:gold-set", args=[project.pk]))
    assert states(project, bob) == "done done done now later later later"


def test_hidden_scores_do_not_stop_anybody_and_say_why(project, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=0, hidden_because="A model agrees with hardly more than chance.")
    found = turn(project, bob)
    assert found.step == "Snapshot" and "hardly more than chance" in found.detail


def test_whoever_freezes_with_some_left_has_decided_that_it_is_enough(project, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=2)
    story.freeze()
    assert turn(project, bob).step == "Snapshot" and opened(project, bob)["Labels that look wrong"] == 2


def test_a_snapshot_waits_for_an_admin_who_did_not_make_it(project, alice, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=0)
    snapshot = story.freeze(by=bob)
    assert "waits for you" in turn(project, alice, Role.admin).headline
    assert "waits for an admin" in turn(project, bob).headline
    assert turn(project, bob).action.url == reverse("curation:snapshot-detail", args=[snapshot.pk])
    by_alice = story.freeze(by=alice)
    assert by_alice.number == 2 and "You made this snapshot" in turn(project, alice, Role.admin).detail


def test_checks_that_fail_come_before_the_approval(project, alice, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=0)
    snapshot = story.freeze()
    SnapshotCheck.objects.create(snapshot=snapshot, name="leaks", claim="No leak.", holds=False, n=2, found="2 leaks.")
    for user, role in ((bob, Role.curator), (alice, Role.admin)):
        found = turn(project, user, role)
        assert found.headline == "1 check fails, so nobody can approve snapshot 1 yet."
        assert found.action.url.endswith("#checks")
    CheckOverride.objects.create(snapshot=snapshot, name="leaks", n=1, reason="Fine.", by=alice)
    assert "1 check fails" in turn(project, bob).headline, "it finds more than was accepted"
    CheckOverride.objects.create(snapshot=snapshot, name="leaks", n=2, reason="Fine.", by=alice)
    assert "waits for an admin" in turn(project, bob).headline


def test_groups_of_duplicates_that_want_a_decision_are_open(project, bob, story):
    story.examples()
    story.label_all()
    report = story.report(n_issues=0)
    QualityReport.objects.filter(pk=report.pk).update(n_clusters=4)
    for place, what in enumerate(("leak", "leak", "conflict", "other")):
        DuplicateCluster.objects.create(
            report=report, place=place, what=what, kind="exact", centre=Example.objects.first(), size=2, n_held_out=0,
            n_to_exclude=1, similarity=1, n_labels=2, urgency=1, members_sha256="a" * 64)
    assert opened(project, bob) == {"Groups of duplicates in training and held out": 2,
                                    "Groups of duplicates with different labels": 1}


def test_a_refusal_is_told_with_its_reason(project, alice, bob, story):
    story.examples()
    story.label_all()
    story.report(n_issues=0)
    story.approve(story.freeze(), alice, "refused", "Too few refunds.")
    found = turn(project, bob)
    assert found.headline == "alice refused snapshot 1. “Too few refunds.”" and found.step == "Snapshot"


def test_the_prompt_is_tried_before_anything_is_trained(project, bob, approved):
    found = turn(project, bob)
    assert (found.step, found.action.url) == ("Prompt", reverse("training:baseline", args=[approved.pk]))


def test_a_prompt_that_is_good_enough_is_the_end_of_the_path(project, bob, story, approved):
    story.verdict(approved, "PROMPT_OK", n_right=90)
    _, found, steps = stand(project, bob)
    assert found.is_end and states(project, bob) == "done done done done done later later"
    assert (steps[4].figure.replace("\u202f", " "), steps[5].note) == ("90.0 %", "not needed")


def test_a_prompt_that_cannot_reach_the_target_leads_to_training_by_an_admin(project, alice, bob, story, approved):
    story.verdict(approved, "FINE_TUNE")
    found = turn(project, alice, Role.admin)
    assert (found.step, found.action.url) == ("Train", reverse("training:train", args=[approved.pk]))
    assert "An admin starts the training." in turn(project, bob).detail


def test_a_training_that_failed_is_told_with_its_error(project, bob, story, approved):
    story.verdict(approved, "FINE_TUNE")
    story.run(approved, "lora", None, story.job("train", "failed", error="The disk is full."))
    found = turn(project, bob)
    assert (found.headline, found.detail) == ("The training failed.", "The disk is full.")


def test_then_the_comparison_is_read_and_the_champion_is_the_end(project, bob, story, approved):
    story.verdict(approved, "FINE_TUNE")
    adapter = story.adapter(story.run(approved, "lora", 88))
    _, found, steps = stand(project, bob)
    assert found.action.url == reverse("training:comparison", args=[approved.pk]) and not found.is_end
    assert (steps[5].figure + steps[5].note).replace("\u202f", " ") == "88.0 %83.0 to 93.0 %"
    Adapter.objects.filter(pk=adapter.pk).update(stage="champion")
    assert turn(project, bob).is_end and states(project, bob) == "done done done done done done later"


# Beside it

def test_what_else_is_open_is_counted(project, bob, story):
    story.examples()
    story.label_all()
    story.label("test", "neutral", "neutral", "neutral")  # everybody thinks again
    story.report(n_issues=1)
    Example.objects.create(project=project, key="late", text="late", data={}, group="late", split="pool",
                           content_sha256="e" * 64)
    assert opened(project, bob) == {
        "Labels that look wrong": 1, "Examples newer than the last scoring": 1, "Examples without a label": 1}


def test_ties_among_the_held_out_are_open_until_somebody_settles_them(project, bob, story):
    story.examples(n_dev=1, n_test=2)
    story.label("test", "positive", "neutral", "negative")
    story.label("dev", "positive")
    assert opened(project, bob)["Held-out examples without a majority"] == 2
    assert opened(project, bob)["Held-out examples with fewer than 3 labels"] == 1
    tied = Example.objects.filter(split="test").first()
    Decision.objects.create(example=tied, verdict="relabel", value="positive", decided_by=bob)
    assert opened(project, bob)["Held-out examples without a majority"] == 1


def test_agreement_stands_there_from_thirty_examples_on(project, bob, story):
    story.examples(n_dev=10, n_test=19)
    story.label_all()
    assert facts_of(project, bob, Role.curator).held_out.agreement is None
    extra = Example.objects.create(project=project, key="extra", text="extra", data={}, group="extra", split="test",
                                   content_sha256="e" * 64)
    for annotator in Annotator.objects.all()[:2]:
        Annotation.objects.create(example=extra, annotator=annotator, value="negative", source="file",
                                  instructions_version=1, created_at=timezone.now())
    agreement = facts_of(project, bob, Role.curator).held_out.agreement
    assert agreement.n == 30 and agreement.low <= agreement.estimate <= agreement.high


@pytest.mark.parametrize(("low", "high", "said"), [
    (0.82, 0.9, "reliable"), (0.7, 0.9, "is open"), (0.7, 0.79, "Below"), (0.2, 0.6, "Too low")])
def test_agreement_is_put_into_words_by_its_interval(low, high, said):
    assert said in agreement_words(Interval((low + high) / 2, low, high, 100))


def test_running_jobs_are_shown_and_of_each_kind_the_last_if_it_failed():
    def job(kind, state):
        return SimpleNamespace(kind=kind, state=state, is_active=state in Job.ACTIVE)

    jobs = [job("pull", "queued"), job("score", "succeeded"), job("push", "failed"), job("score", "failed"),
            job("train", "running")]
    assert [(one.kind, one.state) for one in jobs_to_show(jobs)] == [
        ("train", "running"), ("pull", "queued"), ("push", "failed")]


# The pages

@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 200), ("dora", 404)])
def test_members_see_their_project(project, request, client_of, who, status):
    assert home(client_of(request.getfixturevalue(who)), project).status_code == status


def test_the_page_shows_the_path_and_one_primary_action(project, bob, story, client_of):
    story.examples()
    story.label_all()
    story.report(n_issues=2)
    html = home(client_of(bob), project).content.decode()
    assert "2 of 6 labels look wrong." in html and html.count("btn-gold") == 1
    assert html.count('aria-current="step"') == 1 and "comes later" in html


def test_an_annotator_sees_what_to_do_and_nothing_about_quality(project, charlie, story, client_of):
    story.examples(n_test=40)
    story.label_all()
    story.report(n_issues=2)
    html = home(client_of(charlie), project).content.decode()
    assert "Say the mood." in html and "There is nothing to label yet" in html
    for word in ("look wrong", "Agreement", "Krippendorff", "held out", "Your turn"):
        assert word not in html


def test_an_annotator_finds_the_way_to_their_own_desk_through_the_door(project, bob, charlie, story, client_of):
    story.examples()
    desk = new_desk(project, charlie, ls_email="charlie@goldpan.local", ls_password_encrypted=encrypt("a password"))
    new_desk(project, bob)
    batch = Batch.objects.create(project=project, number=1, title="labels", created_by=bob)
    example = Example.objects.filter(project=project).first()
    item = BatchItem.objects.create(batch=batch, example=example, n_wanted=1, n_taken=1)
    assert "Look for something to label" in home(client_of(charlie), project).content.decode()
    Assignment.objects.create(example=example, annotator=desk.annotator, item=item, state="placed", ls_task_id=5,
                              expires_at=timezone.now() + timedelta(hours=1))
    html = home(client_of(charlie), project).content.decode()
    assert f"{settings.GOLDPAN_DOOR_URL}/projects/{desk.ls_project_id}/data?labeling=1" in html
    assert "1 example is on your desk" in html
    for secret in ("a password", "charlie@goldpan.local", "bob"):
        assert secret not in html


def new_desk(project, user, *, state="ok", message="", **account):
    annotator = Annotator.objects.create(project=project, name=user.username, user=user, **account)
    return Desk.objects.create(project=project, annotator=annotator, url="http://ls.test", ls_project_id=annotator.pk,
                               config_sha256="0" * 64, instructions_version=1, webhook_secret="s", state=state,
                               message=message)


def test_one_project_is_opened_at_once_and_several_are_listed(project, alice, bob, client_of):
    assert client_of(bob).get("/")["Location"] == reverse("projects:detail", args=[project.pk])
    add_member(new_project("Another", alice), bob, Role.annotator, by=alice)
    html = client_of(bob).get("/").content.decode()
    assert "Moods" in html and "Another" in html and "annotator" in html


def test_without_a_project_the_page_says_how_to_get_one(db, client_of):
    html = client_of(User.objects.create_user("new")).get("/").content.decode()
    assert "You are in no project yet" in html and "--by new" in html


def test_nobody_is_shown_anything_without_a_log_in(project):
    for url in ("/", reverse("projects:detail", args=[project.pk])):
        assert Client().get(url)["Location"].startswith(reverse("account_login"))


def test_the_page_takes_few_queries_however_far_the_project_is(
        project, alice, story, approved, client_of, django_assert_max_num_queries):
    story.verdict(approved, "FINE_TUNE")
    story.adapter(story.run(approved, "lora", 88), "champion")
    client = client_of(alice)
    with django_assert_max_num_queries(37):
        home(client, project)
