from django.conf import settings
from django.db import models

from curation.models.quality import QualityReport
from jobs.models import Job
from projects.models import OfProjectQuerySet, Project


class Map(models.Model):
    """All examples of a project on a plane, with what was known of each when it was drawn. Never edited.

    Its row k is the k-th example of `ids_sha256`, int64 primary keys, ascending.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="maps")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    report = models.ForeignKey(QualityReport, null=True, on_delete=models.PROTECT, related_name="+", db_index=False,
                               help_text="whose scores colour it, if there was one")
    encoder = models.CharField(max_length=120)
    method = models.CharField(max_length=10)
    seed = models.PositiveIntegerField()
    explained = models.FloatField(null=True, help_text="share of the variance that the two axes hold, for PCA")
    n_points = models.PositiveIntegerField()
    ids_sha256 = models.CharField(max_length=64)
    points_sha256 = models.CharField(max_length=64, help_text="for the browser, as curation.map_file packs it")
    table_sha256 = models.CharField(max_length=64, help_text="Parquet: id, key, x, y, label, …")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"map {self.pk}"


class Selection(models.Model):
    """Examples that somebody picked out, to be looked at, labelled or shared by an address. Never edited.

    ids_sha256: int64 primary keys, ascending, as .npy in the object store.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="selections")
    map = models.ForeignKey(Map, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    ids_sha256 = models.CharField(max_length=64)
    n_examples = models.PositiveIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=models.Q(n_examples__gt=0), name="selection_holds_something")]

    def __str__(self) -> str:
        return f"selection {self.pk}"
