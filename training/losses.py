"""The loss of packed rows: of the tokens that are learned, the vocabulary head running only where one is predicted."""

from collections.abc import Callable, Sequence
from typing import Any

from jobs.progress import Progress
from training import encoding
from training.encoding import EncodedRow
from training.language_model import LoadedModel, causal_of
from training.packing import Packed, pack, shared_length

DEV_BATCH = 8  # dev rows whose loss is computed at once


def tensors(packed: Packed, model: Any) -> dict[str, Any]:
    import torch

    mask = torch.zeros(packed.allowed.shape, dtype=model.dtype)
    mask.masked_fill_(~torch.from_numpy(packed.allowed), torch.finfo(mask.dtype).min)
    found = {"input_ids": torch.from_numpy(packed.input_ids), "position_ids": torch.from_numpy(packed.positions),
             "attention_mask": mask[:, None], "labels": torch.from_numpy(packed.targets)}
    return {name: tensor.to(model.device) for name, tensor in found.items()}


def loss_of(causal: Any, inputs: dict[str, Any]) -> Any:
    """The mean loss of the tokens that are learned; the vocabulary head runs where one is predicted only."""
    import torch

    hidden = causal.base_model(
        input_ids=inputs["input_ids"], position_ids=inputs["position_ids"],
        attention_mask=inputs["attention_mask"], use_cache=False).last_hidden_state
    learned = inputs["labels"] != encoding.IGNORED
    logits = causal.get_output_embeddings()(hidden[learned]).float()
    return torch.nn.functional.cross_entropy(logits, inputs["labels"][learned])


def mean_loss(loaded: LoadedModel, rows: Sequence[EncodedRow], progress: Progress) -> float:
    """The mean loss of the rows' completion tokens."""
    import torch

    total, n_tokens, n_shared = 0.0, 0, shared_length(rows)
    with torch.inference_mode():
        for start in range(0, len(rows), DEV_BATCH):
            progress("Scoring the dev rows", start, len(rows))
            batch = rows[start : start + DEV_BATCH]
            packed = pack([(row.input_ids, row.labels) for row in batch], n_shared, loaded.tokenizer.eos_token_id)
            learned = sum(row.n_completion for row in batch)
            total += float(loss_of(causal_of(loaded.model), tensors(packed, loaded.model))) * learned
            n_tokens += learned
    return total / n_tokens


def losses_without_and_with(model: Any, rows: Sequence[EncodedRow], loaded: LoadedModel) -> tuple[float, float]:
    """The mean loss of the rows' completion tokens by the base model alone, and with the adapter as it is now."""
    import torch

    inputs = _inputs(rows, loaded)
    model.eval()
    with torch.inference_mode():
        adapted = float(loss_of(model.get_base_model(), inputs))
        with model.disable_adapter():
            base = float(loss_of(model.get_base_model(), inputs))
    model.train()
    return base, adapted


def learner(model: Any, rows: Sequence[EncodedRow], loaded: LoadedModel, *,
            learning_rate: float) -> Callable[[], float]:
    """A function that does one step of AdamW on all these rows and returns the loss that it met."""
    import torch

    inputs, trained = _inputs(rows, loaded), [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    model.train()

    def step() -> float:
        loss = loss_of(causal_of(model), inputs)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        return float(loss.detach())

    return step


def _inputs(rows: Sequence[EncodedRow], loaded: LoadedModel) -> dict[str, Any]:
    packed = pack([(row.input_ids, row.labels) for row in rows], shared_length(rows), loaded.tokenizer.eos_token_id)
    return tensors(packed, loaded.model)
