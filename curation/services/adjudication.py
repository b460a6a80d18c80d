"""Adjudication: examples whose answers differ, and about which nobody else will be asked, settled side by side.

1. An example waits if its answers have no consensus, or if it was skipped and set aside; pool and held-out alike.
2. It does not wait while more answers are on their way: on somebody's desk, or wanted and somebody is left to ask.
3. The order follows from a hash, and no model is shown: what settles a held-out label must not come from one.
A settled example holds the label in a decision, with the cause of the difference.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from django.contrib.auth.models import User
from django.db.models import F, Max, Min, Q, TextField
from django.db.models.functions import Cast

from curation.answers import Answers
from curation.models import Decision
from curation.services.keeping import kept
from curation.services.labels import answers_of, ballot_of
from curation.services.review import decide
from curation.services.scoring import latest_report
from curation.side_by_side import FieldRow, field_rows, stretches
from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Example
from labeling.overlap import needs_another
from labeling.services.batches import BELOW_CAP, MIN_HELD_OUT_LABELS
from projects.errors import UserError
from projects.models import Membership, Project, Role
from projects.word_diff import word_diff

QUEUES = {"waiting": "answers differ", "discuss": "in discussion"}
Form = Literal["text", "spans", "fields", "names"]
FORMS: dict[str, Form] = {"response": "text", "chat": "text", "extraction": "fields", "spans": "spans"}
DECIDED = (*Decision.SETTLED, Decision.Verdict.discuss)


@dataclass(frozen=True, order=True)
class Waiting:
    """An example to adjudicate. `order` is a hash, so its place says nothing about it."""

    order: str
    example_id: int
    key: str
    split: str


def adjudication_queue(project: Project, queue: str = "waiting") -> list[Waiting]:
    """The examples that wait for a curator, or are set aside for discussion, in a hash's order.

    queue: a key of QUEUES. Raises UserError for another one.
    """
    if queue not in QUEUES:
        raise UserError(f"There is no queue “{queue}”. The queues are: {', '.join(QUEUES)}.")
    latest = Decision.objects.current().filter(example__project=project)
    if queue == "discuss":
        ids = set(latest.filter(verdict=Decision.Verdict.discuss).values_list("example_id", flat=True))
    else:
        disputed = kept(project, "disputed", lambda: _disputed(project))
        ids = disputed - _asked_further(project, disputed) | _set_aside(project)
        ids -= set(latest.filter(verdict__in=DECIDED).values_list("example_id", flat=True)) if ids else set()
    return sorted(_waiting(project, *row) for row in Example.objects.filter(pk__among=ids).values_list(
        "pk", "key", "split"))


def place_of(example: Example) -> Waiting:
    """Where an example stands, or would stand, in a queue."""
    return _waiting(example.project, example.pk, example.key, example.split)


def _waiting(project: Project, pk: int, key: str, split: str) -> Waiting:
    return Waiting(hashlib.sha256(f"{project.split_salt}:adjudicate:{key}".encode()).hexdigest(), pk, key, split)


# What waits

def _disputed(project: Project) -> set[int]:
    """The examples whose current answers have no consensus; of held-out ones those with enough answers."""
    texts = Annotation.objects.filter(annotator__project=project, value__isnull=False).order_by()
    differing = texts.values("example_id").annotate(
        first=Min(Cast("value", TextField())), last=Max(Cast("value", TextField()))).filter(first__lt=F("last"))
    ids = set(differing.values_list("example_id", flat=True))  # answers that were changed since are still among them
    values: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for pk, split, value in Annotation.objects.current().filter(example__pk__among=ids).values_list(
            "example_id", "example__split", "value"):
        values[pk, split].append(value)
    return {pk for (pk, split), given in values.items()
            if (split == Example.Split.pool or len(given) >= MIN_HELD_OUT_LABELS)
            and needs_another(given, project.task_type)}


def _set_aside(project: Project) -> set[int]:
    """The examples that were skipped in a batch whose skips wait for a curator."""
    items = BatchItem.objects.filter(batch__project=project, is_set_aside=True)
    return set(items.exclude(batch__state=Batch.State.closed).values_list("example_id", flat=True))


def _asked_further(project: Project, among: set[int]) -> set[int]:
    """Those of these examples about which somebody will be asked, or is being asked now."""
    batches = set(Batch.objects.filter(project=project).exclude(state=Batch.State.closed).values_list(
        "pk", flat=True)) if among else set()
    if not batches:
        return set()
    on_desks = set(Assignment.objects.open().filter(
        annotator__project=project, purpose=Assignment.Purpose.label).values_list("example_id", flat=True))
    asking = dict(BatchItem.objects.filter(
        Q(n_taken__lt=F("n_wanted")) | BELOW_CAP, batch__in=batches, is_set_aside=False,
        example__pk__among=among).values_list("example_id", "batch_id"))
    people, had = _who_may_be_asked(project, batches), _who_had(asking)
    return on_desks | {pk for pk, batch_id in asking.items() if people[batch_id] - had[pk]}


def _who_may_be_asked(project: Project, batches: Iterable[int]) -> dict[int, set[int]]:
    """Batch → the users who label here, are not paused, and are named in the batch if it names anybody."""
    members = set(Membership.objects.filter(project=project, role=Role.annotator).values_list("user_id", flat=True))
    members -= set(Annotator.objects.filter(project=project, paused_at__isnull=False).values_list("user_id", flat=True))
    named: dict[int, set[int]] = defaultdict(set)
    for batch_id, user_id in Batch.annotators.through.objects.filter(batch__project=project).values_list(
            "batch_id", "annotator__user_id"):
        named[batch_id].add(user_id)
    return {pk: members & named[pk] if pk in named else members for pk in batches}


def _who_had(example_ids: Collection[int]) -> dict[int, set[int]]:
    """Example → the users who have answered, skipped or hold it: nobody is asked twice."""
    had: dict[int, set[int]] = defaultdict(set)
    for rows in (Annotation.objects.all(), Assignment.objects.filter(state__in=Assignment.HAD)):
        for pk, user_id in rows.filter(example__pk__among=example_ids).values_list(
                "example_id", "annotator__user_id"):
            had[pk].add(user_id)
    return had


# One of them

@dataclass(frozen=True)
class Answer:
    """What one or several people said: `number` is its key on the page, `pk` an annotation that says it.

    parts: the answer in pieces that say what differs, as `Case.form` tells. draft: to go on writing from.
    """

    number: int
    pk: int
    label: str
    draft: str
    parts: list[Any]
    given_by: list[Annotation]


@dataclass(frozen=True)
class Case:
    """All that a curator sees of an example to adjudicate: what people said, never what a model says.

    form: what the parts of an answer are: pieces of a text beside the first answer ("text"), stretches of the
    example's text ("spans"), names, each with whether all say it ("names"), or nothing, since `fields` holds every
    answer's fields ("fields").
    answers: each once, in the order of the project's labels or of a hash. skipped_by: those who skipped it.
    is_decidable: False for a held-out example whose label is the majority of its blind answers, or has too few of them.
    """

    example: Example
    form: Form
    answers: list[Answer]
    fields: list[FieldRow]
    skipped_by: list[Annotation]
    history: list[Decision]
    is_decidable: bool

    @property
    def seen(self) -> int:
        return self.history[-1].pk if self.history else 0

    @property
    def decision(self) -> Decision | None:
        """The decision that counts, or None where nobody decided or it was taken back."""
        last = self.history[-1] if self.history else None
        return last if last is not None and last.verdict != Decision.Verdict.open else None


def case_of(example: Example) -> Case:
    """Gather what people said about one example. Six queries, however many said something."""
    newest: dict[int, Annotation] = {}
    for row in Annotation.objects.filter(example=example).select_related("annotator").order_by("pk"):
        newest[row.annotator_id] = row
    answers, given = answers_of(example.project), _by_label(example, newest.values())
    values: list[Any] = [rows[0].value for rows in given.values()]
    form = FORMS.get(example.project.task_type, "names")
    return Case(
        example=example, form=form, fields=field_rows(values) if form == "fields" else [],
        answers=[Answer(number, rows[0].pk, label, answers.draft(label), parts, rows) for number, ((label, rows), parts)
                 in enumerate(zip(given.items(), _parts(form, answers, list(given), values, example), strict=True), 1)],
        skipped_by=[row for row in newest.values() if row.skipped],
        history=list(Decision.objects.filter(example=example).select_related("decided_by").order_by("pk")),
        is_decidable=_is_decidable(example))


def _by_label(example: Example, rows: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    """Label → the answers that give it: in the order of the project's labels, else in a hash's, never in a person's."""
    answers, found = answers_of(example.project), defaultdict(list)
    for row in rows:
        if row.value is not None:
            found[answers.label(row.value, source=example.text)].append(row)

    def place(label: str) -> str:
        if answers.are_labels and label in example.project.labels:
            return f"{example.project.labels.index(label):06}"
        return hashlib.sha256(f"{example.project.split_salt}:{example.key}:{label}".encode()).hexdigest()

    return {label: found[label] for label in sorted(found, key=place)}


