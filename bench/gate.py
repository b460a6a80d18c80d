"""The gate in simulated worlds: is its verdict right, with the code that ships?

`python -m bench.gate`: each world has a known truth, from which test rows, an earlier run or a learning curve, and
economics are drawn anew 200 times; gate, projection and weighing are the product's own. Goals: right in at least 90 %
of each world's simulations, PROMPT_OK wrongly in at most 5 %. Two of the worlds stand at the edge of the target, where
no verdict could be right nine times in ten: there only the wrong ones are counted.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stats.intervals import Interval
from stats.learning_curve import forecast
from stats.paired import compare_right_wrong
from training.economics import Economics, Guess, Projection, weigh
from training.metrics import measured_share
from training.verdict import gate

N = 200
TARGET = 0.85
RIGHT_GOAL, WRONG_GOAL = 0.90, 0.05
RICH = Economics(requests=Guess(10_000, 20_000, 40_000), months=12, value=Guess(0.05, 0.1, 0.2), hosting=50.0)
POOR = Economics(requests=Guess(50, 100, 200), months=12, value=Guess(0.05, 0.1, 0.2), hosting=50.0)

Draw = Callable[[np.random.Generator, int], Projection | None]


@dataclass(frozen=True)
class World:
    """prompt: its true accuracy. n: test rows. right: the verdicts that are; none where only wrong ones count."""

    name: str
    prompt: float
    n: int
    projection: Draw
    economics: Economics
    right: tuple[str, ...]
    training: float = 5.0


def nothing(random: np.random.Generator, number: int) -> None:
    return None


def earlier_run(prompt: float, adapter: float, n: int = 400) -> Draw:
    """An adapter of this accuracy was once measured beside the prompt on n rows."""
    def draw(random: np.random.Generator, number: int) -> Projection:
        first, second = random.random(n) < prompt, random.random(n) < adapter
        found = compare_right_wrong(first, second, groups=np.arange(n), seed=number)
        return Projection(None, found.difference, "as the earlier run did")
    return draw


def curve(at_500: float, n_dev: int = 600) -> Draw:
    """A learning curve that comes to this accuracy at 500 rows, measured at six sizes, five subsets each."""
    def draw(random: np.random.Generator, number: int) -> Projection:
        sizes = np.round(np.geomspace(50, 500, 6))
        true = (1 - at_500) * (sizes / 500) ** -0.4
        errors = random.binomial(n_dev, np.clip(true, 0, 1)[:, None], (6, 5)) / n_dev
        band = forecast(sizes, errors, target_error=1 - TARGET, n_test=n_dev, seed=number).band
        there = int(np.argmin(np.abs(band.sizes - 500)))
        return Projection(Interval(1 - band.error[there], 1 - band.high[there], 1 - band.low[there], n_dev), None,
                          "as the quick model learns")
    return draw


WORLDS = (
    World("the prompt is enough", 0.90, 600, earlier_run(0.90, 0.91), RICH, ("PROMPT_OK",)),
    World("training helps, an earlier run tells", 0.70, 400, earlier_run(0.70, 0.86), RICH, ("FINE_TUNE",)),
    World("training helps, a learning curve tells", 0.70, 400, curve(0.86), RICH, ("FINE_TUNE",)),
    World("training helps, nothing is said or known", 0.70, 400, nothing, Economics(), ("FINE_TUNE",)),
    World("too few rows", 0.83, 60, earlier_run(0.83, 0.90), RICH, ("INCONCLUSIVE",)),
    World("training brings nothing", 0.70, 400, earlier_run(0.70, 0.68), RICH, ("INCONCLUSIVE",)),
    World("too few requests for it to pay", 0.70, 400, earlier_run(0.70, 0.86), POOR, ("INCONCLUSIVE",)),
    World("the prompt is just below the target", TARGET - 0.001, 600, earlier_run(0.85, 0.86), RICH, ()),
    World("the same with few rows", TARGET - 0.001, 100, nothing, Economics(), ()),
)


def main() -> int:
    print(f"{'world':44} {'right':>6}  wrong PROMPT_OK   verdicts of {N}")
    is_met = True
    for world in WORLDS:
        said = Counter(one_verdict(world, number) for number in range(N))
        right = sum(said[verdict] for verdict in world.right) / N
        wrong = said["PROMPT_OK"] / N if world.prompt < TARGET else 0.0
        if world.right:
            is_met &= right >= RIGHT_GOAL
        is_met &= wrong <= WRONG_GOAL
        shown = f"{right:6.1%}" if world.right else "     -"
        verdicts = ", ".join(f"{name} {n}" for name, n in said.most_common())
        print(f"{world.name:44} {shown}  {wrong:15.1%}   {verdicts}")
    print(f"goal (right >= {RIGHT_GOAL:.0%}, wrong PROMPT_OK <= {WRONG_GOAL:.0%}): {'met' if is_met else 'missed'}")
    return 0 if is_met else 1


def one_verdict(world: World, number: int) -> str:
    random = np.random.default_rng([number, round(1000 * world.prompt), world.n])
    n_right = int(random.binomial(world.n, world.prompt))
    found = gate(measured_share(n_right, world.n), TARGET)
    return weigh(found.outcome, found.next_step, n_right=n_right, n=world.n, target=TARGET, economics=world.economics,
                 projection=world.projection(random, number), training=world.training, seed=number).outcome


if __name__ == "__main__":
    sys.exit(main())
