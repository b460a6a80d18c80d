"""A process that holds language models and answers questions to them: `python -m serving.model_server <spec>`.

1. Every connection to the socket is one question; it waits in a queue that takes so many and no more.
2. One thread takes the question that has waited longest and, with it, others of the same model and prompt: while the
   model is busy they gather by themselves, so nobody waits for company.
3. What a prompt says about every text is read once and kept; models are loaded when they are first asked for.
4. A prompt that shows each text the examples most like it finds them here, since here is room for an encoder.
"""

import json
import logging
import math
import os
import queue
import signal
import socketserver
import stat
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curation.encoder import encoder_of
from serving.answering import Busy, Reply
from serving.examples import VECTORS, Encode, Examples
from training import generation, label_scoring, language_model
from training.label_scoring import Beginning
from training.language_model import LoadedModel
from training.prompts import Prompt, Shot, prompt_from_json, shot_to_json

log = logging.getLogger(__name__)
TOGETHER = 16  # questions answered at once, as evaluations do
MOST_MODELS = 3  # held at once: the champion, the bare model, and one more
MOST_BEGINNINGS = 8
MOST_BYTES = 4_000_000  # of a question
FIRST_GUESS = 1.0  # seconds that a question takes, before one was answered

Load = Callable[[str | None], LoadedModel]


@dataclass
class Work:
    """A question in the queue. key: what it shares with those that may be answered with it.

    said: what goes back to who asked; None at the end of it. is_wanted: False once nobody waits for it.
    """

    key: str
    adapter: str | None
    examples: str | None
    prompt: Prompt
    row: Mapping[str, Any]
    max_new_tokens: int
    since: float = field(default_factory=time.perf_counter)
    said: "queue.SimpleQueue[dict[str, Any] | None]" = field(default_factory=queue.SimpleQueue)
    is_wanted: bool = True

    def tell(self, line: dict[str, Any], *, is_last: bool = True) -> None:
        self.said.put(line)
        if is_last:
            self.said.put(None)


class NobodyWaits(Exception):
    """All who asked have gone, so the answer is not written to its end."""


class Engine:
    """Answers questions one batch after the other, in whatever thread calls `run`.

    load: brings a model, with the adapter of a folder if one is named. most_waiting: questions that may wait.
    encode: gives texts their vectors, for prompts with examples of each text's own.
    """

    def __init__(self, load: Load, *, most_waiting: int, encode: Encode | None = None,
                 together: int = TOGETHER) -> None:
        self._load, self._most_waiting, self._together, self._encode = load, most_waiting, together, encode
        self._examples: dict[tuple[str, int], Examples] = {}
        self._waiting: deque[Work] = deque()
        self._condition = threading.Condition()
        self._models: OrderedDict[str | None, LoadedModel] = OrderedDict()
        self._beginnings: OrderedDict[str, Beginning] = OrderedDict()
        self._seconds_each = FIRST_GUESS  # of late

    def submit(self, work: Work) -> None:
        """Let a question wait for its answer. Raises Busy if as many wait as may."""
        with self._condition:
            if len(self._waiting) >= self._most_waiting:
                seconds = max(1.0, math.ceil(len(self._waiting) * self._seconds_each))
                raise Busy(f"{len(self._waiting)} requests wait for the model, and no more are taken. Ask again in "
                           f"{seconds:.0f} s.", seconds)
            self._waiting.append(work)
            self._condition.notify()

    def run(self) -> None:
        """Answer, for ever."""
        while True:
            self.answer(self.next_batch())

    def next_batch(self) -> list[Work]:
        """Wait for questions; return the oldest and those that can be answered with it, in the order they came."""
        with self._condition:
            while not self._waiting:
                self._condition.wait()
            key = self._waiting[0].key
            batch: list[Work] = []
            rest: deque[Work] = deque()
            for work in self._waiting:
                (batch if work.key == key and len(batch) < self._together else rest).append(work)
            self._waiting = rest
        return [work for work in batch if work.is_wanted]

    def answer(self, batch: Sequence[Work]) -> None:
        """Answer a batch of one key. What cannot be answered is said to who asked, and to nobody else."""
        if not batch:
            return
        try:
            self._answer(batch)
        except NobodyWaits:
            return
        except ValueError as error:  # one of them is too long: the others are not to suffer
            if len(batch) > 1:
                for work in batch:
                    self.answer([work])
                return
            batch[0].tell({"error": {"kind": "unanswerable", "message": str(error)}})
        except Exception:
            log.exception("%d questions failed", len(batch))
            for work in batch:
                work.tell({"error": {"kind": "failed", "message": "The model failed. Its process's log says why."}})

    def _answer(self, batch: Sequence[Work]) -> None:
        first, loaded = batch[0], self._model(batch[0].adapter)
        beginning = self._beginning(first, loaded)
        started = time.perf_counter()
        rows = [work.row for work in batch]
        shots = self._shots(first, [row["text"] for row in rows])
        if first.prompt.has_labels:
            scores = label_scoring.label_log_likelihoods(
                loaded, first.prompt, [row["text"] for row in rows], data=[row["data"] for row in rows], shots=shots,
                batch_size=len(batch), beginning=beginning)
            label_tokens = tuple(len(language_model.encode_completion(loaded.tokenizer, label.completion))
                                 for label in first.prompt.labels)
            replies = [Reply(scores=tuple(map(float, row)), label_tokens=label_tokens) for row in scores]
        else:
            asked = [{**row, "shots": list(map(shot_to_json, own))} for row, own in zip(rows, shots, strict=True)]
            replies = [Reply(text=one.answer, is_whole=one.is_whole, answer_tokens=one.n_tokens)
                       for one in generation.write_answers(
                           loaded, first.prompt, asked, max_new_tokens=first.max_new_tokens, batch_size=len(batch),
                           beginning=beginning, say=lambda row, piece: _say(batch, row, piece))]
        seconds = time.perf_counter() - started
        self._seconds_each += 0.2 * (seconds / len(batch) - self._seconds_each)
        for work, reply, row, own in zip(batch, replies, rows, shots, strict=True):
            n_asked = label_scoring.n_tokens(loaded, first.prompt, [row["text"]], [row["data"]], [own])
            work.tell({"reply": asdict(reply) | {
                "prompt_tokens": n_asked, "model_seconds": seconds, "waited_seconds": started - work.since,
                "n_together": len(batch)}})

    def _shots(self, work: Work, texts: Sequence[str]) -> list[list[Shot]]:
        """The solved examples of each text's own."""
        if work.examples is None or self._encode is None:
            return [[] for _ in texts]
        folder = Path(work.examples)
        key = (work.examples, (folder / VECTORS).stat().st_mtime_ns)  # written anew after an erasure
        if key not in self._examples:
            self._examples = {key: Examples(folder, self._encode)}
        return self._examples[key].like(texts, work.prompt.neighbours)

    def _model(self, adapter: str | None) -> LoadedModel:
        if adapter not in self._models:
            while len(self._models) >= MOST_MODELS:
                gone, _ = self._models.popitem(last=False)
                self._beginnings = OrderedDict(
                    (key, kept) for key, kept in self._beginnings.items() if not key.startswith(f"{gone}\n"))
            self._models[adapter] = self._load(adapter)
        self._models.move_to_end(adapter)
        return self._models[adapter]

    def _beginning(self, work: Work, loaded: LoadedModel) -> Beginning:
        if work.key not in self._beginnings:
            if len(self._beginnings) >= MOST_BEGINNINGS:
                self._beginnings.popitem(last=False)
            self._beginnings[work.key] = label_scoring.read_beginning(loaded, work.prompt)
        self._beginnings.move_to_end(work.key)
        return self._beginnings[work.key]


