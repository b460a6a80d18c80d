"""The gold set: a rule, and the rows it picks right now."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef

from curation.answers import rarest_names
from curation.models import Decision, GoldSet, QualityReport
from curation.selection import Candidates, GoldRule, LeftOut, Selection, select_gold
from curation.services.labels import Ballot, answers_of, ballots
from curation.services.scoring import groups_of, latest_report
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit

# Task type → what the quotas are by
STRATA = {"classification": "label", "preference": "side", "multilabel": "rarest label", "spans": "rarest label",
          "response": "group of like texts", "extraction": "group of like texts", "chat": "group of like texts"}
NEW_TEXTS = "new since the scoring"


@dataclass(frozen=True)
class GoldPreview:
    """What a rule picks now.

    label_of: example id → label it would be trained on, in the order the examples came.
    quality_of: example id → label quality, None where it has none. left_out: reason → how many pool examples.
    reason_of: example id → why it is not picked. n_labelled: pool examples with a label, the most that any rule could
    pick. stratum: what the quotas are by, one of STRATA.
    """

    report: QualityReport
    rule: GoldRule
    selection: Selection
    label_of: dict[int, str]
    quality_of: dict[int, float | None]
    left_out: dict[LeftOut, int]
    reason_of: dict[int, LeftOut]
    n_labelled: int
    stratum: str

    @property
    def n(self) -> int:
        return len(self.label_of)


def gold_set_of(project: Project) -> GoldSet:
    return GoldSet.objects.get_or_create(project=project)[0]


def rule_of(gold_set: GoldSet) -> GoldRule:
    """The rule as it stands. Raises UserError if a value is out of range."""
    if gold_set.size < 1:
        raise UserError(f"A gold set has at least 1 example; the rule asks for {gold_set.size}.")
    if not 0 <= gold_set.min_quality <= 1:
        raise UserError(f"The lowest quality is between 0 and 1; the rule says {gold_set.min_quality:g}.")
    return GoldRule(size=gold_set.size, seed=gold_set.seed, min_quality=gold_set.min_quality,
                    min_per_label=gold_set.min_per_label, allow_flagged=gold_set.allow_flagged)


@transaction.atomic
def save_rule(gold_set: GoldSet, *, size: int, min_quality: float, min_per_label: int, allow_flagged: bool, seed: int,
              by: User) -> GoldSet:
    """Change the rule. Raises UserError if a value is out of range."""
    gold_set.size, gold_set.min_quality, gold_set.min_per_label = size, min_quality, min_per_label
    gold_set.allow_flagged, gold_set.seed = allow_flagged, seed
    rule_of(gold_set)
    gold_set.save()
    audit(gold_set.project, by, "save_gold_rule", {"size": size, "min_quality": str(min_quality), "seed": seed,
                                                   "min_per_label": min_per_label, "allow_flagged": allow_flagged})
    return gold_set


def preview(project: Project, rule: GoldRule) -> GoldPreview:
    """Return what the rule picks from the pool as it stands, by the newest report and all decisions since.

    Raises UserError if there is no report yet or no pool example has a label.
    """
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: a gold set is chosen by label quality and without repeats.")
    rows = [_Row(*values) for values in report.scores.filter(example__split=Example.Split.pool).order_by(
        "example_id").values_list("example_id", "label", "label_quality", "is_label_issue", "cluster", "crosses_split")]
    ballot_of = _ballots_that_matter(project, report)
    labels = [_label(row, ballot_of.get(row.example_id, _SILENT)) for row in rows]
    if not any(labels):
        raise UserError("No pool example has a label yet. Import labels, or ask people to label some.")
    selection = select_gold(_candidates(rows, labels, _strata(project, report, rows, labels), ballot_of), rule)
    chosen = [rows[number] for number in selection.rows]
    return GoldPreview(
        report=report, rule=rule, selection=selection,
        label_of={rows[number].example_id: str(labels[number]) for number in selection.rows},
        quality_of={row.example_id: row.quality for row in chosen},
        left_out=dict(Counter(selection.left_out.values()).most_common()),
        reason_of={rows[number].example_id: reason for number, reason in selection.left_out.items()},
        n_labelled=sum(label is not None for label in labels), stratum=STRATA[project.task_type])


class _Row(NamedTuple):
    """The columns of a score that the selection needs."""

    example_id: int
    label: str
    quality: float | None
    is_label_issue: bool
    cluster: int
    crosses_split: bool


_SILENT = Ballot()


def _ballots_that_matter(project: Project, report: QualityReport) -> dict[int, Ballot]:
    """The ballots of the pool examples that somebody decided on, or that had no label when the report was written."""
    decided = Exists(Decision.objects.filter(example_id=OuterRef("pk")))
    unlabelled = Exists(report.scores.filter(example_id=OuterRef("pk"), label=""))
    pool = Example.objects.filter(project=project, split=Example.Split.pool)
    return ballots(project, among=pool.filter(decided | unlabelled))


def _strata(project: Project, report: QualityReport, rows: list[_Row],
            labels: list[str | None]) -> list[str | None] | None:
    """What each row counts for in the quotas; None where that is its label."""
    answers = answers_of(project)
    if answers.are_labels:
        return None
    if project.labels:
        return rarest_names(answers, labels)
    group_of = groups_of(report)
    return [None if label is None else group_of.get(row.example_id, NEW_TEXTS)
            for row, label in zip(rows, labels, strict=True)]


def _candidates(rows: list[_Row], labels: list[str | None], strata: list[str | None] | None,
                ballot_of: dict[int, Ballot]) -> Candidates:
    found = [ballot_of.get(row.example_id, _SILENT) for row in rows]
    return Candidates(
        labels=labels, strata=strata,
        quality=np.array([np.nan if row.quality is None else row.quality for row in rows]),
        clusters=np.array([row.cluster for row in rows]),
        is_excluded=np.array([ballot.is_excluded for ballot in found]),
        is_label_issue=np.array([row.is_label_issue and not ballot.is_settled
                                 for row, ballot in zip(rows, found, strict=True)]),
        is_under_discussion=np.array([ballot.is_under_discussion for ballot in found]),
        crosses_split=np.array([row.crosses_split for row in rows]))


def _label(row: _Row, ballot: Ballot) -> str | None:
    return ballot.decided_label or row.label or ballot.consensus
