"""A causal language model's own words as answers, the likeliest token at every step: `python -m training.generation`.

1. What the prompt says about every text (system message, solved examples) goes through the model once.
2. The rows are answered in batches, longest first, each until the model ends its turn or has said enough.
3. Where answers are JSON, only tokens are chosen that can still become a value of the prompt's JSON schema.
"""

import json
import math
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress, silent
from training import language_model, prompts
from training.label_scoring import Beginning, read_beginning, shared_cache
from training.language_model import LoadedModel
from training.prompts import Prompt

MOST_TOKENS = 1024  # no answer gets longer, whatever people wrote
ROOM = 1.25  # an answer may be so much longer than the longest one that people wrote
BATCH_TOKENS = 8192  # at most this many tokens in a batch, so that long texts do not fill the memory


@dataclass(frozen=True)
class Written:
    """What a model wrote about a row; is_whole: it ended its turn itself, and was not cut off."""

    answer: str
    n_tokens: int
    is_whole: bool


def longest_answer(tokenizer: Any, completions: Iterable[str]) -> int:
    """How many tokens an answer may have, by the training answers: the longest and a quarter, at most MOST_TOKENS.

    Raises ValueError if there is no training answer.
    """
    lengths = [len(language_model.encode_completion(tokenizer, completion)) for completion in completions]
    if not lengths:
        raise ValueError("there must be at least one training answer to tell how long answers are, got 0")
    return min(MOST_TOKENS, math.ceil(ROOM * max(lengths)))


def write_answers(loaded: LoadedModel, prompt: Prompt, rows: Sequence[Mapping[str, Any]], *, max_new_tokens: int,
                  batch_size: int = 16, beginning: Beginning | None = None, say: "Say | None" = None,
                  progress: Progress = silent, stage: str = "Answering") -> list[Written]:
    """Return the model's answer to each row, in the rows' order; equal calls give equal answers.

    rows: each with "text", where the task shows more "data", and "shots" of its own if it has some. batch_size: fewer
    where texts are long. Padding is masked, so it changes rounding only.
    beginning: what `read_beginning` has read of this prompt. say: is told a row's number and a piece of its answer as
    it is written; the pieces together are the answer. What it raises ends the writing.
    Raises ValueError if a row and its answer do not fit into the model's context.
    """
    if not rows:
        return []
    asked = [language_model.encode_messages(loaded.tokenizer, prompts.render(
        prompt, row["text"], row.get("data"), prompts.shots_from_json(row.get("shots", ())))) for row in rows]
    _check_lengths(asked, max_new_tokens, loaded.model.config.max_position_embeddings)
    grammar = _Grammar(loaded, prompt.answer_schema) if prompt.answer_schema else None
    written: list[Written | None] = [None] * len(rows)
    n_done = 0
    import torch

    with torch.inference_mode():
        n_shared, prefix = shared_cache(loaded.model, asked, beginning or read_beginning(loaded, prompt))
        for batch in _batches([len(ids) for ids in asked], max_new_tokens, batch_size):
            progress(stage, n_done, len(rows))
            pieces = _Pieces(loaded.tokenizer, batch.tolist(), say) if say else None
            for row, tokens in zip(batch, _generate(loaded, prefix, n_shared, [asked[n] for n in batch],
                                                    max_new_tokens, grammar, pieces), strict=True):
                written[row] = _written(loaded.tokenizer, tokens)
            n_done += len(batch)
    progress(stage, n_done, len(rows))
    return [one for one in written if one is not None]


def _generate(loaded: LoadedModel, prefix: list[tuple[Any, Any]], n_shared: int, asked: Sequence[Sequence[int]],
              max_new_tokens: int, grammar: "_Grammar | None", pieces: "_Pieces | None" = None) -> list[list[int]]:
    """The tokens that follow each prompt, up to the one that ends the turn. Padding stands behind the shared tokens."""
    import torch
    from transformers import DynamicCache, GenerationConfig

    n, longest, end = len(asked), max(map(len, asked)), language_model.end_of_turn(loaded.tokenizer)
    device = loaded.model.device
    ids, mask = torch.full((n, longest), end), torch.ones((n, longest), dtype=torch.long)
    for row, tokens in enumerate(asked):
        n_padding = longest - len(tokens)
        ids[row, :n_shared] = torch.tensor(tokens[:n_shared])
        ids[row, n_shared + n_padding:] = torch.tensor(tokens[n_shared:])
        mask[row, n_shared : n_shared + n_padding] = 0
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefix):
        cache.update(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1), layer)
    said = loaded.model.generate(
        input_ids=ids.to(device), attention_mask=mask.to(device), past_key_values=cache if prefix else None,
        generation_config=GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=max_new_tokens,
                                           eos_token_id=end, pad_token_id=end),
        logits_processor=[grammar.guide(n, longest)] if grammar else None, **({"streamer": pieces} if pieces else {}))
    return [_up_to(row, end) for row in said[:, longest:].tolist()]


Say = Callable[[int, str], None]


class _Pieces:
    """What `generate` calls a streamer: tells each row's text as far as it cannot change any more.

    Half a character waits for its other half, white space for what follows it, as an answer has none at its ends.
    """

    def __init__(self, tokenizer: Any, rows: Sequence[int], say: Say) -> None:
        self.tokenizer, self.rows, self.say = tokenizer, rows, say
        self.last = language_model.end_of_turn(tokenizer)
        self.tokens: list[list[int]] = [[] for _ in rows]
        self.told = [0] * len(rows)
        self.has_ended = [False] * len(rows)
        self.has_begun = False

    def put(self, value: Any) -> None:
        if not self.has_begun:  # the first call brings the prompts
            self.has_begun = True
            return
        for place, token in enumerate(value.reshape(-1).tolist()):
            if self.has_ended[place]:
                continue
            self.has_ended[place] = token == self.last
            if not self.has_ended[place]:
                self.tokens[place].append(token)
            self._tell(place)

    def end(self) -> None:
        """Tell what was held back of answers that were cut off."""
        for place in range(len(self.rows)):
            self.has_ended[place] = True
            self._tell(place)

    def _tell(self, place: int) -> None:
        text = self.tokenizer.decode(self.tokens[place], skip_special_tokens=True).strip()
        if not self.has_ended[place]:
            text = text.rstrip("\ufffd").rstrip()
        if len(text) > self.told[place]:
            self.say(self.rows[place], text[self.told[place]:])
            self.told[place] = len(text)


