"""What became the champion of a project."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from projects.models import OfProjectQuerySet, Project
from training.models.runs import Run


class Promotion(models.Model):
    """A run's adapter, or its prompt alone, became what the project serves. Never edited; the newest counts.

    That of an adapter says the same as the adapter's stage.
    """

    class Way(models.TextChoices):
        proven = "proven", "with the proof that the gate asks for"
        overridden = "overridden", "against the gate, for a reason"
        rolled_back = "rolled_back", "back to an earlier one, for a reason"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="promotions")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="promotions")
    instead_of = models.ForeignKey(Run, null=True, on_delete=models.PROTECT, related_name="+",
                                   help_text="what served until then; null: nothing did")
    way = models.CharField(max_length=11, choices=Way)
    reason = models.TextField(blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+",
                           help_text="null: an account of this name is gone; the audit log has it")
    created_at = models.DateTimeField()

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(way="proven") | ~Q(reason=""),
                                              name="a_champion_without_the_gates_proof_has_a_reason")]

    def __str__(self) -> str:
        return f"Promotion {self.pk}"
