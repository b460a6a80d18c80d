"""The answers of one project: how they are written as labels, what several say together, what there is to count.

A label is an answer as a model would write it (`to_completion`): equal answers have equal labels, and a label can be
read back. Reports, decisions and snapshots hold labels. For classification and preference the label is the value.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from labeling.overlap import FREE_TEXT
from labeling.task_types import TaskTypeModule, task_type

WRITTEN = ("response", "chat", "extraction", "spans")  # an answer has words of its text, or of whoever wrote it
COMPARED_WHOLE = ("classification", "preference")  # an answer is right or wrong as a whole
WITH_LABELS = ("classification", "multilabel", "preference", "spans")  # made of names that can be counted
MODELLED = ("classification", "multilabel")  # a classifier on the texts can doubt a label
NOTHING_MARKED = "nothing marked"
# In JSON as `to_completion` writes it: a quote inside a text has a backslash before it, so only keys match.
_SPAN_NAME = re.compile(r'"label": ("(?:[^"\\]|\\.)*")')

NO_MODEL = {
    "response": "There is no label quality for free text: two good answers may share hardly a word, so no classifier "
                "can say how probable one is. Answers are held against each other and against hard checks instead.",
    "extraction": "There is no probability for a whole record. Answers are compared field by field where several "
                  "people gave one, and every value is looked for in its text.",
    "preference": "There is no label quality for comparisons: which side is better does not follow from where a text "
                  "lies among other texts. How far people agree says how much to trust them.",
    "spans": "There is no probability for a set of spans. Answers are compared span by span where several people gave "
             "one, and every span is checked against its text.",
}
NO_MODEL["chat"] = NO_MODEL["response"]

# What `agreement` compares, in words that end “… agree to 40 % in …”
COMPARED = {
    "classification": "the label", "multilabel": "the labels they share", "extraction": "the fields that are equal",
    "preference": "the side", "spans": "the spans marked alike", "response": "wording", "chat": "wording",
}


@dataclass(frozen=True)
class Answers:
    """What an answer is in a project: its task type under its schema. `source` is always the example's text."""

    task_type: str
    schema: Mapping[str, Any]

    @property
    def kind(self) -> TaskTypeModule:
        return task_type(self.task_type)

    @property
    def are_labels(self) -> bool:
        """Whether an answer is one name of a short list, so that its label is the answer itself."""
        return self.kind.HAS_LABELS

    @property
    def are_names(self) -> bool:
        """Whether an answer means the same for every text: a label, a side, or a set of labels."""
        return self.are_labels or self.task_type == "multilabel"

    @property
    def is_free_text(self) -> bool:
        return self.task_type in FREE_TEXT

    @property
    def joint(self) -> str:
        """What several answers have when they settle a label."""
        return "majority" if self.task_type in COMPARED_WHOLE else "consensus"

    @property
    def no_model(self) -> str:
        """Why no classifier doubts these answers, in words; "" where one can."""
        return NO_MODEL.get(self.task_type, "")

    def label(self, value: Any, *, source: str = "") -> str:
        return str(value) if self.are_labels else self.kind.to_completion(value, source=source)

    def value(self, label: str, *, source: str = "") -> Any:
        """Return the canonical value of a label. Raises ValueError, in words, if it is none under this schema."""
        value = label if self.are_labels else self.kind.parse_completion(label, self.schema, source=source)
        self.kind.validate_value(value, self.schema, text=source)
        return value

    def show(self, label: str, *, source: str = "") -> str:
        """Return a label on one line for people; as it is written where the schema does not know it any more."""
        try:
            return self.kind.show(self.value(label, source=source), source=source) if label else ""
        except ValueError:
            return label

    def full(self, label: str, *, source: str = "") -> str:
        """Return a label for people who decide about it: free text and records whole, the others as `show` does."""
        return self.draft(label) if self.is_free_text or self.task_type == "extraction" else self.show(
            label, source=source)

    def draft(self, label: str) -> str:
        """Return a label as somebody can go on writing it, "" where it is chosen from a list."""
        if self.is_free_text or not label:
            return label
        if self.task_type == "extraction":
            return json.dumps(json.loads(label), ensure_ascii=False, indent=2)
        if self.task_type == "spans":
            spans = [json.dumps(span, ensure_ascii=False) for span in json.loads(label)]
            return "[\n" + ",\n".join(f"  {span}" for span in spans) + "\n]" if spans else "[]"
        return ""

    def pieces(self, label: str, *, source: str) -> list[tuple[str, str]]:
        """Return the text cut where its spans begin and end, each piece with the names that mark it, "" for none.

        [] for other types, or for a label that does not fit the text.
        """
        if self.task_type != "spans" or not label:
            return []
        try:
            spans = self.value(label, source=source)
        except ValueError:
            return []
        cuts = sorted({0, len(source), *(span["start"] for span in spans), *(span["end"] for span in spans)})
        return [(source[start:end], ", ".join(span["label"] for span in spans if span["start"] <= start < span["end"]))
                for start, end in pairwise(cuts)]

    def consensus(self, values: Sequence[Any], *, source: str = "") -> str | None:
        """Return the label of what the answers say together, by the rule of their task type.

        None without an answer, on a tie, or if what they say together is no answer under the schema.
        """
        together = self.kind.consensus(values)
        if together is None:
            return None
        try:
            self.kind.validate_value(together, self.schema, text=source)
        except ValueError:
            return None  # for example two required fields that nobody agrees on
        return self.label(together, source=source)

    def names_in(self, label: str) -> list[str]:
        """The names that a label is made of, each once; [] for free text and records, and for a text without spans."""
        if self.are_labels:
            return [label]
        if self.task_type == "multilabel":
            return label.split("\n")
        return sorted(map(_unquoted, set(_SPAN_NAME.findall(label)))) if self.task_type == "spans" else []


@cache
def _unquoted(name: str) -> str:
    return str(json.loads(name))


def rarest_names(answers: Answers, labels: Sequence[str | None]) -> list[str | None]:
    """Return for each label the rarest of its names among all labels, the first by name on a tie.

    None for no label; NOTHING_MARKED for one without a name. A set that has its share of each rarest name has at
    least that much of every name.
    """
    names = [None if label is None else tuple(answers.names_in(label)) for label in labels]
    n_of: Counter[str] = Counter()
    n_of_set = Counter(some for some in names if some is not None)  # there are few different sets
    for some, n in n_of_set.items():
        n_of.update(dict.fromkeys(some, n))
    rarest = {some: min(some, key=lambda name: (n_of[name], name), default=NOTHING_MARKED) for some in n_of_set}
    return [None if some is None else rarest[some] for some in names]
