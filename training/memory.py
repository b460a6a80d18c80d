"""How much memory a training takes, by formula, and on which GPU it fits and how.

GB are 1e9 bytes; N parameters, h hidden size, L layers, s tokens of a row, b rows of a batch, V vocabulary:
weights 2 N in 16 bits or 0.53 N of the linear layers and 2 N of the embeddings in 4 bits (NF4 with its scales);
trained parameters 16 bytes each (weight, gradient, two moments of Adam, in 32 bits), all N of them in full
fine-tuning; activations 34 b s h + 12 b s ff / 2 of a layer, kept for all layers or, with gradient checkpointing, for
one beside 2 b s h L; logits 10 b s V; 1.2 GB for the runtime. A GPU is filled to 90 %.

Sources: Rajbhandari et al. 2020, ZeRO, SC20 (16 bytes a parameter); Korthikanti et al. 2022, Reducing Activation
Recomputation in Large Transformer Models (34 b s h); Dettmers et al. 2023, QLoRA, NeurIPS (NF4).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from projects.wording import THIN

RUNTIME_GB = 1.2
FILLED = 0.9
SHORTEST = 128  # tokens below which a row is not cut any more
MODEL_FLOPS_SHARE = (0.30, 0.40)  # of a GPU's peak that one GPU reaches in 16 bits
QLORA_SLOWER = (1.3, 1.7)


def memory_words(megabytes: float) -> str:
    """“1.9 GB”, of 2^30 bytes; below one, “780 MB”."""
    return f"{megabytes / 1024:.1f}{THIN}GB" if megabytes >= 1000 else f"{megabytes:.0f}{THIN}MB"


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes, as its config.json says them."""

    layers: int
    hidden: int
    feed_forward: int
    key_value: int  # width of all key heads, and of all value heads
    vocabulary: int
    has_tied_embeddings: bool

    @property
    def linear_layers(self) -> list[tuple[int, int]]:
        """(in, out) of the linear layers of one block: query, key, value, output, gate, up, down."""
        h, kv, ff = self.hidden, self.key_value, self.feed_forward
        return [(h, h), (h, kv), (h, kv), (h, h), (h, ff), (h, ff), (ff, h)]

    @property
    def n_linear(self) -> int:
        return self.layers * sum(a * b for a, b in self.linear_layers)

    @property
    def n_embedding(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.has_tied_embeddings else 2)

    @property
    def n_parameters(self) -> int:
        return self.n_linear + self.n_embedding


def shape_from_config(config: Mapping[str, Any]) -> Shape:
    """The sizes in a model's config.json. Raises KeyError if it has none of a gated decoder."""
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    return Shape(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"],
                 (config.get("num_key_value_heads") or heads) * size, config["vocab_size"],
                 bool(config.get("tie_word_embeddings", False)))


def lora_parameters(shape: Shape, r: int) -> int:
    """Trained parameters of LoRA of rank r on all linear layers but the vocabulary head."""
    return shape.layers * sum(r * (a + b) for a, b in shape.linear_layers)


@dataclass(frozen=True)
class Plan:
    """How a training is held in memory. `batch_size` rows of `tokens` at a time, `accumulate` times for one step."""

    method: Literal["lora", "qlora", "full"]
    batch_size: int
    tokens: int
    has_checkpointing: bool = False
    accumulate: int = 1


def memory_gb(shape: Shape, plan: Plan, *, r: int) -> float:
    """Gigabytes at the peak of a step."""
    n, positions = shape.n_parameters, plan.batch_size * plan.tokens
    weights = 0.53 * shape.n_linear + 2 * shape.n_embedding if plan.method == "qlora" else 2 * n
    trained = 14 * n if plan.method == "full" else 16 * lora_parameters(shape, r)
    layer = 34 * positions * shape.hidden + 6 * 2 * positions * shape.feed_forward / 2
    kept = (2 * positions * shape.hidden * shape.layers + layer if plan.has_checkpointing else shape.layers * layer)
    return (weights + trained + kept + 10 * positions * shape.vocabulary) / 1e9 + RUNTIME_GB


@dataclass(frozen=True)
class Fit:
    """The first plan that fits into `gb` of a GPU; None where none does. asked: what was to fit, rows and tokens."""

    asked: Plan
    plan: Plan | None
    needed_gb: float
    gb: float

    @property
    def words(self) -> str:
        if self.plan is None:
            lora = "train LoRA, or " if self.asked.method == "full" else ""
            return f"Does not fit even so ({self.needed_gb:.1f} GB): {lora}choose a smaller model."
        if self.plan == self.asked:
            return f"Fits as it is: {self.needed_gb:.1f} GB."
        changes = []
        if self.plan.accumulate > 1:
            changes.append(f"one row at a time, {self.plan.accumulate} for a step")
        if self.plan.has_checkpointing:
            changes.append("gradient checkpointing")
        if self.plan.method != self.asked.method:
            changes.append("QLoRA (4-bit weights)")
        if self.plan.tokens < self.asked.tokens:
            changes.append(f"rows of at most {self.plan.tokens:,} tokens instead of {self.asked.tokens:,}")
        return f"Fits with {', '.join(changes)}: {self.needed_gb:.1f} GB."


def fit(shape: Shape, *, r: int, batch_size: int, tokens: int, gb: float,
        method: Literal["lora", "qlora", "full"] = "lora") -> Fit:
    """The first that fits into 90 % of `gb`: as it is, one row at a time, checkpointing, QLoRA, shorter rows.

    Full fine-tuning stays that: all weights cannot be trained in 4 bits.
    """
    asked, needed = Plan(method, batch_size, tokens), 0.0
    for plan in _fallbacks(asked):
        needed = memory_gb(shape, plan, r=r)
        if needed <= FILLED * gb:
            return Fit(asked, plan, needed, gb)
    return Fit(asked, None, needed, gb)


def _fallbacks(plan: Plan) -> Iterator[Plan]:
    yield plan
    plan = replace(plan, batch_size=1, accumulate=plan.batch_size)
    yield plan
    plan = replace(plan, has_checkpointing=True)
    yield plan
    if plan.method != "full":
        plan = replace(plan, method="qlora")
        yield plan
    while plan.tokens > SHORTEST:
        plan = replace(plan, tokens=max(SHORTEST, plan.tokens // 2))
        yield plan


def gpu_seconds(shape: Shape, plan: Plan, *, n_tokens: int, teraflops: float) -> tuple[float, float]:
    """Between how many seconds `n_tokens` (all epochs) take on a GPU of so many teraflops in 16 bits.

    4 N floating-point operations a token with LoRA (6 N in full), 2 N more with checkpointing; small models keep no GPU
    busy and take longer.
    """
    per_token = (6 if plan.method == "full" else 4) + (2 if plan.has_checkpointing else 0)
    busy = per_token * shape.n_parameters * n_tokens / (teraflops * 1e12)
    low, high = busy / MODEL_FLOPS_SHARE[1], busy / MODEL_FLOPS_SHARE[0]
    return (low * QLORA_SLOWER[0], high * QLORA_SLOWER[1]) if plan.method == "qlora" else (low, high)
