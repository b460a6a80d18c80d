"""Span labelling (NER): where a text names something, and what.

schema: {"labels": [{"name": "PERSON", "description": "…"}, …]}, the description optional; one label is enough.
value: a list of {"start": 12, "end": 18, "label": "PERSON"}, sorted, each once, [] if there is nothing. Positions
count characters (code points) from 0, the end is the first one after the span, as Python slices and Label Studio
1.23 count. Spans may overlap and one place may have several labels.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types import marks
from labeling.task_types.choices import check_known, named
from labeling.task_types.free_text import one_line
from labeling.task_types.json_answer import read_json
from labeling.task_types.marks import Span
from labeling.task_types.metrics import Counts, Metrics, Parts, check_rows, f1, f1s
from labeling.task_types.prompt import conversation, definitions, told, users_turn
from labeling.task_types.results import texts_of, values_of
from labeling.task_types.voting import mean_over_pairs
from labeling.task_types.xml import N_HOTKEYS, headers, option
from projects.schema import label_names

HAS_LABELS = False
# Seven colours that people with any colour vision tell apart. Source: Okabe & Ito 2008, Color universal design.
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"]


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Nothing but the text is needed."""


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML: instructions, the labels with keys 1 to 9, the text to mark them in."""
    labels = [option("Label", label, n + 1, f' background="{COLOURS[n % len(COLOURS)]}"')
              for n, label in enumerate(schema["labels"])]
    search = ['  <Filter name="filter" toName="label" minlength="0" placeholder="Find a label"/>'] \
        if len(labels) > N_HOTKEYS else []
    return "\n".join(["<View>", *headers(instructions), *search, '  <Labels name="label" toName="text">', *labels,
                      "  </Labels>", '  <Text name="text" value="$text"/>', "</View>"])


def to_result(value: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"span-{n}", "from_name": "label", "to_name": "text", "type": "labels",
             "value": {"start": start, "end": end, "labels": [label]}}
            for n, (start, end, label) in enumerate(_spans(value), 1)]


def parse(result: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the spans that a Label Studio result marks; its copy of their text is ignored, it loses spaces.

    Raises ValueError, naming what is wrong, if one has no whole numbers as its ends or not exactly one label.
    """
    spans = []
    for marked in values_of(result, "label", "labels"):
        labels = texts_of(marked, "labels", "a span's label") if marked.get("labels") else []
        if len(labels) != 1:
            raise ValueError(f"a span must have one label, got {labels!r:.100}")
        spans.append({"start": marked.get("start"), "end": marked.get("end"), "label": labels[0]})
    _check_positions(spans)
    return canonical(spans)


def validate_value(value: Sequence[Mapping[str, Any]], schema: Mapping[str, Any], *, text: str = "") -> None:
    """Raises ValueError unless every span has a label of the schema, holds something, lies in the text, comes once."""
    if not isinstance(value, list) or not all(
            isinstance(span, Mapping) and span.keys() == {"start", "end", "label"} for span in value):
        raise ValueError(f"spans are a list of objects with start, end and label, got {value!r:.100}")
    _check_positions(value)
    for span in value:
        check_known(span["label"], label_names(schema))
        if text and span["end"] > len(text):
            raise ValueError(f"The span {_place(span)} ends after the text, which has {len(text)} characters.")
        if text and not text[span["start"]:span["end"]].strip():
            raise ValueError(f"The span {_place(span)} holds only white space.")
    if len(_spans(value)) < len(value):
        [(twice, _)] = Counter((span["start"], span["end"], span["label"]) for span in value).most_common(1)
        raise ValueError(f"The span {twice[0]}–{twice[1]} is marked twice as “{twice[2]}”.")


