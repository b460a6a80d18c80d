"""How long does a curator wait for each page of a project with 100,000 examples?

`python -m bench.pages`: a project is written into an empty SQLite file with Goldpan's settings: 100,000 examples, about
178,000 answers, a report with its scores, flags, changes and duplicates, vectors, decisions, discussions, a saved view,
a guideline that changed, a map with a selection, the gold set's pick, an experiment, a forecast, and two snapshots, of
which an admin has approved one. Then every page that a curator may open is asked for, as the routes name them, and so
are the actions of the queues. Printed are the median and the 95th percentile of the server's milliseconds, and the
number of queries. Exits with 1 if the median of an action or of a step in the review queue is above 150 ms, or of
another page above 300; that is CPU time, which other work on the machine does not change. On a quiet one the wall is
hardly longer.

`python -m bench.pages --data FOLDER` keeps the project there, and uses it again. No model is needed.
"""

import argparse
import hashlib
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from bench.import_examples import WORDS

ACTION_MS, LIST_MS = 150, 300
N_EXAMPLES = 100_000
N_ROUNDS = 15
N_DECIDED, N_DISCUSSED, N_IN_BATCH = 3000, 40, 5000
N_SELECTED, N_PAIRS, N_CHANGES = 20_000, 500, 8000
DIMENSION = 64
LABELS = ("billing", "card", "delivery", "login", "refund", "return", "stock", "thanks", "upgrade", "other")
DUPLICATES = "", "?what=leak", "?what=conflict", "?lowest=0.97", "?kind=semantic"
QUERIES = {"curation:map-point": "?row=5"}  # what a page is asked with, where it shows nothing without
APPS = ("projects:", "labeling:", "curation:", "training:", "jobs:")
STEPS = "?view=flagged", "?view=all", "?view=disagreement", "?view=outdated", "?view=discuss"
FILTERS = ("?view=all&order=quality", "?view=all&order=came", "?view=all&label=refund&predicted=return",
           "?view=all&q=charged+twice", "?flag=pii", "?flag=duplicate", "?view=all&annotator={annotator}",
           "?view=all&state=settled", "?view=all&state=any", "?view=all&split=test")


