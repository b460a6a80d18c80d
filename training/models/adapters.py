"""Adapters, and what is checked and made of them."""


from django.db import models
from django.db.models import Q

from projects.models import OfProjectQuerySet, Project
from training.checkpoints import MODEL_FILES
from training.models.runs import Run


class AdapterQuerySet(OfProjectQuerySet):
    def champion(self) -> "Adapter | None":
        return self.filter(stage=Adapter.Stage.champion).first()


class Adapter(models.Model):
    """What a training produced: safetensors by hash, and where it stands.

    Of full fine-tuning these are a whole model's weights; it is for comparison only and never promoted.
    """

    class Stage(models.TextChoices):
        candidate = "candidate"
        champion = "champion"
        retired = "retired"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="adapters")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="adapter")
    files = models.JSONField(help_text="file name → sha256 in the object store")
    receipt = models.JSONField(help_text="steps, seconds, tokens, peak memory, refused rows, package versions")
    metrics_sha256 = models.CharField(max_length=64, help_text="loss by step, as JSONL")
    stage = models.CharField(max_length=9, choices=Stage, default=Stage.candidate)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AdapterQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project"], condition=Q(stage="champion"), name="one_champion_per_project")]

    def __str__(self) -> str:
        return f"{'Full model' if self.is_whole_model else 'Adapter'} {self.pk}"

    @property
    def is_whole_model(self) -> bool:
        return MODEL_FILES[0] in self.files

    @property
    def can_serve(self) -> bool:
        """Whether it is asked what it was judged by; all weights are for comparison, and DPO is judged otherwise."""
        return not self.is_whole_model and self.run.kind != Run.Kind.dpo


class GeneralCheck(models.Model):
    """The frozen general questions, answered by the base model and by an adapter on it. Written once."""

    adapter = models.OneToOneField(Adapter, on_delete=models.PROTECT, related_name="general_check")
    suite_sha256 = models.CharField(max_length=64)
    base_right = models.JSONField(help_text="per question, in the suite's order")
    adapter_right = models.JSONField()
    p_value = models.FloatField(help_text="one-sided, that the adapter answers no fewer")
    seconds = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"General questions to {self.adapter}"

    @property
    def n(self) -> int:
        return len(self.base_right)

    @property
    def n_base(self) -> int:
        return sum(self.base_right)

    @property
    def n_adapter(self) -> int:
        return sum(self.adapter_right)


class MergedExport(models.Model):
    """An adapter merged into its base model, as a tar, and whether that answers the test rows as was evaluated."""

    adapter = models.OneToOneField(Adapter, on_delete=models.PROTECT, related_name="merged_export")
    sha256 = models.CharField(max_length=64, help_text="of the tar in the object store")
    size = models.BigIntegerField(help_text="bytes of the tar")
    files = models.JSONField(help_text="file name → sha256 in the tar")
    n = models.PositiveIntegerField(help_text="test rows replayed")
    n_equal = models.PositiveIntegerField(help_text="that were answered as at the evaluation")
    differing = models.JSONField(help_text="keys of the other rows")
    score = models.FloatField(help_text="of the merged model on these rows, by the project's metric")
    seconds = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(n_equal__lte=models.F("n")),
                                              name="no_more_rows_answered_alike_than_there_are")]

    def __str__(self) -> str:
        return f"{self.adapter} merged"

    @property
    def is_equal(self) -> bool:
        return self.n_equal == self.n
