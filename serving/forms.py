from typing import Any

from django import forms

from projects.errors import UserError
from projects.wording import interval_words, percent_words
from serving.models import Experiment, ServingRules, WatchPlan
from serving.services.experiments import SAME, Asked, Challenger, size_of
from serving.services.planning import Facts
from stats.experiment import Size
from stats.intervals import Interval


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


class ABTestForm(forms.Form):
    """What an A/B test compares, and what it is planned from. Shares are asked for in per cent.

    size: how large it has to be, once the form is valid.
    """

    size: Size | None = None

    challenger = forms.ChoiceField(label="What is tried against the champion")
    outcome = forms.ChoiceField(
        choices=[("thumb", "Thumbs up"), ("value", "An outcome that you send as a number"),
                 ("correction_free", "Nobody corrects an answer within 24 hours")],
        label="What says which is better", initial="thumb",
        help_text="One outcome decides, chosen before the start. It comes as feedback on the answers.")
    share = forms.FloatField(
        min_value=1, max_value=99, initial=50, label="Users that get the challenger, per cent",
        help_text="Half learns fastest; fewer risk less.")
    base = forms.FloatField(min_value=0.1, max_value=99.9, label="The champion's share of good outcomes, per cent")
    difference = forms.FloatField(
        min_value=-99, max_value=99, label="Smallest difference that matters, points",
        help_text="A smaller one may stay unseen. Half of it takes four times as many users.")
    feedback_rate = forms.FloatField(min_value=0.01, max_value=100, label="Users that give feedback, per cent")
    units_a_week = forms.FloatField(min_value=1, max_value=1e9, label="Users or threads a week")
    engine = forms.ChoiceField(
        choices=Experiment.Engine.choices, initial=Experiment.Engine.planned_looks, widget=forms.RadioSelect,
        label="What decides")
    is_cheaper = forms.BooleanField(
        required=False, label="The challenger is cheaper: ship it too if it is hardly worse",
        help_text="This is looked at when the test ends at its full size.")
    margin = forms.FloatField(min_value=0, max_value=50, initial=1, label="How much worse it may be then, points")
    cap = forms.FloatField(min_value=1e-9, max_value=1e12, initial=1, label="An outcome's value that counts as 1",
                           help_text="More counts as no better, less than 0 as 0. For outcomes sent as numbers.")
    slow_seconds = forms.FloatField(
        min_value=0.01, max_value=3600, label="An answer is slow after, seconds",
        help_text="More slow answers than the champion's end the test. Prefilled with what 95 of 100 answers take now.")

    def __init__(self, *args: Any, challengers: list[Challenger], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["challenger"].choices = [  # type: ignore[attr-defined]
            *((one.name, one.title) for one in challengers),
            (SAME, "the champion itself (A/A: tries the machinery, and measures what a plan needs)")]

    def say_what_is_measured(self, facts: Facts) -> None:
        """Beside the fields that a plan rests on, with intervals."""
        guess = "Not measured yet: a guess."
        rate = f"{guess} With thumbs it is a few per cent, and it decides everything."
        base = guess if facts.base is None else f"Measured: {_measured(facts.base)}."
        if self["outcome"].value() == Experiment.Outcome.correction_free:
            rate = "Everybody: who corrects nothing counts, too."
        elif facts.rate is not None:
            of = "users" if facts.has_units else "answers; of users it is more"
            rate = f"Measured: {_measured(facts.rate)}, of {of}."
        a_week = "Counted in the last test." if facts.has_units else (
            f"{facts.a_week:,.0f} requests were answered in the last 7 days. One user asks several times, so say fewer "
            "if you know.")
        for name, words in (("base", base), ("feedback_rate", rate), ("units_a_week", a_week)):
            self.fields[name].help_text = words

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not self.errors:
            try:
                self.size = size_of(self.asked)
            except UserError as error:
                raise forms.ValidationError(str(error)) from None
        return values

    @property
    def asked(self) -> Asked:
        given = self.cleaned_data
        return Asked(given["outcome"], given["base"] / 100, given["difference"] / 100, given["feedback_rate"] / 100,
                     given["units_a_week"], given["share"] / 100, given["cap"])

    @property
    def plan(self) -> dict[str, Any]:
        """What `start_experiment` wants, once the form is valid."""
        given = self.cleaned_data
        return {"challenger": given["challenger"], "is_aa": given["challenger"] == SAME, "asked": self.asked,
                "engine": given["engine"], "is_cheaper": given["is_cheaper"], "margin": given["margin"] / 100,
                "slow_seconds": given["slow_seconds"]}


def _measured(share: Interval) -> str:
    return f"{percent_words(share.estimate)} ({interval_words(share)})"


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=1000, label="Why?", widget=forms.TextInput())


class ShadowForm(forms.Form):
    challenger = forms.CharField(max_length=40)
    n = forms.IntegerField(min_value=1, max_value=2000, initial=200)


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
