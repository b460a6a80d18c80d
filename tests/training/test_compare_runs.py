import pytest
from django.urls import reverse

from projects.errors import UserError
from tests.training.conftest import trained
from tests.training.story import frozen_snapshot
from training.models import Evaluation, Run
from training.services.differences import differences, samples_of


@pytest.fixture
def two(adapter, judged, alice, model, run_jobs):
    """Two LoRA runs: the second is wrong on 1 row in 10, the first on 1 in 20."""
    model.adapter_errs = lambda number: number % 10 == 0
    return adapter.run, trained(judged, alice, run_jobs, epochs=2).run


def page(client, run, other=None):
    query = f"?with={other.pk}" if other else ""
    return client.get(reverse("training:run-differences", args=[run.pk]) + query).content.decode()


def test_two_runs_are_paired_on_the_same_rows_with_what_differs(two, bob, client_of):
    html = page(client_of(bob), two[1], two[0])
    assert "are not shown to differ" in html and "On the same 60 held-out rows" in html
    assert "0 rows won, 3 lost" in html and "Passes over the rows" in html.split("What is the same")[0]
    assert "Rows per step" in html.split("What is the same")[1] and "They are asked by the same prompt." in html
    flips = client_of(bob).get(reverse("training:flips", args=[two[1].pk]) + f"?with={two[0].pk}").content.decode()
    assert "3 lost" in flips and f"against <a class=\"text-reset\" href=\"/runs/{two[0].pk}/\"" in flips


def test_a_prompt_that_was_tried_on_dev_only_is_compared_there(two, bob, client_of):
    other = Run.objects.filter(evaluations__split="dev").exclude(evaluations__split="test").first()
    assert "On the same 9 dev rows" in page(client_of(bob), two[0], other)


def test_without_another_one_is_asked_for(two, bob, client_of):
    assert "Choose the run to compare with." in page(client_of(bob), two[0])


def test_runs_of_two_snapshots_are_not_paired(adapter, project, bob):
    other = Run(snapshot=frozen_snapshot(project, maker=bob), kind=Run.Kind.lora, config={})
    with pytest.raises(UserError, match="two runs of one snapshot"):
        differences(adapter.run, other, [[], []])


def test_a_run_of_another_snapshot_is_not_found(two, bob, client_of):
    url = reverse("training:run-differences", args=[two[0].pk])
    assert client_of(bob).get(url + "?with=99999").status_code == 404


def test_the_surest_mistakes_come_first(adapter):
    found = samples_of(Evaluation.objects.get(run=adapter.run, split="test"))
    assert [one.score for one in found.best] == [1.0] * 5 and {one.score for one in found.worst} == {0.0}
    assert found.worst[0].gold != found.worst[0].predicted and found.worst[0].text.startswith("Row 0")
    assert [one.sure for one in found.worst] == sorted((one.sure for one in found.worst), reverse=True)


def test_the_runs_page_shows_best_and_worst(adapter, bob, client_of):
    html = client_of(bob).get(reverse("training:run", args=[adapter.run_id])).content.decode()
    assert "Its best and its worst answers" in html and html.index("Worst</h3>") < html.index("Best</h3>")


def test_the_page_takes_few_queries(two, bob, client_of, django_assert_max_num_queries):
    client = client_of(bob)
    with django_assert_max_num_queries(16):
        page(client, two[1], two[0])
