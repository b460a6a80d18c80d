"""The list of examples: its filter stands in the address, and people can be asked about all that it shows."""

import hashlib

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job
from labeling.models import Annotation, Annotator, Batch, BatchItem, Example
from labeling.services.batches import create_batch


def new_example(project, key, text, split="pool", labels=(), **more):
    example = Example.objects.create(project=project, key=key, text=text, data={}, group=key, split=split,
                                     content_sha256=hashlib.sha256(key.encode()).hexdigest(), **more)
    for number, label in enumerate(labels):
        annotate(example, f"annotator-{number}", label)
    return example


def annotate(example, name, label, **more):
    annotator, _ = Annotator.objects.get_or_create(project=example.project, name=name)
    fields = {"value": label, "source": "file", "instructions_version": 1, "created_at": timezone.now(), **more}
    return Annotation.objects.create(example=example, annotator=annotator, **fields)


@pytest.fixture
def examples(project, bob):
    examples = [
        new_example(project, "a", "My card is broken", labels=["negative"]),
        new_example(project, "b", "My card works", labels=["positive", "positive", "neutral"], split="test"),
        new_example(project, "c", "The app is blue", split="dev")]
    create_batch(project, [examples[0].pk], title="first", by=bob)
    return examples


def example_list(client, project, **query):
    return client.get(reverse("labeling:example-list", args=[project.pk]), query)


