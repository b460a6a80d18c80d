import json
from dataclasses import asdict, replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from curation.models import BulkDecision, Decision
from curation.services import bulk_decisions
from curation.services.bulk_decisions import decide_all, look_at, undo_all
from curation.services.queue import Filter, Queue
from curation.services.review import current_label, decide, review_counts, undo
from jobs.models import Job
from labeling.models import Batch, BatchItem
from projects.errors import UserError
from projects.models import AuditEvent
from tests.curation.conftest import annotate, new_report

FLAGGED, ALL = Filter(view="flagged"), Filter(view="all")  # p00 … p03; p00 … p23


def look(scored, filter_=FLAGGED):
    return look_at(Queue(scored.report, filter_))


def verdicts(scored):
    return {decision.example.key: (decision.verdict, decision.value)
            for decision in Decision.objects.current().select_related("example") if decision.verdict != "open"}


def test_looking_counts_and_changes_nothing(scored):
    seen = look(scored)
    assert seen.seen.n == 4 and seen.n_suggested == 3  # p02 is called positive already
    assert seen.labels == [("negative", 2), ("neutral", 1), ("positive", 1)]
    assert seen.suggestions == [("positive", 3)]
    assert [score.example.key for score in seen.shown] == ["p00", "p01", "p02", "p03"]
    assert not Decision.objects.exists() and not AuditEvent.objects.filter(what="decide_all").exists()


@pytest.mark.parametrize(("action", "value", "found"), [
    ("keep", "", {"p00": ("keep", "negative"), "p01": ("keep", "neutral"), "p02": ("keep", "positive"),
                  "p03": ("keep", "negative")}),
    ("accept", "", {"p00": ("relabel", "positive"), "p01": ("relabel", "positive"), "p03": ("relabel", "positive")}),
    ("exclude", "", {key: ("exclude", "") for key in ("p00", "p01", "p02", "p03")}),
    ("relabel", "negative", {"p00": ("keep", "negative"), "p01": ("relabel", "negative"),
                             "p02": ("relabel", "negative"), "p03": ("keep", "negative")}),
])
def test_each_action_decides_about_the_whole_filter(scored, bob, action, value, found):
    bulk = decide_all(scored.project, FLAGGED, seen=look(scored).seen, action=action, value=value, reason="spring",
                      by=bob)
    assert verdicts(scored) == found
    assert (bulk.n_previewed, bulk.n_decided, bulk.n_changed) == (4, len(found), 0)
    assert set(Decision.objects.values_list("bulk", "decided_by", "report", "reason", "cause")) == {
        (bulk.pk, bob.pk, scored.report.pk, "spring", "")}
    event = AuditEvent.objects.get(what="decide_all")
    assert (event.detail["n"], event.detail["bulk"], bulk.query) == (len(found), bulk.pk, "view=flagged")


def test_more_than_a_page_is_decided(scored, bob):
    bulk = decide_all(scored.project, ALL, seen=look(scored, ALL).seen, action="keep", by=bob)
    assert bulk.n_decided == 24 and review_counts(scored.report).all == 0


def test_what_was_decided_meanwhile_stays_and_is_counted(scored, alice, bob):
    seen = look(scored).seen
    decide(scored.examples["p01"], verdict="discuss", reason="?", by=alice, report=scored.report)
    bulk = decide_all(scored.project, FLAGGED, seen=seen, action="exclude", by=bob)
    assert (bulk.n_decided, bulk.n_changed) == (3, 1)
    assert verdicts(scored)["p01"] == ("discuss", "")


def test_what_came_back_meanwhile_was_not_seen_and_is_left(scored, alice, bob):
    decide(scored.examples["p01"], verdict="exclude", by=alice, report=scored.report)
    seen = look(scored).seen
    assert seen.n == 3
    undo(scored.project, by=alice)  # undecided again, but nobody who pressed the button has seen it
    bulk = decide_all(scored.project, FLAGGED, seen=seen, action="keep", by=bob)
    assert bulk.n_decided == 3 and "p01" not in verdicts(scored)


def test_a_filter_that_holds_others_by_then_decides_nothing(scored, bob):
    mine = replace(ALL, annotator=scored.examples["p00"].annotations.get().annotator_id)
    seen = look(scored, mine).seen
    with pytest.raises(UserError, match="held 23 examples when you looked; now it holds 24"):
        decide_all(scored.project, mine, seen=replace(seen, n=23), action="keep", by=bob)
    with pytest.raises(UserError, match="or others"):
        decide_all(scored.project, mine, seen=replace(seen, total=seen.total - 1), action="keep", by=bob)
    assert not Decision.objects.exists()


