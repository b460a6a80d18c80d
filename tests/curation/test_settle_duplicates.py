"""The page of duplicates: what a curator sees first, what each action writes, and that all of it can be taken back."""

import json

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from curation.models import (
    Decision,
    DuplicateAction,
    DuplicateCluster,
    DuplicateMember,
    PairJudgement,
    PairToJudge,
    QualityReport,
)
from curation.services.duplicate_search import current_threshold, members_sha256
from curation.services.duplicates import Wanted, cluster_queue, duplicate_counts, preview_keep_one
from curation.services.scoring import latest_report
from jobs.models import Job
from labeling.texts import content_sha256
from projects.models import AuditEvent
from tests.curation.conftest import annotate, new_example, new_job, new_report

ROWS = {"leak": ("t0", "p08"), "conflict": ("p03", "p04", "p09"), "repeat": ("p06", "p12"), "copy": ("p15", "p18")}


@pytest.fixture
def grouped(scored):
    """Four groups: test t0 repeats p08; p03, p09 (negative) and p04 (neutral) differ; p06 and p12, p15 and p18 (both
    negative) only repeat each other, the last two letter by letter."""
    found = {}
    for place, (name, keys) in enumerate(ROWS.items()):
        what = {"leak": "leak", "conflict": "conflict"}.get(name, "other")
        kind, similarity = ("exact", 1.0) if name == "copy" else ("semantic", 0.96 + place / 100)
        cluster = found[name] = DuplicateCluster.objects.create(
            report=scored.report, place=place, what=what, kind=kind, centre=scored.examples[keys[0]], size=len(keys),
            n_held_out=name == "leak", n_to_exclude=1 if name == "leak" else len(keys) - 1, similarity=similarity,
            n_labels=2 if name == "conflict" else 1, urgency=0,
            members_sha256=members_sha256([scored.examples[key].pk for key in keys]))
        DuplicateMember.objects.bulk_create(DuplicateMember(
            cluster=cluster, example=scored.examples[key], kind=kind, similarity=1 if key == keys[0] else similarity)
            for key in keys)
    return found


@pytest.fixture
def to_judge(scored):
    keys = sorted(key for key in scored.examples if key[0] == "p")
    return PairToJudge.objects.bulk_create(PairToJudge(
        report=scored.report, place=place, example_a=scored.examples[keys[0]], example_b=scored.examples[key],
        similarity=0.99 - place / 100) for place, key in enumerate(keys[1:4]))


def url(project, name="duplicates"):
    return reverse(f"curation:{name}", args=[project.pk])


def settle(client, cluster, **posted):
    return client.post(url(cluster.report.project, "duplicates-settle"), {"cluster": cluster.pk, **posted}, follow=True)


def verdicts(scored, *keys):
    current = {d.example.key: (d.verdict, d.value) for d in Decision.objects.current().select_related("example")}
    return [current.get(key) for key in keys]


# What is shown

def test_leaks_come_first_then_conflicts_then_the_rest(grouped, scored, bob, client_of):
    client = client_of(bob)
    html = client.get(url(scored.project)).content.decode()
    assert "1 group of duplicates reaches from training into held-out texts." in html and "in two splits</span>" in html
    assert "This is text <del>t0</del><ins>p08</ins>." in html and "held out" in html
    order = [cluster.what for cluster in cluster_queue(scored.report, Wanted())]
    assert order == ["leak", "conflict", "other", "other"]


def test_the_filter_stands_in_the_address(grouped, scored, bob, client_of):
    client = client_of(bob)
    response = client.get(url(scored.project), {"what": "other", "kind": "exact"})
    assert response.context["item"].cluster == grouped["copy"]
    assert response.context["counts"].what == {"leak": 1, "conflict": 1, "other": 2}
    response = client.get(url(scored.project), {"lowest": "0.965", "highest": "0.975"})
    assert response.context["item"].cluster == grouped["conflict"] and "Show any" in response.content.decode()
    assert client.get(url(scored.project), {"lowest": "much", "what": "?"}).context["item"].cluster == grouped["leak"]
    assert "No group is left in this view." in client.get(url(scored.project), {"lowest": "1", "what": "leak"}
                                                           ).content.decode()


def test_held_out_labels_are_not_shown(grouped, scored, bob, client_of):
    item = client_of(bob).get(url(scored.project), {"at": grouped["leak"].pk}).context["item"]
    assert [(member.example.key, member.label) for member in item.members] == [("t0", ""), ("p08", "positive")]


def test_the_quality_page_leads_here(scored, bob, client_of):
    assert url(scored.project) in client_of(bob).get(reverse("curation:quality", args=[scored.project.pk])
                                                     ).content.decode()


