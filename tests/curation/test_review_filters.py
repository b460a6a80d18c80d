import itertools
from urllib.parse import parse_qsl

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from curation.models import ExampleScore, Flag
from curation.services import keeping
from curation.services.queue import ORDERS, STATES, VIEWS, Filter, Queue, filter_words, read_filter
from curation.services.review import decide, review_counts, undo
from labeling.models import Annotator
from projects.errors import UserError
from projects.models import Project
from projects.services import publish_guideline
from tests.curation.conftest import annotate

HTMX = {"HX-Request": "true"}
filters = st.builds(
    Filter, view=st.sampled_from(list(VIEWS)), flag=st.sampled_from(["", *Flag.Kind.values]), label=st.text(max_size=9),
    predicted=st.text(max_size=9), annotator=st.integers(0, 99), cluster=st.none() | st.integers(0, 99),
    selection=st.integers(0, 99), split=st.sampled_from(["pool", "dev", "test"]), q=st.text(max_size=9).map(str.strip),
    state=st.sampled_from(list(STATES)), order=st.sampled_from(list(ORDERS)))


@pytest.fixture
def flags(scored):
    """p06 and p07 hold personal data; so does p23's text, which nobody has labelled."""
    ExampleScore.objects.filter(pk=scored.score("p23").pk).update(label="", label_quality=None)
    return Flag.objects.bulk_create(Flag(
        report=scored.report, score=scored.score(key), kind="pii", reason="An e-mail address.") for key in (
        "p06", "p07", "p23"))


def keys(scored, **filter_):
    queue = Queue(scored.report, Filter(**{"view": "all", "order": "came", **filter_}))
    return [score.example.key for score in queue.ordered]


def labelled(*numbers):
    return [f"p{number:02}" for number in numbers]


@given(filters)
def test_an_address_gives_back_its_filter(filter_):
    assert read_filter(dict(parse_qsl(filter_.query, keep_blank_values=True))) == filter_


def test_a_plain_view_has_a_plain_address():
    assert Filter().query == "view=flagged" and Filter(view="all", order="came").query == "view=all&order=came"


@pytest.mark.parametrize("given", [{}, {"view": "odd"}, {"state": "x", "order": "y", "split": "z"},
                                   {"annotator": "-1", "cluster": "9" * 30}])
def test_what_an_address_has_wrong_counts_as_left_out(given):
    assert read_filter(given) == Filter()


def test_a_flag_alone_means_everything_that_has_it():
    assert read_filter({"flag": "pii"}) == Filter(view="all", flag="pii")
    with pytest.raises(UserError, match=r"There is no flag “rash”\. The flags are: label_issue, "):
        read_filter({"flag": "rash"})


def test_each_part_narrows_the_queue(scored, flags):
    jon = Annotator.objects.get(name="jon")
    assert keys(scored, label="negative") == labelled(*range(0, 24, 3))
    assert keys(scored, label="negative", predicted="positive") == ["p00", "p03"]  # a pair that is confused
    assert keys(scored, annotator=jon.pk) == ["p02", "p05"]
    assert keys(scored, cluster=scored.score("p06").cluster) == ["p06", "p07"]
    assert keys(scored, cluster=0) == ["p00"]  # the first one is a cluster like any other
    assert keys(scored, q="TEXT P1") == labelled(*range(10, 20))
    assert keys(scored, view="flagged", label="positive") == ["p02"]
    assert keys(scored, flag="pii") == ["p06", "p07", "p23"]  # a flag needs no label
    assert keys(scored, flag="pii", label="negative") == ["p06"]
    assert keys(scored, split="dev") == ["d0", "d1", "d2", "d3", "d4", "d5"]


def test_settled_examples_are_a_filter_away(scored, bob):
    decide(scored.examples["p00"], verdict="keep", by=bob, report=scored.report)
    decide(scored.examples["p01"], verdict="discuss", reason="?", by=bob, report=scored.report)
    assert keys(scored, view="flagged") == ["p02", "p03"]
    assert keys(scored, view="flagged", state="settled") == ["p00"]
    assert keys(scored, view="flagged", state="any") == ["p00", "p01", "p02", "p03"]
    assert keys(scored, view="discuss") == ["p01"]


def test_labels_of_a_set_are_found_by_name(scored):
    Project.objects.filter(pk=scored.project.pk).update(task_type="multilabel")
    scored.report.project.refresh_from_db()
    for key, label in (("p00", "neutral"), ("p01", "negative\nneutral"), ("p02", "neutral\npositive"),
                       ("p03", "negative\nneutral\npositive"), ("p04", "negative\npositive")):
        ExampleScore.objects.filter(pk=scored.score(key).pk).update(label=label)
    scored.report.scores.exclude(example__key__in=labelled(*range(5))).delete()
    assert keys(scored, label="neutral") == labelled(0, 1, 2, 3)


