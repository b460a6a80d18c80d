"""Known answers: honeypots that nobody can tell from other examples, and the entry exam."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, Batch, Example, KnownAnswer, LabelingRules
from labeling.overlap import FREE_TEXT
from labeling.services.batches import ask_once_more, rules_of, take_back
from labeling.services.bulk import CHUNK
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from stats.honeypots import honeypot_evidence

RIGHT = 0.7  # agreement of an answer that has parts with the known one, in [0, 1], from which it is right


@dataclass(frozen=True)
class KnownAnswerResult:
    """How somebody did on known answers, first one first: right or wrong."""

    rights: list[bool]

    @property
    def n(self) -> int:
        return len(self.rights)

    @property
    def n_right(self) -> int:
        return sum(self.rights)


@transaction.atomic
def add_known_answer(example: Example, value: object, *, by: User) -> KnownAnswer:
    """Let an example serve as honeypot and exam; given again, the value is put right, and old answers with it.

    Raises UserError for a dev or test example, a value that is no answer in this project, or a project whose answers
    are free words.
    """
    if example.project.task_type in FREE_TEXT:
        raise UserError(f"Answers to “{example.project.get_task_type_display()}” are free words: nobody can be graded "
                        "by one right wording.")
    if example.split != Example.Split.pool:
        raise UserError(f"Example {example.key} is held out for {example.split}: whoever is graded on it would see "
                        "what models are judged by. Choose one of the pool.")
    kind = task_type(example.project.task_type)
    try:
        kind.validate_value(value, example.project.schema, text=example.text)
    except ValueError as error:
        raise UserError(str(error)) from None
    known, _ = KnownAnswer.objects.update_or_create(
        example=example, defaults={"project": example.project, "value": kind.canonical(value), "added_by": by,
                                   "retired_at": None})
    audit(example.project, by, "add_known_answer", {"example": example.key})
    return known


@transaction.atomic
def retire_known_answer(known: KnownAnswer, *, by: User) -> None:
    """Give it out no more, and grade nobody by it: it may have been wrong."""
    KnownAnswer.objects.filter(pk=known.pk, retired_at=None).update(retired_at=timezone.now())
    audit(known.project, by, "retire_known_answer", {"example": known.example.key})


def results(annotator: Annotator, purpose: str) -> KnownAnswerResult:
    """Right or wrong, for every honeypot or exam example that the annotator has answered, in the order of answering.

    It is the known answer as it stands now that counts. An example of the exam that was skipped is not right; a
    honeypot that was skipped says nothing.
    """
    ended = [Assignment.State.answered]
    if purpose == Assignment.Purpose.exam:
        ended.append(Assignment.State.skipped)
    graded = counting(annotator).filter(purpose=purpose, state__in=ended).order_by("ended_at", "pk")
    rows = [(pk, state, expected if known is None else known) for pk, state, expected, known in graded.values_list(
        "example_id", "state", "expected", "example__known_answer__value")]
    said = dict(Annotation.objects.current().filter(
        annotator=annotator, example__in=[pk for pk, _, _ in rows]).values_list("example_id", "value"))
    kind = annotator.project.task_type
    return KnownAnswerResult([pk in said and is_right(said[pk], known, kind) for pk, state, known in rows
                              if pk in said or state == Assignment.State.skipped])


def is_right(said: Any, known: Any, kind: str) -> bool:
    """Whether an answer is the known one; where answers have parts, whether they tell the same.

    kind: a task type's name.
    """
    answers = task_type(kind)
    if answers.HAS_LABELS:
        return bool(answers.canonical(said) == answers.canonical(known))
    return answers.agreement([said, known]) >= RIGHT


def counting(annotator: Annotator) -> QuerySet[Assignment]:
    """The assignments that say something about this annotator now.

    Those since a curator last let them begin anew, without those whose known answer was retired: it may have been
    wrong, or too well known.
    """
    mine = Assignment.objects.filter(annotator=annotator, example__known_answer__retired_at=None)
    return mine.filter(reserved_at__gte=annotator.trusted_from) if annotator.trusted_from else mine


def look_at_known_answers(project: Project, annotator_ids: Collection[int] | None = None) -> list[Annotator]:
    """Grade exams, pause whoever is proven to be below the floor; return who was paused now.

    annotator_ids: look at these only, whose answers may have changed; None: at everybody.
    """
    rules, paused = rules_of(project), []
    graded = Assignment.objects.filter(annotator__project=project, ended_at__isnull=False).exclude(
        purpose=Assignment.Purpose.label).values("annotator")
    if annotator_ids is not None:
        graded = graded.filter(annotator__in=annotator_ids)
    for annotator in Annotator.objects.filter(pk__in=graded, paused_at=None).select_related("project"):
        failed, proven = exam_obstacle(annotator, rules), honeypot_obstacle(annotator, rules)
        if failed or proven:
            pause(annotator, because=failed or proven, by=None, asks_again=bool(proven))
            paused.append(annotator)
        elif has_done_exam(annotator, rules):
            _pass_exam(annotator, rules)
    return paused


def has_done_exam(annotator: Annotator, rules: LabelingRules) -> bool:
    """Whether all of an entry exam is answered that nobody has passed yet."""
    return rules.wants_exam_of(annotator) and results(annotator, Assignment.Purpose.exam).n >= rules.exam_size


def exam_obstacle(annotator: Annotator, rules: LabelingRules) -> str:
    """Why, in words, the entry exam is not passed; "" while it is under way, if it is passed or if there is none."""
    if not has_done_exam(annotator, rules):
        return ""
    result = results(annotator, Assignment.Purpose.exam)
    if result.n_right >= rules.exam_pass * result.n - 1e-9:  # 0.55 of 20 is 11, not 11.000000000000002
        return ""
    return (f"Entry exam: {result.n_right} of {result.n} known answers right, {rules.exam_pass:.0%} were asked. Go "
            "through the guideline together, then let them try again.")


def honeypot_obstacle(annotator: Annotator, rules: LabelingRules) -> str:
    """What the honeypots prove against an annotator, in words; "" if they prove nothing."""
    result = results(annotator, Assignment.Purpose.honeypot)
    evidence = honeypot_evidence(np.array(result.rights, dtype=bool), floor=rules.honeypot_floor)
    if evidence.flagged_at is None:
        return ""
    return (f"{result.n_right} of {result.n} known answers right: of people who get {rules.honeypot_floor:.0%} right, "
            "fewer than one in twenty ever looks like this. Talk about the guideline; others are asked for the same.")


@transaction.atomic
def _pass_exam(annotator: Annotator, rules: LabelingRules) -> None:
    result = results(annotator, Assignment.Purpose.exam)
    Annotator.objects.filter(pk=annotator.pk).update(passed_exam_at=timezone.now())
    audit(annotator.project, None, "pass_exam", {
        "annotator": annotator.name, "n_right": result.n_right, "n": result.n})


@transaction.atomic
def pause(annotator: Annotator, *, because: str, by: User | None, asks_again: bool = False) -> None:
    """Give nothing more to an annotator, and take back what lies on their desk; answers given stay in the ledger.

    asks_again: somebody else is asked for everything that they answered, since they last began anew, in batches that
    are still open. Who is paused already stays so, with the reason that stands.
    Raises UserError without a reason.
    """
    if not because.strip():
        raise UserError("Say why: the annotator reads it, and whoever lets them go on later.")
    if not Annotator.objects.filter(pk=annotator.pk, paused_at=None).update(
            paused_at=timezone.now(), paused_because=because.strip()):
        return
    take_back(Assignment.objects.filter(annotator=annotator))
    n_again = _ask_others(annotator) if asks_again else 0
    audit(annotator.project, by, "pause_annotator", {"annotator": annotator.name, "because": because,
                                                     "n_asked_again": n_again})


def _ask_others(annotator: Annotator) -> int:
    answered = counting(annotator).filter(state=Assignment.State.answered, item__isnull=False)
    items = list(answered.exclude(item__batch__state=Batch.State.closed).values_list("item_id", flat=True))
    return sum(ask_once_more(items[start:start + CHUNK]) for start in range(0, len(items), CHUNK))


@transaction.atomic
def resume(annotator: Annotator, *, by: User, passed: bool = False) -> bool:
    """Let a paused annotator go on; return whether they begin anew.

    They do where their known answers as they stand would pause them again at once: then those from before do not
    count any more, and an exam is taken again. Otherwise, after a holiday, all of it stays.
    passed: a curator is satisfied without an exam.
    Raises UserError if they are not paused.
    """
    now, rules = timezone.now(), rules_of(annotator.project)
    begins_anew = bool(exam_obstacle(annotator, rules) or honeypot_obstacle(annotator, rules))
    changes: dict[str, Any] = {"paused_at": None, "paused_because": ""}
    if begins_anew:
        changes |= {"trusted_from": now, "passed_exam_at": None}
    if passed:
        changes["passed_exam_at"] = now
    if Annotator.objects.filter(pk=annotator.pk, paused_at__isnull=False).update(**changes) != 1:
        raise UserError("This annotator is not paused (any more). Reload the page.")
    audit(annotator.project, by, "resume_annotator", {
        "annotator": annotator.name, "passed": passed, "begins_anew": begins_anew})
    return begins_anew


@transaction.atomic
def let_pass(annotator: Annotator, *, by: User) -> None:
    """Let somebody label without (the rest of) the entry exam. Raises UserError if they have passed it already."""
    if Annotator.objects.filter(pk=annotator.pk, passed_exam_at=None).update(passed_exam_at=timezone.now()) != 1:
        raise UserError("This annotator has passed the exam already.")
    take_back(Assignment.objects.filter(annotator=annotator, purpose=Assignment.Purpose.exam))
    audit(annotator.project, by, "let_pass_exam", {"annotator": annotator.name})
