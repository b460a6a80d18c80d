"""CROWDLAB and Dawid-Skene beside cleanlab and crowd-kit: equal answers first, then how much faster.

`python -m bench.crowd`: simulated votes, 3 to 5 an example. Both sides are warm and take turns; the least CPU seconds
of five rounds count. cleanlab is handed its table of all examples by all annotators ready made, Goldpan the votes in
random order, which it has to sort; Goldpan's seconds always include the annotators' quality and worst label, so
"consensus" (cleanlab without them) is the harder of its two ways to beat, and the one with a goal. Exits with 1 if an
answer differs by more than 1e-9 (Dawid-Skene: 1e-6) or a ratio misses its goal.
"""

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.multiannotator import get_label_quality_multiannotator

from stats.crowdlab import crowdlab
from stats.dawid_skene import dawid_skene

ROUNDS = 5
CASES = ((1_000, 20, 10), (10_000, 20, 10), (10_000, 20, 77), (10_000, 200, 10), (10_000, 200, 77))
GOALS = {20: 15.0, 200: 90.0}  # times as fast as cleanlab's consensus, by the number of annotators
DAWID_SKENE_CASES = ((1_000, 20, 10), (10_000, 20, 10), (10_000, 200, 10))
DAWID_SKENE_GOAL = 20.0  # from 10,000 examples on
ITERATIONS = 20


def main() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_met = [one_crowdlab(*case) for case in print_head(CROWDLAB_HEAD, CASES)]
        is_met += dawid_skene_rows()
    return 0 if all(is_met) else 1


CROWDLAB_HEAD = ("CROWDLAB (CPU seconds)\n"
                 "     n  annotators   K  max difference  goldpan  cleanlab consensus  with annotators  "
                 "x consensus (goal)  x with annotators")
DAWID_SKENE_HEAD = (f"Dawid-Skene, {ITERATIONS} iterations, no smoothing (CPU seconds)\n"
                    "     n  annotators   K  max difference  goldpan  crowd-kit  x crowd-kit (goal)")


def print_head(head: str, cases: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    print(head, flush=True)
    return cases


def votes_of(n: int, n_annotators: int, n_labels: int) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return (example, annotator, label), 3 to 5 votes an example in random order, and a classifier's probabilities."""
    random = np.random.default_rng(0)
    truth, skill = random.integers(0, n_labels, n), random.uniform(0.5, 0.95, n_annotators)
    n_of_example = random.integers(3, 6, n)
    example = np.repeat(np.arange(n), n_of_example)
    annotator = np.concatenate([random.choice(n_annotators, k, replace=False) for k in n_of_example])
    label = np.where(random.random(len(example)) < skill[annotator], truth[example],
                     random.integers(0, n_labels, len(example)))
    pred_probs = random.dirichlet(np.full(n_labels, 0.3), n)
    pred_probs[np.arange(n), truth] += 1
    order = random.permutation(len(example))
    return (example[order], annotator[order], label[order]), pred_probs / pred_probs.sum(axis=1, keepdims=True)


def one_crowdlab(n: int, n_annotators: int, n_labels: int) -> bool:
    (example, annotator, label), pred_probs = votes_of(n, n_annotators, n_labels)
    table = np.full((n, n_annotators), np.nan)
    table[example, annotator] = label

    def ours() -> Any:
        return crowdlab(example, annotator, label, pred_probs)

    def theirs(with_annotators: bool) -> Any:
        return get_label_quality_multiannotator(table, pred_probs, verbose=False, return_detailed_quality=False,
                                                return_annotator_stats=with_annotators, return_weights=True)

    found, (mine, consensus, full) = in_turns(ours, lambda: theirs(False), lambda: theirs(True))
    difference = crowdlab_difference(found[0], found[2])
    ratio, goal = consensus / mine, GOALS[n_annotators]
    print(f"{n:6}  {n_annotators:10}  {n_labels:2}  {difference:14.1e}  {mine:7.4f}  {consensus:18.3f}  {full:15.3f}  "
          f"{ratio:11.0f} ({goal:4.0f})  {full / mine:17.0f}", flush=True)
    return difference <= 1e-9 and ratio >= goal


def crowdlab_difference(ours: Any, theirs: dict[str, Any]) -> float:
    """Return the largest difference in anything both say; inf if a consensus or a worst label differs."""
    examples, annotators = theirs["label_quality"], theirs["annotator_stats"].sort_index()
    if (ours.consensus_label != examples["consensus_label"]).any() or (ours.worst_class !=
                                                                       annotators["worst_class"]).any():
        return float("inf")
    pairs = [(ours.consensus_quality, examples["consensus_quality_score"]),
             (ours.annotator_agreement, examples["annotator_agreement"]),
             (ours.annotator_quality, annotators["annotator_quality"]),
             (ours.agreement_with_consensus, annotators["agreement_with_consensus"]),
             (ours.annotator_weight, theirs["annotator_weight"]), (ours.model_weight, theirs["model_weight"])]
    return max(float(np.abs(mine - np.asarray(other)).max()) for mine, other in pairs)


def dawid_skene_rows() -> list[bool]:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            from crowdkit.aggregation import DawidSkene
    except ImportError:
        print("\nDawid-Skene: not compared, crowd-kit is not installed (requirements-dev.txt names it)")
        return []
    print()
    return [one_dawid_skene(DawidSkene, *case) for case in print_head(DAWID_SKENE_HEAD, DAWID_SKENE_CASES)]


def one_dawid_skene(peer: Any, n: int, n_annotators: int, n_labels: int) -> bool:
    (example, annotator, label), _ = votes_of(n, n_annotators, n_labels)
    frame = pd.DataFrame({"task": example, "worker": annotator, "label": label})

    def ours() -> Any:
        return dawid_skene(example, annotator, label, n_examples=n, n_labels=n_labels, smoothing=0,
                           max_iterations=ITERATIONS, tolerance=0)

    found, (mine, other) = in_turns(ours, lambda: peer(n_iter=ITERATIONS, tol=-1.0).fit(frame))
    theirs = found[1].probas_.sort_index()[range(n_labels)].to_numpy()
    difference = float(np.abs(found[0].posterior - theirs).max())
    ratio, has_goal = other / mine, n >= 10_000
    print(f"{n:6}  {n_annotators:10}  {n_labels:2}  {difference:14.1e}  {mine:7.4f}  {other:9.3f}  "
          f"{ratio:11.0f} ({f'{DAWID_SKENE_GOAL:.0f}' if has_goal else '-'})", flush=True)
    return difference <= 1e-6 and (ratio >= DAWID_SKENE_GOAL or not has_goal)


def in_turns(*sides: Callable[[], Any]) -> tuple[list[Any], list[float]]:
    """Return what each side answered, and its least CPU seconds of ROUNDS after a first, warming call."""
    found, seconds = [side() for side in sides], [np.inf] * len(sides)
    for _ in range(ROUNDS):
        for position, side in enumerate(sides):
            started = time.process_time()
            side()
            seconds[position] = min(seconds[position], time.process_time() - started)
    return found, seconds


if __name__ == "__main__":
    sys.exit(main())