@pytest.mark.parametrize(("order", "view"), itertools.product(ORDERS, ("all", "flagged")))
def test_the_steps_walk_the_whole_queue_and_back(scored, order, view):
    for key, gain in (("p05", 0.9), ("p11", 0.9), ("p02", 0.5), ("p00", 0.5)):
        ExampleScore.objects.filter(pk=scored.score(key).pk).update(expected_gain=gain)
    ExampleScore.objects.filter(pk__in=[scored.score(key).pk for key in ("p03", "p04")]).update(label_quality=None)
    Project.objects.filter(pk=scored.project.pk).update(task_type="preference")  # where answers may have no quality
    scored.report.project.refresh_from_db()
    queue = Queue(scored.report, Filter(view=view, order=order))
    there, score = [], queue.first()
    while score is not None:
        there.append(score)
        score = queue.after(score)
    back, score = [], there[-1]
    while score is not None:
        back.append(score)
        score = queue.before(score)
    assert there == back[::-1] and len(there) == len(set(there)) == (24 if view == "all" else 4)
    first = [score.example.key for score in there[:4]]
    if view == "all":
        assert first == {"gain": ["p05", "p11", "p00", "p02"], "quality": ["p00", "p01", "p02", "p05"],
                         "came": ["p00", "p01", "p02", "p03"]}[order]


def test_a_filter_is_told_in_words(scored):
    jon = Annotator.objects.get(name="jon")
    filter_ = Filter(view="flagged", flag="pii", label="negative", predicted="positive", annotator=jon.pk, q="late")
    assert filter_words(filter_, {jon.pk: "Annotator 2"}) == (
        "looks wrong, flagged: personal data (pattern check), given “negative”, suggested “positive”, answered by "
        "Annotator 2, with “late” in the text")
    assert filter_words(Filter(view="all", state="settled", split="dev"), {}) == "everything, settled, held out for dev"


# Counts of a large project are kept, and mended for what was decided and answered since

@pytest.fixture
def large(scored, monkeypatch):
    monkeypatch.setattr(keeping, "MANY_EXAMPLES", 1)
    keeping.cache.clear()
    yield scored
    keeping.cache.clear()


def counted(scored):
    return [Queue(scored.report, filter_).n() for filter_ in (
        Filter(), Filter(view="all"), Filter(view="discuss"), Filter(view="outdated"),
        Filter(view="all", state="settled"), Filter(view="all", label="negative"),
        Filter(view="all", annotator=Annotator.objects.get(name="jon").pk))]


def test_kept_counts_are_those_that_counting_finds(large, bob, alice):
    scored = large
    assert counted(scored) == [4, 24, 0, 0, 0, 8, 2]
    decide(scored.examples["p00"], verdict="keep", by=bob, report=scored.report)
    decide(scored.examples["p02"], verdict="discuss", reason="?", by=alice, report=scored.report)
    assert counted(scored) == [2, 22, 1, 0, 1, 7, 1]
    undo(scored.project, by=bob)
    annotate(scored.examples["p09"], "jon", "neutral")
    assert counted(scored) == [3, 23, 1, 0, 0, 8, 2]
    publish_guideline(scored.project, text="Hear the tone.", note="Tone.", by=bob, seen=1, changed_labels=["negative"])
    scored.report.project.refresh_from_db()
    assert counted(scored)[3] == 8
    decide(scored.examples["p03"], verdict="keep", by=bob, report=scored.report)
    assert counted(scored) == [2, 22, 1, 7, 1, 7, 2]


def test_when_too_much_has_changed_everything_is_counted_anew(large, bob, monkeypatch):
    assert counted(large)[0] == 4
    monkeypatch.setattr(keeping, "MOST_TOUCHED", 1)
    for key in ("p00", "p01"):
        decide(large.examples[key], verdict="exclude", by=bob, report=large.report)
    assert counted(large)[:2] == [2, 22]


def test_a_step_in_a_large_project_counts_nothing(large, bob, client_of, django_assert_max_num_queries):
    client, url = client_of(bob), reverse("curation:review", args=[large.project.pk])
    client.get(url, {"view": "all", "label": "negative"}, headers=HTMX)
    with django_assert_max_num_queries(34) as asked:
        client.get(url, {"view": "all", "label": "negative"}, headers=HTMX)
    assert not [one for one in asked.captured_queries if "COUNT(" in one["sql"] and "is_label_issue" in one["sql"]]
    review_counts(large.report)


# The page

def page(client, scored, **query):
    return client.get(reverse("curation:review", args=[scored.project.pk]), query).content.decode()


def test_the_page_keeps_the_filter_in_every_address(scored, bob, client_of):
    html = page(client_of(bob), scored, view="all", label="negative", order="quality")
    assert "8 in this filter" in html and "Everything, given “negative”" in html
    kept = "view=all&amp;label=negative&amp;order=quality"
    for name in ("decide", "undo", "bulk", "save-view"):
        assert f"{reverse(f'curation:{name}', args=[scored.project.pk])}?{kept}" in html
    assert f'?{kept}&amp;at={scored.score("p03").pk}"' in html  # the next one


def test_a_filter_with_nothing_in_it_offers_the_way_out(scored, bob, client_of):
    html = page(client_of(bob), scored, view="all", q="zebra")
    assert "Nothing is left in this filter." in html and "Leave the filter" in html


def test_held_out_examples_can_be_looked_at_and_have_no_suggestion(scored, bob, client_of):
    html = page(client_of(bob), scored, view="all", split="dev")
    assert "This is text d0." in html and "nobody overrules it here" in html and "Accept suggestion" not in html


def test_an_unknown_flag_is_told(scored, bob, client_of):
    assert "There is no flag “rash”" in page(client_of(bob), scored, flag="rash")
