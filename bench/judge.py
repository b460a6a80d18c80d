"""A judge with known biases in simulated worlds: is the truth in the interval, and what do people's judgements save?

`python -m bench.judge`: 1,000 worlds of 1,000 pairs of answers, of which people judge 100, drawn at random. The judge
takes the answer on the left about 20 points more often than people's choices would have it, likes long answers, and
errs. In half of the worlds rows come in groups of five that share their fate. Weighed with the code that ships. Goals:
asked in one order, its interval misses the truth in at least 90 % of the worlds; asked in both orders and held against
people (PPI++), the interval holds it in at least 93 %, and is narrower than that of people alone. A judge that guesses
counts in at most 10 % of the worlds.
"""

import sys

import numpy as np

from stats.intervals import Interval
from stats.prediction_powered import mean_interval
from training.judging import FIRST, SECOND, TIE, Pair, weigh

N_WORLDS, N, N_HUMAN, N_TRUTH = 1000, 1000, 100, 400
BETTER, SURE, LEFT, LENGTH, ERROR = 0.3, 0.3, 0.55, 0.5, 0.7  # of quality, whose spread among pairs is 1
TRUTH_SEED = 10**6
COVERAGE_GOAL, MISS_GOAL, GUESS_GOAL = 0.93, 0.90, 0.10


def judged_world(seed: int, *, group: int = 1, guesses: bool = False) -> list[Pair]:
    """N pairs with all that people and judge would say, but people have said it of N_HUMAN only."""
    return _hide(seed, _world(seed, group=group, guesses=guesses))


def truth(*, seed: int = TRUTH_SEED, n_worlds: int = N_TRUTH) -> float:
    """The win rate that people would give on endless rows."""
    return float(np.mean([[pair.human for pair in _world(seed + k)] for k in range(n_worlds)]))


def naive_interval(pairs: list[Pair]) -> Interval:
    """The win rate by the judge alone, asked with the first run's answer on the left only."""
    chosen = np.array([pair.judge is not None and pair.judge[0] == "right" for pair in pairs], dtype=float)
    return mean_interval(chosen, groups=np.array([pair.group for pair in pairs]))


def _world(seed: int, *, group: int = 1, guesses: bool = False) -> list[Pair]:
    random = np.random.default_rng(seed)
    shared = np.repeat(random.normal(size=N // group), group)
    quality = BETTER + (0.7 * shared + 0.714 * random.normal(size=N) if group > 1 else shared)
    length = 0.4 * quality + 0.9 * random.normal(size=N)
    felt = quality + 0.5 * random.normal(size=N)
    people = np.where(np.abs(felt) < SURE, TIE, np.where(felt > 0, SECOND, FIRST))
    liked = random.normal(size=N) if guesses else quality + LENGTH * length + ERROR * random.normal(size=N)
    one, two = (liked + 0.2 * random.normal(size=N) + left for left in (-LEFT, LEFT))
    lengths = np.rint(100 + 30 * length).astype(int)
    return [Pair(str(k // group), None, float(people[k]), ("right" if one[k] > 0 else "left",
                 "left" if two[k] > 0 else "right"), 100, max(1, int(lengths[k]))) for k in range(N)]


def _hide(seed: int, pairs: list[Pair]) -> list[Pair]:
    asked = set(np.random.default_rng([seed, 1]).choice(N, N_HUMAN, replace=False).tolist())
    return [pair if k in asked else Pair(pair.group, None, None, pair.judge, pair.first_length, pair.second_length)
            for k, pair in enumerate(pairs)]


def main() -> int:
    real = truth()
    naive, alone, corrected, people, widths = [], [], [], [], []
    for seed in range(N_WORLDS):
        pairs = judged_world(seed, group=1 + 4 * (seed % 2))
        found = weigh(pairs)
        assert found.human and found.record
        naive.append(naive_interval(pairs))
        alone.append(found.record.alone)
        people.append(found.human)
        corrected.append(found.corrected or found.human)
        widths.append(_width(corrected[-1]) / _width(found.human))
    guessed = sum(weigh(judged_world(seed, guesses=True)).corrected is not None for seed in range(200)) / 200
    print(f"people prefer the second run's answer in {real:.1%}, ties counting half; 1,000 pairs, 100 judged by people")
    for name, found in (("judge, one order", naive), ("judge, both orders", alone), ("people alone", people),
                        ("both orders and people, PPI++", corrected)):
        print(f"{name:32} off by {np.mean([one.estimate for one in found]) - real:+6.1%}   holds the truth in "
              f"{_coverage(found, real):6.1%}   mean width {np.mean([_width(one) for one in found]):5.1%}")
    rows = [("one order: the interval misses the truth", 1 - _coverage(naive, real), ">=", MISS_GOAL),
            ("PPI++: the interval holds the truth", _coverage(corrected, real), ">=", COVERAGE_GOAL),
            ("the same, rows in groups of five", _coverage(corrected[1::2], real), ">=", COVERAGE_GOAL),
            ("width by width of people alone, median", float(np.median(widths)), "<=", 1.0),
            ("a judge that guesses counts", guessed, "<=", GUESS_GOAL)]
    is_met = True
    for name, value, sign, goal in rows:
        is_fine = value <= goal if sign == "<=" else value >= goal
        is_met &= is_fine
        print(f"{name:50} {value:6.1%}  goal {sign} {goal:.0%}  {'met' if is_fine else 'missed'}")
    return 0 if is_met else 1


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def _coverage(intervals: list[Interval], real: float) -> float:
    return float(np.mean([one.low <= real <= one.high for one in intervals]))


if __name__ == "__main__":
    sys.exit(main())