def canonical(value: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return _value(_spans(value))


def agreement(values: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Return the mean span-F1 of the pairs of answers, in [0, 1]: a span agrees if both ends and the label do.

    Two answers without a span agree. Source: Hripcsak & Rothschild 2005, Agreement, the F-measure, and reliability
    in information retrieval, JAMIA 12: without a count of what was not marked, F1 takes the place of kappa.
    """
    return mean_over_pairs([set(_spans(value)) for value in values], lambda a, b: f1(len(a & b), len(a), len(b)))


def consensus(values: Sequence[Sequence[Mapping[str, Any]]],
              weights: Sequence[float] | None = None) -> list[dict[str, Any]] | None:
    """Return the spans that more than half of the weight mark, alike or overlapping; see `marks.consensus`."""
    agreed = marks.consensus([_spans(value) for value in values], weights)
    return None if agreed is None else _value(agreed)


def system(schema: Mapping[str, Any], instructions: str = "") -> str:
    return told(
        instructions, definitions(schema),
        'Answer with a JSON list, in the order of the text, of objects with "text", copied exactly from the text, and '
        f'"label", one of: {", ".join(label_names(schema))}. '
        'Add "occurrence": 2 if you mean the second place where the words stand, and not the first. '
        "Answer [] if there is nothing to mark.")


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    return users_turn(text)


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    return conversation(system(schema, instructions), turns(text, data))


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    item = {"text": {"type": "string", "minLength": 1}, "label": {"enum": label_names(schema)},
            "occurrence": {"type": "integer", "minimum": 1}}
    return {"type": "array", "items": {"type": "object", "properties": item, "required": ["text", "label"],
                                       "additionalProperties": False}}


def to_completion(value: Sequence[Mapping[str, Any]], *, source: str = "") -> str:
    """Return the spans as a JSON list of {"text", "label"}, in the order of the text.

    "occurrence" counts the places where the words stand in the source, from 1; it is left out where it equals the
    number of times that the list has named these words with this label so far.
    Raises ValueError if a span does not lie in the source.
    """
    seen: Counter[tuple[str, str]] = Counter()
    items = []
    for start, end, label in _spans(value):
        if end > len(source):
            raise ValueError(f"the span {start}–{end} must lie in the source, which has {len(source)} characters")
        words = source[start:end]
        seen[words, label] += 1
        occurrence = 1 + sum(place < start for place in _places(source, words))
        item = {"text": words, "label": label}
        items.append(item if occurrence == seen[words, label] else {**item, "occurrence": occurrence})
    return json.dumps(items, ensure_ascii=False)


def parse_completion(text: str, schema: Mapping[str, Any], *, source: str = "") -> list[dict[str, Any]]:
    """Return the spans that a model's JSON list names, found in the source.

    Raises ValueError if it is no such list, or names words that the source does not hold, or not that often.
    """
    items = read_json(text)
    if not isinstance(items, list):
        raise ValueError(f"the answer must be a JSON list, got {items!r:.100}")
    seen: Counter[tuple[str, str]] = Counter()
    spans: list[Span] = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("text"), str) or not item["text"] \
                or not isinstance(item.get("label"), str):
            raise ValueError(f"a span must be an object with “text” and “label”, got {item!r:.100}")
        words, label = item["text"], named(item["label"], label_names(schema))
        if label is None:
            raise ValueError(f"the label {item['label']!r:.100} is none of the labels")
        seen[words, label] += 1
        occurrence = item.get("occurrence", seen[words, label])
        places = list(_places(source, words))
        if not isinstance(occurrence, int) or isinstance(occurrence, bool) or not 1 <= occurrence <= len(places):
            raise ValueError(f"the text holds {words!r:.100} {len(places)} times, not an occurrence {occurrence!r:.20}")
        spans.append((places[occurrence - 1], places[occurrence - 1] + len(words), label))
    return _value(spans)


def metrics_of(sums: np.ndarray) -> Parts:
    return {"strict_f1": f1s(sums[..., 0], sums[..., 1]),
            "partial_f1": f1s(sums[..., 0] + sums[..., 2], sums[..., 1])}


def counts(gold: Sequence[Sequence[Mapping[str, Any]]], predicted: Sequence[Sequence[Mapping[str, Any]] | None],
           schema: Mapping[str, Any] | None = None) -> Counts:
    check_rows(gold, predicted)
    rows = []
    for a, b in zip(gold, predicted, strict=True):
        wanted, given = set(_spans(a)), set(_spans(b or ()))
        n_both = len(wanted) + (1 if b is None else len(given))
        rows.append((len(wanted & given), n_both, marks.n_overlapping(wanted - given, given - wanted) / 2))
    return Counts(np.array(rows, dtype=float), metrics_of)


def score(gold: Sequence[Sequence[Mapping[str, Any]]],
          predicted: Sequence[Sequence[Mapping[str, Any]] | None]) -> Metrics:
    """Return strict micro-F1 over spans (primary) and partial micro-F1.

    Strict: both ends and the label are right. Partial: a span with the right label that overlaps a gold one, each
    used once, exact ones first, then the largest overlaps, counts half. Source: Chinchor & Sundheim 1993, MUC-5
    evaluation metrics.
    An answer that could not be read counts as one wrong span, so that it is never better than an empty one.
    """
    return counts(gold, predicted).metrics


def show(value: Sequence[Mapping[str, Any]], *, source: str = "") -> str:
    """Return the spans with their words if the source is given, with their positions if not."""
    if not value:
        return "nothing marked"
    return one_line(", ".join(f"{source[start:end] or f'{start}–{end}'} ({label})"
                              for start, end, label in _spans(value)))


def _spans(value: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The spans as tuples, sorted, each once."""
    return sorted({(span["start"], span["end"], span["label"]) for span in value})


def _value(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "label": label} for start, end, label in sorted(set(spans))]


def _check_positions(value: Iterable[Mapping[str, Any]]) -> None:
    for span in value:
        if not all(isinstance(span[end], int) and not isinstance(span[end], bool) for end in ("start", "end")):
            raise ValueError(f"a span's ends must be whole numbers, got {span['start']!r:.50} and {span['end']!r:.50}")
        if not 0 <= span["start"] < span["end"]:
            raise ValueError(f"a span must start at 0 or later and end after its start, got {_place(span)}")


def _place(span: Mapping[str, Any]) -> str:
    return f"{span['start']}–{span['end']}"


def _places(source: str, words: str) -> Iterator[int]:
    """Where the words stand in the source, in order; places may overlap."""
    place = source.find(words)
    while place >= 0:
        yield place
        place = source.find(words, place + 1)
