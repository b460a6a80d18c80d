from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models.quality import QualityReport
from jobs.models import Job
from labeling.models import Example
from projects.models import AnyUser, OfProjectQuerySet, Project


class BulkDecision(models.Model):
    """One decision about every example of a filter; the decisions that it made name it. Taken back by another one.

    n_previewed: examples of the filter when somebody looked; n_decided of them got a decision, n_changed had been
    decided otherwise since, the rest had nothing to decide (no suggestion to accept).
    """

    class Action(models.TextChoices):
        keep = "keep", "keep the given labels"
        accept = "accept", "accept the suggestions"
        relabel = "relabel", "give all of them one label"
        exclude = "exclude", "leave them out"
        undo = "undo", "taken back"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="bulk_decisions")
    report = models.ForeignKey(QualityReport, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    query = models.CharField(max_length=2000, help_text="the filter, as it stands in the address")
    action = models.CharField(max_length=8, choices=Action)
    value = models.TextField(blank=True, help_text="the label, for relabel")
    reason = models.TextField(blank=True)
    n_previewed = models.PositiveIntegerField()
    n_decided = models.PositiveIntegerField()
    n_changed = models.PositiveIntegerField()
    undoes = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="undone_by")
    job = models.OneToOneField(Job, null=True, on_delete=models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(action="undo", undoes__isnull=False) | ~Q(action="undo") & Q(undoes__isnull=True),
                name="a_bulk_decision_names_what_it_undoes"),
            models.CheckConstraint(
                condition=Q(n_decided__gte=1), name="a_bulk_decision_decides_something"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.n_decided}"


class DecisionQuerySet(models.QuerySet["Decision"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(example__project__memberships__user_id=user.pk or 0)

    def current(self) -> Self:
        """The decision that counts for each example, taken-back ones included as `open`."""
        newer = Decision.objects.filter(example_id=models.OuterRef("example_id"), pk__gt=models.OuterRef("pk"))
        return self.filter(~models.Exists(newer))


class Decision(models.Model):
    """What a curator decided about an example. The latest counts; undo is a new row that says what counts again."""

    class Verdict(models.TextChoices):
        keep = "keep", "keep the label"
        relabel = "relabel", "give another label"
        exclude = "exclude", "leave out"
        discuss = "discuss", "needs discussion"
        open = "open", "taken back"

    class Cause(models.TextChoices):
        """Why answers differed or a label was wrong: what to mend, and who can."""

        slip = "slip", "a slip: the guideline says it clearly"
        ambiguous = "ambiguous", "the text can be read either way"
        guideline = "guideline", "the guideline does not say, or says it badly"
        missing = "missing", "the right label does not exist"
        knowledge = "knowledge", "it takes knowledge that the annotator lacked"

    SETTLED = (Verdict.keep, Verdict.relabel, Verdict.exclude)

    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="decisions", db_index=False)
    report = models.ForeignKey(QualityReport, null=True, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, choices=Verdict)
    value = models.TextField(blank=True, help_text="the label that counts, for keep and relabel, as a model writes it")
    reason = models.TextField(blank=True)
    cause = models.CharField(max_length=10, choices=Cause, blank=True)
    undoes = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    bulk = models.ForeignKey(BulkDecision, null=True, on_delete=models.PROTECT, related_name="decisions",
                             db_index=False, help_text="where it is one of many")
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["example", "id"], name="decision_latest"),
            models.Index(fields=["example"], name="decision_to_discuss", condition=Q(verdict="discuss")),
            models.Index(fields=["undoes"], name="decision_taken_back", condition=Q(undoes__isnull=False)),
            models.Index(fields=["bulk", "id"], name="decisions_of_a_bulk", condition=Q(bulk__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict__in=["keep", "relabel"]) & ~Q(value="")
                | Q(verdict__in=["exclude", "discuss", "open"], value=""),
                name="decision_has_a_value_iff_it_gives_a_label"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} {self.value}".strip()
