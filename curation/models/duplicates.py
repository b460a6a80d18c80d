from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models.quality import QualityReport
from jobs.models import Job
from labeling.models import Example
from projects.models import OfProjectQuerySet, Project


class DuplicateCluster(models.Model):
    """Examples that say the same, gathered around one of them; of a report's row only `action` changes."""

    class What(models.TextChoices):
        leak = "leak", "in two splits"
        conflict = "conflict", "labels differ"
        other = "other", "repeats"

    class Kind(models.TextChoices):
        """The weakest reason for which one of its members is in it."""

        exact = "exact", "the same text"
        lexical = "lexical", "nearly the same words"
        semantic = "semantic", "other words"

    report = models.ForeignKey(QualityReport, on_delete=models.CASCADE, related_name="duplicate_clusters",
                               db_index=False)
    place = models.PositiveIntegerField(help_text="leaks first, then conflicts, the most urgent first; from 0")
    what = models.CharField(max_length=8, choices=What)
    kind = models.CharField(max_length=8, choices=Kind)
    centre = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+", db_index=False)
    size = models.PositiveIntegerField()
    n_held_out = models.PositiveIntegerField()
    n_to_exclude = models.PositiveIntegerField(help_text="how many go if one is kept")
    similarity = models.FloatField(help_text="cosine of its least similar member to the centre")
    n_labels = models.PositiveIntegerField(help_text="different labels among its pool members")
    urgency = models.FloatField(help_text="size times the entropy of its labels in bits")
    members_sha256 = models.CharField(max_length=64, help_text="of its members, by which later reports know it again")
    action = models.ForeignKey("DuplicateAction", null=True, on_delete=models.PROTECT, related_name="+",
                               help_text="what a curator did about it, unless that was taken back")

    class Meta:
        ordering = ["place"]
        indexes = [
            models.Index(fields=["report", "place"], condition=Q(action__isnull=True), name="duplicates_left"),
            models.Index(fields=["report", "what", "place"], condition=Q(action__isnull=True),
                         name="duplicates_left_by_what"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["report", "place"], name="one_duplicate_cluster_per_report_and_place"),
            models.CheckConstraint(condition=Q(size__gte=2), name="duplicate_cluster_has_at_least_two_members"),
        ]

    def __str__(self) -> str:
        return f"{self.size} like {self.centre}"


class DuplicateMember(models.Model):
    """An example of a cluster, with its cosine to the centre and the reason for which it is in it."""

    cluster = models.ForeignKey(DuplicateCluster, on_delete=models.CASCADE, related_name="members", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+", db_index=False)
    similarity = models.FloatField()
    kind = models.CharField(max_length=8, choices=DuplicateCluster.Kind)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "example"], name="one_membership_per_cluster_and_example")]

    def __str__(self) -> str:
        return f"{self.example}: {self.similarity:.3f}"


class DuplicateActionQuerySet(OfProjectQuerySet):
    def standing(self) -> Self:
        """The actions that nobody has taken back."""
        undone = DuplicateAction.objects.filter(undoes_id=models.OuterRef("pk"))
        return self.filter(~models.Exists(undone), undoes__isnull=True)


class DuplicateAction(models.Model):
    """What a curator did about a cluster. Its decisions stand in the ledger; undo is a new row."""

    class Verdict(models.TextChoices):
        keep_one = "keep_one", "keep one"
        keep_all = "keep_all", "keep all: they are different"
        merge = "merge", "give all the same label"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    cluster = models.ForeignKey(DuplicateCluster, on_delete=models.PROTECT, related_name="+")
    members_sha256 = models.CharField(max_length=64)
    verdict = models.CharField(max_length=8, choices=Verdict)
    decisions = models.JSONField(default=list, help_text="ids of the decisions that it wrote, or took back")
    job = models.ForeignKey(Job, null=True, on_delete=models.PROTECT, related_name="+",
                            help_text="that did this to many clusters at once")
    undoes = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DuplicateActionQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["project", "members_sha256"], name="duplicate_action_of_cluster")]

    def __str__(self) -> str:
        return f"{self.get_verdict_display()}: {self.cluster}"


class PairToJudge(models.Model):
    """Two texts about which a curator may say whether they say the same; a report's, drawn over all cosines."""

    report = models.ForeignKey(QualityReport, on_delete=models.CASCADE, related_name="pairs_to_judge", db_index=False)
    place = models.PositiveIntegerField(help_text="in which they are asked, from 0: all cosines in turn")
    example_a = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+", db_index=False)
    example_b = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+", db_index=False)
    similarity = models.FloatField()

    class Meta:
        ordering = ["place"]
        constraints = [models.UniqueConstraint(fields=["report", "place"], name="one_pair_per_report_and_place")]

    def __str__(self) -> str:
        return f"{self.example_a} and {self.example_b}: {self.similarity:.3f}"


class PairJudgementQuerySet(OfProjectQuerySet):
    def current(self) -> Self:
        """The judgement that counts for each pair: the newest, unless that takes one back."""
        newer = PairJudgement.objects.filter(
            project=models.OuterRef("project"), example_a=models.OuterRef("example_a"),
            example_b=models.OuterRef("example_b"), pk__gt=models.OuterRef("pk"))
        return self.filter(~models.Exists(newer)).exclude(answer=PairJudgement.Answer.open)


class PairJudgement(models.Model):
    """Whether two texts say the same, as a curator says. The newest counts; undo is a new row that says “open”."""

    class Answer(models.TextChoices):
        same = "same", "the same"
        different = "different", "not the same"
        open = "open", "taken back"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    example_a = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+", db_index=False)
    example_b = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+", db_index=False)
    similarity = models.FloatField(help_text="their cosine by the encoder")
    encoder = models.CharField(max_length=120)
    answer = models.CharField(max_length=9, choices=Answer)
    judged_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PairJudgementQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["project", "example_a", "example_b"], name="pair_judgement_latest")]
        constraints = [models.CheckConstraint(condition=Q(example_a__lt=models.F("example_b")),
                                              name="judged_pair_has_its_earlier_example_first")]

    def __str__(self) -> str:
        return f"{self.example_a} and {self.example_b}: {self.answer}"
