"""What the operations answer, row by row."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from ninja import Schema
from pydantic import Field

A_FILE = {"responses": {200: {"description": "The file", "content": {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}}


class ProjectShape(Schema):
    id: int
    name: str
    task_type: str
    answer_schema: dict[str, Any] = Field(description="What an answer may be.")
    labels: list[str] = Field(description="What an answer can be, in order; empty where it is free.")
    guideline: str
    guideline_version: int
    target_metric: str
    target_value: float
    created_at: datetime

    @staticmethod
    def resolve_answer_schema(project: Any) -> dict[str, Any]:
        return dict(project.schema)

    @staticmethod
    def resolve_guideline(project: Any) -> str:
        return str(project.instructions)

    @staticmethod
    def resolve_guideline_version(project: Any) -> int:
        return int(project.instructions_version)


class JobShape(Schema):
    """Background work. It has ended once `state` is succeeded, failed or cancelled."""

    id: int
    project_id: int
    kind: str
    title: str
    state: Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
    stage: str
    done: int = Field(description="Of the stage, in units of its own.")
    total: int = Field(description="0 while unknown.")
    result: dict[str, Any] = Field(description="What it made, by kind: ids of what it wrote, counts.")
    error: str = Field(description="Why it failed, in words.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class AuditShape(Schema):
    """Who did what. The chain holds if every sha256 follows from its event and the one before."""

    sequence: int
    at: datetime
    who: str
    what: str
    detail: dict[str, Any]
    previous_sha256: str
    sha256: str


class GuidelineShape(Schema):
    version: int
    text: str
    note: str
    changed_labels: list[str]
    changes_all: bool
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(guideline: Any) -> str:
        return str(guideline.created_by)


class BatchShape(Schema):
    """Examples that people are asked about."""

    id: int
    number: int
    title: str
    state: Literal["open", "paused", "closed"]
    vendor: str
    n_labels: int
    overlap_share: float
    overlap_labels: int
    max_labels: int
    skips: Literal["next_person", "set_aside"]
    created_at: datetime


class ExampleShape(Schema):
    id: int
    key: str
    text: str
    data: dict[str, Any]
    split: Literal["pool", "dev", "test"]
    group: str
    observed_at: datetime | None


class AnnotationShape(Schema):
    """One answer in the ledger; the newest of a person about an example counts."""

    id: int
    example_id: int
    annotator: str
    value: Any = Field(description="The answer as the task type gives it; null if skipped or withdrawn.")
    skipped: bool
    retracted: bool
    seconds: float | None
    source: str
    guideline_version: int
    created_at: datetime


class BadRowShape(Schema):
    line: int
    reason: str


class UploadShape(Schema):
    """A file that was checked line by line; nothing of it is imported before somebody says so."""

    id: int
    project_id: int
    name: str
    kind: Literal["examples", "annotations"]
    format: str
    mapping: dict[str, str | None] = Field(description="Which column is what.")
    n_good: int
    n_bad: int
    bad_rows: list[BadRowShape] = Field(description="The first 50 with their reasons.")
    imported_at: datetime | None
    n_imported: int
    created_at: datetime

    @staticmethod
    def resolve_bad_rows(upload: Any) -> list[dict[str, Any]]:
        return [{"line": line, "reason": reason} for line, reason in upload.bad_rows]


class ReportShape(Schema):
    """What one scoring found."""

    id: int
    n_examples: int
    n_scored: int
    n_issues: int
    n_clusters: int
    n_crossing: int
    accuracy: float | None = Field(description="Of out-of-sample predictions against the given labels.")
    hidden_because: str = Field(description="Why no scores are shown, if so.")
    n_flags: dict[str, int]
    created_at: datetime


class ScoreShape(Schema):
    """What a report says of one example. Quality is between 0 and 1, and low is bad."""

    id: int
    example_id: int
    label: str
    predicted_label: str
    label_quality: float | None
    is_label_issue: bool
    annotator_agreement: float | None
    cluster: int
    cluster_size: int
    crosses_split: bool
    reasons: list[Any]


class DecisionShape(Schema):
    id: int
    example_id: int
    verdict: str
    value: str
    reason: str
    cause: str
    undoes_id: int | None
    decided_by: str
    created_at: datetime

    @staticmethod
    def resolve_decided_by(decision: Any) -> str:
        return str(decision.decided_by)


class GoldRuleShape(Schema):
    """The rule that picks the gold set."""

    size: int = Field(ge=1, le=1_000_000)
    method: Literal["spread", "draw"] = "spread"
    min_quality: float = Field(0, ge=0, le=1)
    min_per_label: int = Field(20, ge=0, le=100_000)
    uncertain_share: float = Field(0.1, ge=0, le=1)
    audit_share: float = Field(0.05, ge=0, le=1)
    favoured_share: float = Field(0, ge=0, le=1, description="Of the rows, kept for those of the favoured batches.")
    favoured_batches: list[int] = Field([], max_length=100, description="Numbers of batches.")
    seed: int = Field(0, ge=0, le=99_999)
    allow_flagged: bool = False


class PickShape(Schema):
    """What the stored rule picks now: `facts`, or the job that is finding out."""

    facts: dict[str, Any] | None
    job: JobShape | None


class ApprovalShape(Schema):
    decision: Literal["approved", "refused"]
    sha256: str
    approver: str
    comment: str
    self_approved: bool
    created_at: datetime

    @staticmethod
    def resolve_approver(approval: Any) -> str:
        return str(approval.approver)


class SnapshotShape(Schema):
    """A gold set and its held-out rows, frozen. It never changes."""

    id: int
    project_id: int
    number: int
    sha256: str
    rows_sha256: str
    rule: dict[str, Any]
    counts: dict[str, Any]
    origin: str
    report_id: int | None
    parent_id: int | None
    approval: ApprovalShape | None
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(snapshot: Any) -> str:
        return str(snapshot.created_by)

    @staticmethod
    def resolve_approval(snapshot: Any) -> Any:
        return getattr(snapshot, "approval", None)


class SnapshotRowShape(Schema):
    position: int = Field(description="Line number in the file, from 0.")
    example_id: int
    split: str
    text: str
    label: str
    annotation_ids: list[int]
    decision_id: int | None
    row_sha256: str

    @staticmethod
    def resolve_text(row: Any) -> str:
        return str(row.example.text)


class CheckShape(Schema):
    name: str
    claim: str
    holds: bool
    found: str
    n: int = Field(description="How many rows, labels or groups break it.")
    override_reason: str | None


class CommentShape(Schema):
    id: int
    author: str
    text: str
    created_at: datetime

    @staticmethod
    def resolve_author(comment: Any) -> str:
        return str(comment.author)


class ChangesShape(Schema):
    snapshot_id: int
    earlier_id: int
    n_added: int
    n_removed: int
    n_relabelled: int
    n_moved: int


class IntervalShape(Schema):
    """An estimate, its two-sided 95 % interval, and the rows behind it."""

    estimate: float
    low: float
    high: float
    n: int


class VerdictShape(Schema):
    """Whether the best prompt is good enough."""

    outcome: Literal["PROMPT_OK", "FINE_TUNE", "INCONCLUSIVE"]
    advice: str = Field(description="The outcome once gain, worth and cost are weighed.")
    words: str
    next_step: str
    target_metric: str
    target_value: float
    lower: float = Field(description="One-sided 95 % bound.")
    upper: float = Field(description="One-sided 95 % bound.")
    best_prompt_run_id: int
    created_at: datetime

    @staticmethod
    def resolve_words(verdict: Any) -> str:
        return str(verdict.all_words)

    @staticmethod
    def resolve_next_step(verdict: Any) -> str:
        return str(verdict.step)

    @staticmethod
    def resolve_best_prompt_run_id(verdict: Any) -> int:
        return int(verdict.best_prompt_id)


class DifferenceShape(Schema):
    difference: IntervalShape
    p_value: float


class RivalShape(Schema):
    run_id: int
    name: str
    score: IntervalShape
    is_best_prompt: bool
    against_prompt: DifferenceShape | None
    seconds_per_thousand: float | None
    cost_per_thousand: float | None
    train_seconds: float | None

    @staticmethod
    def resolve_run_id(rival: Any) -> int:
        return int(rival.run.pk)


class ComparisonShape(Schema):
    """Every run that was judged on the snapshot's test rows."""

    headline: str
    paragraph: str
    tone: Literal["yes", "no", "open"]
    metric: str
    n_looks: int
    rivals: list[RivalShape]


