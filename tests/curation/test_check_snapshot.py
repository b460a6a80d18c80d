"""Checks that must be green before a snapshot is approved, and who says in writing that one may be red."""

import pytest
from django.db import DatabaseError, transaction
from django.urls import reverse
from django.utils import timezone

from curation.models import CheckOverride, Snapshot, SnapshotCheck
from curation.services.approvals import approve_snapshot, judged_checks, override_check
from curation.services.review import decide
from curation.services.snapshots import start_freeze
from curation.services.staleness import changed_rows
from labeling.models import Example
from projects.errors import UserError
from projects.models import AuditEvent
from tests.curation.conftest import annotate, new_example


@pytest.fixture
def freeze(scored, bob, run_jobs):
    def now():
        start_freeze(scored.project, by=bob)
        run_jobs()
        return Snapshot.objects.first()

    return now


def red(snapshot):
    return {judged.check.name: judged.check for judged in judged_checks(snapshot) if not judged.is_green}


def approve(snapshot, by):
    return approve_snapshot(snapshot, sha256=snapshot.sha256, approver=by)


def post(client, name, snapshot, /, **data):
    return client.post(reverse(f"curation:snapshot-{name}", args=[snapshot.pk]), data, follow=True)


def add_pool_example(scored, key, text, label, **more):
    example = new_example(scored.project, key, "pool", text=text, **more)
    annotate(example, "mira", label)
    scored.report.scores.create(example=example, label=label, n_labels=1, label_quality=0.9, cluster=800 + example.pk,
                                cluster_size=1)
    type(scored.report).objects.filter(pk=scored.report.pk).update(created_at=timezone.now())
    return example


def test_an_e_mail_address_stops_the_approval_until_somebody_says_why_not(scored, freeze, alice, bob, client_of):
    add_pool_example(scored, "p90", "Write to jane.doe@example.com, please.", "neutral")
    snapshot = freeze()
    check = red(snapshot)["personal_data"]
    assert (check.n, "1 with an e-mail address, first p90." in check.found) == (1, True)
    with pytest.raises(UserError, match=r"1 check fails, so snapshot 1 is not approved.*e-mail"):
        approve(snapshot, alice)
    html = client_of(alice).get(reverse("curation:snapshot-detail", args=[snapshot.pk])).content.decode()
    assert "Override this check" in html and "Exclude them in review" in html and 'value="approved"' not in html
    html = client_of(bob).get(reverse("curation:snapshot-detail", args=[snapshot.pk])).content.decode()
    assert "Override this check" not in html
    said = post(client_of(alice), "override", snapshot, name="personal_data", n=1, reason="The address is made up.")
    assert "All 10 checks are green, 1 of them overridden." in said.content.decode()
    assert "The address is made up." in said.content.decode()
    assert AuditEvent.objects.get(what="override_check").detail["reason"] == "The address is made up."
    assert approve(snapshot, alice).decision == "approved"


@pytest.mark.parametrize(("name", "reason", "by", "words"), [
    ("staleness", "why not", "alice", "holds, so there is nothing to override"),
    ("personal_data", " ", "alice", "Write 1 to 2,000 characters"),
    ("personal_data", "why not", "bob", "Only an admin")])
def test_an_override_needs_a_red_check_a_reason_and_an_admin(scored, freeze, request, name, reason, by, words):
    add_pool_example(scored, "p90", "Call +49 170 1234567.", "neutral")
    with pytest.raises(UserError, match=words):
        override_check(freeze(), name=name, n=1, reason=reason, by=request.getfixturevalue(by))


def test_an_override_covers_what_was_seen_and_no_more(scored, freeze, alice, bob):
    snapshot = freeze()
    for key, label in (("p10", "positive"), ("p13", "negative")):
        decide(scored.examples[key], verdict="relabel", value=label, by=bob, report=scored.report)
    with pytest.raises(UserError, match="Your page showed 1 findings; by now there are 2"):
        override_check(snapshot, name="staleness", n=1, reason="It is one row.", by=alice)
    override_check(snapshot, name="staleness", n=2, reason="Two rows do no harm.", by=alice)
    assert red(snapshot) == {}
    decide(scored.examples["p16"], verdict="exclude", by=bob)
    assert red(snapshot)["staleness"].n == 3


def test_overrides_and_checks_are_never_changed(scored, freeze, alice):
    add_pool_example(scored, "p90", "Call +49 170 1234567.", "neutral")
    override = override_check(freeze(), name="personal_data", n=1, reason="It is nobody's.", by=alice)
    for rows, change in ((CheckOverride.objects.filter(pk=override.pk), {"reason": "other"}),
                         (SnapshotCheck.objects.all(), {"holds": True})):
        with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
            rows.update(**change)


