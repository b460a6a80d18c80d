"""A selection, from the map or of a check by hand, as a filter of the review queue."""

from urllib.parse import parse_qsl

import pytest
from django.urls import reverse

from curation.models import Decision
from curation.services.bulk_decisions import decide_all, look_at
from curation.services.queue import Filter, Queue, filter_words, read_filter
from curation.services.review import decide
from curation.services.saved_views import save_view
from curation.services.selections import create_selection
from projects.errors import UserError

HTMX = {"HX-Request": "true"}


def selected(scored, by, *keys):
    return create_selection(scored.project, [scored.examples[key].pk for key in keys], by=by)


def test_the_queue_holds_exactly_what_is_selected(scored, bob):
    scored.report.scores.filter(example__key="p12").update(label="", label_quality=None)  # nobody has labelled it
    selection = selected(scored, bob, "p01", "p12", "p02", "t1")
    filter_ = read_filter({"selection": str(selection.pk)})
    queue = Queue(scored.report, filter_)
    assert filter_ == Filter(view="all", selection=selection.pk)
    assert read_filter(dict(parse_qsl(filter_.query))) == filter_
    assert filter_words(filter_, {}) == f"everything, of selection {selection.pk}"
    there, score = [], queue.first()
    while score is not None:
        there.append(score.example.key)
        score = queue.after(score)
    assert there == ["p01", "p02", "p12"] and queue.n() == 3
    assert [score.example.key for score in Queue(scored.report, Filter(
        view="all", selection=selection.pk, split="test")).ordered] == ["t1"]
    decide(scored.examples["p01"], verdict="keep", by=bob, report=scored.report)
    assert Queue(scored.report, filter_).n() == 2


def test_one_decision_is_about_exactly_the_selected(scored, bob):
    filter_ = Filter(view="all", selection=selected(scored, bob, "p01", "p05", "t1").pk)
    look = look_at(Queue(scored.report, filter_))
    assert look.seen.n == 2
    bulk = decide_all(scored.project, filter_, seen=look.seen, action="exclude", by=bob)
    assert set(Decision.objects.values_list("example__key", flat=True)) == {"p01", "p05"}
    assert bulk.query == filter_.query


def test_a_view_keeps_its_selection_and_the_page_leads_on(scored, alice, bob, client_of):
    selection = selected(scored, bob, "p01", "p05")
    view = save_view(scored.project, {"selection": str(selection.pk)}, name="Odd", is_shared=True, by=bob)
    url = reverse("curation:review", args=[scored.project.pk])
    html = client_of(alice).get(f"{url}?{view.query}").content.decode()
    assert "2 in this filter" in html and f'name="selection" value="{selection.pk}"' in html
    assert f"view=all&amp;selection={selection.pk}&amp;at={scored.score('p05').pk}" in html
    assert f"{reverse('curation:map', args=[scored.project.pk])}?selection={selection.pk}" in html
    assert client_of(bob).get(reverse("curation:bulk", args=[scored.project.pk]) + f"?{view.query}").status_code == 200


def test_a_selection_of_another_project_is_none(scored, dora, bob, client_of):
    theirs = create_selection(dora.memberships.get().project, [1], by=dora)
    with pytest.raises(UserError, match=f"There is no selection {theirs.pk} in this project"):
        Queue(scored.report, Filter(view="all", selection=theirs.pk)).n()
    url = reverse("curation:review", args=[scored.project.pk])
    response = client_of(bob).get(url, {"selection": theirs.pk})
    assert response.status_code == 400 and "There is no selection" in response.content.decode()


def test_a_step_through_a_selection_asks_no_more_than_another(scored, bob, client_of, django_assert_max_num_queries):
    client, url = client_of(bob), reverse("curation:review", args=[scored.project.pk])
    selection = selected(scored, bob, *scored.examples)
    with django_assert_max_num_queries(36):
        client.get(url, {"selection": selection.pk}, headers=HTMX)
