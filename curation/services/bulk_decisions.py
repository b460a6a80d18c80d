"""One decision about all examples of a filter: looked at first, audited as one, taken back as one.

1. `look_at` counts the filter's examples and marks what was known then. It changes nothing.
2. `decide_all` acts on exactly those: the filter is evaluated as it was at the mark, and has to hold the same examples.
   What somebody decided since is left as it is, and counted. Held-out examples are never among them.
3. Above MAX_AT_ONCE examples a job does it. Either way it is one statement in one transaction: all or nothing.
4. `undo_all` takes it back wherever it still counts.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, TextField, Value, When
from django.db.models.functions import Coalesce, NullIf
from django.utils import timezone

from curation.models import BulkDecision, Decision, ExampleScore
from curation.services.keeping import Mark, mark_now
from curation.services.labels import answers_of
from curation.services.queue import Filter, Queue
from curation.services.scoring import latest_report
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, BatchItem, Example
from labeling.services.bulk import execute
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from projects.wording import counted

MAX_AT_ONCE = 2000  # examples that are decided while somebody waits
N_SHOWN = 8
Action = BulkDecision.Action


@dataclass(frozen=True)
class Seen:
    """What somebody had before them: of which report, up to which decision and answer, how many examples and which.

    total: the sum of the scores' numbers, which no other set of as many examples of the report is likely to have.
    """

    report: int
    decision: int
    annotation: int
    n: int
    total: int

    @property
    def mark(self) -> Mark:
        return Mark(self.decision, self.annotation)

    @classmethod
    def of(cls, queue: Queue, mark: Mark) -> Self:
        found = queue.rows.aggregate(n=Count("pk"), total=Sum("pk"))
        return cls(queue.report.pk, mark.decision, mark.annotation, found["n"], int(found["total"] or 0))


@dataclass(frozen=True)
class Look:
    """A filter's examples before somebody decides: how many, of which labels, and the first of them.

    labels, suggestions: (label, in words, how many), the most frequent first; suggestions only where they differ from
    the label that counts. n_suggested: the sum of those.
    """

    seen: Seen
    labels: list[tuple[str, int]]
    suggestions: list[tuple[str, int]]
    n_suggested: int
    shown: list[ExampleScore]


def look_at(queue: Queue) -> Look:
    """Raises UserError for a filter of held-out examples: nobody decides on those by the dozen."""
    _check_pool(queue.filter)
    mark = mark_now()
    at_mark = Queue(queue.report, queue.filter, mark)
    n_of: Counter[str] = Counter()
    n_suggested: Counter[str] = Counter()
    n_all = total_all = 0
    for label, predicted, n, total in _with_label(at_mark).order_by().values_list(
            "label_now", "predicted_label").annotate(n=Count("pk"), total=Sum("pk")):
        n_all, total_all = n_all + n, total_all + total
        n_of[label] += n
        if predicted not in ("", label):
            n_suggested[predicted] += n
    seen = Seen(queue.report.pk, mark.decision, mark.annotation, n_all, int(total_all))
    return Look(seen, n_of.most_common(), n_suggested.most_common(), n_suggested.total(),
                list(queue.ordered[:N_SHOWN]))


def _check_pool(filter_: Filter) -> None:
    if filter_.split != Example.Split.pool:
        raise UserError("Held-out examples get their labels from blind answers, one by one where those tie. Choose the "
                        "pool to decide about many at once.")


def _with_label(queue: Queue) -> QuerySet[Any]:
    """The queue's rows with `label_now`: the decided label, else the report's, "" if there is none."""
    rows = queue.rows
    if queue.filter.state == "open" and queue.filter.view != "outdated":  # nobody has given them another one
        return rows.annotate(label_now=F("label"))
    decided = Decision.objects.filter(example_id=OuterRef("example_id")).order_by("-pk").values("value")[:1]
    return rows.annotate(label_now=Coalesce(
        NullIf(Subquery(decided), Value("", output_field=TextField())), F("label"), output_field=TextField()))


def _suggested(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.exclude(predicted_label="").exclude(predicted_label=F("label_now"))


def decide_all(project: Project, filter_: Filter, *, seen: Seen, action: str, by: User, value: str = "",
               reason: str = "", wake: bool = True) -> BulkDecision | Job:
    """Decide about all examples of the filter as they were seen: at once, or in a job where they are many.

    action: keep, accept (where a suggestion differs from the label that counts), relabel (to `value`) or exclude.
    Raises UserError if the action is unknown, the value is no label, the filter is of held-out examples, the project
    was scored anew, the filter holds other examples than were seen, or none is left to decide.
    """
    _check_pool(filter_)
    _check_action(project, action, value)
    wanted = {"filter": asdict(filter_), "seen": asdict(seen), "action": action, "reason": reason.strip(),
              "value": value if action == Action.relabel else ""}
    if seen.n > MAX_AT_ONCE:
        return enqueue("decide_all", project, title=f"{Action(action).label.capitalize()}: {seen.n:,} examples",
                       requested_by=by, params=wanted, exclusive=f"decide_all:{project.pk}", wake=wake)
    with transaction.atomic():
        return _decide(project, wanted, by)


def _check_action(project: Project, action: str, value: str) -> None:
    if action not in Action.values or action == Action.undo:
        raise UserError(f"Keep, accept, relabel or exclude the examples; got “{action}”.")
    if action != Action.relabel:
        return
    if not answers_of(project).are_labels:
        raise UserError("One and the same answer for many examples is only given where answers are labels.")
    if value not in project.labels:
        raise UserError(f"“{value}” is not a label of this project. Its labels are: {', '.join(project.labels)}.")


def run_decide_all(job: Job, progress: Progress) -> None:
    assert job.requested_by is not None
    progress("Deciding", 0, 1)
    with completing(job) as result:
        if undone := job.params.get("undoes"):
            bulk = _undo(BulkDecision.objects.select_related("project").get(pk=undone), job.requested_by, job)
        else:
            bulk = _decide(job.project, job.params, job.requested_by, job)
        result |= {"bulk": bulk.pk, "n_decided": bulk.n_decided, "n_changed": bulk.n_changed}


def _decide(project: Project, wanted: Mapping[str, Any], by: User, job: Job | None = None) -> BulkDecision:
    filter_, seen, action = Filter(**wanted["filter"]), Seen(**wanted["seen"]), wanted["action"]
    report = latest_report(project)
    if report is None or report.pk != seen.report:
        raise UserError("The project has been scored anew since you looked, so nothing was decided. Look at the filter "
                        "again.")
    queue = Queue(report, filter_, seen.mark)
    _lock(queue.rows)
    now = Seen.of(queue, seen.mark)
    if now != seen:
        raise UserError(f"The filter held {counted(seen.n, 'example')} when you looked; now it holds {now.n:,}, or "
                        "others. Nothing was decided. Look at them again.")
    since = Decision.objects.filter(example_id=OuterRef("example_id"), pk__gt=seen.decision)
    rows = _with_label(queue).filter(~Exists(since))
    if filter_.view == "outdated":  # a new answer settles what an older guideline left
        rows = rows.filter(~Exists(Annotation.objects.filter(
            example_id=OuterRef("example_id"), pk__gt=seen.annotation)))
    n_changed = seen.n - rows.count()
    if action == Action.accept:
        rows = _suggested(rows)
    elif action == Action.keep:
        rows = rows.exclude(label_now="")
    n = rows.count()
    if not n:
        raise UserError(f"Of {counted(seen.n, 'example')} none is left to decide: "
                        f"{counted(n_changed, 'was', 'were')} decided or answered since you looked, and "
                        f"the others have no {'suggestion' if action == Action.accept else 'label'}.")
    bulk = BulkDecision.objects.create(
        project=project, report=report, query=filter_.query, action=action, value=wanted["value"],
        reason=wanted["reason"], n_previewed=seen.n, n_decided=n, n_changed=n_changed, job=job, decided_by=by)
    _insert_decisions(rows.order_by("pk"), bulk, example_id=F("example_id"), verdict=_verdict(action, wanted["value"]),
                      value=_value(action, wanted["value"]), reason=Value(wanted["reason"]), cause=Value(""),
                      undoes_id=Value(None, output_field=models.BigIntegerField()))
    settled = BatchItem.objects.filter(is_set_aside=True, example__in=bulk.decisions.values("example"))
    settled.update(is_set_aside=False, n_wanted=F("n_taken"))  # as `leave_settled` does for one
    audit(project, by, "decide_all", {  # without the filter, in which there may be words
        "bulk": bulk.pk, "action": action, "value": bulk.value, "n": n, "n_changed": n_changed})
    return bulk


def _lock(rows: QuerySet[ExampleScore]) -> None:
    """So that nobody decides on one of them meanwhile; SQLite has one writer anyway."""
    if connection.features.has_select_for_update:
        list(Example.objects.filter(pk__in=rows.values("example")).order_by("pk").select_for_update()
             .values_list("pk", flat=True))


def _verdict(action: str, value: str) -> Any:
    if action != Action.relabel:
        return Value({Action.keep: "keep", Action.accept: "relabel", Action.exclude: "exclude"}[Action(action)])
    return Case(When(label_now=value, then=Value("keep")), default=Value("relabel"))


def _value(action: str, value: str) -> Any:
    of = {Action.keep: F("label_now"), Action.accept: F("predicted_label"), Action.relabel: Value(value),
          Action.exclude: Value("")}
    return of[Action(action)]


def _insert_decisions(rows: QuerySet[Any], bulk: BulkDecision, **columns: Any) -> None:
    """A decision for each row, in one statement. columns: of the decisions, each by its column's name."""
    same = {"report_id": Value(bulk.report_id, output_field=models.BigIntegerField()), "bulk_id": Value(bulk.pk),
            "decided_by_id": Value(bulk.decided_by_id),
            "created_at": Value(timezone.now(), output_field=models.DateTimeField())}
    given = {f"_{name}": expression for name, expression in (columns | same).items()}
    sql, parameters = rows.annotate(**given).values_list(*given).query.sql_with_params()
    names = ", ".join(connection.ops.quote_name(name[1:]) for name in given)
    execute(f"INSERT INTO {Decision._meta.db_table} ({names}) {sql}", parameters)