class PromptShape(Schema):
    id: int
    name: str
    version: int
    system: str
    instruction: str
    examples: Literal["none", "spread", "nearest"]
    note: str
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(version: Any) -> str:
        return str(version.created_by)


class QuoteShape(Schema):
    """What a training will take, by real steps that were tried."""

    id: int
    snapshot_id: int
    settings: dict[str, Any] = Field(description="Of the training.")
    seconds: float
    seconds_low: float
    seconds_high: float
    cpu_seconds: float
    peak_mb: float
    n_steps: int
    money: float | None
    currency: str
    cap_seconds: float
    words: list[str]
    created_at: datetime

    @staticmethod
    def resolve_settings(quote: Any) -> dict[str, Any]:
        return dict(quote.config["training"])


class EvaluationShape(Schema):
    split: str
    n: int
    n_right: int | None
    metric: str
    score: IntervalShape
    metrics: dict[str, Any]
    seconds: float

    @staticmethod
    def resolve_score(evaluation: Any) -> Any:
        return evaluation.measured.interval


class RunShape(Schema):
    """One attempt: a prompt, the probe, or a LoRA training."""

    id: int
    snapshot_id: int
    kind: str
    title: str
    executor: str
    seed: int
    job: JobShape
    adapter_id: int | None
    override_reason: str
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(run: Any) -> str:
        return str(run.created_by)

    @staticmethod
    def resolve_adapter_id(run: Any) -> int | None:
        adapter = getattr(run, "adapter", None)
        return adapter.pk if adapter else None


