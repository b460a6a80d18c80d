import json
from dataclasses import replace

import pytest
from django.urls import reverse

from curation.models import GoldPick, GoldSet, Snapshot
from curation.selection import GoldRule, LeftOut
from curation.services import gold_sets
from curation.services.gold_sets import count_quickly, gold_set_of, look, picks_of, preview, read_picks, rule_of
from curation.services.review import decide
from curation.services.snapshots import held_out, read_manifest, start_freeze
from jobs.models import Job
from labeling.models import Batch, BatchItem
from projects.errors import UserError
from projects.models import AuditEvent
from tests.curation.conftest import annotate, new_example

RULE = {"size": 10, "min_quality": 0.2, "min_per_label": 2, "seed": 7}
EVERYTHING = GoldRule(size=100, seed=0, min_quality=0.0, min_per_label=0)


def url(project, name="gold-set"):
    return reverse(f"curation:{name}", args=[project.pk])


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_change_the_rule(scored, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert client.get(url(scored.project)).status_code == (200 if status == 302 else status)
    assert client.post(url(scored.project), RULE).status_code == status
    assert GoldSet.objects.filter(size=10, seed=7).exists() == (status == 302)
    assert AuditEvent.objects.filter(what="save_gold_rule").exists() == (status == 302)


def test_the_preview_shows_a_rule_without_saving_it(scored, bob, client_of):
    response = client_of(bob).get(url(scored.project, "gold-set-preview"), {**RULE, "allow_flagged": "on"})
    html = response.content.decode()
    assert '<b class="num">10</b> of 24 labelled examples' in html and "<html" not in html
    assert 'id="gold-left-out" hx-swap-oob="true"' in html
    assert gold_set_of(scored.project).size == 500 and not AuditEvent.objects.filter(what="save_gold_rule").exists()


@pytest.mark.parametrize("who", ["charlie", "dora"])
def test_others_see_no_preview(scored, request, client_of, who):
    for name in ("gold-set-preview", "gold-set-held-out"):
        assert client_of(request.getfixturevalue(who)).get(url(scored.project, name), RULE).status_code in (403, 404)


def test_what_is_left_out_has_its_reason(scored, bob):
    decide(scored.examples["p10"], verdict="exclude", by=bob)
    decide(scored.examples["p11"], verdict="discuss", reason="?", by=bob)
    picked = preview(scored.project, EVERYTHING)
    assert picked.left_out == {LeftOut.LABEL_ISSUE: 4, LeftOut.EXCLUDED: 1, LeftOut.UNDER_DISCUSSION: 1,
                               LeftOut.CROSSES_SPLIT: 1, LeftOut.DUPLICATE: 1}
    assert picked.n == 24 - 8 and picked.n_labelled == 24
    assert scored.examples["p06"].pk not in picked.label_of and scored.examples["p07"].pk in picked.label_of


def test_a_decision_settles_a_flagged_example_with_its_new_label(scored, bob):
    decide(scored.examples["p00"], verdict="relabel", value="positive", by=bob, report=scored.report)
    assert preview(scored.project, EVERYTHING).label_of[scored.examples["p00"].pk] == "positive"


def test_labels_that_came_after_the_report_count(scored):
    score = scored.score("p20")
    late = new_example(scored.project, "late", "pool")
    scored.report.scores.create(example=late, label="", n_labels=0, cluster=500, cluster_size=1)
    assert late.pk not in preview(scored.project, EVERYTHING).label_of
    annotate(late, "mira", "neutral")
    picked = preview(scored.project, EVERYTHING)
    assert picked.label_of[late.pk] == "neutral" and picked.quality_of[late.pk] is None
    assert picked.quality_of[score.example_id] == score.label_quality


def test_the_page_shows_the_least_certain_of_the_pick(scored, bob, client_of):
    shown = client_of(bob).get(url(scored.project)).context["shown"]
    assert len(shown) == 10 and shown[0]["text"] == "This is text p04."
    assert [row["quality"] for row in shown] == sorted(row["quality"] for row in shown)


@pytest.mark.parametrize(("field", "value", "message"), [
    ("size", "0", "A gold set has at least 1 example."),
    ("min_quality", "1.5", "The quality is between 0 and 1."),
    ("seed", "-1", "greater than or equal to 0"),
    ("size", "", "This field is required."),
])
def test_a_value_out_of_range_is_told_live_and_on_saving(scored, bob, client_of, field, value, message):
    client = client_of(bob)
    live = client.get(url(scored.project, "gold-set-preview"), {**RULE, field: value})
    assert message in live.content.decode() and live.status_code == 200
    saved = client.post(url(scored.project), {**RULE, field: value})
    assert message in saved.content.decode() and saved.status_code == 422
    assert gold_set_of(scored.project).seed == 0


def test_the_service_refuses_an_impossible_rule(scored):
    gold_set = gold_set_of(scored.project)
    gold_set.size = 0
    with pytest.raises(UserError, match="at least 1 example"):
        rule_of(gold_set)


def test_held_out_rows_are_counted_with_what_is_left_out(scored, bob, client_of):
    annotate(scored.examples["t1"], "kim", "negative" if scored.project.labels[1] != "negative" else "positive")
    annotate(scored.examples["t1"], "jon", "none of these")
    found = held_out(scored.project, scored.report)
    assert (len(found.label_of["dev"]), len(found.label_of["test"])) == (6, 8)
    assert found.left_out == {"dev": {}, "test": {"no majority": 1}}
    html = client_of(bob).get(url(scored.project, "gold-set-held-out")).content.decode()
    assert "left out: no majority" in html and "<html" not in html


def test_without_a_report_the_page_says_to_score_first(project, bob, client_of):
    assert "Score the labels first" in client_of(bob).get(url(project)).content.decode()


def test_the_preview_asks_as_many_questions_for_many_examples_as_for_few(
        scored, bob, client_of, django_assert_max_num_queries):
    client = client_of(bob)
    client.get(url(scored.project))
    with django_assert_max_num_queries(22):
        client.get(url(scored.project, "gold-set-preview"), RULE)


# Batches that are favoured

@pytest.fixture
def batch(scored, bob):
    found = Batch.objects.create(project=scored.project, number=3, title="New", created_by=bob)
    for key in ("p10", "p13", "p16"):
        BatchItem.objects.create(batch=found, example=scored.examples[key], n_wanted=1)
    return found


def test_a_link_suggests_a_rule_that_favours_batches_and_saves_nothing(scored, bob, batch, client_of):
    asked = {"favoured_batches": "3", "favoured_share": "0.2", "size": "10"}
    html = client_of(bob).get(url(scored.project), asked).content.decode()
    assert "suggested and not saved yet" in html and "batch 3" in html and 'value="0.2"' in html
    assert "are of the batches that are favoured" in html
    assert gold_set_of(scored.project).favoured_batches == [] and html.count("btn-gold") == 1
    assert "suggested and not" not in client_of(bob).get(url(scored.project)).content.decode()


def test_favoured_batches_are_part_of_the_frozen_rule_and_of_every_rows_reason(scored, bob, batch, client_of, run_jobs):
    rule = {**RULE, "min_quality": 0, "favoured_batches": "3", "favoured_share": "0.3"}
    assert client_of(bob).post(url(scored.project, "freeze"), rule).status_code == 302
    run_jobs()
    snapshot = Snapshot.objects.get()
    assert (snapshot.rule["favoured_batches"], snapshot.rule["favoured_share"]) == ([3], 0.3)
    stored = read_picks(read_manifest(snapshot)["selection"]["sha256"])
    assert {row["example"] for row in stored["gold"] if row["why"] == "of a batch that is favoured"} == {
        scored.examples[key].pk for key in ("p10", "p13", "p16")}
    client_of(bob).post(url(scored.project), RULE)  # what is not sent stays
    assert gold_set_of(scored.project).favoured_batches == [3]
    client_of(bob).post(url(scored.project), {**RULE, "favoured_batches": "", "favoured_share": "0"})
    assert gold_set_of(scored.project).favoured_batches == []


@pytest.mark.parametrize(("said", "message"), [("7", "There is no batch 7"), ("x", "Write the numbers of batches")])
def test_a_batch_that_is_none_is_told(scored, bob, client_of, said, message):
    response = client_of(bob).post(url(scored.project), {**RULE, "favoured_batches": said})
    assert response.status_code == 422 and message in response.content.decode()


# Large pools: the pick is a job's, found again by what it depends on

@pytest.fixture
def large(scored, monkeypatch):
    monkeypatch.setattr(gold_sets, "IN_PAGE", 0)
    return scored


def test_the_page_of_a_large_pool_answers_at_once_and_fills_in(large, bob, client_of, run_jobs):
    client = client_of(bob)
    first = client.get(url(large.project)).content.decode()
    assert "What the rule picks comes here by itself" in first and "hx-trigger=\"load delay" in first
    assert "every pool example is in" not in first
    assert Job.objects.filter(kind="pick").count() == 1
    query = first.split('gold-set/preview/?')[1].split('"')[0].replace("&amp;", "&")
    run_jobs()
    then = client.get(f"{url(large.project, 'gold-set-preview')}?{query}").content.decode()
    assert "of 24 labelled examples" in then and "load delay" not in then
    assert Job.objects.filter(kind="pick").count() == 1 and GoldPick.objects.count() == 1


def test_a_pick_is_made_anew_when_somebody_has_decided(large, bob, run_jobs):
    rule = rule_of(gold_set_of(large.project))
    assert look(large.project, rule, by=bob).facts is None
    run_jobs()
    assert look(large.project, rule, by=bob).facts["n"] == 18
    decide(large.examples["p10"], verdict="exclude", by=bob)
    assert look(large.project, rule, by=bob).facts is None
    run_jobs()
    assert look(large.project, rule, by=bob).facts["n"] == 17


def test_a_rule_that_was_changed_meanwhile_is_not_picked_for_nobody(large, bob, run_jobs):
    rule = rule_of(gold_set_of(large.project))
    for size in (5, 6, 7, 6):
        look(large.project, replace(rule, size=size), by=bob)
    waiting = Job.objects.filter(kind="pick", state=Job.State.queued)
    assert [job.params["rule"]["size"] for job in waiting] == [6]


def test_an_old_pick_is_forgotten_and_can_be_made_again(large, bob, run_jobs, monkeypatch):
    monkeypatch.setattr(gold_sets, "N_PICKS_KEPT", 1)
    rule = rule_of(gold_set_of(large.project))
    for size in (5, 6, 5):
        look(large.project, replace(rule, size=size), by=bob)
        run_jobs()
        assert [pick.facts["n"] for pick in GoldPick.objects.all()] == [size]


def test_a_page_and_a_job_pick_the_same(scored, bob, run_jobs, monkeypatch):
    rule = rule_of(gold_set_of(scored.project))
    at_once = look(scored.project, rule, by=bob).facts
    monkeypatch.setattr(gold_sets, "IN_PAGE", 0)
    look(scored.project, rule, by=bob)
    run_jobs()
    facts = look(scored.project, rule, by=bob).facts
    splits = held_out(scored.project, scored.report).facts
    assert facts == {**json.loads(json.dumps(at_once)), "held_out": splits}


# Evidence beside the pick

def test_every_row_is_stored_with_its_reason_and_the_arms_have_the_same_quotas(scored):
    rule = GoldRule(size=9, seed=0, min_quality=0, min_per_label=1, method="spread", audit_share=0.2)
    picks = picks_of(scored.project, rule)
    assert len(picks["gold"]) == 9 and {row["why"] for row in picks["gold"]} == {
        "stands for others", "drawn for the check by hand"}
    assert [row["place"] for row in picks["gold"]] == list(range(9))
    assert len(picks["gold"]) + len(picks["left_out"]) == 24
    for arm in picks["arms"]:
        assert sorted(row["label"] for row in arm) == sorted(row["label"] for row in picks["gold"])
    assert len(picks["arms"]) == 3


def test_a_frozen_snapshot_names_the_file_of_its_selection(scored, bob, run_jobs):
    start_freeze(scored.project, by=bob)
    run_jobs()
    snapshot = Snapshot.objects.get()
    stored = read_picks(read_manifest(snapshot)["selection"]["sha256"])
    assert {row["example"] for row in stored["gold"]} == set(
        snapshot.rows.filter(split="train").values_list("example_id", flat=True))
    assert stored["rule"] == snapshot.rule


def test_a_large_project_is_frozen_without_reading_its_rows_first_and_an_empty_gold_set_is_refused_by_the_job(
        large, bob, client_of, run_jobs, django_assert_max_num_queries):
    gold_set = gold_set_of(large.project)
    gold_set.min_quality = 1.0
    gold_set.save()
    client = client_of(bob)
    with django_assert_max_num_queries(30):
        assert client.post(url(large.project, "freeze")).status_code == 302
    job = Job.objects.get(kind="freeze")
    assert job.title == "Freezing up to 500 gold rows"
    run_jobs()
    job.refresh_from_db()
    assert job.state == "failed" and "The gold set is empty" in job.error


def test_held_out_rows_of_a_large_project_are_counted_with_the_pick(large, bob, client_of, run_jobs):
    client = client_of(bob)
    waiting = client.get(url(large.project, "gold-set-held-out")).content.decode()
    assert "They are counted together with the rule" in waiting and "load delay" in waiting
    run_jobs()
    done = client.get(url(large.project, "gold-set-held-out"))
    assert done.context["splits"] == held_out(large.project, large.report).facts
    assert "hx-trigger" not in done.content.decode()


def test_rows_can_be_counted_without_choosing_them(scored):
    for rule in (EVERYTHING, replace(EVERYTHING, size=5)):
        assert count_quickly(scored.project, rule) == preview(scored.project, rule).n


def test_the_arms_can_be_downloaded_to_train_on(scored, bob, client_of):
    gold_set_of(scored.project)
    response = client_of(bob).get(url(scored.project, "gold-set-arms"))
    rows = [json.loads(line) for line in response.content.decode().splitlines()]
    assert {row["arm"] for row in rows} == {"gold", "random 1", "random 2", "random 3"}
    assert set(rows[0]) == {"arm", "key", "text", "label", "why", "gain"}
    assert response.headers["Content-Disposition"].endswith('"gold-and-random-arms.jsonl"')


def test_the_share_of_wrong_labels_is_told_from_a_random_sample_that_people_checked(scored, bob, monkeypatch):
    monkeypatch.setattr(gold_sets, "MIN_AUDIT", 12)
    rule = replace(EVERYTHING, size=12)
    order = preview(scored.project, rule).audit.rows
    assert preview(scored.project, rule).audit.error is None and len(order) == 12
    flagged = {scored.examples[key].pk for key in ("p00", "p01", "p02", "p03")}
    assert not flagged & set(order)
    by_pk = {example.pk: example for example in scored.examples.values()}
    for number, pk in enumerate(order[:10]):
        verdict = {"verdict": "exclude"} if number < 2 else {"verdict": "keep"}
        decide(by_pk[pk], by=bob, **verdict)
    audit = preview(scored.project, rule).audit
    assert (audit.n_checked, audit.n_wrong) == (10, 2) and audit.rows == order
    n_unsettled = sum(pk not in order[:10] for pk in preview(scored.project, rule).label_of)
    assert audit.error.estimate == pytest.approx(0.2 * n_unsettled / 12) and audit.error.n == 10


def test_a_gap_in_the_check_ends_the_sample(scored, bob):
    order = preview(scored.project, EVERYTHING).audit.rows
    by_pk = {example.pk: example for example in scored.examples.values()}
    for pk in (order[0], order[2]):
        decide(by_pk[pk], verdict="keep", by=bob)
    assert preview(scored.project, EVERYTHING).audit.n_checked == 1
