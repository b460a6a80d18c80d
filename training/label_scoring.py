"""How likely a causal language model finds each label as the answer about a text.

1. What the prompt says about every text (system message, solved examples) goes through the model once; where it ends
   does not depend on the texts, so that a text alone is scored as it is among others, but for rounding.
2. Each text goes through once, with all labels' completions behind it in the same row; a mask lets every
   completion see its text and itself, not the other completions.
3. The vocabulary head runs only where a completion's token is predicted.
"""

import json
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress, silent
from training import language_model, prompts
from training.language_model import LoadedModel
from training.prompts import Prompt, Shot

CONTENT_FREE = ("N/A", "", "[MASK]")  # Source: Zhao et al. 2021, Calibrate Before Use, ICML
EMPTY_SIDES = {"left": "N/A", "right": "N/A"}  # what is compared where a preference prompt is asked about nothing
ROW_TOKENS = 4096  # at most this many tokens in a batch, so that long texts do not fill the memory


@dataclass(frozen=True)
class Beginning:
    """What a model has read already: tokens that prompts begin with, and their keys and values layer by layer."""

    ids: list[int]
    cache: list[tuple[Any, Any]]


def label_log_likelihoods(loaded: LoadedModel, prompt: Prompt, texts: Sequence[str], *,
                          data: Sequence[Mapping[str, Any]] | None = None,
                          shots: Sequence[Sequence[Shot]] | None = None, batch_size: int = 16,
                          beginning: Beginning | None = None, progress: Progress = silent,
                          stage: str = "Scoring") -> np.ndarray:
    """Return the (n, K) float64 log-likelihoods of the prompt's K labels, columns in the prompt's order.

    A label's score is the sum over its completion's tokens and the token that ends the turn, so it is the
    logarithm of the probability that the model answers exactly that; the K of them sum to less than 1.
    data: what the task shows beside each text; only preference has some. shots: solved examples of each text's own;
    they are no part of the shared beginning, so each text pays for its own.
    batch_size: texts per forward pass; fewer where they are long. Padding is masked, so it changes rounding only.
    beginning: what `read_beginning` has read of this prompt, so that it is not read again.
    Raises ValueError if a text does not fit into the model's context, or the model does not attend to everything.
    """
    if not len(texts):
        return np.zeros((0, len(prompt.labels)))
    _check_attention(loaded.model.config)
    completions = [language_model.encode_completion(loaded.tokenizer, label.completion) for label in prompt.labels]
    rows = _asked(loaded, prompt, texts, data, shots)
    _check_lengths(rows, completions, loaded.model.config.max_position_embeddings)
    scores = np.empty((len(rows), len(completions)))
    done = 0
    import torch

    with torch.inference_mode():
        shared, prefix = shared_cache(loaded.model, rows, beginning or read_beginning(loaded, prompt))
        for batch in _batches([len(row) - shared for row in rows], sum(map(len, completions)), batch_size):
            progress(stage, done, len(rows))
            scores[batch] = _score_batch(loaded.model, prefix, shared, [rows[n][shared:] for n in batch], completions)
            done += len(batch)
    progress(stage, done, len(rows))
    return scores


def answer_log_likelihoods(loaded: LoadedModel, asked: Sequence[Sequence[int]],
                           answers: Sequence[Sequence[Sequence[int]]], *, progress: Progress = silent,
                           stage: str = "Scoring") -> np.ndarray:
    """Return the (n, K) float64 log-likelihoods of each prompt's own K answers, all given as token ids.

    Raises ValueError like `label_log_likelihoods`.
    """
    if not asked:
        return np.zeros((0, 0))
    _check_attention(loaded.model.config)
    context = loaded.model.config.max_position_embeddings
    for number, (row, own) in enumerate(zip(asked, answers, strict=True)):
        if len(row) + max(map(len, own)) > context:
            raise ValueError(f"text {number} makes a prompt of {len(row)} tokens and its longest answer has "
                             f"{max(map(len, own))}, the model takes {context} together: leave it out")
    shared, scores = shared_length(asked), []
    import torch

    with torch.inference_mode():
        prefix = prefix_cache(loaded.model, asked[0][:shared])
        for number, (row, own) in enumerate(zip(asked, answers, strict=True)):
            progress(stage, number, len(asked))
            scores.append(_score_batch(loaded.model, prefix, shared, [row[shared:]], own)[0])
    progress(stage, len(asked), len(asked))
    return np.array(scores)


def n_tokens(loaded: LoadedModel, prompt: Prompt, texts: Sequence[str],
             data: Sequence[Mapping[str, Any]] | None = None,
             shots: Sequence[Sequence[Shot]] | None = None) -> int:
    """Tokens of all prompts without their answers: what a paid endpoint would count as input."""
    return sum(map(len, _asked(loaded, prompt, texts, data, shots)))


