"""Numbers, times and suspicious characters as people read them; the same words on pages, in messages and commands.

Whatever is not known (None, nan) is an em dash. Units hang on a narrow no-break space (U+202F), so no line ends
between a number and its unit.
"""

import math
import unicodedata
from datetime import datetime
from typing import Protocol

UNKNOWN = "—"
THIN = "\u202f"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

# Invisible although Unicode files them under letters, marks or spaces: grapheme joiner, Hangul and halfwidth fillers,
# Khmer inherent vowels, line and paragraph separators.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2028\u2029")


class Estimate(Protocol):
    """An estimate with its two-sided interval at `confidence`, from `n` rows: stats.intervals.Interval has these."""

    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def confidence(self) -> float: ...


def is_known(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


def percent_words(share: float | None, decimals: int = 1) -> str:
    """A share of 0.796 as "79.6 %"."""
    return f"{_signed(100 * share, decimals)}{THIN}%" if share is not None and is_known(share) else UNKNOWN


def point_words(difference: float | None, decimals: int = 1) -> str:
    """A difference of shares of 0.021 as "+2.1 points", of -0.013 as "−1.3 points"."""
    if difference is None or not is_known(difference):
        return UNKNOWN
    return f"{_signed(100 * difference, decimals, plus=True)} points"


def point_ends_words(low: float, high: float) -> str:
    """The ends of a difference's interval, as "−1.3 to +2.1 points"."""
    return f"{point_words(low).removesuffix(' points')} to {point_words(high)}"


def number_words(number: float | None, decimals: int = 2) -> str:
    """A plain figure such as an agreement of 0.8 as "0.80"."""
    return _signed(number, decimals) if number is not None and is_known(number) else UNKNOWN


def count_words(number: int | None) -> str:
    """A count of 4200 as "4,200"."""
    return UNKNOWN if number is None else f"{number:,}".replace("-", "−")


def counted(number: int, one: str, several: str = "") -> str:
    """"1 row", "4,200 rows"; of words that change otherwise both: `counted(n, "row has", "rows have")`."""
    return f"{count_words(number)} {one if number == 1 else several or f'{one}s'}"


def shortened(text: str, n_chars: int) -> str:
    """The text on one line, no longer than n_chars; where something is left out it ends in "…"."""
    line = " ".join(text.split())
    return line if len(line) <= n_chars else f"{line[:n_chars - 1].rstrip()}…"


def interval_words(estimate: Estimate | None, unit: str = "percent") -> str:
    """The interval and what it rests on: "95 %: 75.8 to 83.0 %, n = 500".

    unit: "percent" of a share, "points" of a difference of shares, "number" of anything else.
    """
    if estimate is None or not (is_known(estimate.low) and is_known(estimate.high)):
        return UNKNOWN
    low, high = in_unit(estimate.low, unit), in_unit(estimate.high, unit)
    if unit != "number":
        low = low.removesuffix(" points").removesuffix(f"{THIN}%")
    return f"{percent_words(estimate.confidence, 0)}: {low} to {high}, n = {count_words(estimate.n)}"


def in_unit(value: float | None, unit: str) -> str:
    """The value in "percent", "points" or as a "number". Raises KeyError for another unit."""
    return {"percent": percent_words, "points": point_words, "number": number_words}[unit](value)


def duration_words(seconds: float | None) -> str:
    """A time span in its two largest units: "3 min 12 s", "2 h 5 min", "4 d 1 h"; "under 1 s" below a second."""
    if seconds is None or not is_known(seconds):
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole == 0:
        return f"under 1{THIN}s"
    if whole < _MINUTE:
        return f"{whole}{THIN}s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def about_words(seconds: float | None) -> str:
    """A forecast of a time span as duration_words, but from ten minutes on in whole minutes: "50 min"."""
    is_long = seconds is not None and is_known(seconds) and seconds >= 10 * _MINUTE
    return duration_words(_MINUTE * round(seconds / _MINUTE) if is_long and seconds is not None else seconds)


def ago_words(at: datetime | None, now: datetime) -> str:
    """How long before `now` something was: "2 minutes ago", from a month on the day "3 May 2026".

    Both times are aware, or both naive. What is at most 10 s away, or in the future by a clock's error, is "just now".
    """
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if seconds < -_MINUTE:
        return f"in {duration_words(-seconds)}"
    if seconds <= 10:
        return "just now"
    if seconds >= 30 * _DAY:
        return f"{at.day} {at:%B %Y}"
    for size, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    raise AssertionError("unreachable: 10 s is more than one second")


def reveal(text: str) -> list[tuple[str, bool]]:
    """Split the text into (piece, is_hidden): hidden characters come out by name as "⟨U+202E⟩", the rest as it is.

    Hidden are direction marks, zero-width and other format characters, tags, blanks that look like nothing and
    control characters except tab and line ends. A zero-width joiner stays where writing needs it: after an emoji,
    a combining mark or an Arabic letter.
    """
    pieces: list[tuple[str, bool]] = []
    plain = ""
    previous = ""
    for character in text:
        if _is_hidden(character, previous):
            pieces += [(plain, False)] if plain else []
            pieces.append((f"⟨U+{ord(character):04X}⟩", True))
            plain = ""
        else:
            plain += character
        previous = character
    return pieces + ([(plain, False)] if plain else [])


def _is_hidden(character: str, previous: str) -> bool:
    if character in "\u200c\u200d" and previous:
        return not (unicodedata.category(previous) in ("So", "Sk", "Mn", "Mc", "Me")
                    or unicodedata.bidirectional(previous) == "AL")
    if character in _BLANKS or "\U000e0100" <= character <= "\U000e01ef":  # variation selectors can carry a message
        return True
    return unicodedata.category(character) in ("Cf", "Cc") and character not in "\t\n\r"


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    first, rest = divmod(seconds, large)
    second = rest // small
    return f"{first}{THIN}{large_name}" + (f" {second}{THIN}{small_name}" if second else "")


def _signed(number: float, decimals: int, *, plus: bool = False) -> str:
    """The number with a true minus sign, and never "−0.0"."""
    text = f"{abs(number):,.{decimals}f}"
    is_zero = not text.strip("0.,")
    sign = "" if is_zero else "−" if number < 0 else "+" if plus else ""
    return sign + text
