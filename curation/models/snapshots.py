from django.conf import settings
from django.db import models
from django.db.models import F, Q

from curation.models.decisions import Decision
from curation.models.quality import QualityReport
from jobs.models import Job
from labeling.models import Example
from projects.models import OfProjectQuerySet, Project


class Snapshot(models.Model):
    """A gold set and its held-out rows, frozen: the files by sha256, the rule, the counts. Immutable."""

    class Origin(models.TextChoices):
        frozen = "frozen", "frozen from the gold set"
        rolled_back = "rolled_back", "the rows of an earlier snapshot again"
        imported = "imported", "imported from a snapshot file"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="snapshots")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="of the manifest, which names the hash of every file")
    rows_sha256 = models.CharField(max_length=64, help_text="of the canonical JSONL")
    rule = models.JSONField()
    counts = models.JSONField(help_text='{"train": 500, "dev": …, "test": …, "labels": {…}, "left_out": {…}}')
    report = models.ForeignKey(QualityReport, null=True, on_delete=models.PROTECT, related_name="+",
                               help_text="that the gold set was chosen by; none of one that was imported")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    origin = models.CharField(max_length=11, choices=Origin, default=Origin.frozen)
    same_as = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+",
                                help_text="the earlier snapshot whose rows these are again")
    last_annotation = models.BigIntegerField(null=True, help_text="pk of the newest annotation when it was frozen")
    last_decision = models.BigIntegerField(null=True, help_text="pk of the newest decision when it was frozen")
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
        indexes = [models.Index(fields=["snapshot", "position"], name="row_of_snapshot_by_position")]

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


class SnapshotCheck(models.Model):
    """What a check found in the rows when they were frozen; like the rows it never changes."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="checks", db_index=False)
    name = models.CharField(max_length=20)
    claim = models.TextField()
    holds = models.BooleanField()
    n = models.PositiveIntegerField(help_text="rows, labels or groups that break the claim")
    found = models.TextField(help_text="the figures that decided it")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["snapshot", "name"], name="a_check_is_stored_once_per_snapshot")]

    def __str__(self) -> str:
        return self.claim


class CheckOverride(models.Model):
    """Why a snapshot may be approved although this check fails, for as many findings as were seen then."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="overrides")
    name = models.CharField(max_length=20, help_text="of the check")
    n = models.PositiveIntegerField(help_text="findings that were accepted; more of them make it fail again")
    reason = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class ApprovalRequest(models.Model):
    """Somebody asks the admins to decide on a snapshot."""

    snapshot = models.OneToOneField(Snapshot, on_delete=models.PROTECT, related_name="request")
    note = models.TextField(blank=True)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.asked_by} asks for {self.snapshot}"


class SnapshotComment(models.Model):
    """What somebody said about a snapshot. A thread that only grows."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="comments")
    text = models.TextField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"
