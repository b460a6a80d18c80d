from functools import cached_property
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models import Experiment, ExperimentArm, Snapshot
from jobs.models import Job
from labeling.models import Example
from projects.models import AnyUser, OfProjectQuerySet, Project
from stats.intervals import Interval
from training.checkpoints import MODEL_FILES
from training.metrics import NAMES, Measured, measured_share


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(snapshot__project__memberships__user_id=user.pk or 0)


class PairwiseQuerySet(models.QuerySet["PairwiseEvaluation"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(first__snapshot__project__memberships__user_id=user.pk or 0).select_related(
            "first__snapshot__project", "first__run", "second__run")


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

    @cached_property
    def weighing(self) -> "Weighing | None":
        """The newest weighing with what is known beside the bounds."""
        return Weighing.objects.filter(verdict=self).select_related("economics", "quote").first()

    @property
    def advice(self) -> str:
        """The outcome once all is weighed."""
        return self.weighing.outcome if self.weighing else self.outcome

    @property
    def advice_words(self) -> str:
        return self.get_outcome_display() if self.advice == self.outcome else "Training is not shown to be worth it"

    @property
    def all_words(self) -> str:
        return " ".join([self.words, *(self.weighing.words if self.weighing else [])])

    @property
    def step(self) -> str:
        return self.weighing.next_step if self.weighing else self.next_step


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


class CriticalSlices(models.Model):
    """On which kinds of slices an adapter may not be worse. For an evaluation that counts which was in force then."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="critical_slices")
    kinds = models.JSONField(help_text="of KINDS in training.slices")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return ", ".join(self.kinds) or "none"


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


class Price(models.Model):
    """What a machine costs an hour, or a model's tokens: since when, and who says so. Of a name the newest counts."""

    class Kind(models.TextChoices):
        machine = "machine", "Machine or GPU, per hour"
        tokens = "tokens", "Model's tokens, per million"

    kind = models.CharField(max_length=7, choices=Kind)
    name = models.CharField(max_length=80)
    currency = models.CharField(max_length=3, default="USD")
    per_hour = models.FloatField(null=True, blank=True, help_text="of a machine")
    memory_gb = models.FloatField(null=True, blank=True, help_text="of its GPU, 1e9 bytes")
    teraflops = models.FloatField(null=True, blank=True, help_text="peak of its GPU in 16 bits, dense")
    per_million_in = models.FloatField(null=True, blank=True, help_text="tokens read")
    per_million_out = models.FloatField(null=True, blank=True, help_text="tokens written")
    since = models.DateField(help_text="the day from which it holds, or on which it was seen")
    source = models.CharField(max_length=200, help_text="where it stands")
    is_withdrawn = models.BooleanField(default=False, help_text="no longer to be reckoned with")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["kind", "name", "-pk"]
        constraints = [models.CheckConstraint(
            condition=Q(kind="machine", per_hour__gte=0)
            | Q(kind="tokens", per_million_in__gte=0, per_million_out__gte=0), name="a_price_says_what_its_kind_costs")]

    def __str__(self) -> str:
        return self.name

    def of_seconds(self, seconds: float) -> float | None:
        """What a machine costs for so long, in its currency; None where its hour has no price."""
        return None if self.per_hour is None else seconds / 3600 * self.per_hour


class ProjectEconomics(models.Model):
    """What answers are worth and cost in a project, as somebody said it. The newest counts; empty is not said."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="economics")
    currency = models.CharField(max_length=3, default="USD")
    requests = models.FloatField(null=True, blank=True, help_text="a month, the likeliest")
    requests_low = models.FloatField(null=True, blank=True)
    requests_high = models.FloatField(null=True, blank=True)
    months = models.FloatField(null=True, blank=True, help_text="that a trained model would be used")
    value = models.FloatField(null=True, blank=True, help_text="of a right answer in place of a wrong one")
    value_low = models.FloatField(null=True, blank=True)
    value_high = models.FloatField(null=True, blank=True)
    realised = models.FloatField(null=True, blank=True, help_text="share of the benefit that arrives")
    realised_low = models.FloatField(null=True, blank=True)
    realised_high = models.FloatField(null=True, blank=True)
    machine = models.ForeignKey(Price, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    prompt_price = models.ForeignKey(Price, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    trained_price = models.ForeignKey(Price, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    tokens_in = models.FloatField(null=True, blank=True, help_text="read for an answer by the prompt")
    tokens_out = models.FloatField(null=True, blank=True, help_text="written for an answer")
    trained_tokens_in = models.FloatField(null=True, blank=True, help_text="read for an answer by the trained model")
    cached_share = models.FloatField(null=True, blank=True, help_text="of the tokens read that come from a cache")
    cached_discount = models.FloatField(null=True, blank=True, help_text="by which those are cheaper")
    hosting = models.FloatField(null=True, blank=True, help_text="of the trained model, a month")
    retrainings = models.FloatField(null=True, blank=True, help_text="a year")
    label_price = models.FloatField(null=True, blank=True, help_text="of one label; measured times wage if not said")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Economics of {self.project}"


class Quote(models.Model):
    """What a training on a snapshot with this config will take, measured before it starts. Written once."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="quotes")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    config = models.JSONField(help_text="of the run: prompt and training")
    config_sha256 = models.CharField(max_length=64, help_text="of base model, snapshot and config")
    seconds = models.FloatField(help_text="of the whole run on the clock, all attempts")
    seconds_low = models.FloatField(help_text="steps as at their tenth percentile")
    seconds_high = models.FloatField(help_text="steps as at their ninetieth percentile")
    cpu_seconds = models.FloatField()
    peak_mb = models.FloatField()
    n_steps = models.PositiveIntegerField()
    machine = models.ForeignKey(Price, null=True, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    money = models.FloatField(null=True, help_text="seconds at the machine's price; null where none is said")
    cap_seconds = models.FloatField(help_text="at which a run stops unless somebody says otherwise")
    labour = models.JSONField(help_text="labels of the snapshot's train rows: how many, hours, money")
    trial = models.JSONField(help_text="what was measured, step by step")
    elsewhere = models.JSONField(help_text="on which GPU of the price table it fits, and how")
    words = models.JSONField(help_text="two sentences: what it takes, and what stops it")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(seconds_low__lte=models.F("seconds")) & Q(
                seconds__lte=models.F("seconds_high")), name="a_quote_lies_in_its_range"),
            models.CheckConstraint(condition=Q(cap_seconds__gt=0), name="a_quote_has_a_cap")]

    def __str__(self) -> str:
        return f"Quote {self.pk}"


class Cap(models.Model):
    """At how many seconds a run stops, and by which quote it was started. Of a run the newest counts."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="caps")
    quote = models.ForeignKey(Quote, null=True, on_delete=models.PROTECT, related_name="caps",
                              help_text="null for a run on another machine, about which a trial here says nothing")
    seconds = models.FloatField()
    money = models.FloatField(null=True, help_text="as it was said in money, at the machine's price")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(seconds__gt=0), name="a_cap_is_above_nothing")]

    def __str__(self) -> str:
        return f"Cap of {self.run}"


class Receipt(models.Model):
    """What a run has taken until it ended or stopped at its cap. Of a run the newest counts."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="receipts")
    quote = models.ForeignKey(Quote, null=True, on_delete=models.PROTECT, related_name="receipts")
    seconds = models.FloatField(help_text="on the clock, all attempts")
    cpu_seconds = models.FloatField()
    peak_mb = models.FloatField()
    money = models.FloatField(null=True)
    steps = models.PositiveIntegerField()
    is_whole = models.BooleanField(help_text="it ended by itself, not at its cap or at somebody's word")
    found = models.JSONField(help_text="where it stopped, and what was best by then")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Receipt of {self.run}"


class Weighing(models.Model):
    """A verdict with all that was known beside it: noise ceiling, projected gain, value.

    One is written with the verdict, when the economics are said, and when a training is quoted; the newest counts.
    """

    verdict = models.ForeignKey(Verdict, on_delete=models.PROTECT, related_name="weighings")
    economics = models.ForeignKey(ProjectEconomics, null=True, on_delete=models.PROTECT, related_name="+")
    quote = models.ForeignKey(Quote, null=True, on_delete=models.PROTECT, related_name="+")
    outcome = models.CharField(max_length=12, choices=Verdict.Outcome)
    words = models.JSONField(help_text="sentences behind the verdict's own")
    next_step = models.TextField()
    ceiling = models.JSONField(null=True, help_text="how often one person agrees with the others")
    found = models.JSONField(help_text="gain and worth with their ranges")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.outcome


class PairwiseEvaluation(models.Model):
    """Two runs' answers to the same test rows, to be judged pair by pair: which is better? Never edited.

    The pairs, their order and the sides on which people see the answers are drawn when it is made.
    """

    first = models.ForeignKey(Evaluation, on_delete=models.PROTECT, related_name="+")
    second = models.ForeignKey(Evaluation, on_delete=models.PROTECT, related_name="+")
    seed = models.PositiveIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PairwiseQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="two_evaluations_are_judged_in_pairs_once"),
            models.CheckConstraint(condition=Q(first__lt=models.F("second")),
                                   name="the_earlier_evaluation_of_a_pair_is_first")]

    def __str__(self) -> str:
        return f"Answers of runs {self.first.run_id} and {self.second.run_id}"

    @property
    def project(self) -> Project:
        return self.first.snapshot.project