def undo_all(bulk: BulkDecision, *, by: User, wake: bool = True) -> BulkDecision | Job:
    """Take back the decisions of a bulk decision that still count; what counted before them counts again.

    Raises UserError if it is an undo itself, was taken back before, or none of its decisions counts any more.
    """
    _check_undoable(bulk)
    if bulk.n_decided > MAX_AT_ONCE:
        return enqueue("decide_all", bulk.project, title=f"Taking back {bulk.n_decided:,} decisions", requested_by=by,
                       params={"undoes": bulk.pk}, exclusive=f"decide_all:{bulk.project_id}", wake=wake)
    with transaction.atomic():
        return _undo(bulk, by)


def _check_undoable(bulk: BulkDecision) -> None:
    if bulk.action == Action.undo:
        raise UserError("This took decisions back. Decide anew instead of taking it back in turn.")
    if BulkDecision.objects.filter(undoes=bulk).exists():
        raise UserError("These decisions are taken back already.")


def _undo(bulk: BulkDecision, by: User, job: Job | None = None) -> BulkDecision:
    _check_undoable(bulk)
    if connection.features.has_select_for_update:
        list(Example.objects.filter(pk__in=bulk.decisions.values("example")).order_by("pk").select_for_update()
             .values_list("pk", flat=True))
    newer = Decision.objects.filter(example_id=OuterRef("example_id"), pk__gt=OuterRef("pk"))
    rows = bulk.decisions.filter(~Exists(newer))
    n = rows.count()
    if not n:
        raise UserError("All of these examples have been decided anew since; there is nothing to take back.")
    undone = BulkDecision.objects.create(
        project=bulk.project, report=bulk.report, query=bulk.query, action=Action.undo, n_previewed=bulk.n_decided,
        n_decided=n, n_changed=bulk.n_decided - n, undoes=bulk, job=job, decided_by=by)
    taken_back = Decision.objects.filter(undoes_id=OuterRef("pk"))
    before = Decision.objects.filter(~Exists(taken_back), example_id=OuterRef("example_id"), pk__lt=OuterRef("pk"),
                                     undoes=None).order_by("-pk")

    def earlier(field: str, otherwise: str) -> Coalesce:
        return Coalesce(Subquery(before.values(field)[:1], output_field=TextField()),
                        Value(otherwise, output_field=TextField()))

    _insert_decisions(rows.order_by("pk"), undone, example_id=F("example_id"),
                      verdict=earlier("verdict", Decision.Verdict.open), value=earlier("value", ""),
                      reason=earlier("reason", ""), cause=earlier("cause", ""), undoes_id=F("pk"))
    audit(bulk.project, by, "undo_all", {"bulk": undone.pk, "undoes": bulk.pk, "n": n})
    return undone


def bulk_decisions(project: Project) -> QuerySet[BulkDecision]:
    """What was decided at once, the newest first, with who took it back."""
    return BulkDecision.objects.filter(project=project).select_related("decided_by", "undone_by__decided_by").exclude(
        Q(action=Action.undo))
