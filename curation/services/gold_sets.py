"""The gold set: a rule, and the rows it picks right now."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction

from curation.models import ExampleScore, GoldSet, QualityReport
from curation.selection import Candidates, GoldRule, Selection, select_gold
from curation.services.labels import Ballot, ballots
from curation.services.scoring import latest_report
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit


@dataclass(frozen=True)
class GoldPreview:
    """What a rule picks now.

    scores: the chosen rows of the report. label_of: example id → label it would be trained on.
    left_out: reason → how many pool examples.
    """

    report: QualityReport
    rule: GoldRule
    selection: Selection
    scores: list[ExampleScore]
    label_of: dict[int, str]
    left_out: dict[str, int]

    @property
    def n(self) -> int:
        return len(self.scores)


def gold_set_of(project: Project) -> GoldSet:
    return GoldSet.objects.get_or_create(project=project)[0]


def rule_of(gold_set: GoldSet) -> GoldRule:
    try:
        return GoldRule(size=gold_set.size, seed=gold_set.seed, min_quality=gold_set.min_quality,
                        min_per_label=gold_set.min_per_label, allow_flagged=gold_set.allow_flagged)
    except ValueError as error:
        raise UserError(f"This rule cannot be used: {error}.") from None


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
    found = ballots(project)
    scores = list(report.scores.filter(example__split=Example.Split.pool).order_by("example_id"))
    ballot_of = [found.get(score.example_id, Ballot()) for score in scores]
    labels = [_label(score, ballot) for score, ballot in zip(scores, ballot_of, strict=True)]
    if not any(labels):
        raise UserError("No pool example has a label yet. Import labels, or push examples to Label Studio.")
    selection = select_gold(Candidates(
        labels=labels,
        quality=np.array([np.nan if score.label_quality is None else score.label_quality for score in scores]),
        clusters=np.array([score.cluster for score in scores]),
        is_excluded=np.array([ballot.is_excluded for ballot in ballot_of]),
        is_label_issue=np.array([score.is_label_issue and not ballot.is_settled
                                 for score, ballot in zip(scores, ballot_of, strict=True)]),
        is_under_discussion=np.array([ballot.is_under_discussion for ballot in ballot_of]),
        crosses_split=np.array([score.crosses_split for score in scores])), rule)
    chosen = [scores[row] for row in selection.rows]
    return GoldPreview(
        report=report, rule=rule, selection=selection, scores=chosen,
        label_of={scores[row].example_id: str(labels[row]) for row in selection.rows},
        left_out=dict(Counter(str(reason) for reason in selection.left_out.values()).most_common()))


def _label(score: ExampleScore, ballot: Ballot) -> str | None:
    return ballot.decided_label or score.label or ballot.majority
