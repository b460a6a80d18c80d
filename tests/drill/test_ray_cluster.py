"""The same work on a Ray cluster of two nodes: equal results, and a node that is killed costs nothing but time."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from curation.dedup import find_clusters, near_duplicate_pairs
from curation.encoder import embed_texts
from curation.ray_shards import on_ray
from curation.shards import here
from jobs.progress import Progress, silent

ray = pytest.importorskip("ray", reason="requirements-ray.txt is not installed")
pytestmark = pytest.mark.drill


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_dashboard": False}
    started = Cluster(initialize_head=True, connect=True, head_node_args=head)
    started.add_node(num_cpus=1, object_store_memory=200_000_000)
    started.wait_for_nodes()
    yield started
    ray.shutdown()
    started.shutdown()


def slow_square(shared: int, piece: int, progress: Progress) -> tuple[int, str]:
    time.sleep(0.4)
    return shared * piece * piece, ray.get_runtime_context().get_node_id()


def refuses(shared: None, piece: int, progress: Progress) -> None:
    raise ValueError(f"piece {piece} cannot be done")


def unit_rows(n: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(n, 24)).astype(np.float32)
    vectors[n // 2:] = vectors[:n - n // 2] + 0.05
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_two_nodes_find_the_same_pairs_and_make_the_same_vectors(cluster: Any) -> None:
    vectors = unit_rows(3_000)
    one, two = (near_duplicate_pairs(vectors, threshold=0.9, spread=spread) for spread in (here, on_ray))
    assert len(one.rows_a) >= 1_500
    assert (one.rows_a.tolist(), one.rows_b.tolist()) == (two.rows_a.tolist(), two.rows_b.tolist())
    assert one.similarity.tobytes() == two.similarity.tobytes()  # piece by piece the same products
    alone, spread_out = (find_clusters(vectors, np.arange(3_000), threshold=0.9, partition_from=2_000, spread=spread)
                         for spread in (here, on_ray))
    assert (alone.cluster == spread_out.cluster).all() and (alone.degree == spread_out.degree).all()
    assert alone.recall == spread_out.recall

    shared = {"encoder": "tests.fakes.HashingEncoder", "name": "hashing 3-grams"}
    pieces = [[f"text {k} of piece {number}" for k in range(50)] for number in range(9)]
    spread = dict(on_ray(embed_texts, pieces, shared=shared, sizes=[50] * 9, stage="Embedding"))
    assert sorted(spread) == list(range(9))
    for number, piece in enumerate(pieces):
        assert (spread[number] == embed_texts(shared, piece, silent)).all()


def test_a_killed_node_loses_no_piece_and_doubles_none(cluster: Any) -> None:
    pieces = list(range(24))
    found: list[tuple[int, int]] = []
    nodes: set[str] = set()
    killer = threading.Timer(0, lambda: cluster.remove_node(*cluster.worker_nodes, allow_graceful=False))
    for number, (value, node) in on_ray(slow_square, pieces, shared=3, sizes=[1] * 24, stage="Squaring"):
        found.append((number, value))
        nodes.add(node)
        if len(nodes) == 2 and killer.ident is None:  # both work: now one dies in the middle of its piece
            killer.start()
    killer.join()
    assert len(nodes) == 2, "both nodes had work before one died"
    assert sorted(found) == [(k, 3 * k * k) for k in pieces]
    assert sum(node["Alive"] for node in ray.nodes()) == 1


def test_an_error_of_the_work_is_said_in_its_own_words(cluster: Any) -> None:
    with pytest.raises(ValueError, match="piece 0 cannot be done"):
        list(on_ray(refuses, [0], shared=None, sizes=[1], stage="Refusing"))
