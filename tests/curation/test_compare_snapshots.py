"""Versions: what changed between two of them, going back to one, and where a row came from."""

import pytest
from django.urls import reverse

from curation.models import Snapshot
from curation.services.diffs import changes_since, differing
from curation.services.frozen import read_manifest, read_rows
from curation.services.review import decide
from curation.services.snapshots import start_freeze, start_roll_back
from goldpan.verification import problems
from projects.errors import UserError


@pytest.fixture
def versions(scored, bob, run_jobs):
    """Two snapshots: in the second p10 is positive, p13 is gone, p01 is new."""
    for verdicts in ((), (("p10", "relabel", "positive"), ("p13", "exclude", ""), ("p01", "keep", ""))):
        for key, verdict, value in verdicts:
            decide(scored.examples[key], verdict=verdict, value=value, by=bob, report=scored.report)
        start_freeze(scored.project, by=bob)
        run_jobs()
    second, first = Snapshot.objects.all()
    return first, second


def keys(rows):
    return [row.example.key for row in rows]


def test_two_snapshots_differ_in_rows_added_removed_and_relabelled(versions):
    first, second = versions
    changes = changes_since(second, first)
    assert (changes.n_added, changes.n_removed, changes.n_relabelled, changes.n_moved) == (1, 1, 1, 0)
    assert keys(differing(second, first, "added")) == ["p01"] and keys(differing(second, first, "removed")) == ["p13"]
    [row] = differing(second, first, "relabelled")
    assert (row.example.key, row.before, row.label) == ("p10", "neutral", "positive")
    assert changes_since(first, second).n_added == 1 and keys(differing(first, second, "added")) == ["p13"]


def test_the_page_shows_both_labels_and_leads_to_the_example(versions, scored, bob, client_of,
                                                             django_assert_max_num_queries):
    first, second = versions
    client, url = client_of(bob), reverse("curation:snapshot-changes", args=[second.pk])
    html = client.get(url, {"kind": "relabelled"}).content.decode()
    assert "1 row added, 1 removed, 1 relabelled, 0 moved" in html
    assert "<del>neutral</del>" in html and "<ins>positive</ins>" in html
    assert reverse("labeling:example", args=[scored.examples["p10"].pk]) in html
    with django_assert_max_num_queries(12):
        client.get(url, {"from": first.pk, "kind": "moved"})
    assert "there is nothing to compare it with" in client.get(
        reverse("curation:snapshot-changes", args=[first.pk])).content.decode()


def test_going_back_freezes_the_same_rows_as_the_newest_snapshot(versions, bob, client_of, run_jobs):
    first, second = versions
    client_of(bob).post(reverse("curation:snapshot-again", args=[first.pk]))
    run_jobs()
    third = Snapshot.objects.first()
    assert (third.number, third.parent, third.same_as) == (3, second, first)
    assert third.rows_sha256 == first.rows_sha256 and third.sha256 != first.sha256
    assert read_rows(third) == read_rows(first) and changes_since(third, first).n == 0
    assert read_manifest(third)["same_as"] == first.sha256
    assert list(third.rows.values_list("annotation_ids", "decision_id")) == list(
        first.rows.values_list("annotation_ids", "decision_id"))
    assert not third.is_approved and list(problems()) == []
    html = client_of(bob).get(reverse("curation:snapshot-detail", args=[third.pk])).content.decode()
    assert "snapshot 1</a> again" in html and "would be another one today" in html  # p10 and p13 were decided since


def test_there_is_nothing_to_go_back_to_in_the_newest(versions, bob):
    with pytest.raises(UserError, match="is the newest snapshot"):
        start_roll_back(versions[1], by=bob)


def test_a_row_leads_to_answers_decision_report_and_what_it_would_be_today(versions, scored, bob, client_of):
    first, second = versions
    row = second.rows.get(example=scored.examples["p10"])
    client = client_of(bob)
    html = client.get(reverse("curation:snapshot-row", args=[second.pk, row.position])).content.decode()
    assert "This is text p10." in html and row.row_sha256 in html and f"report {scored.report.pk}" in html
    assert f'<td class="num quiet" data-label="annotation">{row.annotation_ids[0]}</td>' in html and "mira" in html
    assert "counted" in html and f'<dd class="num">{row.decision_id}</dd>' in html
    old = first.rows.get(example=scored.examples["p10"])
    html = client.get(reverse("curation:snapshot-row", args=[first.pk, old.position])).content.decode()
    assert "It was frozen as “neutral”; today its label would be “positive”." in html
    assert client.get(reverse("curation:snapshot-row", args=[first.pk, 999])).status_code == 404
