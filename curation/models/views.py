"""What the review page keeps beside the decisions: filters under a name, and what is said about an example."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models import Example
from projects.models import AnyUser, OfProjectQuerySet, Project


class SavedViewQuerySet(OfProjectQuerySet):
    def visible_to(self, user: AnyUser) -> Self:
        """Their own, and those that others share in the same projects."""
        return super().visible_to(user).filter(Q(owner_id=user.pk or 0) | Q(is_shared=True))


class SavedView(models.Model):
    """A filter of the review queue under a name: `query` is what stands in the address."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    is_shared = models.BooleanField(default=False, help_text="everybody who reviews in the project sees it")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "owner", "name"], name="one_view_per_owner_and_name")]

    def __str__(self) -> str:
        return self.name


class Message(models.Model):
    """Something said in the discussion of an example, which an undecided question opened. Never edited."""

    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="messages", db_index=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = models.TextField()
    asked = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+",
                              help_text="whose word is waited for")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["example", "id"], name="messages_of_an_example")]

    def __str__(self) -> str:
        return f"{self.author}: {self.text:.50}"
