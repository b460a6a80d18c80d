"""An experiment's arms as a language model learned them."""


from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models import Experiment, ExperimentArm
from jobs.models import Job


class ArmTraining(models.Model):
    """The order to let the small language model learn arms of an experiment, all by one recipe. Never edited."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="arm_trainings")
    positions = models.JSONField(help_text="of the arms, in order; the first is what the others are held against")
    seeds = models.JSONField(help_text="one training of every arm for each")
    steps = models.PositiveIntegerField(null=True, help_text="optimiser steps of every training; null: passes instead")
    config = models.JSONField(help_text="prompt and TrainingConfig; the seed in it is replaced by each of the seeds")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Training {self.pk} of {str(self.experiment).lower()}"


class ArmResult(models.Model):
    """One arm learned with one seed and judged: written when it is done, so that no attempt does it twice."""

    training = models.ForeignKey(ArmTraining, on_delete=models.PROTECT, related_name="results")
    arm = models.ForeignKey(ExperimentArm, on_delete=models.PROTECT, related_name="+")
    seed = models.PositiveIntegerField()
    n = models.PositiveIntegerField(help_text="judging rows")
    n_right = models.PositiveIntegerField()
    right_sha256 = models.CharField(max_length=64, help_text="JSON: which judging rows came out right")
    seconds = models.FloatField(help_text="wall time of all: loading, training, judging")
    receipt = models.JSONField(help_text="rows, refused rows, steps, tokens, seconds of each half, memory, model")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["training", "arm", "seed"], name="an_arm_is_learned_once_with_a_seed"),
            models.CheckConstraint(condition=Q(n_right__lte=models.F("n")), name="no_arm_more_right_than_there_are"),
        ]

    def __str__(self) -> str:
        return f"{self.arm}, seed {self.seed}"


class ArmVerdict(models.Model):
    """What an arm training says, beside what the experiment's own recipe said. Written once, when all is judged."""

    training = models.OneToOneField(ArmTraining, on_delete=models.PROTECT, related_name="verdict")
    words = models.JSONField(help_text="sentences, the first is the headline")
    arms = models.JSONField(help_text="per arm: accuracy, difference to the first, both of the probe, seconds")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Verdict of {str(self.training).lower()}"
