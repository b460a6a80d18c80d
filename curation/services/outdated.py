"""Labels given under an older guideline than the one that last changed their rule: they are looked at again.

An example is outdated if the label that counts for it was given under such a guideline:
1. Where a curator has decided, the decision counts. It is outdated if a rule of its label changed after it was made;
   a new decision settles that.
2. Elsewhere the answers count. They are outdated if one of them gives a label whose rule changed after it, and too few
   were given since: one suffices for a pool example, a held-out label needs three.
Excluded examples, and those set aside for discussion, have no label that counts.
"""

import json
from datetime import datetime

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Cast

from curation.answers import Answers
from curation.models import Decision
from curation.services.keeping import Mark, Moment, ids_kept_up, n_answers_about
from curation.services.labels import answers_of
from labeling.models import Annotation, Batch, Example
from labeling.services.batches import MIN_HELD_OUT_LABELS, Overlap, create_batch
from projects.errors import UserError
from projects.models import Guideline, Project
from projects.services.guidelines import RuleChanges, rule_changes

DECIDED = (*Decision.SETTLED, Decision.Verdict.discuss)


def outdated(project: Project, moment: Moment | None = None) -> set[int]:
    """The ids of the examples whose label is to be looked at again. Reads no answer while no rule has changed."""
    changes = rule_changes(project)
    if not changes.guidelines:
        return set()
    name = f"outdated:{project.pk}:{project.instructions_version}"
    return ids_kept_up(name, n_answers_about(), lambda among: _outdated(project, changes, among), moment)


def outdated_at(project: Project, mark: Mark) -> set[int]:
    """The ids of those that were outdated at a mark, by the rules of now."""
    changes, moment = rule_changes(project), Moment()
    if not changes.guidelines:
        return set()
    touched = moment.touched_since(mark)
    if touched is None:
        return _outdated(project, changes, None, mark)
    return outdated(project, moment) - touched | _outdated(project, changes, touched, mark)


def _outdated(project: Project, changes: RuleChanges, among: set[int] | None, mark: Mark | None = None) -> set[int]:
    """Those among these examples, or among all; at a mark, those that were."""
    if among is not None and not among:
        return set()
    decisions, until = Decision.objects.filter(example__project=project), mark.annotation if mark else None
    examples = Example.objects.filter(project=project)
    if mark is not None:
        decisions = decisions.filter(pk__lte=mark.decision)
    if among is not None:
        decisions, examples = decisions.filter(example__in=among), examples.filter(pk__in=among)
    return (_answers_before(examples, changes, answers_of(project), until) - _decided(decisions)
            ) | _outdated_decisions(decisions, changes, answers_of(project))


def undecided(project: Project) -> set[int]:
    """Those among them that people can be asked about again: a decision is a curator's to renew."""
    return outdated(project) - _decided(Decision.objects.filter(example__project=project))


def ask_again(project: Project, *, by: User) -> Batch:
    """Ask people for a new answer to every undecided outdated example; somebody who has answered it is not asked.

    Raises UserError if there is none, or all are in an open batch already.
    """
    examples = sorted(undecided(project))
    if not examples:
        raise UserError("No answer is older than the rule it follows. There is nothing to ask again.")
    return create_batch(project, examples, title=f"guideline {project.instructions_version}: labels given before it",
                        by=by, overlap=Overlap(1, 0.0, 1, 1))


def outdated_because(example: Example) -> str:
    """Why this example is outdated, in words; "" if it is not."""
    project = example.project
    changes = rule_changes(project)
    if not changes.guidelines or not _outdated(project, changes, {example.pk}):
        return ""
    answers = answers_of(project)
    decision = _standing(Decision.objects.filter(example=example)).get(example.pk)
    if decision is not None:
        since = [(name, guideline) for name, guideline in _rules(answers.names_in(decision.value), changes)
                 if guideline.created_at > decision.created_at]
        return f"Decided before guideline {_last(since).version}; {_changed(since)}"
    given = [(name, guideline, version) for value, version in Annotation.objects.current().filter(
                 example=example).values_list("value", "instructions_version")
             for name, guideline in _rules(answers.names_in(answers.label(value, source=example.text)), changes)
             if version < guideline.version]
    oldest = min(version for _, _, version in given)
    return f"Labelled under guideline {oldest}; {_changed([(name, guideline) for name, guideline, _ in given])}"