class AnswerPair(models.Model):
    """Both answers to one row, by the row's example; the answers stand in the evaluations. Never edited."""

    pairwise = models.ForeignKey(PairwiseEvaluation, on_delete=models.PROTECT, related_name="pairs", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveIntegerField(help_text="in the order, drawn at random, in which people are asked")
    is_swapped = models.BooleanField(help_text="people see the second run's answer as answer 1")
    settled = models.FloatField(null=True, help_text="the second run's share where nobody needs to judge")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["pairwise", "position"], name="pairs_are_asked_in_one_order"),
            models.UniqueConstraint(fields=["pairwise", "example"], name="an_example_is_one_pair"),
            models.CheckConstraint(condition=Q(settled=None) | Q(settled__in=[0, 0.5, 1]),
                                   name="a_settled_pair_is_won_lost_or_tied")]

    def __str__(self) -> str:
        return f"Pair {self.position + 1} of {str(self.pairwise).lower()}"


class HumanPreferenceQuerySet(models.QuerySet["HumanPreference"]):
    def current(self) -> Self:
        """What counts of each pair: the newest, unless that takes one back."""
        newer = HumanPreference.objects.filter(pair=models.OuterRef("pair"), pk__gt=models.OuterRef("pk"))
        return self.filter(~models.Exists(newer)).exclude(choice=HumanPreference.Choice.open)