def _parts(form: Form, answers: Answers, labels: list[str], values: list[Any], example: Example) -> list[list[Any]]:
    """The parts of every answer, as `Case.form` says."""
    if form == "spans":
        return [list(stretches(example.text, values, chosen)) for chosen in range(len(values))]
    if form == "text":
        return [list(word_diff(labels[0], label)) for label in labels]
    if form == "names":
        names = [answers.names_in(label) for label in labels]
        return [[(name, all(name in others for others in names)) for name in own] for own in names]
    return [[] for _ in values]


def _is_decidable(example: Example) -> bool:
    if example.split == Example.Split.pool:
        return True
    ballot = ballot_of(example)
    return len(ballot.votes) >= MIN_HELD_OUT_LABELS and ballot.blind_label is None


def settle(example: Example, *, verdict: str, by: User, cause: str = "", answer: int | None = None, written: str = "",
           reason: str = "", seen: int | None = None, asked: User | None = None) -> Decision:
    """Settle what an example's answers differ about.

    verdict: relabel (to the answer with this pk, or else to the one written), exclude or discuss.
    cause: of Decision.Cause; only a discussion is opened without one. reason: a note to the annotators.
    seen: the pk of the decision that the curator's page showed, 0 if it showed none. asked: as `decide` has it.
    Raises UserError if the cause is missing, the answer is not (or no longer) one of the example's, what was written
    is no answer in this project, or as `decide` does.
    """
    if verdict not in (Decision.Verdict.relabel, Decision.Verdict.exclude, Decision.Verdict.discuss):
        raise UserError(f"Pick or write an answer, exclude the example or open a discussion; got “{verdict}”.")
    if cause not in Decision.Cause.values and (cause or verdict != Decision.Verdict.discuss):
        raise UserError("Say first why the answers differ: it tells what has to be mended so that they do so less "
                        "often.")
    value = ""
    if verdict == Decision.Verdict.relabel:
        if example.split != Example.Split.pool and not _is_decidable(example):
            raise UserError(f"Example {example.key} is held out for {example.split}: its label is the majority of at "
                            f"least {MIN_HELD_OUT_LABELS} blind answers, and is given by hand only where those tie.")
        value = _picked(example, answer) if answer else written
    return decide(example, verdict=verdict, value=value, cause=cause, reason=reason, by=by, seen=seen,
                  asked=asked, report=latest_report(example.project))


def _picked(example: Example, pk: int) -> str:
    row = Annotation.objects.current().filter(example=example, pk=pk).first()
    if row is None:
        raise UserError("This answer was changed or taken back since your page showed it. Reload the page.")
    return answers_of(example.project).label(row.value, source=example.text)


def last_cause(project: Project, user: User) -> str:
    """The cause that this person gave last here; "" if they never gave one."""
    mine = Decision.objects.filter(decided_by=user, example__project=project).exclude(cause="").order_by("-pk")
    return mine.values_list("cause", flat=True).first() or ""
