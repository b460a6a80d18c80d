"""How a project is watched: the plan, looks at the traffic with what people said, signals, and proposals to retrain."""

from datetime import date, timedelta

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from jobs.models import Job
from labeling.models import Batch, Example
from projects.models import OfProjectQuerySet, Project
from serving.models.deployments import Deployment

DUE_DAYS = 7  # after a look's end: labels that are not in are late
WAITS_DAYS = 14  # then a look counts with the labels that are there


class WatchPlan(models.Model):
    """How often people look at what serves, and how closely. Never edited: of a project the newest counts.

    The first is written by Goldpan when something begins to serve.
    """

    class Cadence(models.TextChoices):
        weekly = "weekly", "every week"
        monthly = "monthly", "every month"
        quarterly = "quarterly", "every quarter"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="watch_plans")
    cadence = models.CharField(max_length=9, choices=Cadence, default=Cadence.weekly)
    labels = models.PositiveIntegerField(
        default=50, validators=[MinValueValidator(10), MaxValueValidator(1000)], help_text="examples a look")
    uniform_share = models.FloatField(
        default=0.7, validators=[MinValueValidator(0.3), MaxValueValidator(1.0)],
        help_text="of them is drawn at random, for the alarm; the rest goes where something looks new or unsure")
    floor = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.05), MaxValueValidator(0.99)],
        help_text="score below which it is a drop; null: by the target and the evaluation of what serves")
    retrain_weeks = models.PositiveIntegerField(
        default=13, validators=[MinValueValidator(1), MaxValueValidator(520)],
        help_text="weeks after which a training is proposed by the calendar")
    is_on = models.BooleanField(default=True)
    began_at = models.DateTimeField(help_text="since when evidence is gathered by this floor and cadence")
    reason = models.TextField(help_text="what changed and why")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(floor__isnull=True) | Q(floor__gt=0, floor__lt=1),
                                   name="a_floor_is_a_share_strictly_between_nothing_and_all"),
            models.CheckConstraint(condition=Q(uniform_share__gt=0, uniform_share__lte=1),
                                   name="some_of_a_look_is_drawn_at_random"),
        ]

    def __str__(self) -> str:
        return f"{self.labels} labels {self.get_cadence_display()}"


class Look(models.Model):
    """Requests of a period that people label without seeing the model's answers. Written once, with its rows.

    Days are in UTC; `until` is the first that it does not look at. Of the requests that were kept each customer, thread
    or text counts once: `n_eligible`, of which those that repeat a test row are taken off. An extra look is no random
    sample: an alarm or a person asked for the rows that look newest.
    """

    class Kind(models.TextChoices):
        regular = "regular", "by the plan"
        extra = "extra", "of what looks new"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="looks")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=7, choices=Kind, default=Kind.regular)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="looks")
    plan = models.ForeignKey(WatchPlan, on_delete=models.PROTECT, related_name="looks")
    because = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="extras",
                                help_text="the look whose alarm asked for this one")
    since = models.DateField()
    until = models.DateField()
    floor = models.FloatField()
    floor_words = models.TextField(help_text="where the floor comes from")
    n_answered = models.PositiveIntegerField(help_text="requests that the deployment answered in the period")
    n_kept = models.PositiveIntegerField(help_text="of them with their words")
    n_eligible = models.PositiveIntegerField(help_text="customers, threads or texts to draw from")
    n_repeats = models.PositiveIntegerField(default=0, help_text="that repeat a test row and are not drawn")
    n_reference = models.PositiveIntegerField(default=0, help_text="rows that the signals compare with")
    unlabelled = models.JSONField(default=list, help_text="the model's own confidence in answers that were not drawn")
    words = models.JSONField(help_text="sentences: what retention, share kept and repeats do to this look")
    batch = models.ForeignKey(Batch, null=True, on_delete=models.PROTECT, related_name="+",
                              help_text="that asks people; null where nobody has to be asked")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="looks_are_numbered_per_project"),
            models.UniqueConstraint(fields=["project", "until"], name="a_period_is_looked_at_once",
                                    condition=Q(kind="regular")),
            models.CheckConstraint(condition=Q(since__lt=F("until")), name="a_look_begins_before_it_ends"),
        ]

    def __str__(self) -> str:
        return f"Look {self.number}"

    @property
    def is_regular(self) -> bool:
        return self.kind == self.Kind.regular

    @property
    def last_day(self) -> date:
        return self.until - timedelta(days=1)

    @property
    def due_on(self) -> date:
        return self.until + timedelta(days=DUE_DAYS)

    @property
    def waits_until(self) -> date:
        return self.until + timedelta(days=WAITS_DAYS)