def test_answers_that_came_since_do_not_widen_a_filter(scored, bob):
    jon = replace(ALL, annotator=scored.examples["p02"].annotations.get(annotator__name="jon").annotator_id)
    seen = look(scored, jon).seen
    assert seen.n == 2
    annotate(scored.examples["p09"], "jon", "neutral")
    assert decide_all(scored.project, jon, seen=seen, action="keep", by=bob).n_decided == 2
    assert "p09" not in verdicts(scored)


def test_a_new_report_asks_to_look_again(scored, alice, bob):
    seen = look(scored).seen
    new_report(scored.project, alice, scored.examples)
    with pytest.raises(UserError, match="scored anew since you looked"):
        decide_all(scored.project, FLAGGED, seen=seen, action="keep", by=bob)


def test_held_out_examples_are_never_decided_at_once(scored, bob):
    for split in ("dev", "test"):
        held_out = Filter(view="all", split=split)
        assert Queue(scored.report, held_out).rows.exists()
        with pytest.raises(UserError, match="Held-out examples"):
            look(scored, held_out)
        with pytest.raises(UserError, match="Held-out examples"):
            decide_all(scored.project, held_out, seen=look(scored).seen, action="exclude", by=bob)
    decide_all(scored.project, replace(ALL, state="any"), seen=look(scored, replace(ALL, state="any")).seen,
               action="exclude", by=bob)
    assert not Decision.objects.exclude(example__split="pool").exists()


@pytest.mark.parametrize(("action", "value", "says"), [
    ("relabel", "furious", "“furious” is not a label"), ("undo", "", "got “undo”"), ("discuss", "", "got “discuss”")])
def test_an_unusable_action_is_refused(scored, bob, action, value, says):
    with pytest.raises(UserError, match=says):
        decide_all(scored.project, FLAGGED, seen=look(scored).seen, action=action, value=value, by=bob)


def test_with_nothing_to_decide_nothing_is_written(scored, bob):
    agreed = Filter(view="all", label="positive", predicted="positive")
    with pytest.raises(UserError, match="none is left to decide"):
        decide_all(scored.project, agreed, seen=look(scored, agreed).seen, action="accept", by=bob)
    assert not BulkDecision.objects.exists()


def test_settled_examples_are_not_asked_about_any_more(scored, bob):
    batch = Batch.objects.create(project=scored.project, number=1, title="labels", created_by=bob)
    for key in ("p00", "p10"):
        BatchItem.objects.create(batch=batch, example=scored.examples[key], n_wanted=3, is_set_aside=True)
    decide_all(scored.project, FLAGGED, seen=look(scored).seen, action="keep", by=bob)
    assert BatchItem.objects.get(example=scored.examples["p00"]).is_set_aside is False
    assert BatchItem.objects.get(example=scored.examples["p10"]).is_set_aside is True


# Taken back

def test_undo_restores_what_counted_before(scored, bob):
    decide(scored.examples["p00"], verdict="relabel", value="neutral", reason="tone", by=bob, report=scored.report)
    everything = replace(FLAGGED, state="any")
    bulk = decide_all(scored.project, everything, seen=look(scored, everything).seen, action="exclude", by=bob)
    undone = undo_all(bulk, by=bob)
    assert (undone.n_decided, undone.n_changed) == (4, 0)
    assert verdicts(scored) == {"p00": ("relabel", "neutral")}
    restored = Decision.objects.current().get(example=scored.examples["p00"])
    assert restored.reason == "tone" and restored.undoes.bulk == bulk and restored.bulk == undone
    assert current_label(scored.examples["p01"], scored.report) == "neutral"
    assert review_counts(scored.report).flagged == 3


def test_undo_leaves_what_somebody_decided_since(scored, alice, bob):
    bulk = decide_all(scored.project, FLAGGED, seen=look(scored).seen, action="exclude", by=bob)
    decide(scored.examples["p00"], verdict="keep", by=alice, report=scored.report)
    undone = undo_all(bulk, by=bob)
    assert (undone.n_decided, undone.n_changed) == (3, 1)
    assert verdicts(scored) == {"p00": ("keep", "negative")}


def test_undo_is_once_and_not_for_an_undo(scored, bob):
    bulk = decide_all(scored.project, FLAGGED, seen=look(scored).seen, action="exclude", by=bob)
    undone = undo_all(bulk, by=bob)
    with pytest.raises(UserError, match="taken back already"):
        undo_all(bulk, by=bob)
    with pytest.raises(UserError, match="Decide anew"):
        undo_all(undone, by=bob)


