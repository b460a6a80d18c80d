"""People and their answers as rows, for tests of the pages that tell about them."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Example
from projects.models import Project


class Hall:
    """A project with examples and people; `say` is one answer with everything that belongs to it."""

    def __init__(self, project: Project, by: Any) -> None:
        self.project, self.by = project, by
        self.batch = Batch.objects.create(project=project, number=1, title="labels", created_by=by, overlap_labels=3,
                                          max_labels=3)

    def person(self, name: str, user: Any = None, **more: Any) -> Annotator:
        return Annotator.objects.create(project=self.project, name=name, user=user, **more)

    def examples(self, n: int, *, split: str = "pool", prefix: str = "e") -> list[Example]:
        return Example.objects.bulk_create(Example(
            project=self.project, key=f"{prefix}{number}", text=f"text {prefix}{number}", data={}, split=split,
            content_sha256=f"{number:064x}", group=f"{prefix}{number}") for number in range(n))

    def item(self, example: Example, *, n_wanted: int = 3) -> BatchItem:
        return BatchItem.objects.get_or_create(batch=self.batch, example=example, defaults={"n_wanted": n_wanted})[0]

    def say(self, annotator: Annotator, example: Example, value: str | None, *, seconds: float = 10,
            days_ago: float = 0, version: int = 1) -> None:
        at, item = timezone.now() - timedelta(days=days_ago), self.item(example)
        skips = value is None
        Assignment.objects.create(example=example, annotator=annotator, item=item, expires_at=at, ended_at=at,
                                  state="skipped" if skips else "answered")
        BatchItem.objects.filter(pk=item.pk).update(n_taken=BatchItem.objects.get(pk=item.pk).n_taken + (not skips))
        self.ledger(annotator, example, value, seconds=seconds, created_at=at, instructions_version=version)

    def ledger(self, annotator: Annotator, example: Example, value: str | None, **more: Any) -> Annotation:
        return Annotation.objects.create(**{
            "example": example, "annotator": annotator, "value": value, "skipped": value is None,
            "source": "label_studio", "instructions_version": 1, "created_at": timezone.now(), **more})

    def give(self, annotator: Annotator, example: Example, *, hours: float = 72) -> Assignment:
        item = self.item(example)
        BatchItem.objects.filter(pk=item.pk).update(n_taken=BatchItem.objects.get(pk=item.pk).n_taken + 1)
        return Assignment.objects.create(example=example, annotator=annotator, item=item, state="placed",
                                         ls_task_id=example.pk, expires_at=timezone.now() + timedelta(hours=hours))

    def honeypot(self, annotator: Annotator, example: Example, value: str, expected: str) -> None:
        at = timezone.now()
        Assignment.objects.create(example=example, annotator=annotator, purpose="honeypot", expected=expected,
                                  state="answered", ended_at=at, expires_at=at)
        self.ledger(annotator, example, value)