class LookRow(models.Model):
    """A request that a look asks about: as which example, how it was drawn, and what the model answered then.

    Never edited; the answer goes when its example is erased.
    """

    look = models.ForeignKey(Look, on_delete=models.PROTECT, related_name="rows", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+")
    exchange_name = models.CharField(max_length=60, help_text="the exchange's id; its row may be gone")
    position = models.PositiveIntegerField()
    is_uniform = models.BooleanField(help_text="drawn at random: only these feed the alarm")
    chance = models.FloatField(null=True, help_text="with which it was to be drawn at all; null: chosen, not drawn")
    why = models.JSONField(help_text="what raised its priority: “unsure”, “thumbs down”, “new”, “signal”")
    answer = models.JSONField(help_text='{"label": as a frozen row has it or null, "probability": of it or null}')

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["look", "example"], name="an_example_is_once_in_a_look"),
            models.CheckConstraint(condition=Q(chance__isnull=True) | Q(chance__gt=0, chance__lte=1),
                                   name="a_drawn_row_had_a_chance"),
        ]

    def __str__(self) -> str:
        return f"{self.example} in {self.look}"


class RowScore(models.Model):
    """How right the model's answer was, once people's labels were settled. Written when its look is counted."""

    row = models.OneToOneField(LookRow, on_delete=models.PROTECT, related_name="score")
    score = models.FloatField(help_text="in [0, 1], by the metric of the type of task")
    annotation_ids = models.JSONField(help_text="the answers that settled the label")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(score__gte=0, score__lte=1),
                                              name="a_score_is_between_nothing_and_all")]

    def __str__(self) -> str:
        return f"{self.score:g} of {self.row}"


class LookCount(models.Model):
    """What a look says, counted once: when its labels are complete, or when it has waited long enough.

    evidence, threshold: of the alarm after this look; null for an extra look.
    """

    class Level(models.TextChoices):
        quiet = "quiet", "no sign of a drop"
        warning = "warning", "may be falling"
        alarm = "alarm", "below the floor"
        none = "none", "says nothing about accuracy"

    look = models.OneToOneField(Look, on_delete=models.PROTECT, related_name="count")
    level = models.CharField(max_length=7, choices=Level)
    n_uniform = models.PositiveIntegerField(help_text="rows drawn at random whose label is settled")
    n_targeted = models.PositiveIntegerField(help_text="other rows whose label is settled")
    n_missing = models.PositiveIntegerField(help_text="rows without a settled label")
    evidence = models.FloatField(null=True)
    threshold = models.FloatField(null=True)
    share = models.JSONField(null=True, help_text="mean score of the random rows with its interval")
    estimate = models.JSONField(null=True, help_text="the best estimate for all traffic with its interval")
    words = models.JSONField(help_text="sentences")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.look}: {self.get_level_display()}"


class SignalReading(models.Model):
    """One signal that needs no labels, as it stood at a look. It never says that accuracy fell. Written once."""

    look = models.ForeignKey(Look, on_delete=models.PROTECT, related_name="signals")
    name = models.CharField(max_length=20)
    effect = models.FloatField()
    p_value = models.FloatField()
    p_adjusted = models.FloatField(help_text="by Holm for all signals of the look")
    is_warning = models.BooleanField()
    words = models.TextField()
    exchange_names = models.JSONField(help_text="requests that are most unlike, the most unlike first")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["look", "name"], name="a_signal_is_read_once_at_a_look")]

    def __str__(self) -> str:
        return f"{self.name} at {self.look}"


class TrainingProposal(models.Model):
    """Goldpan proposes to train again; an admin approves or declines. Approving starts nothing.

    The reasons never change; the state moves once, by compare and set.
    """

    class State(models.TextChoices):
        open = "open", "waits for a decision"
        approved = "approved"
        declined = "declined"
        overtaken = "overtaken", "overtaken by an alarm, or by what serves since"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="training_proposals")
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="+")
    look = models.ForeignKey(Look, null=True, on_delete=models.PROTECT, related_name="+",
                             help_text="whose labels were the last that it knew of")
    is_alarm = models.BooleanField(default=False)
    reasons = models.JSONField(help_text="sentences: why now")
    last_annotation = models.BigIntegerField(default=0, help_text="number of the newest answer that it knew of")
    state = models.CharField(max_length=9, choices=State, default=State.open)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project"], condition=Q(state="open"),
                                    name="one_open_proposal_per_project"),
            models.CheckConstraint(
                condition=Q(state="open", decided_at__isnull=True) | ~Q(state="open") & Q(decided_at__isnull=False),
                name="a_proposal_is_decided_iff_it_is_not_open"),
        ]

    def __str__(self) -> str:
        return f"Proposal {self.pk}"
