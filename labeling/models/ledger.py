from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from projects.models import AnyUser, OfProjectQuerySet, Project


class Upload(models.Model):
    """A file that somebody brought: checked line by line first, imported whole or not at all."""

    class Kind(models.TextChoices):
        examples = "examples", "Examples, one text per row"
        annotations = "annotations", "Labels, one annotator and example per row"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="uploads")
    name = models.CharField(max_length=200, help_text="the file's name as it came")
    sha256 = models.CharField(max_length=64)
    kind = models.CharField(max_length=12, choices=Kind)
    format = models.CharField(max_length=8, help_text="csv, tsv, jsonl, json, or ls-json from Label Studio")
    mapping = models.JSONField(help_text="which column is the text, the key, the label, the annotator, …")
    n_good = models.PositiveIntegerField(default=0)
    n_bad = models.PositiveIntegerField(default=0)
    bad_rows = models.JSONField(default=list, help_text="the first bad rows: [line, reason]")
    bad_sha256 = models.CharField(max_length=64, blank=True, help_text="all bad rows with their reasons, as a CSV")
    batch = models.ForeignKey("labeling.Batch", null=True, on_delete=models.PROTECT, related_name="uploads",
                              db_index=False, help_text="the vendor's batch whose answers it holds, if it does")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    imported_at = models.DateTimeField(null=True)
    n_imported = models.PositiveIntegerField(default=0, help_text="rows that were new")

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name


class Example(models.Model):
    """One text to be labelled. The text never changes; its split follows from its group alone, for ever."""

    class Split(models.TextChoices):
        pool = "pool"  # may be trained on
        dev = "dev"  # for choosing prompts and settings
        test = "test"  # looked at rarely, and every look is counted

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="examples")
    key = models.CharField(max_length=200, help_text="its identity in files and in Label Studio")
    text = models.TextField()
    data = models.JSONField(help_text="the other columns it came with")
    content_sha256 = models.CharField(max_length=64, help_text="of the normalised text")
    group = models.CharField(max_length=200, help_text="customer, thread or document; all of one stay in one split")
    split = models.CharField(max_length=4, choices=Split)
    observed_at = models.DateTimeField(null=True)
    upload = models.ForeignKey(Upload, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="one_example_per_project_and_key")]
        indexes = [models.Index(fields=["project", "split"], name="example_of_split")]

    def __str__(self) -> str:
        return self.key


class Annotator(models.Model):
    """Somebody who labels: a person with a Goldpan account, one known from a file only, or a past one."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="annotators")
    name = models.CharField(max_length=100)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    is_person = models.BooleanField(default=True, help_text="no for ratings by several people under one name: nothing "
                                    "is reported about such a name")
    vendor = models.CharField(max_length=100, blank=True, help_text="the outside company they label for, if any")
    daily_limit = models.PositiveIntegerField(null=True, help_text="answers a day after which nothing more is given")
    passed_exam_at = models.DateTimeField(null=True)
    trusted_from = models.DateTimeField(null=True, help_text="known answers given before do not count any more")
    paused_at = models.DateTimeField(null=True)
    paused_because = models.TextField(blank=True, help_text="in words, for the curator; “” while they may label")
    ls_email = models.EmailField(blank=True)
    ls_user_id = models.BigIntegerField(null=True)
    ls_password_encrypted = models.TextField(blank=True, help_text="shown to nobody: people come in through the door")

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="one_annotator_per_project_and_name"),
            models.UniqueConstraint(
                fields=["project", "ls_user_id"], name="one_annotator_per_label_studio_account",
                condition=Q(ls_user_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name


class AnnotationQuerySet(models.QuerySet["Annotation"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(example__project__memberships__user_id=user.pk or 0)

    def current(self, *, until: int | None = None) -> Self:
        """The last word of each annotator on each example, without skips and retractions.

        until: as it was when the answer of this number was the newest.
        """
        newer = Annotation.objects.filter(
            example_id=models.OuterRef("example_id"), annotator_id=models.OuterRef("annotator_id"),
            pk__gt=models.OuterRef("pk"))
        rows = self.filter(skipped=False, retracted=False)
        if until is not None:
            rows, newer = rows.filter(pk__lte=until), newer.filter(pk__lte=until)
        return rows.filter(~models.Exists(newer))

    def newest_of(self, project: Project | None) -> int:
        """The number of the newest answer in a project, or at all; 0 if there is none."""
        if project is not None:  # person by person, as the index of answers is ordered
            people = list(Annotator.objects.filter(project=project).values_list("pk", flat=True))
            return self.filter(annotator__in=people).newest_of(None)
        return self.order_by("-pk").values_list("pk", flat=True).first() or 0


class Annotation(models.Model):
    """A ledger of answers: a changed or withdrawn answer is a new row, an old row is never edited."""

    class Source(models.TextChoices):
        file = "file"
        label_studio = "label_studio", "Label Studio"
        feedback = "feedback", "feedback on a model's answer"

    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    value = models.JSONField(null=True, help_text="the label, as the task type gives it; null if skipped or retracted")
    skipped = models.BooleanField(default=False)
    retracted = models.BooleanField(default=False, help_text="the answer was deleted where it was given")
    seconds = models.FloatField(null=True, help_text="how long the annotator took")
    cost = models.DecimalField(max_digits=10, decimal_places=4, null=True, help_text="what a vendor charged for it")
    source = models.CharField(max_length=12, choices=Source)
    ls_annotation_id = models.BigIntegerField(null=True)
    instructions_version = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["example", "annotator", "id"], name="annotation_latest"),
            models.Index(fields=["annotator", "id"], name="annotation_of_annotator"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(skipped=False, retracted=False, value__isnull=False)
                | (Q(skipped=True) | Q(retracted=True)) & Q(value__isnull=True),
                name="no_label_when_skipped_or_retracted"),
        ]

    def __str__(self) -> str:
        return f"{self.annotator}: {self.value}"
