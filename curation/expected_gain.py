"""What settling an example is expected to change: the order in which a curator looks at them.

gain = P(its label is wrong) · (1 + log2 of its near-duplicates' number) · weight of its label
1. Without an error there is nothing to change, so the probability of one counts in full.
2. Near-duplicates get the same answer, so a look at one says something of all; but each further one says less, and a
   heap of a hundred copies must not hold up the queue.
3. A gold set gives a rare label nearly as many places as a common one, so one of its rows weighs more there; half of
   the way to the inverse frequency, and never more than twice or less than half the usual weight, so that rarity
   decides between like doubts and never makes a sound label urgent.
A heuristic of ours: the parts are published ideas, their product is not.
"""

import numpy as np

LEAST, MOST = 0.5, 2.0  # weight of a label


def expected_gain(p_wrong: np.ndarray, cluster_size: np.ndarray, label: np.ndarray,
                  predicted: np.ndarray) -> np.ndarray:
    """Return (n,) float >= 0, 0 where a row has no label.

    p_wrong: (n,) in [0, 1]; nan counts as 0. cluster_size: (n,) int >= 1, the row itself included.
    label, predicted: (n,) int codes of the given and the suggested label, -1 for none. A row moves from the one to the
    other if it is wrong, so the larger of their weights counts.
    """
    if len(label) and cluster_size.min() < 1:
        raise ValueError(f"cluster_size must be at least 1, got {cluster_size.min()}")
    weight = label_weights(label)
    of_label = np.where(label >= 0, weight[label], 0.0)
    of_predicted = np.where((predicted >= 0) & (predicted < len(weight) - 1), weight[np.minimum(
        predicted, len(weight) - 1)], 0.0)
    moved = np.where(label >= 0, np.maximum(of_label, of_predicted), 0.0)
    return np.nan_to_num(p_wrong) * (1 + np.log2(cluster_size)) * moved


def label_weights(label: np.ndarray) -> np.ndarray:
    """Return (K + 1,) float: the weight of each code, in [LEAST, MOST], and 1 at the end for a row without a label.

    label: (n,) int codes, -1 for none; the weight of a code is the square root of (an equal share / its share).
    """
    counts = np.bincount(label[label >= 0])
    has_rows = counts > 0
    equal = counts.sum() / max(np.count_nonzero(has_rows), 1)
    weights = np.sqrt(equal / np.maximum(counts, 1)).clip(LEAST, MOST)
    return np.append(np.where(has_rows, weights, MOST), 1.0)
