"""What people settle: answers that differ, many examples at once, groups of duplicates, pairs, discussions."""

from datetime import datetime
from typing import Any, Literal

from django.http import Http404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from curation.models import BulkDecision, Decision, DuplicateCluster, PairToJudge, QualityReport
from curation.services.adjudication import adjudication_queue, case_of, settle
from curation.services.bulk_decisions import Seen, decide_all, look_at, undo_all
from curation.services.discussions import reviewers, write_message
from curation.services.duplicates import (
    Wanted,
    cluster_queue,
    judge_pair,
    pairs_left,
    preview_keep_one,
    settle_cluster,
    start_keep_one,
    undo_duplicates,
    undo_judgement,
)
from curation.services.queue import Filter, Queue, read_filter
from curation.services.review import undo
from curation.services.scoring import latest_report
from goldpan.api.paging import MOST, Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import DecisionShape, JobShape
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project

router = Router(tags=["Settling"])
Number = Field(ge=1, le=MAX_ID)


# Answers that differ

class QueueAsked(Schema):
    queue: Literal["waiting", "discuss"] = "waiting"
    limit: int = Field(50, ge=1, le=MOST, description="How many at most. What is settled leaves the queue.")


class WaitingShape(Schema):
    example_id: int
    key: str
    split: str


@router.get("/projects/{id}/adjudication", response=list[WaitingShape])
@on(Project, "review")
def adjudication_list(request: Request, project: Project, asked: Query[QueueAsked]) -> Any:
    """Examples whose answers differ and that wait for a curator, in no order that would tell anything."""
    return adjudication_queue(project, asked.queue)[:asked.limit]


class SaidShape(Schema):
    annotation_id: int = Field(description="Of one who says so.")
    value: str
    n: int = Field(description="How many say so.")


class CaseShape(Schema):
    """An example to adjudicate."""

    example_id: int
    text: str
    answers: list[SaidShape]
    is_decidable: bool = Field(description="Held-out examples are settled by the majority where there is one.")
    seen: int = Field(description="Send it with the settlement.")


@router.get("/examples/{id}/case", response=CaseShape)
@on(Example, "review")
def case(request: Request, example: Example) -> dict[str, Any]:
    """What people said about an example, each answer once; never what a model says."""
    found = case_of(example)
    return {"example_id": example.pk, "text": example.text, "is_decidable": found.is_decidable, "seen": found.seen,
            "answers": [{"annotation_id": one.pk, "value": one.label, "n": len(one.given_by)} for one in found.answers]}


class SettlementAsked(Schema):
    verdict: Literal["relabel", "exclude", "discuss"]
    cause: str = Field("", max_length=10, description="Why the answers differ: "
                       f"{', '.join(Decision.Cause.values)}. Only a discussion is opened without one.")
    answer: int | None = Field(None, ge=1, le=MAX_ID, description="The annotation that says what is right.")
    written: str = Field("", max_length=20_000, description="Or the right answer, where nobody gave it.")
    reason: str = Field("", max_length=2000, description="A note to the annotators.")
    seen: int | None = Field(None, ge=0, le=MAX_ID, description="As the case told it: refused if somebody has decided "
                             "since.")


@router.post("/examples/{id}/settlement", response={201: DecisionShape})
@on(Example, "review")
def adjudication_settle(request: Request, example: Example, asked: SettlementAsked) -> Status:
    """Settle what an example's answers differ about."""
    return Status(201, settle(example, **asked.model_dump(), by=request.auth.user))


@router.post("/projects/{id}/adjudication/undo", response={201: DecisionShape})
@on(Project, "review")
def adjudication_undo(request: Request, project: Project) -> Status:
    """Take back one's own last decision; what counted before counts again."""
    return Status(201, undo(project, by=request.auth.user))


class MessageAsked(Schema):
    text: str = Field(min_length=1, max_length=2000)
    asked: str = Field("", max_length=150, description="The user name of whom it asks, who can review here.")


class MessageShape(Schema):
    id: int
    example_id: int
    author: str
    text: str
    asked: str | None
    created_at: datetime

    @staticmethod
    def resolve_author(message: Any) -> str:
        return str(message.author)

    @staticmethod
    def resolve_asked(message: Any) -> str | None:
        return str(message.asked) if message.asked_id else None


@router.post("/examples/{id}/messages", response={201: MessageShape})
@on(Example, "review")
def message_write(request: Request, example: Example, asked: MessageAsked) -> Status:
    """Say something about an example that is set aside for discussion."""
    person = reviewers(example.project).filter(username=asked.asked).first() if asked.asked else None
    if asked.asked and person is None:
        raise UserError(f"“{asked.asked}” cannot review here. Ask somebody else, or anybody.")
    return Status(201, write_message(example, text=asked.text, by=request.auth.user, asked=person))


# Many at once

