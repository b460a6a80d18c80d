"""Whether people only nod at suggestions, and whether suggestions save time.

Which suggestions are kept back is drawn for each assignment, so people who saw one and people who did not differ in
nothing else: what shown suggestions are agreed with more often is their pull.
"""

from dataclasses import dataclass

import numpy as np

from projects.wording import THIN, count_words, number_words, percent_words
from stats.intervals import Interval, wilson
from stats.two_samples import median_difference, share_difference


@dataclass(frozen=True)
class SuggestionEffect:
    """How answers with a shown suggestion differ from those with a hidden one; intervals are at 95 %.

    shown, hidden: the share of answers that equal the suggestion; nan where there are none.
    pull: shown minus hidden. saved: median seconds hidden minus shown; None where one side has no times.
    They take answers as independent: with few annotators the intervals are too narrow.
    """

    shown: Interval
    hidden: Interval
    pull: Interval
    saved: Interval | None

    @property
    def compared(self) -> list[Interval]:
        return [self.shown, self.hidden]

    @property
    def bias_words(self) -> str:
        """What it means for labels, and what to do, in words."""
        shown, hidden = percent_words(self.shown.estimate, 0), percent_words(self.hidden.estimate, 0)
        if not self.shown.n:
            return "No answer to a shown suggestion has come back yet."
        if not self.hidden.n:
            return (f"People agree with shown suggestions {shown} of the time. No hidden one has been answered, so "
                    "nobody can tell whether they only nod: keep a share hidden.")
        both = f"People agree with shown suggestions {shown} of the time, with hidden ones {hidden}"
        if self.pull.low > 0:
            return (f"{both}: shown suggestions pull answers by {_points(self.pull.estimate)} points "
                    f"({_points(self.pull.low)} to {_points(self.pull.high)}). Consider hiding more, or reviewing "
                    "accepted ones.")
        between = f"the difference lies between {_points(self.pull.low)} and {_points(self.pull.high)} points"
        if self.pull.high < 0:
            return f"{both}: {between}. Whoever sees a suggestion contradicts it more often; ask people why."
        return f"No pull can be shown yet (n = {count_words(self.hidden.n)} hidden). {both}; {between}."

    @property
    def time_words(self) -> str:
        """What it means for people's time, in words; "" where nothing was timed."""
        if self.saved is None:
            return ""
        low, high = number_words(self.saved.low, 1), number_words(self.saved.high, 1)
        if self.saved.low > 0:
            saved = number_words(self.saved.estimate, 1)
            return f"A shown suggestion saves {saved}{THIN}s an answer ({low} to {high})."
        if self.saved.high < 0:
            return (f"A shown suggestion costs {number_words(-self.saved.estimate, 1)}{THIN}s an answer "
                    f"({number_words(-self.saved.high, 1)} to {number_words(-self.saved.low, 1)}).")
        return f"No time saved can be shown yet: between {low} and {high}{THIN}s an answer."


def effect_of(shown: np.ndarray, shown_seconds: np.ndarray, hidden: np.ndarray,
              hidden_seconds: np.ndarray) -> SuggestionEffect:
    """Return the effect from the answers with a shown suggestion and those with a hidden one.

    shown, hidden: bool arrays, whether each answer equals its suggestion. shown_seconds, hidden_seconds: float arrays
    of how long answers took, nan where that is not known; medians, so that a coffee break counts like any slow answer.
    """
    timed = [seconds[~np.isnan(seconds)] for seconds in (hidden_seconds, shown_seconds)]
    n_shown, n_hidden = int(shown.sum()), int(hidden.sum())
    return SuggestionEffect(
        shown=wilson(n_shown, len(shown)), hidden=wilson(n_hidden, len(hidden)),
        pull=share_difference(n_shown, len(shown), n_hidden, len(hidden)),
        saved=median_difference(timed[0], timed[1], seed=0) if all(map(len, timed)) else None)


def _points(share: float) -> str:
    return number_words(100 * share, 0)
