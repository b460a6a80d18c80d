"""How several people's labels are best joined, and what asking again only where it pays saves.

`python -m bench.truth_finding`, about 4 minutes on 2 cores. Two kinds of evidence:
- tweets: real ratings. Which person gave which rating is not known, so an "annotator" is a column of ratings, and no
  column is better than another. Labels come from columns 0-9, the truth is the majority of columns 10-19.
- banking77, 40 labels: the truth is given, the annotators are simulated: 20 of them, each with a skill of their own,
  weak on some labels, and wrong mostly towards a similar label.
1. Fixed overlap: everybody's labels joined by majority (of a tie the label given first), Dawid-Skene and CROWDLAB.
2. Adaptive: one label each and a second for a tenth; then, round by round, one more for the quarter of the examples
   with the lowest ActiveLab scores, at most 5 each, until each has 3 on average or every consensus is sure enough.
   Labels saved at equal accuracy is 1 - adaptive / fixed; below 0 it costs labels.
The classifier is the product's (MiniLM embeddings, out of sample), fitted anew to the labels of each round. Intervals
of accuracies are over examples; those of labels saved over seeds (who is asked what), with the same examples. Exits
with 1 if CROWDLAB at two labels is worse than the majority, or adaptive labels are not proven fewer than three each
joined by the same CROWDLAB. Data: the demo's download and the folder GOLDPAN_BENCH_DATA; what is missing is skipped in
words.
"""

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from curation.canonical import sha256_of
from curation.dedup import find_clusters
from curation.encoder import MiniLMEncoder
from curation.probabilities import out_of_sample_probabilities
from goldpan.demo_data import LABELS, SDIST, labels_of, read_tweets, truth_of
from stats.activelab import activelab
from stats.crowdlab import crowdlab
from stats.dawid_skene import dawid_skene
from stats.intervals import Interval, percentiles, resampled_sums

TWEETS = Path("var/downloads") / SDIST
THRESHOLD = 0.95  # cosine from which two texts count as the same
SEEDS = range(4)
OVERLAPS = (1, 2, 3, 5)
METHODS = ("majority", "Dawid-Skene", "CROWDLAB")
SHARE_DOUBLED, SHARE_PER_ROUND = 0.10, 0.25
MOST_LABELS, MEAN_LABELS, SURE_ENOUGH = 5, 3.0, 0.9
N_BANKING, N_BANKING_LABELS, N_WORKERS, N_WEAK_LABELS = 2000, 40, 20, 8

Votes = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class World:
    """n examples with their truth; answers(seed) is (n, W): what each of W annotators would say, as label codes."""

    name: str
    labels: list[str]
    embeddings: np.ndarray
    clusters: np.ndarray
    truth: np.ndarray
    answers: Callable[[int], np.ndarray]


def main() -> int:
    started = time.perf_counter()
    encoder = MiniLMEncoder()
    is_met = [one_world(world) for world in (tweets(encoder), banking77(encoder)) if world is not None]
    print(f"({time.perf_counter() - started:.0f} s)")
    return 0 if all(is_met) else 1


def tweets(encoder: MiniLMEncoder) -> World | None:
    if not TWEETS.exists():
        print(f"tweets: skipped, {TWEETS} is not there; `make setup` downloads it")
        return None
    found = read_tweets(TWEETS)
    code = {label: k for k, label in enumerate(LABELS)}
    said = np.vectorize(code.__getitem__)(labels_of(found.ratings[:, :10]))
    truth = np.vectorize(code.__getitem__)(truth_of(found.ratings))
    embeddings = encoder.encode(found.texts)
    return World("tweets (real ratings; annotators are anonymous columns)", list(LABELS), embeddings,
                 clusters_of(embeddings, found.texts), truth, lambda seed: said)


def banking77(encoder: MiniLMEncoder) -> World | None:
    path = Path(os.environ.get("GOLDPAN_BENCH_DATA", "../shared/data")) / "banking77" / "train.csv"
    if not path.exists():
        print(f"banking77: skipped, {path} is not there; set GOLDPAN_BENCH_DATA")
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    commonest = {label for label, _ in Counter(row["category"] for row in rows).most_common(N_BANKING_LABELS)}
    rows = [row for row in rows if row["category"] in commonest]
    rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))[:N_BANKING]]
    texts = [row["text"] for row in rows]
    names, truth = np.unique([row["category"] for row in rows], return_inverse=True)
    embeddings = encoder.encode(texts)
    return World(f"banking77 (true labels; {N_WORKERS} simulated annotators)", list(names), embeddings,
                 clusters_of(embeddings, texts), truth, lambda seed: simulated_answers(embeddings, truth, seed))


