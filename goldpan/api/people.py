"""The people of a project: members, who labels and how, known answers, and what they are asked next."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.contrib.auth.models import User
from ninja import Query, Router, Schema, Status
from pydantic import Field

from curation.services.adaptive import start_next_labels
from curation.services.known_answers import add_candidates, candidates
from curation.services.outdated import ask_again
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import BatchShape, JobShape
from jobs.models import Job
from labeling.models import Annotator, Batch, Desk, KnownAnswer
from labeling.services.annotators import names_for
from labeling.services.batches import rules_of
from labeling.services.rules import save_rules
from labeling.services.set_aside import give_out_again
from labeling.services.sync import start_sync
from labeling.services.trust import let_pass, pause, resume, retire_known_answer
from projects.errors import UserError
from projects.models import Membership, Project
from projects.services import add_member
from training.services.suggestions import start_suggest

router = Router(tags=["People"])


class MemberShape(Schema):
    id: int
    name: str
    role: str

    @staticmethod
    def resolve_name(membership: Any) -> str:
        return str(membership.user)


@router.get("/projects/{id}/members", response=Page[MemberShape])
@on(Project, "manage_members")
def member_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Who belongs to the project, and as what."""
    return page_of(Membership.objects.filter(project=project).select_related("user"), paging, by="pk")


class MemberAsked(Schema):
    name: str = Field(min_length=1, max_length=150, description="Their user name.")
    role: Literal["annotator", "curator", "admin"]


@router.post("/projects/{id}/members", response={201: MemberShape})
@on(Project, "manage_members")
def member_add(request: Request, project: Project, asked: MemberAsked) -> Status:
    """Give somebody a role, or another one.

    Somebody without an account is invited on the page of members, which shows their password once.
    """
    user = User.objects.filter(username=asked.name).first()
    if user is None:
        raise UserError(f"Nobody here is called “{asked.name}”. Invite them on the page of members: it shows their "
                        "password once.")
    return Status(201, add_member(project, user, asked.role, by=request.auth.user))


# Who labels

class AnnotatorShape(Schema):
    id: int
    name: str
    vendor: str
    is_person: bool
    passed_exam_at: datetime | None
    paused_at: datetime | None
    paused_because: str


@router.get("/projects/{id}/annotators", response=Page[AnnotatorShape])
@on(Project, "see_labeling")
def annotator_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Who has answered or may. Names are as on the caller's pages."""
    page = page_of(Annotator.objects.filter(project=project), paging, by="pk")
    names = names_for(project, request.auth.user)
    return page | {"items": [_annotator(one, names[one.pk]) for one in page["items"]]}


def _annotator(annotator: Annotator, name: str) -> dict[str, Any]:
    same = ("id", "vendor", "is_person", "passed_exam_at", "paused_at", "paused_because")
    return {field: getattr(annotator, field) for field in same} | {"name": name}


def _told(request: Request, annotator: Annotator) -> dict[str, Any]:
    """The annotator as they are now, once their desk has been told where there is one."""
    project = annotator.project
    if Batch.objects.filter(project=project).exists() or Desk.objects.filter(project=project).exists():
        start_sync(project, by=request.auth.user)
    annotator.refresh_from_db()
    return _annotator(annotator, names_for(project, request.auth.user)[annotator.pk])


class PauseAsked(Schema):
    because: str = Field(min_length=1, max_length=500, description="The annotator reads it.")
    asks_again: bool = Field(False, description="Others are asked for what they answered.")


@router.post("/annotators/{id}/pause", response=AnnotatorShape)
@on(Annotator, "run_labeling")
def annotator_pause(request: Request, annotator: Annotator, asked: PauseAsked) -> dict[str, Any]:
    """Give somebody nothing more; what lies on their desk goes to others, answers given stay."""
    pause(annotator, because=asked.because, asks_again=asked.asks_again, by=request.auth.user)
    return _told(request, annotator)


class ResumeAsked(Schema):
    passed: bool = Field(False, description="You are satisfied without an exam.")


@router.post("/annotators/{id}/resume", response=AnnotatorShape)
@on(Annotator, "run_labeling")
def annotator_resume(request: Request, annotator: Annotator, asked: ResumeAsked) -> dict[str, Any]:
    """Let somebody who is paused go on."""
    resume(annotator, passed=asked.passed, by=request.auth.user)
    return _told(request, annotator)


@router.post("/annotators/{id}/pass-exam", response=AnnotatorShape)
@on(Annotator, "run_labeling")
def annotator_pass(request: Request, annotator: Annotator) -> dict[str, Any]:
    """Let somebody label without the entry exam."""
    let_pass(annotator, by=request.auth.user)
    return _told(request, annotator)


# How they are asked