def test_the_undo_of_one_decision_does_not_pick_at_many(scored, bob):
    decide(scored.examples["p10"], verdict="exclude", by=bob, report=scored.report)
    bulk = decide_all(scored.project, FLAGGED, seen=look(scored).seen, action="exclude", by=bob)
    with pytest.raises(UserError, match="about 4 examples at once"):
        undo(scored.project, by=bob)
    undo_all(bulk, by=bob)
    assert undo(scored.project, by=bob).example == scored.examples["p10"]


# Many: in a job

def test_many_are_decided_and_taken_back_in_a_job(scored, bob, run_jobs, monkeypatch):
    monkeypatch.setattr(bulk_decisions, "MAX_AT_ONCE", 3)
    job = decide_all(scored.project, FLAGGED, seen=look(scored).seen, action="exclude", by=bob)
    assert isinstance(job, Job) and not Decision.objects.exists()
    run_jobs()
    job.refresh_from_db()
    bulk = BulkDecision.objects.get()
    assert job.result == {"bulk": bulk.pk, "n_decided": 4, "n_changed": 0} and bulk.job == job
    undo_all(bulk, by=bob)
    run_jobs()
    assert verdicts(scored) == {} and BulkDecision.objects.get(action="undo").n_decided == 4


def test_a_job_that_finds_another_filter_says_so_and_writes_nothing(scored, bob, run_jobs, monkeypatch):
    monkeypatch.setattr(bulk_decisions, "MAX_AT_ONCE", 3)
    job = decide_all(scored.project, FLAGGED, seen=replace(look(scored).seen, total=1), action="exclude", by=bob)
    run_jobs()
    job.refresh_from_db()
    assert job.state == "failed" and "Look at them again" in job.error and not Decision.objects.exists()


def test_a_filter_takes_as_many_questions_for_many_as_for_few(scored, bob, django_assert_max_num_queries):
    seen = look(scored, ALL).seen
    with django_assert_max_num_queries(17):
        decide_all(scored.project, ALL, seen=seen, action="keep", by=bob)


# The page

def bulk_page(client, project, query="view=flagged"):
    return client.get(reverse("curation:bulk", args=[project.pk]) + f"?{query}").content.decode()


def test_the_page_shows_the_count_and_the_button_sends_what_was_seen(
        scored, bob, client_of, django_assert_max_num_queries):
    client = client_of(bob)
    with django_assert_max_num_queries(24):
        html = bulk_page(client, scored.project)
    assert "4 examples at once" in html and "Decide about 4 examples" in html
    assert "Accept the suggestion for the 3 that have another one" in html
    url = reverse("curation:bulk-decide", args=[scored.project.pk]) + "?view=flagged"
    html = client.post(url, {**asdict(look(scored).seen), "action": "accept", "reason": "sure"},
                       follow=True).content.decode()
    assert "3 examples relabelled as suggested. 1 had no suggestion." in html
    assert "No example is in this filter" not in html and "“sure”" in html and "1 example at once" in html
    undo_url = reverse("curation:bulk-undo", args=[BulkDecision.objects.get().pk])
    assert undo_url in html
    assert "3 examples taken back." in client.post(undo_url, follow=True).content.decode()


def test_an_empty_filter_offers_another(scored, bob, client_of):
    assert "No example is in this filter." in bulk_page(client_of(bob), scored.project, "view=all&q=zebra")


# The command

def command(*arguments):
    out = StringIO()
    call_command("decide_all", "Moods", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_the_command_counts_first_and_wants_the_count_back(scored, monkeypatch):
    assert command("--filter", "view=flagged&label=negative") == {"filter": "view=flagged&label=negative", "n": 2}
    wanted = ("--filter", "view=flagged&label=negative", "--action", "relabel", "--label", "neutral", "--by", "bob")
    with pytest.raises(CommandError, match="Say --n 2 if you mean all"):
        command(*wanted, "--n", "3")
    assert command(*wanted, "--n", "2")["n_decided"] == 2
    assert verdicts(scored) == {"p00": ("relabel", "neutral"), "p03": ("relabel", "neutral")}
    monkeypatch.setattr(bulk_decisions, "MAX_AT_ONCE", 1)  # in a job that the command runs itself
    assert command("--undo", "--by", "bob")["n_decided"] == 2 and verdicts(scored) == {}
    with pytest.raises(CommandError, match="no decision about many examples"):
        command("--undo", "--by", "bob")
