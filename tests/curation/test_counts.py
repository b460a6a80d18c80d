"""The maintained counts are what counting would say, whatever way rows came in."""

import itertools

import pytest
from django.db import connection
from django.db.models import Count
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.models import ExampleCount
from labeling.models import Annotation, Annotator, Example
from labeling.services.bulk import insert_ignoring_conflicts
from tests.curation.conftest import annotate, new_example

NUMBER = itertools.count()


def kept(project):
    return {count.split: (count.n_examples, count.n_labels, count.n_labelled)
            for count in ExampleCount.objects.filter(project=project) if count.n_examples}


def counted(project):
    current = Annotation.objects.current().filter(example__project=project)
    examples = Example.objects.filter(project=project).order_by().values_list("split").annotate(n=Count("pk"))
    return {split: (n, current.filter(example__split=split).count(),
                    current.filter(example__split=split).values("example").distinct().count()) for split, n in examples}


def test_examples_and_answers_are_counted_as_they_come(scored):
    assert kept(scored.project) == counted(scored.project)
    assert kept(scored.project)["pool"] == (24, 26, 24)  # jon answered two that mira answered
    annotate(scored.examples["p00"], "mira", "positive")  # changed her mind: still one answer
    assert kept(scored.project)["pool"] == (24, 26, 24)


def test_a_project_of_its_own_is_counted_alone(project, dora):
    other = dora.memberships.get().project
    new_example(project, "a", "pool")
    new_example(other, "a", "pool")
    new_example(other, "b", "pool")
    assert (kept(project), kept(other)) == ({"pool": (1, 0, 0)}, {"pool": (2, 0, 0)})


def test_a_bulk_insert_counts_what_was_new(project):
    columns = ("project_id", "key", "text", "data", "content_sha256", "group", "split")
    rows = [(project.pk, f"k{n}", "text", "{}", "0" * 64, "g", "dev" if n % 3 else "test") for n in range(9)]
    insert_ignoring_conflicts(Example, columns, rows[:6])
    assert insert_ignoring_conflicts(Example, columns, rows) == 3
    assert kept(project) == {"dev": (6, 0, 0), "test": (3, 0, 0)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(["label", "skip", "retract"])),
                max_size=25), st.integers(1, 6))
def test_any_ledger_is_counted_as_its_newest_rows_say(project, answers, per_statement):
    examples = [new_example(project, f"x{next(NUMBER)}", split) for split in ("pool", "pool", "dev", "test")]
    people = [Annotator.objects.get_or_create(project=project, name=name)[0] for name in ("mira", "jon", "kim")]
    rows = [Annotation(example=examples[example], annotator=people[person], skipped=what == "skip",
                       retracted=what == "retract", value="neutral" if what == "label" else None, source="file",
                       instructions_version=1, created_at=timezone.now()) for example, person, what in answers]
    Annotation.objects.bulk_create(rows, batch_size=per_statement)
    assert kept(project) == counted(project)


def test_reading_the_counts_reads_no_example(scored, django_assert_num_queries):
    with django_assert_num_queries(1):
        list(ExampleCount.objects.filter(project=scored.project))
    if connection.vendor == "sqlite":
        plan = ExampleCount.objects.filter(project=scored.project).explain()
        assert "USING INDEX" in plan and "labeling" not in plan


@pytest.mark.parametrize("who", ["bob"])
def test_the_home_page_shows_them(scored, who, request, client_of):
    from django.urls import reverse

    html = client_of(request.getfixturevalue(who)).get(reverse("projects:detail", args=[scored.project.pk]))
    assert ">39<" in html.content.decode() and ">71<" in html.content.decode()  # 24 + 2 + 3 × 15 answers
