from itertools import count

import numpy as np
import pytest
from django.db import DatabaseError, transaction
from django.urls import reverse

from curation.models import Experiment, LabelForecast
from curation.services.experiments import judging_rows, n_test_looks, right_of, rows_of, start_experiment
from curation.services.forecasts import forecast_words, price_of, sizes_of
from curation.services.review import decide
from curation.services.scoring import latest_report, start_score
from jobs.models import Job
from labeling.models import LabelingRules
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import Project
from projects.objects import delete_object
from stats.learning_curve import forecast
from tests.curation.conftest import annotate, new_example

WORDS = {"negative": ["awful", "broken", "sad", "late"], "neutral": ["monday", "table", "street", "paper"],
         "positive": ["lovely", "great", "happy", "thanks"]}
N_POOL, N_DEV, N_TEST = 150, 36, 33


@pytest.fixture
def work(project, bob, run_jobs):
    """Texts of words of their label; of the pool every sixth label is wrong. Five of the wrong flagged are settled."""
    random, number = np.random.default_rng(0), count()
    truth = {}
    for split, n in (("pool", N_POOL), ("dev", N_DEV), ("test", N_TEST)):
        for k in range(n):
            label = project.labels[k % 3]
            text = f"{next(number)} " + " ".join(random.choice([*WORDS[label], "and", "the"], 5))
            example = new_example(project, f"{split}{k}", split, text=text, content_sha256=content_sha256(text))
            truth[example.pk] = label
            said = project.labels[(k + 1) % 3] if split == "pool" and k % 6 == 0 else label
            for name in ("mira",) if split == "pool" else ("mira", "jon", "kim"):
                annotate(example, name, said)
    start_score(project, by=bob)
    run_jobs()
    report = latest_report(project)
    flagged = report.scores.filter(is_label_issue=True).order_by("label_quality")
    for score in [score for score in flagged if truth[score.example_id] != score.label][:5]:
        decide(score.example, verdict="relabel", value=truth[score.example_id], by=bob, report=report)
    return project


def url(project, name="experiments"):
    return reverse(f"curation:{name}", args=[project.pk])


def run(work, client, run_jobs, **sent):
    assert client.post(url(work), sent).status_code == 302
    run_jobs()
    job = Job.objects.filter(kind="experiment").first()
    assert job.state == "succeeded", job.error
    return Experiment.objects.get(job=job)


def test_a_curator_compares_the_small_clean_set_with_the_large_one(work, bob, client_of, run_jobs):
    client = client_of(bob)
    found = run(work, client, run_jobs, kind="arms")
    arms = {arm.name: arm for arm in found.arms.all()}
    assert list(arms) == ["all as labelled", "all but the flagged", "flagged settled", "random few",
                          "random of the gold's kind", "gold"]
    assert (found.split, found.n, arms["all as labelled"].n_rows) == ("dev", N_DEV, N_POOL)
    assert arms["all as labelled"].difference is None and len(arms["all as labelled"].accuracies) == 1
    for name in ("random few", "random of the gold's kind", "gold"):
        assert len(arms[name].accuracies) == 3 and arms[name].n_rows == arms["gold"].n_rows
    gap = arms["gold"].difference
    assert gap["low"] <= gap["estimate"] <= gap["high"] and gap["n"] == N_DEV
    assert n_test_looks(work) == 0
    ids, labels = judging_rows(found)
    assert len(ids) == len(labels) == N_DEV and set(labels) == set(work.labels)
    assert [len(draw) for draw in rows_of(arms["gold"])] == [arms["gold"].n_rows] * 3
    assert right_of(arms["gold"]).mean(axis=1) == pytest.approx(arms["gold"].accuracies, abs=1e-6)
    html = client.get(reverse("curation:experiment", args=[found.pk])).content.decode()
    assert "Right on the same 36 dev rows" in html and found.verdict[0][:20] in html.replace("&#x27;", "'")
    assert found.verdict[0] in client.get(url(work)).content.decode().replace("&#x27;", "'")


def test_two_differences_or_more_are_drawn_beside_their_table(work, bob, client_of, run_jobs):
    client = client_of(bob)
    drawn, told = (client.get(reverse("curation:experiment", args=[run(work, client, run_jobs, kind=kind).pk]))
                   for kind in ("arms", "fixes"))
    gaps = drawn.context["gaps_chart"]
    assert "charts.js" in drawn.content.decode() and gaps.words.startswith("Against the first: all but the")
    assert [row["name"] for row in gaps.spec["layer"][2]["data"]["values"]] == [
        "all but the flagged", "flagged settled", "random few", "random of the gold's kind", "gold"]
    assert told.context["gaps_chart"] is None  # before and after are one difference
    assert len(told.context["groups"]) < 2 or told.context["gains_chart"].words.startswith("May bring: ")


def test_a_look_at_the_test_rows_is_asked_for_and_counted(work, bob, client_of, run_jobs):
    found = run(work, client_of(bob), run_jobs, kind="fixes", look_at_test="on")
    assert (found.split, found.n, n_test_looks(work)) == ("test", N_TEST, 1)


