"""A/B tests on live traffic: what was decided before the start, who was shown what, what came of it, how it ended."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from projects.models import OfProjectQuerySet, Project
from serving.models.deployments import Deployment
from serving.models.feedback import Feedback
from stats.experiment import Plan


class ArmName(models.TextChoices):
    champion = "champion", "the champion"
    challenger = "challenger", "the challenger"


class Experiment(models.Model):
    """Champion against challenger on the project's own users. All of it is fixed at the start but its state."""

    class State(models.TextChoices):
        running = "running"
        ended = "ended"

    class Outcome(models.TextChoices):
        thumb = "thumb", "a thumb"
        value = "value", "an outcome, as a number of yours"
        correction_free = "correction_free", "no correction"

    class Engine(models.TextChoices):
        planned_looks = "planned looks", "a few planned looks: finds most with the same traffic"
        always_valid = "always valid", "an always-valid band: whoever looks may stop at any time"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="ab_tests", db_index=False)
    state = models.CharField(max_length=7, choices=State, default=State.running)
    champion = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="+")
    challenger = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="+", help_text="if both arms are "
                                   "the same, the champion's own")
    salt = models.CharField(max_length=64, help_text="of its own, so that arms of two tests are independent")
    share = models.FloatField(help_text="of the units that get the challenger")
    outcome = models.CharField(max_length=15, choices=Outcome)
    cap = models.FloatField(default=1.0, help_text="an outcome's value from which on more counts as no better")
    wait_hours = models.PositiveSmallIntegerField(default=0, help_text="after which a unit without a correction counts")
    engine = models.CharField(max_length=13, choices=Engine, default=Engine.planned_looks)
    n_max = models.PositiveIntegerField(help_text="units with an outcome per arm at which it ends")
    size = models.JSONField(help_text="what it was planned with: base, difference, feedback_rate, units_a_week")
    is_cheaper = models.BooleanField(default=False, help_text="a challenger that is as good is shipped, too")
    margin = models.FloatField(default=0.01, help_text="by how much worse a cheaper one may be")
    is_aa = models.BooleanField(default=False, help_text="both arms are the same, to try the machinery")
    slow_seconds = models.FloatField(help_text="an answer that takes longer is slow")
    cost_cap = models.FloatField(null=True, help_text="a request's cost from which on more counts as no dearer")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "-id"], name="experiment_newest")]
        constraints = [
            models.UniqueConstraint(fields=["project"], condition=Q(state="running"),
                                    name="one_experiment_of_a_project_runs_at_a_time"),
            models.CheckConstraint(condition=Q(share__gt=0, share__lt=1, margin__gte=0, margin__lt=1, cap__gt=0,
                                               slow_seconds__gt=0) & (Q(cost_cap=None) | Q(cost_cap__gt=0)),
                                   name="an_experiments_shares_and_caps_are_in_range"),
        ]

    def __str__(self) -> str:
        return f"A/B test {self.pk}"

    @property
    def plan(self) -> Plan:
        """As `stats.experiment` judges by it."""
        return Plan(n_max=self.n_max, challenger_share=self.share, engine="always valid"
                    if self.engine == self.Engine.always_valid else "planned looks", margin=self.margin,
                    is_cheaper=self.is_cheaper, is_aa=self.is_aa)

    @property
    def shares(self) -> dict[str, float]:
        """Of each arm, in the order in which `stats.assignment.arm_of` fills them."""
        return {ArmName.champion.value: 1 - self.share, ArmName.challenger.value: self.share}

    @property
    def is_running(self) -> bool:
        return self.state == self.State.running


class Exposure(models.Model):
    """A unit, a user or a thread, was given an arm. In the database before the answer is given; the first counts."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="exposures", db_index=False)
    unit_sha256 = models.CharField(max_length=64, help_text="of the experiment's salt and the unit: no name is kept")
    arm = models.CharField(max_length=10, choices=ArmName)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["experiment", "arm", "id"], name="exposure_of_arm")]
        constraints = [models.UniqueConstraint(fields=["experiment", "unit_sha256"],
                                               name="a_unit_is_exposed_once_per_experiment")]

    def __str__(self) -> str:
        return f"{self.arm} of {self.experiment_id}"


class ExposedFeedback(models.Model):
    """Feedback on an answer that a running experiment gave. Written with the feedback."""

    feedback = models.OneToOneField(Feedback, on_delete=models.PROTECT, related_name="exposed")
    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, related_name="feedback")

    def __str__(self) -> str:
        return f"{self.feedback} on {self.exposure}"


class ExperimentLook(models.Model):
    """A planned look that counts. Written once."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="looks")
    number = models.PositiveSmallIntegerField()
    fraction = models.FloatField(help_text="of the planned information")
    z = models.FloatField()
    bound = models.FloatField(help_text="on |z|; from it on the look decides")
    interval = models.JSONField(help_text="of the difference: estimate, low, high, n, confidence; repeated")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["experiment", "number"], name="a_look_is_taken_once")]

    def __str__(self) -> str:
        return f"Look {self.number} of {self.experiment}"


class ExperimentDay(models.Model):
    """How far it stood on a day, when it was first looked at on it: for the line over time. Decides nothing."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="days")
    day = models.DateField(help_text="in UTC")
    n_exposed = models.PositiveIntegerField()
    band = models.JSONField(help_text="the always-valid interval of the difference")

    class Meta:
        ordering = ["day"]
        constraints = [models.UniqueConstraint(fields=["experiment", "day"],
                                               name="an_experiment_is_noted_once_a_day")]

    def __str__(self) -> str:
        return f"{self.experiment} on {self.day}"


class ExperimentEnd(models.Model):
    """How an experiment ended, with all that counted then. Feedback that comes later changes nothing in it."""

    class Outcome(models.TextChoices):
        ship = "SHIP", "the challenger is better"
        ship_as_good = "SHIP_AS_GOOD", "the challenger is as good, and cheaper"
        keep = "KEEP", "the challenger is worse"
        not_proven = "NOT_PROVEN", "not proven better or worse"
        harm = "HARM", "the challenger did harm"
        invalid = "INVALID", "units did not come as planned"
        aa_passed = "AA_PASSED", "no difference between equals, as it should be"
        aa_failed = "AA_FAILED", "a difference between equals"
        stopped = "STOPPED", "stopped before its end"

    experiment = models.OneToOneField(Experiment, on_delete=models.PROTECT, related_name="end")
    outcome = models.CharField(max_length=12, choices=Outcome)
    words = models.JSONField(help_text="the result in sentences")
    result = models.JSONField(help_text="arms, band, ratio and guardrails as they stood")
    reason = models.TextField(blank=True, help_text="why somebody stopped it")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+",
                           help_text="who stopped it; nobody where it ended by its plan")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(
            condition=(Q(outcome="STOPPED") & ~Q(reason="")) | (~Q(outcome="STOPPED") & Q(reason="", by=None)),
            name="an_experiment_is_stopped_with_a_reason_or_ends_by_its_plan")]

    def __str__(self) -> str:
        return f"{self.outcome} of {self.experiment}"

    @property
    def ships(self) -> bool:
        return self.outcome in (self.Outcome.ship, self.Outcome.ship_as_good)
