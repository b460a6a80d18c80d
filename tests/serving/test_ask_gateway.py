"""Programs ask a project's model: who may, what answers, what is refused and in which words."""

import json

import pytest

from projects.services import create_api_key, revoke_api_key
from serving.answering import Busy, Unanswerable, Unavailable
from serving.models import Deployment, Exchange, TrafficDay
from serving.services.rules import rules_of, save_rules
from tests.conftest import new_project
from tests.serving.conftest import Program
from tests.training.conftest import trained
from training.models import Adapter, Evaluation
from training.services.scoring import read_predictions

pytestmark = pytest.mark.django_db


def error(response, status):
    assert response.status_code == status, response.content
    said = response.json()["error"]
    assert said["message"] and said["type"] and said["code"], "OpenAI's shape"
    return said["code"]


# What answers

def test_the_champion_answers_with_the_probability_of_each_label(champion, backend, program, project):
    said = program.predict(project, "Row 003 was lovely.").json()
    assert said["answer"] == "positive" and said["model"] == f"moods/{'champion'}"
    assert set(said["probabilities"]) == set(project.labels) and sum(said["probabilities"].values()) == pytest.approx(1)
    served, question = backend.asked[0]
    assert question.text == "Row 003 was lovely." and served.adapter is not None
    assert (served.adapter / "adapter_model.safetensors").read_bytes() == b"weights"
    assert served.prompt.name == "short", "the prompt that the adapter was trained and evaluated with"
    assert said["usage"] == {"prompt_tokens": 50, "completion_tokens": 2, "total_tokens": 52}


def test_the_best_prompt_answers_while_there_is_no_champion(adapter, backend, program, project):
    said = program.predict(project).json()
    served, _ = backend.asked[0]
    best = project.snapshots.get().verdict.best_prompt
    assert served.adapter is None and served.prompt.name == best.config["prompt"]["name"]
    assert list(served.bias) == best.config["calibration"]["bias"], "balanced as on dev"
    assert Deployment.objects.get(pk=said["deployment"]).run == best


def test_models_are_asked_by_name(champion, backend, program, project):
    names = [model["id"] for model in program.get("/v1/models").json()["data"]]
    assert names == ["moods/champion", "moods/prompt", f"moods/adapter-{champion.pk}"]
    for name in (*names, "champion", f"{project.pk}/prompt"):
        assert program.predict(project, model=name).status_code == 200, name
    assert [served.adapter is not None for served, _ in backend.asked] == [True, False, True, True, False]
    assert error(program.predict(project, model="moods/adapter-999"), 404) == "model_not_found"
    assert error(program.predict(project, model="other/champion"), 404) == "model_not_found"
    assert error(program.predict(project, model="gpt-4o"), 404) == "model_not_found"


def test_a_promotion_counts_from_the_next_request_on(champion, snapshot, backend, program, project, alice, run_jobs):
    first = program.predict(project).json()["deployment"]
    assert program.predict(project).json()["deployment"] == first, "the same deployment while nothing changes"
    second = trained(snapshot, alice, run_jobs, seed=2)
    Adapter.objects.filter(pk=champion.pk).update(stage="retired")
    Adapter.objects.filter(pk=second.pk).update(stage="champion")
    now = Deployment.objects.get(pk=program.predict(project).json()["deployment"])
    assert now.adapter == second and now.pk != first
    Adapter.objects.filter(pk=second.pk).update(stage="retired")
    Adapter.objects.filter(pk=champion.pk).update(stage="champion")
    back = program.predict(project).json()["deployment"]
    assert back not in (first, now.pk), "back again is a deployment of its own, with a time of its own"


def test_deployed_answers_as_evaluated(champion, backend, program, project):
    before = read_predictions(Evaluation.objects.get(run=champion.run, split="test"))
    texts = dict(project.examples.values_list("key", "text"))
    said = {one.key: program.predict(project, texts[one.key]).json()["answer"] for one in before}
    assert said == {one.key: one.predicted for one in before}
    assert any(one.predicted != one.gold for one in before), "its mistakes, too"


