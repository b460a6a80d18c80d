from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models.quality import QualityReport
from labeling.models import Example
from projects.models import AnyUser


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
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["example", "id"], name="decision_latest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict__in=["keep", "relabel"]) & ~Q(value="")
                | Q(verdict__in=["exclude", "discuss", "open"], value=""),
                name="decision_has_a_value_iff_it_gives_a_label"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} {self.value}".strip()
