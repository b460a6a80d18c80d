"""How fast are texts embedded, beside what one would write by hand, and do their near-duplicates stay the same?

`python -m bench.embed`: every fifth text of banking77 (the folder GOLDPAN_BENCH_DATA). One thread, the sides take
turns, the least CPU seconds of ROUNDS count. Peers: sentence-transformers as it comes (torch, float32, batches of 32)
and a bare ONNX Runtime session (float32 and int8, sorted by length, batches of 64), if requirements-fast.txt is there.
Then all of banking77's texts are embedded by the fastest sound runtime and in float32: a pair that one side calls a
near-duplicate is a verdict, which flips if the other does not; so is whether a text has any near-duplicate. Beside the
ratios stands the roof: as fast as the model's matrix products alone would be. Exits with 1 if more than 0.5 % of either
flip at cosine .90 or .95, or a ratio is missed.
"""

import csv
import importlib.util
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import numpy as np

from curation.dedup import near_duplicate_pairs
from curation.encoder import MiniLMEncoder
from curation.runtimes import MAX_FLIPS, RUNTIMES, embed, fastest, load, self_test, verdict_flips

ROUNDS = 2
GOAL_TORCH, GOAL_ONNX = 3.0, 0.85  # times sentence-transformers' texts per second, and the bare session's
THRESHOLDS = np.array([0.90, 0.95])
Side = Callable[[], np.ndarray]
Goal = tuple[str, bool, str]  # what, whether it is met, the figure in words


def main() -> int:
    warnings.filterwarnings("ignore")  # of tracing: what it fixes is not what varies
    every_text = real_texts()
    texts = every_text[::5]
    encoder = MiniLMEncoder()
    folder, precision = encoder.folder, encoder.precision
    usable = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    print(f"self-test in {precision}: texts per second, flips of verdicts at cosines .80 to .99")
    trials = self_test(folder, precision, usable)
    for trial in trials:
        print(f"  {trial.runtime:12} {trial.texts_per_second:8.0f}  {trial.n_flips} of {trial.n_verdicts:,}")
    chosen = fastest(trials)
    sides: dict[str, Side] = {"sentence-transformers": sentence_transformers(folder, texts)}
    for name in usable:
        sides[f"goldpan {name}"] = goldpan(name, folder, precision, texts)
    with tempfile.TemporaryDirectory() as temporary:
        sides |= bare_sessions(folder, texts, Path(temporary))
        found, seconds = in_turns(sides)
    goals = show(len(texts), found, seconds, f"goldpan {chosen}")
    least = roof(folder, texts, precision)
    print(f"matrix products alone, {precision}: {least:.2f} s, {seconds['sentence-transformers'] / least:.2f} x "
          f"sentence-transformers; {chosen} takes {seconds[f'goldpan {chosen}']:.2f} s\n")
    reference = embed(load("torch", folder, "float32"), folder, every_text)
    goals += flips(reference, embed(load(chosen, folder, precision), folder, every_text))
    for name, is_met, words in goals:
        print(f"G6 {name}: {words}: {'met' if is_met else 'not met'}")
    return 0 if all(is_met for _, is_met, _ in goals) else 1


def real_texts() -> list[str]:
    path = Path(os.environ.get("GOLDPAN_BENCH_DATA", "../shared/data")) / "banking77" / "train.csv"
    if not path.exists():
        print(f"skipped: {path} is not there; set GOLDPAN_BENCH_DATA")
        sys.exit(0)
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def sentence_transformers(folder: Path, texts: list[str]) -> Side:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return lambda: np.asarray(model.encode(texts, show_progress_bar=False, normalize_embeddings=True))


def goldpan(runtime: str, folder: Path, precision: str, texts: list[str]) -> Side:
    forward = load(runtime, folder, precision)
    return lambda: embed(forward, folder, texts)


def bare_sessions(folder: Path, texts: list[str], temporary: Path) -> dict[str, Side]:
    """What one would write around a session by hand: sort by length, 64 at a time, mean over tokens, normalise."""
    if importlib.util.find_spec("onnxruntime") is None:
        print("bare ONNX Runtime: not compared, it is not installed (requirements-fast.txt names it)")
        return {}
    import torch
    from transformers import AutoModel

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(str(folder)).eval()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    file = temporary / "model.onnx"
    ids = torch.ones(2, 8, dtype=torch.long)
    axes = {"input_ids": {0: "n", 1: "t"}, "attention_mask": {0: "n", 1: "t"}, "hidden": {0: "n", 1: "t"}}
    torch.onnx.export(Hidden(), (ids, ids), str(file), dynamo=False,
                      opset_version=17, input_names=list(axes)[:2], output_names=["hidden"], dynamic_axes=axes)
    sides = {"bare ONNX session": bare(file, folder, texts)}
    if importlib.util.find_spec("onnx"):
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantised = temporary / "int8.onnx"
        quantize_dynamic(file, quantised, weight_type=QuantType.QInt8, per_channel=True)
        sides["bare ONNX session, int8"] = bare(quantised, folder, texts)
    return sides