def test_without_a_report_or_groups_the_page_offers_the_next_step(project, alice, bob, client_of):
    client = client_of(bob)
    assert reverse("labeling:import", args=[project.pk]) in client.get(url(project)).content.decode()
    new_example(project, "p00", "pool")
    assert "Score the labels" in client.get(url(project)).content.decode()
    assert "There are no pairs yet" in client.get(url(project, "pairs")).content.decode()
    report = QualityReport.objects.create(
        project=project, job=new_job(project, alice, "score"), encoder="hashing", n_examples=1, n_scored=0, n_issues=0,
        n_clusters=0, n_crossing=0, duplicate_threshold=0.95)
    assert "Score again to see them." in client.get(url(project)).content.decode()  # it is of an earlier version
    Job.objects.filter(pk=report.job_id).update(result={"duplicates": {"n_pairs": 0}})
    assert "No text repeats another." in client.get(url(project)).content.decode()
    assert "There are no pairs to judge." in client.get(url(project, "pairs")).content.decode()


@pytest.mark.parametrize("name", ["duplicates", "keep-one", "pairs"])
def test_the_pages_ask_few_questions(grouped, to_judge, scored, bob, client_of, django_assert_max_num_queries, name):
    client = client_of(bob)
    client.get(url(scored.project, name))
    with django_assert_max_num_queries(21 if name == "duplicates" else 14):
        client.get(url(scored.project, name))


# What is done

def test_keep_one_leaves_the_others_out(grouped, scored, bob, client_of):
    client = client_of(bob)
    page = settle(client, grouped["repeat"], verdict="keep_one", kept=scored.examples["p12"].pk).content.decode()
    assert "Kept one, left out 1." in page
    assert verdicts(scored, "p06", "p12") == [("exclude", ""), None]
    event = AuditEvent.objects.last()
    assert event.what == "settle_duplicates" and event.detail["verdict"] == "keep_one"
    assert duplicate_counts(scored.report).n_settled == 1


def test_of_two_splits_the_pool_gives_way(grouped, scored, bob, client_of):
    response = settle(client_of(bob), grouped["leak"], verdict="keep_one", kept=scored.examples["p08"].pk)
    assert response.status_code == 400 and "held out for test" in response.content.decode()
    settle(client_of(bob), grouped["leak"], verdict="keep_one")
    assert verdicts(scored, "t0", "p08") == [None, ("exclude", "")]


def test_merge_gives_all_the_same_label(grouped, scored, bob, client_of):
    client = client_of(bob)
    assert settle(client, grouped["conflict"], label="grim").status_code == 400
    settle(client, grouped["conflict"], label="negative")
    assert verdicts(scored, "p03", "p04", "p09") == [("keep", "negative"), ("relabel", "negative"),
                                                     ("keep", "negative")]


def test_keep_all_writes_no_decision_and_settles_the_group(grouped, scored, bob, client_of):
    settle(client_of(bob), grouped["repeat"], verdict="keep_all")
    assert not Decision.objects.exists() and DuplicateAction.objects.get().verdict == "keep_all"
    assert grouped["repeat"] not in cluster_queue(scored.report, Wanted())


def test_many_are_not_called_different_at_once(grouped, scored, bob, client_of):
    DuplicateCluster.objects.filter(pk=grouped["repeat"].pk).update(size=51)
    assert "at most 50" in settle(client_of(bob), grouped["repeat"], verdict="keep_all").content.decode()


def test_the_first_of_two_curators_wins(grouped, scored, alice, bob, client_of):
    settle(client_of(bob), grouped["repeat"], verdict="keep_all")
    response = settle(client_of(alice), grouped["repeat"], verdict="keep_one")
    assert response.status_code == 400 and "bob has settled this group already" in response.content.decode()


def test_a_group_of_an_older_report_is_refused(grouped, scored, alice, bob, client_of):
    new_report(scored.project, alice, scored.examples)
    response = settle(client_of(bob), grouped["repeat"], verdict="keep_all")
    assert response.status_code == 400 and "scored anew" in response.content.decode()


def test_undo_takes_the_whole_action_back(grouped, scored, bob, client_of):
    client = client_of(bob)
    Decision.objects.create(example=scored.examples["p04"], verdict="relabel", value="positive", decided_by=bob)
    settle(client, grouped["conflict"], label="negative")
    page = client.post(url(scored.project, "duplicates-undo"), follow=True).content.decode()
    assert "Taken back." in page
    assert verdicts(scored, "p03", "p04", "p09") == [("open", ""), ("relabel", "positive"), ("open", "")]
    assert cluster_queue(scored.report, Wanted()).count() == 4
    assert client.post(url(scored.project, "duplicates-undo")).status_code == 400  # nothing is left to take back
    settle(client, grouped["conflict"], verdict="keep_all")  # and the group can be settled anew
    assert DuplicateAction.objects.standing().get().verdict == "keep_all"


