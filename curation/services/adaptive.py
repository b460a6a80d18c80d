"""Let Goldpan choose what people label next: one more answer where it settles something, the rest for new texts.

1. Texts are embedded and near-duplicates joined, as scoring does.
2. Labels get out-of-sample probabilities, texts without one those of a classifier fitted on all labels. Where no
   classifier can help, examples are compared by how far their answers agree, and new texts chosen for being unlike.
3. `curation.next_labels` plans; the plan becomes a batch, one answer each, in the plan's order.
Examples of dev and test are never chosen here: their labels must not depend on a score.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.answers import COMPARED
from curation.next_labels import CAP, TARGET, Judged, judge, next_labels, words
from curation.probabilities import out_of_sample_probabilities, probabilities_of_unlabelled
from curation.services.duplicate_search import find_components
from curation.services.embeddings import ensure_embeddings, load_embeddings
from curation.services.labels import Ballot, ExampleRow, answers_of, ballots, codes, example_rows
from curation.services.scored import SEED
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, Assignment, Batch, BatchItem, Example, KnownAnswer
from labeling.overlap import ALIKE_ENOUGH, ENOUGH
from labeling.services.batches import MAX_LABELS, Overlap, create_batch
from labeling.services.desks import annotators_at_work
from labeling.services.sync import start_sync
from projects.errors import UserError
from projects.models import Membership, Project, Role
from projects.objects import open_object, put_object
from projects.services import audit
from projects.wording import counted, percent_words

MOST = 2000  # labels in one plan; answers change what is worth asking, so the next plan is better than a longer one
UNKNOWN = np.nan


def default_target(project: Project) -> float:
    """Above which quality an example is not asked about again, in [0, 1]; quality is agreement but for classes."""
    if project.task_type == "classification":
        return TARGET
    return ALIKE_ENOUGH if answers_of(project).is_free_text else ENOUGH


def start_next_labels(project: Project, *, n: int, by: User, target: float | None = None, cap: int = CAP,
                      is_dry: bool = False, wake: bool = True) -> Job:
    """Queue the choice of the next n labels; it becomes a batch unless `is_dry`.

    target: the quality in (0, 1] from which an example is sure; by default that of the task type. cap: the most answers
    an example gets from this.
    Raises UserError if there are no examples, or a number is out of its range.
    """
    target = default_target(project) if target is None else target
    if not Example.objects.filter(project=project, split=Example.Split.pool).exists():
        raise UserError("There are no examples in the pool yet. Import some first.")
    if not 1 <= n <= MOST:
        raise UserError(f"Ask for 1 to {MOST:,} labels at a time, got {n:,}: every answer changes which come next.")
    if not 0 < target <= 1:
        raise UserError(f"The target lies above 0 and is at most 1, got {target:g}.")
    if not 1 <= cap <= MAX_LABELS:
        raise UserError(f"An example gets 1 to {MAX_LABELS} answers at most, got {cap}.")
    return enqueue("next_labels", project, title=f"Choosing the next {counted(n, 'label')}", requested_by=by,
                   params={"n": n, "target": target, "cap": cap, "is_dry": is_dry},
                   exclusive=f"next_labels:{project.pk}", wake=wake)


def run_next_labels(job: Job, progress: Progress) -> None:
    project, by, asked = job.project, job.requested_by, job.params
    assert by is not None
    rows = example_rows(project)
    ensure_embeddings(job, {row.compared_sha256: row.compared for row in rows}, progress)
    embeddings = load_embeddings([row.compared_sha256 for row in rows])
    pool = _pool_of(project, rows, embeddings, progress)
    judged = _judge(pool, project, progress)
    progress("Choosing", 0, 1)
    found = next_labels(
        judged.judged, pool.n_answers, pool.cluster, pool.embeddings, may_ask=pool.may_ask, is_asked=pool.is_asked,
        has_somebody=pool.has_somebody, n=asked["n"], target=asked["target"], cap=asked["cap"], seed=job.pk)
    chosen = [*found.again.tolist(), *found.new.tolist()]
    said = [*words(found, target=asked["target"], cap=asked["cap"]), *judged.remarks]
    plan = [{"example": pool.rows[row].pk, "why": _why(pool, judged, row)} for row in chosen]
    adjudicate = [pool.rows[row].pk for row in (*found.at_cap.tolist(), *found.nobody_left.tolist())]
    content = json.dumps({"chosen": plan, "adjudicate": adjudicate})
    with completing(job) as result:
        result |= {"n": found.n, "n_again": len(found.again), "n_new": len(found.new), "n_later": found.n_later,
                   "n_waiting": found.n_waiting, "n_adjudicate": len(adjudicate), "is_sure": found.is_sure,
                   "words": said, "plan": put_object(settings.GOLDPAN_OBJECTS, content.encode())}
        if chosen and not asked["is_dry"]:
            batch = create_batch(
                project, [one["example"] for one in plan], by=by, overlap=Overlap(1, 0.0, 1, asked["cap"]),
                title=f"Goldpan's choice: {len(found.again)} again, {len(found.new)} new")
            start_sync(project, by=by)
            result |= {"batch": batch.pk, "number": batch.number}
            audit(project, by, "next_labels", {**asked, "batch": batch.number, "n_again": len(found.again),
                                               "n_new": len(found.new), "plan": result["plan"]})


@dataclass(frozen=True)
class _Pool:
    """The pool's examples, a value per row in the order of `rows`; the arrays are those of `next_labels`."""

    rows: list[ExampleRow]
    ballot_of: list[Ballot]
    embeddings: np.ndarray
    cluster: np.ndarray
    n_answers: np.ndarray
    may_ask: np.ndarray
    is_asked: np.ndarray
    has_somebody: np.ndarray