def test_bytes_cannot_be_overridden(freeze, alice, settings):
    from projects.objects import object_path

    snapshot = freeze()
    object_path(settings.GOLDPAN_OBJECTS, snapshot.rows_sha256).unlink()
    with pytest.raises(UserError, match="cannot be overridden"):
        override_check(snapshot, name="bytes", n=1, reason="I trust it.", by=alice)
    with pytest.raises(UserError, match="Nobody can override that"):
        approve(snapshot, alice)


def test_equal_texts_with_other_labels_are_a_conflict_until_somebody_decides(scored, freeze, bob):
    same = scored.examples["p09"]
    add_pool_example(scored, "p91", same.text, "neutral", content_sha256=same.content_sha256)
    check = red(freeze())["conflicts"]
    assert check.n == 2 and "first p09, p91" in check.found
    decide(same, verdict="keep", by=bob, report=scored.report)
    decide(Example.objects.get(key="p91"), verdict="exclude", by=bob)
    assert "conflicts" not in red(freeze())


def test_labels_that_came_after_the_scoring_are_named(scored, freeze, bob):
    annotate(scored.examples["p09"], "kim", "negative")
    annotate(scored.examples["p12"], "kim", "negative")
    assert red(freeze())["scoring"].n == 2
    decide(scored.examples["p09"], verdict="keep", by=bob, report=scored.report)
    assert red(freeze())["scoring"].n == 1


def test_a_label_with_too_few_rows_is_named_with_their_number(scored, freeze, bob):
    for number in range(7, 23, 3):
        decide(scored.examples[f"p{number:02}"], verdict="exclude", by=bob)
    check = red(freeze())["balance"]
    assert check.n == 1 and "Fewer than 5 in train: “neutral” (1)." in check.found


# What has changed since

def test_a_new_answer_that_says_the_same_changes_nothing(scored, freeze):
    snapshot = freeze()
    annotate(scored.examples["p10"], "kim", "neutral")
    assert changed_rows(snapshot) == []


def test_changed_rows_say_what_would_count_today(scored, freeze, bob):
    snapshot = freeze()
    decide(scored.examples["p10"], verdict="relabel", value="positive", by=bob, report=scored.report)
    decide(scored.examples["p13"], verdict="exclude", by=bob)
    annotate(scored.examples["p16"], "mira", "negative")
    annotate(scored.examples["t0"], "mira", "neutral")  # two of three still say negative
    found = {row.key: (row.label, row.label_now) for row in changed_rows(snapshot)}
    assert found == {"p10": ("neutral", "positive"), "p13": ("neutral", ""), "p16": ("neutral", "negative")}
    newer = freeze()
    assert changed_rows(newer) == []


def test_a_decision_that_is_taken_back_changes_it_back(scored, freeze, bob):
    from curation.services.review import undo

    snapshot = freeze()
    decide(scored.examples["p10"], verdict="relabel", value="positive", by=bob, report=scored.report)
    undo(scored.project, by=bob)
    assert changed_rows(snapshot) == []


# Asking and talking

def test_bob_asks_and_alice_reads_it_at_home(freeze, alice, bob, client_of):
    snapshot = freeze()
    html = post(client_of(bob), "request", snapshot, note="Two new labels are in it.").content.decode()
    assert "bob asked for approval" in html
    post(client_of(bob), "request", snapshot)
    assert snapshot.request.note == "Two new labels are in it."
    html = client_of(alice).get(reverse("projects:detail", args=[snapshot.project_id])).content.decode()
    assert "waits for you" in html and "bob asked for approval" in html and "Two new labels are in it." in html


def test_a_refusal_says_what_has_to_change(freeze, alice, client_of):
    snapshot = freeze()
    html = post(client_of(alice), "approve", snapshot, sha256=snapshot.sha256, decision="refused").content.decode()
    assert "Say what has to change" in html
    post(client_of(alice), "approve", snapshot, sha256=snapshot.sha256, decision="refused", comment="Too few neutral.")
    assert snapshot.approval.comment == "Too few neutral."


def test_a_thread_only_grows(freeze, alice, bob, client_of):
    snapshot = freeze()
    post(client_of(bob), "comment", snapshot, text="Is <b>p10</b> right?")
    html = post(client_of(alice), "comment", snapshot, text="It is.").content.decode()
    assert html.index("Is &lt;b&gt;p10&lt;/b&gt; right?") < html.index("It is.")
    with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
        snapshot.comments.first().delete()
