from django.db import models

from projects.models import OfProjectQuerySet, Project


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
