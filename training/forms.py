from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import MaxValueValidator, MinValueValidator

from curation.models import ExperimentArm
from projects.wording import duration_words
from training.config import METHODS, RATES, TrainingConfig, config_from_json
from training.elsewhere import RESULT_FILES
from training.models import Price, ProjectEconomics, PromptVersion, Quote, Run
from training.prompts import TEXT
from training.services.arms import MAX_SEEDS, MIN_SEEDS, default_steps
from training.services.baseline import ArmOffer
from training.services.executors import Executor, offered
from training.services.prices import prices
from training.services.quotes import RecipeLine
from training.services.written_prompts import MAX_CHARS, Words
from training.slices import KINDS

# field of TrainingConfig → its label and what it does, in the order of the page
KNOBS = {
    "method": ("Method", "Full fine-tuning trains all weights, for comparison with LoRA: more memory and disk, and its "
               "result cannot be promoted. DPO is for preferences: the model learns to write the better answer."),
    "epochs": ("Passes over the rows", "After each the dev rows are scored, and the best pass is kept."),
    "batch_size": ("Rows per step", ""),
    "learning_rate": ("Learning rate", f"Left empty: {RATES['lora']:g} for LoRA, {RATES['full']:.5f} for the "
                      "other methods. Too high and the loss jumps; too low and little is learned."),
    "warmup_share": ("Warm-up share", "The share of all steps in which the learning rate rises from 0."),
    "r": ("Rank of LoRA", "How much the adapter can learn, and how large it is."),
    "alpha": ("Alpha of LoRA", "How strongly the adapter counts: alpha by rank."),
    "dropout": ("Dropout", ""),
    "max_tokens": ("Longest row, in tokens", "Longer rows are refused and named, never cut."),
    "dev_rows": ("Dev rows scored per pass", "At most so many."),
    "dev_answers": ("Dev rows answered per pass", "Only where answers are written: so many are judged by the project's "
                    "metric to choose the pass, which takes seconds each; 0 chooses by the loss on dev."),
    "weight_bits": ("Bits of the base model's weights", "16, or 4 for QLoRA: the weights take about a quarter of the "
                    "memory, it is slower, and it needs a GPU of NVIDIA's."),
    "search_seeds": ("Seeds of a search", "0 trains once. Otherwise three learning rates are trained, and the best of "
                     "them with so many seeds; chosen on dev."),
    "checkpoint_steps": ("Steps between checkpoints", "A run that was cut off goes on from the last one."),
    "seed": ("Seed", "Another seed moves the result a little."),
    "threads": ("Threads", "Of this machine, while it trains."),
}
TYPES = {field.name: field.type for field in fields(TrainingConfig)}


def knob(name: str) -> forms.Field:
    """The field of a setting of TrainingConfig, with its default."""
    label, help_text = KNOBS[name]
    if name == "method":
        return forms.ChoiceField(label=label, help_text=help_text, required=False, choices=METHODS.items(),
                                 initial=TrainingConfig.method)
    if name == "learning_rate":
        return forms.FloatField(label=label, help_text=help_text, required=False)
    kind = forms.IntegerField if TYPES[name] is int else forms.FloatField
    default = TrainingConfig(threads=settings.GOLDPAN_THREADS)
    return kind(label=label, help_text=help_text, initial=getattr(default, name))


def checked_config(form: forms.Form, values: dict[str, Any]) -> dict[str, Any]:
    """The settings among the form's values; one that is out of range gets its error."""
    config = {name: values[name] for name in KNOBS if values.get(name, "") not in (None, "")}
    try:
        config_from_json(config)
    except ValueError as error:
        name, _, words = str(error).partition(" ")
        form.add_error(name, f"This {words}.")
    return config


