"""What a prompt's label scores cost: Goldpan's shared work beside naive scoring, on the embedded 135M model.

`python -m bench.prompt [texts]`, about ten minutes, nearly all of them for naive scoring: 6 real tweets, 20 labels, a
prompt with eight solved examples. The more texts, the larger the ratio, as they share what comes before them. All sides
score the same requests with the same loaded model and threads, one after the other; seconds are of the processor, so
other work on the machine changes them little.
- naive: every text with every label goes through the whole model by itself, as one would ask an endpoint that gives
  log-probabilities.
- batched: the same, the 20 labels of a text as one padded batch.
- per text: the text's tokens once, then its 20 labels on the keys and values that they left.
Exits with 1 if Goldpan is less than 20 times as fast as naive scoring, or a score differs by more than 1e-4.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from goldpan.demo_data import SDIST, labels_of, read_tweets
from training import language_model, prompts
from training.label_scoring import label_log_likelihoods, prefix_cache
from training.prompts import Prompt, Shot

MODEL, TWEETS = Path("var/models/smollm2-135m-instruct"), Path("var/downloads") / SDIST
N_TEXTS, THREADS = 6, 1
MIN_RATIO, MAX_DIFFERENCE = 20.0, 1e-4
NAMES = ("delay", "cancellation", "lost luggage", "damaged luggage", "refund", "booking problem", "rude staff",
         "praise", "seat", "food", "entertainment on board", "check-in", "security line", "connection missed",
         "upgrade", "loyalty points", "price", "website or app", "question", "something else")
Side = Callable[[Prompt, Sequence[str]], np.ndarray]


def main(n_texts: int) -> int:
    for needed in (MODEL, TWEETS):
        if not needed.exists():
            print(f"skipped: {needed} is not there; `make setup` prepares it")
            return 0
    language_model.prepare_process(THREADS)
    import torch

    loaded = language_model.load(MODEL)
    loaded.model.float()  # equal arithmetic: in bfloat16 two orders of adding differ by more than the goal
    prompt, texts = prompt_and_texts(n_texts)
    n_own = [len(language_model.encode_messages(loaded.tokenizer, prompts.render(prompt, text))) for text in texts]
    print(f"{n_texts} tweets × {len(prompt.labels)} labels, prompts of {min(n_own)} to {max(n_own)} tokens, float32, "
          f"{THREADS} thread, torch {torch.__version__}")
    with torch.inference_mode():
        label_log_likelihoods(loaded, prompt, texts[:2])  # warm
        sides: dict[str, Side] = {
            "Goldpan": lambda prompt, texts: label_log_likelihoods(loaded, prompt, texts),
            "per text": lambda prompt, texts: per_text(loaded, prompt, texts),
            "batched": lambda prompt, texts: batched(loaded, prompt, texts),
            "naive": lambda prompt, texts: naive(loaded, prompt, texts)}
        found = {name: timed(side, prompt, texts) for name, side in sides.items()}
    scores, seconds = found["Goldpan"]
    print(f"{'':10}{'CPU s':>8}{'ms a text':>11}{'ratio':>8}{'largest difference':>21}")
    for name, (other, took) in found.items():
        print(f"{name:10}{took:8.1f}{1000 * took / n_texts:11.0f}{took / seconds:7.1f}×"
              f"{np.abs(other - scores).max():21.1e}", flush=True)
    ratio = found["naive"][1] / seconds
    difference = max(float(np.abs(other - scores).max()) for other, _ in found.values())
    is_met = ratio >= MIN_RATIO and difference <= MAX_DIFFERENCE
    print(f"G11: {ratio:.1f} × naive (goal {MIN_RATIO:.0f}), difference {difference:.1e} (goal {MAX_DIFFERENCE:.0e}): "
          f"{'met' if is_met else 'NOT MET'}")
    return 0 if is_met else 1


def prompt_and_texts(n: int) -> tuple[Prompt, list[str]]:
    found = read_tweets(TWEETS)
    texts = [text for text in found.texts if 40 <= len(text) <= 140]
    feelings = dict(zip(found.texts, labels_of(found.ratings[:, 0]), strict=True))
    # The labels are ours and what is shown as their answers is no matter: scores are compared, not accuracies.
    shots = [Shot(text, NAMES[(k * 7 + len(str(feelings[text]))) % len(NAMES)]) for k, text in enumerate(texts[:8])]
    schema = {"labels": [{"name": name} for name in NAMES]}
    return prompts.few_shot(schema, "What is this passenger's tweet about?", shots), texts[8:8 + n]


def timed(side: Side, prompt: Prompt, texts: Sequence[str]) -> tuple[np.ndarray, float]:
    started = time.process_time()
    return side(prompt, texts), time.process_time() - started


def pieces(loaded: Any, prompt: Prompt, text: str) -> tuple[list[int], list[list[int]]]:
    asked = language_model.encode_messages(loaded.tokenizer, prompts.render(prompt, text))
    return asked, [language_model.encode_completion(loaded.tokenizer, label.completion) for label in prompt.labels]


def naive(loaded: Any, prompt: Prompt, texts: Sequence[str]) -> np.ndarray:
    import torch

    scores = np.empty((len(texts), len(prompt.labels)))
    for row, text in enumerate(texts):
        asked, answers = pieces(loaded, prompt, text)
        for column, answer in enumerate(answers):
            logits = loaded.model(torch.tensor([asked + answer])).logits[0, len(asked) - 1:-1]
            scores[row, column] = summed(logits, answer)
    return scores


def batched(loaded: Any, prompt: Prompt, texts: Sequence[str]) -> np.ndarray:
    import torch

    scores = np.empty((len(texts), len(prompt.labels)))
    for row, text in enumerate(texts):
        asked, answers = pieces(loaded, prompt, text)
        longest = max(map(len, answers))
        ids = torch.tensor([asked + answer + [0] * (longest - len(answer)) for answer in answers])
        mask = torch.tensor([[1] * (len(asked) + len(answer)) + [0] * (longest - len(answer)) for answer in answers])
        logits = loaded.model(ids, attention_mask=mask, logits_to_keep=longest + 1).logits
        scores[row] = [summed(logits[column, :len(answer)], answer) for column, answer in enumerate(answers)]
    return scores


def per_text(loaded: Any, prompt: Prompt, texts: Sequence[str]) -> np.ndarray:
    import torch
    from transformers import DynamicCache

    scores = np.empty((len(texts), len(prompt.labels)))
    for row, text in enumerate(texts):
        asked, answers = pieces(loaded, prompt, text)
        longest, n = max(map(len, answers)), len(asked) - 1
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(prefix_cache(loaded.model, asked[:-1])):
            cache.update(keys.expand(len(answers), -1, -1, -1), values.expand(len(answers), -1, -1, -1), layer)
        ids = torch.tensor([asked[-1:] + answer[:-1] + [0] * (longest - len(answer)) for answer in answers])
        mask = torch.tensor([[1] * (n + len(answer)) + [0] * (longest - len(answer)) for answer in answers])
        logits = loaded.model(ids, attention_mask=mask, past_key_values=cache).logits
        scores[row] = [summed(logits[column, :len(answer)], answer) for column, answer in enumerate(answers)]
    return scores


def summed(logits: Any, answer: Sequence[int]) -> float:
    """The log-likelihood of an answer's tokens; logits: (tokens, vocabulary), each row of the one before."""
    import torch

    return float(logits.float().log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).double().sum())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else N_TEXTS))
