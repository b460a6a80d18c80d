from django.db import models
from django.db.models import Q

from jobs.models import Job
from labeling.models import Example
from projects.models import OfProjectQuerySet, Project


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
    n_flags = models.JSONField(default=dict, help_text="kind of flag → how many pool examples have it")
    n_changes = models.JSONField(default=dict, help_text="what, or “what kind” of a flag → how many since `previous`")
    previous = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    outlier_cosine = models.FloatField(null=True, help_text="an outlier is below it, as measured on this project")
    language = models.CharField(max_length=8, blank=True, help_text="that most texts are in, as ISO 639")
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
    expected_gain = models.FloatField(default=0.0, help_text="what settling it is expected to change; 0 for nothing")
    nearest_cosine = models.FloatField(null=True, help_text="mean cosine to the nearest texts; low is unlike others")
    language = models.CharField(max_length=8, blank=True, help_text="ISO 639, where the text is long enough to tell")
    checked = models.BigIntegerField(null=True, help_text="hash of what the checks read; equal: `failures` still hold")
    failures = models.JSONField(default=list, help_text="[check, reason] of all it fails, before any is set aside")

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
            models.Index(fields=["report", "-expected_gain", "id"], name="score_most_gain_first"),
            models.Index(fields=["report", "-expected_gain", "id"], name="score_flagged_most_gain_first",
                         condition=Q(is_label_issue=True)),
        ]

    def __str__(self) -> str:
        return f"{self.example}: {self.label_quality}"
