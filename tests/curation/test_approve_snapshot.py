import pytest
from django.conf import settings as django_settings
from django.urls import reverse

from curation.models import Approval, Snapshot, SnapshotRow
from curation.services.checks import check_rows, check_snapshot, rows_of
from curation.services.snapshots import approve_snapshot, require_approved, start_freeze
from projects.errors import UserError
from projects.models import AuditEvent, Notice
from projects.objects import object_path


@pytest.fixture
def snapshot(scored, bob, run_jobs):
    start_freeze(scored.project, by=bob)
    run_jobs()
    return Snapshot.objects.get()


def approve(client, snapshot, **changes):
    answer = {"sha256": snapshot.sha256, "decision": "approved", "comment": "Read all of it.", **changes}
    return client.post(reverse("curation:snapshot-approve", args=[snapshot.pk]), answer, follow=True)


def detail(client, snapshot, **query):
    return client.get(reverse("curation:snapshot-detail", args=[snapshot.pk]), query)


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_an_admin_of_the_project_approves(snapshot, request, client_of, who, status):
    assert approve(client_of(request.getfixturevalue(who)), snapshot).status_code == status
    assert snapshot.is_approved == (status == 200)


def test_the_page_of_the_approver_carries_the_hash_it_shows(snapshot, alice, client_of):
    html = detail(client_of(alice), snapshot).content.decode()
    assert f'name="sha256" value="{snapshot.sha256}"' in html and "waits for approval." in html
    assert approve(client_of(alice), snapshot).context["approval"].comment == "Read all of it."
    html = detail(client_of(alice), snapshot).content.decode()
    assert "approved exactly these bytes" in html and "Read all of it." in html and "Prompt and training" in html
    assert AuditEvent.objects.filter(what="approve_snapshot").count() == 1
    notice = Notice.objects.get(event="snapshot.approved")
    assert [item.user.username for item in notice.items.all()] == ["bob"] and notice.text == "Read all of it."


def test_another_hash_than_the_snapshot_has_is_refused(snapshot, alice, client_of):
    response = approve(client_of(alice), snapshot, sha256="0" * 64)
    assert "The snapshot on your page is not this one" in response.content.decode()
    assert not Approval.objects.exists()


def test_who_cannot_approve_reads_why(snapshot, alice, bob, client_of, run_jobs):
    assert "Only an admin of “Moods” approves its snapshots." in detail(client_of(bob), snapshot).content.decode()
    start_freeze(snapshot.project, by=alice)
    run_jobs()
    own = Snapshot.objects.get(number=2)
    html = detail(client_of(alice), own).content.decode()
    assert "You made this snapshot, so somebody else has to approve it." in html and 'name="sha256"' not in html
    with pytest.raises(UserError, match="You made this snapshot"):
        approve_snapshot(own, sha256=own.sha256, approver=alice)


def test_single_user_mode_lets_the_maker_approve_and_says_so(scored, alice, client_of, run_jobs, settings):
    settings.GOLDPAN_SINGLE_USER = True
    start_freeze(scored.project, by=alice)
    run_jobs()
    own = Snapshot.objects.get()
    assert "Single-user mode" in detail(client_of(alice), own).content.decode()
    html = approve(client_of(alice), own).content.decode()
    assert "Nobody else has looked." in html and Approval.objects.get().self_approved


def test_the_first_decision_stands(snapshot, alice, client_of):
    approve(client_of(alice), snapshot, decision="refused", comment="Too few neutral rows.")
    response = approve(client_of(alice), snapshot)
    assert "has decided on this snapshot already" in response.content.decode()
    assert Approval.objects.get().decision == "refused"
    with pytest.raises(UserError, match="not approved"):
        require_approved(snapshot)


def test_changed_bytes_cannot_be_approved(snapshot, alice, client_of):
    file = object_path(django_settings.GOLDPAN_OBJECTS, snapshot.rows_sha256)
    file.write_bytes(file.read_bytes() + b"{}\n")
    assert "has changed on the disk" in approve(client_of(alice), snapshot).content.decode()
    assert not Approval.objects.exists()
    html = detail(client_of(alice), snapshot).content.decode()
    assert "1 of 10 checks fails" in html and "Approving needs green checks." in html


def test_a_missing_manifest_leaves_a_page_that_says_so(snapshot, alice, client_of):
    object_path(django_settings.GOLDPAN_OBJECTS, snapshot.sha256).unlink()
    html = detail(client_of(alice), snapshot).content.decode()
    assert "is missing" in html and "Lineage file" not in html


def failing(snapshot):
    return {check.name for check in check_snapshot(snapshot) if not check.holds}


def test_every_check_holds_for_what_was_frozen(snapshot):
    assert failing(snapshot) == set() and len(check_snapshot(snapshot)) == 10


@pytest.mark.parametrize(("key", "split", "label", "fails"), [
    ("p08", "train", "positive", {"leaks"}),  # repeats a test example
    ("p00", "test", "negative", {"blind_labels"}),  # one label only
    ("p00", "train", "furious", {"labels"}),  # no label of the project
])
def test_each_check_of_the_rows_can_fail(snapshot, scored, key, split, label, fails):
    SnapshotRow.objects.create(snapshot=snapshot, example=scored.examples[key], split=split, position=999, label=label,
                               annotation_ids=[], row_sha256="0" * 64)
    found = check_rows(snapshot.project, snapshot.report, rows_of(snapshot))
    assert {check.name for check in found if not check.holds} == fails
    assert failing(snapshot) == {"bytes"}  # what was found at the freeze stands; the file does not have this row


def test_a_group_in_two_splits_fails_its_check(scored, bob, run_jobs):
    type(scored.examples["p20"]).objects.filter(pk=scored.examples["p20"].pk).update(group="t0")
    start_freeze(scored.project, by=bob)
    run_jobs()
    assert failing(Snapshot.objects.get()) == {"groups"}


def test_a_label_without_rows_fails_its_check(snapshot):
    labels = [*snapshot.project.schema["labels"], {"name": "mixed", "description": ""}]
    type(snapshot.project).objects.filter(pk=snapshot.project.pk).update(schema={"labels": labels})
    snapshot = Snapshot.objects.get()
    check = next(check for check in check_rows(snapshot.project, snapshot.report, rows_of(snapshot))
                 if check.name == "balance")
    assert not check.holds and check.n == 2 and "No row of “mixed” in train, “mixed” in test." in check.found


def test_rows_come_in_pages_with_their_lineage(snapshot, scored, alice, client_of):
    html = detail(client_of(alice), snapshot, split="test").content.decode()
    assert "This is text t0." in html and "This is text p10." not in html
    ids = snapshot.rows.get(example=scored.examples["t0"]).annotation_ids
    assert ", ".join(map(str, ids)) in html


def test_the_page_asks_as_many_questions_for_many_rows_as_for_few(
        snapshot, alice, client_of, django_assert_max_num_queries):
    client = client_of(alice)
    detail(client, snapshot)
    with django_assert_max_num_queries(34):
        detail(client, snapshot)
