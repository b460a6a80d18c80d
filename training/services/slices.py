"""Two runs on parts of their test rows, and which parts a promotion hangs on."""

from collections.abc import Collection, Sequence

import numpy as np
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction

from curation.answers import Answers
from curation.languages import languages_of
from curation.models import ExampleScore, QualityReport, Snapshot
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from training.metrics import paired
from training.models import CriticalSlices, Evaluation
from training.services.comparison import SEED, counts_of, is_right
from training.services.scoring import Prediction, read_predictions
from training.slices import (
    CRITICAL,
    KINDS,
    N_RESAMPLES,
    Compared,
    Slice,
    SliceFinding,
    find_slices,
    length_names,
    newest_names,
    of_label,
    of_right_wrong,
    of_scores,
    weigh_slices,
)


def compare_on_slices(first: Evaluation, second: Evaluation) -> list[SliceFinding]:
    """Weigh every slice of the test rows that both runs answered, second minus first.

    What is critical is what was declared when the second was evaluated, so that nobody declares by the result.
    Evaluations never change, so that what is found is kept until a new report tells near-copies anew.
    """
    report = QualityReport.objects.filter(project=first.snapshot.project).order_by("-pk").first()
    critical = critical_kinds(first.snapshot.project, second)
    known = [first.snapshot.sha256, first.predictions_sha256, second.predictions_sha256, report.pk if report else 0]
    key = ":".join(map(str, ["slices", *known, *critical]))
    found: list[SliceFinding] | None = cache.get(key)
    if found is None:
        found = _compare(first, second, critical, report)
        cache.set(key, found, None)
    return found


def _compare(first: Evaluation, second: Evaluation, critical: Collection[str],
             report: QualityReport | None) -> list[SliceFinding]:
    a, b = read_predictions(first), read_predictions(second)
    if [one.key for one in a] != [one.key for one in b]:
        raise ValueError("two evaluations of different rows, or in another order, cannot be compared on slices")
    slices = find_slices(_values(first.snapshot, a, report))
    groups = np.unique([one.group for one in a], return_inverse=True)[1]
    return weigh_slices(slices, [_compared(one, first, a, b, groups) for one in slices], critical=critical,
                        discordance=float(np.mean([one.row_score != two.row_score for one, two in zip(
                            a, b, strict=True)])) if a else 0.0)


def _compared(one: Slice, first: Evaluation, a: Sequence[Prediction], b: Sequence[Prediction],
              groups: np.ndarray) -> Compared:
    """Labels by their F1 over all rows where every answer is made of labels; all else by the metric on its rows."""
    project = first.snapshot.project
    if one.kind == "label" and project.task_type in ("classification", "multilabel"):
        names = Answers(project.task_type, project.schema).names_in
        gold = np.zeros(len(a), dtype=bool)
        gold[one.rows] = True
        said = [np.array([bool(p.predicted) and one.name in names(str(p.predicted)) for p in side]) for side in (a, b)]
        return of_label(gold, *said, groups=groups, seed=SEED)
    mine, theirs = [a[row] for row in one.rows], [b[row] for row in one.rows]
    if first.n_right is not None:
        return of_right_wrong(np.array([is_right(p) for p in mine]), np.array([is_right(p) for p in theirs]),
                              groups=groups[one.rows], seed=SEED)
    return of_scores(paired(project.task_type, counts_of(mine), counts_of(theirs), groups=[p.group for p in mine],
                            unseen=np.array(first.metrics["unseen"]), n_resamples=N_RESAMPLES))


def _values(snapshot: Snapshot, said: Sequence[Prediction],
            report: QualityReport | None) -> dict[str, list[list[str]]]:
    """Per kind what each test row has of it, rows as the predictions have them."""
    rows = {key: (text, observed, pk) for key, text, observed, pk in snapshot.rows.filter(split="test").values_list(
        "example__key", "example__text", "example__observed_at", "example_id")}
    texts = [rows[one.key][0] for one in said]
    copies = dict(ExampleScore.objects.filter(
        report=report, cluster_size__gt=1, example__snapshot_rows__snapshot=snapshot).values_list(
        "example_id", "cluster")) if report else {}
    names = Answers(snapshot.project.task_type, snapshot.project.schema).names_in
    places = [copies.get(rows[one.key][2]) for one in said]
    return {
        "label": [names(one.gold) for one in said], "length": length_names(texts),
        "language": [[code] if code else [] for code in _languages(snapshot, texts)],
        "newest": newest_names([rows[one.key][1] for one in said]), "source": [[one.group] for one in said],
        "copies": [[] if place is None else [str(place)] for place in places]}


def _languages(snapshot: Snapshot, texts: Sequence[str]) -> list[str]:
    """Kept by the snapshot, as it takes most of the time and the texts are frozen."""
    found: list[str] = cache.get_or_set(f"languages:{snapshot.sha256}", lambda: languages_of(texts), None) or []
    return found if len(found) == len(texts) else languages_of(texts)


def keys_in_slice(evaluation: Evaluation, kind: str, name: str) -> set[str]:
    """The keys of the test rows in a slice. Raises UserError if there is no such kind."""
    if kind not in KINDS:
        raise UserError(f"There are no parts of the test rows by “{kind}”. Open the page from the comparison again.")
    report = QualityReport.objects.filter(project=evaluation.snapshot.project).order_by("-pk").first()
    said = read_predictions(evaluation)
    values = _values(evaluation.snapshot, said, report)[kind]
    return {one.key for one, names in zip(said, values, strict=True) if name in names}


def critical_kinds(project: Project, evaluation: Evaluation | None = None) -> list[str]:
    """The kinds of slices that a promotion hangs on: today's, or those in force when an evaluation was written."""
    declared = CriticalSlices.objects.filter(project=project)
    if evaluation is not None:
        declared = declared.filter(created_at__lte=evaluation.created_at)
    newest = declared.first()
    return list(newest.kinds) if newest else list(CRITICAL)


@transaction.atomic
def declare_critical(project: Project, kinds: Sequence[str], *, by: User) -> CriticalSlices:
    """Declare for all evaluations from now on on which kinds of slices an adapter may not be worse.

    Raises UserError if a kind is not known.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UserError(f"There are no slices by {', '.join(unknown)}; there are {', '.join(KINDS)}.")
    declared = CriticalSlices.objects.create(
        project=project, kinds=[kind for kind in KINDS if kind in kinds], created_by=by)
    audit(project, by, "declare_critical", {"kinds": declared.kinds})
    return declared
