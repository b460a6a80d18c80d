"""What an OpenAI-compatible server streams, as a reply: its words, or that it would not answer."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from openai.types.chat import ChatCompletionChunk

from serving.answering import Reply
from serving.endpoint import FILTERED, _streamed


def server(*choices):
    """A client whose server sends these choices, one in each event."""
    events = [ChatCompletionChunk.model_validate({
        "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": None, **choice}]}) for choice in choices]
    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(
        create=lambda **request: nullcontext(iter(events)))))


def reply_of(*choices):
    *pieces, reply = _streamed(server(*choices), {})
    return pieces, reply


def test_words_come_piece_by_piece_and_whole_at_the_end():
    assert reply_of({"delta": {"content": "Good "}}, {"delta": {"content": "day"}}, {
        "delta": {}, "finish_reason": "length"}) == (["Good ", "day"], Reply(text="Good day", is_whole=False))


@pytest.mark.parametrize(("choices", "why"), [
    ([{"delta": {"refusal": "I cannot "}}, {"delta": {"refusal": "say."}}], "I cannot say."),
    ([{"delta": {"content": ""}}, {"delta": {}, "finish_reason": "content_filter"}], FILTERED)])
def test_a_refusal_is_told_from_an_answer(choices, why):
    assert reply_of(*choices) == ([], Reply(refusal=why))
