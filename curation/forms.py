from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.forms.models import model_to_dict
from django.http import QueryDict

from curation.models import Approval, BulkDecision, Decision, DuplicateAction, DuplicateCluster, Flag, GoldSet
from curation.next_labels import CAP
from curation.services.adaptive import MOST
from curation.services.bulk_decisions import Seen
from curation.services.gold_sets import missing_batches
from curation.services.queue import ORDERS, STATES, VIEWS, Filter, names_of
from labeling.forms import SPLITS
from labeling.services.batches import MAX_LABELS
from projects.models import Project
from projects.schema import MAX_ANSWER_CHARS
from projects.services.guidelines import MAX_CHARS, MAX_NOTE_CHARS, ruled_labels


class DecisionForm(forms.Form):
    """A decision as the review page sends it; a label's own button sends `value` and needs no verdict.

    other: a label from the list of all, or an answer as somebody wrote it. labels: the set of labels that was ticked.
    """

    score = forms.IntegerField(min_value=1)
    seen = forms.IntegerField(min_value=0)
    verdict = forms.ChoiceField(choices=Decision.Verdict.choices, required=False)
    value = forms.CharField(max_length=MAX_ANSWER_CHARS, required=False, strip=False)
    other = forms.CharField(max_length=MAX_ANSWER_CHARS, required=False, strip=False)
    labels = forms.Field(required=False, widget=forms.SelectMultiple)
    reason = forms.CharField(max_length=2000, required=False)
    asked = forms.IntegerField(min_value=1, required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("value"):
            values["verdict"] = Decision.Verdict.relabel
        elif values.get("verdict") == Decision.Verdict.relabel:
            values["value"] = values.get("other") or "\n".join(values.get("labels") or ())
        if not values.get("verdict"):
            raise forms.ValidationError("Say what to do with the example: keep, relabel, exclude or discuss.")
        if values["verdict"] == Decision.Verdict.discuss and not values.get("reason"):
            raise forms.ValidationError("Say in a few words what is to be discussed; whoever settles it will read it.")
        return values


class ReasonForm(forms.Form):
    """What opens a discussion; people: who may be asked."""

    reason = forms.CharField(
        max_length=2000, label="What is to be discussed?", help_text="Whoever settles it reads this.",
        widget=forms.Textarea(attrs={"rows": 3, "data-autofocus": ""}))
    asked = forms.ModelChoiceField(User.objects.none(), required=False, label="Who is asked?", empty_label="anybody")

    def __init__(self, *args: Any, people: QuerySet[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["asked"].queryset = people  # type: ignore[attr-defined]


class MessageForm(ReasonForm):
    """Something said in a discussion."""

    reason = None  # type: ignore[assignment]
    score = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    text = forms.CharField(max_length=4000, label="Say something", widget=forms.Textarea(
        attrs={"rows": 2, "data-key": "m", "data-key-label": "Write in the discussion"}))
    asked = forms.ModelChoiceField(User.objects.none(), required=False, label="Ask", empty_label="nobody else")
    field_order = ["text", "asked"]


class QueueFilterForm(forms.Form):
    """The filter of the review queue as fields; their names are those of the address."""

    q = forms.CharField(required=False, label="Text", widget=forms.TextInput(attrs={
        "type": "search", "placeholder": "words in the text"}))
    view = forms.ChoiceField(choices=list(VIEWS.items()), label="View")
    flag = forms.ChoiceField(choices=[("", "any or none"), *Flag.Kind.choices], required=False, label="Flag")
    label = forms.ChoiceField(required=False, label="Given label")
    predicted = forms.ChoiceField(required=False, label="Suggested label")
    annotator = forms.ChoiceField(required=False, label="Answered by")
    state = forms.ChoiceField(choices=list(STATES.items()), label="Settled?")
    split = forms.ChoiceField(choices=SPLITS, label="Split")
    order = forms.ChoiceField(choices=list(ORDERS.items()), label="Order")
    cluster = forms.IntegerField(required=False, widget=forms.HiddenInput)
    selection = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, filter_: Filter, *, project: Project, names: Mapping[int, str]) -> None:
        super().__init__(initial={name: "" if value is None else value for name, value in asdict(filter_).items()})
        labels = names_of(project)
        for name in ("label", "predicted"):
            if labels:
                self._choose(name, [(label, label) for label in labels])
            else:
                del self.fields[name]
        self._choose("annotator", [(str(pk), name) for pk, name in names.items()])
        for name, is_open in (("cluster", filter_.cluster is None), ("selection", not filter_.selection)):
            if is_open:
                del self.fields[name]

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name].choices = [("", "any"), *choices]  # type: ignore[attr-defined]


class SavedViewForm(forms.Form):
    name = forms.CharField(max_length=60, label="Name of this view")
    is_shared = forms.BooleanField(required=False, label="Everybody who reviews here sees it")


class BulkForm(forms.Form):
    """One decision about all examples of a filter, and what had been seen of them."""

    action = forms.ChoiceField(choices=[pair for pair in BulkDecision.Action.choices if pair[0] != "undo"])
    value = forms.CharField(max_length=MAX_ANSWER_CHARS, required=False, strip=False)
    reason = forms.CharField(max_length=2000, required=False)
    report = forms.IntegerField(min_value=1)
    decision = forms.IntegerField(min_value=0)
    annotation = forms.IntegerField(min_value=0)
    n = forms.IntegerField(min_value=0)
    total = forms.IntegerField(min_value=0)

    @property
    def seen(self) -> Seen:
        return Seen(**{name: self.cleaned_data[name] for name in ("report", "decision", "annotation", "n", "total")})


class NextLabelsForm(forms.Form):
    n = forms.IntegerField(min_value=1, max_value=MOST, initial=100, label="Labels to ask for")
    target = forms.FloatField(
        min_value=0.01, max_value=1, label="Sure enough",
        help_text="Between 0 and 1. An example below it gets one more answer.",
        widget=forms.NumberInput(attrs={"step": 0.05, "inputmode": "decimal"}))
    cap = forms.IntegerField(
        min_value=1, max_value=MAX_LABELS, initial=CAP, label="Answers at most",
        help_text="An example that has so many and is not sure goes to somebody who decides.")

    def __init__(self, *args: Any, default_target: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target"].initial = default_target


class WantedForm(forms.Form):
    """Which groups of duplicates a page shows; what cannot be read is left out."""

    what = forms.ChoiceField(choices=[("", "all groups"), *DuplicateCluster.What.choices], required=False)
    kind = forms.ChoiceField(choices=[("", "any"), *DuplicateCluster.Kind.choices], required=False, label="Joined by")
    lowest = forms.FloatField(
        min_value=0, max_value=1, required=False, label="Similarity from",
        widget=forms.NumberInput(attrs={"step": 0.01, "inputmode": "decimal"}))
    highest = forms.FloatField(
        min_value=0, max_value=1, required=False, label="to",
        widget=forms.NumberInput(attrs={"step": 0.01, "inputmode": "decimal"}))


class SettleDuplicatesForm(forms.Form):
    """What to do about a group; the button of a label sends `label` and needs no verdict."""

    cluster = forms.IntegerField(min_value=1)
    verdict = forms.ChoiceField(choices=DuplicateAction.Verdict.choices, required=False)
    kept = forms.IntegerField(min_value=1, required=False)
    label = forms.CharField(max_length=MAX_ANSWER_CHARS, required=False, strip=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("label"):
            values["verdict"] = DuplicateAction.Verdict.merge
        if not values.get("verdict"):
            raise forms.ValidationError("Say what to do with the group: keep one, keep all, or a label for all.")
        return values


class KeepOneForm(forms.Form):
    lowest = forms.FloatField(
        min_value=0, max_value=1, initial=1, label="Similarity from",
        widget=forms.NumberInput(attrs={"step": 0.005, "inputmode": "decimal"}))
    kind = forms.ChoiceField(choices=[("", "any"), *DuplicateCluster.Kind.choices], required=False, label="Joined by")


class GoldRuleForm(forms.ModelForm):
    """The rule; what is not sent of method and shares stays as it is."""

    KEPT = ("method", "uncertain_share", "audit_share", "favoured_share", "favoured_batches")

    favoured_batches = forms.CharField(
        required=False, label="Batches to favour", help_text="their numbers, such as 12, 15",
        widget=forms.TextInput(attrs={"inputmode": "numeric"}))

    class Meta:
        model = GoldSet
        fields = ["size", "method", "min_quality", "min_per_label", "uncertain_share", "audit_share",
                  "favoured_share", "favoured_batches", "seed", "allow_flagged"]
        labels = {
            "size": "Examples wanted", "method": "Chosen", "min_quality": "Lowest quality",
            "min_per_label": "At least per label", "uncertain_share": "Share of hard ones",
            "audit_share": "Share to check by hand", "favoured_share": "Share of favoured batches",
            "seed": "Seed of the draw", "allow_flagged": "Take undecided examples that look wrong, too"}
        widgets = {
            "size": forms.NumberInput(attrs={"min": 1, "max": 100_000, "inputmode": "numeric"}),
            "min_quality": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.05, "inputmode": "decimal"}),
            "min_per_label": forms.NumberInput(attrs={"min": 0, "max": 100_000, "inputmode": "numeric"}),
            "uncertain_share": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.05, "inputmode": "decimal"}),
            "audit_share": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.05, "inputmode": "decimal"}),
            "favoured_share": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.05, "inputmode": "decimal"}),
            "seed": forms.NumberInput(attrs={"min": 0, "max": 99_999, "inputmode": "numeric"}),
        }
        help_texts = {"allow_flagged": "", "uncertain_share": "settled by a person", "audit_share": "drawn at random",
                      "favoured_share": "such as what is new in the traffic"}

    def __init__(self, data: QueryDict | None = None, *, instance: GoldSet, stratum: str = "label",
                 is_link: bool = False) -> None:
        """stratum: what the quotas are by. is_link: data are the address's, which names only what it would change."""
        stored = model_to_dict(instance, self._meta.fields) | {
            "favoured_batches": ", ".join(map(str, instance.favoured_batches))}
        if data is not None:
            data = data.copy()
            for name in stored if is_link else self.KEPT:
                data.setdefault(name, stored[name])
        super().__init__(data, instance=instance, initial={"favoured_batches": stored["favoured_batches"]})
        self.fields["min_per_label"].label = f"At least per {stratum}"

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        shares = [values.get(name) or 0.0 for name in ("uncertain_share", "audit_share", "favoured_share")]
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            self.add_error("audit_share", f"The shares lie between 0 and 1, also together; together they are "
                                          f"{sum(shares):g}.")
        return values

    def clean_favoured_batches(self) -> list[int]:
        said = self.cleaned_data["favoured_batches"].replace(",", " ").split()
        if not all(word.isdecimal() and word.isascii() for word in said):
            raise forms.ValidationError("Write the numbers of batches, with commas between them: 12, 15.")
        numbers = sorted({int(word) for word in said})
        if numbers and (missing := missing_batches(self.instance.project, numbers)):
            raise forms.ValidationError(f"There is no batch {missing[0]} in this project.")
        return numbers

    def clean_size(self) -> int:
        size: int = self.cleaned_data["size"]
        if size < 1:
            raise forms.ValidationError("A gold set has at least 1 example.")
        return size

    def clean_min_quality(self) -> float:
        quality: float = self.cleaned_data["min_quality"]
        if not 0 <= quality <= 1:
            raise forms.ValidationError("The quality is between 0 and 1.")
        return quality


