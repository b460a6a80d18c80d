from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from projects.models import OfProjectQuerySet, Project


class JobQuerySet(OfProjectQuerySet):
    def active(self) -> "JobQuerySet":
        return self.filter(state__in=Job.ACTIVE)


class Job(models.Model):
    """One piece of background work. This row is the truth about it; the broker only wakes a worker."""

    class State(models.TextChoices):
        queued = "queued"
        running = "running"
        cancelling = "cancelling"
        succeeded = "succeeded"
        failed = "failed"
        cancelled = "cancelled"

    ACTIVE = (State.queued, State.running, State.cancelling)
    HELD = (State.running, State.cancelling)  # some worker has it

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="jobs")
    kind = models.CharField(max_length=20, help_text="a key of settings.JOB_KINDS")
    title = models.CharField(max_length=120, help_text="for people: “Scoring 4,200 examples”")
    params = models.JSONField(default=dict)
    exclusive = models.CharField(max_length=60, blank=True, help_text="jobs of one such name run one at a time")
    dedupe_key = models.CharField(max_length=100, null=True, blank=True, unique=True)

    state = models.CharField(max_length=10, choices=State, default=State.queued)
    stage = models.CharField(max_length=80, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0, help_text="units of the stage; 0 while unknown")
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)

    fence = models.PositiveIntegerField(default=0, help_text="rises with every claim; a write names the one it has")
    attempt = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=5)
    owner = models.CharField(max_length=80, blank=True, help_text="host and process of the worker")
    heartbeat_at = models.DateTimeField(null=True)
    lease_expires_at = models.DateTimeField(null=True)

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    run_after = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    stage_started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["state", "run_after"], name="job_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["exclusive"], name="one_running_job_per_exclusive_name",
                condition=Q(state__in=["running", "cancelling"]) & ~Q(exclusive="")),
            models.CheckConstraint(
                condition=Q(state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False)
                | Q(state__in=["queued", "running", "cancelling"], finished_at__isnull=True),
                name="job_finished_at_iff_terminal"),
            models.CheckConstraint(condition=Q(done__lte=F("total")) | Q(total=0), name="job_done_within_total"),
        ]

    def __str__(self) -> str:
        return f"{self.title} (job {self.pk})"

    @property
    def kind_label(self) -> str:
        return self.title

    @property
    def is_active(self) -> bool:
        return self.state in self.ACTIVE

    @property
    def can_cancel(self) -> bool:
        return self.state in (self.State.queued, self.State.running)

    @property
    def percent(self) -> int:
        """How much of the current stage is done, 0 to 100."""
        if self.state == self.State.succeeded:
            return 100
        return round(100 * self.done / self.total) if self.total else 0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the current stage ends at its pace so far, or None while there is no pace."""
        if self.state != self.State.running or not self.done or not self.total or not self.stage_started_at:
            return None
        seconds = (timezone.now() - self.stage_started_at).total_seconds()
        return seconds / self.done * (self.total - self.done)

    @property
    def seconds(self) -> float | None:
        """How long the job has run, or ran."""
        if not self.started_at:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()


class JobEvent(models.Model):
    """What happened to a job, in order: claimed, stages, given back, ended."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    fence = models.PositiveIntegerField()
    what = models.TextField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.what