class Vectors:
    """The encoder of the bench's project: every vector is stored already, so nothing is ever encoded."""

    name = "bench"
    dimension = DIMENSION


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="keep the project in this folder, or use the one that is there")
    parser.add_argument("--only", nargs="+", default=[""], help="pages whose name has one of these in it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as temporary:
        data = given.data or Path(temporary)
        data.mkdir(parents=True, exist_ok=True)
        os.environ |= {"GOLDPAN_DATA": str(data), "GOLDPAN_BROKER": "memory://", "GOLDPAN_LOG_LEVEL": "ERROR",
                       "GOLDPAN_ENCODER": "bench.pages.Vectors",
                       "DJANGO_SETTINGS_MODULE": "goldpan.settings"}
        os.environ.pop("DATABASE_URL", None)
        import django

        import goldpan  # noqa: F401  # swaps a newer SQLite in

        django.setup()
        if not (data / "goldpan.sqlite3").exists():
            started = time.perf_counter()
            build()
            print(f"{N_EXAMPLES:,} examples written in {time.perf_counter() - started:.0f} s\n")
        return 0 if measure(given.only) else 1


# The project

def build() -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from labeling.models import Example
    from labeling.services.batches import Overlap, create_batch
    from projects.models import Role
    from projects.services import add_member, create_project, publish_guideline

    call_command("migrate", verbosity=0)
    alice, bob, *people = (User.objects.create_user(name) for name in (
        "alice", "bob", "charlie", "erin", "frank", "grace", "heidi", "ivan"))
    project = create_project(name="Bench", labels=[{"name": label} for label in LABELS], instructions="Say the topic.",
                             split_salt="bench", target_metric="accuracy", target_value=0.8, created_by=alice)
    add_member(project, bob, Role.curator, by=alice)
    for person in people:
        add_member(project, person, Role.annotator, by=alice)
    draw = random.Random(1)
    examples = _examples(project, draw)
    truth = [draw.choice(LABELS) for _ in examples]
    given = _answers(project, examples, truth, people, draw)
    report = _report(project, examples, truth, given, bob, draw)
    publish_guideline(project, text="Say the topic that the customer wants settled.", note="Refunds and returns.",
                      by=bob, seen=1, changed_labels=["refund", "return"])
    _vectors(examples, truth)
    _duplicates(report, draw)
    _changes(report)
    _decide(report, bob, draw)
    _discuss(project, alice, bob)
    create_batch(project, Example.objects.filter(split="pool").values_list("pk", flat=True)[:N_IN_BATCH],
                 title="more", by=bob, overlap=Overlap(3, 0, 3, 3))
    _run(_map_job(project, bob))
    _select(project, bob)
    _run(_pick_job(project, bob))
    _experiment(report, bob)
    first = _freeze(project, bob)
    _decide_more(report, bob)
    _freeze(project, bob)
    _approve(first, alice)
    _run(_pick_job(project, bob))


def _run(job: Any) -> Any:
    from jobs import services as jobs

    jobs.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    return job


def _examples(project: Any, draw: random.Random) -> list[Any]:
    from labeling.models import Example
    from labeling.texts import content_sha256, split_of

    shares = (project.split_shares["pool"], project.split_shares["dev"], project.split_shares["test"])
    texts = (" ".join(draw.choices(WORDS, k=draw.randint(6, 24))).capitalize() + "." for _ in range(N_EXAMPLES))
    Example.objects.bulk_create((Example(
        project=project, key=f"ticket-{row:07}", text=text, data={}, group=f"customer-{row // 3}",
        content_sha256=content_sha256(text), split=split_of(f"customer-{row // 3}", project.split_salt, shares))
        for row, text in enumerate(texts)), batch_size=5000)
    return list(Example.objects.order_by("pk").defer("data"))


def _answers(project: Any, examples: list[Any], truth: list[str], people: list[Any], draw: random.Random) -> list[str]:
    """One answer to each pool example, two to some of them, three to the held-out ones; return the first of each."""
    from django.utils import timezone

    from labeling.models import Annotation, Annotator

    annotators = [Annotator.objects.create(project=project, name=str(user), user=user) for user in people]
    now, first = timezone.now(), []

    def answers() -> Iterator[Annotation]:
        for example, right in zip(examples, truth, strict=True):
            n = (2 if draw.random() < 0.1 else 1) if example.split == "pool" else 3
            said = [right if draw.random() < 0.9 else draw.choice(LABELS) for _ in range(n)]
            first.append(said[0])
            for annotator, label in zip(draw.sample(annotators, n), said, strict=True):
                yield Annotation(example=example, annotator=annotator, value=label, seconds=draw.uniform(3, 30),
                                 source="file", instructions_version=1, created_at=now)

    Annotation.objects.bulk_create(answers(), batch_size=5000)
    return first


def _report(project: Any, examples: list[Any], truth: list[str], given: list[str], by: Any, draw: random.Random) -> Any:
    """A report as scoring would write it, from labels that are wrong where they are, without a model."""
    from django.utils import timezone

    from curation.models import ExampleScore, Flag, QualityReport
    from jobs.models import Job

    now = timezone.now()
    job = Job.objects.create(project=project, kind="score", title="Scored", state="succeeded", requested_by=by,
                             started_at=now, finished_at=now)
    pool = [row for row, example in enumerate(examples) if example.split == "pool"]
    flagged = {row for row in pool if given[row] != truth[row]}
    report = QualityReport.objects.create(
        project=project, job=job, encoder="bench", n_examples=len(examples), n_scored=len(pool), n_issues=len(flagged),
        n_clusters=len(examples) // 40, n_crossing=0, duplicate_threshold=0.95, accuracy=0.9, majority_share=0.1)

    def scores() -> Iterator[ExampleScore]:
        for row, example in enumerate(examples):
            is_pool, is_flagged = example.split == "pool", row in flagged
            quality = (draw.uniform(0, 0.4) if is_flagged else draw.uniform(0.4, 1)) if is_pool else None
            near = [[examples[other].pk, 0.8] for other in draw.sample(pool, 5)] if is_flagged else []
            yield ExampleScore(
                report=report, example=example, label=given[row] if is_pool else "", n_labels=1, label_quality=quality,
                predicted_label=truth[row] if is_pool else "", is_label_issue=is_flagged,
                label_probability=quality, predicted_probability=None if quality is None else 1 - quality / 2,
                annotator_agreement=0.5 if is_pool and draw.random() < 0.05 else None,
                cluster=row - row % 2 if row % 40 < 2 else row, cluster_size=2 if row % 40 < 2 else 1,
                neighbours=near, expected_gain=0 if quality is None else 1 - quality,
                reasons=["The label looks wrong to a model that has not seen it."] if is_flagged else [])

    ExampleScore.objects.bulk_create(scores(), batch_size=2000)
    written = report.scores.filter(example__split="pool").order_by("pk")
    kinds = {Flag.Kind.label_issue: written.filter(is_label_issue=True),
             Flag.Kind.disagreement: written.filter(annotator_agreement__lt=1),
             Flag.Kind.duplicate: written.filter(cluster_size=2), Flag.Kind.pii: written[:300],
             Flag.Kind.outlier: written[1000:1600]}
    Flag.objects.bulk_create((Flag(report=report, score=score, kind=kind, label_quality=score.label_quality,
                                   reason=f"{kind.label}.") for kind, found in kinds.items() for score in found),
                             batch_size=5000)
    QualityReport.objects.filter(pk=report.pk).update(n_flags={kind: found.count() for kind, found in kinds.items()})
    return report


def _decide(report: Any, by: Any, draw: random.Random) -> None:
    from curation.models import Decision
    from curation.services.review import decide

    scores = list(report.scores.filter(is_label_issue=True).select_related("example").order_by("-pk")[:N_DECIDED])
    Decision.objects.bulk_create((Decision(
        example=score.example, report=report, decided_by=by,
        **({"verdict": "keep", "value": score.label} if draw.random() < 0.3 else
           {"verdict": "relabel", "value": score.predicted_label})) for score in scores), batch_size=2000)
    for score in report.scores.filter(is_label_issue=True, label_quality__gt=0.2).select_related(
            "example__project").order_by("pk")[:N_DISCUSSED]:
        decide(score.example, verdict="discuss", reason="Refund or return?", by=by, report=report)


def _vectors(examples: list[Any], truth: list[str]) -> None:
    """A vector per text, near its label's; near-copies of a text lie beside it."""
    from django.conf import settings

    from curation.models import Embedding, EmbeddingShard
    from projects.objects import put_object

    random = np.random.default_rng(1)
    centres = random.normal(size=(len(LABELS), DIMENSION))
    vectors = centres[[LABELS.index(label) for label in truth]] + random.normal(size=(len(examples), DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = settings.GOLDPAN_DATA / "vectors.npy"
    np.save(path, vectors.astype(np.float16), allow_pickle=False)
    shard = EmbeddingShard.objects.create(encoder=Vectors.name, n_rows=len(examples),
                                          sha256=put_object(settings.GOLDPAN_OBJECTS, path))
    Embedding.objects.bulk_create(
        (Embedding(encoder=Vectors.name, content_sha256=example.content_sha256, shard=shard, row=row)
         for row, example in enumerate(examples)), batch_size=5000, ignore_conflicts=True)


def _duplicates(report: Any, draw: random.Random) -> None:
    """A cluster for every two examples that the report calls near-copies, leaks first, and pairs to judge."""
    from curation.models import DuplicateCluster, DuplicateMember, PairToJudge

    pairs: dict[int, list[Any]] = {}
    for score in report.scores.filter(cluster_size=2).select_related("example").order_by("pk"):
        pairs.setdefault(score.cluster, []).append(score)
    order = {"leak": 0, "conflict": 1, "other": 2}

    def what(one: Any, other: Any) -> str:
        if one.example.split != other.example.split:
            return "leak"
        return "conflict" if one.label != other.label else "other"

    found = sorted((order[what(*pair)], pair[0].pk, what(*pair), pair) for pair in pairs.values() if len(pair) == 2)
    clusters = DuplicateCluster.objects.bulk_create((DuplicateCluster(
        report=report, place=place, what=kind, kind=draw.choice(["exact", "lexical", "semantic"]), centre=one.example,
        size=2, n_held_out=sum(score.example.split != "pool" for score in (one, other)), n_to_exclude=1,
        similarity=draw.uniform(0.95, 1), n_labels=len({one.label, other.label}),
        urgency=2.0 if one.label != other.label else 0.0,
        members_sha256=hashlib.sha256(f"{one.example_id},{other.example_id}".encode()).hexdigest())
        for place, (_, _, kind, (one, other)) in enumerate(found)), batch_size=2000)
    DuplicateMember.objects.bulk_create((DuplicateMember(
        cluster=cluster, example=score.example, similarity=1 if score.example_id == cluster.centre_id else 0.97,
        kind=cluster.kind) for cluster, (_, _, _, pair) in zip(clusters, found, strict=True) for score in pair),
        batch_size=2000)
    ids = sorted(draw.sample([score.example_id for pair in pairs.values() for score in pair], 2 * N_PAIRS))
    PairToJudge.objects.bulk_create(PairToJudge(
        report=report, place=place, example_a_id=ids[2 * place], example_b_id=ids[2 * place + 1],
        similarity=draw.uniform(0.8, 1)) for place in range(N_PAIRS))


def _changes(report: Any) -> None:
    """As if a report before this one had said otherwise of some examples."""
    from curation.models import QualityReport, ScoreChange

    scores = list(report.scores.filter(is_label_issue=True).order_by("pk")[:N_CHANGES])
    ScoreChange.objects.bulk_create((ScoreChange(report=report, score=score, what="flagged", kind="label_issue",
                                                 after="label looks wrong.") for score in scores), batch_size=5000)
    QualityReport.objects.filter(pk=report.pk).update(
        n_changes={"flagged": len(scores), "flagged label_issue": len(scores)})


def _discuss(project: Any, alice: Any, bob: Any) -> None:
    from curation.models import Message, SavedView
    from labeling.models import Example

    discussed = Example.objects.filter(decisions__verdict="discuss").order_by("pk")
    Message.objects.bulk_create(Message(example=example, author=alice, text="The customer wants the money back.",
                                        asked=bob) for example in discussed for _ in range(2))
    SavedView.objects.create(project=project, name="refund or return", owner=bob, is_shared=True,
                             query="view=all&label=refund&predicted=return")


def _map_job(project: Any, by: Any) -> Any:
    from curation.services.maps import start_map

    return start_map(project, by=by, wake=False)


def _select(project: Any, by: Any) -> None:
    from curation.services.maps import latest_map
    from curation.services.selections import create_selection
    from labeling.models import Example

    ids = np.array(Example.objects.order_by("pk").values_list("pk", flat=True)[:5 * N_SELECTED:5])
    create_selection(project, ids, by=by, drawn=latest_map(project))


def _pick_job(project: Any, by: Any) -> Any:
    """The job that the gold set's page starts when nobody knows yet what its rule picks."""
    from curation.services.gold_sets import gold_set_of, look, rule_of

    job = look(project, rule_of(gold_set_of(project)), by=by).job
    assert job is not None
    return job


def _experiment(report: Any, by: Any) -> None:
    """An experiment and a forecast as their jobs would write them; what they hold does not grow with the project."""
    from curation.models import Experiment, ExperimentArm, LabelForecast
    from jobs.models import Job

    def job(kind: str) -> Any:
        return Job.objects.create(project=report.project, kind=kind, title=kind, state="succeeded", requested_by=by,
                                  started_at=report.created_at, finished_at=report.created_at)

    def interval(estimate: float) -> dict[str, Any]:
        return {"estimate": estimate, "low": estimate - 0.01, "high": estimate + 0.01, "n": 1000}

    experiment = Experiment.objects.create(
        project=report.project, kind="arms", report=report, job=job("experiment"), split="dev", n=1000, config={},
        verdict=["Settling the flagged labels helps, by 3 points."], created_by=by)
    ExperimentArm.objects.bulk_create(ExperimentArm(
        experiment=experiment, position=position, name=name, what="Rows.", n_rows=500, accuracies=[0.8] * 5,
        accuracy=interval(0.8), difference=interval(0.03) if position else None, rows_sha256="0" * 64,
        right_sha256="0" * 64, seconds=1.0) for position, name in enumerate(("all as labelled", "gold", "random few")))
    sizes = [1000, 2000, 4000, 8000, 16_000, 32_000]
    LabelForecast.objects.create(
        project=report.project, report=report, job=job("forecast"), target_metric="accuracy", target_value=0.8,
        n_train=32_000, n_dev=1000, sizes=sizes, errors=[[0.4 - 0.05 * at] * 5 for at in range(6)],
        found={"floor": 0.1, "backtest": 0.02, "widened_by": 1.2, "needed": 62_000, "needed_low": 40_000,
               "needed_high": None, "may_never": False,
               "band": [[size, 0.3 - 0.01 * at, 0.28 - 0.01 * at, 0.35 - 0.01 * at]
                        for at, size in enumerate([*sizes, 64_000, 128_000, 256_000])],
               "price": {"seconds": 12.0, "per_example": 1.5, "wage": 20.0, "currency": "EUR"}},
        words=["Another 30,000 labels may reach the target."])


def _decide_more(report: Any, by: Any) -> None:
    """Decisions after the first snapshot, so that the second one differs and some of the first one's labels aged."""
    from curation.models import Decision, SnapshotRow

    in_gold = SnapshotRow.objects.filter(split="train").order_by("pk").values_list("example_id", flat=True)[:50]
    Decision.objects.bulk_create(Decision(
        example=score.example, report=report, decided_by=by, verdict="relabel",
        value=next(label for label in LABELS if label != score.label))
        for score in report.scores.filter(example__in=list(in_gold)).select_related("example"))


def _freeze(project: Any, by: Any) -> Any:
    from curation.models import Snapshot
    from curation.services.snapshots import start_freeze

    return Snapshot.objects.get(job=_run(start_freeze(project, by=by, wake=False)))


def _approve(snapshot: Any, by: Any) -> None:
    """Failing checks are overridden: labels drawn at random tie, and near-copies stand in two splits."""
    from curation.services.approvals import (
        approve_snapshot,
        comment_on,
        judged_checks,
        override_check,
        request_approval,
    )

    request_approval(snapshot, by=snapshot.created_by)
    comment_on(snapshot, text="I have read the first hundred rows.", by=by)
    for judged in judged_checks(snapshot):
        if not judged.is_green:
            override_check(snapshot, name=judged.check.name, n=judged.check.n, reason="A bench.", by=by)
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=by)


# The pages

def measure(only: list[str]) -> bool:
    """Print a line per page and action; return whether all goals are met."""
    from django.contrib.auth.models import User
    from django.test import Client
    from django.test.utils import setup_test_environment

    setup_test_environment()
    logging.disable()  # of what is refused, since it is no page of a curator's
    bob = User.objects.get(username="bob")
    client = Client()
    client.force_login(bob)
    print(f"{'':58}    wall, ms    CPU, ms\n{'page or action':58}   p50   p95   p50   p95  queries  goal")
    are_met, other = True, []
    asked: list[tuple[str, int, Callable[[], Any]]] = [*_actions(client), *_pages(client, bob)]
    for name, goal, ask in asked:
        if not any(part in name for part in only):
            continue
        found = _timed(ask)
        if found is None:
            other.append(name)
            continue
        wall, cpu, n_queries = found
        is_met = median(cpu) <= goal
        are_met &= is_met
        figures = [of(some) for some in (wall, cpu) for of in (median, lambda some: quantiles(some, n=20)[-1])]
        print(f"{name:58}" + "".join(f"{figure:6.0f}" for figure in figures)
              + f"{n_queries:9}  {goal:4} {'met' if is_met else 'MISSED'}", flush=True)
    print(f"\nNo pages, or not this project's: {', '.join(other) or 'none'}")
    return are_met


def _pages(client: Any, user: Any) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Every route below the apps that leads to an object, with an object of the project that it is about."""
    from django.urls import URLPattern, URLResolver, get_resolver, reverse

    from curation.models import Selection
    from jobs.models import Job
    from labeling.models import Annotator
    from projects.models import Project

    def routes(patterns: list[Any], names: str = "") -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from routes(pattern.url_patterns, f"{names}{pattern.namespace}:" if pattern.namespace else names)
            elif isinstance(pattern, URLPattern):
                yield f"{names}{pattern.name}", pattern

    def asking(url: str, **headers: str) -> Callable[[], Any]:
        return lambda: client.get(url, headers=headers)

    project = Project.objects.get()
    review, annotator = reverse("curation:review", args=[project.pk]), Annotator.objects.order_by("pk")[0]
    for query in (*STEPS, *FILTERS):
        query = query.format(annotator=annotator.pk)
        yield (f"GET review, a step {query}", ACTION_MS if query in STEPS else LIST_MS,
               asking(review + query, **{"HX-Request": "true"}))
    for query in FILTERS[:-1]:  # nobody decides about held-out examples by the dozen
        query = query.format(annotator=annotator.pk)
        yield f"GET curation:bulk {query}", LIST_MS, asking(reverse("curation:bulk", args=[project.pk]) + query)
    duplicates = reverse("curation:duplicates", args=[project.pk])
    for query in DUPLICATES:
        yield f"GET duplicates, a step {query}", ACTION_MS, asking(duplicates + query, **{"HX-Request": "true"})
    selection = Selection.objects.order_by("pk")[0]
    yield "GET review, a step among the selected", LIST_MS, asking(
        f"{review}?view=all&selection={selection.pk}", **{"HX-Request": "true"})
    yield "GET map, with a selection", LIST_MS, asking(
        f"{reverse('curation:map', args=[project.pk])}?selection={selection.pk}")
    gold_set = reverse("curation:gold-set", args=[project.pk])
    yield "GET gold set, its pick unknown since a decision", LIST_MS, asking(gold_set)
    yield "POST freeze, its pick unknown", ACTION_MS, lambda: client.post(reverse("curation:freeze", args=[project.pk]))

    def picked() -> Any:
        for job in Job.objects.filter(project=project, kind="pick", state="queued"):
            _run(job)
        return client.get(gold_set)

    yield "GET gold set, its pick known", LIST_MS, picked
    yield "POST freeze, its pick known", ACTION_MS, lambda: client.post(reverse("curation:freeze", args=[project.pk]))
    for name, pattern in routes(get_resolver().url_patterns):
        model = getattr(pattern.callback, "model", None)
        if model is None or not name.startswith(APPS):
            continue
        found = model.objects.visible_to(user).order_by("pk").last()  # a snapshot with one before it
        if found is not None:
            more = {part: 0 for part in pattern.pattern.converters if part != "pk"}
            url = reverse(name, kwargs={"pk": found.pk, **more})
            yield f"GET {name}", LIST_MS, asking(url + QUERIES.get(name, ""))


def _actions(client: Any) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """What is done with a key: each decision is about the example that the page before it showed."""
    from django.urls import reverse

    from projects.models import Project

    project = Project.objects.get()
    headers = {"HX-Request": "true"}

    def deciding(query: str) -> Callable[[], Any]:
        state: dict[str, int] = {}

        def ask() -> Any:
            if not state:
                shown = client.get(reverse("curation:review", args=[project.pk]) + query).context
                state.update(score=shown["item"].score.pk, seen=shown["item"].seen)
            answer = client.post(reverse("curation:decide", args=[project.pk]) + query,
                                 {**state, "verdict": "exclude"}, headers=headers)
            state.update(score=answer.context["item"].score.pk, seen=answer.context["item"].seen)
            return answer

        return ask

    for query in ("?view=flagged", "?view=all", "?view=outdated", "?view=all&label=refund&predicted=return",
                  "?view=all&q=charged+twice", "?flag=duplicate"):
        yield f"POST decide {query}", ACTION_MS, deciding(query)
    def settling() -> Any:
        url = reverse("curation:duplicates", args=[project.pk])
        cluster = client.get(url, headers=headers).context["item"].cluster
        return client.post(reverse("curation:duplicates-settle", args=[project.pk]),
                           {"cluster": cluster.pk, "verdict": "keep_one"}, headers=headers)

    def judging() -> Any:
        pair = client.get(reverse("curation:pairs", args=[project.pk]), headers=headers).context["item"].pair
        return client.post(reverse("curation:pairs-judge", args=[project.pk]), {"pair": pair.pk, "answer": "same"},
                           headers=headers)

    yield "GET duplicates and POST settle", 2 * ACTION_MS, settling
    yield "GET pairs and POST judge", 2 * ACTION_MS, judging
    yield "POST undo", ACTION_MS, lambda: client.post(
        reverse("curation:undo", args=[project.pk]) + "?view=flagged", headers=headers)


def _timed(ask: Callable[[], Any]) -> tuple[list[float], list[float], int] | None:
    """The milliseconds of some calls after a first one, wall and CPU, and its queries; None for what is no page."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    answer = ask()
    is_post = answer.request["REQUEST_METHOD"] == "POST"
    if (answer.status_code in (302, 400, 403, 404, 405) and not is_post) or answer.has_header("Content-Disposition"):
        return None
    assert answer.status_code in ((200, 302) if is_post else (200,)), (answer.status_code, answer.content[:500])
    with CaptureQueriesContext(connection) as queries:
        ask()
        n_queries = len(queries)
    wall, cpu = [], []
    for _ in range(N_ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        ask()
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - used))
    return wall, cpu, n_queries


if __name__ == "__main__":
    sys.exit(main())