class ApprovalForm(forms.Form):
    """sha256 is the hash that the page showed, so that nobody approves what they have not seen."""

    sha256 = forms.CharField(min_length=64, max_length=64, widget=forms.HiddenInput)
    comment = forms.CharField(
        max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What you looked at; to refuse, what has to change. It stays with the snapshot.")
    decision = forms.ChoiceField(choices=Approval.Choice.choices)


class OverrideForm(forms.Form):
    """name and n: the check as the page showed it, and how many findings it had there."""

    name = forms.CharField(max_length=20)
    n = forms.IntegerField(min_value=0)
    reason = forms.CharField(max_length=2000)


class SaidForm(forms.Form):
    text = forms.CharField(max_length=2000, label="Say something", widget=forms.Textarea(attrs={"rows": 2}))


class SnapshotFileForm(forms.Form):
    file = forms.FileField(
        widget=forms.FileInput(attrs={"accept": ".jsonl"}),
        help_text="A “Snapshot file” from Goldpan, or the snapshot.jsonl of a Hugging Face folder; at most "
                  f"{settings.GOLDPAN_MAX_UPLOAD_MB} MB.")

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.GOLDPAN_MAX_UPLOAD_MB * 1_000_000:
            raise forms.ValidationError(f"The file has {file.size / 1e6:.0f} MB; at most "
                                        f"{settings.GOLDPAN_MAX_UPLOAD_MB} MB can be uploaded at once.")
        return file


class EraseForm(forms.Form):
    reason = forms.CharField(
        max_length=500, label="Why is it erased?", widget=forms.Textarea(attrs={"rows": 2}),
        help_text="For the record; without the name of whoever asked, since it stays.")
    group = forms.BooleanField(required=False)
    sure = forms.BooleanField(label="I know that this cannot be undone")

    def __init__(self, *args: Any, n_same_group: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if n_same_group:
            self.fields["group"].label = (f"and the {n_same_group:,} other example{'s' if n_same_group > 1 else ''} of "
                                          "its customer, thread or document")
        else:
            del self.fields["group"]


class SettleForm(forms.Form):
    """How an adjudicated example is settled; an answer's own button sends `answer` and needs no verdict.

    written: what somebody wrote or chose instead; names: the labels that they ticked, where there can be several.
    """

    example = forms.IntegerField(min_value=1)
    seen = forms.IntegerField(min_value=0)
    verdict = forms.ChoiceField(choices=Decision.Verdict.choices, required=False)
    answer = forms.IntegerField(min_value=1, required=False)
    written = forms.CharField(max_length=200_000, required=False, strip=False)
    names = forms.Field(required=False, widget=forms.SelectMultiple)
    cause = forms.ChoiceField(choices=Decision.Cause.choices, required=False)
    reason = forms.CharField(max_length=2000, required=False)
    asked = forms.IntegerField(min_value=1, required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("answer"):
            values["verdict"] = Decision.Verdict.relabel
        elif values.get("names"):
            values["written"] = "\n".join(values["names"])
        if values.get("verdict") == Decision.Verdict.discuss and not values.get("reason"):
            raise forms.ValidationError("Say in a few words what is to be discussed; whoever settles it will read it.")
        return values


class GuidelineForm(forms.Form):
    """A new text of the guideline and the labels whose rules it changes; `seen`: the version it was written from."""

    SCOPES = [("wording", "Nothing: it only says the same more clearly"), ("labels", "The rules of the labels below"),
              ("all", "Every rule: all labels are looked at again")]

    seen = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    text = forms.CharField(max_length=MAX_CHARS, strip=False, label="The guideline", widget=forms.Textarea(
        attrs={"rows": 16, "data-key": "t", "data-key-label": "Write in the text"}))
    note = forms.CharField(
        max_length=MAX_NOTE_CHARS, label="What changed, and why?", widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Annotators read it, and so does whoever looks at old labels again.")
    scope = forms.ChoiceField(choices=SCOPES, widget=forms.RadioSelect, label="Which labels does this change?",
                              help_text="Their examples are looked at again.")
    changed_labels = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="Labels with a new rule")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = ruled_labels(project)
        self.fields["changed_labels"].choices = [(label, label) for label in labels]  # type: ignore[attr-defined]
        if not labels:
            del self.fields["changed_labels"]
            self.fields["scope"].choices = [self.SCOPES[0], ("all", "The rules: all answers are looked at again")]  # type: ignore[attr-defined]

    @property
    def changes(self) -> dict[str, Any]:
        """What `publish_guideline` wants to know of the change."""
        given = self.cleaned_data
        return {"text": given["text"], "note": given["note"], "seen": given["seen"],
                "changes_all": given["scope"] == "all",
                "changed_labels": given.get("changed_labels", []) if given["scope"] == "labels" else []}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        chosen = values.get("changed_labels")
        if values.get("scope") == "labels" and not chosen:
            self.add_error("changed_labels", "Choose at least one label, or say above that no rule changed.")
        if chosen and values.get("scope") == "wording":
            self.add_error("scope", f"You ticked {len(chosen)} label{'s' if len(chosen) > 1 else ''} below and say "
                                    "that nothing changed. Which is it?")
        return values