class TrainingForm(forms.Form):
    """A training run's settings, all with defaults: what a quote is made for.

    recipes: what may be chosen in place of single settings; a recipe's values count before those of the fields.
    """

    OWN = "own"

    def __init__(self, *args: Any, recipes: Sequence[RecipeLine] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update({name: knob(name) for name in KNOBS})
        self.recipes = {line.recipe.name: line.recipe for line in recipes}
        if recipes:
            self.fields["recipe"] = forms.ChoiceField(
                label="How thoroughly?", required=False, widget=forms.RadioSelect,
                choices=[*((line.recipe.name, line.words) for line in recipes),
                         (self.OWN, "My own settings, from the advanced ones below")])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        recipe = self.recipes.get(values.pop("recipe", ""))
        method = values.get("method") or TrainingConfig.method
        return checked_config(self, values | (recipe.config_for(method) if recipe else {}))

    @property
    def knobs(self) -> list[forms.BoundField]:
        return [self[name] for name in KNOBS if name in self.fields]


class CapForm(forms.Form):
    """Where a run stops."""

    cap_minutes = forms.FloatField(label="Stop after, in minutes", min_value=0.1)

    @property
    def seconds(self) -> float:
        return float(60 * self.cleaned_data["cap_minutes"])


def reason_field() -> forms.CharField:
    return forms.CharField(
        max_length=2000, label="Why train all the same?",
        help_text="It stays with the run, its model card and the audit log.", widget=forms.Textarea(attrs={"rows": 3}))


class StartForm(forms.Form):
    """The start of a quoted training: where on this machine, its cap, and a written reason where the gate objects."""

    override_reason = reason_field()
    executor = forms.ChoiceField(label="How it is trained", required=False, help_text="The quote is for one process; "
                                 "several share its steps, so they take less.")
    cap_minutes = forms.FloatField(label="Stop after, in minutes", min_value=0.1, required=False)
    cap_money = forms.FloatField(label="Stop at, in money", min_value=0.01, required=False)

    def __init__(self, *args: Any, needs_reason: bool, quote: Quote | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not needs_reason:
            del self.fields["override_reason"]
        self.places = [name for name in offered() if name in Run.HERE]
        _offer(self.fields["executor"], self.places)
        if len(self.places) < 2:
            del self.fields["executor"]
        if quote is not None:
            self.fields["cap_minutes"].help_text = (
                f"Left empty: {duration_words(quote.cap_seconds)}, half as much again as the quote's upper end.")
        if quote is None or quote.machine is None:
            del self.fields["cap_money"]
        else:
            self.fields["cap_money"].help_text = f"In {quote.currency}. Whichever comes first stops it."

    @property
    def reason(self) -> forms.BoundField | None:
        return self["override_reason"] if "override_reason" in self.fields else None

    @property
    def choices(self) -> list[forms.BoundField]:
        return [self[name] for name in ("executor", "cap_minutes", "cap_money") if name in self.fields]

    @property
    def asked(self) -> dict[str, Any]:
        """As `start_training` wants it."""
        given, minutes = self.cleaned_data, self.cleaned_data.get("cap_minutes")
        return {"override_reason": given.get("override_reason", ""), "cap_money": given.get("cap_money"),
                "cap_seconds": None if minutes is None else 60 * minutes,
                "executor": given.get("executor") or next(iter(self.places), "local")}


class ElsewhereForm(TrainingForm):
    """The start of a training on another machine, about which a quote of this one says nothing."""

    override_reason = reason_field()
    executor = forms.ChoiceField(label="Where it is trained", help_text="Each place ends in the same evaluation here.")
    cap_minutes = forms.FloatField(label="Stop after, in minutes", min_value=0.1, required=False,
                                   help_text="Left empty: it has no cap.")

    def __init__(self, *args: Any, needs_reason: bool, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="elsewhere_%s", **kwargs)
        for name in ("search_seeds", "method"):  # a search is several trainings, full fine-tuning no adapter: both here
            del self.fields[name]
        if not needs_reason:
            del self.fields["override_reason"]
        _offer(self.fields["executor"], [name for name in offered() if name not in Run.HERE])

    def clean(self) -> dict[str, Any]:
        """The arguments of `start_training`."""
        minutes = self.cleaned_data.get("cap_minutes")
        given = {name: self.cleaned_data.get(name, "") for name in ("override_reason", "executor")}
        return {**given, "cap_seconds": None if minutes is None else 60 * minutes, "config": super().clean()}

    @property
    def places(self) -> list[Executor]:
        """What the page says of each place, in the order of the choice."""
        return [place for name, place in offered().items() if name not in Run.HERE]

    @property
    def has_knob_errors(self) -> bool:
        return any(name in self.errors for name in KNOBS)


def _offer(field: forms.Field, places: Sequence[str]) -> None:
    """Let a choice be among these executors, the first unless somebody says otherwise."""
    assert isinstance(field, forms.ChoiceField)
    field.choices = [(name, offered()[name].label) for name in places]
    field.initial = next(iter(places), "")


class EconomicsForm(forms.ModelForm):
    """What answers are worth and cost. Nothing is required, nothing has a default; shares are asked for in per cent."""

    SHARES = ("realised", "realised_low", "realised_high", "cached_share", "cached_discount")
    MAIN = ("requests", "months", "value", "machine")
    FOLDS = (
        ("Not sure? Say a range", ("requests_low", "requests_high", "value_low", "value_high", "realised",
                                   "realised_low", "realised_high")),
        ("What the prompt costs", ("prompt_price", "tokens_in", "tokens_out", "cached_share", "cached_discount")),
        ("What the trained model costs", ("hosting", "retrainings", "trained_price", "trained_tokens_in",
                                          "label_price")))
    RANGES = (("requests", "requests"), ("value", "worth"), ("realised", "share"))

    class Meta:
        model = ProjectEconomics
        exclude = ("project", "currency", "created_by")
        labels = {
            "requests": "Requests a month", "requests_low": "Requests a month, at least",
            "requests_high": "Requests a month, at most", "months": "Months of use",
            "value": "Worth of a right answer", "value_low": "Worth, at least", "value_high": "Worth, at most",
            "realised": "What arrives of it, per cent", "realised_low": "What arrives, at least",
            "realised_high": "What arrives, at most", "machine": "This machine",
            "prompt_price": "Model that the prompt asks",
            "trained_price": "Model that is trained, by tokens", "tokens_in": "Tokens read for an answer",
            "tokens_out": "Tokens written for an answer", "trained_tokens_in": "Tokens the trained model reads",
            "cached_share": "Of them from a cache, per cent", "cached_discount": "Which are cheaper by, per cent",
            "hosting": "Hosting the trained model, a month", "retrainings": "Retrainings a year",
            "label_price": "Price of one label"}
        help_texts = {
            "requests": "that the prompt or the model answers", "requests_low": "", "requests_high": "",
            "months": "before something else takes its place", "value_low": "", "value_high": "",
            "value": "in place of a wrong one: what a mistake costs you", "realised_low": "", "realised_high": "",
            "realised": "100 where every right answer saves what it is worth",
            "machine": "what its hour costs turns time into money", "prompt_price": "", "trained_price": "",
            "tokens_in": "empty: as measured by the baseline", "tokens_out": "empty: as in the training rows",
            "trained_tokens_in": "empty: as in the training rows", "cached_share": "", "cached_discount": "",
            "hosting": "of a machine that waits, too", "retrainings": "each costs what one training costs",
            "label_price": "empty: measured time times the wage in the rules of labelling"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        table = prices(currency=self.instance.currency)
        for name, kind in (("machine", Price.Kind.machine), ("prompt_price", Price.Kind.tokens),
                           ("trained_price", Price.Kind.tokens)):
            rows = [row.pk for row in table if row.kind == kind]
            kept = getattr(self.instance, f"{name}_id")
            field = self.fields[name]
            field.queryset = Price.objects.filter(pk__in=[*rows, *([kept] if kept else [])])  # type: ignore[attr-defined]
            field.empty_label = "not said"  # type: ignore[attr-defined]
            field.label_from_instance = price_words  # type: ignore[attr-defined]
        for name, field in self.fields.items():
            if isinstance(field, forms.FloatField):
                if (stored := self.initial.get(name)) is not None:
                    self.initial[name] = f"{stored * (100 if name in self.SHARES else 1):.10g}"  # 20000, not 20000.0
                field.min_value = 0
                field.validators.append(MinValueValidator(0))
            if name in self.SHARES:
                field.validators.append(MaxValueValidator(100))

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MAIN]

    @property
    def folds(self) -> list[tuple[str, bool, list[forms.BoundField]]]:
        """Title, whether something is said or wrong in it, and its fields."""
        return [(title, any(self[name].value() not in (None, "") or name in self.errors for name in names),
                 [self[name] for name in names]) for title, names in self.FOLDS]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        for name, what in self.RANGES:
            low, likely, high = (values.get(f"{name}{end}") for end in ("_low", "", "_high"))
            if likely is None and (low is not None or high is not None):
                self.add_error(name, f"Say the likeliest {what} between the two ends.")
            elif likely is not None and not (likely if low is None else low) <= likely <= (
                    likely if high is None else high):
                self.add_error(name, "This has to lie between the least and the most.")
        if values.get("months") == 0:
            self.add_error("months", "This has to be above 0.")
        return values | {name: values[name] / 100 for name in self.SHARES if values.get(name) is not None}


def price_words(price: Price) -> str:
    """“H100 80 GB, rented: 2.95 USD an hour (since 2026-11-26)”."""
    costs = (f"{price.per_hour:g} {price.currency} an hour" if price.kind == Price.Kind.machine else
             f"{price.per_million_in:g} and {price.per_million_out:g} {price.currency} a million tokens read and "
             "written")
    return f"{price.name}: {costs} (since {price.since})"


class PriceForm(forms.ModelForm):
    """A new row of the price table."""

    class Meta:
        model = Price
        fields = ("kind", "name", "currency", "per_hour", "memory_gb", "teraflops", "per_million_in",
                  "per_million_out", "since", "source")
        labels = {"kind": "What is it?", "per_hour": "Price an hour", "memory_gb": "Memory of its GPU, GB",
                  "teraflops": "Teraflops of its GPU", "per_million_in": "Price of a million tokens read",
                  "per_million_out": "Price of a million tokens written", "since": "Since", "source": "Where it stands"}
        help_texts = {"per_hour": "for a machine", "memory_gb": "for advice whether a training fits",
                      "teraflops": "peak in 16 bits, dense: for advice how long it takes",
                      "per_million_in": "for a model", "per_million_out": "for a model",
                      "since": "from when it holds, or the day you saw it",
                      "source": "a bill, a contract, an address: so that others can check it",
                      "name": "a row of the same name replaces the earlier one", "currency": "three letters"}
        widgets = {"since": forms.DateInput(attrs={"type": "date"})}

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if len(currency) != 3 or not currency.isalpha():
            raise forms.ValidationError("Three letters, such as EUR or USD.")
        return currency

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        needed = (("per_hour",) if values.get("kind") == Price.Kind.machine else
                  ("per_million_in", "per_million_out"))
        for name in needed:
            if name not in self.errors and values.get(name) is None:
                self.add_error(name, "This is what the row is for.")
        for name in ("per_hour", "memory_gb", "teraflops", "per_million_in", "per_million_out"):
            if (values.get(name) or 0) < 0:
                self.add_error(name, "This cannot be below 0.")
        return values


class SeveralFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """A list of uploaded files, each checked like a single one."""

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        return [super(SeveralFilesField, self).clean(file, initial) for file in data or [None]]


class ResultForm(forms.Form):
    files = SeveralFilesField(  # type: ignore[assignment]  # django-stubs takes it for the form's own files
        label="The files of the folder result/", widget=SeveralFilesInput,
        help_text=f"All {len(RESULT_FILES)}, marked together: {', '.join(RESULT_FILES)}.")
    paths = [f"result/{name}" for name in RESULT_FILES]


class ArmsForm(forms.Form):
    """Which arms the language model learns, how often, and what “the same budget” means; all of it has a default."""

    ADVANCED = [name for name in KNOBS if name not in ("epochs", "seed", "dev_rows")]
    BUDGETS = [("steps", "As many optimiser steps for every arm"),
               ("passes", "As many passes over each arm's own rows")]

    arms = forms.TypedMultipleChoiceField(coerce=int, label="Arms", widget=forms.CheckboxSelectMultiple,
                                          error_messages={"required": "Choose at least 2 arms."})
    n_seeds = forms.IntegerField(label="Seeds", min_value=MIN_SEEDS, max_value=MAX_SEEDS, initial=MIN_SEEDS,
                                 help_text="Every arm is learned once with each; where its rows are drawn, from "
                                           "another draw. Two trainings on the same rows differ: this shows by how "
                                           "much.")
    budget = forms.ChoiceField(label="The same budget", choices=BUDGETS, initial="steps", widget=forms.RadioSelect,
                               help_text="Steps are the honest one: a small arm is read more often, and no arm wins by "
                                         "being trained longer. With passes a larger arm gets more training.")
    steps = forms.IntegerField(label="Steps", min_value=1, max_value=100_000,
                               help_text="Of every training. The default reads the largest arm once, and takes at "
                                         "least 60.")

    def __init__(self, *args: Any, arms: Sequence[ExperimentArm], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["arms"]
        assert isinstance(choices, forms.TypedMultipleChoiceField)
        choices.choices = [(arm.position, arm.name) for arm in arms]
        choices.initial = [arm.position for arm in arms]
        self.fields["epochs"] = knob("epochs")
        self.fields["epochs"].label, self.fields["epochs"].help_text = "Passes", "If the budget is in passes."
        self.fields.update({name: knob(name) for name in self.ADVANCED})
        self.fields["steps"].initial = default_steps(arms, TrainingConfig.batch_size)

    def clean_arms(self) -> list[int]:
        chosen: list[int] = self.cleaned_data["arms"]
        if len(chosen) < 2:
            raise forms.ValidationError("Choose at least 2 arms: one alone is held against nothing.")
        return chosen

    def clean(self) -> dict[str, Any]:
        """The arguments of `plan_of`."""
        values = super().clean() or {}
        return {"positions": values.get("arms", []), "n_seeds": values.get("n_seeds"),
                "steps": values.get("steps") if values.get("budget") == "steps" else None,
                "config": checked_config(self, values)}

    @property
    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name in self.ADVANCED]

    @property
    def has_advanced_errors(self) -> bool:
        return any(name in self.errors for name in self.ADVANCED)


class BaselineForm(forms.Form):
    """Which prompts the baseline tries; without the field, those that it tries by default."""

    arms = forms.MultipleChoiceField(required=False)

    def __init__(self, *args: Any, offers: Sequence[ArmOffer], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.MultipleChoiceField, self.fields["arms"]).choices = [(offer.key, offer.name) for offer in offers]


class PromptForm(forms.Form):
    """A prompt in somebody's own words; a change says what changed, a new one has a name."""

    name = forms.CharField(max_length=60, label="Name", help_text="What it tries, in a few words: “with edge cases”.")
    system = forms.CharField(
        max_length=MAX_CHARS, required=False, strip=False, label="System message", widget=forms.Textarea(
            attrs={"rows": 12, "data-key": "t", "data-key-label": "Write in the system message"}),
        help_text="What the model is told once: what counts as what, edge cases, and how it has to answer.")
    instruction = forms.CharField(
        max_length=MAX_CHARS, strip=False, label="Question", widget=forms.Textarea(attrs={"rows": 3}),
        help_text=f"What it is asked about each text, which goes where {TEXT} stands. Often that is all of it.")
    examples = forms.ChoiceField(
        choices=PromptVersion.Examples.choices, widget=forms.RadioSelect, label="Solved examples",
        help_text="Training rows of the snapshot it is tried on, never one that nearly repeats a held-out row.")
    note = forms.CharField(max_length=500, label="What changed, and why?", widget=forms.Textarea(attrs={"rows": 2}),
                           help_text="Whoever compares the versions reads it.")

    def __init__(self, *args: Any, is_new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["note" if is_new else "name"]

    @property
    def words(self) -> Words:
        given = self.cleaned_data
        return Words(given["system"], given["instruction"], PromptVersion.Examples(given["examples"]))

    def clean_instruction(self) -> str:
        text = str(self.cleaned_data["instruction"])
        if text.count(TEXT) != 1:
            raise forms.ValidationError(f"Say {TEXT} once, where the text goes; here it stands {text.count(TEXT)} "
                                        "times.")
        return text


class PromotionForm(forms.Form):
    override_reason = forms.CharField(
        max_length=2000, label="Why promote it all the same?",
        help_text="It is written into the audit log.", widget=forms.Textarea(attrs={"rows": 3}))


class RollBackForm(forms.Form):
    reason = forms.CharField(max_length=2000, label="Why should it be the champion again?",
                             help_text="It is written into the audit log.", widget=forms.Textarea(attrs={"rows": 3}))


class CriticalForm(forms.Form):
    """On which kinds of parts of the test rows an adapter may not be worse."""

    kinds = forms.MultipleChoiceField(choices=list(KINDS.items()), required=False, widget=forms.CheckboxSelectMultiple,
                                      label="An adapter may not be shown to be worse on a part by")
