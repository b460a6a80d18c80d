"""Whether training pays: expected value, break-even, return and payback, and the verdict with all that in words.

1. What is not certain is drawn many times: how often the prompt is right (Beta posterior), what an adapter would gain
   (what is projected), how many requests come and what a right answer is worth (triangular guesses).
2. Every draw is a future; shares and 5 to 95 % of the futures are what is told.
3. The gate's bounds come first. FINE_TUNE needs, where they are known, a projected gain whose lower bound is above
   nothing and P(value > 0) of at least 0.8; what is not said is left out, and the words say so.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from projects.wording import percent_words, point_words
from stats.intervals import Interval

Outcome = Literal["PROMPT_OK", "FINE_TUNE", "INCONCLUSIVE"]

N_DRAWS = 20_000
SURE_ENOUGH = 0.8  # P(value > 0) from which training is advised
Z_TWO_SIDED = 1.96


@dataclass(frozen=True)
class Guess:
    """The least, the likeliest and the most that something may be; low <= likely <= high, all equal where known."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.likely <= self.high:
            raise ValueError(f"a guess must rise from the least to the most, got {self.low:g}, {self.likely:g}, "
                             f"{self.high:g}")

    def draws(self, random: np.random.Generator) -> np.ndarray:
        """(N_DRAWS,) from the triangular distribution of the three."""
        if self.low == self.high:
            return np.full(N_DRAWS, self.likely)
        return random.triangular(self.low, self.likely, self.high, N_DRAWS)


@dataclass(frozen=True)
class Economics:
    """What answers are worth and cost in a project, in one currency. None: not said, and nothing is put in its place.

    requests: a month. months: that a trained model would serve. value: of a right answer in place of a wrong one.
    realised: the share in [0, 1] of the benefit that arrives. prompt_cost, trained_cost: of one answer by tokens.
    hosting: of the trained model, a month. retrainings: a year, each at the price of the training.
    """

    requests: Guess | None = None
    months: float | None = None
    value: Guess | None = None
    realised: Guess | None = None
    prompt_cost: float | None = None
    trained_cost: float | None = None
    hosting: float | None = None
    retrainings: float | None = None
    currency: str = "USD"

    @property
    def missing(self) -> list[str]:
        """What has to be said before a value can be told."""
        named = {"requests a month": self.requests, "months of use": self.months,
                 "what a right answer is worth": self.value}
        return [name for name, said in named.items() if said is None]


