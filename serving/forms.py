from typing import Any

from django import forms

from serving.models import ServingRules


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
