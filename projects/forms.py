import json
from typing import Any

from django import forms
from django.forms.renderers import TemplatesSetting

from projects.models import Project
from projects.schema import MAX_ANSWER_CHARS, METRICS, validate_schema
from projects.strict_json import parse_strict


class GoldpanFormRenderer(TemplatesSetting):
    field_template_name = "forms/field.html"


TARGETS = {"rouge_l": 40}  # per cent to begin with, where it is not 80
EXAMPLE_FIELDS = {"type": "object", "required": ["parties"], "properties": {
    "parties": {"type": "array", "items": {"type": "string"}, "description": "who acts, as the text names them"},
    "date": {"type": "string", "description": "of the document, as YYYY-MM-DD"}}}


class ProjectForm(forms.Form):
    """A new project of one type: the fields that its schema needs, and what is the same for all."""

    name = forms.CharField(min_length=3, max_length=50, label="What is it called?")
    labels = forms.CharField(
        label="Labels", widget=forms.Textarea(attrs={"rows": 7, "spellcheck": "false"}),
        help_text="One on each line, with a description behind a colon if wanted: “refund: wants the money back”.")
    fields_schema = forms.CharField(
        label="Fields", widget=forms.Textarea(attrs={"rows": 14, "class": "mono", "spellcheck": "false"}),
        help_text="A JSON schema of type object. A field is a string, number, integer, boolean, a list to choose from "
                  "(“enum”), an array of those, or an object of those.")
    guidance = forms.CharField(
        required=False, label="What is a good answer?", widget=forms.Textarea(attrs={"rows": 3}))
    max_chars = forms.IntegerField(
        required=False, min_value=1, max_value=MAX_ANSWER_CHARS, label="Characters at most", initial=2000)
    allow_tie = forms.BooleanField(required=False, initial=True, label="People may say that neither answer is better")
    instructions = forms.CharField(
        required=False, label="Guideline", widget=forms.Textarea(attrs={"rows": 9}),
        help_text="What annotators and the prompt are told. It can be changed later; every version is kept.")
    target = forms.IntegerField(min_value=1, max_value=99, initial=80, label="Target, per cent")

    OF_TYPE = {"extraction": ("fields_schema",), "preference": ("allow_tie",), "response": ("guidance", "max_chars"),
               "chat": ("guidance", "max_chars")}

    def __init__(self, *args: Any, task_type: str, schema: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """schema: one to begin with."""
        super().__init__(*args, **kwargs)
        self.task_type, self.metric = task_type, METRICS[task_type]
        mine = self.OF_TYPE.get(task_type, ("labels",))
        for name in {"labels", *(name for names in self.OF_TYPE.values() for name in names)} - set(mine):
            del self.fields[name]
        self.fields["target"].initial = TARGETS.get(self.metric, 80)
        self.fields["target"].help_text = (
            f"The {Project.Metric(self.metric).label} on held-out examples from which a model is good enough.")
        self.initial.update(_initial(schema or {"json_schema": EXAMPLE_FIELDS}, mine))

    @property
    def project(self) -> dict[str, Any]:
        """What `create_project` wants, once the form is valid."""
        given = self.cleaned_data
        return {"name": given["name"], "task_type": self.task_type, "schema": given["schema"],
                "instructions": given["instructions"], "target_value": given["target"] / 100}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        try:
            values["schema"] = self._schema(values)
            validate_schema(values["schema"], self.task_type)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return values

    def _schema(self, values: dict[str, Any]) -> dict[str, Any]:
        """Raises ValueError for fields that are no JSON."""
        if "labels" in self.fields:
            lines = [line.partition(": ") for line in values["labels"].splitlines() if line.strip()]
            return {"labels": [{"name": name.strip().removesuffix(":"), "description": description.strip()}
                               for name, _, description in lines]}
        if "fields_schema" in self.fields:
            return {"json_schema": parse_strict(values["fields_schema"])}
        return {name: values[name] for name in self.OF_TYPE[self.task_type] if values[name] not in ("", None)}


def _initial(schema: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The schema as the form's fields show it."""
    shown = {name: schema[name] for name in names if name in schema}
    if "labels" in shown:
        shown["labels"] = "\n".join(": ".join(filter(None, (label["name"], label["description"])))
                                    for label in schema["labels"])
    if "fields_schema" in names:
        shown["fields_schema"] = json.dumps(schema["json_schema"], ensure_ascii=False, indent=2)
    return shown
