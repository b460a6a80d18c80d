import json

import pytest

from labeling.task_types import task_type
from tests.training.kinds import KINDS, completion, letter
from training.prompts import (
    LabelText,
    Prompt,
    Shot,
    bare,
    by_hand,
    few_shot,
    nearest_shots,
    prompt_from_json,
    prompt_sha256,
    prompt_to_json,
    render,
    short,
    zero_shot,
)

SCHEMA = {"labels": [{"name": "card_lost", "description": "the card is gone"}, {"name": "refund"}]}


def test_the_zero_shot_prompt_holds_instructions_definitions_and_answers():
    system, question = render(zero_shot(SCHEMA, "What does the customer want?"), " My card! ")
    assert system["content"] == ("What does the customer want?\ncard lost: the card is gone\n"
                                 "Answer with one of: card lost, refund.")
    assert question == {"role": "user", "content": "My card!"}


def test_shots_come_as_solved_turns_before_the_question():
    messages = render(few_shot(SCHEMA, "", [Shot("Money back", "refund")]), "My card!")
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "refund"


def test_braces_in_a_text_are_left_alone():
    assert render(short(SCHEMA), "{text} {0} {")[-1]["content"] == "{text} {0} {"


def test_json_brings_the_same_prompt_back():
    prompt = few_shot(SCHEMA, "What?", [Shot("Money back", "refund")])
    assert prompt_from_json(prompt_to_json(prompt)) == prompt


def test_the_hash_follows_what_the_model_sees_and_not_the_name():
    prompt = zero_shot(SCHEMA, "What?")
    renamed = Prompt("other", prompt.system, prompt.instruction, prompt.shots, prompt.labels)
    assert prompt_sha256(prompt) == prompt_sha256(renamed)
    assert prompt_sha256(prompt) != prompt_sha256(zero_shot(SCHEMA, "What then?"))


@pytest.mark.parametrize(("instruction", "labels", "words"), [
    ("no place", ("a", "b"), "must contain"),
    ("{text} {text}", ("a", "b"), "must contain"),
    ("{text}", ("a",), "at least 2 labels"),
    ("{text}", ("a", "a"), "of its own"),
    ("{text}", ("a", " "), "of its own"),
])
def test_a_prompt_that_cannot_be_asked_is_refused(instruction, labels, words):
    with pytest.raises(ValueError, match=words):
        Prompt("p", "", instruction, (), tuple(LabelText(name, name) for name in labels))


def test_hashes_of_classification_prompts_stay_what_runs_hold():
    prompt = few_shot({"labels": [{"name": "card_lost", "description": "gone"}, {"name": "refund"}]}, "What?",
                      [Shot("a", "refund")])
    assert prompt_sha256(prompt) == "12a0b67ce8e31f3a25a587301d61bb90422abb67ec04a099cf9a84f5f6019269"


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_type_of_task_has_prompts_that_ask_solve_and_read(kind):
    shots = [Shot(letter(n), completion(kind, n), kind.data(n)) for n in (0, 1)]
    bare, asked = zero_shot(kind.schema, "Be kind.", kind.name), few_shot(kind.schema, "Be kind.", shots, kind.name)
    assert prompt_from_json(json.loads(json.dumps(prompt_to_json(asked)))) == asked
    if kind.name != "classification":  # whose labels are written with spaces
        assert render(bare, letter(2), kind.data(2)) == task_type(kind.name).render(
            letter(2), kind.data(2), kind.schema, "Be kind.")
    messages = render(asked, letter(2), kind.data(2))
    assert [message["role"] for message in messages].count("system") == 1
    assert [m["content"] for m in messages if m["role"] == "assistant"][-1 if kind.name == "chat" else 0] in (
        completion(kind, 0), "Yes?")
    assert render(bare, letter(2), kind.data(2))[-1] == messages[-1]
    trained = short(kind.schema, kind.name, "Be kind.")
    assert trained.completion_of(completion(kind, 2)) == completion(kind, 2)
    for prompt in (bare, asked, trained):
        assert prompt.read(completion(kind, 2), letter(2)) == completion(kind, 2)
        with pytest.raises(ValueError):
            prompt.read("", letter(2))
    assert len({prompt_sha256(prompt) for prompt in (bare, asked)}) == 2


def test_two_labels_that_read_alike_are_refused():
    with pytest.raises(ValueError, match="completion"):
        short({"labels": [{"name": "card_lost"}, {"name": "card lost"}]})


def test_a_shot_with_a_foreign_label_is_refused():
    with pytest.raises(ValueError, match="does not offer"):
        few_shot(SCHEMA, "", [Shot("hello", "greeting")])


def test_the_bare_prompt_has_the_question_and_the_names_and_defines_nothing():
    instructions = "What does the customer want?\n\nA lost card is no refund, even if money is asked for."
    assert render(bare(SCHEMA, instructions), "My card!")[0]["content"] == (
        "What does the customer want?\nAnswer with one of: card lost, refund.")
    assert prompt_sha256(bare({"labels": [{"name": "a"}, {"name": "b"}]}, "Which?")) == prompt_sha256(
        zero_shot({"labels": [{"name": "a"}, {"name": "b"}]}, "Which?")), "where nothing is defined the two are one"


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_type_can_be_asked_barely_and_read_as_before(kind):
    prompt = bare(kind.schema, "Be kind.\n\nAnd careful.", kind.name)
    text = letter(1)
    said = render(prompt, text, kind.data(1))
    assert "careful" not in said[0]["content"] and "Be kind." in said[0]["content"]
    assert prompt.read(completion(kind, 1), text) == zero_shot(kind.schema, "", kind.name).read(
        completion(kind, 1), text)


def test_examples_of_a_texts_own_stand_behind_those_of_the_prompt():
    prompt = few_shot(SCHEMA, "", [Shot("Money back", "refund")])
    said = render(prompt, "My card!", shots=[Shot("Stolen", "card_lost")])
    assert [message["content"] for message in said[1:]] == ["Money back", "refund", "Stolen", "card lost", "My card!"]


def test_how_many_neighbours_are_shown_is_part_of_the_prompt():
    eight = nearest_shots(SCHEMA, "What?", 8)
    assert prompt_sha256(eight) != prompt_sha256(zero_shot(SCHEMA, "What?"))
    assert prompt_from_json(json.loads(json.dumps(prompt_to_json(eight)))) == eight
    assert "neighbours" not in prompt_to_json(zero_shot(SCHEMA, "What?")), "hashes from before stay"


def test_a_prompt_by_hand_says_what_was_written():
    prompt = by_hand(SCHEMA, "classification", name="mine", system="Sort it.", instruction="Customer: {text}")
    assert [message["content"] for message in render(prompt, " Hi ")] == ["Sort it.", "Customer: Hi"]
    with pytest.raises(ValueError, match="must contain"):
        by_hand(SCHEMA, "classification", name="mine", system="", instruction="no place")
