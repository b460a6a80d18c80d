"""What runs got on held-out rows, and how often those were looked at."""

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Q, Subquery

from curation.models import Snapshot
from jobs.models import Job
from projects.models import Project
from stats.intervals import Interval
from training.metrics import NAMES, Measured, measured_share
from training.models.runs import Run


class EvaluationManager(models.Manager["Evaluation"]):
    def get_queryset(self) -> models.QuerySet["Evaluation"]:
        """Each with `redacted_sha256`: of its predictions after the last erasure, None if there was none."""
        redacted = RedactedPredictions.objects.filter(evaluation=OuterRef("pk")).order_by("-pk")
        return super().get_queryset().annotate(redacted_sha256=Subquery(redacted.values("sha256")[:1]))


class Evaluation(models.Model):
    """What a run scored on one split of its snapshot, with the prediction for every row."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="evaluations")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="evaluations")
    split = models.CharField(max_length=5, help_text="dev or test")
    n = models.PositiveIntegerField()
    n_right = models.PositiveIntegerField(null=True, help_text="where an answer is right or wrong as a whole")
    metric = models.CharField(max_length=20, choices=Project.Metric, default=Project.Metric.accuracy,
                              help_text="which of the metrics the run is judged by")
    metrics = models.JSONField(help_text="every metric by its name with its interval, per label, what was not readable")
    predictions_sha256 = models.CharField(max_length=64, help_text="JSONL of key, gold, predicted, score, probability")
    seconds = models.FloatField(help_text="wall time of scoring these rows")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EvaluationManager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "snapshot", "split"], name="a_run_is_evaluated_once_per_split"),
            models.CheckConstraint(condition=Q(n_right__lte=models.F("n")), name="no_more_right_than_there_are"),
        ]

    def __str__(self) -> str:
        return f"{self.run} on {self.split}"

    @property
    def measured(self) -> Measured:
        """The metric that the run is judged by, with its interval and the one-sided bounds for gates."""
        if self.n_right is not None:
            return measured_share(self.n_right, self.n)
        return Measured(self.metric, self.interval_of(self.metric), *self.metrics["bounds"])

    def interval_of(self, metric: str) -> Interval:
        return Interval(**self.metrics[metric])

    @property
    def other_metrics(self) -> list[tuple[str, Interval]]:
        """The metrics that it is not judged by: the name as people read it, and the interval."""
        return [(name, self.interval_of(metric)) for metric, name in NAMES.items()
                if metric != self.metric and metric in self.metrics]

    @property
    def n_unread(self) -> int:
        """Answers that could not be read; they count as wrong."""
        return int(self.metrics.get("n_unread", 0))


class TestLook(models.Model):
    """Every look at the test rows, logged: after ten of them a test set has been seen too often."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="test_looks")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="test_look")
    n = models.PositiveIntegerField()
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.run}, {self.n} rows"


class CriticalSlices(models.Model):
    """On which kinds of slices an adapter may not be worse. For an evaluation that counts which was in force then."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="critical_slices")
    kinds = models.JSONField(help_text="of KINDS in training.slices")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return ", ".join(self.kinds) or "none"


class RedactedPredictions(models.Model):
    """An evaluation's predictions after an erasure: a tombstone in place of each erased answer. The newest counts."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.PROTECT, related_name="redactions")
    sha256 = models.CharField(max_length=64, help_text="of the file as it is now")
    replaces_sha256 = models.CharField(max_length=64, help_text="of the file before, which was removed")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"Predictions of {self.evaluation} after an erasure"
