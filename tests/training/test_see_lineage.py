"""Lineage both ways: what holds an example, and which snapshots and adapters are stale since a label changed."""

from django.urls import reverse

from curation.services.erasing import erase
from curation.services.review import decide
from labeling.models import Example
from training.services.lineage import holdings, stale


def relabelled(key, label, by):
    example = Example.objects.get(key=key)
    decide(example, verdict="relabel", value=label, by=by)
    return example


def test_an_example_leads_to_its_snapshots_runs_and_adapters(adapter, bob, client_of, django_assert_max_num_queries):
    example, url = Example.objects.get(key="e001"), "training:example-lineage"
    [held] = holdings(example)
    assert (held.row.split, held.shown, held.has_changed, held.adapters) == ("train", "neutral", False, [adapter])
    assert adapter.run in held.runs and len(held.runs) > 1
    client = client_of(bob)
    html = client.get(reverse(url, args=[example.pk])).content.decode()
    assert "1 snapshot holds it" in html and "the same everywhere" in html and f"Adapter {adapter.pk}" in html
    with django_assert_max_num_queries(14):
        client.get(reverse(url, args=[example.pk]))
    relabelled("e001", "positive", bob)
    html = client.get(reverse(url, args=[example.pk])).content.decode()
    assert "In 1 of them its label is another one" in html and "1 adapter learned the old one" in html
    assert "only judged on it" in client.get(
        reverse(url, args=[Example.objects.get(key="e050").pk])).content.decode()


def test_what_was_trained_on_a_label_that_changed_is_stale_on_every_page(adapter, alice, bob, client_of):
    snapshot = adapter.run.snapshot
    assert stale([snapshot]) == []
    for key, label in (("e001", "positive"), ("e004", "negative"), ("e007", "positive")):
        relabelled(key, label, bob)
    [one] = stale([snapshot])
    words = f"The label of 3 rows changed since snapshot 1 was frozen; adapter {adapter.pk} was trained on it"
    assert one.words == words and one.n == 3
    for name, pk in (("training:adapter", adapter.pk), ("projects:detail", snapshot.project_id)):
        assert words in client_of(alice).get(reverse(name, args=[pk])).content.decode()
    html = client_of(bob).get(reverse("curation:snapshot-detail", args=[snapshot.pk])).content.decode()
    assert "The label of 3 rows would be another one today." in html and "e004" in html


def test_an_erased_row_makes_the_adapter_stale_too(adapter, alice, run_jobs):
    erase([Example.objects.get(key="e001")], reason="Somebody asked.", by=alice)
    run_jobs()
    [one] = stale([adapter.run.snapshot])
    assert one.words == f"1 row was erased since snapshot 1 was frozen; adapter {adapter.pk} was trained on it"