def _pool_of(project: Project, rows: list[ExampleRow], embeddings: np.ndarray, progress: Progress) -> _Pool:
    cluster = find_components(project, rows, embeddings, progress).clusters.cluster
    is_pool = np.array([row.split == Example.Split.pool for row in rows], dtype=bool)
    crosses = np.isin(cluster, cluster[~is_pool])  # never trained on, so no label of it is worth its price
    pool = np.flatnonzero(is_pool)
    these = [rows[row] for row in pool]
    found, nothing = ballots(project), Ballot(answers=answers_of(project))
    ballot_of = [found.get(row.pk, nothing) for row in these]
    closed = np.array([ballot.is_settled or ballot.is_under_discussion for ballot in ballot_of], dtype=bool)
    known = _are_in(these, KnownAnswer.objects.filter(project=project, retired_at=None))
    return _Pool(
        rows=these, ballot_of=ballot_of, embeddings=embeddings[pool], cluster=cluster[pool],
        n_answers=np.array([len(ballot.votes) for ballot in ballot_of]), may_ask=~(closed | known | crosses[pool]),
        is_asked=_are_in(these, BatchItem.objects.filter(batch__project=project).exclude(
            batch__state=Batch.State.closed)), has_somebody=_have_somebody(project, these))


def _are_in(rows: Sequence[ExampleRow], found: Any) -> np.ndarray:
    """(n,) bool: whether a row's example has one of these rows."""
    there = set(found.values_list("example_id", flat=True))
    return np.array([row.pk in there for row in rows], dtype=bool)


def _have_somebody(project: Project, rows: Sequence[ExampleRow]) -> np.ndarray:
    """(n,) bool: whether somebody at work has not had the example; all where nobody labels here yet."""
    labelling = set(Membership.objects.filter(project=project, role=Role.annotator).values_list("user_id", flat=True))
    people = [annotator.pk for annotator in annotators_at_work(project) if annotator.user_id in labelling]
    said = Annotation.objects.filter(annotator__in=people).order_by().values_list("example_id", "annotator_id")
    had = Assignment.objects.filter(annotator__in=people, state__in=Assignment.HAD).order_by().values_list(
        "example_id", "annotator_id")
    n_had = dict.fromkeys((row.pk for row in rows), 0)
    for example_id, _ in {*said, *had}:
        if example_id in n_had:
            n_had[example_id] += 1
    return np.array([not people or n_had[row.pk] < len(people) for row in rows], dtype=bool)


@dataclass(frozen=True)
class _Judgement:
    """What is known of each row. pred_probs: (n, K), nan in rows without; labels: what its columns are.

    remarks: how it came about where not by ActiveLab, and what it says nothing about, in words.
    """

    judged: Judged
    pred_probs: np.ndarray
    labels: list[str]
    remarks: list[str] = field(default_factory=list)


