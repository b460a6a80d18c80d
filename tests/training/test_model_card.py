from stats.intervals import wilson
from tests.training.tiny_model import SCHEMA
from training.model_card import CardMetric, model_card
from training.prompts import Shot, few_shot, prompt_sha256
from training.versions import package_versions


def card(**changed):
    given = {
        "title": "Tickets, run 7", "base": "SmolLM2@sha256:ab", "snapshot": "Snapshot 3", "snapshot_sha256": "cd" * 32,
        "approval": "Approved by Alice.", "label_counts": {"train": {"good": 10, "bad": 12}, "test": {"good": 8}},
        "n_rows": {"train": 22, "test": 8},
        "prompt": few_shot(SCHEMA, "Mood?", [Shot("it | is ``` fine", "good")]), "config": {"r": 8}, "seed": 1,
        "metrics": [CardMetric("LoRA", "test", "accuracy", wilson(444, 500))], "verdict": "Yes, by 9 points.",
        "lineage": ["Snapshot 2"], "files": {"adapter_model.safetensors": "ef" * 32}, "versions": {"peft": "0.21.2"},
        "refused": [("row 4", "The row has 900 tokens.")]}
    return model_card(**(given | changed))


def test_the_card_holds_all_that_a_reader_has_to_trust():
    said = card()
    for fact in ("SmolLM2@sha256:ab", "cd" * 32, "Approved by Alice.", "88.8 %", "85.7 % to 91.3 %", "500",
                 "Yes, by 9 points.", "Snapshot 2", "ef" * 32, "seed: 1", "peft 0.21.2", "row 4: The row has 900",
                 prompt_sha256(few_shot(SCHEMA, "Mood?", [Shot("it | is ``` fine", "good")]))):
        assert fact in said, fact
    assert "| all | 22 | 8 |" in said


def test_the_front_matter_is_what_model_hubs_read():
    assert card().startswith('---\nlibrary_name: "peft"\nbase_model: "SmolLM2@sha256:ab"\ntags: ["lora", ')


def test_a_label_with_few_held_out_rows_is_named_as_a_limit():
    assert "next to nothing is known about: good." in card()


def test_a_card_without_a_test_says_so():
    assert "has not been judged on held-out test rows" in card(metrics=[])


def test_words_of_users_break_neither_tables_nor_fences():
    said = card(title="<script>alert(1)</script>", label_counts={"train": {"a|b\nc": 1}}, n_rows={"train": 1})
    assert "<script>" not in said and "| a\\|b c | 1 |" in said
    assert said.count("\n````") == 2


def test_a_card_of_written_answers_tells_rows_and_promises_no_labels():
    prompt = few_shot({}, "Answer.", [Shot("Hello?", "Yes?")], "response")
    said = card(prompt=prompt, label_counts={"train": {}, "test": {}})
    assert "| Rows | train | test |" in said and "| all | 22 | 8 |" in said and "text-generation" in said
    assert "it answers in its own words" in said and "may be well formed and still" in said
    assert "one of its labels" not in said


def test_versions_are_those_installed():
    assert {"Python", "torch", "peft"} <= set(package_versions())