def _asked(loaded: LoadedModel, prompt: Prompt, texts: Sequence[str],
           data: Sequence[Mapping[str, Any]] | None,
           shots: Sequence[Sequence[Shot]] | None) -> list[list[int]]:
    return [language_model.encode_messages(loaded.tokenizer, prompts.render(prompt, text, shown, solved))
            for text, shown, solved in zip(texts, data or [{}] * len(texts), shots or [()] * len(texts), strict=True)]


@dataclass(frozen=True)
class _Layout:
    """Where the completions stand behind a text: their tokens but the last, and what each position predicts."""

    tokens: list[int]  # inputs behind the text, completion by completion
    depth: list[int]  # how far each of them is behind the text's end
    owner: list[int]  # which completion each belongs to
    predictor: list[int]  # per predicted token: the input that predicts it, -1 for the text's last token
    target: list[int]
    target_owner: list[int]


def _layout(completions: Sequence[Sequence[int]]) -> _Layout:
    tokens: list[int] = []
    depth: list[int] = []
    owner: list[int] = []
    predictor: list[int] = []
    target: list[int] = []
    target_owner: list[int] = []
    for label, completion in enumerate(completions):
        for place, token in enumerate(completion):
            predictor.append(len(tokens) - 1 if place else -1)
            target.append(token)
            target_owner.append(label)
            if place < len(completion) - 1:
                tokens.append(token)
                depth.append(place)
                owner.append(label)
    return _Layout(tokens, depth, owner, predictor, target, target_owner)


def _score_batch(model: Any, prefix: list[tuple[Any, Any]], shared: int, texts: Sequence[Sequence[int]],
                 completions: Sequence[Sequence[int]]) -> np.ndarray:
    import torch
    from transformers import DynamicCache

    layout, device = _layout(completions), model.device
    n, longest, tail = len(texts), max(map(len, texts)), len(layout.tokens)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    ids = torch.zeros((n, longest + tail), dtype=torch.long, device=device)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
    ids[:, longest:] = torch.tensor(layout.tokens, dtype=torch.long)
    places = torch.arange(longest, device=device).repeat(n, 1)
    depth = torch.tensor(layout.depth, dtype=torch.long, device=device)
    positions = shared + torch.cat([places, lengths[:, None] + depth[None]], dim=1)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefix):
        cache.update(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1), layer)
    allowed = _allowed(layout, lengths, longest, shared)
    mask = torch.zeros(allowed.shape, dtype=model.dtype, device=device).masked_fill(
        ~allowed, torch.finfo(model.dtype).min)[:, None]
    hidden = _backbone(model)(input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache,
                              use_cache=True).last_hidden_state
    predictor = torch.tensor(layout.predictor, device=device)
    where = torch.where(predictor[None] < 0, lengths[:, None] - 1, longest + predictor[None])
    states = hidden.gather(1, where[:, :, None].expand(-1, -1, hidden.shape[-1]))
    logits = model.get_output_embeddings()(states).float()
    target = torch.tensor(layout.target, device=device)
    chosen = torch.log_softmax(logits, dim=-1).gather(2, target[None, :, None].expand(n, -1, 1))[:, :, 0].double()
    scores = torch.zeros((n, len(completions)), dtype=torch.float64, device=device)
    scores.index_add_(1, torch.tensor(layout.target_owner, device=device), chosen)
    return np.asarray(scores.cpu().numpy())


def _allowed(layout: _Layout, lengths: Any, longest: int, shared: int) -> Any:
    """(n, tokens, shared + tokens) booleans: what each position of a row may look at."""
    import torch

    device = lengths.device
    owner = torch.tensor(layout.owner, dtype=torch.long, device=device)
    n, tail = len(lengths), len(layout.owner)
    own = torch.ones((longest, longest), dtype=torch.bool, device=device).tril().expand(n, -1, -1)
    is_text = torch.arange(longest, device=device)[None] < lengths[:, None]
    same = (owner[:, None] == owner[None]).tril().expand(n, -1, -1)
    top = torch.cat([own, torch.zeros((n, longest, tail), dtype=torch.bool, device=device)], dim=2)
    bottom = torch.cat([is_text[:, None].expand(-1, tail, -1), same], dim=2)
    return torch.cat([torch.ones((n, longest + tail, shared), dtype=torch.bool, device=device),
                      torch.cat([top, bottom], dim=1)], dim=2)


