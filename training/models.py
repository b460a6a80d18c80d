from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models import Experiment, ExperimentArm, Snapshot
from jobs.models import Job
from projects.models import AnyUser, OfProjectQuerySet, Project
from stats.intervals import Interval
from training.metrics import NAMES, Measured, measured_share


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(snapshot__project__memberships__user_id=user.pk or 0)


class Run(models.Model):
    """One attempt at the task from one approved snapshot: a prompt arm, the probe, or a LoRA training."""

    class Kind(models.TextChoices):
        zero_shot = "zero_shot", "Prompt, zero-shot"
        defined = "defined", "Prompt with definitions"
        few_shot = "few_shot", "Prompt with examples"
        nearest = "nearest", "Prompt with nearest examples"
        by_hand = "by_hand", "Prompt by hand"
        probe = "probe", "Linear probe on embeddings, no LLM"
        lora = "lora", "LoRA"

    PROMPTS = (Kind.zero_shot, Kind.defined, Kind.few_shot, Kind.nearest, Kind.by_hand)
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


class PromptVersion(models.Model):
    """A prompt in a curator's own words, version by version. Never edited: a change is a further version."""

    class Examples(models.TextChoices):
        none = "none", "None"
        spread = "spread", "The same 8 for every text"
        nearest = "nearest", "The 8 most like each text"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="prompt_versions")
    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    content = models.JSONField(help_text='{"words": {"system": …, "instruction": …}, "examples": one of Examples}')
    note = models.CharField(max_length=500, help_text="what changed, and why")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["project", "name", "version"],
                                               name="versions_of_a_prompt_are_numbered")]

    def __str__(self) -> str:
        return f"“{self.name}”, version {self.version}"

    @property
    def system(self) -> str:
        return str(self.content["words"]["system"])

    @property
    def instruction(self) -> str:
        return str(self.content["words"]["instruction"])

    @property
    def examples(self) -> "PromptVersion.Examples":
        return self.Examples(self.content["examples"])


class CachedAnswer(models.Model):
    """What an endpoint has answered to a request: asked again, it costs nothing. An erasure empties it."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    request_sha256 = models.CharField(max_length=64, help_text="of address, model, messages and parameters")
    answer = models.TextField()
    prompt_tokens = models.PositiveIntegerField(null=True, help_text="null: the endpoint did not say")
    answer_tokens = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "request_sha256"],
                                               name="a_request_is_cached_once_per_project")]

    def __str__(self) -> str:
        return f"Answer to {self.request_sha256[:12]}"


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