def _judge(pool: _Pool, project: Project, progress: Progress) -> _Judgement:
    """By ActiveLab where a classifier can help, else by agreement."""
    if project.task_type != "classification":
        return _by_agreement(pool, f"Answers are compared by the {project.task_type} type's own agreement, the lowest "
                                   f"first: it is a share of {COMPARED[project.task_type]}, no probability.")
    given = [_label_of(ballot) for ballot in pool.ballot_of]
    try:
        found = out_of_sample_probabilities(pool.embeddings, given, pool.cluster, labels_order=project.labels,
                                            seed=SEED, progress=progress)
    except ValueError as error:
        return _by_agreement(pool, f"No classifier could help to choose. {error}")
    if not found.is_better_than_chance:
        return _by_agreement(pool, f"No classifier could help to choose: one that read the texts agrees with "
                                   f"{percent_words(found.accuracy)} of the labels, always saying the commonest one "
                                   f"with {percent_words(found.majority_share)}.")
    unlabelled = np.flatnonzero(pool.n_answers == 0)
    pred_probs = found.pred_probs.copy()
    pred_probs[unlabelled] = probabilities_of_unlabelled(
        pool.embeddings, given, pool.embeddings[unlabelled], beside=found)
    votes = [(row, vote.annotator_id, vote.label) for row, ballot in enumerate(pool.ballot_of)
             for vote in ballot.votes]
    label = codes([label for _, _, label in votes], found.labels_order)
    kept = np.flatnonzero(label >= 0)
    judged = judge(np.array([votes[k][0] for k in kept], dtype=np.intp),
                   np.array([votes[k][1] for k in kept], dtype=np.intp), label[kept], pred_probs)
    remarks = [f"“{name}” is left out: {reason}." for name, reason in found.left_out.items()]
    return _Judgement(judged, pred_probs, found.labels_order, remarks)


def _label_of(ballot: Ballot) -> str | None:
    """The label that a classifier may learn from: decided, else what the votes say together, else the first."""
    if ballot.is_excluded:
        return None
    return ballot.decided_label or ballot.consensus or (ballot.votes[0].label if ballot.votes else None)


def _by_agreement(pool: _Pool, remark: str) -> _Judgement:
    n, quality = len(pool.rows), np.full(len(pool.rows), UNKNOWN)
    for row, ballot in enumerate(pool.ballot_of):
        if len(ballot.votes) > 1:
            quality[row] = ballot.answers.kind.agreement([vote.value for vote in ballot.votes])
    n_single = int(np.sum(pool.may_ask & (pool.n_answers == 1)))
    remarks = [remark, "New texts are drawn, unlike each other."]
    if n_single:
        remarks.append(f"{n_single:,} {'examples have' if n_single != 1 else 'example has'} one answer. How sure that "
                       "is, nobody can say, so nobody is asked again.")
    return _Judgement(Judged(quality, quality), np.full((n, 0), UNKNOWN), [], remarks)


def _why(pool: _Pool, judgement: _Judgement, row: int) -> str:
    """Why this example is asked about, in words."""
    n, quality = int(pool.n_answers[row]), float(judgement.judged.quality[row])
    if not judgement.labels:
        return f"Its {n} answers agree to {percent_words(quality, 0)}." if n else "New, and unlike the others chosen."
    if n:
        said = "answers and the classifier together are" if n > 1 else "answer and the classifier together are"
        return f"Its {n} {said} {percent_words(quality, 0)} sure."
    guess = int(judgement.pred_probs[row].argmax())
    sure = percent_words(float(judgement.pred_probs[row, guess]), 0)
    return f"New: the classifier says “{judgement.labels[guess]}” and is {sure} sure."


@dataclass(frozen=True)
class Chosen:
    """An example of a plan and why it is in it."""

    example: Example
    why: str


def plan_of(job: Job, *, n: int) -> list[Chosen]:
    """The first n examples that a finished choice asks about, in its order, each with the reason."""
    if not (sha256 := job.result.get("plan")):
        return []
    with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
        chosen = json.load(file)["chosen"][:n]
    examples = Example.objects.in_bulk([one["example"] for one in chosen])
    return [Chosen(examples[one["example"]], one["why"]) for one in chosen]


def last_choice(project: Project) -> Job | None:
    """The newest choice, whatever became of it."""
    return Job.objects.filter(project=project, kind="next_labels").first()