class RunDetailShape(RunShape):
    config: dict[str, Any]
    evaluations: list[EvaluationShape]

    @staticmethod
    def resolve_evaluations(run: Any) -> list[Any]:
        return list(run.evaluations.all())


class CurveShape(Schema):
    """Loss and dev figures by step, as far as they have come."""

    points: list[dict[str, Any]]


class AdapterShape(Schema):
    id: int
    project_id: int
    run_id: int
    stage: Literal["candidate", "champion", "retired"]
    files: dict[str, str] = Field(description="File name → sha256.")
    receipt: dict[str, Any]
    created_at: datetime


class AdapterDetailShape(AdapterShape):
    may_be_promoted: bool = Field(description="Whether the gate lets it be champion without a written reason.")
    reasons: list[str] = Field(description="Why, or why not.")


class AbTestShape(Schema):
    """An A/B test. The plan is fixed at its start; shares here are from 0 to 1."""

    id: int
    project_id: int
    state: Literal["running", "ended"]
    champion_id: int = Field(description="The deployment.")
    challenger_id: int = Field(description="The deployment; in an A/A test the champion's.")
    share: float
    outcome: Literal["thumb", "value", "correction_free"]
    engine: Literal["planned looks", "always valid"]
    n_max: int = Field(description="Units with an outcome per arm at which it ends.")
    is_aa: bool
    is_cheaper: bool
    margin: float
    slow_seconds: float
    started_at: datetime


class ArmShape(Schema):
    name: str
    n_exposed: int
    n: int = Field(description="Units with an outcome.")
    total: float = Field(description="Sum of the outcomes, each from 0 to 1.")


class HarmShape(Schema):
    name: str
    e_value: float = Field(description="Evidence; harm at 100.")
    is_harm: bool
    n: int
    words: str


class TestLookShape(Schema):
    number: int
    fraction: float = Field(description="Of the planned information.")
    z: float
    bound: float
    interval: IntervalShape


class AbTestDetailShape(Schema):
    """A test as it stands, or as it ended."""

    test: AbTestShape = Field(alias="experiment")
    verdict: str = Field(alias="outcome", description="CONTINUE while it is open; what it came to at its end.")
    words: list[str]
    champion: ArmShape
    challenger: ArmShape
    difference: IntervalShape | None = Field(alias="interval", description="As what decides has it; null before that.")
    band: IntervalShape | None = Field(description="Always valid.")
    ratio: str
    harms: list[HarmShape]
    looks: list[TestLookShape]
    days: float

    @staticmethod
    def resolve_ratio(judged: Any) -> str:
        return str(judged.ratio.words)


class ShadowShape(Schema):
    """Champion and challenger asked the same kept requests."""

    id: int
    project_id: int
    champion_id: int
    challenger_id: int
    n: int
    n_differing: int
    created_at: datetime


class ShadowDetailShape(ShadowShape):
    words: list[str]
    judged_in: int | None = Field(description="The project in which people judge; null before they are asked.")
    n_open: int = Field(description="Pairs that nobody has judged.")


class MemberShape(Schema):
    id: int
    name: str
    role: str

    @staticmethod
    def resolve_name(membership: Any) -> str:
        return str(membership.user)