def test_nothing_serves_before_a_prompt_was_tried(untried, backend, alice):
    program = Program(create_api_key(untried, name="early", scopes=["predict"], by=alice)[1])
    response = program.predict(untried)
    assert error(response, 404) == "model_not_found" and "run the baseline" in response.json()["error"]["message"]
    assert program.get("/v1/models").json() == {"object": "list", "data": []}


def test_an_adapter_that_was_not_evaluated_does_not_serve(champion, backend, program, project, monkeypatch):
    monkeypatch.setattr("serving.services.deployments.Evaluation.objects", Evaluation.objects.none())
    assert error(program.predict(project), 404) == "model_not_found"


def test_another_base_model_than_the_evaluated_one_does_not_serve(champion, backend, program, project, settings):
    settings.GOLDPAN_BASE_MODEL.mkdir()
    (settings.GOLDPAN_BASE_MODEL / "config.json").write_text("{}")
    (settings.GOLDPAN_BASE_MODEL / "model.safetensors").write_bytes(b"other weights")
    response = program.predict(project)
    assert error(response, 404) == "model_not_found"
    assert "would not answer as it was evaluated" in response.json()["error"]["message"]


# OpenAI's format

def test_a_chat_completion_is_openais(champion, backend, program):
    said = program.chat("Row 003 was awful.", model="moods/champion", temperature=0.7).json()
    assert said["object"] == "chat.completion" and said["id"].startswith("ex-")
    assert said["choices"][0]["message"] == {"role": "assistant", "content": "negative", "refusal": None}
    assert said["choices"][0]["finish_reason"] == "stop" and said["usage"]["total_tokens"] == 52


def events(response):
    assert response.status_code == 200 and response.headers["Content-Type"] == "text/event-stream"
    lines = b"".join(response.streaming_content).decode().strip().split("\n\n")
    return [line.removeprefix("data: ") for line in lines]


def test_a_label_streams_in_one_piece_and_a_text_as_it_is_written(champion, backend, program):
    *chunks, done = map(str, events(program.chat(stream=True, stream_options={"include_usage": True})))
    assert done == "[DONE]"
    said = [json.loads(chunk) for chunk in chunks]
    assert [one["choices"][0]["delta"] for one in said[:-1]] == [
        {"role": "assistant", "content": ""}, {"content": "positive"}, {}]
    assert said[-1]["choices"] == [] and said[-1]["usage"]["total_tokens"] == 52
    backend.says = ["pos", "itive"]
    *chunks, _ = events(program.chat(stream=True))
    pieces = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert pieces == ["", "pos", "itive", ""]


def test_a_model_that_dies_in_the_middle_of_a_stream_says_so(champion, backend, program, project):
    backend.says, backend.refuses, backend.breaks_after = ["pos", "itive"], Unavailable("It is gone."), 1
    *_, last = events(program.chat(stream=True))
    assert json.loads(last)["error"]["message"] == "It is gone.", "and no [DONE], so no client takes it for whole"
    assert TrafficDay.objects.get(project=project).n_failed == 1


