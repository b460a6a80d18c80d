from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from labeling.models.desks import Delivery
from labeling.models.ledger import Annotator, Example
from projects.models import OfProjectQuerySet, Project

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class LabelingRules(models.Model):
    """How labelling is run in a project: limits, honeypots, the entry exam, suggestions, wages. A curator edits it."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="labeling_rules")
    open_limit = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(500)],
        help_text="examples on one desk at a time")
    reservation_hours = models.PositiveIntegerField(
        default=72, validators=[MinValueValidator(1), MaxValueValidator(24 * 90)],
        help_text="after which an unanswered example goes to somebody else")
    honeypot_share = models.FloatField(
        default=0.05, validators=[MinValueValidator(0.0), MaxValueValidator(0.5)],
        help_text="of what is given out has a known answer, and nobody sees which")
    honeypot_floor = models.FloatField(
        default=0.85, validators=[MinValueValidator(0.5), MaxValueValidator(0.99)],
        help_text="the share of known answers that somebody has to get right; who is proven below is paused")
    exam_size = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(100)],
        help_text="known answers that a new annotator starts with; 0: none")
    exam_pass = models.FloatField(default=0.8, validators=SHARE, help_text="the share of them to get right")
    shows_suggestions = models.BooleanField(default=False, help_text="prefill what the model or prompt would answer")
    hidden_share = models.FloatField(
        default=0.2, validators=SHARE,
        help_text="of the suggestions is kept from annotators, to see whether the others only nod")
    hides_names = models.BooleanField(default=False, help_text="reports on annotators carry numbers instead of names")
    hourly_wage = models.DecimalField(
        max_digits=8, decimal_places=2, default=0, validators=[MinValueValidator(0)], help_text="for what labels cost")
    currency = models.CharField(max_length=3, default="USD")

    objects = OfProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return f"rules of {self.project}"

    def wants_exam_of(self, annotator: Annotator) -> bool:
        """Whether an entry exam is still before them."""
        return bool(self.exam_size) and annotator.passed_exam_at is None


class Batch(models.Model):
    """Examples that people are asked to label: how often each, by whom, and what happens where they differ."""

    class State(models.TextChoices):
        open = "open"
        paused = "paused"
        closed = "closed"

    class Skips(models.TextChoices):
        next_person = "next_person", "somebody else is asked"
        set_aside = "set_aside", "a curator looks at it"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="batches")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=100)
    state = models.CharField(max_length=6, choices=State, default=State.open)
    annotators = models.ManyToManyField(
        Annotator, blank=True, related_name="batches", help_text="nobody named: all who label in this project")
    vendor = models.CharField(max_length=100, blank=True, help_text="the outside company that labels it, from a file")
    n_labels = models.PositiveSmallIntegerField(default=1, help_text="answers that every example gets")
    overlap_share = models.FloatField(default=0.1, validators=SHARE, help_text="of the examples gets more answers")
    overlap_labels = models.PositiveSmallIntegerField(default=2, help_text="answers that those get")
    max_labels = models.PositiveSmallIntegerField(default=3, help_text="where answers differ more are asked for, up to")
    skips = models.CharField(max_length=11, choices=Skips, default=Skips.next_person)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="batches_are_numbered_per_project"),
            models.CheckConstraint(
                condition=Q(n_labels__gte=1, overlap_labels__gte=F("n_labels"), max_labels__gte=F("overlap_labels")),
                name="batch_asks_for_at_least_one_label_and_no_more_than_its_cap"),
        ]

    def __str__(self) -> str:
        return f"Batch {self.number}: {self.title}"


class BatchItem(models.Model):
    """An example of a batch. `n_taken` counts the people who have it or have answered it: never more than wanted."""

    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="items", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="batch_items")
    n_wanted = models.PositiveSmallIntegerField()
    n_taken = models.PositiveSmallIntegerField(default=0)
    priority = models.FloatField(default=0, help_text="lower comes first")
    is_set_aside = models.BooleanField(default=False, help_text="skipped, and waits for a curator")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "example"], name="an_example_is_once_in_a_batch"),
            models.CheckConstraint(condition=Q(n_taken__lte=F("n_wanted")), name="never_more_labels_than_wanted"),
        ]
        indexes = [models.Index(fields=["batch", "priority", "id"], name="item_to_hand_out",
                                condition=Q(is_set_aside=False, n_taken__lt=F("n_wanted")))]

    def __str__(self) -> str:
        return f"{self.example} ({self.n_taken} of {self.n_wanted})"


class KnownAnswer(models.Model):
    """A pool example whose right answer is known: for honeypots and the entry exam. Never a dev or test example."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="known_answers")
    example = models.OneToOneField(Example, on_delete=models.PROTECT, related_name="known_answer")
    value = models.JSONField()
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    added_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, help_text="no longer given out: it was wrong, or too well known")

    objects = OfProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.example}: {self.value}"


