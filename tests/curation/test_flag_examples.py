"""From texts and labels to flags of every kind, a second report that says what changed, and the pages over both."""

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from curation.languages import languages_of
from curation.models import Flag, QualityReport, ScoreChange
from curation.services.quality import changed_scores, flag_rows
from curation.services.review import decide
from curation.services.scoring import latest_report, start_score
from curation.views import quality as quality_view
from labeling.models import Example
from labeling.texts import content_sha256
from projects.errors import UserError
from tests.curation.conftest import annotate, new_example

WORDS = {"negative": "The app crashed again and nobody answers my letters",
         "neutral": "The parcel is said to arrive at the depot on Monday",
         "positive": "What a lovely present, my children are very happy"}
NAMES = list(WORDS)
N = 60
STRANGE = {
    "mail": ("The parcel is said to arrive, write to ada@mail.org about it", "neutral", "pool"),
    "german": ("Das Paket soll am Montag ankommen, sagte der Bote gestern", "neutral", "pool"),
    "far": ("0101 1110 0001 1010 1110 0101 0010 1001 1111 0000 1010 0101", "neutral", "pool"),
    "blank": ("?!?!", "neutral", "pool"),
    "once": ("My brand new kettle whistles beautifully every morning", "positive", "pool"),
    "twice": ("My brand new kettle whistles beautifully every morning!", "negative", "pool"),
    "seen": ("The train to the coast leaves from platform nine", "neutral", "pool"),
    "exam": ("The train to the coast leaves from platform nine.", "neutral", "test"),
}


@pytest.fixture
def project(project):
    for n in range(N):
        label = NAMES[n % 3]
        add(project, f"p{n:02}", said(label, n), label)
    add(project, "p00 again", f"{said('negative', 0)}!", "negative")
    add(project, "wrong", said("positive", N), "negative")
    for key, (text, label, split) in STRANGE.items():
        add(project, key, text, label, split)
    return project


def short(n, factor):
    """Four digits: longer numbers are taken for references, and texts that differ in those say the same."""
    return n * factor % 9000 + 1000


def said(label, n):
    """A text of its own, with little of its wording in common with the label's others but what tells the label."""
    return f"{WORDS[label]}, says number {short(n, 7919)} of {short(n, 104729)} and {short(n, 1299709)}"


def add(project, key, text, label, split="pool"):
    annotate(new_example(project, key, split, text=text, content_sha256=content_sha256(text)), "mira", label)


@pytest.fixture
def report(project, bob, run_jobs):
    return scored(project, bob, run_jobs)


def scored(project, by, run_jobs):
    start_score(project, by=by)
    run_jobs()
    return latest_report(project)


def keys(report, kind):
    return set(report.flags.filter(kind=kind).values_list("score__example__key", flat=True))


def test_every_kind_is_found_where_it_was_put(report):
    assert "wrong" in keys(report, "label_issue")
    assert keys(report, "conflict") == {"once", "twice"}
    assert {"once", "twice", "seen", "p00"} <= keys(report, "duplicate") and "mail" not in keys(report, "duplicate")
    assert keys(report, "leak") == {"seen"}
    assert keys(report, "pii") == {"mail"}
    assert keys(report, "language") == {"german"} and report.language == "en"
    assert keys(report, "empty") == {"blank"}
    assert {"far", "blank"} <= keys(report, "outlier") and not keys(report, "outlier") & {f"p{n:02}" for n in range(N)}
    assert not report.flags.filter(score__example__split="test").exists()


def test_every_flag_has_its_reason_and_the_review_page_gets_them_all(report):
    score = report.scores.get(example__key="twice")
    reasons = dict(score.flags.values_list("kind", "reason"))
    assert reasons["conflict"] == "Another example that says nearly the same carries “positive”."
    assert reasons["duplicate"] == "It is one of 2 examples that say nearly the same."
    assert set(score.reasons) == set(reasons.values())
    assert {flag.label_quality for flag in score.flags.all()} == {score.label_quality}


def test_the_report_counts_what_its_flags_say(report):
    assert report.n_flags == {kind: report.flags.filter(kind=kind).count()
                              for kind in set(report.flags.values_list("kind", flat=True))}


def test_a_kind_is_flagged_once_per_example(report):
    flag = report.flags.first()
    with pytest.raises(IntegrityError), transaction.atomic():
        Flag.objects.create(report=report, score=flag.score, kind=flag.kind, reason="Again.")


def test_what_is_decided_is_not_left_to_review(report, bob):
    rows = {row.kind: row for row in flag_rows(report)}
    assert (rows["conflict"].n, rows["conflict"].n_left) == (2, 2)
    decide(Example.objects.get(key="twice"), verdict="exclude", by=bob, report=report)
    rows = {row.kind: row for row in flag_rows(report)}
    assert (rows["conflict"].n, rows["conflict"].n_left, rows["pii"].n_left) == (2, 1, 1)


