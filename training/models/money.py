"""Prices, economics, and what trainings take: quote, cap, receipt."""


from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models import Snapshot
from jobs.models import Job
from projects.models import OfProjectQuerySet, Project
from training.models.runs import Run


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