@dataclass(frozen=True)
class Projection:
    """What an adapter is expected to bring, with a two-sided 95 % interval.

    Either its share of right answers (a learning curve tells that), or its gain over the prompt (an earlier run does).
    """

    share: Interval | None
    gain: Interval | None
    source: str

    def gain_draws(self, prompt: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """(N_DRAWS,) shares gained over `prompt`, the draws of the prompt's own share."""
        told = self.gain or self.share
        assert told is not None
        drawn = random.normal(told.estimate, (told.high - told.low) / (2 * Z_TWO_SIDED), N_DRAWS)
        gained = drawn if self.gain else np.clip(drawn, 0, 1) - prompt
        return np.asarray(np.clip(gained, -prompt, 1 - prompt))


@dataclass(frozen=True)
class Range:
    """The median of what may come and its 5 to 95 %; infinite where some futures have no end."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Worth:
    """What training brings from here on, in money.

    value: over all months, after all that is still to be paid. p_positive: P(value > 0). break_even: requests a month
    from which it pays. roi: of the first year, on training and labels together. payback_months: until all is earned
    back. roi, payback_months, p_roi: None where nothing has to be paid.
    """

    value: Range
    p_positive: float
    break_even: Range
    roi: Range | None
    payback_months: Range | None
    p_roi: float | None


@dataclass(frozen=True)
class Weighed:
    """The verdict with all that is known: `words` are sentences behind the gate's own."""

    outcome: Outcome
    words: list[str]
    next_step: str
    gain: Range | None
    worth: Worth | None

    def to_json(self) -> dict[str, Any]:
        """As a row keeps it; an infinite number becomes None, which JSON knows."""
        return {"gain": _finite(asdict(self.gain)) if self.gain else None,
                "worth": _finite(asdict(self.worth)) if self.worth else None}


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    return {name: _finite(value) if isinstance(value, dict) else
            None if isinstance(value, float) and not math.isfinite(value) else value for name, value in data.items()}


def answer_cost(tokens_in: float, tokens_out: float, *, price_in: float, price_out: float, cached_share: float = 0.0,
                cached_discount: float = 0.0) -> float:
    """Money for one answer. Prices are for a million tokens; of what is read, `cached_share` costs so much less."""
    read = tokens_in * price_in * (1 - cached_share * cached_discount)
    return (read + tokens_out * price_out) / 1e6


def posterior_draws(n_right: int, n: int, random: np.random.Generator) -> np.ndarray:
    """(N_DRAWS,) shares that n_right of n are consistent with: the Beta posterior under a uniform prior."""
    return random.beta(1 + n_right, 1 + n - n_right, N_DRAWS)


def worth_of(economics: Economics, prompt: np.ndarray, gain: np.ndarray, *, training: float, labour: float,
             seed: int) -> Worth | None:
    """Return what training is worth; None while requests, months or the worth of a right answer are not said.

    prompt, gain: (N_DRAWS,) shares. training: money of one training that is still to be paid. labour: money that the
    labels have taken. Labels are paid already, so they count in return and payback, not in the value of going on.
    Source of the form: expected net benefit over a horizon; triangular guesses as in Vose 2008, Risk Analysis.
    """
    if economics.requests is None or economics.months is None or economics.value is None:
        return None
    random = np.random.default_rng(seed)
    requests, value = economics.requests.draws(random), economics.value.draws(random)
    realised = economics.realised.draws(random) if economics.realised else 1.0
    is_served = economics.hosting is not None or economics.trained_cost is not None
    cheaper = (economics.prompt_cost - (economics.trained_cost or 0.0)
               if economics.prompt_cost is not None and is_served else 0.0)
    per_request = value * gain * realised + cheaper
    hosting, months = economics.hosting or 0.0, economics.months
    paid = training * (1 + (economics.retrainings or 0.0) * months / 12) + hosting * months
    net = requests * per_request * months - paid
    with np.errstate(divide="ignore"):
        break_even = np.where(per_request > 0, paid / months / np.maximum(per_request, 1e-300), np.inf)
    once = training + labour
    yearly = 12 * (requests * per_request - hosting) - training * (economics.retrainings or 0.0)
    roi = (yearly - once) / once if once else None
    payback = np.where(yearly > 0, 12 * once / np.maximum(yearly, 1e-300), np.inf) if once else None
    return Worth(value=range_of(net), p_positive=float((net > 0).mean()), break_even=range_of(break_even),
                 roi=range_of(roi) if roi is not None else None,
                 payback_months=range_of(payback) if payback is not None else None,
                 p_roi=float((roi > 0).mean()) if roi is not None else None)


def range_of(draws: np.ndarray) -> Range:
    low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], method="inverted_cdf")
    return Range(float(middle), float(low), float(high))


def weigh(outcome: Outcome, next_step: str, *, n_right: int, n: int, target: float, economics: Economics,
          projection: Projection | None = None, ceiling: Interval | None = None, training: float | None = None,
          labour: float = 0.0, labels_needed: int | None = None, seed: int = 0) -> Weighed:
    """Return the gate's outcome weighed with what is known beside it.

    outcome, next_step: what the gate says by its bounds alone. n_right of n: the best prompt on the test rows.
    target: in (0, 1). ceiling: how often one person agrees with the others. training: money, None while not quoted.
    labels_needed: pool examples more that a learning curve asks for, if it reaches the target.
    """
    random = np.random.default_rng(seed)
    prompt = posterior_draws(n_right, n, random)
    drawn = projection.gain_draws(prompt, random) if projection else None
    gain = range_of(drawn) if drawn is not None else None
    worth = (worth_of(economics, prompt, drawn, training=training or 0.0, labour=labour, seed=seed + 1)
             if drawn is not None else None)
    above = ceiling is not None and target > ceiling.high
    words = [_ceiling_words(target, ceiling)] if above and ceiling else []
    if outcome == "PROMPT_OK":
        return Weighed(outcome, words, next_step, gain, worth)
    words += _known_words(outcome, economics, projection, gain, worth, training)
    weighed, step = outcome, next_step
    if outcome == "FINE_TUNE":
        if gain is not None and gain.low <= 0:
            weighed, step = "INCONCLUSIVE", _more_labels(labels_needed)
        elif worth is not None and worth.p_positive < SURE_ENOUGH:
            weighed, step = "INCONCLUSIVE", _too_dear(worth)
    if above:
        step = ("Mend the labels first: settle what people label differently and say in the guideline what holds "
                f"there, or lower the target. {step}")
    return Weighed(weighed, words, step, gain, worth)


