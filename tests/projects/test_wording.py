from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from projects.wording import (
    about_words,
    ago_words,
    count_words,
    counted,
    duration_words,
    interval_words,
    number_words,
    percent_words,
    point_words,
    reveal,
)

NAN = float("nan")
NOW = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Estimate:
    estimate: float
    low: float
    high: float
    n: int
    confidence: float = 0.95


def plain(text):
    return text.replace("\u202f", " ")


def hidden(text):
    return [piece for piece, is_hidden in reveal(text) if is_hidden]


def test_a_share_is_read_in_percent_and_never_breaks_before_its_unit():
    assert percent_words(0.796) == "79.6\u202f%"
    assert plain(percent_words(0.9, 0)) == "90 %"


def test_a_difference_has_its_sign_and_a_true_minus():
    assert point_words(0.021) == "+2.1 points"
    assert point_words(-0.013) == "−1.3 points"
    assert point_words(-0.0001) == "0.0 points"


def test_what_is_not_known_is_a_dash():
    assert {percent_words(None), percent_words(NAN), point_words(None), number_words(NAN), count_words(None),
            duration_words(None), interval_words(None)} == {"—"}


def test_counts_have_thousands_separators():
    assert count_words(4200) == "4,200"
    assert count_words(0) == "0"


def test_an_interval_says_its_confidence_and_its_n():
    assert plain(interval_words(Estimate(0.796, 0.758, 0.83, 1500))) == "95 %: 75.8 to 83.0 %, n = 1,500"
    assert plain(interval_words(Estimate(0.81, 0.77, 0.85, 212, 0.9), "number")) == "90 %: 0.77 to 0.85, n = 212"
    assert plain(interval_words(Estimate(0.02, -0.009, 0.034, 500), "points")) == "95 %: −0.9 to +3.4 points, n = 500"


@pytest.mark.parametrize(("seconds", "words"), [
    (0.3, "under 1 s"), (42, "42 s"), (59.6, "1 min"), (192, "3 min 12 s"), (7500, "2 h 5 min"), (7200, "2 h"),
    (349_200, "4 d 1 h"), (-3, "under 1 s"),
])
def test_a_duration_has_its_two_largest_units(seconds, words):
    assert plain(duration_words(seconds)) == words


@pytest.mark.parametrize(("ago", "words"), [
    (timedelta(seconds=4), "just now"), (timedelta(seconds=-4), "just now"), (timedelta(seconds=30), "30 seconds ago"),
    (timedelta(minutes=1), "1 minute ago"), (timedelta(minutes=2, seconds=59), "2 minutes ago"),
    (timedelta(hours=23), "23 hours ago"), (timedelta(days=29), "29 days ago"), (timedelta(days=40), "24 March 2026"),
    (timedelta(minutes=-5), "in 5 min"),
])
def test_a_time_is_told_by_its_distance_and_an_old_one_by_its_day(ago, words):
    assert plain(ago_words(NOW - ago, NOW)) == words


def test_direction_marks_and_zero_width_characters_are_named():
    assert hidden("pay\u202eevil\u202c") == ["⟨U+202E⟩", "⟨U+202C⟩"]
    assert hidden("a\u200bb\ufeffc\u00add\u2060") == ["⟨U+200B⟩", "⟨U+FEFF⟩", "⟨U+00AD⟩", "⟨U+2060⟩"]
    assert hidden("a\u3164b\x07c\U000e0041\U000e0101") == ["⟨U+3164⟩", "⟨U+0007⟩", "⟨U+E0041⟩", "⟨U+E0101⟩"]


def test_the_text_around_a_hidden_character_stays():
    assert reveal("a\u200bb") == [("a", False), ("⟨U+200B⟩", True), ("b", False)]
    assert reveal("") == []


def test_joiners_stay_where_writing_needs_them():
    assert hidden("👩\u200d💻 سلام\u200cعلیک क्\u200dष ❤️\n\t") == []


def test_a_joiner_between_latin_letters_is_named():
    assert hidden("ad\u200dmin") == ["⟨U+200D⟩"]


def test_a_count_and_its_noun_agree():
    assert [counted(n, "row") for n in (0, 1, 2, 4200)] == ["0 rows", "1 row", "2 rows", "4,200 rows"]
    assert counted(1, "has", "have") == "1 has" and counted(3, "entry", "entries") == "3 entries"


@pytest.mark.parametrize(("seconds", "words"), [(59, "59 s"), (200, "3 min 20 s"), (3008, "50 min"), (3590, "1 h"),
                                                (4100, "1 h 8 min"), (None, "—")])
def test_a_forecast_has_no_seconds_beside_many_minutes(seconds, words):
    assert about_words(seconds).replace("\u202f", " ") == words
