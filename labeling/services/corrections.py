"""What comes back from where a model is used: texts as examples, and right answers in place of the model's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from labeling.models import Annotation, Annotator, Example
from labeling.reading import Row
from labeling.services.imports import key_of
from labeling.services.overlap import widen_overlap
from labeling.texts import content_sha256, split_of
from projects.models import Project


def take_correction(project: Project, *, text: str, data: Mapping[str, Any], group: str, value: Any, annotator: str,
                    at: datetime) -> tuple[Example, Annotation] | tuple[Example, None]:
    """Make the text an example, unless it is one already, and the value an answer to it, in the caller's transaction.

    value: valid and canonical under the project's type of task. group: "" for the text's own. at: when it was said.
    Whoever corrects has seen the model's answer: an example that falls to dev or test gets no answer, so that people
    label it blind. One that was erased gets none either. The annotator's name stands for all who use a key.
    """
    example = example_of(project, text=text, data=data, group=group, at=at)
    if example.split != Example.Split.pool or not example.text:
        return example, None
    person, _ = Annotator.objects.get_or_create(project=project, name=annotator[:100], defaults={"is_person": False})
    annotation = Annotation.objects.create(
        example=example, annotator=person, value=value, source=Annotation.Source.feedback,
        instructions_version=project.instructions_version, created_at=at)
    widen_overlap(project, [example.pk])
    return example, annotation


def example_of(project: Project, *, text: str, data: Mapping[str, Any], group: str, at: datetime) -> Example:
    """Return the example that a text is, as an import would make it: one that is there already, else a new one.

    Its split follows from its group, "" for the text's own. at: when it was observed.
    """
    sha256 = content_sha256(text)
    group = group or sha256
    shares = (project.split_shares["pool"], project.split_shares["dev"], project.split_shares["test"])
    row = Row(1, None, text, None, None, group, None, dict(data))
    example, _ = Example.objects.get_or_create(project=project, key=key_of(row, project.task_type, sha256), defaults={
        "text": text, "data": dict(data), "content_sha256": sha256, "group": group, "observed_at": at,
        "split": split_of(group, project.split_salt, shares)})
    return example
