import json

import numpy as np
import pytest

from curation.dedup import find_clusters, near_duplicate_pairs
from curation.encoder import embed_texts
from curation.models import Embedding, EmbeddingShard
from curation.services import embeddings
from curation.services.embeddings import embedding_blocks, encoder_name, ensure_embeddings, load_embeddings
from curation.shards import here, shards_of
from jobs.child import run_child
from jobs.progress import silent
from tests.curation.conftest import new_job
from tests.fakes import HashingEncoder, backwards

ENCODER = "tests.fakes.HashingEncoder"
TEXTS = [f"Text number {k} about cards and parcels" for k in range(23)]


def doubled(shared, piece, progress):
    progress("Doubling", 1, 1)
    return shared * piece


def unit_rows(n, d=8, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    vectors[n // 2:] = vectors[:n - n // 2] + 0.05
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_here_does_every_piece_in_order_and_counts_in_peoples_units():
    reports = []
    done = list(here(doubled, [1, 2], shared=10, sizes=[3, 4], stage="x", progress=lambda *said: reports.append(said)))
    assert done == [(0, 10), (1, 20)]
    assert reports[-1] == ("Doubling", 4, 7) or reports[-1] == ("x", 7, 7)
    assert max(done for _, done, _ in reports) == 7


@pytest.mark.parametrize("n", [0, 1, 40, 3_000])
def test_pairs_found_in_pieces_are_the_pairs_found_at_once(n):
    vectors = unit_rows(n)
    whole = near_duplicate_pairs(vectors, threshold=0.9)
    pieces = near_duplicate_pairs(vectors, threshold=0.9, spread=backwards)
    assert (whole.rows_a.tolist(), whole.rows_b.tolist()) == (pieces.rows_a.tolist(), pieces.rows_b.tolist())
    assert whole.similarity.tobytes() == pieces.similarity.tobytes() and len(whole.rows_a) >= n // 2


@pytest.mark.parametrize("partition_from", [3_000, 2_000])  # all compared; within cells
def test_clusters_are_the_same_wherever_the_pairs_are_looked_for(partition_from):
    vectors = unit_rows(3_000)
    one, two = (find_clusters(vectors, np.arange(3_000), threshold=0.9, partition_from=partition_from, spread=spread)
                for spread in (here, backwards))
    assert (one.cluster == two.cluster).all() and (one.degree == two.degree).all()
    assert (one.n_pairs, one.recall) == (two.n_pairs, two.recall)


def test_texts_embedded_in_pieces_are_in_their_order(tmp_path):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in TEXTS))
    run_child("curation.encoder", {"encoder": ENCODER, "name": "hashing 3-grams", "texts_file": "texts.jsonl",
                                   "texts_per_piece": 5, "shards": "tests.fakes.backwards"}, folder=tmp_path)
    assert np.load(tmp_path / "embeddings.npy") == pytest.approx(HashingEncoder().encode(TEXTS), abs=1e-3)


def test_a_machine_with_another_encoder_is_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        embed_texts({"encoder": ENCODER, "name": "another"}, ["a"], silent)


def test_a_spread_is_named_by_its_path():
    assert shards_of("curation.shards.here") is here


@pytest.fixture
def job(project, alice):
    return new_job(project, alice, "score", "running")


def test_what_is_embedded_once_is_never_embedded_again(job, monkeypatch):
    texts = {f"{k:064x}": text for k, text in enumerate(TEXTS)}
    monkeypatch.setattr(embeddings, "TEXTS_PER_SHARD", 10)
    reports = []
    assert ensure_embeddings(job, texts, lambda *said: reports.append(said)) == 23
    assert list(EmbeddingShard.objects.values_list("n_rows", flat=True)) == [10, 10, 3]
    assert reports[-1] == ("Embedding", 23, 23)
    assert ensure_embeddings(job, texts, silent) == 0 and EmbeddingShard.objects.count() == 3
    assert ensure_embeddings(job, texts | {"f" * 64: "new"}, silent) == 1


def test_vectors_come_in_the_order_asked_for_whatever_shard_they_are_in(job, monkeypatch):
    texts = {f"{k:064x}": text for k, text in enumerate(TEXTS)}
    monkeypatch.setattr(embeddings, "TEXTS_PER_SHARD", 10)
    ensure_embeddings(job, texts, silent)
    asked = [*reversed(texts), next(iter(texts))]
    expected = HashingEncoder().encode([texts[sha256] for sha256 in asked])
    assert load_embeddings(asked) == pytest.approx(expected, abs=1e-3)
    blocks = list(embedding_blocks(asked, block=7))
    assert [len(block) for block in blocks] == [7, 7, 7, 3]
    assert np.concatenate(blocks) == pytest.approx(expected, abs=1e-3)
    assert load_embeddings([]).shape == (0, 1)
    with pytest.raises(KeyError):
        load_embeddings(["e" * 64])


def test_a_worker_that_dies_leaves_the_shards_that_are_done(job, monkeypatch):
    texts = {f"{k:064x}": text for k, text in enumerate(TEXTS)}
    monkeypatch.setattr(embeddings, "TEXTS_PER_SHARD", 10)
    encode, calls = embeddings._encode, []

    def dies_at_the_second(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        encode(*given)

    monkeypatch.setattr(embeddings, "_encode", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        ensure_embeddings(job, texts, silent)
    assert ensure_embeddings(job, texts, silent) == 13
    assert Embedding.objects.filter(encoder=encoder_name(ENCODER)).count() == 23