class QueueFilter(Schema):
    """Which examples of the review queue, as its page's address says it."""

    view: str = Field("flagged", max_length=30)
    flag: str = Field("", max_length=30)
    label: str = Field("", max_length=200, description="That the report gives it.")
    predicted: str = Field("", max_length=200, description="That the model suggests.")
    annotator: int = Field(0, ge=0, le=MAX_ID)
    cluster: int | None = Field(None, ge=0, le=2**31 - 1)
    selection: int = Field(0, ge=0, le=MAX_ID)
    q: str = Field("", max_length=200, description="Words in the text.")
    state: str = Field("open", max_length=30)

    @property
    def filter(self) -> Filter:
        given = {name: value for name, value in self.model_dump().items() if value or name == "cluster"}
        return read_filter({name: str(value) for name, value in given.items() if value is not None})


def _report(project: Project) -> QualityReport:
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: this goes by what scoring found.")
    return report


class SeenShape(Schema):
    report: int
    decision: int
    annotation: int
    n: int = Field(description="How many examples.")
    total: int


class FilterLookShape(Schema):
    """What a decision about all examples of a filter would be about."""

    seen: SeenShape
    labels: list[tuple[str, int]] = Field(description="The label that counts, and how many have it.")
    suggestions: list[tuple[str, int]] = Field(description="What a model says otherwise, and of how many.")


@router.get("/projects/{id}/at-once", response=FilterLookShape)
@on(Project, "review")
def bulk_look(request: Request, project: Project, asked: Query[QueueFilter]) -> Any:
    """What one decision about all examples of a filter would be about.

    `seen` is what the decision has to name.
    """
    return look_at(Queue(_report(project), asked.filter))


class SeenAsked(Schema):
    report: int = Number
    decision: int = Field(ge=0, le=MAX_ID)
    annotation: int = Field(ge=0, le=MAX_ID)
    n: int = Field(ge=0, le=MAX_ID)
    total: int = Field(ge=0, le=MAX_ID)


class BulkAsked(Schema):
    filter: QueueFilter
    seen: SeenAsked = Field(description="As the look told it: refused if the filter holds other examples now.")
    action: Literal["keep", "accept", "relabel", "exclude"]
    value: str = Field("", max_length=20_000, description="The label, to relabel.")
    reason: str = Field("", max_length=2000)


def _bulk(done: Any) -> Status:
    return Status(201 if isinstance(done, BulkDecision) else 202, done)


class BulkShape(Schema):
    """A decision about many at once."""

    id: int
    action: str
    value: str
    reason: str
    query: str = Field(description="The filter, as an address has it.")
    n_previewed: int
    n_decided: int
    n_changed: int = Field(description="Decided or answered meanwhile, and left alone.")
    undoes_id: int | None
    decided_by: str
    created_at: datetime

    @staticmethod
    def resolve_decided_by(bulk: Any) -> str:
        return str(bulk.decided_by)


@router.post("/projects/{id}/bulk-decisions", response={201: BulkShape, 202: JobShape})
@on(Project, "review")
def bulk_decide(request: Request, project: Project, asked: BulkAsked) -> Status:
    """Decide about all examples of a filter; where they are many, in a job."""
    return _bulk(decide_all(project, asked.filter.filter, seen=Seen(**asked.seen.model_dump()), action=asked.action,
                            value=asked.value, reason=asked.reason, by=request.auth.user))