def listed(client, project, **query):
    """The keys of the examples that the page lists."""
    return [row.record.key for row in example_list(client, project, **query).context["table"].page.object_list]


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_see_examples(project, examples, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert example_list(client, project).status_code == status
    assert client.get(reverse("labeling:example", args=[examples[0].pk])).status_code == status


@pytest.mark.parametrize(("query", "keys"), [
    ({}, ["a", "b", "c"]),
    ({"q": "CARD"}, ["a", "b"]),
    ({"split": "test"}, ["b"]),
    ({"label": "positive"}, ["b"]),
    ({"label": " none"}, ["c"]),
    ({"asked": "yes"}, ["a"]),
    ({"asked": "no"}, ["b", "c"]),
    ({"q": "card", "asked": "no", "label": "neutral"}, ["b"]),
    ({"q": "100%"}, [])])
def test_every_filter_stands_in_the_address(project, examples, bob, client_of, query, keys):
    assert listed(client_of(bob), project, **query) == keys


def test_only_current_labels_count(project, bob, client_of):
    changed = new_example(project, "changed", "text", labels=["negative"])
    annotate(changed, "annotator-0", "positive")
    taken_back = new_example(project, "taken back", "text", labels=["negative"])
    annotate(taken_back, "annotator-0", None, retracted=True)
    client = client_of(bob)
    assert listed(client, project, label="negative") == []
    assert listed(client, project, label="positive") == ["changed"]
    assert listed(client, project, label=" none") == ["taken back"]


def test_a_row_shows_how_often_each_label_was_given(project, examples, bob, client_of):
    html = example_list(client_of(bob), project, split="test").content.decode()
    assert 'positive <span class="quiet">× 2</span>, neutral' in html


def test_a_filter_that_nobody_offers_shows_nothing(project, examples, bob, client_of):
    answer = example_list(client_of(bob), project, label="unheard of")
    assert listed(client_of(bob), project, label="unheard of") == [] and "errorlist" in answer.content.decode()


def test_pages_hold_fifty_in_the_order_they_came(project, bob, client_of):
    for number in range(60):
        new_example(project, f"e{number}", f"text {number}")
    client = client_of(bob)
    assert listed(client, project) == [f"e{number}" for number in range(50)]
    assert listed(client, project, page=2) == [f"e{number}" for number in range(50, 60)]
    assert "51 to 60 of 60" in example_list(client, project, page=2).content.decode()


def test_a_page_takes_as_many_queries_for_fifty_examples_as_for_one(
        project, bob, client_of, django_assert_max_num_queries):
    for number in range(60):
        new_example(project, f"e{number}", f"text {number}", labels=["neutral"])
    client = client_of(bob)
    with django_assert_max_num_queries(13):
        example_list(client, project)


def test_without_examples_there_is_one_thing_to_do(project, bob, client_of):
    html = example_list(client_of(bob), project).content.decode()
    assert "No examples yet" in html and reverse("labeling:import", args=[project.pk]) in html


def test_a_text_cannot_put_anything_on_the_page(project, bob, client_of):
    new_example(project, "x", "<script>alert(1)</script> right \u202e to left")
    html = example_list(client_of(bob), project).content.decode()
    assert "<script>alert" not in html and "⟨U+202E⟩" in html


# One example

def test_an_example_shows_its_whole_ledger(project, examples, bob, client_of):
    annotate(examples[0], "annotator-0", "neutral", seconds=14)
    html = client_of(bob).get(reverse("labeling:example", args=[examples[0].pk])).content.decode()
    assert "<b>neutral</b>" in html and "<s>negative</s>" in html and "14\u202fs" in html


def test_an_example_leads_through_the_list_it_was_opened_from(project, examples, bob, client_of):
    client = client_of(bob)
    html = client.get(reverse("labeling:example", args=[examples[0].pk]), {"q": "card"}).content.decode()
    assert f'{reverse("labeling:example", args=[examples[1].pk])}?q=card' in html
    last = client.get(reverse("labeling:example", args=[examples[1].pk]), {"q": "card"}).content.decode()
    assert reverse("labeling:example", args=[examples[2].pk]) not in last, "it does not match the filter"


# Asking about what the filter shows

ASKED = {"title": "cards", "n_labels": 2, "overlap_share": 0, "overlap_labels": 2, "max_labels": 3,
         "skips": "next_person"}


def ask(client, project, query="", **changed):
    page = reverse("labeling:example-list", args=[project.pk])
    return client.post(reverse("labeling:batch-create", args=[project.pk]) + query, ASKED | changed, follow=True,
                       headers={"Referer": f"http://testserver{page}"})


@pytest.mark.parametrize(("who", "status"), [("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_ask(project, examples, request, client_of, who, status):
    assert ask(client_of(request.getfixturevalue(who)), project).status_code == status
    assert Job.objects.filter(kind="sync").exists() == (status == 200)


def test_the_button_counts_and_asks_about_the_whole_filter(project, bob, client_of):
    for number in range(60):
        new_example(project, f"e{number}", f"card {number}" if number else "other")
    client = client_of(bob)
    assert "Ask about 59" in example_list(client, project, q="card").content.decode()
    ask(client, project, "?q=card&page=2")
    batch = Batch.objects.get()
    assert (batch.title, batch.n_labels, batch.max_labels, batch.items.count()) == ("cards", 2, 3, 59)
    assert "all in open batches" in example_list(client, project, q="card").content.decode()


def test_a_filter_that_cannot_be_read_asks_nothing(project, bob, client_of):
    new_example(project, "a", "text")
    answer = ask(client_of(bob), project, "?label=unheard+of")
    assert "This filter cannot be read" in answer.content.decode() and not BatchItem.objects.exists()


def test_numbers_that_contradict_each_other_are_refused_on_the_page(project, examples, bob, client_of):
    answer = ask(client_of(bob), project, overlap_labels=1)
    assert "no smaller than what all get" in answer.content.decode() and Batch.objects.count() == 1


def test_answers_are_fetched_on_request(project, bob, client_of):
    client, url = client_of(bob), reverse("labeling:sync", args=[project.pk])
    home = {"Referer": f"http://testserver{reverse('projects:detail', args=[project.pk])}"}
    assert "Nobody has been asked" in client.post(url, follow=True, headers=home).content.decode()
    create_batch(project, [new_example(project, "a", "text").pk], title="t", by=bob)
    client.post(url)
    assert Job.objects.get().kind == "sync"
