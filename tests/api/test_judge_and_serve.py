"""Answers judged in pairs, and how a project is served, by a program."""

import pytest
from django.utils import timezone

from jobs.models import Job
from serving.models import Deployment, Replay, ServingRules, TrafficDay
from tests.training.conftest import judged, model, snapshot  # noqa: F401
from tests.training.kinds import KINDS, approved
from tests.training.pairs import compared
from training.models import PairwiseEvaluation
from training.services.pairwise import judge_pair, next_to_judge

DEFAULTS = {"sample_share": 1.0, "masks": True, "retention_days": 30, "key_limit": 120, "project_limit": 600}


# Pairs

@pytest.fixture
def runs(alice, bob, monkeypatch):
    """A curt prompt and an adapter that have answered 12 test rows; 8 pairs need somebody's judgement, 2 are enough."""
    monkeypatch.setattr("training.judging.MIN_HUMAN", 2)
    return compared(approved(KINDS["response"], admin=alice, curator=bob, n_pool=4, n_dev=2, n_test=12), by=bob)


@pytest.fixture
def program(runs, bob, program_of):
    return program_of(bob, of=runs[0].project)


def test_pairs_are_drawn_once_and_their_state_is_read_as_people_judge(runs, program, bob):
    prompt, lora = runs
    opened = program.post(f"/runs/{lora.pk}/pairwise", {"other": prompt.pk})
    assert opened.status_code == 201
    assert (opened.data["first_run_id"], opened.data["second_run_id"]) == (prompt.pk, lora.pk)
    assert program.post(f"/runs/{prompt.pk}/pairwise", {"other": lora.pk}).data == opened.data, "drawn already"
    assert program.get(f"/projects/{lora.project.pk}/pairwise").data == {"items": [opened.data], "next": None}
    path = f"/pairwise/{opened.data['id']}"
    before = program.get(path).data
    assert before["pairwise"] == opened.data and (before["n"], before["n_settled"], before["n_open"]) == (12, 4, 8)
    assert before["human"] is None and before["judge"] is None and before["n_needed"] == 2
    pairwise = PairwiseEvaluation.objects.get()
    for _ in range(2):
        shown = next_to_judge(pairwise, by=bob)
        judge_pair(shown.pair, choice="1" if len(shown.answers[0]) > len(shown.answers[1]) else "2", by=bob)
    after = program.get(path).data
    assert after["is_counted"] and (after["n_human"], after["n_open"]) == (2, 6)
    assert after["human"]["low"] <= after["human"]["estimate"] <= after["human"]["high"]


def test_runs_that_cannot_be_paired_are_refused(runs, program):
    path = f"/runs/{runs[0].pk}/pairwise"
    same = program.post(path, {"other": runs[0].pk})
    assert same.status_code == 409 and "two different runs" in same.data["detail"]
    assert program.post(path, {"other": 987_654}).status_code == 404
    assert program.post(path).status_code == 422
    assert not PairwiseEvaluation.objects.exists()


def test_a_judge_is_asked_by_a_job_and_not_one_of_the_family(runs, program, settings):
    opened = program.post(f"/runs/{runs[1].pk}/pairwise", {"other": runs[0].pk}).data
    settings.GOLDPAN_JUDGE_URL, settings.GOLDPAN_JUDGE_MODEL = "http://judge.invalid/v1", "claude-test"
    asked = program.post(f"/pairwise/{opened['id']}/ask")
    assert asked.status_code == 202 and (asked.data["kind"], asked.data["state"]) == ("judge", "queued")
    settings.GOLDPAN_JUDGE_MODEL = "SmolLM2-1.7B"
    refused = program.post(f"/pairwise/{opened['id']}/ask")
    assert refused.status_code == 409 and "of the same family" in refused.data["detail"]
    assert Job.objects.filter(kind="judge").count() == 1


# Serving

def test_what_serves_and_what_came_in_are_read(judged, bob, program_of, settings, tmp_path):  # noqa: F811
    settings.GOLDPAN_BASE_MODEL = tmp_path / "no-model"
    project = judged.project
    day = timezone.now().date()
    TrafficDay.objects.create(project=project, day=day, n_answered=7, n_refused=2, prompt_tokens=90, n_uncosted=7)
    found = program_of(bob).get(f"/projects/{project.pk}/live").data
    assert (found["run_id"], found["adapter_id"], found["obstacle"]) == (
        judged.verdict.best_prompt_id, None, "")
    assert found["n_requests"] == 9 and found["times"] is None and found["models"]
    assert [(one["day"], one["n_answered"], one["n_refused"]) for one in found["days"]] == [(day.isoformat(), 7, 2)]
    assert found["feedback"] | {"n": 0} == found["feedback"] and found["feedback"]["thumbs"] is None


def test_a_project_without_anything_to_serve_says_why_in_its_place(project, bob, program_of):
    found = program_of(bob).get(f"/projects/{project.pk}/live").data
    assert found["title"] == "" and "baseline" in found["obstacle"].lower() and found["days"] == []


def test_the_rules_of_serving_are_the_defaults_until_they_are_changed(project, alice, bob, program_of):
    path = f"/projects/{project.pk}/serving-rules"
    assert program_of(bob).get(path).data == DEFAULTS and not ServingRules.objects.exists()
    admin = program_of(alice)
    changed = admin.put(path, {"sample_share": 0.25, "retention_days": 7})
    assert changed.status_code == 200
    assert admin.get(path).data == changed.data == DEFAULTS | {"sample_share": 0.25, "retention_days": 7}
    assert program_of(bob).put(path, {}).status_code == 403


@pytest.mark.parametrize(("name", "value"), [("sample_share", 1.1), ("retention_days", 0), ("key_limit", 100_001),
                                             ("project_limit", "many"), ("masks", None)])
def test_a_rule_out_of_range_is_named(project, alice, program_of, name, value):
    answer = program_of(alice).put(f"/projects/{project.pk}/serving-rules", {name: value})
    assert answer.status_code == 422 and answer.data["errors"][0]["pointer"] == f"#/{name}"


def test_what_serves_is_checked_by_a_job_that_is_told_while_it_waits(
        judged, bob, program_of, settings, tmp_path):  # noqa: F811
    settings.GOLDPAN_BASE_MODEL = tmp_path / "no-model"
    project, program = judged.project, program_of(bob)
    path = f"/projects/{project.pk}/replays"
    job = program.post(path)
    assert job.status_code == 202 and (job.data["kind"], job.data["state"]) == ("replay", "queued")
    assert program.post(path).data["id"] == job.data["id"]
    deployment = Deployment.objects.filter(project=project).first()
    Replay.objects.create(project=project, deployment=deployment, job_id=job.data["id"], n=12, n_equal=11,
                          differing=["t3"], seconds=1.0)
    [found] = program.get(path).data["items"]
    assert (found["n"], found["n_equal"], found["differing"]) == (12, 11, ["t3"])


def test_where_nothing_serves_it_is_said_why(project, bob, program_of):
    refused = program_of(bob).post(f"/projects/{project.pk}/replays")
    assert refused.status_code == 409 and "baseline" in refused.data["detail"].lower()
    assert not Job.objects.filter(kind="replay").exists()