def test_undo_leaves_what_somebody_has_decided_since(grouped, scored, alice, bob, client_of):
    settle(client_of(bob), grouped["conflict"], label="negative")
    Decision.objects.create(example=scored.examples["p04"], verdict="exclude", decided_by=alice)
    client_of(bob).post(url(scored.project, "duplicates-undo"))
    assert verdicts(scored, "p03", "p04") == [("open", ""), ("exclude", "")]


def test_htmx_gets_the_next_group_with_an_undo(grouped, scored, bob, client_of):
    response = client_of(bob).post(url(scored.project, "duplicates-settle"), {
        "cluster": grouped["leak"].pk, "verdict": "keep_one"}, headers={"HX-Request": "true"})
    html = response.content.decode()
    assert response.context["item"].cluster == grouped["conflict"] and "<html" not in html and 'class="note"' in html
    assert response.headers["HX-Push-Url"].endswith(f"?at={grouped['conflict'].pk}")


# Many at once

def test_many_at_once_shows_the_number_first_and_can_be_taken_back(grouped, scored, bob, client_of, run_jobs):
    client = client_of(bob)
    assert "leaves out 1 example of 1 group." in client.get(url(scored.project, "keep-one")).content.decode()
    page = client.get(url(scored.project, "keep-one"), {"lowest": "0.9", "kind": ""})
    assert (page.context["bulk"].n_clusters, page.context["bulk"].n_examples) == (3, 3)  # not the one that disagrees
    client.post(url(scored.project, "keep-one"), {"lowest": "0.9", "kind": "", "n_seen": 3})
    run_jobs()
    assert Job.objects.get(kind="keep_one").result == {"n_clusters": 3, "n_examples": 3}
    assert verdicts(scored, "p08", "p12", "p18", "p04") == [("exclude", "")] * 3 + [None]
    assert [cluster.what for cluster in cluster_queue(scored.report, Wanted())] == ["conflict"]
    assert "for 3 groups" in client.post(url(scored.project, "duplicates-undo"), follow=True).content.decode()
    assert verdicts(scored, "p08", "p12", "p18") == [("open", "")] * 3
    assert preview_keep_one(scored.report, lowest=0.9).n_clusters == 3


def test_a_preview_that_is_out_of_date_is_refused(grouped, scored, bob, client_of):
    response = client_of(bob).post(url(scored.project, "keep-one"), {"lowest": "0.9", "kind": "", "n_seen": 7})
    assert response.status_code == 400 and "There are 3 such groups now" in response.content.decode()
    assert not Job.objects.filter(kind="keep_one").exists()


def test_an_example_that_was_left_out_since_is_not_the_one_kept(grouped, scored, bob, client_of):
    Decision.objects.create(example=scored.examples["p06"], verdict="exclude", decided_by=bob)
    settle(client_of(bob), grouped["repeat"], verdict="keep_one")
    assert verdicts(scored, "p12") == [None]


# Pairs to judge

def test_pairs_are_judged_one_after_the_other_without_showing_the_similarity(to_judge, scored, bob, client_of):
    client, judge = client_of(bob), url(scored.project, "pairs-judge")
    html = client.get(url(scored.project, "pairs")).content.decode()
    assert "This is text p01." in html and "0.99" not in html and "0 of at least 60 pairs are judged" in html
    client.post(judge, {"pair": to_judge[0].pk, "answer": "same"})
    client.post(judge, {"pair": to_judge[1].pk, "answer": "different"})
    assert [(one.answer, one.similarity, one.encoder) for one in PairJudgement.objects.all()] == [
        ("same", 0.99, "hashing"), ("different", 0.98, "hashing")]
    page = client.get(url(scored.project, "pairs"))
    assert page.context["item"].pair == to_judge[2] and page.context["item"].n_judged == 2
    assert client.post(judge, {"pair": to_judge[1].pk, "answer": "same"}).status_code == 400
    client.post(judge, {"answer": "undo"})
    assert [pair.pk for pair in PairJudgement.objects.current()] == [PairJudgement.objects.first().pk]
    assert client.get(url(scored.project, "pairs")).context["item"].pair == to_judge[1]


def test_judgements_and_actions_are_never_changed(grouped, to_judge, scored, bob, client_of):
    settle(client_of(bob), grouped["repeat"], verdict="keep_all")
    client_of(bob).post(url(scored.project, "pairs-judge"), {"pair": to_judge[0].pk, "answer": "same"})
    for model in (DuplicateAction, PairJudgement):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            model.objects.update(created_at=None)


# From scoring