@router.get("/projects/{id}/bulk-decisions", response=Page[BulkShape])
@on(Project, "review")
def bulk_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Decisions about many at once, newest first."""
    return page_of(BulkDecision.objects.filter(project=project).select_related("decided_by"), paging)


@router.post("/bulk-decisions/{id}/undo", response={201: BulkShape, 202: JobShape})
@on(BulkDecision, "review")
def bulk_undo(request: Request, bulk: BulkDecision) -> Status:
    """Take back the decisions that still count of one about many."""
    return _bulk(undo_all(bulk, by=request.auth.user))


# Duplicates

class DuplicatesAsked(Paging):
    what: str = Field("", max_length=10, description=f"Only those: {', '.join(DuplicateCluster.What.values)}.")
    kind: str = Field("", max_length=10, description=f"Joined by: {', '.join(DuplicateCluster.Kind.values)}.")
    lowest: float = Field(0, ge=0, le=1, description="Similarity from.")
    highest: float = Field(1, ge=0, le=1)


class DuplicateShape(Schema):
    """A group of duplicates in the newest report."""

    id: int
    what: str
    kind: str
    size: int
    similarity: float = Field(description="Cosine of its least similar member to the centre.")
    n_labels: int = Field(description="Different labels in it.")
    n_held_out: int
    n_to_exclude: int = Field(description="How many go if one is kept.")
    centre_id: int
    examples: list[int]

    @staticmethod
    def resolve_examples(cluster: Any) -> list[int]:
        return [member.example_id for member in cluster.members.all()]


@router.get("/projects/{id}/duplicates", response=Page[DuplicateShape])
@on(Project, "review")
def duplicate_list(request: Request, project: Project, asked: Query[DuplicatesAsked]) -> dict[str, Any]:
    """Groups of duplicates that nobody has settled, the most urgent first."""
    wanted = Wanted(asked.what, asked.kind, asked.lowest, asked.highest)
    return page_of(cluster_queue(_report(project), wanted).prefetch_related("members"), asked, by="place")


class DuplicateAsked(Schema):
    duplicate: int = Field(ge=1, le=MAX_ID, description="The id of the group.")
    verdict: Literal["keep_one", "keep_all", "merge"]
    kept: int | None = Field(None, ge=1, le=MAX_ID, description="The example that stays; the suggested one if left "
                             "out.")
    label: str = Field("", max_length=20_000, description="That all get, to merge.")


class DuplicateActionShape(Schema):
    id: int
    duplicate: int
    verdict: str
    decisions: list[int]
    undoes_id: int | None
    created_at: datetime

    @staticmethod
    def resolve_duplicate(action: Any) -> int:
        return int(action.cluster_id)


@router.post("/projects/{id}/duplicates/settle", response={201: DuplicateActionShape})
@on(Project, "review")
def duplicate_settle(request: Request, project: Project, asked: DuplicateAsked) -> Status:
    """Keep one of a group, keep all, or give all the same label."""
    cluster = DuplicateCluster.objects.filter(report__project=project, pk=asked.duplicate).first()
    if cluster is None:
        raise Http404
    return Status(201, settle_cluster(cluster, verdict=asked.verdict, kept=asked.kept, label=asked.label,
                                      by=request.auth.user))


@router.post("/projects/{id}/duplicates/undo", response={201: list[DuplicateActionShape]})
@on(Project, "review")
def duplicate_undo(request: Request, project: Project) -> Status:
    """Take back what one did last about a group, or about many at once."""
    return Status(201, undo_duplicates(project, by=request.auth.user))


class KeepOneAsked(Schema):
    lowest: float = Field(1, ge=0, le=1, description="Similarity from which one of a group is enough.")
    kind: str = Field("", max_length=10, description=f"Joined by: {', '.join(DuplicateCluster.Kind.values)}.")


class KeepOneShape(Schema):
    n_clusters: int
    n_examples: int = Field(description="That would be left out.")


@router.get("/projects/{id}/duplicates/keep-one", response=KeepOneShape)
@on(Project, "review")
def duplicate_keep_one_look(request: Request, project: Project, asked: Query[KeepOneAsked]) -> Any:
    """How many groups keeping one of each would settle, and how many examples would go."""
    return preview_keep_one(_report(project), lowest=asked.lowest, kind=asked.kind)


class KeepOneOrder(KeepOneAsked):
    n_seen: int = Field(ge=0, le=2**31 - 1, description="How many groups you saw: refused if there are others now.")


@router.post("/projects/{id}/duplicates/keep-one", response={202: JobShape})
@on(Project, "review")
def duplicate_keep_one(request: Request, project: Project, asked: KeepOneOrder) -> Status:
    """Keep one of every group above a similarity, in a job."""
    return Status(202, start_keep_one(_report(project), lowest=asked.lowest, kind=asked.kind, n_seen=asked.n_seen,
                                      by=request.auth.user))


class PairShape(Schema):
    id: int
    example_a_id: int
    example_b_id: int
    texts: list[str]
    similarity: float

    @staticmethod
    def resolve_texts(pair: Any) -> list[str]:
        return [pair.example_a.text, pair.example_b.text]


@router.get("/projects/{id}/pairs", response=Page[PairShape])
@on(Project, "review")
def pair_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Pairs of texts that nobody has judged yet.

    Judgements set from which similarity on two texts count as the same.
    """
    return page_of(pairs_left(_report(project)).select_related("example_a", "example_b"), paging, by="place")


class PairAsked(Schema):
    pair: int = Number
    answer: Literal["same", "different"]


class PairJudgementShape(Schema):
    id: int
    example_a_id: int
    example_b_id: int
    answer: str
    similarity: float
    created_at: datetime


@router.post("/projects/{id}/pairs/judge", response={201: PairJudgementShape})
@on(Project, "review")
def pair_judge(request: Request, project: Project, asked: PairAsked) -> Status:
    """Say whether two texts say the same."""
    pair = PairToJudge.objects.select_related("report").filter(report__project=project, pk=asked.pair).first()
    if pair is None:
        raise Http404
    return Status(201, judge_pair(pair, answer=asked.answer, by=request.auth.user))


@router.post("/projects/{id}/pairs/undo", response={201: PairJudgementShape})
@on(Project, "review")
def pair_undo(request: Request, project: Project) -> Status:
    """Take back one's last judgement of a pair."""
    return Status(201, undo_judgement(project, by=request.auth.user))
