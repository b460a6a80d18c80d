from django.conf import settings
from django.db import models

from curation.models.snapshots import Snapshot
from jobs.models import Job
from labeling.models import Example
from projects.models import OfProjectQuerySet, Project

ERASED = "[erased]"  # what stands in place of an answer that somebody wrote in words


class Erasure(models.Model):
    """Somebody asked that an example goes: who did it, and why. Only what it names can be blanked, by trigger.

    The example's row, hashes and lineage stay; its text, its data and what people wrote about it do not.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="erasures")
    example = models.OneToOneField(Example, on_delete=models.PROTECT, related_name="erasure")
    reason = models.TextField(help_text="for the record, without the name of whoever asked")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+", help_text="it cleans files and desks")
    erased_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.example}, erased by {self.erased_by}"


class RedactedRows(models.Model):
    """A snapshot's rows file after an erasure: a tombstone in place of each erased line. The newest counts."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="redactions")
    sha256 = models.CharField(max_length=64, help_text="of the file as it is now")
    replaces_sha256 = models.CharField(max_length=64, help_text="of the file before, which was removed")
    n_erased = models.PositiveIntegerField(help_text="tombstones in it")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.snapshot} without {self.n_erased} rows"