class AnnotatorShape(Schema):
    id: int
    name: str
    vendor: str
    is_person: bool
    passed_exam_at: datetime | None
    paused_at: datetime | None
    paused_because: str


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


class WaitingShape(Schema):
    example_id: int
    key: str
    split: str


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


class PairShape(Schema):
    id: int
    example_a_id: int
    example_b_id: int
    texts: list[str]
    similarity: float

    @staticmethod
    def resolve_texts(pair: Any) -> list[str]:
        return [pair.example_a.text, pair.example_b.text]


class PairJudgementShape(Schema):
    id: int
    example_a_id: int
    example_b_id: int
    answer: str
    similarity: float
    created_at: datetime


class ExperimentArmShape(Schema):
    position: int
    name: str
    what: str
    n_rows: int
    accuracies: list[float] = Field(description="One per draw.")
    accuracy: dict[str, Any] = Field(description="Their mean with its interval.")
    difference: dict[str, Any] | None = Field(description="To the first arm, paired; null for that one.")


class ExperimentShape(Schema):
    id: int
    project_id: int
    kind: str
    split: str
    n: int = Field(description="Rows that judged.")
    verdict: list[str] = Field(description="In words, the headline first.")
    arms: list[ExperimentArmShape]
    groups: list[dict[str, Any]] = Field(description="Of fixes: groups of flagged rows and what they may bring.")
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(experiment: Any) -> str:
        return str(experiment.created_by)


class ForecastShape(Schema):
    """How many labels the target may take."""

    id: int
    target_metric: str
    target_value: float
    n_train: int
    n_dev: int
    words: list[str] = Field(description="The headline first.")
    found: dict[str, Any] = Field(description="The curve with its band, labels, seconds and price.")
    created_at: datetime


class ArmTrainingShape(Schema):
    id: int
    experiment_id: int
    job_id: int
    positions: list[int]
    seeds: list[int]
    steps: int | None
    arms: list[dict[str, Any]] | None = Field(description="The figures of each, once all is judged.")
    created_at: datetime

    @staticmethod
    def resolve_arms(training: Any) -> Any:
        return getattr(getattr(training, "verdict", None), "arms", None)


class EconomicsShape(Schema):
    """What answers are worth and cost. Amounts are in the project's currency, shares in 0 to 1."""

    requests: float | None = Field(None, ge=0, description="A month, the likeliest.")
    requests_low: float | None = Field(None, ge=0)
    requests_high: float | None = Field(None, ge=0)
    months: float | None = Field(None, ge=0, description="That a trained model would be used.")
    value: float | None = Field(None, ge=0, description="Of a right answer in place of a wrong one.")
    value_low: float | None = Field(None, ge=0)
    value_high: float | None = Field(None, ge=0)
    realised: float | None = Field(None, ge=0, le=1, description="Share of the benefit that arrives.")
    realised_low: float | None = Field(None, ge=0, le=1)
    realised_high: float | None = Field(None, ge=0, le=1)
    machine_id: int | None = Field(None, ge=1, le=2**63 - 1, description="A price of what trains.")
    prompt_price_id: int | None = Field(None, ge=1, le=2**63 - 1, description="A price of what the prompt asks.")
    trained_price_id: int | None = Field(None, ge=1, le=2**63 - 1)
    tokens_in: float | None = Field(None, ge=0, description="Read for an answer by the prompt.")
    tokens_out: float | None = Field(None, ge=0)
    trained_tokens_in: float | None = Field(None, ge=0)
    cached_share: float | None = Field(None, ge=0, le=1)
    cached_discount: float | None = Field(None, ge=0, le=1)
    hosting: float | None = Field(None, ge=0, description="Of the trained model, a month.")
    retrainings: float | None = Field(None, ge=0, description="A year.")
    label_price: float | None = Field(None, ge=0)


class PriceShape(Schema):
    id: int
    kind: str
    name: str
    currency: str
    per_hour: float | None
    memory_gb: float | None
    teraflops: float | None
    per_million_in: float | None
    per_million_out: float | None
    since: date
    source: str
    is_withdrawn: bool


class MapShape(Schema):
    id: int
    project_id: int
    method: str
    encoder: str
    n_points: int
    explained: float | None = Field(description="Share of the variance that the two axes hold, for PCA.")
    created_at: datetime


class SelectionShape(Schema):
    id: int
    project_id: int
    n_examples: int
    created_at: datetime
