"""How suggestions do: who is shown one follows it how often, and what that is worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import OuterRef, Subquery

from jobs.models import Job
from labeling.automation_bias import SuggestionEffect, effect_of
from labeling.models import Annotation, Assignment, LabelingRules, Suggestion
from labeling.services.batches import rules_of
from labeling.task_types import task_type
from projects.models import Project

NEWEST = 2_000  # answers that the effect is measured on: the board shows it each time


@dataclass(frozen=True)
class Suggestions:
    """All that the board's section shows. effect: None before the first answer; newest: what was suggested last.

    job: a refresh that waits, runs or has failed.
    """

    rules: LabelingRules
    effect: SuggestionEffect | None
    newest: Suggestion | None
    job: Job | None

    @property
    def is_shown(self) -> bool:
        """Whether there is anything to say."""
        return self.rules.shows_suggestions or self.newest is not None


def suggestions_of(project: Project) -> Suggestions:
    job = Job.objects.filter(project=project, kind="suggest").first()
    return Suggestions(
        rules=rules_of(project), effect=suggestion_effect(project),
        newest=Suggestion.objects.filter(example__project=project).order_by("-pk").first(),
        job=job if job is not None and (job.is_active or job.state == Job.State.failed) else None)


def suggestion_effect(project: Project) -> SuggestionEffect | None:
    """Compare the newest answers whose suggestion was shown with those whose was kept back; None without any.

    An answer is the annotator's current one; skips do not count.
    """
    answers = Annotation.objects.current().filter(
        example_id=OuterRef("example_id"), annotator_id=OuterRef("annotator_id"))
    rows = Assignment.objects.filter(
        annotator__project=project, suggestion__isnull=False, state=Assignment.State.answered).order_by("-pk").annotate(
        said=Subquery(answers.values("value")[:1]), took=Subquery(answers.values("seconds")[:1]))
    canonical = task_type(project.task_type).canonical
    found: dict[bool, list[tuple[bool, float]]] = {True: [], False: []}
    columns = rows.values_list("shows_suggestion", "said", "suggestion__value", "took")[:NEWEST]
    for is_shown, said, suggested, took in columns:
        if said is not None:
            found[is_shown].append((canonical(said) == canonical(suggested), np.nan if took is None else took))
    if not any(found.values()):
        return None
    (shown, shown_seconds), (hidden, hidden_seconds) = _columns(found[True]), _columns(found[False])
    return effect_of(shown, shown_seconds, hidden, hidden_seconds)


def _columns(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    pairs: Any = list(zip(*rows, strict=True)) or [(), ()]
    return np.array(pairs[0], dtype=bool), np.array(pairs[1], dtype=float)