def test_scoring_finds_the_groups_and_heeds_what_people_said(project, bob, client_of, run_jobs):
    texts = {"p00": ("pool", "Please send me the bill for May, I have lost it.", "neutral"),
             "p01": ("pool", "please send me the  bill for May, I have lost it.", "negative"),
             "p02": ("pool", "Please send me the bill for May, I have lost it!", "neutral"),
             "p03": ("pool", "The parcel never came to my door.", "negative"),
             "t00": ("test", "The parcel never came to my door!", "negative"),
             "p04": ("pool", "Something else altogether, about a horse.", "positive"),
             "p05": ("pool", "Quite another matter: where is the key?", "positive"),
             "p06": ("pool", "Quite another matter: where is the key now?", "positive")}
    examples = {key: new_example(project, key, split, text=text, content_sha256=content_sha256(text))
                for key, (split, text, _) in texts.items()}
    for key, example in examples.items():
        annotate(example, "mira", texts[key][2])
    client = client_of(bob)

    def score():
        client.post(reverse("curation:score", args=[project.pk]))
        run_jobs()
        report = latest_report(project)
        return report, [(cluster.what, [member.example.key for member in cluster.members.order_by("example__key")])
                        for cluster in report.duplicate_clusters.all()]

    report, found = score()
    assert found == [("leak", ["p03", "t00"]), ("conflict", ["p00", "p01", "p02"]), ("other", ["p05", "p06"])]
    conflict = report.duplicate_clusters.get(what="conflict")
    assert conflict.urgency == pytest.approx(3 * 0.918296, abs=1e-4) and conflict.kind == "lexical"
    assert report.duplicate_threshold == 0.95 and "0 of at least 60" in report.job.result["duplicates"]["why"]
    cluster_of = dict(report.scores.values_list("example__key", "cluster"))
    assert cluster_of["p05"] == cluster_of["p06"] != cluster_of["p04"]
    settle(client, report.duplicate_clusters.get(what="other"), verdict="keep_all")
    settle(client, conflict, label="neutral")
    report, found = score()
    assert found == [("leak", ["p03", "t00"]), ("other", ["p00", "p01", "p02"])]
    assert duplicate_counts(report).n_settled == 1  # the group is known again, and nobody is asked twice
    cluster_of = dict(report.scores.values_list("example__key", "cluster"))
    assert cluster_of["p05"] != cluster_of["p06"] and cluster_of["p00"] == cluster_of["p02"]
    client.post(url(project, "duplicates-undo"))
    assert duplicate_counts(report).n_settled == 0
    settle(client, report.duplicate_clusters.get(what="leak"), verdict="keep_one")
    assert score()[1] == [("conflict", ["p00", "p01", "p02"])]


def test_enough_judgements_set_the_threshold_of_the_next_scoring(scored, bob, client_of, run_jobs):
    keys = sorted(scored.examples)
    pairs = [(scored.examples[a].pk, scored.examples[b].pk) for a in keys for b in keys]
    ordered = sorted((min(pair), max(pair)) for pair in pairs if pair[0] < pair[1])[:120]
    PairJudgement.objects.bulk_create(PairJudgement(
        project=scored.project, example_a_id=a, example_b_id=b, similarity=0.7 + 0.3 * number / 120,
        encoder="hashing 3-grams", answer="same" if number >= 30 else "different", judged_by=bob)
        for number, (a, b) in enumerate(ordered))
    threshold = current_threshold(scored.project, scored.report)
    assert threshold.is_calibrated and 0.75 <= threshold.value <= 0.85
    client_of(bob).post(reverse("curation:score", args=[scored.project.pk]))
    run_jobs()
    report = latest_report(scored.project)
    assert report.duplicate_threshold == pytest.approx(threshold.value)
    assert "120 pairs judged" in report.job.result["duplicates"]["why"]
    assert "120 pairs judged" in client_of(bob).get(url(scored.project)).content.decode()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan is SQLite's")
def test_the_queue_follows_its_index(grouped, scored):
    plan = json.dumps(cluster_queue(scored.report, Wanted()).explain())
    assert "one_duplicate_cluster_per_report_and_place" in plan or "USING INDEX" in plan
    assert "TEMP B-TREE" not in plan


def test_a_greeting_a_reference_number_and_a_misspelling_do_not_hide_a_copy(project, bob, client_of, run_jobs):
    for key, split, text in (("p00", "pool", "Why was my card declined?"), ("p01", "pool", "Where can I buy a horse?"),
                             ("t00", "test", "Hello, why was my card delcined? My reference is 48213.")):
        annotate(new_example(project, key, split, text=text, content_sha256=content_sha256(text)), "mira", "neutral")
    client_of(bob).post(reverse("curation:score", args=[project.pk]))
    run_jobs()
    report = latest_report(project)
    cluster = report.duplicate_clusters.get()
    assert (cluster.what, cluster.kind) == ("leak", "lexical")
    assert sorted(member.example.key for member in cluster.members.all()) == ["p00", "t00"]
    assert report.job.result["duplicates"]["n_wordings"] == 1