def clusters_of(embeddings: np.ndarray, texts: list[str] | tuple[str, ...]) -> np.ndarray:
    return find_clusters(embeddings, [sha256_of(text.encode()) for text in texts], threshold=THRESHOLD).cluster


def simulated_answers(embeddings: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """Return (n, N_WORKERS): skill .65 to .95, .4 less on weak labels; four errors in five towards a similar label."""
    random = np.random.default_rng(seed)
    n, n_labels = len(truth), int(truth.max()) + 1
    centres = np.stack([embeddings[truth == code].mean(axis=0) for code in range(n_labels)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    similar = np.argsort(-(centres @ centres.T), axis=1)[:, 1:4]
    answers = np.empty((n, N_WORKERS), dtype=np.intp)
    for worker in range(N_WORKERS):
        skill = np.full(n_labels, random.uniform(0.65, 0.95))
        skill[random.permutation(n_labels)[:N_WEAK_LABELS]] -= 0.4
        nearby = similar[truth, random.integers(0, 3, n)]
        anywhere = (truth + random.integers(1, n_labels, n)) % n_labels
        wrong = np.where(random.random(n) < 0.8, nearby, anywhere)
        answers[:, worker] = np.where(random.random(n) < skill[truth], truth, wrong)
    return answers


def one_world(world: World) -> bool:
    print(f"\n{world.name}: {len(world.truth)} examples, {len(world.labels)} labels, {len(SEEDS)} seeds")
    right: dict[tuple[str, int], list[np.ndarray]] = {}
    paths = []
    for seed in SEEDS:
        crowd = Crowd(world, seed)
        for overlap in OVERLAPS:
            for method, label in crowd.joined(np.full(len(world.truth), overlap)).items():
                right.setdefault((method, overlap), []).append(label == world.truth)
        paths.append(crowd.adaptive_path())
    is_better = print_fixed(right)
    return print_saved(right, paths) and is_better


class Crowd:
    """One seed's annotators: who is asked first, second … about each example, and what they say."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        self.answers = world.answers(seed)
        random = np.random.default_rng(1000 + seed)
        self.order = np.argsort(random.random(self.answers.shape), axis=1)
        self.is_doubled = random.permutation(len(world.truth)) < SHARE_DOUBLED * len(world.truth)

    def votes(self, n_given: np.ndarray) -> Votes:
        """Return (example, annotator, label) when each example has been labelled n_given (n,) times."""
        example, turn = np.nonzero(np.arange(MOST_LABELS) < n_given[:, None])
        annotator = self.order[example, turn]
        return example, annotator, self.answers[example, annotator]

    def majority(self, votes: Votes) -> np.ndarray:
        example, _, label = votes
        counts = np.zeros((len(self.world.truth), len(self.world.labels)), dtype=int)
        np.add.at(counts, (example, label), 1)
        best = np.lexsort((np.arange(len(example)), -counts[example, label], example))  # of a tie the one given first
        return label[best[np.searchsorted(example, np.arange(len(counts)))]]

    def pred_probs(self, votes: Votes) -> np.ndarray:
        world = self.world
        labels = [world.labels[code] for code in self.majority(votes)]
        found = out_of_sample_probabilities(world.embeddings, labels, world.clusters, labels_order=world.labels,
                                            seed=self.seed)
        assert found.rows_scored.all(), found.left_out
        return found.pred_probs

    def joined(self, n_given: np.ndarray) -> dict[str, np.ndarray]:
        """Return each method's labels (n,); CROWDLAB needs examples with two votes."""
        votes = self.votes(n_given)
        without_model = dawid_skene(*votes, n_examples=len(self.world.truth), n_labels=len(self.world.labels))
        found = {"majority": self.majority(votes), "Dawid-Skene": without_model.consensus}
        if n_given.max() > 1:
            found["CROWDLAB"] = crowdlab(*votes, self.pred_probs(votes)).consensus_label
        return found

    def adaptive_path(self) -> list[tuple[float, float]]:
        """Return (mean labels an example, accuracy of CROWDLAB) after each round."""
        n_given = 1 + self.is_doubled.astype(int)
        path = []
        while True:
            votes = self.votes(n_given)
            pred_probs = self.pred_probs(votes)
            said = crowdlab(*votes, pred_probs)
            path.append((float(n_given.mean()), float(np.mean(said.consensus_label == self.world.truth))))
            is_open = (n_given < MOST_LABELS) & (said.consensus_quality < SURE_ENOUGH)
            if n_given.mean() >= MEAN_LABELS or not is_open.any():
                return path
            scores = np.where(is_open, activelab(*votes, pred_probs).labelled, np.inf)
            lowest = np.argsort(scores, kind="stable")[:round(SHARE_PER_ROUND * len(scores))]
            n_given[lowest[is_open[lowest]]] += 1


def print_fixed(right: dict[tuple[str, int], list[np.ndarray]]) -> bool:
    """Print accuracy and differences to the majority, with 95 % bootstrap intervals over examples."""
    columns = (*METHODS, "Dawid-Skene - majority", "CROWDLAB - majority")
    print("labels each" + "".join(f"{column:>26}" for column in columns))
    is_met = True
    for overlap in OVERLAPS:
        mean = {method: np.mean(right[method, overlap], axis=0) for method in METHODS if (method, overlap) in right}
        cells = [shown(interval_over_examples(mean[method])) if method in mean else "-" for method in METHODS]
        gains = {method: interval_over_examples(mean[method] - mean["majority"]) for method in mean}
        cells += [shown(gains[method], sign="+") if method in gains else "-" for method in METHODS[1:]]
        print(f"{overlap:11}" + "".join(f"{cell:>26}" for cell in cells))
        is_met &= overlap != 2 or gains["CROWDLAB"].high >= 0
    return is_met


def print_saved(right: dict[tuple[str, int], list[np.ndarray]], paths: list[list[tuple[float, float]]]) -> bool:
    """Print what adaptive relabelling costs to reach the accuracy of fixed overlap, with intervals over seeds."""
    print("adaptive, seed 0: " + ", ".join(f"{labels:.2f} labels {accuracy:.3f}" for labels, accuracy in paths[0]))
    print("as accurate as              accuracy  adaptive labels  labels saved (95 % over seeds)")
    is_met = False
    for method, overlap in (("majority", 3), ("majority", 5), ("CROWDLAB", 2), ("CROWDLAB", 3)):
        targets = [float(np.mean(one)) for one in right[method, overlap]]
        needed = np.array([labels_to_reach(path, target) for path, target in zip(paths, targets, strict=True)])
        line = f"{method:>8} of {overlap} labels each  {np.mean(targets):9.3f}  "
        n_short = int(np.isnan(needed).sum())
        if n_short:
            most = np.mean([path[-1][0] for path in paths])
            print(f"{line}not reached by {n_short} of {len(paths)} seeds with {most:.2f} labels")
            continue
        saved = interval_over_seeds(1 - needed / overlap)
        proof = "" if saved.low > 0 else "  nothing saved" if saved.high < 0 else "  not proven"
        print(f"{line}{needed.mean():15.2f}  {saved.estimate:+.0%} ({saved.low:+.0%} to {saved.high:+.0%}){proof}")
        is_met |= (method, overlap) == ("CROWDLAB", 3) and saved.low > 0
    return is_met


def labels_to_reach(path: list[tuple[float, float]], target: float) -> float:
    """Return the mean labels at which a straight line through the path first reaches `target`; nan if it does not."""
    if path[0][1] >= target:
        return path[0][0]
    for (labels, accuracy), (next_labels, next_accuracy) in pairwise(path):
        if next_accuracy >= target:
            return labels + (next_labels - labels) * (target - accuracy) / (next_accuracy - accuracy)
    return float("nan")


def interval_over_examples(values: np.ndarray) -> Interval:
    sums = resampled_sums(values[:, None], n_resamples=2000, seed=0)[:, 0]
    return Interval(float(values.mean()), *percentiles(sums / len(values), 0.95), len(values))


def interval_over_seeds(values: np.ndarray) -> Interval:
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half, len(values))


def shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.estimate:{sign}.3f} ({interval.low:{sign}.3f} {interval.high:{sign}.3f})"


if __name__ == "__main__":
    sys.exit(main())
