from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from jobs.models import Job
from labeling.models import Example
from projects.models import AnyUser, OfProjectQuerySet, Project


class EmbeddingShard(models.Model):
    """A float16 array of embeddings in the object store; the rows say which text is where in it."""

    encoder = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64)
    n_rows = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.encoder}: {self.n_rows} rows"


class Embedding(models.Model):
    """Where the embedding of a text is. Kept by content, so a text is encoded once per encoder, for ever."""

    encoder = models.CharField(max_length=120)
    content_sha256 = models.CharField(max_length=64)
    shard = models.ForeignKey(EmbeddingShard, on_delete=models.PROTECT, related_name="embeddings", db_index=False)
    row = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["encoder", "content_sha256"], name="one_embedding_per_encoder_and_text")]

    def __str__(self) -> str:
        return self.content_sha256


class QualityReport(models.Model):
    """What one scoring run found: a row per example beside it, both never edited."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="quality_reports")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    encoder = models.CharField(max_length=120)
    n_examples = models.PositiveIntegerField()
    n_scored = models.PositiveIntegerField(help_text="pool examples with a label and a quality")
    n_issues = models.PositiveIntegerField()
    n_clusters = models.PositiveIntegerField(help_text="groups of at least two near-duplicates")
    n_crossing = models.PositiveIntegerField(help_text="pool examples with a near-duplicate among dev or test")
    duplicate_threshold = models.FloatField()
    accuracy = models.FloatField(null=True, help_text="of the out-of-sample predictions against the given labels")
    majority_share = models.FloatField(null=True)
    hidden_because = models.TextField(blank=True, help_text="why no scores are shown, if so")
    left_out = models.JSONField(default=dict, help_text="label → why its examples have no score")
    annotators = models.JSONField(default=dict, help_text="annotator → quality by CROWDLAB, where there are overlaps")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"report {self.pk}"


class ExampleScore(models.Model):
    """What a report says of one example. Quality is in [0, 1] and low is bad."""

    report = models.ForeignKey(QualityReport, on_delete=models.CASCADE, related_name="scores", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="scores")
    label = models.TextField(blank=True, help_text="given, or the annotators' consensus, as a model writes it")
    n_labels = models.PositiveSmallIntegerField()
    predicted_label = models.TextField(blank=True)
    label_quality = models.FloatField(null=True)
    is_label_issue = models.BooleanField(default=False)
    label_probability = models.FloatField(null=True, help_text="what the model gives the label, out of sample")
    predicted_probability = models.FloatField(null=True)
    annotator_agreement = models.FloatField(null=True)
    cluster = models.PositiveIntegerField(help_text="near-duplicates share a number")
    cluster_size = models.PositiveIntegerField()
    crosses_split = models.BooleanField(default=False, help_text="its cluster reaches into dev or test")
    neighbours = models.JSONField(default=list, help_text="nearest pool examples: [example id, cosine]")
    reasons = models.JSONField(default=list, help_text="why it is flagged, in plain words")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["report", "example"], name="one_score_per_report_and_example"),
            models.CheckConstraint(
                condition=Q(label_quality__isnull=True) | Q(label_quality__gte=0, label_quality__lte=1),
                name="label_quality_is_between_0_and_1"),
        ]
        indexes = [
            models.Index(fields=["report", "label_quality"], name="score_worst_first"),
            models.Index(fields=["report", "label_quality"], name="score_flagged_worst_first",
                         condition=Q(is_label_issue=True)),
            models.Index(fields=["report", "label_quality"], name="score_disputed_worst_first",
                         condition=Q(annotator_agreement__lt=1)),
        ]

    def __str__(self) -> str:
        return f"{self.example}: {self.label_quality}"


class DecisionQuerySet(models.QuerySet["Decision"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(example__project__memberships__user_id=user.pk or 0)

    def current(self) -> Self:
        """The decision that counts for each example, taken-back ones included as `open`."""
        newer = Decision.objects.filter(example_id=models.OuterRef("example_id"), pk__gt=models.OuterRef("pk"))
        return self.filter(~models.Exists(newer))


class Decision(models.Model):
    """What a curator decided about an example. The latest counts; undo is a new row that says what counts again."""

    class Verdict(models.TextChoices):
        keep = "keep", "keep the label"
        relabel = "relabel", "give another label"
        exclude = "exclude", "leave out"
        discuss = "discuss", "needs discussion"
        open = "open", "taken back"

    class Cause(models.TextChoices):
        """Why answers differed or a label was wrong: what to mend, and who can."""

        slip = "slip", "a slip: the guideline says it clearly"
        ambiguous = "ambiguous", "the text can be read either way"
        guideline = "guideline", "the guideline does not say, or says it badly"
        missing = "missing", "the right label does not exist"
        knowledge = "knowledge", "it takes knowledge that the annotator lacked"

    SETTLED = (Verdict.keep, Verdict.relabel, Verdict.exclude)

    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="decisions", db_index=False)
    report = models.ForeignKey(QualityReport, null=True, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, choices=Verdict)
    value = models.TextField(blank=True, help_text="the label that counts, for keep and relabel, as a model writes it")
    reason = models.TextField(blank=True)
    cause = models.CharField(max_length=10, choices=Cause, blank=True)
    undoes = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["example", "id"], name="decision_latest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict__in=["keep", "relabel"]) & ~Q(value="")
                | Q(verdict__in=["exclude", "discuss", "open"], value=""),
                name="decision_has_a_value_iff_it_gives_a_label"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} {self.value}".strip()


class GoldSet(models.Model):
    """The living rule that picks the examples worth training on; its rows are computed, never stored."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="gold_set")
    size = models.PositiveIntegerField(default=500)
    min_quality = models.FloatField(default=0.0)
    min_per_label = models.PositiveIntegerField(default=20)
    allow_flagged = models.BooleanField(default=False, help_text="take undecided rows that look wrong, too")
    seed = models.PositiveIntegerField(default=0)
    edited_at = models.DateTimeField(auto_now=True)

    objects = OfProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.size} rows, seed {self.seed}"


