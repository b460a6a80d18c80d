from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from curation.models import ExperimentArm
from training.elsewhere import RESULT_FILES
from training.finetune import TrainingConfig
from training.models import PromptVersion
from training.prompts import TEXT
from training.services.arms import MAX_SEEDS, MIN_SEEDS, default_steps
from training.services.baseline import ArmOffer
from training.services.executors import Executor, offered
from training.services.written_prompts import MAX_CHARS, Words

# field of TrainingConfig → its label and what it does, in the order of the page
KNOBS = {
    "epochs": ("Passes over the rows", "After each the dev rows are scored, and the best pass is kept."),
    "batch_size": ("Rows per step", ""),
    "learning_rate": ("Learning rate", "Too high and the loss jumps; too low and little is learned."),
    "warmup_share": ("Warm-up share", "The share of all steps in which the learning rate rises from 0."),
    "r": ("Rank of LoRA", "How much the adapter can learn, and how large it is."),
    "alpha": ("Alpha of LoRA", "How strongly the adapter counts: alpha by rank."),
    "dropout": ("Dropout", ""),
    "max_tokens": ("Longest row, in tokens", "Longer rows are refused and named, never cut."),
    "dev_rows": ("Dev rows scored per pass", "At most so many."),
    "dev_answers": ("Dev rows answered per pass", "Only where answers are written: so many are judged by the project's "
                    "metric to choose the pass, which takes seconds each; 0 chooses by the loss on dev."),
    "checkpoint_steps": ("Steps between checkpoints", "A run that was cut off goes on from the last one."),
    "seed": ("Seed", "Another seed moves the result a little."),
    "threads": ("Threads", "Of this machine, while it trains."),
}
TYPES = {field.name: field.type for field in fields(TrainingConfig)}


def knob(name: str) -> forms.Field:
    """The field of a setting of TrainingConfig, with its default."""
    label, help_text = KNOBS[name]
    kind = forms.IntegerField if TYPES[name] is int else forms.FloatField
    default = TrainingConfig(threads=settings.GOLDPAN_THREADS)
    return kind(label=label, help_text=help_text, initial=getattr(default, name))


def checked_config(form: forms.Form, values: dict[str, Any]) -> dict[str, Any]:
    """The settings among the form's values; one that is out of range gets its error."""
    config = {name: values[name] for name in KNOBS if name in values}
    try:
        TrainingConfig(**config)
    except ValueError as error:
        name, _, words = str(error).partition(" ")
        form.add_error(name, f"This {words}.")
    return config


class TrainingForm(forms.Form):
    """A training run's settings, all with defaults; a written reason where the gate objects."""

    override_reason = forms.CharField(
        max_length=2000, label="Why train all the same?",
        help_text="It stays with the run, its model card and the audit log.", widget=forms.Textarea(attrs={"rows": 3}))

    executor = forms.ChoiceField(
        label="Where it is trained", required=False, help_text="Each place ends in the same evaluation here.")

    def __init__(self, *args: Any, needs_reason: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not needs_reason:
            del self.fields["override_reason"]
        places = offered()
        field = cast(forms.ChoiceField, self.fields["executor"])
        field.choices = [(name, place.label) for name, place in places.items()]
        field.initial = next(iter(places), "")
        self.fields.update({name: knob(name) for name in KNOBS})

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        return {"override_reason": values.get("override_reason", ""), "config": checked_config(self, values),
                "executor": values.get("executor") or self.fields["executor"].initial}

    @property
    def reason(self) -> forms.BoundField | None:
        return self["override_reason"] if "override_reason" in self.fields else None

    @property
    def places(self) -> list[Executor]:
        """What the page says of each place, in the order of the choice."""
        return list(offered().values())

    @property
    def knobs(self) -> list[forms.BoundField]:
        return [self[name] for name in KNOBS]

    @property
    def has_knob_errors(self) -> bool:
        return any(name in self.errors for name in (*KNOBS, "executor"))


class SeveralFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """A list of uploaded files, each checked like a single one."""

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        one = super()
        return [one.clean(file, initial) for file in data or [None]]


class ResultForm(forms.Form):
    files = SeveralFilesField(
        label="The files of the folder result/", widget=SeveralFilesInput,
        help_text=f"All {len(RESULT_FILES)}, marked together: {', '.join(RESULT_FILES)}.")


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
