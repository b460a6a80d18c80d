import pytest
from django.urls import reverse

from curation.models import Approval, Snapshot
from curation.services import snapshots
from curation.services.diffs import changes_since
from curation.services.gold_sets import gold_set_of
from curation.services.review import decide
from curation.services.snapshots import read_rows, start_freeze
from jobs.models import Job
from labeling.models import Annotation
from projects.errors import UserError

RULE = {"size": 12, "min_quality": 0.1, "min_per_label": 2, "seed": 3}


def freeze(client, project, **rule):
    return client.post(reverse("curation:freeze", args=[project.pk]), rule)


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_freeze(scored, request, client_of, run_jobs, who, status):
    user = request.getfixturevalue(who)
    assert freeze(client_of(user), scored.project, **RULE).status_code == status
    run_jobs()
    assert [snapshot.created_by for snapshot in Snapshot.objects.all()] == ([user] if status == 302 else [])


def test_the_rule_on_the_page_is_the_rule_that_is_frozen(scored, bob, client_of, run_jobs):
    response = freeze(client_of(bob), scored.project, **RULE)
    assert response.headers["Location"] == reverse("curation:snapshot-list", args=[scored.project.pk])
    run_jobs()
    snapshot = Snapshot.objects.get()
    assert snapshot.rule == {**RULE, "allow_flagged": False, "method": "spread", "uncertain_share": 0.1,
                             "audit_share": 0.05, "favoured_share": 0.0, "favoured_batches": []}
    assert gold_set_of(scored.project).size == 12
    assert (snapshot.counts["train"], snapshot.counts["dev"], snapshot.counts["test"]) == (12, 6, 9)
    assert sum(snapshot.counts["labels"]["train"].values()) == 12
    assert snapshot.counts["left_out"]["train"]["duplicate of a dev or test example"] == 1


def test_without_a_rule_the_stored_one_is_frozen(scored, bob, client_of, run_jobs):
    freeze(client_of(bob), scored.project)
    run_jobs()
    assert Snapshot.objects.get().rule["size"] == 500


def test_an_impossible_rule_freezes_nothing(scored, bob, client_of):
    response = freeze(client_of(bob), scored.project, **{**RULE, "min_quality": 7})
    assert response.status_code == 422 and "The quality is between 0 and 1." in response.content.decode()
    assert not Job.objects.filter(kind="freeze").exists()


def test_a_running_freeze_is_shown_on_the_list(scored, bob, client_of):
    freeze(client_of(bob), scored.project, **RULE)
    html = client_of(bob).get(reverse("curation:snapshot-list", args=[scored.project.pk])).content.decode()
    assert "Freezing 12 gold rows" in html and "data-reload-on-finish" in html and "No snapshot yet" not in html


def test_held_out_examples_without_labels_stop_the_freeze_in_words(scored, bob, client_of, run_jobs):
    for annotation in list(Annotation.objects.filter(example__split="dev", annotator__name="kim")):
        Annotation.objects.create(example=annotation.example, annotator=annotation.annotator, retracted=True,
                                  source="file", instructions_version=1, created_at=annotation.created_at)
    client = client_of(bob)
    freeze(client, scored.project, **RULE)
    run_jobs()
    html = client.get(reverse("curation:snapshot-list", args=[scored.project.pk])).content.decode()
    assert "No dev example has 3 labels with a majority." in html and not Snapshot.objects.exists()


def test_rows_keep_their_lineage(scored, bob, run_jobs):
    decision = decide(scored.examples["p00"], verdict="relabel", value="positive", by=bob, report=scored.report)
    start_freeze(scored.project, by=bob)
    run_jobs()
    snapshot = Snapshot.objects.get()
    row = snapshot.rows.get(example=scored.examples["p00"])
    assert (row.label, row.split, row.decision) == ("positive", "train", decision)
    assert len(snapshot.rows.get(example=scored.examples["t3"]).annotation_ids) == 3
    assert {frozen.split for frozen in read_rows(snapshot)} == {"train", "dev", "test"}


def test_rows_are_read_a_chunk_at_a_time_and_come_in_the_order_of_split_and_key(scored, bob, run_jobs, monkeypatch):
    start_freeze(scored.project, by=bob)
    run_jobs()
    monkeypatch.setattr(snapshots, "CHUNK", 4)
    start_freeze(scored.project, by=bob)
    run_jobs()
    cut, whole = Snapshot.objects.all()
    rows = read_rows(cut)
    assert cut.rows_sha256 == whole.rows_sha256 and len(rows) > 8
    assert [(row.split, row.key) for row in rows] == sorted((row.split, row.key) for row in rows)
    assert [row.annotation_ids for row in cut.rows.all()] == [row.annotation_ids for row in whole.rows.all()]


def test_a_second_snapshot_names_its_parent_and_what_changed(scored, bob, run_jobs):
    for verdict, value in (("keep", ""), ("relabel", "positive")):
        decide(scored.examples["p00"], verdict=verdict, value=value, by=bob, report=scored.report)
        if verdict == "relabel":
            decide(scored.examples["p23"], verdict="exclude", by=bob)
            decide(scored.examples["p01"], verdict="keep", by=bob, report=scored.report)
        start_freeze(scored.project, by=bob)
        run_jobs()
    second, first = Snapshot.objects.all()
    changes = changes_since(second, first)
    assert second.parent == first and second.number == 2
    assert (changes.n_added, changes.n_removed, changes.n_relabelled) == (1, 1, 1)


def test_an_empty_gold_set_is_refused(scored, bob, client_of):
    with pytest.raises(UserError, match="The gold set is empty"):
        gold_set = gold_set_of(scored.project)
        gold_set.min_quality = 1.0
        gold_set.save()
        start_freeze(scored.project, by=bob)


def test_the_list_says_the_state_of_each_snapshot(scored, alice, bob, client_of, run_jobs):
    url = reverse("curation:snapshot-list", args=[scored.project.pk])
    assert "No snapshot yet" in client_of(bob).get(url).content.decode()
    for _ in range(2):
        start_freeze(scored.project, by=bob)
        run_jobs()
    snapshot = Snapshot.objects.get(number=1)
    Approval.objects.create(snapshot=snapshot, sha256=snapshot.sha256, decision="refused", approver=alice,
                            created_by=bob)
    html = client_of(bob).get(url).content.decode()
    assert "waits for approval" in html and "refused</span>" in html and "by alice" in html


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_see_snapshots(scored, bob, request, client_of, run_jobs, who, status):
    start_freeze(scored.project, by=bob)
    run_jobs()
    client = client_of(request.getfixturevalue(who))
    for url in (reverse("curation:snapshot-list", args=[scored.project.pk]),
                reverse("curation:snapshot-detail", args=[Snapshot.objects.get().pk])):
        assert client.get(url).status_code == status
