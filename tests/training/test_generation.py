import json
from pathlib import Path

import pytest

from training import generation, language_model, prompts
from training.generation import longest_answer, write_answers
from training.language_model import LoadedModel
from training.prompts import Shot, few_shot, zero_shot

RECORD = {"json_schema": {"type": "object", "required": ["kind", "late"], "properties": {
    "late": {"type": "boolean"}, "kind": {"enum": ["parcel", "letter"]}}}}
ROWS = [{"text": text} for text in ("the news", "is so so today, and it was bad all of the week", "good", "bad news")]


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> LoadedModel:
    return language_model.load(tiny_folder)


def naive(loaded: LoadedModel, prompt: prompts.Prompt, text: str, n: int) -> list[int]:
    """The likeliest token after all that came before, read anew for every token."""
    import torch

    ids = language_model.encode_messages(loaded.tokenizer, prompts.render(prompt, text))
    end = language_model.end_of_turn(loaded.tokenizer)
    said: list[int] = []
    with torch.inference_mode():
        while len(said) < n and end not in said:
            logits = loaded.model(input_ids=torch.tensor([ids + said])).logits[0, -1]
            said.append(int(logits.argmax()))
    return said


def test_batches_and_the_shared_beginning_change_no_answer(loaded):
    prompt = few_shot({}, "Answer in a word.", [Shot("so so weather", "so so")], "response")
    alone = [naive(loaded, prompt, row["text"], 12) for row in ROWS]
    for batch_size in (1, 3):
        found = write_answers(loaded, prompt, ROWS, max_new_tokens=12, batch_size=batch_size)
        assert [one.n_tokens for one in found] == [len(tokens) for tokens in alone]
        end = language_model.end_of_turn(loaded.tokenizer)
        assert [one.answer for one in found] == [
            loaded.tokenizer.decode([t for t in tokens if t != end], skip_special_tokens=True).strip()
            for tokens in alone]


def test_a_model_that_knows_nothing_keeps_to_the_schema(loaded):
    prompt = zero_shot(RECORD, "", "extraction")
    for one in write_answers(loaded, prompt, ROWS, max_new_tokens=60, batch_size=3):
        assert one.is_whole
        value = json.loads(prompt.read(one.answer, ""))
        assert one.answer == json.dumps(value) == json.dumps({"kind": value["kind"], "late": value["late"]})


def test_an_answer_that_does_not_end_is_cut_and_says_so(loaded):
    [one] = write_answers(loaded, zero_shot(RECORD, "", "extraction"), ROWS[:1], max_new_tokens=3)
    assert (one.n_tokens, one.is_whole) == (3, False)


def test_answers_may_be_a_quarter_longer_than_people_s(loaded):
    n = len(language_model.encode_completion(loaded.tokenizer, "the answer is good"))
    assert longest_answer(loaded.tokenizer, ["good", "the answer is good"]) == -(-5 * n // 4)
    with pytest.raises(ValueError, match="at least one training answer"):
        longest_answer(loaded.tokenizer, [])


def test_a_text_that_leaves_no_room_for_an_answer_is_refused(loaded):
    with pytest.raises(ValueError, match=r"text 0 makes a prompt of .* leave it out"):
        write_answers(loaded, zero_shot({}, "", "response"), [{"text": "news " * 200}], max_new_tokens=100)


def test_files_in_files_out(tiny_folder, tmp_path):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "completions.json").write_text(json.dumps(['{"kind": "letter", "late": false}']))
    told = generation.answer_files({
        "model": str(tiny_folder), "prompts": [prompts.prompt_to_json(zero_shot(RECORD, "", "extraction"))],
        "texts_file": str(tmp_path / "texts.jsonl"), "completions_file": str(tmp_path / "completions.json"),
        "threads": 1}, tmp_path, lambda *_: None)
    lines = [json.loads(line) for line in (tmp_path / "answers-0.jsonl").read_text().splitlines()]
    assert len(lines) == len(ROWS) and sum(line["n_tokens"] for line in lines) == told["prompts"][0]["answer_tokens"]
