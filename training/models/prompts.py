"""Prompts in people's own words, and answers that are known already."""


from django.conf import settings
from django.db import models

from projects.models import OfProjectQuerySet, Project


class PromptVersion(models.Model):
    """A prompt in a curator's own words, version by version. Never edited: a change is a further version."""

    class Examples(models.TextChoices):
        none = "none", "None"
        spread = "spread", "The same 8 for every text"
        nearest = "nearest", "The 8 most like each text"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="prompt_versions")
    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    content = models.JSONField(help_text='{"words": {"system": …, "instruction": …}, "examples": one of Examples}')
    note = models.CharField(max_length=500, help_text="what changed, and why")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["project", "name", "version"],
                                               name="versions_of_a_prompt_are_numbered")]

    def __str__(self) -> str:
        return f"“{self.name}”, version {self.version}"

    @property
    def system(self) -> str:
        return str(self.content["words"]["system"])

    @property
    def instruction(self) -> str:
        return str(self.content["words"]["instruction"])

    @property
    def examples(self) -> "PromptVersion.Examples":
        return self.Examples(self.content["examples"])


class CachedAnswer(models.Model):
    """What an endpoint has answered to a request: asked again, it costs nothing. An erasure empties it."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    request_sha256 = models.CharField(max_length=64, help_text="of address, model, messages and parameters")
    answer = models.TextField()
    prompt_tokens = models.PositiveIntegerField(null=True, help_text="null: the endpoint did not say")
    answer_tokens = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "request_sha256"],
                                               name="a_request_is_cached_once_per_project")]

    def __str__(self) -> str:
        return f"Answer to {self.request_sha256[:12]}"
