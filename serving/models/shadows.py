"""Two models asked the same kept requests, and people who say blind which answer is better."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.models import Job
from labeling.models import Batch, Example
from projects.models import OfProjectQuerySet, Project
from serving.models.deployments import Deployment
from serving.models.exchanges import ExchangeContent


class Shadow(models.Model):
    """Kept requests that champion and challenger were both asked, nobody else being shown the answers. Written once."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="shadows")
    champion = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="+")
    challenger = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="+")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")
    n = models.PositiveIntegerField()
    n_differing = models.PositiveIntegerField()
    n_unreadable = models.JSONField(help_text="answers of each that could not be read: champion, challenger")
    seconds = models.JSONField(help_text="in the model, on average: champion, challenger")
    seed = models.PositiveIntegerField(help_text="draws the requests and the sides")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(n_differing__lte=models.F("n")),
                                              name="no_more_requests_answered_differently_than_there_are")]

    def __str__(self) -> str:
        return f"Shadow {self.pk}"


class ShadowPair(models.Model):
    """A request that both answered differently. It goes with the request's words when their retention ends."""

    shadow = models.ForeignKey(Shadow, on_delete=models.PROTECT, related_name="pairs")
    content = models.ForeignKey(ExchangeContent, on_delete=models.CASCADE, related_name="+")
    champion_answer = models.JSONField(help_text='{"text": …, "value": …}')
    challenger_answer = models.JSONField(help_text="the same")
    is_swapped = models.BooleanField(help_text="the challenger's stands on the left where people judge")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"pair {self.pk} of {self.shadow}"


class BlindComparison(models.Model):
    """A project of type preference, in which people judge a shadow's answers blind, as a batch in Label Studio."""

    shadow = models.OneToOneField(Shadow, on_delete=models.PROTECT, related_name="comparison")
    judged_in = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="+")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"blind comparison of {self.shadow}"


class BlindPair(models.Model):
    """Which side of an example of the comparison's project is the challenger's. Nobody who judges sees it."""

    comparison = models.ForeignKey(BlindComparison, on_delete=models.PROTECT, related_name="pairs")
    example = models.OneToOneField(Example, on_delete=models.PROTECT, related_name="+")
    content_sha256 = models.CharField(max_length=64, db_index=True, help_text="of the request's text as it came")
    is_swapped = models.BooleanField(help_text="the challenger's answer stands on the left")

    def __str__(self) -> str:
        return f"sides of {self.example}"
