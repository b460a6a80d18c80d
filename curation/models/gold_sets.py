from django.db import models
from django.db.models import F, Q

from curation.models.quality import QualityReport
from curation.selection import Method
from jobs.models import Job
from projects.models import OfProjectQuerySet, Project


class GoldSet(models.Model):
    """The living rule that picks the examples worth training on; its rows are computed, never stored."""

    class Method(models.TextChoices):
        spread = Method.SPREAD.value, "spread over the texts"
        draw = Method.DRAW.value, "drawn at random"

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="gold_set")
    size = models.PositiveIntegerField(default=500)
    min_quality = models.FloatField(default=0.0)
    min_per_label = models.PositiveIntegerField(default=20)
    allow_flagged = models.BooleanField(default=False, help_text="take undecided rows that look wrong, too")
    seed = models.PositiveIntegerField(default=0)
    method = models.CharField(max_length=6, choices=Method, default=Method.spread)
    uncertain_share = models.FloatField(default=0.1, help_text="of the rows, kept for hard ones that people settled")
    audit_share = models.FloatField(default=0.05, help_text="of the rows, drawn at random to be checked by hand")
    favoured_share = models.FloatField(default=0.0, help_text="of the rows, kept for those of the favoured batches")
    favoured_batches = models.JSONField(default=list, blank=True, help_text="numbers of batches")
    edited_at = models.DateTimeField(auto_now=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(uncertain_share__gte=0, audit_share__gte=0, favoured_share__gte=0,
                            audit_share__lte=1.000001 - F("uncertain_share") - F("favoured_share")),
                name="gold_set_keeps_no_more_places_than_there_are"),
        ]

    def __str__(self) -> str:
        return f"{self.size} rows, seed {self.seed}"


class GoldPick(models.Model):
    """What a rule picked at one moment, for the page that shows it: never edited, and of no use once labels change.

    The file `picks_sha256` names every row with the reason it was taken or left out, and the matched random arms.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="gold_picks")
    report = models.ForeignKey(QualityReport, on_delete=models.PROTECT, related_name="+")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=64, help_text="of the rule, the report, and all that was said since")
    rule = models.JSONField()
    facts = models.JSONField(help_text="what the page shows")
    picks_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "fingerprint"], name="a_rule_picks_once_from_the_same_labels")]

    def __str__(self) -> str:
        return f"{self.facts.get('n', 0)} rows by rule {self.fingerprint[:8]}"
