from dataclasses import fields
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from training.elsewhere import RESULT_FILES
from training.finetune import TrainingConfig
from training.services.executors import Executor, offered

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
    "checkpoint_steps": ("Steps between checkpoints", "A run that was cut off goes on from the last one."),
    "seed": ("Seed", "Another seed moves the result a little."),
    "threads": ("Threads", "Of this machine, while it trains."),
}


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
        default = TrainingConfig(threads=settings.GOLDPAN_THREADS)
        types = {field.name: field.type for field in fields(TrainingConfig)}
        for name, (label, help_text) in KNOBS.items():
            kind = forms.IntegerField if types[name] is int else forms.FloatField
            self.fields[name] = kind(label=label, help_text=help_text, initial=getattr(default, name))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        config = {name: values[name] for name in KNOBS if name in values}
        try:
            TrainingConfig(**config)
        except ValueError as error:
            name, _, words = str(error).partition(" ")
            self.add_error(name, f"This {words}.")
        return {"override_reason": values.get("override_reason", ""), "config": config,
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
        return [super(SeveralFilesField, self).clean(file, initial) for file in data or [None]]


class ResultForm(forms.Form):
    files = SeveralFilesField(  # type: ignore[assignment]  # django-stubs takes it for the form's own files
        label="The files of the folder result/", widget=SeveralFilesInput,
        help_text=f"All {len(RESULT_FILES)}, marked together: {', '.join(RESULT_FILES)}.")


class PromotionForm(forms.Form):
    override_reason = forms.CharField(
        max_length=2000, label="Why promote it all the same?",
        help_text="It is written into the audit log.", widget=forms.Textarea(attrs={"rows": 3}))
