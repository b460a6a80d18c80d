"""Do two nodes of a Ray cluster find what one process finds, and what does spreading the work cost?

`python -m bench.cluster`: near-duplicate pairs of made-up vectors, block by block in this process and then on two local
nodes of one core each; wall seconds, the least of ROUNDS by turns, after a warming round. The answers have to be equal
to the byte. Efficiency is the seconds of one process over twice those of two nodes: it needs two free cores, so on a
busy or smaller machine it says nothing, and below a minute of work Ray's own cost is most of it. A node that dies in
the middle is `make cluster`. Exits with 1 if an answer differs or the efficiency misses its goal.
"""

import os
import sys
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a piece a core: before numpy is loaded

import numpy as np

from curation.dedup import DuplicatePairs, near_duplicate_pairs
from curation.ray_shards import on_ray
from curation.shards import Spread, here

N, D, THRESHOLD = 60_000, 384, 0.9
ROUNDS = 2
GOAL = 0.8


def main() -> int:
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ImportError:
        print("skipped: Ray is not installed (requirements-ray.txt)")
        return 0
    vectors = made_up()
    started = time.perf_counter()
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 400_000_000}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    print(f"two nodes are up after {time.perf_counter() - started:.0f} s; load average {os.getloadavg()[0]:.1f} on "
          f"{os.cpu_count()} cores")
    try:
        found, seconds = in_turns(vectors)
    finally:
        ray.shutdown()  # a cluster refuses to take down the node that this process is connected to
        cluster.shutdown()
    is_equal = all((getattr(found[here], name).tobytes() == getattr(found[on_ray], name).tobytes())
                   for name in ("rows_a", "rows_b", "similarity"))
    efficiency = seconds[here] / (2 * seconds[on_ray])
    print(f"{N:,} rows, {len(found[here].rows_a):,} pairs: one process {seconds[here]:.1f} s, two nodes "
          f"{seconds[on_ray]:.1f} s")
    print(f"G12 equal to the byte: {'met' if is_equal else 'not met'}")
    print(f"G12 efficiency: {efficiency:.2f}, goal {GOAL}: {'met' if efficiency >= GOAL else 'not met'}")
    return 0 if is_equal and efficiency >= GOAL else 1


def made_up() -> np.ndarray:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(N, D)).astype(np.float32)
    copies = random.choice(N, N // 10, replace=False)
    vectors[copies] = vectors[random.choice(N, N // 10)] + 0.2 * vectors[copies]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def in_turns(vectors: np.ndarray) -> tuple[dict[Spread, DuplicatePairs], dict[Spread, float]]:
    sides: tuple[Any, ...] = (here, on_ray)
    found = {side: near_duplicate_pairs(vectors[:2_000], threshold=THRESHOLD, spread=side) for side in sides}
    seconds = dict.fromkeys(sides, np.inf)
    for _ in range(ROUNDS):
        for side in sides:
            started = time.perf_counter()
            found[side] = near_duplicate_pairs(vectors, threshold=THRESHOLD, spread=side)
            seconds[side] = min(seconds[side], time.perf_counter() - started)
    return found, seconds


if __name__ == "__main__":
    sys.exit(main())
