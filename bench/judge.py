"""A judge with known biases in simulated worlds: is the truth in the interval, and what do people's judgements bring?

`python -m bench.judge`: 1,000 worlds of 1,000 pairs of answers, of which people judge 200, drawn at random. The judge
takes an answer about 20 points more often where it stands on the left, likes long answers, of which the second run
writes fewer, and errs. In half of the worlds rows come in groups of five that share much of their fate. Intervals by
the code that ships, of 500 resamples to save time. Goals: asked in one order, the judge's interval misses the truth in
at least 90 % of the worlds; asked in both orders and held against people (PPI++), the interval holds it in at least
93 %, in groups, too, and is narrower than that of people alone. A judge that guesses counts in at most 10 % of 500
worlds.
"""

import sys
from dataclasses import dataclass

import numpy as np

from stats.intervals import Interval
from stats.kappa import kappa_interval
from stats.prediction_powered import mean_interval, prediction_powered_mean
from training.judging import FIRST, SECOND, TIE

N_WORLDS, N, N_HUMAN, N_TRUTH, N_GUESSED, N_RESAMPLES = 1000, 1000, 200, 400, 500, 500
BETTER, SURE, SHORTER, LEFT, LENGTH, ERROR = 0.3, 0.3, 0.5, 0.4, 0.5, 0.7  # of quality, whose spread among pairs is 1
TRUTH_SEED = 10**6
COVERAGE_GOAL, MISS_GOAL, GUESS_GOAL = 0.93, 0.90, 0.10


@dataclass(frozen=True)
class World:
    """N pairs. people: the second run's share as people would say it of all; asked: whom they are asked about.

    as_it_is, swapped: whether the judge takes the second run's answer, standing on the right, and on the left.
    longer: by how many characters the second answer is longer.
    """

    people: np.ndarray
    asked: np.ndarray
    as_it_is: np.ndarray
    swapped: np.ndarray
    groups: np.ndarray
    longer: np.ndarray

    @property
    def judge(self) -> np.ndarray:
        """The second run's share by the judge: a tie where the order decides."""
        return (self.as_it_is.astype(float) + self.swapped) / 2


def world(seed: int, *, group: int = 1, guesses: bool = False) -> World:
    random = np.random.default_rng(seed)
    shared = np.repeat(random.normal(size=N // group), group)
    quality = BETTER + (0.7 * shared + 0.714 * random.normal(size=N) if group > 1 else shared)
    length = 0.4 * quality - SHORTER + 0.9 * random.normal(size=N)
    felt = quality + 0.5 * random.normal(size=N)
    people = np.where(np.abs(felt) < SURE, TIE, np.where(felt > 0, SECOND, FIRST))
    liked = random.normal(size=N) if guesses else quality + LENGTH * length + ERROR * random.normal(size=N)
    as_it_is, swapped = (liked + 0.2 * random.normal(size=N) + left > 0 for left in (-LEFT, LEFT))
    asked = np.zeros(N, dtype=bool)
    asked[random.choice(N, N_HUMAN, replace=False)] = True
    return World(people, asked, as_it_is, swapped, np.arange(N) // group, np.rint(30 * length).astype(int))


def truth(*, n_worlds: int = N_TRUTH) -> float:
    """The win rate that people would give on endless rows."""
    return float(np.mean([world(TRUTH_SEED + k).people.mean() for k in range(n_worlds)]))


def main() -> int:
    real = truth()
    one_order, alone, people, both = [], [], [], []
    bias: list[float] = []
    for seed in range(N_WORLDS):
        one = world(seed, group=1 + 4 * (seed % 2))
        known = np.where(one.asked, one.people, np.nan)
        bias.append(float(one.swapped.mean() - one.as_it_is.mean()))
        one_order.append(mean_interval(one.as_it_is.astype(float), groups=one.groups, n_resamples=N_RESAMPLES))
        alone.append(mean_interval(one.judge, groups=one.groups, n_resamples=N_RESAMPLES))
        people.append(mean_interval(one.people[one.asked], groups=one.groups[one.asked], n_resamples=N_RESAMPLES))
        both.append(prediction_powered_mean(known, one.judge, groups=one.groups, n_resamples=N_RESAMPLES).interval)
    print(f"people prefer the second run's answer in {real:.1%}, ties counting half; 1,000 pairs, {N_HUMAN} judged; "
          f"the judge takes an answer {np.mean(bias):.1%} more often when it stands on the left")
    for name, found in (("judge, one order", one_order), ("judge, both orders", alone), ("people alone", people),
                        ("both orders and people, PPI++", both)):
        print(f"{name:32} off by {np.mean([each.estimate for each in found]) - real:+6.1%}   holds the truth in "
              f"{_coverage(found, real):6.1%}   mean width {np.mean(_widths(found)):5.1%}")
    rows = [("one order: the interval misses the truth", 1 - _coverage(one_order, real), ">=", MISS_GOAL),
            ("PPI++: the interval holds the truth", _coverage(both, real), ">=", COVERAGE_GOAL),
            ("the same, rows in groups of five", _coverage(both[1::2], real), ">=", COVERAGE_GOAL),
            ("width by width of people alone, mean", float(np.mean(_widths(both) / _widths(people))), "<=", 1.0),
            ("a judge that guesses counts", guessed(), "<=", GUESS_GOAL)]
    is_met = True
    for label, value, sign, goal in rows:
        is_fine = value <= goal if sign == "<=" else value >= goal
        is_met &= is_fine
        print(f"{label:50} {value:6.1%}  goal {sign} {goal:.0%}  {'met' if is_fine else 'missed'}")
    return 0 if is_met else 1


def guessed() -> float:
    """How often a judge that knows nothing has an interval of kappa above 0, so that its figure counts."""
    n = 0
    for seed in range(N_GUESSED):
        one = world(seed, guesses=True)
        said, people = ((2 * values[one.asked]).astype(int) for values in (one.judge, one.people))
        n += kappa_interval(said, people, n_labels=3, groups=np.arange(N_HUMAN), n_resamples=N_RESAMPLES).low > 0
    return n / N_GUESSED


def _widths(intervals: list[Interval]) -> np.ndarray:
    return np.array([one.high - one.low for one in intervals])


def _coverage(intervals: list[Interval], real: float) -> float:
    return float(np.mean([one.low <= real <= one.high for one in intervals]))


if __name__ == "__main__":
    sys.exit(main())