def prefix_cache(model: Any, ids: Sequence[int]) -> list[tuple[Any, Any]]:
    """Keys and values of the shared beginning, one pair of (1, heads, tokens, size) tensors per layer."""
    import torch
    from transformers import DynamicCache

    if not ids:
        return []
    cache: Any = DynamicCache()
    _backbone(model)(input_ids=torch.tensor([list(ids)], device=model.device), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


def shared_cache(model: Any, rows: Sequence[Sequence[int]],
                 beginning: Beginning) -> tuple[int, list[tuple[Any, Any]]]:
    """How many tokens all rows begin with, and the model's keys and values of them.

    These are the beginning's, unless a row begins otherwise, as where a text's first token grows together with a word
    before it.
    """
    if all(len(row) > len(beginning.ids) and list(row[:len(beginning.ids)]) == beginning.ids for row in rows):
        return len(beginning.ids), beginning.cache
    shared = shared_length(rows)
    return shared, prefix_cache(model, rows[0][:shared])


def read_beginning(loaded: LoadedModel, prompt: Prompt) -> Beginning:
    """Read what the prompt says about every text: system message and solved examples, up to where a text begins."""
    import torch

    rows = _asked(loaded, prompt, ["1", "a"], [_shown(text) for text in ("1", "a")], None)
    ids = rows[0][:shared_length(rows)]
    with torch.inference_mode():
        return Beginning(ids, prefix_cache(loaded.model, ids))


def _shown(text: str) -> dict[str, Any]:
    """What any type of task may show beside a text."""
    return {"left": text, "right": f"{text} {text}", "messages": [{"role": "user", "content": text}]}


def _backbone(model: Any) -> Any:
    """The transformer without its vocabulary head, below any adapter's wrapping."""
    return language_model.causal_of(model).base_model


def shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Tokens that all rows begin with; every row keeps at least one of its own."""
    columns = zip(*(row[:-1] for row in rows), strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _batches(lengths: Sequence[int], tail: int, batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers, longest first, so that rows of a batch are about equally long and memory runs out at once."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        fitting = max(1, ROW_TOKENS // (lengths[order[start]] + tail))
        yield order[start : start + min(batch_size, fitting)]
        start += min(batch_size, fitting)


def _check_attention(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ValueError(f"label scoring needs a model whose layers attend to all tokens, this one has {sorted(kinds)}")


def _check_lengths(rows: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], context: int) -> None:
    room = context - max(map(len, completions))
    for n, row in enumerate(rows):
        if len(row) > room:
            raise ValueError(f"text {n} makes a prompt of {len(row)} tokens, the model takes {room}: leave it out")


def score_files(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: score every prompt of `spec` on its texts and write `scores-<n>.npy`, (n, K) float64.

    spec: "model" and "adapter" (folder or null), "prompts" (list of `prompt_to_json`), "texts_file" (JSON lines
    with "text" and perhaps "data" and "shots"), optional "batch_size", "threads". `content-free-<n>.npy` holds the
    scores of `CONTENT_FREE`.
    """
    language_model.prepare_process(int(spec.get("threads") or len(os.sched_getaffinity(0))))
    rows = [json.loads(line) for line in Path(spec["texts_file"]).read_text().split("\n") if line]
    texts, shown = [row["text"] for row in rows], [row.get("data", {}) for row in rows]
    shots = [prompts.shots_from_json(row.get("shots", ())) for row in rows]
    progress("Loading the model", 0, 1)
    model_folder = Path(spec["model"])
    loaded = language_model.load(model_folder, adapter=Path(spec["adapter"]) if spec.get("adapter") else None)
    answers = []
    for n, data in enumerate(spec["prompts"]):
        prompt, started = prompts.prompt_from_json(data), time.perf_counter()
        batch_size = int(spec.get("batch_size") or 16)
        scores = label_log_likelihoods(loaded, prompt, texts, data=shown, shots=shots, batch_size=batch_size,
                                       progress=progress, stage=f"Scoring “{prompt.name}”")
        seconds = time.perf_counter() - started
        np.save(folder / f"scores-{n}.npy", scores)
        np.save(folder / f"content-free-{n}.npy", label_log_likelihoods(
            loaded, prompt, CONTENT_FREE, data=[EMPTY_SIDES] * len(CONTENT_FREE)))
        answers.append({"name": prompt.name, "sha256": prompts.prompt_sha256(prompt), "seconds": seconds,
                        "scores": f"scores-{n}.npy", "content_free": f"content-free-{n}.npy",
                        "labels": [label.name for label in prompt.labels],
                        "prompt_tokens": n_tokens(loaded, prompt, texts, shown, shots)})
    return {"prompts": answers, "model": language_model.model_identity(model_folder), "n_texts": len(texts),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    child_main(score_files)