class Snapshot(models.Model):
    """A gold set and its held-out rows, frozen: the files by sha256, the rule, the counts. Immutable."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="snapshots")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="of the manifest, which names the hash of every file")
    rows_sha256 = models.CharField(max_length=64, help_text="of the canonical JSONL")
    rule = models.JSONField()
    counts = models.JSONField(help_text='{"train": 500, "dev": …, "test": …, "labels": {…}, "left_out": {…}}')
    report = models.ForeignKey(QualityReport, on_delete=models.PROTECT, related_name="+")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    job = models.OneToOneField(Job, null=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="snapshots_are_numbered_per_project")]

    def __str__(self) -> str:
        return f"Snapshot {self.number}"

    @property
    def is_approved(self) -> bool:
        return Approval.objects.filter(snapshot=self, sha256=self.sha256, decision=Approval.Choice.approved).exists()


class SnapshotRow(models.Model):
    """One row of a snapshot and where it came from."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="rows", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="snapshot_rows")
    split = models.CharField(max_length=5, help_text="train, dev or test")
    position = models.PositiveIntegerField(help_text="line number in the JSONL, from 0")
    label = models.TextField()
    annotation_ids = models.JSONField()
    decision = models.ForeignKey(Decision, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    row_sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["snapshot", "example"], name="an_example_is_once_in_a_snapshot")]

    def __str__(self) -> str:
        return f"{self.split} {self.position}"


class Approval(models.Model):
    """One admin's decision on exactly these bytes. The first decision stands."""

    class Choice(models.TextChoices):
        approved = "approved"
        refused = "refused"

    snapshot = models.OneToOneField(Snapshot, on_delete=models.PROTECT, related_name="approval")
    sha256 = models.CharField(max_length=64)
    decision = models.CharField(max_length=8, choices=Choice)
    comment = models.TextField(blank=True)
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+",
                                   help_text="who made the snapshot, copied from it")
    self_approved = models.BooleanField(default=False, help_text="a single-user installation: nobody else looked")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(approver=F("created_by")) | Q(self_approved=True),
                name="approver_is_not_the_maker_unless_marked"),
        ]

    def __str__(self) -> str:
        return f"{self.decision} by {self.approver}"


