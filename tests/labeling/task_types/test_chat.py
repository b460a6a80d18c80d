import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.chat import label_config, render, task_data, validate_data


def turns(*pairs):
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


TALK = turns(("system", "You sell shoes."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Size 42?"))


def test_the_conversation_is_shown_and_answered():
    config = ET.fromstring(label_config({}, ""))
    assert config.find("Paragraphs").attrib == {"name": "messages", "value": "$messages", "layout": "dialogue",
                                                "nameKey": "role", "textKey": "content"}
    assert config.find("TextArea").get("toName") == "messages"


def test_only_role_and_content_reach_label_studio():
    data = {"messages": [{"role": "user", "content": "Hi", "email": "a@example.org"}], "customer": 7}
    assert task_data("Hi", data) == {"text": "Hi", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(("data", "words"), [
    ({}, "needs “messages”"),
    ({"messages": []}, "needs “messages”"),
    ({"messages": "Hi"}, "needs “messages”"),
    ({"messages": ["Hi"]}, "Message 1 needs a “role”"),
    (turns(("tool", "x")), "Message 1 needs a “role” of system, user, assistant"),
    (turns(("user", None)), "“content” that is text"),
    (turns(("user", "a"), ("assistant", " "), ("user", "b")), "Message 2 is empty"),
    (turns(("user", "a"), ("system", "b"), ("user", "c")), "Message 2 is a system turn"),
    (turns(("user", "a"), ("assistant", "b")), "last message is the assistant's"),
    (turns(("user", "a\ud800")), "surrogate"),
])
def test_a_chat_is_a_conversation_that_a_user_ends(data, words):
    validate_data("", TALK, {})
    with pytest.raises(ValueError, match=words):
        validate_data("", data, {})


def test_instructions_and_the_chats_own_system_turn_are_one():
    messages = render("", TALK, {"max_chars": 50}, "Be kind.")
    assert messages == [
        {"role": "system", "content": "Be kind.\nWrite at most 50 characters.\nYou sell shoes."}, *TALK["messages"][1:]]
    assert render("", turns(("user", "Hi")), {}) == [{"role": "user", "content": "Hi"}]
