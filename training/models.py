from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models import Snapshot
from jobs.models import Job
from projects.models import AnyUser, OfProjectQuerySet, Project


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(snapshot__project__memberships__user_id=user.pk or 0)


class Run(models.Model):
    """One attempt at the task from one approved snapshot: a prompt arm, the probe, or a LoRA training."""

    class Kind(models.TextChoices):
        zero_shot = "zero_shot", "Prompt, zero-shot"
        few_shot = "few_shot", "Prompt with examples"
        probe = "probe", "Linear probe on embeddings, no LLM"
        lora = "lora", "LoRA"

    PROMPTS = (Kind.zero_shot, Kind.few_shot)
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
    def is_carried(self) -> bool:
        """Whether people take its bundle elsewhere and bring the result back."""
        return self.executor in self.CARRIED

    @property
    def is_prompt(self) -> bool:
        return self.kind in self.PROMPTS


class Evaluation(models.Model):
    """What a run scored on one split of its snapshot, with the prediction for every row."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="evaluations")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="evaluations")
    split = models.CharField(max_length=5, help_text="dev or test")
    n = models.PositiveIntegerField()
    n_right = models.PositiveIntegerField()
    metrics = models.JSONField(help_text="accuracy and macro-F1 with intervals, per label, the calibration used")
    predictions_sha256 = models.CharField(max_length=64, help_text="JSONL of key, gold, predicted, probability")
    seconds = models.FloatField(help_text="wall time of scoring these rows")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "snapshot", "split"], name="a_run_is_evaluated_once_per_split"),
            models.CheckConstraint(condition=Q(n_right__lte=models.F("n")), name="no_more_right_than_there_are"),
        ]

    def __str__(self) -> str:
        return f"{self.run} on {self.split}"


class TestLook(models.Model):
    """Every look at the test rows, logged: after ten of them a test set has been seen too often."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="test_looks")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="test_look")
    n = models.PositiveIntegerField()
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.run}, {self.n} rows"


class Verdict(models.Model):
    """Whether the best prompt is good enough: the gate that stands before every training run."""

    class Outcome(models.TextChoices):
        prompt_ok = "PROMPT_OK", "The prompt is good enough"
        fine_tune = "FINE_TUNE", "The prompt cannot reach the target"
        inconclusive = "INCONCLUSIVE", "Not settled by this many rows"

    snapshot = models.OneToOneField(Snapshot, on_delete=models.PROTECT, related_name="verdict")
    best_prompt = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="+")
    outcome = models.CharField(max_length=12, choices=Outcome)
    target_metric = models.CharField(max_length=20)
    target_value = models.FloatField()
    lower = models.FloatField(help_text="one-sided 95 % bound")
    upper = models.FloatField(help_text="one-sided 95 % bound")
    words = models.TextField()
    next_step = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.outcome


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


class AdapterQuerySet(OfProjectQuerySet):
    def champion(self) -> "Adapter | None":
        return self.filter(stage=Adapter.Stage.champion).first()


class Adapter(models.Model):
    """What LoRA produced: safetensors by hash, and where it stands."""

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
        return f"Adapter {self.pk}"
