"""Choosing among names: Label Studio's Choices, and a name in a model's answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from labeling.task_types.results import texts_of, values_of
from labeling.task_types.xml import N_HOTKEYS, headers, option
from labeling.texts import normalise

_AROUND = " \t\"'`*.,:;!“”‘’"  # what models put around an answer


def choices_config(schema: Mapping[str, Any], instructions: str, choice: str) -> str:
    """Return the XML that shows a text and the schema's labels below it.

    choice: "single-radio" for one label, "multiple" for several.
    """
    many = len(schema["labels"]) > N_HOTKEYS
    search = ['  <Filter name="filter" toName="label" minlength="0" placeholder="Find a label"/>'] if many else []
    choices = [option("Choice", label, position) for position, label in enumerate(schema["labels"], 1)]
    return "\n".join([
        "<View>", *headers(instructions), '  <Text name="text" value="$text"/>', *search,
        f'  <Choices name="label" toName="text" choice="{choice}" required="true" '
        f'showInline="{"false" if many else "true"}">', *choices, "  </Choices>", "</View>"])


def choices_result(names: Sequence[str], from_name: str = "label") -> list[dict[str, Any]]:
    """Return the result of having chosen these names."""
    return [{"from_name": from_name, "to_name": "text", "type": "choices", "value": {"choices": list(names)}}]


def chosen(result: Sequence[Any], from_name: str = "label") -> list[str]:
    """Return the names that a result chose, in its order.

    Raises ValueError, naming what is wrong, if it chose none or one that is not text.
    """
    names = [name for value in values_of(result, from_name, "choices")
             for name in texts_of(value, "choices", "a label")]
    if not names:
        raise ValueError("no label was chosen")
    return names


def chosen_one(result: Sequence[Any], from_name: str = "label") -> str:
    """Return the one name that a result chose. Raises ValueError if it did not choose exactly one."""
    names = chosen(result, from_name)
    if len(names) > 1:
        raise ValueError(f"{len(names)} labels were chosen, expected one: {names!r:.100}")
    return names[0]


def named(text: str, names: Sequence[str]) -> str | None:
    """Return which of the names the text is, whatever its case, quotes, final stop or underscores; None if none.

    A text that says more than the name is none of them.
    """
    for reading in (text, text.strip(_AROUND)):
        for spelled in (normalise, _without_underscores):
            found = [name for name in names if spelled(name) == spelled(reading)]
            if len(found) == 1:
                return found[0]
    return None


def named_first(text: str, names: Sequence[str]) -> str:
    """Return the name that is the first line of a model's answer which is not blank.

    Raises ValueError if that line is none of the names: an answer that talks is not an answer.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    if (name := named(line, names)) is None:
        raise ValueError(f"the answer {line!r:.100} is none of the labels")
    return name


def check_known(value: object, names: Sequence[str]) -> None:
    """Raises ValueError if the value is none of the names."""
    if value not in names:
        raise ValueError(f"“{value!s:.100}” is none of the labels: {', '.join(names)}.")


def _without_underscores(text: str) -> str:
    return normalise(text.replace("_", " "))