@pytest.mark.parametrize(("more", "words"), [
    ({"n": 2}, "one likeliest answer"), ({"tools": [{"type": "function"}]}, "calls no tools"),
    ({"logprobs": True}, "probability of each label"), ({"stop": ["x"]}, "ends where the model ends it"),
    ({"max_tokens": 0}, "whole number"), ({"model": 3}, "has to be a text"), ({"messages": []}, "list of messages"),
    ({"messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "Hi."}]}, "own prompt"),
    ({"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"},
                   {"role": "user", "content": "So?"}]}, "not a conversation"),
    ({"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}]}, "user's"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text only"),
    ({"messages": [{"role": "user", "content": "\u0000"}]}, "JSON"), ({"messages": [{"role": "tool"}]}, "role")])
def test_what_cannot_be_answered_is_refused_in_words(champion, backend, program, more, words):
    response = program.chat(**more)
    error(response, 400)
    assert words in response.json()["error"]["message"] and not backend.asked


def test_text_may_come_in_parts(champion, backend, program):
    parts = [{"type": "text", "text": "Row 003"}, {"type": "text", "text": "was lovely."}]
    assert program.chat(messages=[{"role": "user", "content": parts}]).status_code == 200
    assert backend.asked[0][1].text == "Row 003\nwas lovely."


# Who may, how much

def test_only_a_good_key_opens_it(champion, backend, key, alice, project, program_with):
    assert error(Program("").predict(project), 401) == "missing_api_key"
    response = Program("gp_wrong").predict(project)
    assert error(response, 401) == "invalid_api_key" and response.headers["WWW-Authenticate"] == "Bearer"
    assert error(program_with("feedback").predict(project), 403) == "insufficient_scope"
    assert error(program_with("predict").say("ex-1", thumb="up"), 403) == "insufficient_scope"
    revoke_api_key(key[0], by=alice)
    assert error(Program(key[1]).predict(project), 401) == "invalid_api_key"


def test_a_session_counts_for_nothing(champion, backend, alice, client_of, project):
    client = client_of(alice)
    response = client.post(f"/v1/projects/{project.pk}/predict", "{}", content_type="application/json")
    assert response.status_code == 401
    assert "Access-Control-Allow-Origin" not in response.headers and not response.cookies


def test_a_key_sees_its_own_project_only(champion, backend, program, dora):
    other = new_project("Another", dora)
    assert error(program.predict(other), 404) == "project_not_found"


def test_requests_have_a_size_and_a_shape(champion, backend, program, project):
    path = f"/v1/projects/{project.pk}/predict"
    assert error(program.post(path, b"x" * 1_000_001), 413) == "request_too_large"
    assert error(program.post(path, b"\xff"), 400) == "invalid_request"
    assert error(program.post(path, '{"text": "a", "text": "b"}'), 400) == "invalid_request"
    assert error(program.post(path, "[]"), 400) == "invalid_request"
    assert error(program.predict(project, "x" * 100_001), 400) == "context_length_exceeded"
    assert error(program.predict(project, "  "), 400) == "invalid_request"
    assert error(program.predict(project, text=None), 400) == "invalid_request"
    assert error(program.predict(project, group="g" * 201), 400) == "invalid_request"
    assert not backend.asked


def test_limits_by_key_and_by_project_say_when_to_come_again(champion, backend, program, program_with, project, alice):
    rules = {name: getattr(rules_of(project), name) for name in ("sample_share", "masks", "retention_days")}
    save_rules(project, {**rules, "key_limit": 2, "project_limit": 3}, by=alice)
    assert [program.predict(project).status_code for _ in range(2)] == [200, 200]
    refused = program.predict(project)
    assert error(refused, 429) == "rate_limit_exceeded" and 1 <= int(refused.headers["Retry-After"]) <= 60
    other = program_with("predict")
    assert other.predict(project).status_code == 200
    assert "all keys" not in other.predict(project).json()["error"]["message"]
    assert error(other.predict(project), 429) == "rate_limit_exceeded"
    day = TrafficDay.objects.get(project=project)
    assert (day.n_answered, day.n_refused) == (3, 3)


@pytest.mark.parametrize(("raised", "status", "code", "counter"), [
    (Busy("32 wait.", 7.2), 429, "queue_full", "n_refused"),
    (Unavailable("Not there."), 503, "model_unavailable", "n_failed"),
    (Unanswerable("Too long."), 400, "context_length_exceeded", "n_refused"),
    (RuntimeError("a bug"), 500, "internal_error", "n_failed")])
def test_a_model_that_does_not_answer(champion, backend, program, project, raised, status, code, counter):
    backend.refuses = raised
    for stream in (False, True):  # before a stream begins it is an answer with a status, too
        response = program.chat(stream=stream)
        assert error(response, status) == code
        assert (response.headers.get("Retry-After") == ("7" if status == 429 else "5")) == (status in (429, 503))
    assert getattr(TrafficDay.objects.get(project=project), counter) == 2
    assert "a bug" not in response.content.decode()


def test_the_web_server_sends_programs_to_the_gateway(champion, backend, program, project, settings):
    settings.GOLDPAN_ANSWERS_PROGRAMS = False
    response = program.predict(project)
    assert error(response, 421) == "other_address" and settings.GOLDPAN_GATEWAY_URL in response.content.decode()


def test_a_request_costs_few_queries(champion, backend, program, project, django_assert_max_num_queries):
    program.predict(project)
    with django_assert_max_num_queries(14):  # the log's own among them, which a gateway writes behind the answer
        program.predict(project)
    assert Exchange.objects.count() == 2