def _say(batch: Sequence[Work], row: int, piece: str) -> None:
    if not any(work.is_wanted for work in batch):
        raise NobodyWaits
    batch[row].tell({"piece": piece}, is_last=False)


def work_of(request: Mapping[str, Any]) -> Work:
    """A question as it came over the socket."""
    adapter, examples, most = request["adapter"], request["examples"], request["max_new_tokens"]
    key = f"{adapter}\n{examples}\n{most}\n{json.dumps(request['prompt'], sort_keys=True)}"
    return Work(key, adapter, examples, prompt_from_json(request["prompt"]), request["row"], most)


class _Handler(socketserver.StreamRequestHandler):
    server: "Server"

    def handle(self) -> None:
        line = self.rfile.readline(MOST_BYTES)
        if not line.endswith(b"\n"):
            return
        work = work_of(json.loads(line))
        try:
            self.server.engine.submit(work)
        except Busy as busy:
            work.tell({"error": {"kind": "busy", "message": str(busy), "retry_after": busy.retry_after}})
        try:
            while (said := work.said.get()) is not None:
                self.wfile.write(json.dumps(said).encode() + b"\n")
        except OSError:  # who asked has gone
            work.is_wanted = False


class Server(socketserver.ThreadingUnixStreamServer):
    """Listens on a socket that only its own user can open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: Path, engine: Engine) -> None:
        self.engine = engine
        address.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        address.unlink(missing_ok=True)
        before = os.umask(stat.S_IRWXG | stat.S_IRWXO | stat.S_IXUSR)
        try:
            super().__init__(str(address), _Handler)
        finally:
            os.umask(before)


def serve(spec: Mapping[str, Any]) -> None:
    """Hold models and answer until the process is ended.

    spec: "address" of the socket, "model" (folder), "most_waiting", "threads", "encoder" (dotted path), "kept_in".
    """

    def load(adapter: str | None) -> LoadedModel:
        started = time.perf_counter()
        language_model.prepare_process(int(spec["threads"]))  # not before: an idle installation needs no torch
        loaded = language_model.load(Path(spec["model"]), adapter=Path(adapter) if adapter else None)
        log.info("loaded %s in %.1f s", adapter or "the bare model", time.perf_counter() - started)
        return loaded

    engine = Engine(load, most_waiting=int(spec["most_waiting"]),
                    encode=lambda texts: encoder_of(spec["encoder"], spec["kept_in"]).encode(texts))
    with Server(Path(spec["address"]), engine) as server:
        threading.Thread(target=server.serve_forever, name="socket", daemon=True).start()
        with suppress(KeyboardInterrupt):
            engine.run()  # in the main thread, where torch is at home


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(json.loads(sys.argv[1]))