def _rules(names: list[str], changes: RuleChanges) -> list[tuple[str, Guideline]]:
    """(name, the guideline that last changed its rule) for those of these labels that have one; "" stands for all."""
    found = [(name, guideline) for name in names if (guideline := changes.of_label.get(name))]
    return [*found, ("", changes.of_all)] if changes.of_all else found


def _last(rules: list[tuple[str, Guideline]]) -> Guideline:
    return max((guideline for _, guideline in rules), key=lambda guideline: guideline.version)


def _changed(rules: list[tuple[str, Guideline]]) -> str:
    """“the rule for “refund” changed in 3: <note>”, of the latest of the guidelines."""
    last = _last(rules)
    names = sorted({name for name, guideline in rules if guideline.pk == last.pk and name})
    what = f"the rule for {' and '.join(f'“{name}”' for name in names)}" if names else "the rules"
    return f"{what} changed in {last.version}: {last.note}"


# Decisions

def _decided(decisions: QuerySet[Decision]) -> set[int]:
    """The examples that a curator has settled or set aside."""
    last = decisions.values("example").annotate(last=Max("pk")).values("last").order_by()
    return set(Decision.objects.filter(pk__in=last, verdict__in=DECIDED).values_list("example_id", flat=True))


def _outdated_decisions(decisions: QuerySet[Decision], changes: RuleChanges, answers: Answers) -> set[int]:
    """The examples whose decision was made before a rule of its label changed."""
    return {pk for pk, decision in _standing(decisions).items() if decision.value and _changed_at(
        decision.value, answers, changes, decision.created_at)}


def _changed_at(label: str, answers: Answers, changes: RuleChanges, made_at: datetime) -> bool:
    return any(guideline.created_at > made_at for _, guideline in _rules(answers.names_in(label), changes))


def _standing(decisions: QuerySet[Decision]) -> dict[int, Decision]:
    """Example → the decision that counts, as it was first made: to take another one back does not renew it."""
    taken_back = set(decisions.filter(undoes__isnull=False).values_list("undoes_id", flat=True))
    found = {}
    for decision in decisions.filter(undoes=None).order_by("pk").only("example_id", "verdict", "value", "created_at"):
        if decision.pk not in taken_back:
            found[decision.example_id] = decision
    return found


# Answers

def _answers_before(examples: QuerySet[Example], changes: RuleChanges, answers: Answers,
                    until: int | None = None) -> set[int]:
    """Those with an answer to a label whose rule changed after it, and too few answers since."""
    found: set[int] = set()
    for guideline in changes.guidelines:
        mine = Annotation.objects.current(until=until).filter(example_id=OuterRef("pk"))
        old = mine.filter(instructions_version__lt=guideline.version)
        if guideline != changes.of_all:
            old = old.annotate(json=Cast("value", models.TextField())).filter(
                _any_of([_gives(label, answers) for label in changes.labels_of(guideline)]))
        new, is_pool = mine.filter(instructions_version__gte=guideline.version), Q(split=Example.Split.pool)
        has_few = ~Exists(new) & is_pool | ~Exists(new[MIN_HELD_OUT_LABELS - 1:]) & ~is_pool
        found |= set(examples.filter(has_few, Exists(old)).values_list("pk", flat=True))
    return found


def _gives(label: str, answers: Answers) -> Q:
    """Answers that give a label: as the whole answer, in a list of labels, or as the label of a span."""
    if answers.are_labels:
        return Q(value=label)
    return Q(json__contains=json.dumps(label)) | Q(json__contains=json.dumps(label, ensure_ascii=False))


def _any_of(conditions: list[Q]) -> Q:
    found = Q(pk__in=[])
    for condition in conditions:
        found |= condition
    return found
