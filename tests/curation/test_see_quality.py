import pytest
from django.urls import reverse

from curation.services.quality import read_quality
from jobs.models import Job
from tests.curation.conftest import new_example, new_job, new_report


def page(client, project):
    return client.get(reverse("curation:quality", args=[project.pk]))


def test_the_page_begins_with_where_things_stand(scored, bob, client_of):
    html = page(client_of(bob), scored.project).content.decode()
    assert "4 labels look wrong." in html and "They stand out of 24 labels that were scored." in html
    assert reverse("curation:review", args=[scored.project.pk]) in html
    assert html.count("How is this computed?") >= 4


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_see_quality(scored, request, client_of, who, status):
    assert page(client_of(request.getfixturevalue(who)), scored.project).status_code == status


def test_agreement_stands_on_its_interval_beside_the_commonest_label(scored, bob, client_of):
    quality = read_quality(scored.report)
    assert (quality.agreement.estimate, quality.agreement.n) == (0.75, 24)
    assert quality.agreement.low == pytest.approx(0.551, abs=0.001)  # Wilson, 18 of 24
    assert quality.agreement.high == pytest.approx(0.880, abs=0.001)
    assert quality.baseline.estimate == pytest.approx(1 / 3)
    html = page(client_of(bob), scored.project).content.decode()
    assert "75.0\u202f%" in html and "95\u202f%: 55.1 to 88.0\u202f%, n = 24" in html


def test_labels_are_counted_in_the_pool_only(scored):
    rows = {row.label: (row.n, row.n_flagged) for row in read_quality(scored.report).labels}
    assert rows == {"negative": (8, 2), "neutral": (8, 1), "positive": (8, 1)}


def test_a_label_that_was_not_scored_says_why(scored, alice, bob, client_of):
    new_report(scored.project, alice, scored.examples, left_out={"neutral": "only 2 groups of examples"})
    assert "not scored: only 2 groups of examples" in page(client_of(bob), scored.project).content.decode()


def test_the_histogram_counts_every_scored_example_once(scored):
    histogram = read_quality(scored.report).histogram
    assert sum(histogram.counts) == 24 and len(histogram.edges) == len(histogram.counts) + 1
    assert histogram.counts[0] == 1 and histogram.counts[1] == 1  # 0.02; 0.06


def test_hidden_scores_come_with_their_reason_and_no_histogram(scored, alice, bob, client_of):
    new_report(scored.project, alice, scored.examples, hidden_because="It learned too little.", n_scored=0, n_issues=0)
    response = page(client_of(bob), scored.project)
    html = response.content.decode()
    assert "The labels cannot be judged yet." in html and "It learned too little." in html
    assert 'class="hist"' not in html
    assert response.context["quality"].agreement.n == 24  # the model was compared, only its doubts are hidden


def test_annotators_are_shown_as_an_estimate(scored, alice, bob, client_of):
    assert "Annotators</h2>" not in page(client_of(bob), scored.project).content.decode()
    new_report(scored.project, alice, scored.examples, annotators={"mira": 0.9, "jon": 0.6})
    response = page(client_of(bob), scored.project)
    assert "An estimate, and one without an interval" in response.content.decode()
    assert [(row.name, row.n) for row in response.context["quality"].annotators] == [("jon", 17), ("mira", 39)]


def test_from_two_reports_on_the_share_of_doubted_labels_is_drawn(scored, alice, bob, client_of):
    first = page(client_of(bob), scored.project)
    assert first.context["reports_chart"] is None and "Report by report" not in first.content.decode()
    newer = new_report(scored.project, alice, scored.examples)
    response = page(client_of(bob), scored.project)
    rows = response.context["quality"].reports
    assert [(row.pk, row.flagged.n) for row in rows] == [(scored.report.pk, 24), (newer.pk, 24)]
    assert rows[0].flagged.estimate == pytest.approx(4 / 24)
    html = response.content.decode()
    assert f"16.7\u202f% in report {scored.report.pk}" in html
    assert "The same as a table" in html and "data-chart" in html


def test_the_page_asks_the_same_few_questions_for_any_size(scored, bob, client_of, django_assert_max_num_queries):
    client = client_of(bob)
    page(client, scored.project)
    with django_assert_max_num_queries(24):
        page(client, scored.project)


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_start_scoring(scored, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    response = client.post(reverse("curation:score", args=[scored.project.pk]))
    assert response.status_code == status
    assert Job.objects.filter(kind="score", state="queued").count() == (status == 302)


def test_two_clicks_start_one_scoring_and_the_page_shows_it(scored, bob, client_of):
    client, url = client_of(bob), reverse("curation:score", args=[scored.project.pk])
    client.post(url)
    html = client.post(url, follow=True).content.decode()
    job = Job.objects.get(state="queued")
    assert f'id="job-{job.pk}"' in html and "Score again" not in html and "data-reload-on-finish" in html


def test_a_failed_scoring_stays_visible_until_one_succeeds(scored, bob, client_of):
    job = new_job(scored.project, bob, "score", Job.State.failed)
    Job.objects.filter(pk=job.pk).update(error="The disk is full.")
    assert "The disk is full." in page(client_of(bob), scored.project).content.decode()
    new_job(scored.project, bob, "score")
    assert "The disk is full." not in page(client_of(bob), scored.project).content.decode()


def test_without_a_report_the_page_offers_the_next_step(project, bob, client_of):
    assert reverse("labeling:import", args=[project.pk]) in page(client_of(bob), project).content.decode()
    new_example(project, "p00", "pool")
    assert "Score the labels" in page(client_of(bob), project).content.decode()


def test_scoring_nothing_is_refused_in_words(project, bob, client_of):
    response = client_of(bob).post(reverse("curation:score", args=[project.pk]))
    assert response.status_code == 400 and "There are no examples yet" in response.content.decode()


def test_scoring_makes_a_report_that_the_page_shows(scored, bob, client_of, run_jobs):
    client = client_of(bob)
    client.post(reverse("curation:score", args=[scored.project.pk]))
    run_jobs()
    job = Job.objects.filter(kind="score").first()
    assert job.state == "succeeded", job.error
    assert page(client, scored.project).context["report"].job == job
