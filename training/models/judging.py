"""Pairs of answers, and which of the two people or a judge prefer."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.models import Job
from labeling.models import Example
from projects.models import AnyUser, Project
from training.models.evaluations import Evaluation


class PairwiseQuerySet(models.QuerySet["PairwiseEvaluation"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(first__snapshot__project__memberships__user_id=user.pk or 0).select_related(
            "first__snapshot__project", "first__run", "second__run")


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
