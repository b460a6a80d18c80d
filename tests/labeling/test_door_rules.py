import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.door_rules import MAX_TARGET, RULES, Passage, Refused, decide, resolve

TASK = "/api/tasks/7/annotations?project=3"


def passage(method: str, target: str, body: Any = None) -> Passage:
    return decide(method, resolve(target), body)


def status(method: str, target: str, body: Any = None) -> int:
    with pytest.raises(Refused) as refused:
        decide(method, resolve(target), body)
    assert refused.value.words
    return refused.value.status


# Addresses

def test_an_address_is_read_with_its_query() -> None:
    target = resolve("/projects/3/data/?labeling=1&x=a%20b")
    assert (target.path, target.query) == ("/projects/3/data", {"labeling": "1", "x": "a b"})
    assert (resolve("/").path, resolve("/").query) == ("/", {})


@pytest.mark.parametrize("target", [
    "", "*", "api/tasks", "//api/tasks", "/api//tasks", "/api/../tasks", "/api/./tasks", "/..", "/api/%74asks",
    "/api/a b", "/api/tasks;a", "/api\\tasks", "/api/täsks", "http://example.org/api/tasks", "/api/tasks#x",
    "/api/tasks//", "/\r\n", "/api/tasks?a=1&a=2", "/api/tasks?a", "/api/tasks?&", "/api/tasks?a=%ff"])
def test_another_spelling_is_refused(target: str) -> None:
    with pytest.raises(Refused) as refused:
        resolve(target)
    assert refused.value.status == 400


def test_a_long_address_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        resolve("/" + "a" * MAX_TARGET)
    assert refused.value.status == 414


@given(st.text(alphabet=st.sampled_from("/.%2fe;\\?&=#ab1~ \0é"), max_size=30))
def test_whatever_is_accepted_has_plain_segments_only(target: str) -> None:
    try:
        path = resolve(target).path
    except Refused:
        return
    assert re.fullmatch(r"(/[A-Za-z0-9._@~+-]+)+|/", path)
    assert not {".", ".."} & set(path.split("/"))


# Rules

def test_an_answer_goes_on_with_its_named_fields_only() -> None:
    sent = {"result": [{"type": "choices"}], "lead_time": 1.5, "draft_id": 5, "parent_prediction": 6, "completed_by": 1,
            "task": 9, "project": 9, "ground_truth": True, "parent_annotation": 2, "unique_id": "x"}
    with pytest.raises(Refused, match="unique_id"):
        passage("POST", TASK, sent)
    del sent["unique_id"]
    passed = passage("POST", TASK + "&was_cancelled=1&taskID=9", sent)
    assert passed.path == "/api/tasks/7/annotations"
    assert passed.query == {"project": "3"}
    assert passed.body == {"result": [{"type": "choices"}], "lead_time": 1.5, "draft_id": 5, "parent_prediction": 6}
    assert passed.ids == {"project": 3, "task": 7, "draft": 5, "prediction": 6}
    assert passed.rule.is_answer


@pytest.mark.parametrize("body", [
    {"result": "[]"}, {"result": [1]}, {"lead_time": -1}, {"lead_time": True}, {"lead_time": float("nan")},
    {"was_cancelled": "true"}, {"draft_id": "5"}, {"draft_id": -5}, {"unique_id": 5}, [], "text"])
def test_an_odd_body_is_refused(body: Any) -> None:
    assert status("POST", TASK, body) == 400


def test_a_desk_has_to_be_named_and_goes_on() -> None:
    assert passage("GET", "/api/tasks?project=3&page=2&page_size=30&view=9&query={}&fields=all").query == {
        "page": "2", "page_size": "30", "project": "3"}
    assert passage("GET", "/api/projects/3/label-stream-history?project=9").ids == {"project": 3}
    for target in ("/api/tasks", "/api/tasks?project=", "/api/tasks?project=03", "/api/tasks?project=-3",
                   "/api/tasks?project=3%20", "/api/tasks?project=٣", "/api/tasks?view=3"):
        assert status("GET", target) == 403


def test_the_one_action_is_next_task_and_nothing_is_selected_for_it() -> None:
    passed = passage("POST", "/api/dm/actions?id=next_task&project=3&view=5", {"filters": {}, "selectedItems": {}})
    assert (passed.query, passed.body) == ({"id": "next_task", "project": "3"}, {})
    for target in ("/api/dm/actions?project=3", "/api/dm/actions?id=delete_tasks&project=3"):
        assert status("POST", target, {}) == 403


@pytest.mark.parametrize(("method", "target"), [
    ("PATCH", "/api/projects/3"), ("DELETE", "/api/projects/3"), ("GET", "/api/projects"), ("POST", "/api/projects"),
    ("GET", "/projects/3/settings"), ("GET", "/api/projects/3/export"), ("POST", "/api/projects/3/import"),
    ("PUT", "/api/tasks/7?project=3"), ("PATCH", "/api/tasks/7?project=3"), ("DELETE", "/api/tasks/7?project=3"),
    ("GET", TASK), ("GET", "/api/annotations/7?project=3"), ("PUT", "/api/annotations/7?project=3"),
    ("GET", "/api/dm/actions?project=3"), ("POST", "/api/dm/views?project=3"), ("GET", "/api/predictions?project=3"),
    ("POST", "/api/token"), ("GET", "/api/current-user/token"), ("PATCH", "/api/users/1"), ("GET", "/api/invite"),
    ("GET", "/api/webhooks?project=3"), ("GET", "/api/storages?project=3"), ("POST", "/api/ml?project=3"),
    ("GET", "/data/upload/3/x.csv"), ("GET", "/docs/api"), ("GET", "/admin"), ("GET", "/user/account"),
    ("GET", "/api/tasks/7/data/local-files?project=3"), ("HEAD", "/api/version"), ("OPTIONS", "/api/version")])
def test_what_labelling_does_not_need_is_refused(method: str, target: str) -> None:
    assert status(method, target, {}) == 403


def test_what_names_an_example_or_answer_names_its_desk_and_a_change_can_be_traced_to_a_task() -> None:
    for rule in RULES:
        if re.search(r"\{(task|annotation|draft|project)\}", rule.path):
            assert rule.of_a_desk, rule
        if rule.method != "GET":
            assert re.search(r"\{(task|annotation|draft)\}", rule.path) or rule.wants == {"id": "next_task"}, rule
        if rule.is_answer:
            assert re.search(r"\{(task|annotation)\}", rule.path), rule


def test_what_is_canned_or_reshaped_tells_of_oneself_only() -> None:
    me = {"id": 5, "email": "me@example.org"}
    canned = {rule.path: rule.canned(3, me) for rule in RULES if rule.canned}
    assert canned["/api/users"] == [me] and canned["/api/ml"] == []
    assert [view["project"] for view in canned["/api/dm/views"]] == [3]
    [columns] = [rule.reshape for rule in RULES if rule.reshape]
    members = {"columns": [{"id": "annotators", "schema": {"items": [1, 2]}}]}
    assert columns(members) == {"columns": [{"id": "annotators"}]}
