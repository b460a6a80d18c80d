"""How MiniLM is computed: by torch, ONNX Runtime or OpenVINO, whichever is fastest on this machine.

1. Texts become tokens; batches are filled up to a budget of padded tokens, longest texts first.
2. A short self-test embeds the same made-up texts with each runtime that is installed. One whose verdicts
   “near-duplicate or not” differ from torch's in float32 by more than MAX_FLIPS is out; the fastest of the rest is
   used.
3. The choice is kept in a file under the machine and the packages' versions, and is made anew when one of them changes.
The precision is no choice: it is part of a vector's name (see `MiniLMEncoder`), and a runtime has to have it.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jobs.progress import Progress, silent

TOKEN_BUDGET = 1024  # padded tokens of a batch: its activations stay within a processor's second cache
MAX_TOKENS = 256  # of a text; what is longer does not count, as the model was trained
STEP_TOKENS = 16 * TOKEN_BUDGET  # between two reports of progress
ROUNDS = 2
MAX_FLIPS = 0.005  # of the verdicts on the self-test's pairs
THRESHOLDS = np.arange(80, 100) / 100  # cosines from which a pair is a near-duplicate, all asked in the self-test
RUNTIMES = ("torch", "onnxruntime", "openvino")
Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]  # ids, mask: (n, t) int64 → (n, d) float32, means


@dataclass(frozen=True)
class Trial:
    """What the self-test saw of one runtime. texts_per_second: of processor time.

    n_flips: of n_verdicts, other than torch's in float32.
    """

    runtime: str
    texts_per_second: float
    n_flips: int
    n_verdicts: int

    @property
    def is_sound(self) -> bool:
        return self.n_flips <= MAX_FLIPS * self.n_verdicts


def runtime_for(folder: Path, precision: str, kept_in: Path | None) -> str:
    """Return the runtime to use: the kept choice of this machine, else what a self-test finds, which is then kept.

    kept_in: a JSON file, made if it is not there; None: torch, untested.
    """
    import torch

    usable = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    if kept_in is None or len(usable) == 1 or torch.cuda.is_available():
        return "torch"
    here = _machine(usable, precision)
    kept = json.loads(kept_in.read_text()) if kept_in.exists() else {}
    if here not in kept:
        trials = self_test(folder, precision, usable)
        kept[here] = {"runtime": fastest(trials), "trials": [asdict(trial) for trial in trials]}
        temporary = kept_in.with_suffix(f".{os.getpid()}")  # two first jobs at once: the later choice stands, whole
        temporary.write_text(json.dumps(kept, indent=1))
        temporary.rename(kept_in)
    return str(kept[here]["runtime"])


def self_test(folder: Path, precision: str, names: Sequence[str]) -> list[Trial]:
    """Embed the sample with each runtime by turns; the least processor seconds of ROUNDS count, after a warming one.

    Processor seconds, because the machine may be busy with something else just now.
    """
    texts = sample_texts()
    reference = embed(load("torch", folder, "float32"), folder, texts)
    forwards = {name: load(name, folder, precision) for name in names}
    vectors = {name: embed(forward, folder, texts) for name, forward in forwards.items()}
    seconds = dict.fromkeys(names, float("inf"))
    for _ in range(ROUNDS):
        for name, forward in forwards.items():
            started = time.process_time()
            embed(forward, folder, texts)
            seconds[name] = min(seconds[name], time.process_time() - started)
    return [Trial(name, round(len(texts) / seconds[name], 1), *verdict_flips(reference, vectors[name]))
            for name in names]


def fastest(trials: Sequence[Trial]) -> str:
    """Return the fastest sound runtime, ties to the earlier; torch if none is sound."""
    sound = [trial for trial in trials if trial.is_sound]
    return max(sound, key=lambda trial: trial.texts_per_second).runtime if sound else "torch"


def verdict_flips(reference: np.ndarray, vectors: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> tuple[int, int]:
    """Return (flips, verdicts) over all pairs of rows and all thresholds.

    reference, vectors: (n, d), rows of length 1. A verdict is a pair that at least one side calls a near-duplicate at a
    threshold; it flips if the other side does not.
    """
    upper = np.triu_indices(len(reference), 1)
    ours, theirs = (vectors @ vectors.T)[upper], (reference @ reference.T)[upper]
    n_flips = n_verdicts = 0
    for threshold in thresholds:
        said, expected = ours >= threshold, theirs >= threshold
        n_flips += int((said != expected).sum())
        n_verdicts += int((said | expected).sum())
    return n_flips, n_verdicts


def sample_texts() -> list[str]:
    """Made-up requests of 3 to 60 words, many of them near-copies of each other; the same on every machine."""
    openings = ("", "Hello, ", "Please help: ", "I still wonder, ", "Since Monday I ask myself: ")
    things = ("card", "parcel", "invoice", "refund", "password", "subscription", "delivery", "exchange rate")
    questions = ("where is my {}?", "why has my {} not arrived yet?", "the {} is wrong, what can I do?",
                 "how do I change the {} on my account?", "can somebody look at the {} again?")
    closing = (" I have tried it twice on the web and once on the phone, waited for a week, read all the pages of help "
               "that there are, and would like to hear from somebody who can really look into it. Thank you")
    return [opening + question.format(thing) + end for question in questions for thing in things
            for opening in openings for end in ("", closing)]


def embed(forward: Forward, folder: Path, texts: Sequence[str], progress: Progress = silent) -> np.ndarray:
    """Return (n, d) float32, every row of length 1, in the order of `texts`."""
    tokens = [encoding.ids for encoding in _tokenizer(folder).encode_batch(list(texts))]
    vectors: np.ndarray | None = None
    n_done, n_tokens = 0, 0
    for rows in token_batches([len(ids) for ids in tokens]):
        ids, mask = _padded([tokens[row] for row in rows])
        found = forward(ids, mask)
        if vectors is None:
            vectors = np.empty((len(texts), found.shape[1]), dtype=np.float32)
        vectors[rows] = found / np.linalg.norm(found, axis=1, keepdims=True)
        n_done, n_tokens = n_done + len(rows), n_tokens + ids.size
        if n_tokens >= STEP_TOKENS or n_done == len(texts):
            progress("Embedding", n_done, len(texts))
            n_tokens = 0
    return vectors if vectors is not None else np.zeros((0, 0), dtype=np.float32)


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def token_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[list[int]]:
    """Yield the rows batch by batch, longest first, ties in order.

    A batch has at most `budget` tokens when padded to its longest row; a row longer than that stands alone.
    """
    longest_first = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(longest_first):
        n = max(1, budget // max(1, lengths[longest_first[start]]))
        yield longest_first[start:start + n]
        start += n


def _padded(tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(ids) for ids in tokens])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = np.concatenate(tokens)
    return ids, mask.astype(np.int64)


def load(runtime: str, folder: Path, precision: str) -> Forward:
    """Return the model of the folder in this runtime, with as many threads as torch would use."""
    return {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}[runtime](folder, precision)


def _module(folder: Path) -> Any:
    """The transformer of the folder, with the mean over a text's tokens behind it, as a torch module."""
    import torch
    from sentence_transformers import SentenceTransformer

    class Mean(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
            mask = attention_mask[:, :, None].float()
            return (hidden * mask).sum(1) / mask.sum(1)

    loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return Mean(loaded[0].auto_model).eval()


def _torch(folder: Path, precision: str) -> Forward:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = _module(folder).to(getattr(torch, precision)).to(device)

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found = module(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
        return np.asarray(found.cpu().numpy(), dtype=np.float32)

    return forward


def _onnxruntime(folder: Path, precision: str) -> Forward:
    """In float32 whatever the precision asked for: on a CPU it has no other that is sound, and this one errs less."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        torch.onnx.export(_module(folder), _example(), str(file), dynamo=False, opset_version=17,
                          input_names=["ids", "mask"], output_names=["mean"], dynamic_axes={
                              "ids": {0: "n", 1: "t"}, "mask": {0: "n", 1: "t"}, "mean": {0: "n"}})
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {"ids": ids, "mask": mask})[0])

    return forward


def _openvino(folder: Path, precision: str) -> Forward:
    import openvino
    import torch

    model = openvino.convert_model(_module(folder), example_input=_example())
    compiled = openvino.Core().compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1})
    request = compiled.create_infer_request()

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.array(request.infer([ids, mask])[0])

    return forward


def _example() -> Any:
    import torch

    return (torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long))


def _machine(runtimes: Sequence[str], precision: str) -> str:
    """What a measurement depends on: processor, cores and threads, precision, and the runtimes' versions."""
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in runtimes)
    return (f"{platform.machine()} {_processor()}, {os.cpu_count()} cores, "
            f"{os.environ.get('OMP_NUM_THREADS', 'all')} threads, {precision}: {versions}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
