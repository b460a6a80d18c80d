from typing import Any

import django_filters as filters
from django import forms
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from labeling.models import Annotation, Annotator, Batch, BatchItem, Example, LabelingRules, Upload
from labeling.reading import Mapping, Sniffed, needed, roles
from labeling.services.batches import Overlap
from labeling.services.desks import annotators_at_work
from projects.errors import UserError
from projects.models import Project

WORDS = {  # what a column can be, in words
    "text": "the text", "key": "the key", "label": "a label", "annotator": "who labelled", "group": "the group",
    "observed_at": "the time", "left": "the left answer", "right": "the right answer", "messages": "the messages",
    "seconds": "how long it took", "cost": "what it cost"}
REST = {Upload.Kind.examples: "kept beside the text", Upload.Kind.annotations: "not used"}


SPLITS = [(Example.Split.pool, "pool, to learn from"), (Example.Split.dev, "dev, held out"),
          (Example.Split.test, "test, held out")]


class UploadForm(forms.Form):
    file = forms.FileField(
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.tab,.txt,.jsonl,.ndjson,.json"}),
        help_text="CSV, TSV, JSON Lines, JSON, or an export of Label Studio, in UTF-8; at most "
                  f"{settings.GOLDPAN_MAX_UPLOAD_MB} MB.")
    kind = forms.ChoiceField(
        label="What is in it?", choices=Upload.Kind.choices, initial=Upload.Kind.examples, widget=forms.RadioSelect)


