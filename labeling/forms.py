from typing import Any

import django_filters as filters
from django import forms
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from labeling.models import Annotation, Example, Upload
from labeling.reading import Mapping, Sniffed
from projects.models import Project

ROLES = {  # what a column can be, by kind of upload
    Upload.Kind.examples: {
        "text": "the text", "key": "the key", "label": "a label", "annotator": "who labelled", "group": "the group",
        "observed_at": "the time"},
    Upload.Kind.annotations: {"key": "the example's key", "label": "the label", "annotator": "who labelled"},
}
REST = {Upload.Kind.examples: "kept beside the text", Upload.Kind.annotations: "not used"}


SPLITS = [(Example.Split.pool, "pool, to learn from"), (Example.Split.dev, "dev, held out"),
          (Example.Split.test, "test, held out")]


class UploadForm(forms.Form):
    file = forms.FileField(
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.tab,.txt,.jsonl,.ndjson"}),
        help_text="CSV, TSV or JSON Lines in UTF-8, with a header or named fields; at most "
                  f"{settings.GOLDPAN_MAX_UPLOAD_MB} MB.")
    kind = forms.ChoiceField(
        label="What is in it?", choices=Upload.Kind.choices, initial=Upload.Kind.examples, widget=forms.RadioSelect)


class MappingForm(forms.Form):
    """What each column of a checked file is: a field per column, in the file's order."""

    def __init__(self, *args: Any, upload: Upload, sniffed: Sniffed, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sniffed, self.kind, self.labels = sniffed, Upload.Kind(upload.kind), set(upload.project.labels)
        role_of = {column: role.removesuffix("_column") for role, column in upload.mapping.items() if column}
        choices = [("", REST[self.kind]), *ROLES[self.kind].items()]
        for number, column in enumerate(sniffed.columns):
            role = role_of.get(column, "")
            self.fields[f"column-{number}"] = forms.ChoiceField(
                label=column, choices=choices, required=False, initial=role if role in ROLES[self.kind] else "")

    @property
    def columns(self) -> list[tuple[str, forms.BoundField, list[Any]]]:
        """Each column's name, its field, and its cells in the first rows."""
        return [(column, self[f"column-{number}"], [row.get(column, "") for row in self.sniffed.rows[:3]])
                for number, column in enumerate(self.sniffed.columns)]

    @property
    def overlooked_label(self) -> str:
        """A column that is not called the label although its first cells are labels of the project, or ""."""
        if any(field.initial == "label" for field in self.fields.values()):
            return ""
        return next((column for column in self.sniffed.columns
                     if all(row.get(column) in self.labels for row in self.sniffed.rows)), "")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        column_of: dict[str, str] = {}
        for number, column in enumerate(self.sniffed.columns):
            role = values.get(f"column-{number}")
            if role and role in column_of:
                raise forms.ValidationError(
                    f"“{column_of[role]}” and “{column}” cannot both be {ROLES[self.kind][role]}. Choose one of them.")
            if role:
                column_of[role] = column
        needed = ["text"] if self.kind == Upload.Kind.examples else ["key", "label"]
        for role in needed:
            if role not in column_of:
                raise forms.ValidationError(f"Choose the column that holds {ROLES[self.kind][role]}.")
        values["mapping"] = Mapping(**{f"{role}_column": column for role, column in column_of.items()})
        return values


class ExampleFilter(filters.FilterSet):
    """Which examples a list shows; all of it stands in the address, so that it can be shared."""

    q = filters.CharFilter(field_name="text", lookup_expr="icontains", label="Text")
    split = filters.ChoiceFilter(choices=SPLITS, empty_label="all splits", label="Split")
    label = filters.ChoiceFilter(method="with_label", empty_label="any or none", label="Label")
    there = filters.ChoiceFilter(
        method="in_label_studio", choices=[("yes", "in Label Studio"), ("no", "not there yet")],
        empty_label="anywhere", label="Where")

    UNLABELLED = " none"  # no label begins with a space

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, queryset=Example.objects.filter(project=project).order_by("pk"), **kwargs)
        self.filters["label"].extra["choices"] = [
            (self.UNLABELLED, "no label yet"), *((label, label) for label in project.labels)]
        self.form.fields["q"].widget.attrs |= {"type": "search", "data-key": "/", "placeholder": "words in the text"}

    def with_label(self, examples: QuerySet[Example], name: str, label: str) -> QuerySet[Example]:
        """Those to which somebody's current answer gives this label."""
        answers = Annotation.objects.current().filter(example=OuterRef("pk"))
        if label == self.UNLABELLED:
            return examples.filter(~Exists(answers))
        return examples.filter(Exists(answers.filter(value=label)))

    def in_label_studio(self, examples: QuerySet[Example], name: str, answer: str) -> QuerySet[Example]:
        return examples.filter(ls_task_id__isnull=answer == "no")
