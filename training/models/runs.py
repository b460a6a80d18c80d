"""Runs: an attempt at the task, and its way to another machine."""

from typing import Self

from django.conf import settings
from django.db import models

from curation.models import Snapshot
from jobs.models import Job
from projects.models import AnyUser, Project


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(snapshot__project__memberships__user_id=user.pk or 0)


class Run(models.Model):
    """One attempt at the task from one approved snapshot: a prompt arm, the probe, or a training."""

    class Kind(models.TextChoices):
        zero_shot = "zero_shot", "Prompt, zero-shot"
        defined = "defined", "Prompt with definitions"
        few_shot = "few_shot", "Prompt with examples"
        nearest = "nearest", "Prompt with nearest examples"
        by_hand = "by_hand", "Prompt by hand"
        probe = "probe", "Linear probe on embeddings, no LLM"
        lora = "lora", "LoRA"
        full = "full", "Full fine-tuning"
        dpo = "dpo", "DPO"

    PROMPTS = (Kind.zero_shot, Kind.defined, Kind.few_shot, Kind.nearest, Kind.by_hand)
    ADAPTERS = (Kind.lora, Kind.dpo)
    TRAINED = (*ADAPTERS, Kind.full)
    HERE = ("local", "accelerate")  # executors on this machine: one training at a time, and by a quote
    CARRIED = ("bundle", "skypilot", "replicate")  # executors that end when the bundle is made

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="runs")
    kind = models.CharField(max_length=10, choices=Kind)
    config = models.JSONField(help_text="everything that the result depends on beside the snapshot")
    seed = models.PositiveIntegerField(default=0)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="runs")
    executor = models.CharField(max_length=20, default="local", help_text="what trains it: a name of EXECUTORS")
    override_reason = models.TextField(blank=True, help_text="why it was started against the gate's advice")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} (run {self.pk})"

    @property
    def project(self) -> Project:
        return self.snapshot.project

    @property
    def title(self) -> str:
        """What it is, for a list: its kind, or the name and version that somebody gave their own prompt."""
        return f"Prompt {self.config['prompt']['name']}" if self.kind == self.Kind.by_hand else self.get_kind_display()

    @property
    def is_carried(self) -> bool:
        """Whether people take its bundle elsewhere and bring the result back."""
        return self.executor in self.CARRIED

    @property
    def is_prompt(self) -> bool:
        return self.kind in self.PROMPTS

    @property
    def is_trained(self) -> bool:
        return self.kind in self.TRAINED


class Submission(models.Model):
    """A run's bundle, given to a person or to a cluster; what comes back has to name one of its run's bundles."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="submissions")
    bundle_id = models.CharField(max_length=64, help_text="sha256 of the bundle's SHA256SUMS")
    remote_id = models.CharField(max_length=80, blank=True, help_text="the job's name on a cluster")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["run", "bundle_id", "remote_id"],
                                               name="a_bundle_is_submitted_once_under_a_name")]

    def __str__(self) -> str:
        return self.remote_id or f"bundle {self.bundle_id[:12]}"