class LabelingRulesShape(Schema):
    open_limit: int = Field(30, ge=1, le=500, description="Examples on one desk at a time.")
    reservation_hours: int = Field(72, ge=1, le=24 * 90, description="To answer; then it goes to somebody else.")
    honeypot_share: float = Field(0.05, ge=0, le=0.5, description="Known answers among what is given out.")
    honeypot_floor: float = Field(0.85, ge=0.5, le=0.99, description="Of which people must get right.")
    exam_size: int = Field(0, ge=0, le=100, description="Known answers that a new annotator starts with.")
    exam_pass: float = Field(0.8, ge=0, le=1, description="The share of them to get right.")
    shows_suggestions: bool = Field(False, description="Prefill what a model would answer.")
    hidden_share: float = Field(0.2, ge=0, le=1, description="Suggestions kept back.")
    hides_names: bool = Field(False, description="From curators; only admins show them again.")
    hourly_wage: Decimal = Field(Decimal(0), ge=0, le=99_999, max_digits=8, decimal_places=2)
    currency: str = Field("USD", pattern="^[A-Z]{3}$")


@router.get("/projects/{id}/labeling-rules", response=LabelingRulesShape)
@on(Project, "see_labeling")
def labeling_rules(request: Request, project: Project) -> Any:
    """How labelling is run."""
    return rules_of(project)


@router.put("/projects/{id}/labeling-rules", response=LabelingRulesShape)
@on(Project, "run_labeling")
def labeling_rules_save(request: Request, project: Project, asked: LabelingRulesShape) -> Any:
    """Change how labelling is run; it counts from the next example that is given out."""
    return save_rules(project, asked.model_dump(), by=request.auth.user)


class KnownAsked(Schema):
    examples: list[int] = Field(min_length=1, max_length=1000, description="Ids of candidates.")


class CandidateShape(Schema):
    example_id: int
    value: Any

    @staticmethod
    def resolve_example_id(candidate: Any) -> int:
        return int(candidate.example.pk)


class KnownAnswerShape(Schema):
    id: int
    example_id: int
    value: Any
    added_by: str
    added_at: datetime
    retired_at: datetime | None

    @staticmethod
    def resolve_added_by(known: Any) -> str:
        return str(known.added_by)


@router.get("/projects/{id}/known-answers", response=Page[KnownAnswerShape])
@on(Project, "see_labeling")
def known_answer_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Examples with an answer that is known, by which people are graded without knowing."""
    return page_of(KnownAnswer.objects.filter(project=project).select_related("added_by"), paging, by="pk")


@router.get("/projects/{id}/known-answers/candidates", response=list[CandidateShape])
@on(Project, "run_labeling")
def known_answer_candidates(request: Request, project: Project) -> Any:
    """Settled examples that could serve as known answers."""
    return candidates(project)


class AddedShape(Schema):
    n_added: int


@router.post("/projects/{id}/known-answers", response={201: AddedShape})
@on(Project, "run_labeling")
def known_answer_add(request: Request, project: Project, asked: KnownAsked) -> Status:
    """Make known answers of candidates: they are mixed into what is given out."""
    return Status(201, {"n_added": add_candidates(project, asked.examples, by=request.auth.user)})


@router.post("/known-answers/{id}/retire", response=KnownAnswerShape)
@on(KnownAnswer, "run_labeling")
def known_answer_retire(request: Request, known: KnownAnswer) -> KnownAnswer:
    """Give it out no more, and grade nobody by it."""
    retire_known_answer(known, by=request.auth.user)
    known.refresh_from_db()
    return known


# What they are asked next

class NextAsked(Schema):
    n: int = Field(100, ge=1, le=100_000, description="Labels to ask for.")
    target: float | None = Field(None, gt=0, le=1, description="The quality from which an example is sure.")
    cap: int = Field(3, ge=1, le=20, description="Answers of an example at most.")
    is_dry: bool = Field(False, description="Only say what would be asked.")


@router.post("/projects/{id}/next-labels", response={202: JobShape})
@on(Project, "run_labeling")
def next_labels(request: Request, project: Project, asked: NextAsked) -> Status:
    """Let Goldpan choose what people label next: a job that ends in a batch.

    A choice that is being made already is told in place of a second one.
    """
    waiting = Job.objects.active().filter(project=project, kind="next_labels").first()
    return Status(202, waiting or start_next_labels(project, **asked.model_dump(), by=request.auth.user))


@router.post("/projects/{id}/guidelines/ask-again", response={201: BatchShape})
@on(Project, "run_labeling")
def guideline_ask_again(request: Request, project: Project) -> Status:
    """Ask people about the examples that were labelled under an older rule."""
    batch = ask_again(project, by=request.auth.user)
    start_sync(project, by=request.auth.user)
    return Status(201, batch)


class AgainAsked(Schema):
    items: list[int] | None = Field(None, max_length=10_000, description="Only these of the batch; all that are set "
                                    "aside if left out.")


class AgainShape(Schema):
    n: int


@router.post("/batches/{id}/again", response=AgainShape)
@on(Batch, "run_labeling")
def batch_again(request: Request, batch: Batch, asked: AgainAsked) -> dict[str, int]:
    """Give examples that people set aside out again, to others."""
    items = None if asked.items is None else [pk for pk in asked.items if 0 < pk <= MAX_ID]
    n = give_out_again(batch, items, by=request.auth.user)
    start_sync(batch.project, by=request.auth.user)
    return {"n": n}


@router.post("/projects/{id}/suggestions", response={202: JobShape})
@on(Project, "run_labeling")
def suggest(request: Request, project: Project) -> Status:
    """Let the best model so far suggest labels for what people get next.

    Annotators see them if the rules of labelling say so.
    """
    return Status(202, start_suggest(project, by=request.auth.user))
