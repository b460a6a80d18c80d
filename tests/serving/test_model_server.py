"""The model's process without the process: its queue, its batches, and that it answers as an evaluation does.

The model is a random one of two layers; the socket is real.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation.encoder import normalised
from serving.answering import Busy, Question, Reply, Served, Unanswerable, Unavailable, read
from serving.embedded import EmbeddedModel, request_of
from serving.examples import write_examples
from serving.model_server import Engine, Server, work_of
from tests.fakes import HashingEncoder
from tests.training.conftest import tiny_folder
from tests.training.tiny_model import SCHEMA, toy_rows
from training import generation, label_scoring, language_model
from training.prompts import Shot, few_shot, nearest_shots, short, zero_shot
from training.shots import shots_like

__all__ = ["tiny_folder"]
LABELS = Served("toys/champion", 1, zero_shot(SCHEMA, "Say how it is."), bias=(0.0, 0.0, 0.0))
WRITTEN = Served("toys/champion", 1, zero_shot({"max_chars": 99}, "Answer.", "response"), max_new_tokens=12)
LABEL_NAMES = [label["name"] for label in SCHEMA["labels"]]
TEXTS = [row["text"] for row in toy_rows(20)]


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> language_model.LoadedModel:
    return language_model.load(tiny_folder)


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "m.sock"


@pytest.fixture
def model(loaded: language_model.LoadedModel, address: Path) -> Iterator[EmbeddedModel]:
    engine = Engine(lambda adapter: loaded, most_waiting=64)
    with Server(address, engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Thread(target=engine.run, daemon=True).start()
        yield EmbeddedModel(address)
        server.shutdown()


def whole(model: EmbeddedModel, served: Served, text: str) -> Reply:
    *_, reply = model.ask(served, Question(text))
    assert isinstance(reply, Reply)
    return reply


def works(served: Served, *texts: str):
    return [work_of(json.loads(json.dumps(request_of(served, Question(text))))) for text in texts]


def test_labels_are_scored_as_at_an_evaluation(model, loaded):
    evaluated = label_scoring.label_log_likelihoods(loaded, LABELS.prompt, TEXTS)
    replies: list[Reply | None] = [None] * len(TEXTS)

    def ask(n: int) -> None:
        replies[n] = whole(model, LABELS, TEXTS[n])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array([reply.scores for reply in replies]) == pytest.approx(evaluated, abs=1e-4)
    labels = [LABELS.prompt.labels[k].name for k in evaluated.argmax(axis=1)]
    assert [read(LABELS, Question(text), reply).value for text, reply in zip(TEXTS, replies, strict=True)] == labels
    assert max(reply.n_together for reply in replies) <= 16
    assert replies[0].prompt_tokens == label_scoring.n_tokens(loaded, LABELS.prompt, TEXTS[:1])


def test_written_answers_are_those_of_an_evaluation_and_come_in_pieces(model, loaded):
    evaluated = generation.write_answers(loaded, WRITTEN.prompt, [{"text": text} for text in TEXTS[:4]],
                                         max_new_tokens=12)
    for text, expected in zip(TEXTS[:4], evaluated, strict=True):
        *pieces, reply = model.ask(WRITTEN, Question(text))
        assert (reply.text, reply.answer_tokens, reply.is_whole) == (expected.answer, expected.n_tokens,
                                                                    expected.is_whole)
        assert "".join(pieces) == expected.answer


def test_who_asks_may_want_less(model):
    *_, reply = model.ask(WRITTEN, Question(TEXTS[0], max_new_tokens=3))
    assert reply.answer_tokens == 3 and not reply.is_whole


def test_solved_examples_are_read_once_and_texts_of_their_own_are_not_mixed_up(loaded):
    served = Served("toys/prompt", 1, few_shot(SCHEMA, "", [Shot("it is bad", "bad"), Shot("it is good", "good")]))
    beginning = label_scoring.read_beginning(loaded, served.prompt)
    assert len(beginning.ids) > 20, "the examples are in it"
    known = label_scoring.label_log_likelihoods(loaded, served.prompt, TEXTS, beginning=beginning)
    assert known == pytest.approx(label_scoring.label_log_likelihoods(loaded, served.prompt, TEXTS), abs=1e-4)
    other = label_scoring.read_beginning(loaded, short(SCHEMA))
    assert label_scoring.label_log_likelihoods(loaded, served.prompt, TEXTS[:3], beginning=other) == pytest.approx(
        known[:3], abs=1e-4), "what does not fit is not used"


def test_a_prompt_shows_each_text_the_examples_most_like_it(loaded, tmp_path):
    encoder = HashingEncoder()
    shown = [Shot(f"the {word} is {label}", label) for word in ("news", "weather", "answer") for label in LABEL_NAMES]
    vectors = normalised(encoder.encode([shot.text for shot in shown]).astype(np.float16).astype(np.float32))
    write_examples(tmp_path / "examples", shown, vectors)
    served = Served("toys/prompt", 1, nearest_shots(SCHEMA, "", 2), examples=tmp_path / "examples")
    engine = Engine(lambda adapter: loaded, most_waiting=64, encode=encoder.encode)
    texts = ["the weather is fine", "the news is bad", shown[0].text]
    batch = works(served, *texts)
    engine.answer(batch)
    scores = [work.said.get()["reply"]["scores"] for work in batch]
    own = shots_like(shown, vectors, texts, encoder.encode(texts), 2)
    assert all("weather" in shot.text for shot in own[0]) and shown[0] not in own[2], "never its own text"
    assert np.array(scores) == pytest.approx(label_scoring.label_log_likelihoods(
        loaded, served.prompt, texts, shots=own), abs=1e-4)


def test_a_full_queue_says_when_to_come_again(loaded):
    engine = Engine(lambda adapter: loaded, most_waiting=2)
    first, second, third = works(LABELS, *TEXTS[:3])
    engine.submit(first)
    engine.submit(second)
    with pytest.raises(Busy, match="2 requests wait") as refused:
        engine.submit(third)
    assert refused.value.retry_after >= 1
    engine.answer(engine.next_batch())
    assert "reply" in first.said.get() and first.said.get() is None
    engine.submit(third)


def test_what_waits_for_one_model_is_answered_together_and_in_order(loaded):
    engine = Engine(lambda adapter: loaded, most_waiting=64, together=3)
    one, other = works(LABELS, *TEXTS[:5]), works(WRITTEN, *TEXTS[:2])
    for work in (one[0], other[0], *one[1:], other[1]):
        engine.submit(work)
    assert [engine.next_batch() for _ in range(3)] == [one[:3], other, one[3:]]


def test_who_has_gone_is_not_answered(loaded):
    engine = Engine(lambda adapter: loaded, most_waiting=64)
    gone, there = works(LABELS, *TEXTS[:2])
    for work in (gone, there):
        engine.submit(work)
    gone.is_wanted = False
    assert engine.next_batch() == [there]


def test_one_that_is_too_long_does_not_harm_the_others(loaded):
    engine = Engine(lambda adapter: loaded, most_waiting=64)
    good, long, last = works(LABELS, TEXTS[0], "word " * 600, TEXTS[1])
    engine.answer([good, long, last])
    assert "reply" in good.said.get() and "reply" in last.said.get()
    assert long.said.get()["error"]["kind"] == "unanswerable"


def test_no_more_models_are_held_than_fit(loaded):
    asked = []

    def load(adapter):
        asked.append(adapter)
        return loaded

    engine = Engine(load, most_waiting=64)
    for name in ("a", "b", "c", "a", "d", "b"):
        [work] = works(Served("toys/x", 1, LABELS.prompt, adapter=Path(name)), TEXTS[0])
        engine.answer([work])
    assert asked == ["a", "b", "c", "d", "b"], "b was asked for longest ago when d came"


def test_errors_come_over_the_line(address, model):
    with pytest.raises(Unanswerable, match="tokens"):
        whole(model, LABELS, "word " * 600)
    with pytest.raises(Unavailable, match="not there"):
        whole(EmbeddedModel(address.with_name("nobody.sock")), LABELS, "text")
    assert oct(address.stat().st_mode & 0o777) == "0o600", "nobody else can ask"
