import pytest
from django.core.cache import cache
from django.urls import reverse

from projects.models import AuditEvent
from tests.training.conftest import trained
from training.models import CriticalSlices
from training.services.promotion import standing


@pytest.fixture
def small(monkeypatch):
    """The story has 20 test rows of each label and length; let them be slices."""
    monkeypatch.setattr("training.slices.MIN_ROWS", 20)
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def one_sided(small, judged, alice, model, run_jobs):
    """An adapter that is right on everything but one label, which is also the shortest."""
    model.adapter_errs = lambda number: number % 3 == 0
    return trained(judged, alice, run_jobs)


def page(client, snapshot):
    return client.get(reverse("training:comparison", args=[snapshot.pk])).content.decode()


def declare(client, project, **answer):
    return client.post(reverse("training:critical-slices", args=[project.pk]), answer)


def test_every_part_stands_with_its_difference_and_its_power(one_sided, bob, client_of):
    html = page(client_of(bob), one_sided.run.snapshot)
    assert "Part by part" in html and "Label: negative" in html and "Length of the text: short" in html
    assert "worse, p " in html and "in how many of 100 cases a drop of 5 points would be seen" in html
    assert "Which parts a promotion hangs on" not in html, "a curator does not declare"


def test_a_part_that_is_too_small_is_not_shown(adapter, bob, client_of):
    html = page(client_of(bob), adapter.run.snapshot)
    assert "No part of the test rows has the 30 rows" in html
    assert "No critical part of the test rows has the 30 rows" in " ".join(standing(adapter).reasons)


def test_a_worse_critical_part_keeps_an_adapter_from_promotion(one_sided, alice, client_of):
    found = standing(one_sided)
    assert not found.allowed
    assert any(reason.startswith("Length of the text: short: it is worse than the best prompt by 50 points on 20 rows")
               for reason in found.reasons)
    client = client_of(alice)
    url = reverse("training:promote", args=[one_sided.pk])
    assert client.post(url).status_code == 400
    assert client.post(url, {"override_reason": "Short ones go to people."}).status_code == 302


def test_the_rows_of_a_part_can_be_read(one_sided, bob, client_of):
    url = reverse("training:flips", args=[one_sided.run_id])
    html = client_of(bob).get(url, {"part": "length:short"}).content.decode()
    assert "Only rows of this part: Length of the text: short" in html
    assert "awful" in html and "ordinary" not in html
    assert client_of(bob).get(url, {"part": "weather:rainy"}).status_code == 400


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_admins_declare_what_is_critical(project, request, client_of, who, status):
    response = declare(client_of(request.getfixturevalue(who)), project, kinds=["language", "label"])
    assert response.status_code == status
    assert CriticalSlices.objects.exists() == (status == 302)
    if status == 302:
        assert AuditEvent.objects.get(what="declare_critical").detail == {"kinds": ["label", "language"]}


def test_an_unknown_kind_is_refused(project, alice, client_of):
    assert declare(client_of(alice), project, kinds=["weather"]).status_code == 400


def test_what_is_declared_after_the_evaluation_does_not_count_for_it(one_sided, alice, client_of, model, run_jobs):
    snapshot = one_sided.run.snapshot
    assert declare(client_of(alice), snapshot.project, kinds=[], snapshot=snapshot.pk).status_code == 302
    assert not standing(one_sided).allowed
    later = trained(snapshot, alice, run_jobs, seed=2)
    assert "it is worse than" not in " ".join(standing(later).reasons)
    assert not any(one.is_critical for one in standing(later).slices)


def test_the_page_takes_few_queries_and_keeps_what_it_found(one_sided, alice, client_of, django_assert_max_num_queries,
                                                            monkeypatch):
    client = client_of(alice)
    page(client, one_sided.run.snapshot)
    monkeypatch.setattr("training.services.slices.languages_of", None)
    with django_assert_max_num_queries(50):
        page(client, one_sided.run.snapshot)
