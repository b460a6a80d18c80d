from typing import Any

from django import forms

from curation.models import Approval, Decision, GoldSet


class DecisionForm(forms.Form):
    """A decision as the review page sends it; a label's own button sends `value` and needs no verdict."""

    score = forms.IntegerField(min_value=1)
    seen = forms.IntegerField(min_value=0)
    verdict = forms.ChoiceField(choices=Decision.Verdict.choices, required=False)
    value = forms.CharField(max_length=100, required=False, strip=False)
    other = forms.CharField(max_length=100, required=False, strip=False)
    reason = forms.CharField(max_length=2000, required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("value"):
            values["verdict"] = Decision.Verdict.relabel
        elif values.get("verdict") == Decision.Verdict.relabel:
            values["value"] = values.get("other", "")
        if not values.get("verdict"):
            raise forms.ValidationError("Say what to do with the example: keep, relabel, exclude or discuss.")
        if values["verdict"] == Decision.Verdict.discuss and not values.get("reason"):
            raise forms.ValidationError("Say in a few words what is to be discussed; whoever settles it will read it.")
        return values


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=2000, label="What is to be discussed?", help_text="Whoever settles it reads this.",
        widget=forms.Textarea(attrs={"rows": 3, "data-autofocus": ""}))


class GoldRuleForm(forms.ModelForm):
    class Meta:
        model = GoldSet
        fields = ["size", "min_quality", "min_per_label", "seed", "allow_flagged"]
        labels = {
            "size": "Examples wanted", "min_quality": "Lowest quality", "min_per_label": "At least per label",
            "seed": "Seed of the draw", "allow_flagged": "Take undecided examples that look wrong, too"}
        widgets = {
            "size": forms.NumberInput(attrs={"min": 1, "max": 100_000, "inputmode": "numeric"}),
            "min_quality": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.05, "inputmode": "decimal"}),
            "min_per_label": forms.NumberInput(attrs={"min": 0, "max": 100_000, "inputmode": "numeric"}),
            "seed": forms.NumberInput(attrs={"min": 0, "max": 99_999, "inputmode": "numeric"}),
        }
        help_texts = {"allow_flagged": ""}

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
        help_text="What you looked at, or what has to change. It stays with the snapshot.")
    decision = forms.ChoiceField(choices=Approval.Choice.choices)
