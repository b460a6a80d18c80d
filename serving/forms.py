from typing import Any

from django import forms

from serving.models import ServingRules, WatchPlan


class ServingRulesForm(forms.ModelForm):
    """Limits of the gateway, and what is kept of requests."""

    class Meta:
        model = ServingRules
        fields = ["sample_share", "masks", "retention_days", "key_limit", "project_limit"]
        labels = {
            "sample_share": "Share of answered requests that is kept with its words",
            "masks": "Cover what looks like personal data before it is kept",
            "retention_days": "Days until the words are deleted", "key_limit": "Requests a minute with one key",
            "project_limit": "Requests a minute with all keys together"}
        help_texts = {
            "sample_share": "From 0 to 1. All are counted, whatever is kept.",
            "masks": "E-mail addresses, phone numbers, IBANs and card numbers, by their patterns. Names and addresses "
                     "have no pattern and stay.",
            "retention_days": "A shorter time counts at once for what is kept already.",
            "key_limit": "What comes above is refused and told when to come again.", "project_limit": ""}

    @property
    def values(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self._meta.fields or ()}


class WatchPlanForm(forms.ModelForm):
    """How often people look at what serves, how closely, and below which score it is a drop."""

    reason = forms.CharField(max_length=500, label="Why is it watched otherwise from now on?",
                             help_text="It stays with the plan and in the audit log.",
                             widget=forms.Textarea(attrs={"rows": 2}))

    class Meta:
        model = WatchPlan
        fields = ["cadence", "labels", "uniform_share", "floor", "retrain_weeks", "is_on"]
        labels = {
            "cadence": "How often people look", "labels": "Examples to label at every look",
            "uniform_share": "Share of them drawn at random", "floor": "Floor",
            "retrain_weeks": "Weeks after which a training is proposed", "is_on": "Watch this project"}
        help_texts = {
            "cadence": "Another cadence begins the evidence anew.",
            "labels": "Dev and test examples among them are asked three times. More labels keep the evidence.",
            "uniform_share": "From 0.3 to 1. Only these feed the alarm; the others go to what looks new, unsure or was "
                             "disliked.",
            "floor": "From 0.05 to 0.99. Empty: your target, or what the evaluation surely showed, whichever is more. "
                     "Another floor begins the evidence anew.",
            "retrain_weeks": "Slow decay is found by the calendar about as soon as by the alarm.",
            "is_on": "Off: nothing is drawn, and nobody is told if accuracy falls."}

    def __init__(self, *args: Any, default_floor: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if default_floor is not None:
            self.fields["floor"].widget.attrs["placeholder"] = f"{default_floor:.3f}"
        self.before = {name: getattr(self.instance, name) for name in self._meta.fields or ()}

    @property
    def values(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self._meta.fields or ()}

    @property
    def asked(self) -> dict[str, Any]:
        """The values that are valid, those of the plan in place of the others: what advice is about."""
        given = getattr(self, "cleaned_data", {}) if self.is_bound else {}
        return {**self.before, **{name: given[name] for name in self.before if name in given}}


class DecisionForm(forms.Form):
    """An admin's word on a proposal to train again."""

    verdict = forms.ChoiceField(choices=[("approve", "Approve"), ("decline", "Decline")], widget=forms.HiddenInput,
                                required=True)
    reason = forms.CharField(max_length=2000, required=False, label="Reason",
                             help_text="To decline, say why: in some months somebody will ask.",
                             widget=forms.Textarea(attrs={"rows": 3}))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("verdict") == "decline" and not values.get("reason", "").strip():
            self.add_error("reason", "Write down why not.")
        return values