def _up_to(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def _written(tokenizer: Any, tokens: list[int]) -> Written:
    is_whole = tokens[-1:] == [language_model.end_of_turn(tokenizer)]
    answer = tokenizer.decode(tokens[:-1] if is_whole else tokens, skip_special_tokens=True)
    return Written(answer.strip(), len(tokens), is_whole)


class _Grammar:
    """The JSON schema as what may come next; spaces as `json.dumps` sets them, which training answers have."""

    def __init__(self, loaded: LoadedModel, schema: Mapping[str, Any]) -> None:
        import llguidance
        import llguidance.hf

        self.n_tokens = int(loaded.model.config.vocab_size)
        self.end = language_model.end_of_turn(loaded.tokenizer)
        self.tokenizer = llguidance.hf.from_tokenizer(loaded.tokenizer, n_vocab=self.n_tokens, eos_token=self.end)
        self.grammar = llguidance.LLMatcher.grammar_from_json_schema(
            dict(schema), overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "})

    def guide(self, n: int, n_asked: int) -> "_Guide":
        import llguidance

        matchers = [llguidance.LLMatcher(self.tokenizer, self.grammar) for _ in range(n)]
        if matchers[0].is_error():
            raise ValueError(f"the JSON schema cannot be kept to while answering: {matchers[0].get_error():.300}")
        return _Guide(matchers, self.n_tokens, self.end, n_asked)


@dataclass
class _Guide:
    """A logits processor: what a row's matcher does not allow gets no chance."""

    matchers: list[Any]
    n_tokens: int
    end: int
    n_seen: int

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        for matcher, row in zip(self.matchers, input_ids[:, self.n_seen:].tolist(), strict=True):
            for token in row:
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self.n_seen = input_ids.shape[1]
        allowed = np.stack([self._allowed(matcher) for matcher in self.matchers])
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -math.inf)

    def _allowed(self, matcher: Any) -> np.ndarray:
        """(V,) booleans: the tokens that may come next; the end of the turn once the value is whole."""
        if matcher.is_stopped():
            return np.arange(self.n_tokens) == self.end
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        return bits[: self.n_tokens].astype(bool)


def _batches(lengths: Sequence[int], max_new_tokens: int, batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers, longest first, so that rows of a batch are about equally long and memory runs out at once."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        fitting = max(1, BATCH_TOKENS // (lengths[order[start]] + max_new_tokens))
        yield order[start : start + min(batch_size, fitting)]
        start += min(batch_size, fitting)


def _check_lengths(asked: Sequence[Sequence[int]], max_new_tokens: int, context: int) -> None:
    for n, ids in enumerate(asked):
        if len(ids) + max_new_tokens > context:
            raise ValueError(f"text {n} makes a prompt of {len(ids)} tokens and its answer may have {max_new_tokens}, "
                             f"the model takes {context} together: leave it out")


def answer_files(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: answer the texts under every prompt of `spec` and write `answers-<n>.jsonl`, a line per text.

    spec: "model" and "adapter" (folder or null), "prompts" (list of `prompt_to_json`), "texts_file" (JSON lines with
    "text" and perhaps "data"), "completions_file" (a JSON list of training answers), optional "batch_size", "threads".
    """
    language_model.prepare_process(int(spec.get("threads") or len(os.sched_getaffinity(0))))
    rows = [json.loads(line) for line in Path(spec["texts_file"]).read_text().split("\n") if line]
    progress("Loading the model", 0, 1)
    model_folder = Path(spec["model"])
    loaded = language_model.load(model_folder, adapter=Path(spec["adapter"]) if spec.get("adapter") else None)
    max_new_tokens = longest_answer(loaded.tokenizer, json.loads(Path(spec["completions_file"]).read_text()))
    told = []
    for n, data in enumerate(spec["prompts"]):
        prompt, started = prompts.prompt_from_json(data), time.perf_counter()
        written = write_answers(loaded, prompt, rows, max_new_tokens=max_new_tokens,
                                batch_size=int(spec.get("batch_size") or 16), progress=progress,
                                stage=f"Answering “{prompt.name}”")
        (folder / f"answers-{n}.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in written))
        told.append({"answers": f"answers-{n}.jsonl", "seconds": time.perf_counter() - started,
                     "n_cut": sum(not one.is_whole for one in written), "sha256": prompts.prompt_sha256(prompt),
                     "answer_tokens": sum(one.n_tokens for one in written), "prompt_tokens": _n_tokens(
                         loaded, prompt, rows)})
    return {"prompts": told, "model": language_model.model_identity(model_folder), "max_new_tokens": max_new_tokens,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _n_tokens(loaded: LoadedModel, prompt: Prompt, rows: Sequence[Mapping[str, Any]]) -> int:
    """Tokens of all prompts without their answers: what a paid endpoint would count as input."""
    return sum(len(language_model.encode_messages(loaded.tokenizer, prompts.render(
        prompt, row["text"], row.get("data")))) for row in rows)


if __name__ == "__main__":
    child_main(answer_files)
