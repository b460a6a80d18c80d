"""Twenty programs ask the gateway for two minutes, with OpenAI's own client: errors, waiting, what Goldpan adds.

`python -m bench.gateway` (`… 30 8`: seconds and clients): an installation of its own with the embedded model, a small
classification project and its best prompt; the clients ask as fast as they are answered, by turns whole and as a
stream. A 429 is no error: a client waits as it is told and asks again. Goal: no error. Beside it stand the median and
the 95th percentile of what a client waits, of the model's own time, and of what Goldpan adds to queue and model.
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MODEL = Path("var/models/smollm2-135m-instruct")
SECONDS, CLIENTS = 120.0, 20


@dataclass
class Load:
    """What clients got. seconds: of each answer. errors: by what they say; refused: how often one was told to wait.

    names: ids of the exchanges that were answered.
    """

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    names: list[str] = field(default_factory=list)


def ask_for(seconds: float, *, url: str, key: str, texts: list[str], n_clients: int) -> Load:
    """Let so many clients ask for so long. url: with /v1."""
    import openai

    load, lock, until = Load(), threading.Lock(), time.monotonic() + seconds

    def one(number: int) -> None:
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=300.0,
                           http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
            n = number
            while time.monotonic() < until:
                n += 1
                began = time.perf_counter()
                try:
                    name = _ask(client, texts[n % len(texts)], is_streamed=n % 2 == 0)
                except openai.RateLimitError as error:
                    with lock:
                        load.refused += 1
                    time.sleep(float(error.response.headers["Retry-After"]))
                except openai.OpenAIError as error:
                    with lock:
                        load.errors[f"{type(error).__name__}: {error!s:.120}"] += 1
                else:
                    with lock:
                        load.seconds.append(time.perf_counter() - began)
                        load.names.append(name)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load


def _ask(client: Any, text: str, *, is_streamed: bool) -> str:
    messages = [{"role": "user", "content": text}]
    if not is_streamed:
        return str(client.chat.completions.create(model="champion", messages=messages).id)
    name, said = "", ""
    for event in client.chat.completions.create(model="champion", messages=messages, stream=True):
        name = event.id
        said += "".join(choice.delta.content or "" for choice in event.choices)
    if not said:
        raise AssertionError("a stream without an answer")
    return name


def main(seconds: float = SECONDS, n_clients: int = CLIENTS) -> int:
    if not (MODEL / "config.json").exists():
        print(f"skipped: {MODEL} is not there; `make setup` brings it")
        return 0
    from tests.drill.installation import KillableInstallation

    with tempfile.TemporaryDirectory(prefix="goldpan-gateway-") as folder:
        goldpan = KillableInstallation(Path(folder), environment={"GOLDPAN_BASE_MODEL": str(MODEL.resolve())})
        try:
            made = goldpan.inside("serve_letters")
            goldpan.start_gateway()
            url = f"http://localhost:{goldpan.gateway_port}/v1"
            ask_for(1, url=url, key=made["key"], texts=made["texts"], n_clients=1)  # loads the model
            load = ask_for(seconds, url=url, key=made["key"], texts=made["texts"], n_clients=n_clients)
            time.sleep(2)  # the log is written behind the answers
            rows = np.array(goldpan.rows("SELECT seconds, waited_seconds, model_seconds FROM serving_exchange "
                                         "WHERE is_answered ORDER BY id"), dtype=float)[-len(load.seconds):]
        finally:
            goldpan.stop()
    return report(load, rows, seconds, n_clients)


def report(load: Load, rows: np.ndarray, seconds: float, n_clients: int) -> int:
    """Print what was measured; rows: (n, 3) whole, waited and model seconds of the log. 1 if there was an error."""
    added = np.maximum(rows[:, 0] - rows[:, 1] - rows[:, 2], 0)
    print(f"{n_clients} clients, {seconds:.0f} s: {len(load.seconds)} answers, {len(load.seconds) / seconds:.1f} a "
          f"second, {load.refused} told to wait (429), {load.errors.total()} errors")
    for name, values in (("a client waits", np.array(load.seconds)), ("in the gateway", rows[:, 0]),
                         ("of it in the queue", rows[:, 1]), ("of it in the model", rows[:, 2]),
                         ("of it added by Goldpan", added)):
        median, high = np.quantile(values, [0.5, 0.95]) * 1000
        print(f"  {name:24} median {median:8.1f} ms   p95 {high:8.1f} ms")
    share = added.sum() / rows[:, 2].sum()
    print(f"Goldpan adds {100 * share:.1f} % to the model's own time ({len(rows)} rows of the log)")
    for what, n in load.errors.most_common():
        print(f"  {n} × {what}")
    print("goal: no error:", "missed" if load.errors else "met")
    return 1 if load.errors else 0


if __name__ == "__main__":
    sys.exit(main(*(kind(value) for kind, value in zip((float, int), sys.argv[1:], strict=False))))