class Suggestion(models.Model):
    """What a model or prompt would answer, to prefill in Label Studio; the newest of an example counts."""

    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="suggestions", db_index=False)
    value = models.JSONField()
    by = models.CharField(max_length=100, help_text="“probe of report 3”, “adapter 2”: who suggests")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["example", "-id"], name="suggestion_latest")]

    def __str__(self) -> str:
        return f"{self.by}: {self.value}"


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def open(self) -> "AssignmentQuerySet":
        """Those that somebody still has to answer."""
        return self.filter(state__in=Assignment.OPEN)


class Assignment(models.Model):
    """One example on one person's desk."""

    class Purpose(models.TextChoices):
        label = "label"
        honeypot = "honeypot"  # its answer is known, and the annotator does not know that
        exam = "exam"

    class State(models.TextChoices):
        reserved = "reserved"  # theirs, on the way to Label Studio
        placed = "placed"  # on their desk
        answered = "answered"
        skipped = "skipped"
        expired = "expired"  # taken back unanswered, and free for somebody else

    OPEN = (State.reserved, State.placed)
    HAD = (State.reserved, State.placed, State.answered, State.skipped)  # the same person is not asked again

    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    item = models.ForeignKey(BatchItem, null=True, on_delete=models.PROTECT, related_name="assignments")
    delivery = models.ForeignKey(Delivery, null=True, on_delete=models.PROTECT, related_name="assignments")
    purpose = models.CharField(max_length=8, choices=Purpose, default=Purpose.label)
    state = models.CharField(max_length=8, choices=State, default=State.reserved)
    ls_task_id = models.BigIntegerField(null=True, help_text="Label Studio's copy of the example on this desk")
    expected = models.JSONField(null=True, help_text="the known answer, for honeypot and exam")
    suggestion = models.ForeignKey(Suggestion, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    shows_suggestion = models.BooleanField(default=False)
    reserved_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["example", "annotator"], name="nobody_has_an_example_twice",
                condition=Q(state__in=["reserved", "placed", "answered", "skipped"])),
            models.CheckConstraint(
                condition=Q(purpose="label", expected__isnull=True, item__isnull=False)
                | Q(purpose__in=["honeypot", "exam"], expected__isnull=False, item__isnull=True),
                name="an_answer_is_known_iff_it_is_a_honeypot_or_exam"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, state__in=["reserved", "placed"])
                | Q(ended_at__isnull=False, state__in=["answered", "skipped", "expired"]),
                name="assignment_ended_at_iff_it_is_over"),
        ]
        indexes = [
            models.Index(fields=["annotator", "state", "id"], name="assignment_on_desk"),
            models.Index(fields=["state", "ended_at"], name="assignment_by_its_end"),
            models.Index(fields=["expires_at"], name="assignment_to_expire",
                         condition=Q(state__in=["reserved", "placed"])),
        ]

    def __str__(self) -> str:
        return f"{self.example} for {self.annotator}"