def test_corrections_are_proved_and_those_left_are_ranked_by_what_they_may_bring(work, bob, client_of, run_jobs):
    client = client_of(bob)
    found = run(work, client, run_jobs, kind="fixes")
    before, after = found.arms.all()
    assert (before.name, after.name) == ("before", "after") and before.n_rows == after.n_rows == N_POOL
    assert found.verdict[0].startswith("5 labels have changed since the report")
    assert "going by the 5 settled so far, of which 5 were wrong" in found.verdict[1]
    gains = [group["gain"]["estimate"] for group in found.groups]
    assert gains == sorted(gains, reverse=True) and found.groups
    assert all(group["given"] != group["suggested"] and group["gain"]["low"] <= group["gain"]["high"]
               for group in found.groups)
    html = client.get(reverse("curation:experiment", args=[found.pk])).content.decode()
    assert "Which labels to settle next" in html and f"{found.groups[0]['given']} →" in html


def test_what_was_found_cannot_be_changed(work, bob, client_of, run_jobs):
    found = run(work, client_of(bob), run_jobs, kind="fixes")
    for change in (lambda: Experiment.objects.update(n=1), lambda: found.arms.update(n_rows=1)):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            change()


def test_judging_rows_that_were_not_kept_are_found_again_while_they_are_the_same(work, bob, client_of, run_jobs,
                                                                                settings):
    found = run(work, client_of(bob), run_jobs, kind="fixes")
    kept = judging_rows(found)
    delete_object(settings.GOLDPAN_OBJECTS, found.config["judges_sha256"])
    assert judging_rows(found) == kept


def test_without_held_out_labels_nothing_is_judged(scored, bob, run_jobs):
    start_score(scored.project, by=bob)
    run_jobs()
    start_experiment(scored.project, kind="arms", by=bob)
    run_jobs()
    assert "30 are needed to judge anything" in Job.objects.filter(kind="experiment").get().error


@pytest.mark.parametrize(("sent", "words"), [({"kind": "best"}, "no experiment “best”"),
                                             ({"kind": "arms", "split": "pool"}, "dev or test")])
def test_another_experiment_is_refused_in_words(scored, bob, sent, words):
    with pytest.raises(UserError, match=words):
        start_experiment(scored.project, by=bob, **sent)


def test_other_types_of_task_say_why_not(project, bob, client_of):
    Project.objects.filter(pk=project.pk).update(task_type="response", schema={})
    for name in ("experiments", "forecasts"):
        assert "one label per text" in client_of(bob).get(url(project, name)).content.decode()


# Label budget

def test_a_curator_asks_how_many_labels_more(work, bob, client_of, run_jobs):
    client = client_of(bob)
    LabelingRules.objects.create(project=work, hourly_wage=30, currency="EUR")
    assert "No forecast yet" in client.get(url(work, "forecasts")).content.decode()
    assert client.post(url(work, "forecasts")).status_code == 302
    run_jobs()
    made = LabelForecast.objects.get()
    assert made.n_dev == N_DEV and made.sizes[-1] == made.n_train and len(made.errors) == 6
    assert made.found["band"][-1][0] == 2 * made.n_train
    assert made.found["price"]["seconds"] == 14 and made.found["price"]["wage"] == 30
    page = client.get(url(work, "forecasts"))
    html, chart = page.content.decode(), page.context["chart"]
    assert made.words[0] in html and "A label takes 14 s here" in html and "data-chart" in html
    assert {row["size"] for row in chart.spec["layer"][5]["data"]["values"]} == set(made.sizes)
    assert all(row["low"] <= row["share"] <= row["high"] for row in chart.spec["layer"][0]["data"]["values"])
    with pytest.raises(DatabaseError, match="never changed"):
        LabelForecast.objects.update(n_dev=1)


def test_too_few_labels_are_told_with_their_number(scored, bob, client_of, run_jobs):
    start_score(scored.project, by=bob)
    run_jobs()
    client_of(bob).post(url(scored.project, "forecasts"))
    run_jobs()
    assert "30 are needed" in Job.objects.filter(kind="forecast").get().error


def told(a, b, c, target, n_test=10_000):
    sizes = np.array(sizes_of(1000))
    errors = np.repeat((a * sizes ** -float(b) + c)[:, None], 5, axis=1)
    return forecast(sizes, errors, target_error=1 - target, n_test=n_test, seed=0)


@pytest.mark.parametrize(("curve", "target", "words"), [
    ((1.0, 0.5, 0.0), 0.972, "labelled examples more may reach the target of 97.2\u202f% accuracy"),
    ((1.0, 0.5, 0.2), 0.9, "Labels alone may never reach the target"),
    ((1.0, 0.5, 0.0), 0.9, "The labels there are suffice"),
    ((1.0, 0.5, 0.0), 0.966, "still reaches below"),
    ((1.0, 0.2, 0.0), 0.9, "is not reached with 2,000, twice what there is"),
])
def test_the_forecast_is_told_in_words(project, curve, target, words):
    project.target_value = target
    said = " ".join(forecast_words(told(*curve, target), 1000, 0.05, project, price_of(project)))
    assert words in said


def test_sizes_rise_by_a_factor():
    assert sizes_of(1000) == [100, 158, 251, 398, 631, 1000]
    assert sizes_of(150)[0] == 30
