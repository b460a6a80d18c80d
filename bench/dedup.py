"""Near-duplicates: Goldpan's exact search beside plain blocked products, faiss and SemHash, on the same vectors.

`python -m bench.dedup`, or `python -m bench.dedup full` with up to 1,000,000 synthetic vectors. Every side runs in a
process of its own with one thread; what counts are CPU seconds, the least of two rounds in turns (of one round for
faiss's IVF and SemHash, which are slow and approximate).
- Real vectors: MiniLM of banking77 (GOLDPAN_BENCH_DATA, see bench/README.md) with perturbed copies of its questions.
- Clustered vectors with a falling spectrum and planted copies; hostile ones of even spectrum, and ones that all lie in
  a cone, so that no bound helps; dense ones, of which a tenth are copies of one.
- Peers: faiss's flat range search; faiss's IVF of 4 √n lists, 8 of them probed, trained, filled and asked; SemHash with
  its own settings (USearch's HNSW), from vectors to neighbours, without its choice of whom to keep. Pairs that an
  approximate peer finds are decided as all others; its recall is the share of the exact pairs that it finds.
Exits with 1 if the pairs of two exact sides differ, or a goal is missed: on real vectors ≥ 3 × plain products, there
and on clustered ones ≥ 8 × faiss's flat search, ≥ 2 × its IVF and ≥ 10 × SemHash (G1), never below 0.9 × plain products
(G1h), memory beside the vectors ≤ 64 MB + 0.4 × theirs (G1m), recall of the cells ≥ .99 (G2), planted copies found
≥ .95 and joined rightly ≥ .95. A peer that is not installed is left out, and said so. The growth is
drawn to bench/out/dedup-growth.svg.
"""

import argparse
import csv
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.charts import draw_growth, exponent