def not_weighed(outcome: Outcome, next_step: str, *, metric: str) -> Weighed:
    """The gate's outcome as it is, for a metric that is no share of right answers: no worth can be set on it.

    metric: its name as people read it. A right answer has a worth, a point of F1 or of ROUGE-L has none.
    """
    words = [] if outcome == "PROMPT_OK" else [
        f"Whether training pays is not weighed here: {metric} is not a share of answers that are right as a whole, so "
        "there is no right answer to put a worth on. This verdict stands on the prompt's bounds alone."]
    return Weighed(outcome, words, next_step, None, None)


def _ceiling_words(target: float, ceiling: Interval) -> str:
    return (f"People agree with each other less than that: one person gives the label of most others on "
            f"{percent_words(ceiling.estimate)} of {ceiling.n:,} examples ({percent_words(ceiling.low)} to "
            f"{percent_words(ceiling.high)}), so a target of {percent_words(target)} asks for more than labels like "
            "these may hold.")


def _known_words(outcome: Outcome, economics: Economics, projection: Projection | None, gain: Range | None,
                 worth: Worth | None, training: float | None) -> list[str]:
    """What is known of gain and worth, and what is not; nothing where the verdict is open anyhow."""
    if projection is None or gain is None:
        also = ", nor what answers are worth" if economics.missing else ""
        return [f"What an adapter would gain is not known yet{also}: this verdict stands on the prompt's bounds alone."
                ] if outcome == "FINE_TUNE" else []
    gains = (f"An adapter may bring {point_words(gain.estimate)} ({_bare(gain.low)} to {_bare(gain.high)}), "
             f"{projection.source}.")
    if worth is None:
        missing = economics.missing
        return [gains, f"Whether that pays is not known: {_listed(missing)} {_are(missing)} not said."]
    return [gains, _worth_words(economics, worth, training)]


def _bare(gain: float) -> str:
    return point_words(gain).removesuffix(" points").removesuffix(" point")


def _worth_words(economics: Economics, worth: Worth, training: float | None) -> str:
    before = "" if training is not None else " before what training costs, which is not known yet"
    return (f"That is worth {money_words(worth.value.estimate, economics.currency)} "
            f"({money_words(worth.value.low)} to {money_words(worth.value.high)}) over {economics.months:g} months"
            f"{before}; it pays in {chance_words(worth.p_positive)} of what may come.{_break_even_words(worth)}")


def _break_even_words(worth: Worth) -> str:
    if not math.isfinite(worth.break_even.estimate):
        return " No number of requests would make it pay."
    if worth.break_even.estimate < 1:
        return ""
    return f" It pays from about {_two_digits(worth.break_even.estimate):,.0f} requests a month on."


def _too_dear(worth: Worth) -> str:
    more = (f", or wait until there are about {_two_digits(worth.break_even.estimate):,.0f} requests a month"
            if math.isfinite(worth.break_even.estimate) and worth.break_even.estimate >= 1 else "")
    return f"Try a better prompt, which costs nothing to serve{more}. Training is not shown to pay here."


def _more_labels(labels_needed: int | None) -> str:
    if labels_needed:
        return (f"Label about {labels_needed:,} more pool examples, or try a better prompt: with the labels there are, "
                "an adapter is not projected to beat this one.")
    return ("Try a better prompt or mend labels: with the labels there are, an adapter is not projected to beat this "
            "one.")


def chance_words(chance: float) -> str:
    """A share of the futures; none is certain, so “over 99 %” and “under 1 %” are the ends."""
    if chance > 0.99:
        return f"over {percent_words(0.99, 0)}"
    return f"under {percent_words(0.01, 0)}" if chance < 0.01 else percent_words(chance, 0)


def money_words(amount: float, currency: str = "") -> str:
    """“1,240 USD”, “3.40 USD”: two decimals below 100; a minus sign in front of what is lost."""
    if not math.isfinite(amount):
        return "no end"
    number = f"{abs(amount):,.0f}" if abs(amount) >= 100 else f"{abs(amount):,.2f}"
    sign = "−" if amount < 0 and float(number.replace(",", "")) else ""
    return f"{sign}{number} {currency}".strip()


def _two_digits(number: float) -> float:
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / unit) * unit


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 and names[0].startswith("what") else "are"
