"""What an operation answers: pages, errors, ETags, and requests that come twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from labeling.models import Annotator, Assignment, Batch, BatchItem, Example
from projects.models import AuditEvent, RememberedAnswer
from projects.services.remembering import forget_answers
from tests.curation.conftest import Scored, annotate, new_example, scored  # noqa: F401
from training.models import PromptVersion

PROMPT = {"name": "tone", "instruction": "Which mood? {text}"}


@pytest.fixture
def program(program_of, bob):
    return program_of(bob)


def csv(text: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("moods.csv", text.encode())


# Files in, and what people said

def test_a_file_is_checked_then_imported_by_a_job(project, program, run_jobs):
    upload = program.upload(f"/projects/{project.pk}/uploads", csv("id,text\n1,fine\n2,\n"), kind="examples")
    assert upload.status_code == 201 and (upload.data["n_good"], upload.data["n_bad"]) == (1, 1)
    assert upload.data["bad_rows"][0]["line"] == 3
    refused = program.post(f"/uploads/{upload.data['id']}/import")
    assert refused.status_code == 409 and "1 of 2 rows" in refused.data["detail"]
    job = program.post(f"/uploads/{upload.data['id']}/import", {"skip_bad": True})
    assert job.status_code == 202 and job.data["state"] == "queued"
    run_jobs()
    assert program.get(f"/jobs/{job.data['id']}").data["result"]["n_examples"] == 1
    assert [one["text"] for one in program.get(f"/projects/{project.pk}/examples").data["items"]] == ["fine"]


def test_a_column_may_be_named(project, program):
    upload = program.upload(f"/projects/{project.pk}/uploads", csv("a,b\nx,a text\n"), text_column="b", key_column="a")
    assert upload.data["mapping"]["text_column"] == "b" and upload.data["n_good"] == 1


def test_a_file_that_is_too_large_is_refused(project, program, settings):
    settings.GOLDPAN_MAX_UPLOAD_MB = 0.00001
    answer = program.upload(f"/projects/{project.pk}/uploads", csv("id,text\n1,fine\n"))
    assert answer.status_code == 413 and "MB. Split it" in answer.data["detail"]


def test_whoever_still_has_to_answer_does_not_see_what_others_said(project, bob, program):
    one, other = (new_example(project, key, "pool") for key in ("one", "other"))
    for example in (one, other):
        annotate(example, "mira", "neutral")
    path = f"/projects/{project.pk}/annotations"
    assert [row["annotator"] for row in program.get(path).data["items"]] == ["mira", "mira"]
    batch = Batch.objects.create(project=project, number=1, title="labels", created_by=bob)
    Assignment.objects.create(
        example=one, annotator=Annotator.objects.create(project=project, name="bob", user=bob),
        item=BatchItem.objects.create(batch=batch, example=one, n_wanted=1), expires_at=timezone.now())
    assert [row["example_id"] for row in program.get(path).data["items"]] == [other.pk]


# Pages

def test_pages_hold_every_row_once_while_rows_are_inserted(project, program):
    examples = [new_example(project, f"e{n}", "pool") for n in range(5)]
    seen, cursor, n_new = [], "", 0
    while True:
        page = program.get(f"/projects/{project.pk}/examples?limit=2{cursor and f'&cursor={cursor}'}").data
        seen += [row["id"] for row in page["items"]]
        if (cursor := page["next"]) is None:
            break
        n_new += 1
        new_example(project, f"new{n_new}", "pool")
    assert len(seen) == len(set(seen)) and seen[:5] == [example.pk for example in examples]


def test_newest_first_goes_on_behind_the_row_although_newer_ones_came(project, program, bob):
    jobs = [Job.objects.create(project=project, kind="score", title=str(n), requested_by=bob) for n in range(3)]
    page = program.get(f"/projects/{project.pk}/jobs?limit=2").data
    Job.objects.create(project=project, kind="score", title="newer", requested_by=bob)
    rest = program.get(f"/projects/{project.pk}/jobs?limit=2&cursor={page['next']}").data
    assert [row["id"] for row in page["items"] + rest["items"]] == [job.pk for job in reversed(jobs)]
    assert rest["next"] is None


@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=%00", "cursor=YWZ0ZXIgLTE", "limit=0", "limit=201",
                                   "limit=x"])
def test_a_page_that_cannot_be_is_refused(project, program, query):
    answer = program.get(f"/projects/{project.pk}/jobs?{query}")
    assert answer.status_code == 422 and answer.data["errors"][0]["parameter"] == query.split("=")[0]


@pytest.mark.parametrize("path", ["examples", "annotations", "jobs", "reports", "snapshots", "runs", "prompts",
                                  "decisions", "uploads"])
def test_a_list_takes_as_many_queries_however_long_it_is(project, program, path, django_assert_max_num_queries):
    with django_assert_max_num_queries(11):
        assert program.get(f"/projects/{project.pk}/{path}").status_code == 200


# Errors

def test_every_error_is_a_problem_in_words(project, program):
    cases = {
        "/projects/9999": 404, "/nowhere": 404, "/projects/x": 422, "/projects/99999999999999999999": 422,
        f"/projects/{project.pk}/audit": 403}
    for path, status in cases.items():
        answer = program.get(path)
        assert answer.status_code == status, path
        assert answer["Content-Type"] == "application/problem+json" and answer.data["status"] == status
        assert answer.data["title"] and len(answer.data["detail"]) > 20


def test_no_key_says_how_to_send_one(project):
    answer = Client().get(f"/api/v1/projects/{project.pk}")
    assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Bearer")
    assert "API key" in answer.json()["detail"]


def test_a_wrong_method_says_which_is_right(project, program):
    answer = program.put(f"/projects/{project.pk}", {})
    assert answer.status_code == 405 and answer["Allow"] == "GET" and "GET" in answer.data["detail"]


def test_a_wrong_field_is_named_by_its_place(project, program):
    answer = program.post(f"/projects/{project.pk}/prompts", {"name": "", "examples": "many"})
    assert answer.status_code == 422
    assert {one["pointer"] for one in answer.data["errors"]} == {"#/name", "#/instruction", "#/examples"}


@pytest.mark.parametrize(("body", "words"), [
    ('{"name": "a", "name": "b"}', "twice"), ('{"name": "\\u0000"}', "U+0000"), ('{"name": "\\ud800"}', "surrogate"),
    ('{"name": NaN}', "NaN"), ("{", "not JSON"), ('{"name": 1e999}', "too large")])
def test_json_that_nobody_could_store_is_refused_in_words(project, program, body, words):
    answer = program.client.post(f"/api/v1/projects/{project.pk}/prompts", body, "application/json")
    assert answer.status_code == 400 and words in answer.json()["detail"]


def test_a_body_that_is_too_large_is_a_413(project, program, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert program.post(f"/projects/{project.pk}/prompts", PROMPT).status_code == 413


def test_a_fault_is_a_problem_without_its_details(project, program, monkeypatch):
    monkeypatch.setattr("goldpan.api.snapshots.start_freeze", lambda *args, **kwargs: 1 / 0)
    program.client.raise_request_exception = False
    answer = program.post(f"/projects/{project.pk}/snapshots")
    assert answer.status_code == 500 and "division" not in str(answer.data) and "not yours" in answer.data["detail"]


def test_too_many_requests_in_a_minute_are_told_to_wait(project, program, program_of, alice, settings):
    settings.GOLDPAN_API_PER_MINUTE = 3
    answers = [program.get(f"/projects/{project.pk}") for _ in range(8)]  # a minute may end among them, once
    late = [answer for answer in answers if answer.status_code == 429]
    assert len(late) >= 2 and 0 < int(late[0]["Retry-After"]) <= 60
    assert program_of(alice).get(f"/projects/{project.pk}").status_code == 200, "others have a minute of their own"


# What comes twice, and what has not changed

def test_a_request_that_comes_twice_is_done_once(project, program):
    path = f"/projects/{project.pk}/prompts"
    first, again = (program.post(path, PROMPT, Idempotency_Key="one") for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.content == again.content
    assert again["Idempotent-Replayed"] == "true" and PromptVersion.objects.count() == 1
    assert program.post(path, PROMPT).status_code == 409, "without the key it is a second wish"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer; the tests' one is in memory")
@pytest.mark.django_db(transaction=True)
def test_of_two_equal_requests_at_once_one_is_done_and_both_are_answered(project, program_of, bob):
    def send(program):
        try:
            return program.post(f"/projects/{project.pk}/prompts", PROMPT, Idempotency_Key="one")
        finally:
            connection.close()

    programs = [program_of(bob) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, programs))
    assert {answer.status_code for answer in answers} == {201} and len({answer.content for answer in answers}) == 1
    assert PromptVersion.objects.count() == 1


def test_a_key_stands_for_one_request(project, program):
    path = f"/projects/{project.pk}/prompts"
    program.post(path, PROMPT, Idempotency_Key="one")
    answer = program.post(path, PROMPT | {"name": "other"}, Idempotency_Key="one")
    assert answer.status_code == 422 and "another request" in answer.data["detail"]


def test_a_key_is_somebodys_own(project, program, program_of, alice):
    path = f"/projects/{project.pk}/prompts"
    program.post(path, PROMPT, Idempotency_Key="one")
    assert program_of(alice).post(path, PROMPT | {"name": "hers"}, Idempotency_Key="one").status_code == 201


def test_what_failed_is_tried_anew(project, program):
    path = f"/projects/{project.pk}/prompts"
    assert program.post(path, PROMPT | {"instruction": "no place"}, Idempotency_Key="one").status_code == 409
    assert not RememberedAnswer.objects.exists()
    assert program.post(path, PROMPT, Idempotency_Key="one").status_code == 201


def test_the_effect_and_its_answer_are_one_transaction(project, program, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("goldpan.api.repeating.remember", broken)
    program.client.raise_request_exception = False
    answer = program.post(f"/projects/{project.pk}/prompts", PROMPT, Idempotency_Key="one")
    assert answer.status_code == 500 and not PromptVersion.objects.exists() and not RememberedAnswer.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_that_cannot_be_is_refused(project, program, key):
    assert program.post(f"/projects/{project.pk}/prompts", PROMPT, Idempotency_Key=key).status_code == 409


def test_an_answer_is_forgotten_after_a_day(project, program):
    path = f"/projects/{project.pk}/prompts"
    program.post(path, PROMPT, Idempotency_Key="one")
    program.post(path, PROMPT | {"name": "two"}, Idempotency_Key="two")
    RememberedAnswer.objects.filter(key="one").update(created_at=timezone.now() - timedelta(days=1, seconds=1))
    forget_answers()
    assert list(RememberedAnswer.objects.values_list("key", flat=True)) == ["two"]
    RememberedAnswer.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert program.post(path, PROMPT | {"name": "three"}, Idempotency_Key="two").status_code == 201


def test_an_erasure_forgets_what_was_answered_its_own_answer_too(project, program_of, alice):
    program, example = program_of(alice), new_example(project, "one", "pool")
    program.post(f"/projects/{project.pk}/prompts", PROMPT, Idempotency_Key="one")
    answer = program.post(f"/examples/{example.pk}/erasure", {"reason": "Somebody asked."}, Idempotency_Key="two")
    assert answer.status_code == 202 and not RememberedAnswer.objects.exists()
    example.refresh_from_db()
    assert not example.text


def test_what_has_not_changed_is_not_sent_again(project, program):
    first = program.get(f"/projects/{project.pk}")
    again = program.get(f"/projects/{project.pk}", **{"If-None-Match": first["ETag"]})
    assert again.status_code == 304 and not again.content
    project.target_value = 0.9
    project.save()
    assert program.get(f"/projects/{project.pk}", **{"If-None-Match": first["ETag"]}).status_code == 200


# The path from scores to a decision

def test_a_flagged_label_is_found_and_settled(project, program, scored: Scored):  # noqa: F811
    report = program.get(f"/projects/{project.pk}/reports").data["items"][0]
    worst = program.get(f"/reports/{report['id']}/scores?is_label_issue=true").data["items"]
    assert len(worst) == 4 and worst[0]["predicted_label"] == "positive"
    path = f"/examples/{worst[0]['example_id']}/decisions"
    made = program.post(path, {"verdict": "relabel", "value": "positive", "seen": 0})
    assert made.status_code == 201 and made.data["decided_by"] == "bob"
    late = program.post(path, {"verdict": "exclude", "seen": 0})
    assert late.status_code == 409 and "Somebody has decided" in late.data["detail"]
    undone = program.post(f"/projects/{project.pk}/decisions/undo")
    assert undone.data["undoes_id"] == made.data["id"]


def test_the_gold_sets_rule_is_changed_and_shows_what_it_picks(project, program, scored: Scored):  # noqa: F811
    rule = program.put(f"/projects/{project.pk}/gold-set", {"size": 6, "min_per_label": 1})
    assert rule.status_code == 200 and rule.data["size"] == 6
    assert program.get(f"/projects/{project.pk}/gold-set/pick").data["facts"]["n"] == 6
    assert program.put(f"/projects/{project.pk}/gold-set", {
        "size": 6, "uncertain_share": 0.7, "audit_share": 0.6}).status_code == 409


def test_what_a_program_does_is_in_the_audit_under_its_makers_name(project, program, program_of, alice):
    program.post(f"/projects/{project.pk}/prompts", PROMPT)
    assert AuditEvent.objects.latest("pk").who == "bob"
    events = program_of(alice).get(f"/projects/{project.pk}/audit").data["items"]
    assert events[0]["what"] == "create_project" and events[-1]["what"] == "create_api_key"
    assert Example.objects.count() == 0