class HumanPreference(models.Model):
    """Which answer of a pair somebody found better, without knowing whose it is. Of a pair the newest counts."""

    class Choice(models.TextChoices):
        first = "first", "the first run's"
        second = "second", "the second run's"
        tie = "tie", "neither"
        open = "open", "taken back"

    pair = models.ForeignKey(AnswerPair, on_delete=models.PROTECT, related_name="preferences")
    choice = models.CharField(max_length=6, choices=Choice)
    judged_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = HumanPreferenceQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.get_choice_display()


class JudgeRun(models.Model):
    """The order to ask a model which answer of every pair is better, in both orders. Never edited.

    The prompt is that of its version with the guideline of its version, as its hash proves; no text is copied.
    """

    pairwise = models.ForeignKey(PairwiseEvaluation, on_delete=models.PROTECT, related_name="judge_runs")
    model = models.CharField(max_length=200)
    is_endpoint = models.BooleanField(help_text="else the embedded model, by the likelihood of both answers")
    prompt_version = models.PositiveIntegerField(help_text="of training.judging")
    prompt_sha256 = models.CharField(max_length=64)
    guideline = models.PositiveIntegerField(help_text="the guideline's version")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.model


class JudgePreference(models.Model):
    """What a judge said about a pair, asked in both orders. Written as it comes, so that no attempt asks it twice."""

    judge_run = models.ForeignKey(JudgeRun, on_delete=models.PROTECT, related_name="preferences", db_index=False)
    pair = models.ForeignKey(AnswerPair, on_delete=models.PROTECT, related_name="+")
    as_it_is = models.CharField(max_length=5, blank=True, help_text="side it chose, the first run's answer on the left")
    swapped = models.CharField(max_length=5, blank=True, help_text="side it chose, the first run's answer on the right")
    prompt_tokens = models.PositiveIntegerField(null=True, help_text="of both; null: nobody counted")
    answer_tokens = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["judge_run", "pair"], name="a_judge_says_of_a_pair_once"),
            models.CheckConstraint(condition=Q(as_it_is__in=["left", "right", ""], swapped__in=["left", "right", ""]),
                                   name="a_judge_chooses_a_side_or_cannot_be_read")]

    def __str__(self) -> str:
        return f"{self.as_it_is or '?'}, {self.swapped or '?'}"