def test_scoring_again_without_news_says_so_and_reads_no_text_again(report, project, bob, run_jobs, monkeypatch):
    def only_new(texts, **more):
        assert not texts, "an unchanged text was read again"
        return languages_of(texts, **more)

    monkeypatch.setattr("curation.services.flagging.languages_of", only_new)
    again = scored(project, bob, run_jobs)
    assert again.previous_id == report.pk and again.n_flags == report.n_flags and again.language == "en"
    assert {**again.n_changes, "new": 0} == {"new": 0} and not again.changes.exists()
    assert again.job.result["n_checked"] == 0


def test_the_second_report_says_what_changed(report, project, bob, run_jobs):
    decide(Example.objects.get(key="twice"), verdict="relabel", value="positive", by=bob, report=report)
    add(project, "late", "The parcel is late, call 212-555-0123 about it please", "neutral")
    again = scored(project, bob, run_jobs)
    assert again.n_changes["new"] == 1 and again.n_changes["flagged pii"] == 1
    assert again.n_changes["cleared conflict"] == 2 and again.n_changes["relabelled"] == 1
    assert again.job.result["n_checked"] == 2  # the new text, and the one with another label
    cleared = changed_scores(again, what="cleared", kind="conflict")
    assert [change.score.example.key for change in cleared] == ["once", "twice"]
    assert cleared[0].before.startswith("Another example that says") and cleared[0].after == ""
    assert keys(again, "pii") == {"mail", "late"}
    change = changed_scores(again, what="relabelled", kind="").get()
    assert (change.before, change.after) == ("negative", "positive")
    with pytest.raises(UserError, match="no change"):
        changed_scores(again, what="eaten", kind="")


def test_a_check_is_made_again_where_the_schema_changed(report, project, bob, run_jobs):
    project.schema["labels"].pop()
    project.save()
    again = scored(project, bob, run_jobs)
    assert keys(again, "invalid") >= {"once"} and again.n_changes["flagged invalid"] == len(keys(again, "invalid"))


def page(client, project, name="curation:quality", **query):
    return client.get(reverse(name, args=[project.pk]), query)


def test_the_page_counts_by_kind_with_links_and_says_what_changed(report, project, bob, client_of, run_jobs,
                                                                  django_assert_max_num_queries):
    client = client_of(bob)
    html = page(client, project).content.decode()
    assert "same text, other label" in html and f"{reverse('curation:review', args=[project.pk])}?flag=conflict" in html
    assert "Since report" not in html
    add(project, "late", "The parcel is late, call 212-555-0123 about it please", "neutral")
    scored(project, bob, run_jobs)
    with django_assert_max_num_queries(26):
        html = page(client, project).content.decode()
    assert f"Since report {report.pk}" in html and "1 example is new. " in html
    assert "newly flagged: personal data (pattern check)" in html
    url = f"{reverse('curation:quality-changes', args=[project.pk])}?what=flagged&amp;kind=pii"
    assert url in html
    with django_assert_max_num_queries(12):
        html = page(client, project, "curation:quality-changes", what="flagged", kind="pii").content.decode()
    score = latest_report(project).scores.get(example__key="late")
    assert "1 example: newly flagged as “personal data (pattern check)”" in html
    assert "holds what looks like a phone number" in html and f"view=all&amp;at={score.pk}" in html


def test_changes_come_page_by_page(report, project, bob, client_of, monkeypatch):
    monkeypatch.setattr(quality_view, "ROWS_PER_PAGE", 2)
    scores = list(report.scores.order_by("pk")[:3])
    ScoreChange.objects.bulk_create(
        ScoreChange(report=report, score=score, what="better", before="0.10", after="0.90") for score in scores)
    first = page(client_of(bob), project, "curation:quality-changes", what="better")
    assert [row.score_id for row, *_ in first.context["rows"]] == [score.pk for score in scores[:2]]
    last = page(client_of(bob), project, "curation:quality-changes", what="better", after=first.context["next"])
    assert [row.score_id for row, *_ in last.context["rows"]] == [scores[2].pk] and last.context["next"] is None


def test_an_unknown_change_and_a_missing_report_are_told_in_words(report, project, bob, client_of):
    response = page(client_of(bob), project, "curation:quality-changes", what="eaten")
    assert response.status_code == 400 and "There is no change “eaten" in response.content.decode()
    nothing = page(client_of(bob), project, "curation:quality-changes", what="worse").content.decode()
    assert "Nothing changed in this way" in nothing
    QualityReport.objects.all().delete()
    response = page(client_of(bob), project, "curation:quality-changes")
    assert response.status_code == 400 and "Nothing is scored yet" in response.content.decode()
