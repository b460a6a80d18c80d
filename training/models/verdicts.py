"""What the gate says of the best prompt, and how it was weighed."""

from functools import cached_property

from django.db import models

from curation.models import Snapshot
from training.models.money import ProjectEconomics, Quote
from training.models.runs import Run


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