Pairs = Iterator[tuple[np.ndarray, np.ndarray]]
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
D, THRESHOLD = 384, 0.95
GOAL_HOSTILE, GOAL_RECALL, GOAL_PLANTED = 0.9, 0.99, 0.95
PEERS = {"plain": "numpy", "faiss flat": "faiss", "faiss IVF": "faiss", "SemHash": "semhash"}  # and what they are of
EXACT = ("goldpan", "plain", "faiss flat")
GOALS_OF_PEERS = {"faiss flat": 8.0, "faiss IVF": 2.0, "SemHash": 10.0}  # G1
REAL, CLUSTERED = {"plain": 3.0} | GOALS_OF_PEERS, {"plain": GOAL_HOSTILE} | GOALS_OF_PEERS
LOOSE, HOSTILE = dict.fromkeys(PEERS, 0.0) | {"plain": GOAL_HOSTILE}, {"plain": GOAL_HOSTILE, "faiss flat": 0.0}
ROUNDS = 2
SIZES = {"small": (12_500, 25_000, 50_000), "full": (100_000, 200_000, 400_000, 1_000_000)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dedup")
    parser.add_argument("size", nargs="?", choices=tuple(SIZES), default="small")
    size: str = parser.parse_args().size
    met: list[bool] = []
    for peer, package in PEERS.items():
        if not importlib.util.find_spec(package):
            print(f"{peer}: not compared, {package} is not installed (requirements-bench.txt)")
    with TemporaryDirectory() as folder:
        print("set                n   thr.      pairs  side         CPU s       x  (goal)  recall of the pairs",
              flush=True)
        real = real_vectors()
        if real is not None:
            vectors, copies = real
            np.save(f"{folder}/real.npy", vectors)
            met += [compare(f"{folder}/real.npy", "real", threshold, goals)
                    for threshold, goals in ((THRESHOLD, REAL), (0.90, LOOSE))]
        for name, make, n, goals in (("clustered", clustered, 50_000, CLUSTERED),
                                     ("hostile, even", even, 25_000, HOSTILE),
                                     ("hostile, cone", cone, 25_000, HOSTILE), ("dense", dense, 25_000, HOSTILE)):
            np.save(f"{folder}/some.npy", make(n))
            met.append(compare(f"{folder}/some.npy", name, THRESHOLD, goals))
        met.append(growth(Path(folder), SIZES[size]))
        if real is not None:
            met.append(planted(vectors, *copies))
    print(f"\ngoals: {'all met' if all(met) else 'not all met'}")
    return 0 if all(met) else 1


# Vectors

def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(n: int) -> np.ndarray:
    """A spectrum like that of sentence embeddings, 20 rows around a centre, a tenth of the rows near-copies."""
    draw = np.random.default_rng(0)
    spectrum = (np.arange(1, D + 1, dtype=np.float32)) ** -0.5
    centres = draw.standard_normal((n // 20, D), dtype=np.float32) * spectrum
    rows = centres[draw.integers(0, len(centres), n)]
    for start in range(0, n, 50_000):
        part = rows[start:start + 50_000]
        part += 0.6 * draw.standard_normal(part.shape, dtype=np.float32) * spectrum
    rows[:n // 10] = rows[n // 10:2 * (n // 10)] + 0.15 * draw.standard_normal((n // 10, D),
                                                                              dtype=np.float32) * spectrum
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def even(n: int) -> np.ndarray:
    return unit(np.random.default_rng(1).normal(size=(n, D)))


def cone(n: int, cosine: float = 0.9) -> np.ndarray:
    rows = even(n) * np.sqrt(1 - cosine)
    rows[:, 0] += np.sqrt(cosine)
    return unit(rows)


def dense(n: int) -> np.ndarray:
    rows = clustered(n)
    rows[:n // 10] = unit(rows[:1] + 0.005 * np.random.default_rng(2).normal(size=(n // 10, D)))
    np.random.default_rng(3).shuffle(rows)
    return rows


def real_vectors() -> tuple[np.ndarray, tuple[list[str], np.ndarray]] | None:
    """Embeddings of banking77 and of a perturbed copy of one text in twenty; the texts, and whose copy each is."""
    folder = Path(os.environ.get("GOLDPAN_BENCH_DATA", "../shared/data")) / "banking77"
    if not (folder / "train.csv").exists():
        print(f"real vectors: skipped, {folder / 'train.csv'} is not there; set GOLDPAN_BENCH_DATA")
        return None
    from curation.encoder import MiniLMEncoder
    texts = []
    for name in ("train.csv", "test.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            texts += [row["text"] for row in csv.DictReader(file)]
    draw = random.Random(0)
    chosen = draw.sample(range(len(texts)), len(texts) // 20)
    copies = [perturbed(texts[row], draw) for row in chosen]
    copy_of = np.array([-1] * len(texts) + chosen)
    return MiniLMEncoder().encode(texts + copies), (texts + copies, copy_of)


def perturbed(text: str, draw: random.Random) -> str:
    """A typo, a greeting or another value in a slot; the same question all the same."""
    kind = draw.choice(("typo", "greeting", "slot"))
    words = text.split()
    long = [number for number, word in enumerate(words) if len(word) > 4]
    if kind == "typo" and long:
        number = draw.choice(long)
        at = draw.randrange(1, len(words[number]) - 2)
        word = words[number]
        words[number] = word[:at] + word[at + 1] + word[at] + word[at + 2:]
        return " ".join(words)
    if kind == "slot":
        return f"{text} My reference is {draw.randrange(10_000, 99_999)}."
    return f"{draw.choice(('Hi', 'Hello', 'Good morning'))}, {text[:1].lower()}{text[1:]}"


# Sides, each in a process of its own

def one_side(side: str, file: str, threshold: float) -> dict[str, Any]:
    """What `python -m bench.dedup side …` says: CPU seconds, pairs with a hash, MB over the vectors."""
    done = subprocess.run([sys.executable, "-m", "bench.dedup", "--side", side, file, str(threshold)],
                          env=os.environ | THREADS, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_side(side: str, file: str, threshold: float) -> None:
    if side.startswith("faiss"):
        import faiss
        faiss.omp_set_num_threads(1)
    if side == "SemHash":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # USearch takes as many threads as there are cores
        import semhash  # noqa: F401  # loading it is not searching
    from curation import dedup, similar_pairs
    vectors = np.load(file)
    similar_pairs.prepare(vectors[:8192], threshold=threshold)  # warm: BLAS has its buffers
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = peak_megabytes()
    started = time.process_time()
    more: dict[str, Any] = {}
    if side == "clusters":
        found = dedup.find_clusters(vectors, np.arange(len(vectors)), threshold=threshold)
        recall = found.recall
        more = {"n": found.n_pairs, "recall": [recall.estimate, recall.low, recall.n] if recall else None}
    else:
        search = {"goldpan": search_goldpan, "plain": search_plain, "faiss flat": search_flat, "faiss IVF": search_ivf,
                  "SemHash": search_semhash}[side]
        more = search(vectors, threshold)
    seconds = time.process_time() - started
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes() - before, **more}))


def peak_megabytes() -> float:
    """The most memory this process has held; ru_maxrss would say what its parent had held before."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def counted(parts: Any) -> dict[str, Any]:
    """How many pairs, and a sum that says which, however they are ordered; pairs are used as they come, as in use."""
    n, mark = 0, 0
    for a, b in parts:
        n += len(a)
        key = a.astype(np.uint64) * np.uint64(2**32) + b.astype(np.uint64)
        key ^= key >> np.uint64(31)
        key *= np.uint64(0x9E3779B97F4A7C15)
        mark = (mark + int(np.add.reduce(key ^ (key >> np.uint64(29))))) % 2**64
    return {"n": n, "mark": str(mark)}


def search_goldpan(vectors: np.ndarray, threshold: float) -> dict[str, Any]:
    from curation.similar_pairs import pairs_in_rows, prepare
    prepared = prepare(vectors, threshold=threshold)
    return counted((a, b) for a, b, _ in pairs_in_rows(prepared, 0, prepared.n)) | {"width": prepared.width}


def search_plain(vectors: np.ndarray, threshold: float, block: int = 512) -> dict[str, Any]:
    """Blocks of the upper triangle multiplied in full; a cosine within rounding is decided in doubles, as Goldpan's."""
    def parts() -> Any:
        for i in range(0, len(vectors), block):
            for j in range(i, len(vectors), block):
                products = (vectors[i:i + block] @ vectors[j:j + block].T).ravel()
                flat = np.flatnonzero(products >= np.float32(threshold - 4e-6))
                a, b = np.divmod(flat, min(block, len(vectors) - j))
                keep = (a + i < b + j) if i == j else np.ones(len(a), dtype=bool)
                yield decided(vectors, a[keep] + i, b[keep] + j, products[flat[keep]], threshold)
    return counted(parts())


def search_flat(vectors: np.ndarray, threshold: float) -> dict[str, Any]:
    import faiss
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return counted((a[a < b], b[a < b]) for a, b in in_range(index, vectors, threshold))


def search_ivf(vectors: np.ndarray, threshold: float, n_probed: int = 8) -> dict[str, Any]:
    import faiss
    flat = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], round(4 * len(vectors)**0.5), faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = n_probed
    return counted([found_either_way(len(vectors), in_range(index, vectors, threshold))])


def in_range(index: Any, vectors: np.ndarray, threshold: float, block: int = 1024) -> Pairs:
    for i in range(0, len(vectors), block):
        limits, cosines, others = index.range_search(vectors[i:i + block], threshold - 4e-6)
        a = np.repeat(np.arange(i, i + len(limits) - 1), np.diff(limits.astype(np.int64)))
        yield decided(vectors, a, others, cosines, threshold)


def search_semhash(vectors: np.ndarray, threshold: float) -> dict[str, Any]:
    """Every neighbour that it finds at this threshold; its cosines are rounded, so they are computed anew."""
    import semhash
    peer: Any = semhash.SemHash  # it wants an encoder, which vectors that are there do not need
    made = peer.from_embeddings(vectors, [str(row) for row in range(len(vectors))], model=None)

    def parts() -> Pairs:
        for row, (others, _) in enumerate(made.index.query_threshold(vectors, threshold=threshold)):
            yield decided(vectors, np.full(len(others), row), others.astype(np.int64), vectors[others] @ vectors[row],
                          threshold)
    return counted([found_either_way(len(vectors), parts())])


def found_either_way(n: int, parts: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, found from a, from b or from both."""
    keys = np.unique(np.concatenate([np.minimum(a, b) * n + np.maximum(a, b) for a, b in parts]))
    a, b = np.divmod(keys, n)
    return a[a < b], b[a < b]


def decided(vectors: np.ndarray, a: np.ndarray, b: np.ndarray, cosine: np.ndarray,
            threshold: float) -> tuple[np.ndarray, np.ndarray]:
    keep = cosine >= threshold
    doubtful = np.flatnonzero(np.abs(cosine - threshold) <= 4e-6)
    keep[doubtful] = np.einsum("nd,nd->n", vectors[a[doubtful]], vectors[b[doubtful]], dtype=np.float64) >= threshold
    return a[keep], b[keep]


# What is compared

def compare(file: str, name: str, threshold: float, goals: dict[str, float]) -> bool:
    """Print a line a side; goals: of each peer, how many times as fast Goldpan has to be."""
    sides = ["goldpan", *(peer for peer in goals if importlib.util.find_spec(PEERS[peer]))]
    rounds = [{side: one_side(side, file, threshold) for side in sides if number == 0 or side in EXACT}
              for number in range(ROUNDS)]
    found = {side: min((row[side] for row in rounds if side in row), key=lambda one: one["seconds"]) for side in sides}
    ours, n = found["goldpan"], len(np.load(file, mmap_mode="r"))
    allowed = 64 + 0.4 * n * D * 4 / 2**20
    met = [ours["megabytes"] <= allowed]
    print(f"{name:14} {n:7,}  {threshold:.2f}  {ours['n']:9,}  {'goldpan':10} {ours['seconds']:7.2f}                  "
          f"exact; width {ours['width']}, {ours['megabytes']:.0f} MB over the vectors (allowed {allowed:.0f}): "
          f"{'met' if met[0] else 'NOT MET'}", flush=True)
    for peer in sides[1:]:
        its, ratio = found[peer], found[peer]["seconds"] / ours["seconds"]
        is_equal = peer not in EXACT or (its["n"], its["mark"]) == (ours["n"], ours["mark"])
        met.append(is_equal and ratio >= goals[peer])
        recall = f"{its['n'] / max(1, ours['n']):.4f}" if peer not in EXACT else "equal" if is_equal else "PAIRS DIFFER"
        words = f"({goals[peer]:4.1f})  {recall:6}  {'met' if met[-1] else 'NOT MET'}" if goals[peer] else (
            f"        {recall}")
        print(f"{'':38}  {peer:10} {its['seconds']:7.2f} {ratio:7.2f}  {words}", flush=True)
    return all(met)


def growth(folder: Path, sizes: tuple[int, ...]) -> bool:
    """Whole clusterings of more and more vectors: exponent of the time, memory, and recall where cells are used."""
    print("\nclusters of clustered vectors: n  seconds  exponent  MB over the vectors (allowed)  recall of the pairs",
          flush=True)
    is_met, points = True, list[tuple[int, float]]()
    lines: dict[str, list[tuple[float, float]]] = {}  # the ways differ in how they grow
    for n in sizes:
        np.save(folder / "growing.npy", clustered(n))
        found = one_side("clusters", str(folder / "growing.npy"), THRESHOLD)
        allowed, recall = 64 + 0.4 * n * D * 4 / 2**20, found["recall"]
        points.append((n, found["seconds"]))
        lines.setdefault("In cells" if recall else "All compared", []).append(points[-1])
        slope = f"{exponent(points[-2:]):8.2f}" if len(points) > 1 else "       -"
        words = f"{recall[0]:.4f}, from {recall[1]:.4f} (n = {recall[2]:,})" if recall else "1, all compared"
        print(f"{n:34,}  {found['seconds']:7.1f}  {slope}  {found['megabytes']:20.0f} ({allowed:.0f})  {words}",
              flush=True)
        is_met = is_met and found["megabytes"] <= allowed and (not recall or recall[0] >= GOAL_RECALL)
    draw_growth("dedup-growth", lines)
    return is_met


def planted(vectors: np.ndarray, texts: list[str], copy_of: np.ndarray) -> bool:
    """Whether perturbed copies end up in the cluster of their original, by meaning alone and with wordings."""
    from curation.dedup import NO_PAIRS, find_clusters
    from curation.lexical import lexical_links
    from curation.wordings import same_wordings, wording_links
    nearly = lexical_links(texts)
    links = np.concatenate([nearly, wording_links(same_wordings(texts))])
    print("\nplanted copies (a typo, a greeting, another reference)   found   of what a copy is joined with, rightly")
    copies = np.flatnonzero(copy_of >= 0)
    recalls, precisions = [], []
    for name, joined in (("by meaning", NO_PAIRS), ("by meaning and 5-grams", nearly),
                         ("by meaning, 5-grams and bare wording", links)):
        found = find_clusters(vectors, texts, threshold=THRESHOLD, links=joined).cluster
        recalls.append(float((found[copies] == found[copy_of[copies]]).mean()))
        # Right is what the original would be joined with if there were no copies.
        kept = np.flatnonzero(copy_of < 0)
        inside = np.isin(joined, kept).all(axis=1)
        number = np.full(len(texts), -1)
        number[kept] = np.arange(len(kept))
        alone = find_clusters(vectors[kept], [texts[row] for row in kept], threshold=THRESHOLD,
                              links=number[joined[inside]]).cluster
        pairs = [(alone[number[other]], alone[number[copy_of[row]]]) for row in copies
                 for other in np.flatnonzero(found == found[row]) if copy_of[other] < 0]
        precisions.append(float(np.mean([a == b for a, b in pairs])) if pairs else 1.0)
        print(f"{name:55} {recalls[-1]:7.3f}   {precisions[-1]:.3f}", flush=True)
    is_met = recalls[-1] >= GOAL_PLANTED and precisions[-1] >= GOAL_PLANTED
    print(f"goal {GOAL_PLANTED} and {GOAL_PLANTED}: {'met' if is_met else 'NOT MET'}; n = {len(copies)}")
    originals = [text for text, whose in zip(texts, copy_of, strict=True) if whose < 0]
    other_copies(originals)
    real_pairs(vectors[:len(originals)], originals)
    return is_met


OTHERS: dict[str, Callable[[str, random.Random], str]] = {  # what the rule was not made on; {} is the text
    "another greeting": lambda text, draw: draw.choice(
        ("Hi folks, {}", "Good evening team. {}", "Dear Sir or Madam, {}", "Howdy, {}", "Hey support - {}")
        ).format(text),
    "thanks at the end": lambda text, draw: draw.choice(
        ("{} Thanks!", "{} Many thanks in advance.", "{} Thx", "{} I'd appreciate your help.")).format(text),
    "another reference": lambda text, draw: draw.choice(
        ("{} Ticket no. {}.", "{} (Ref {})", "{} Customer number: {}", "{} Order code {}")).format(
            text, draw.randrange(100_000, 9_999_999)),
    "a letter left out": lambda text, draw: slipped(text, draw, lambda word, at: word[:at] + word[at + 1:]),
    "a letter doubled": lambda text, draw: slipped(text, draw, lambda word, at: word[:at] + word[at] + word[at:]),
    "another letter": lambda text, draw: slipped(
        text, draw, lambda word, at: word[:at] + draw.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1:]),
    "two words misspelt": lambda text, draw: slipped(
        slipped(text, draw, lambda word, at: word[:at] + word[at + 1:]), draw,
        lambda word, at: word[:at] + word[at] + word[at:])}


def slipped(text: str, draw: random.Random, slip: Callable[[str, int], str]) -> str:
    words = text.split()
    long = [number for number, word in enumerate(words) if len(word) > 4]
    if not long:
        return text
    number = draw.choice(long)
    words[number] = slip(words[number], draw.randrange(1, len(words[number]) - 2))
    return " ".join(words)


def other_copies(texts: list[str]) -> None:
    """How many copies the bare wording joins that are perturbed in ways that the rule was not made on."""
    from curation.wordings import same_wordings
    draw = random.Random(1)
    chosen = draw.sample(range(len(texts)), len(texts) // 20)
    kinds = [draw.choice(list(OTHERS)) for _ in chosen]
    copies = [OTHERS[kind](texts[row], draw) for kind, row in zip(kinds, chosen, strict=True)]
    wording = same_wordings(texts + copies)
    hit = wording[len(texts):] == wording[chosen]
    print(f"other perturbations, joined by bare wording alone: {hit.mean():.3f} of {len(hit)}; " + ", ".join(
        f"{kind} {np.mean([one for one, its in zip(hit, kinds, strict=True) if its == kind]):.2f}" for kind in OTHERS))


def real_pairs(vectors: np.ndarray, texts: list[str]) -> None:
    """What the bare wording joins among the texts as they are: no chain may grow."""
    from curation.dedup import find_clusters
    from curation.lexical import lexical_links
    from curation.wordings import same_wordings, wording_links
    nearly, bare = lexical_links(texts), wording_links(same_wordings(texts))
    before, after = (find_clusters(vectors, texts, threshold=THRESHOLD, links=links).cluster
                     for links in (nearly, np.concatenate([nearly, bare])))
    print(f"texts without copies: {len(bare)} pairs by bare wording, {before.max() - after.max()} of them join "
          f"clusters; the largest had {np.bincount(before).max()} texts, has {np.bincount(after).max()}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        run_side(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        sys.exit(main())
