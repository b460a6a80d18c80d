from django.db import models

from curation.models.quality import ExampleScore, QualityReport


class Flag(models.Model):
    """One thing that a report brings up about a pool example: at most one of each kind, with its reason in words."""

    class Kind(models.TextChoices):
        label_issue = "label_issue", "label looks wrong"
        disagreement = "disagreement", "people disagree"
        conflict = "conflict", "same text, other label"
        invalid = "invalid", "no valid answer"
        not_in_source = "not_in_source", "value not in the text"
        span = "span", "span badly cut"
        empty = "empty", "empty"
        truncated = "truncated", "cut off"
        refusal = "refusal", "refuses to answer"
        copied = "copied", "copied answer"
        language = "language", "another language"
        pii = "pii", "personal data (pattern check)"
        leak = "leak", "repeats a held-out text"
        duplicate = "duplicate", "near-duplicate"
        outlier = "outlier", "unlike all others"

    report = models.ForeignKey(QualityReport, on_delete=models.CASCADE, related_name="flags", db_index=False)
    score = models.ForeignKey(ExampleScore, on_delete=models.CASCADE, related_name="flags", db_index=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    label_quality = models.FloatField(null=True, help_text="the score's, so that an index gives a kind worst first")
    reason = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["score", "kind"], name="one_flag_per_score_and_kind")]
        indexes = [
            models.Index(fields=["report", "kind", "label_quality", "score"], name="flags_of_a_kind_worst_first")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class ScoreChange(models.Model):
    """One thing that a report says otherwise than the report before it."""

    class What(models.TextChoices):
        flagged = "flagged", "newly flagged"
        cleared = "cleared", "no longer flagged"
        relabelled = "relabelled", "label changed"
        better = "better", "quality rose"
        worse = "worse", "quality fell"

    report = models.ForeignKey(QualityReport, on_delete=models.CASCADE, related_name="changes", db_index=False)
    score = models.ForeignKey(ExampleScore, on_delete=models.CASCADE, related_name="changes")
    what = models.CharField(max_length=10, choices=What.choices)
    kind = models.CharField(max_length=16, choices=Flag.Kind.choices, blank=True, help_text="of the flag, if it is one")
    before = models.TextField(blank=True, help_text="label, quality or reason in the report before")
    after = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["report", "what", "kind", "score"], name="changes_by_what_and_kind")]

    def __str__(self) -> str:
        return f"{self.what} {self.kind}".strip()
