from collections import Counter
from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from labeling.models import Example
from labeling.task_types import task_type
from projects.templatetags.goldpan import visible
from projects.wording import UNKNOWN, count_words

SHOWN_CHARS = 240  # of a text in a list


class ExampleTable(tables.Table):
    """Examples in the order they came; each has its current answers as `answers`, its items of open batches
    as `asked_for` and its beginning as `start`."""

    start = tables.Column(verbose_name="Text")
    answers = tables.Column(verbose_name="Labels", empty_values=())
    split = tables.Column()
    asked = tables.Column(verbose_name="Asked for", empty_values=(), attrs={"td": {"data-label": "asked for"}})

    class Meta:
        model = Example
        fields = ("start", "answers", "split", "asked")
        orderable = False
        attrs = {"class": "fold"}

    label = "Examples"

    def render_start(self, value: str, record: Any) -> SafeString:
        shown = f"{value[:SHOWN_CHARS]} …" if len(value) > SHOWN_CHARS else value
        query = self.request.GET.copy()
        query.pop("page", None)
        url = reverse("labeling:example", args=[record.pk]) + (f"?{query.urlencode()}" if query else "")
        return format_html('<a class="text-reset" href="{}">{}</a>', url, visible(shown))

    def render_answers(self, record: Any) -> SafeString:
        show = task_type(self.request.project.task_type).show
        votes = Counter(show(answer.value) for answer in record.answers)
        if not votes:
            return format_html('<span class="quiet">{}</span>', "none yet")
        return format_html_join(", ", "{}{}", (
            (label, format_html(' <span class="quiet">× {}</span>', count_words(n)) if n > 1 else "")
            for label, n in votes.most_common()))

    def render_split(self, record: Any) -> str:
        return str(record.split)

    def render_asked(self, record: Any) -> SafeString:
        """How many people the open batches still wait for, of how many they asked."""
        items = record.asked_for
        n_wanted, n_taken = sum(item.n_wanted for item in items), sum(item.n_taken for item in items)
        return format_html('<span class="quiet">{}</span>', f"{n_taken} of {n_wanted}" if n_wanted else UNKNOWN)