class MappingForm(forms.Form):
    """What each column of a checked file is: a field per column, in the file's order."""

    def __init__(self, *args: Any, upload: Upload, sniffed: Sniffed, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sniffed, self.labels = sniffed, set(upload.project.labels)
        asked = (upload.kind, upload.project.task_type, upload.format)
        self.needed, can_be = needed(*asked), {role: WORDS[role] for role in roles(*asked)}
        role_of = {column: role.removesuffix("_column") for role, column in upload.mapping.items() if column}
        choices = [("", REST[Upload.Kind(upload.kind)]), *can_be.items()]
        for number, column in enumerate(sniffed.columns):
            role = role_of.get(column, "")
            self.fields[f"column-{number}"] = forms.ChoiceField(
                label=column, choices=choices, required=False, initial=role if role in can_be else "")

    @property
    def columns(self) -> list[tuple[str, forms.BoundField, list[Any]]]:
        """Each column's name, its field, and its cells in the first rows."""
        return [(column, self[f"column-{number}"], [row.get(column, "") for row in self.sniffed.rows[:3]])
                for number, column in enumerate(self.sniffed.columns)]

    @property
    def overlooked_label(self) -> str:
        """A column that is not called the label although its first cells are labels of the project, or ""."""
        if self.sniffed.format == "ls-json" or any(field.initial == "label" for field in self.fields.values()):
            return ""
        return next((column for column in self.sniffed.columns
                     if all(isinstance(row.get(column), str) and row[column] in self.labels
                            for row in self.sniffed.rows)), "")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        column_of: dict[str, str] = {}
        for number, column in enumerate(self.sniffed.columns):
            role = values.get(f"column-{number}")
            if role and role in column_of:
                raise forms.ValidationError(
                    f"“{column_of[role]}” and “{column}” cannot both be {WORDS[role]}. Choose one of them.")
            if role:
                column_of[role] = column
        for role in self.needed:
            if role not in column_of:
                raise forms.ValidationError(f"Choose the column that holds {WORDS[role]}.")
        values["mapping"] = Mapping(**{f"{role}_column": column for role, column in column_of.items()})
        return values


class BatchForm(forms.Form):
    """Who is asked for how many answers. `batch` holds what `create_batch` wants, once the form is valid."""

    title = forms.CharField(max_length=100, label="What is it for?", initial="labels")
    annotators = forms.ModelMultipleChoiceField(
        Annotator.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, label="Who is asked?",
        help_text="Nobody chosen: everybody who labels in this project.")
    n_labels = forms.IntegerField(min_value=1, max_value=20, initial=1, label="Answers for every example")
    overlap_share = forms.IntegerField(
        min_value=0, max_value=100, initial=10, label="Per cent that get more",
        help_text="How well people agree is measured on these; at least 100 examples make a figure.")
    overlap_labels = forms.IntegerField(min_value=1, max_value=20, initial=2, label="Answers for those")
    max_labels = forms.IntegerField(
        min_value=1, max_value=20, initial=3, label="Answers at most",
        help_text="Where people differ, one more is asked at a time, up to so many.")
    skips = forms.ChoiceField(choices=Batch.Skips.choices, initial=Batch.Skips.next_person, widget=forms.RadioSelect,
                              label="When somebody skips an example")
    vendor = forms.CharField(max_length=100, required=False, label="Outside company",
                             help_text="If named, the batch goes out as a file and its answers come back as one.")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        annotators_at_work(project)  # whoever has never labelled is listed, too
        self.fields["annotators"].queryset = Annotator.objects.filter(  # type: ignore[attr-defined]
            project=project, user__memberships__project=project, vendor="").order_by("name")

    @property
    def batch(self) -> dict[str, Any]:
        given = self.cleaned_data
        overlap = Overlap(given["n_labels"], given["overlap_share"] / 100, given["overlap_labels"], given["max_labels"])
        return {"overlap": overlap, **{name: given[name] for name in ("title", "annotators", "skips", "vendor")}}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not self.errors:
            try:
                self.batch["overlap"].check()
            except UserError as error:
                raise forms.ValidationError(str(error)) from None
        return values


class RulesForm(forms.ModelForm):
    """The rules of labelling. Shares are asked for in per cent and kept as shares."""

    SHARES = ("honeypot_share", "honeypot_floor", "exam_pass", "hidden_share")

    class Meta:
        model = LabelingRules
        fields = ("open_limit", "reservation_hours", "honeypot_share", "honeypot_floor", "exam_size", "exam_pass",
                  "shows_suggestions", "hidden_share", "hides_names", "hourly_wage", "currency")
        labels = {
            "open_limit": "Examples on one desk", "reservation_hours": "Hours to answer",
            "exam_size": "Known answers in the entry exam", "shows_suggestions": "Prefill what a model would answer",
            "hides_names": "Hide names from curators", "hourly_wage": "Wage per hour"}
        help_texts = {
            "open_limit": "at a time, waiting for one person",
            "reservation_hours": "then an unanswered example goes to somebody else",
            "exam_size": "that a new annotator starts with; 0: no exam",
            "shows_suggestions": "People who see a suggestion tend to agree with it: some of them are kept back, to "
            "measure how much. Held-out examples never get one.",
            "hides_names": "Board, reports and confusion say “Annotator 3”. Admins see names, and only they show them "
            "again.", "hourly_wage": "0: what labels cost is not told", "currency": "three letters"}

    honeypot_share = forms.IntegerField(
        min_value=0, max_value=50, label="Known answers among what is given out, per cent",
        help_text="Nobody can tell which they are. 5 is usual.")
    honeypot_floor = forms.IntegerField(
        min_value=50, max_value=99, label="Of which people must get right, per cent",
        help_text="Whoever is proven to be below is paused, and others are asked for the same examples.")
    exam_pass = forms.IntegerField(min_value=0, max_value=100, label="To pass the exam, per cent right")
    hidden_share = forms.IntegerField(min_value=0, max_value=100, label="Suggestions kept back, per cent")

    def __init__(self, *args: Any, may_show_names: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.SHARES:
            self.initial[name] = round(100 * getattr(self.instance, name))
        self.fields["hides_names"].disabled = self.instance.hides_names and not may_show_names

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        return values | {name: values[name] / 100 for name in self.SHARES if name in values}

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if len(currency) != 3 or not currency.isalpha():
            raise forms.ValidationError("Three letters, such as EUR or USD.")
        return currency


class AnswersForm(forms.Form):
    file = forms.FileField(
        label="Answers that came back", widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.jsonl,.ndjson"}),
        help_text="One row per answer: key, label, who gave it; seconds and cost if they are known.")


class PauseForm(forms.Form):
    because = forms.CharField(
        max_length=500, label="Why?", widget=forms.TextInput(attrs={"placeholder": "on holiday until Monday"}),
        help_text="The annotator reads it.")


def open_items() -> QuerySet[BatchItem]:
    """The items of batches that still ask for labels."""
    return BatchItem.objects.exclude(batch__state=Batch.State.closed)


class ExampleFilter(filters.FilterSet):
    """Which examples a list shows; all of it stands in the address, so that it can be shared."""

    q = filters.CharFilter(field_name="text", lookup_expr="icontains", label="Text")
    split = filters.ChoiceFilter(choices=SPLITS, empty_label="all splits", label="Split")
    label = filters.ChoiceFilter(method="with_label", empty_label="any or none", label="Label")
    asked = filters.ChoiceFilter(
        method="in_a_batch", choices=[("yes", "in an open batch"), ("no", "nobody is asked")],
        empty_label="asked for or not", label="Asked")

    # Where people differ: one said this, another that. They come from links, and the page says them in words.
    said = filters.ChoiceFilter(method="as_it_is", widget=forms.HiddenInput)
    other = filters.ChoiceFilter(method="as_it_is", widget=forms.HiddenInput)
    by = filters.ModelChoiceFilter(queryset=Annotator.objects.none(), method="as_it_is", widget=forms.HiddenInput)
    other_by = filters.ModelChoiceFilter(queryset=Annotator.objects.none(), method="as_it_is", widget=forms.HiddenInput)

    UNLABELLED = " none"  # no label begins with a space

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, queryset=Example.objects.filter(project=project).order_by("pk"), **kwargs)
        self.filters["label"].extra["choices"] = [
            (self.UNLABELLED, "no label yet"), *((label, label) for label in project.labels)]
        for name in ("said", "other"):
            self.filters[name].extra["choices"] = [(label, label) for label in project.labels]
        for name in ("by", "other_by"):
            self.filters[name].queryset = Annotator.objects.filter(project=project)
        self.project = project
        self.form.fields["q"].widget.attrs |= {"type": "search", "data-key": "/", "placeholder": "words in the text"}

    def with_label(self, examples: QuerySet[Example], name: str, label: str) -> QuerySet[Example]:
        """Those to which somebody's current answer gives this label."""
        answers = Annotation.objects.current().filter(example=OuterRef("pk"))
        if label == self.UNLABELLED:
            return examples.filter(~Exists(answers))
        return examples.filter(Exists(answers.filter(value=label)))

    def in_a_batch(self, examples: QuerySet[Example], name: str, answer: str) -> QuerySet[Example]:
        items = Exists(open_items().filter(example=OuterRef("pk")))
        return examples.filter(items if answer == "yes" else ~items)

    def as_it_is(self, examples: QuerySet[Example], name: str, value: object) -> QuerySet[Example]:
        """These four say something together only; see `filter_queryset`."""
        return examples

    def filter_queryset(self, queryset: QuerySet[Example]) -> QuerySet[Example]:
        examples, given = super().filter_queryset(queryset), self.form.cleaned_data
        if not given.get("said"):
            return examples
        answers = Annotation.objects.current().filter(annotator__project=self.project, value=given["said"])
        if given.get("by"):
            answers = answers.filter(annotator=given["by"])
        if given.get("other"):
            others = Annotation.objects.current().filter(example=OuterRef("example"), value=given["other"]).exclude(
                annotator=OuterRef("annotator"))
            if given.get("other_by"):
                others = others.filter(annotator=given["other_by"])
            answers = answers.filter(Exists(others))
        return examples.filter(pk__in=answers.values("example"), known_answer__isnull=True)  # as agreement counts them

    def confused_words(self, names: dict[int, str]) -> str:
        """What the hidden part of the filter says: “where one person said X and another Y”; "" if it says nothing."""
        given = self.form.cleaned_data if self.is_valid() else {}
        if not given.get("said"):
            return ""
        one, another = (names[given[name].pk] if given.get(name) else words
                        for name, words in (("by", "one person"), ("other_by", "another")))
        said = f"{one} said “{given['said']}”"
        return f"where {said} and {another} “{given['other']}”" if given.get("other") else f"where {said}"
