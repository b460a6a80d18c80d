"""What curators settle and admins weigh, by a program: through the operations as a key sends them."""

import pytest

from curation.models import Decision
from labeling.models import Annotation
from tests.api.conftest import Program
from tests.curation.conftest import Scored, scored  # noqa: F401


@pytest.fixture
def program(program_of, bob) -> Program:
    return program_of(bob)


def test_answers_that_differ_are_found_looked_at_and_settled(program: Program, scored: Scored):  # noqa: F811
    queue = program.get(f"/projects/{scored.project.pk}/adjudication").data
    assert {row["key"] for row in queue} == {"p02", "p05"}
    example = scored.examples["p02"]
    case = program.get(f"/examples/{example.pk}/case").data
    assert case["is_decidable"] and case["seen"] == 0 and len(case["answers"]) == 2
    answer = case["answers"][0]
    settled = program.post(f"/examples/{example.pk}/settlement", {
        "verdict": "relabel", "cause": "slip", "answer": answer["annotation_id"], "seen": 0})
    assert settled.status_code == 201
    assert settled.data["value"] == Annotation.objects.get(pk=answer["annotation_id"]).value
    again = program.post(f"/examples/{example.pk}/settlement", {"verdict": "exclude", "cause": "slip", "seen": 0})
    assert again.status_code == 409, "somebody has decided since"
    assert program.post(f"/projects/{scored.project.pk}/adjudication/undo").status_code == 201


def test_many_are_decided_at_once_as_they_were_seen_and_taken_back_as_one(
        program: Program, scored: Scored):  # noqa: F811
    project = scored.project.pk
    look = program.get(f"/projects/{project}/at-once").data
    assert look["seen"]["n"] == 4
    decided = program.post(f"/projects/{project}/bulk-decisions", {
        "filter": {}, "seen": look["seen"], "action": "exclude", "reason": "Spoilt."})
    assert (decided.status_code, decided.data["n_decided"]) == (201, 4)
    late = program.post(f"/projects/{project}/bulk-decisions", {"filter": {}, "seen": look["seen"], "action": "keep"})
    assert late.status_code == 409
    assert program.post(f"/bulk-decisions/{decided.data['id']}/undo").data["n_decided"] == 4
    assert not Decision.objects.current().filter(verdict="exclude").exists()


def test_shares_are_shares_though_the_page_asks_for_per_cent(program_of, alice, project):
    program = program_of(alice)
    price = program.post(f"/projects/{project.pk}/prices", {
        "kind": "machine", "name": "a box", "per_hour": 2.5, "since": "2026-01-01", "source": "a bill"})
    assert price.status_code == 201, price.data
    said = {"requests": 1000, "months": 12, "value": 0.5, "realised": 0.8, "machine_id": price.data["id"]}
    assert program.put(f"/projects/{project.pk}/economics", said).status_code == 200
    told = program.get(f"/projects/{project.pk}/economics").data
    assert {name: told[name] for name in said} == said and told["hosting"] is None
    wrong = program.put(f"/projects/{project.pk}/economics", {"requests_low": 9, "requests_high": 1})
    assert wrong.status_code == 422 and "requests" in str(wrong.data["errors"])


def test_a_member_is_somebody_with_an_account(program_of, alice, project, dora):
    program = program_of(alice)
    assert program.post(f"/projects/{project.pk}/members", {"name": "dora", "role": "annotator"}).status_code == 201
    refused = program.post(f"/projects/{project.pk}/members", {"name": "nobody", "role": "admin"})
    assert refused.status_code == 409 and "Invite them on the page of members" in refused.data["detail"]


def test_a_selection_is_of_the_projects_own_examples(program: Program, scored: Scored):  # noqa: F811
    mine = [scored.examples["p00"].pk, scored.examples["p01"].pk]
    kept = program.post(f"/projects/{scored.project.pk}/selections", {"examples": mine})
    assert kept.status_code == 201 and kept.data["n_examples"] == 2
    for stranger in (0, -1, 987_654):
        refused = program.post(f"/projects/{scored.project.pk}/selections", {"examples": [*mine, stranger]})
        assert refused.status_code == 409 and "1 of these 3" in refused.data["detail"]
    batch = program.post(f"/selections/{kept.data['id']}/batch", {"title": "these two"})
    assert batch.status_code == 201 and batch.data["title"] == "these two"
