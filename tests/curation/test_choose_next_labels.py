"""Letting Goldpan choose: what people answer, the plan and its reasons, the batch, and what is never chosen."""

import random
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from curation.models import Decision
from curation.services.adaptive import plan_of, start_next_labels
from jobs.models import Job
from labeling.models import Annotation, Annotator, Assignment, Batch, Example
from labeling.services.batches import Overlap, create_batch
from labeling.services.trust import add_known_answer
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import AuditEvent, Project
from tests.fake_label_studio import FakeLabelStudio
from tests.labeling.conftest import Floor, floor, server  # noqa: F401
from tests.training.conftest import encode_here

WORDS = {"negative": "awful terrible dreadful", "neutral": "ordinary plain average",
         "positive": "lovely wonderful great"}


@pytest.fixture(autouse=True)
def _encode_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.services.embeddings.run_child", encode_here)


class Crowd:
    """Thirty pool examples, ten a mood, that mira and jon agree on, but for e00, e01 and e02; n00 to n05 have no label,
    n05 repeats n04; d0 and t0 are held out, and p0 repeats t0."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.of: dict[str, Example] = {}
        draw = random.Random(0)
        for number in range(30):
            label = project.labels[number % 3]
            self.add(f"e{number:02}", self.text(label, draw))
            for name in ("mira", "jon"):
                wrong = number < 3 and name == "jon"
                self.say(f"e{number:02}", name, project.labels[(number + wrong) % 3])
        for number in range(5):
            self.add(f"n{number:02}", self.text(project.labels[number % 3], draw))
        self.add("n05", self.of["n04"].text)
        self.add("d0", self.text("neutral", draw), "dev")
        self.add("t0", self.text("positive", draw), "test")
        self.add("p0", self.of["t0"].text)

    def text(self, label: str, draw: random.Random) -> str:
        noise = " ".join("".join(draw.choices("bcdfgklmnprst", k=5)) for _ in range(3))
        return f"{WORDS[label]} {noise}"

    def add(self, key: str, text: str, split: str = "pool") -> Example:
        self.of[key] = Example.objects.create(project=self.project, key=key, text=text, data={}, group=key, split=split,
                                              content_sha256=content_sha256(text))
        return self.of[key]

    def say(self, key: str, name: str, label: str) -> None:
        annotator, _ = Annotator.objects.get_or_create(project=self.project, name=name)
        Annotation.objects.create(example=self.of[key], annotator=annotator, value=label, source="file",
                                  instructions_version=1, created_at=timezone.now())


@pytest.fixture
def crowd(project: Project) -> Crowd:
    return Crowd(project)


@pytest.fixture
def choose(crowd: Crowd, bob: User, run_jobs: Callable[[], None], server: FakeLabelStudio) -> Callable[..., Job]:  # noqa: F811
    def run(**asked: Any) -> Job:
        job = start_next_labels(crowd.project, **{"n": 20, "by": bob, **asked})
        run_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.succeeded, job.error
        return job

    return run


def chosen(job: Job) -> list[str]:
    return [one.example.key for one in plan_of(job, n=100)]


def test_disputed_examples_come_first_then_new_texts_one_of_a_cluster(choose: Callable[..., Job]) -> None:
    job = choose()
    keys = chosen(job)
    assert set(keys[:3]) == {"e00", "e01", "e02"}
    assert sorted(keys[3:]) == ["n00", "n01", "n02", "n03", "n04"]
    assert job.result["words"][0] == "8 labels: 3 for examples whose answers are not sure yet, 5 for new texts."


def test_every_choice_has_its_reason(choose: Callable[..., Job]) -> None:
    why = {one.example.key: one.why for one in plan_of(choose(), n=100)}
    assert why["e00"].startswith("Its 2 answers and the classifier together are ")
    assert why["n00"].startswith("New: the classifier says “negative” and is ")


def test_the_choice_becomes_a_batch_that_asks_others_in_its_order(
        choose: Callable[..., Job], crowd: Crowd, project: Project) -> None:
    job = choose()
    batch = Batch.objects.get(pk=job.result["batch"])
    items = list(batch.items.order_by("priority").values_list("example__key", "n_wanted"))
    assert items == [(key, 1) for key in chosen(job)]
    assert (batch.overlap_share, batch.max_labels) == (0, 5)
    assert set(Assignment.objects.filter(annotator__name="charlie").values_list("example__key", flat=True)) == {
        key for key, _ in items}
    event = AuditEvent.objects.get(project=project, what="next_labels")
    assert (event.detail["batch"], event.detail["n_again"], event.detail["n_new"]) == (1, 3, 5)


def test_a_look_asks_nobody(choose: Callable[..., Job]) -> None:
    job = choose(is_dry=True)
    assert job.result["n"] == 8
    assert not Batch.objects.exists()


def test_what_is_settled_held_out_known_or_asked_already_is_never_chosen(
        choose: Callable[..., Job], crowd: Crowd, bob: User) -> None:
    for key, verdict, value in (("e00", "keep", "negative"), ("e01", "exclude", ""), ("e02", "discuss", "")):
        Decision.objects.create(example=crowd.of[key], verdict=verdict, value=value, decided_by=bob)
    add_known_answer(crowd.of["n00"], "negative", by=bob)
    create_batch(crowd.project, [crowd.of["n04"].pk, crowd.of["d0"].pk], title="by hand", by=bob,
                 overlap=Overlap(1, 0, 1, 1))
    job = choose(is_dry=True)
    assert sorted(chosen(job)) == ["n01", "n02", "n03"]


def test_at_the_cap_the_adjudicator_is_named(choose: Callable[..., Job], crowd: Crowd) -> None:
    job = choose(cap=2, is_dry=True)
    assert not {"e00", "e01", "e02"} & set(chosen(job))
    assert job.result["n_adjudicate"] == 3
    assert job.result["is_sure"]
    assert "at the cap of 2 answers: ask an adjudicator for the 3 that end so." in job.result["words"][1]


def test_an_example_that_everybody_here_has_had_is_for_the_adjudicator(
        choose: Callable[..., Job], crowd: Crowd, charlie: User) -> None:
    Annotator.objects.create(project=crowd.project, name="charlie", user=charlie)
    crowd.say("e00", "charlie", "positive")
    job = choose(is_dry=True)
    assert "e00" not in chosen(job)
    assert job.result["n_adjudicate"] == 1


def test_where_no_classifier_helps_agreement_says_so(choose: Callable[..., Job], crowd: Crowd) -> None:
    Example.objects.filter(key__in=[f"e{n:02}" for n in range(30) if n % 3]).update(split="dev")  # one label is left
    job = choose(is_dry=True)
    assert job.result["words"][-2].startswith("No classifier could help to choose. Label at least 5")
    assert plan_of(job, n=1)[0].why == "Its 2 answers agree to 0\u202f%."
    assert chosen(job)[0] == "e00"


def test_other_types_go_by_agreement_the_lowest_first(
        project: Project, bob: User, run_jobs: Callable[[], None], server: FakeLabelStudio) -> None:  # noqa: F811
    project.task_type = "multilabel"
    project.save()
    said = {"a": (["negative", "neutral"], ["negative", "positive"]), "b": (["neutral"], ["positive"]),
            "c": (["neutral"], ["neutral"]), "d": (["neutral"],), "e": ()}
    for number, (key, values) in enumerate(said.items()):
        text = f"{key * 5} {WORDS[project.labels[number % 3]]} {key * 9}"
        example = Example.objects.create(project=project, key=key, text=text, data={}, group=key, split="pool",
                                         content_sha256=content_sha256(text))
        for person, value in enumerate(values):
            annotator, _ = Annotator.objects.get_or_create(project=project, name=f"person {person}")
            Annotation.objects.create(example=example, annotator=annotator, value=value, source="file",
                                      instructions_version=1, created_at=timezone.now())
    job = start_next_labels(project, n=10, by=bob, is_dry=True)
    run_jobs()
    job.refresh_from_db()
    assert chosen(job) == ["b", "a", "e"]
    assert "labels they share" in " ".join(job.result["words"])
    assert "1 example has one answer." in " ".join(job.result["words"])


@pytest.mark.parametrize(("asked", "words"), [
    ({"n": 0}, "1 to 2,000 labels"), ({"n": 2001}, "1 to 2,000 labels"), ({"n": 5, "target": 1.5}, "at most 1"),
    ({"n": 5, "cap": 21}, "1 to 20 answers"),
])
def test_numbers_out_of_range_are_refused_in_words(
        asked: dict[str, Any], words: str, crowd: Crowd, bob: User) -> None:
    with pytest.raises(UserError, match=words):
        start_next_labels(crowd.project, by=bob, **asked)


def test_without_examples_there_is_nothing_to_choose(project: Project, bob: User) -> None:
    with pytest.raises(UserError, match="Import some first"):
        start_next_labels(project, n=5, by=bob)


# The page and the command

def test_the_page_starts_a_choice_and_shows_the_plan_with_its_reasons(
        crowd: Crowd, bob: User, client_of: Callable[[User], Client], run_jobs: Callable[[], None],
        server: FakeLabelStudio) -> None:  # noqa: F811
    client, url = client_of(bob), reverse("curation:next-labels", args=[crowd.project.pk])
    assert "Nothing has been chosen yet" in client.get(url).content.decode()
    form = {"n": 20, "target": 0.9, "cap": 5}
    assert client.post(url, form).status_code == 302
    assert client.post(url, form).status_code == 302  # two clicks are one wish
    assert Job.objects.filter(kind="next_labels").count() == 1
    assert "data-reload-on-finish" in client.get(url).content.decode()
    run_jobs()
    page = client.get(url).content.decode()
    assert "The last choice: batch 1" in page
    assert "Its 2 answers and the classifier together are" in page
    assert client.post(url, {**form, "n": 0}).status_code == 422


def test_the_page_asks_few_queries_however_many_are_chosen(
        choose: Callable[..., Job], crowd: Crowd, bob: User, client_of: Callable[[User], Client],
        django_assert_max_num_queries: Any) -> None:
    choose()
    client = client_of(bob)
    with django_assert_max_num_queries(16):
        client.get(reverse("curation:next-labels", args=[crowd.project.pk]))


def test_the_command_says_what_it_would_ask(
        crowd: Crowd, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from jobs import services as jobs

    run = jobs.run
    monkeypatch.setattr(jobs, "run", lambda job_id: run(job_id, heartbeat=False))
    out = StringIO()
    call_command("next_labels", crowd.project.name, "--n", "4", "--dry-run", stdout=out)
    assert out.getvalue().startswith("4 labels: 3 for examples whose answers are not sure yet, 1 for new text.")
    assert out.getvalue().rstrip().endswith("Nobody is asked.")
    assert not Batch.objects.exists()
