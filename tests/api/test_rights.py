"""Who may call what: every operation, every caller, by session and by key."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client

from goldpan.api.joined import Declared, api
from goldpan.api.policy import on
from projects.models import Project, Role
from projects.rights import FOUNDER, MAY, SIGNED_IN
from projects.services import add_member, revoke_api_key
from projects.services.api_keys import create_api_key
from tests.test_rights import World, quote_of, world  # noqa: F401
from training.models import Run

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = {one.name: one for one in api.operations()}
# operation, the object that its number names, and what whoever may call it gets
TABLE = """
project_list          -          200
project_create        -          201
project               project    200
audit_list            project    200
job_list              project    200
job                   job        200
job_cancel            job        200
job_retry             failed_job 200
example_list          project    200
example               example    200
example_erase         unlabelled 202
annotation_list       project    200
upload_create         project    201
upload_list           project    200
upload                upload     200
upload_import         upload     202
guideline_list        project    200
guideline_publish     project    201
batch_create          project    201
batch_list            project    200
batch                 batch      200
batch_state           batch      200
exchange              project    202
score                 project    202
report_list           project    200
report                report     200
score_list            report     200
decision_create       example    201
decision_list         project    200
decision_undo         project    201
gold_set              project    200
gold_set_save         project    200
gold_set_pick         project    200
freeze                project    202
snapshot_list         project    200
snapshot              snapshot   200
snapshot_row_list     snapshot   200
snapshot_checks       snapshot   200
snapshot_changes      untried    200
snapshot_approve      open       201
snapshot_override     open       409
snapshot_comment      snapshot   201
snapshot_comment_list snapshot   200
snapshot_again        snapshot   202
snapshot_request      open       200
snapshot_file         snapshot   200
export_create         snapshot   202
export_file           export     200
prompt_list           project    200
prompt_create         project    201
prompt                prompt     200
prompt_change         prompt     201
prompt_try            prompt     409
baseline              untried    202
verdict               snapshot   200
comparison            snapshot   200
quote                 snapshot   202
quote_list            snapshot   200
train                 snapshot   202
run_list              project    200
run                   run        200
run_curve             run        200
run_cancel            run        409
run_raise_cap         run        409
run_keep_best         run        409
evaluate              run        202
adapter_list          project    200
adapter               adapter    200
adapter_promote       adapter    200
adapter_roll_back     adapter    409
adapter_questions     adapter    202
adapter_merge         adapter    202
critical_slices       project    200
critical_slices_declare project  200
adapter_file          adapter    200
challenger_list       project    200
ab_test_size          project    200
ab_test_list          project    200
ab_test_start         project    409
ab_test               ab_test    200
ab_test_stop          ab_test    200
ab_test_ship          ab_test    409
shadow_start          project    409
shadow_list           project    200
shadow                shadow     200
shadow_people         shadow     409
drift                 project    200
watch                 project    200
watch_change          project    200
look_list             project    200
look                  look       200
look_extra            project    409
proposal_list         project    200
proposal_decide       proposal   200
"""
ROWS = {name: (object, int(status)) for name, object, status in map(str.split, TABLE.strip().splitlines())}


def bodies(world: World) -> dict[str, Any]:  # noqa: F811
    """What a sensible request says."""
    run = Run.objects.get(pk=world.objects["run"])
    return {
        "ab_test_size": {"base": 80, "feedback_rate": 3, "units_a_week": 1000},
        "project_create": {"name": "Further moods", "answer_schema": {"labels": [{"name": "a"}, {"name": "b"}]}},
        "decision_create": {"verdict": "exclude", "reason": "No text."},
        "gold_set_save": {"size": 7}, "example_erase": {"reason": "Somebody asked."},
        "guideline_publish": {"text": "Say it.", "note": "Shorter.", "seen": 2},
        "batch_state": {"state": "paused"}, "critical_slices_declare": {"kinds": ["label"]},
        "snapshot_override": {"name": "balance", "n": 1, "reason": "why not"},
        "snapshot_comment": {"text": "Well."},
        "snapshot_approve": {"sha256": world.posts["curation:snapshot-approve"]["sha256"], "decision": "refused",
                             "comment": "Not yet."},
        "export_create": {"format": "csv"},
        "prompt_create": {"name": "plain", "instruction": "{text}"},
        "prompt_change": {"instruction": "Which mood? {text}", "note": "Shorter."},
        "quote": {"recipe": "quick"},
        "train": {"override_reason": "why not", "quote": quote_of(run.snapshot, world.people["alice"]).pk},
        "run_raise_cap": {"seconds": 60}, "adapter_promote": {"override_reason": "why not"},
        "adapter_roll_back": {"reason": "why not"}, "ab_test_stop": {"reason": "why not"},
        "ab_test_ship": {"reason": "why not"}, "shadow_start": {"challenger": "same"},
        "ab_test_start": {"challenger": "same", "base": 80, "feedback_rate": 3, "units_a_week": 1000},
        "watch_change": {"labels": 60, "reason": "Less traffic."}, "proposal_decide": {"decision": "approve"}}


@pytest.fixture
def asked(world: World) -> Callable[..., int]:  # noqa: F811
    said = bodies(world)
    run = Run.objects.select_related("snapshot__report").get(pk=world.objects["run"])
    assert run.snapshot.report is not None
    world.objects["report"] = run.snapshot.report.pk

    def answer(name: str, client: Client) -> int:
        """The status of an operation for a client; then everything is as it was before."""
        declared, number = OPERATIONS[name], world.objects.get(ROWS[name][0], 0)
        path = "/api" + declared.path.replace("{id}", str(number)).replace("{name}", "adapter_config.json")
        with transaction.atomic():
            if name == "upload_create":
                response = client.post(path, {"file": SimpleUploadedFile("a.csv", b"text\nhello\n")})
            elif declared.method == "GET":
                response = client.get(path, said.get(name))
            else:
                response = client.generic(declared.method, path, json.dumps(said.get(name, {})),
                                          content_type="application/json")
            transaction.set_rollback(True)
        return response.status_code

    return answer


def expected(declared: Declared, caller: str) -> int:
    role = {"charlie": Role.annotator, "bob": Role.curator, "alice": Role.admin}.get(caller)
    status = ROWS[declared.name][1]
    if caller == "anonymous":
        return 401
    if declared.policy == SIGNED_IN:
        return status
    if declared.policy == FOUNDER:
        return status if caller == "alice" else 403
    if role is None:
        return 404
    return status if role in MAY[declared.policy or ""] else 403


def test_every_operation_answers_every_caller_as_it_declares(world, asked):  # noqa: F811
    wrong = [f"{name} by {caller}: {got}, not {wanted}" for name, declared in OPERATIONS.items()
             for caller in ("anonymous", "charlie", "bob", "alice", "dora")
             if (got := asked(name, world.client(caller))) != (wanted := expected(declared, caller))]
    assert not wrong, "\n".join(wrong)


def test_a_key_may_what_its_maker_may_as_far_as_its_scope_goes(world, asked):  # noqa: F811
    moods = Project.objects.get(name="Moods")
    wrong = []
    for maker in ("alice", "bob"):
        for scope in ("read", "write", "predict"):
            _, secret = create_api_key(moods, name="k", scopes=[scope], by=world.people[maker])
            client = Client(headers={"Authorization": f"Bearer {secret}"})
            for name, declared in OPERATIONS.items():
                wanted = expected(declared, maker) if declared.scope == scope and declared.policy != FOUNDER else 403
                if (got := asked(name, client)) != wanted:
                    wrong.append(f"{name} by {maker}'s key for {scope}: {got}, not {wanted}")
    assert not wrong, "\n".join(wrong)


def test_a_key_of_one_project_opens_no_other_that_its_maker_belongs_to(world, asked):  # noqa: F811
    other, dora = Project.objects.get(name="Somebody else's"), world.people["dora"]
    add_member(Project.objects.get(name="Moods"), dora, Role.admin, by=world.people["alice"])
    client = Client(headers={"Authorization": "Bearer " + create_api_key(
        other, name="k", scopes=["read", "write"], by=dora)[1]})
    for name, (object, _) in ROWS.items():
        if object != "-":
            assert asked(name, client) == 404, name
    assert [one["name"] for one in client.get("/api/v1/projects").json()["items"]] == ["Somebody else's"]


def test_a_key_that_is_no_good_is_refused_even_beside_a_session(world, asked):  # noqa: F811
    key, secret = create_api_key(Project.objects.get(name="Moods"), name="k", scopes=["read"], by=world.people["alice"])
    revoke_api_key(key, by=world.people["alice"])
    for header in (f"Bearer {secret}", "Bearer ", "Bearer gp_none", "Basic YTpi", "nonsense"):
        client = world.client("alice", headers={"Authorization": header})
        assert asked("project", client) == 401, header


def test_a_sessions_writes_need_the_pages_token(world, asked):  # noqa: F811
    client = world.client("alice", enforce_csrf_checks=True)
    for name, declared in OPERATIONS.items():
        if declared.scope == "write":
            assert asked(name, client) == 403, name
    assert asked("project", client) == 200


def test_every_operation_is_in_the_table_and_declares_a_policy():
    assert set(OPERATIONS) == set(ROWS)
    assert len(OPERATIONS) == len(list(api.operations())), "two operations have one name"
    assert {one.policy for one in OPERATIONS.values()} <= {*MAY, FOUNDER, SIGNED_IN}


def test_an_action_that_nobody_declared_is_refused_when_the_operation_is_written():
    with pytest.raises(KeyError, match="declare “fly”"):
        on(Project, "fly")


def test_security_md_names_every_operation_with_its_policy():
    text = (ROOT / "docs" / "security.md").read_text()
    listed = re.findall(r"^\| `([A-Z]+ /v1\S*)` \| (\w+) \| (\w+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert listed == [(f"{one.method} {one.path}", one.policy, one.scope, who(one)) for one in api.operations()]


def who(declared: Declared) -> str:
    return {SIGNED_IN: "whoever is logged in", FOUNDER: "superusers, admins of any project; no key"}.get(
        declared.policy or "") or ", ".join(MAY[declared.policy or ""])


def test_the_description_and_its_page_are_for_people_who_are_logged_in(alice: User, client_of):
    for address in ("/api/openapi.json", "/api/docs"):
        assert Client().get(address).status_code == 302
        assert client_of(alice).get(address).status_code == 200
    assert Client().get("/api/").status_code == 302