def bare(file: Path, folder: Path, texts: list[str]) -> Side:
    import onnxruntime
    from transformers import AutoTokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(str(folder))

    def side() -> np.ndarray:
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for rows in batches(texts):
            batch = tokenizer([texts[row] for row in rows], padding=True, truncation=True, max_length=256,
                              return_tensors="np")
            fed = {name: batch[name] for name in ("input_ids", "attention_mask")}
            mask = fed["attention_mask"][:, :, None]
            mean = (session.run(None, fed)[0] * mask).sum(axis=1) / mask.sum(axis=1)
            vectors[rows] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return vectors

    return side


def batches(texts: list[str]) -> Iterator[list[int]]:
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    yield from (by_length[start:start + 64] for start in range(0, len(texts), 64))


def in_turns(sides: dict[str, Side]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    seconds = dict.fromkeys(sides, np.inf)
    found: dict[str, Any] = {}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            started = time.process_time()
            found[name] = side()
            seconds[name] = min(seconds[name], time.process_time() - started)
    return found, seconds


def roof(folder: Path, texts: list[str], precision: str) -> float:
    """CPU seconds below which no runtime gets in this precision: the layers' matrix products, no token padded.

    The pace is that of numpy's float32 product of 1,024 tokens with a layer's weights; twice that in bfloat16.
    """
    from transformers import AutoTokenizer

    model = json.loads((folder / "config.json").read_text())
    d, inner = model["hidden_size"], model["intermediate_size"]
    encoded = AutoTokenizer.from_pretrained(str(folder))(texts, truncation=True, max_length=256)["input_ids"]
    n_operations = 2 * model["num_hidden_layers"] * (4 * d * d + 2 * d * inner) * sum(len(ids) for ids in encoded)
    draw = np.random.default_rng(0)
    tokens, weights = (draw.random(size, dtype=np.float32) for size in ((1024, d), (d, inner)))
    seconds = []
    for _ in range(30):
        started = time.process_time()
        tokens @ weights
        seconds.append(time.process_time() - started)
    pace = 2 * 1024 * d * inner / min(seconds)
    return n_operations / (pace * (2 if precision == "bfloat16" else 1))


def flips(reference: np.ndarray, vectors: np.ndarray) -> list[Goal]:
    """Of pairs and of texts, at each threshold; block by block, for ten thousand texts have fifty million pairs."""
    goals: list[Goal] = []
    for threshold in THRESHOLDS:
        ours, theirs = (near_duplicate_pairs(side, threshold=threshold) for side in (vectors, reference))
        pairs, others = (set(zip(side.rows_a.tolist(), side.rows_b.tolist(), strict=True)) for side in (ours, theirs))
        alike, expected = ({row for pair in side for row in pair} for side in (pairs, others))
        for what, n_flips, n in (("pairs", len(pairs ^ others), len(pairs | others)),
                                 ("texts", len(alike ^ expected), len(reference))):
            goals.append((f"flips of {what} at {threshold:.2f}", n_flips <= MAX_FLIPS * n,
                          f"{n_flips} of {n:,} ({n_flips / n:.2%}), goal {MAX_FLIPS:.1%}"))
    return goals


def show(n: int, found: dict[str, np.ndarray], seconds: dict[str, float], chosen: str) -> list[Goal]:
    reference = found["sentence-transformers"]
    print(f"\n{n:,} texts of banking77, one thread, least CPU seconds of {ROUNDS} rounds\n"
          "                           texts/s  x sentence-transformers  least cosine  flips of verdicts at .90 and .95")
    for name, vectors in found.items():
        n_flips, n_verdicts = verdict_flips(reference, vectors, THRESHOLDS)
        print(f"{name:26}{n / seconds[name]:8.0f}  {seconds['sentence-transformers'] / seconds[name]:23.2f}  "
              f"{(vectors * reference).sum(axis=1).min():12.5f}  {n_flips} of {n_verdicts:,}")
    ratio = seconds["sentence-transformers"] / seconds[chosen]
    goals: list[Goal] = [("x sentence-transformers", ratio >= GOAL_TORCH, f"{ratio:.2f}, goal {GOAL_TORCH}")]
    if "bare ONNX session" in seconds:
        of_onnx = seconds["bare ONNX session"] / seconds[chosen]
        goals.append(("x bare ONNX session", of_onnx >= GOAL_ONNX, f"{of_onnx:.2f}, goal {GOAL_ONNX}"))
    return goals


if __name__ == "__main__":
    sys.exit(main())
