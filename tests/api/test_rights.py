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
from goldpan.policies import policy_of
from projects.models import Project, Role
from projects.rights import FOUNDER, MAY, SIGNED_IN
from projects.services import add_member, revoke_api_key
from projects.services.api_keys import create_api_key
from tests.test_rights import DESCRIPTION, World, quote_of, world  # noqa: F401
from tests.test_rights import OURS as ROUTES
from tests.test_rights import ROWS as PAGES
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
webhook_list          project    200
webhook_create        project    201
webhook               webhook    200
webhook_change        webhook    200
webhook_state         webhook    200
webhook_secret        webhook    201
webhook_test          webhook    201
webhook_delivery_list webhook    200
webhook_again         webhook    409
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
batch_file            handed_out 200
batch_answers         handed_out 201
exchange              project    202
member_list           project    200
member_add            project    201
annotator_list        project    200
annotator_pause       annotator  200
annotator_resume      paused     200
annotator_pass        annotator  200
labeling_rules        project    200
labeling_rules_save   project    200
known_answer_list     project    200
known_answer_candidates project  200
known_answer_add      project    409
known_answer_retire   known      200
next_labels           project    202
guideline_ask_again   project    201
batch_again           batch      200
suggest               project    202
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
snapshot_import       project    409
adjudication_list     project    200
case                  example    200
adjudication_settle   disputed   201
adjudication_undo     project    201
message_write         talked_about 201
bulk_look             project    200
bulk_decide           project    201
bulk_list             project    200
bulk_undo             bulk       201
duplicate_list        project    200
duplicate_settle      project    201
duplicate_undo        project    409
duplicate_keep_one_look project  200
duplicate_keep_one    project    409
pair_list             project    200
pair_judge            project    404
pair_undo             project    409
experiment_start      project    202
experiment_list       project    200
experiment            experiment 200
forecast_start        project    202
forecast_list         project    200
arms_start            experiment 202
arm_training_list     experiment 200
economics             project    200
economics_save        project    200
price_list            project    200
price_add             project    201
price_withdraw        project    200
map_draw              project    202
map_list              project    200
selection_create      project    201
selection_batch       selection  201
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
promotion_list        project    200
run_roll_back         run        409
adapter_questions     adapter    202
adapter_merge         adapter    202
critical_slices       project    200
critical_slices_declare project  200
adapter_file          adapter    200
run_bundle            carried    200
run_result            carried    409
pairwise_list         project    200
pairwise_open         run        409
pairwise              pairwise   200
pairwise_ask          pairwise   409
live                  project    200
serving_rules         project    200
serving_rules_save    project    200
replay_start          project    409
replay_list           project    200
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

FILES = {  # operation that is sent a file → its field and what is in it
    "upload_create": ("file", b"text\nhello\n"), "batch_answers": ("file", b"key,annotator,label\nnone,ann,neutral\n"),
    "snapshot_import": ("file", b"{}\n"), "run_result": ("files", b"nothing")}


def bodies(world: World) -> dict[str, Any]:  # noqa: F811
    """What a sensible request says."""
    run = Run.objects.get(pk=world.objects["run"])
    return {
        "ab_test_size": {"base": 80, "feedback_rate": 3, "units_a_week": 1000},
        "webhook_create": {"url": "https://hooks.example.org", "events": ["job.failed"]},
        "webhook_change": {"url": "https://hooks.example.org", "events": ["run.finished"]},
        "webhook_state": {"state": "paused"}, "webhook_again": {"delivery": 10**9},
        "pairwise_open": {"other": world.objects["run"]}, "serving_rules_save": {"key_limit": 9},
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
        "member_add": {"name": "dora", "role": "annotator"}, "annotator_pause": {"because": "on holiday"},
        "labeling_rules_save": {"open_limit": 9}, "known_answer_add": {"examples": [world.objects["unlabelled"]]},
        "adjudication_settle": {"verdict": "exclude", "cause": "slip"}, "message_write": {"text": "Neutral, I think."},
        "bulk_decide": {"filter": {}, "action": "exclude", "seen": {
            name: world.posts["curation:bulk-decide"][name] for name in (
                "report", "decision", "annotation", "n", "total")}},
        "duplicate_settle": {"duplicate": world.posts["curation:duplicates-settle"]["cluster"], "verdict": "keep_all"},
        "duplicate_keep_one": {"n_seen": 10**6}, "pair_judge": {"pair": 10**9, "answer": "same"},
        "arms_start": {"positions": [0, 1], "steps": 60}, "economics_save": {"requests": 100, "realised": 0.5},
        "price_add": {"kind": "machine", "name": "a box", "per_hour": 1, "since": "2026-01-01", "source": "a bill"},
        "price_withdraw": world.posts["training:price-withdraw"],
        "selection_create": {"examples": [world.objects["example"]]},
        "prompt_create": {"name": "plain", "instruction": "{text}"},
        "prompt_change": {"instruction": "Which mood? {text}", "note": "Shorter."},
        "quote": {"recipe": "quick"},
        "train": {"override_reason": "why not", "quote": quote_of(run.snapshot, world.people["alice"]).pk},
        "run_raise_cap": {"seconds": 60}, "adapter_promote": {"override_reason": "why not"},
        "adapter_roll_back": {"reason": "why not"}, "run_roll_back": {"reason": "why not"},
        "ab_test_stop": {"reason": "why not"},
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
            if name in FILES:
                field, content = FILES[name]
                response = client.post(path, {field: SimpleUploadedFile("a.csv", content)})
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


# What only a page has, and why
ONLY_A_PAGE = {
    "account_login": "a program has a key", "account_logout": "a program has a key",
    "account_change_password": "a password is its owner's",
    "projects:inbox-read": "an inbox is its owner's", "projects:mail": "an inbox is its owner's",
    "projects:notice": "an inbox is its owner's", "labeling:desk": "a desk is its owner's",
    "projects:keys": "a key that makes keys could not be revoked", "projects:key-revoke": "as making one",
    "curation:save-view": "a program names its filter", "curation:delete-view": "a program names its filter",
    "curation:guideline-preview": "it changes nothing", "curation:gold-set-check": "it changes nothing",
    "labeling:upload": "the columns are named when the file is sent",
    "training:pairwise-judge": "people judge without knowing which answer is whose",
    "labeling:webhook": "Label Studio calls it", "healthz": "it changes nothing",
    "serving:v1-chat": "it is a program's already", "serving:v1-predict": "it is a program's already",
    "serving:v1-feedback": "it is a program's already", **dict.fromkeys(DESCRIPTION, "it changes nothing")}
BY_OPERATION = {  # route of a page that changes something → the operation that does the same
    "projects:webhooks": "webhook_create", "projects:webhook-edit": "webhook_change",
    "projects:webhook-state": "webhook_state", "projects:webhook-secret": "webhook_secret",
    "projects:webhook-test": "webhook_test", "projects:webhook-again": "webhook_again",
    "labeling:batch-answers": "batch_answers", "curation:snapshot-import": "snapshot_import",
    "training:train-elsewhere": "train", "training:bundle": "run_bundle", "training:result": "run_result",
    "training:pairwise-open": "pairwise_open", "training:pairwise-ask": "pairwise_ask",
    "serving:live-rules": "serving_rules_save", "serving:live-replay": "replay_start",
    "serving:ab-test-new": "ab_test_start", "serving:ab-test-stop": "ab_test_stop",
    "serving:ab-test-ship": "ab_test_ship",
    "serving:shadow-start": "shadow_start", "serving:shadow-people": "shadow_people",
    "serving:watch-plan": "watch_change", "serving:look-extra": "look_extra",
    "serving:proposal-decide": "proposal_decide",
    "projects:create": "project_create", "projects:members": "member_add", "labeling:import": "upload_create",
    "labeling:upload-import": "upload_import", "labeling:batch-create": "batch_create",
    "labeling:batch-state": "batch_state", "labeling:batch-again": "batch_again",
    "labeling:rules": "labeling_rules_save",
    "labeling:known-answer-retire": "known_answer_retire", "labeling:annotator-pause": "annotator_pause",
    "labeling:annotator-resume": "annotator_resume", "labeling:annotator-pass": "annotator_pass",
    "labeling:sync": "exchange", "jobs:job-cancel": "job_cancel", "jobs:job-retry": "job_retry",
    "curation:decide": "decision_create", "curation:undo": "decision_undo", "curation:message": "message_write",
    "curation:bulk-decide": "bulk_decide", "curation:bulk-undo": "bulk_undo",
    "curation:adjudicate-settle": "adjudication_settle", "curation:adjudicate-undo": "adjudication_undo",
    "curation:guideline-edit": "guideline_publish", "curation:guideline-ask-again": "guideline_ask_again",
    "curation:score": "score", "curation:duplicates-settle": "duplicate_settle",
    "curation:duplicates-undo": "duplicate_undo", "curation:keep-one": "duplicate_keep_one",
    "curation:pairs-judge": "pair_judge", "curation:known-answers": "known_answer_add",
    "curation:next-labels": "next_labels", "curation:map-draw": "map_draw", "curation:map-select": "selection_create",
    "curation:selection-batch": "selection_batch", "curation:gold-set": "gold_set_save",
    "curation:experiments": "experiment_start", "curation:forecasts": "forecast_start", "curation:freeze": "freeze",
    "curation:snapshot-approve": "snapshot_approve", "curation:snapshot-export-start": "export_create",
    "curation:snapshot-override": "snapshot_override", "curation:snapshot-request": "snapshot_request",
    "curation:snapshot-comment": "snapshot_comment", "curation:snapshot-again": "snapshot_again",
    "curation:example-erase": "example_erase", "training:suggest": "suggest",
    "training:critical-slices": "critical_slices_declare", "training:baseline": "baseline",
    "training:economics": "economics_save", "training:prices": "price_add", "training:price-withdraw": "price_withdraw",
    "training:quote": "quote", "training:train": "train", "training:prompt-new": "prompt_create",
    "training:prompt-change": "prompt_change", "training:prompt-try": "prompt_try",
    "training:raise-cap": "run_raise_cap", "training:keep-best": "run_keep_best", "training:arms-start": "arms_start",
    "training:promote": "adapter_promote", "training:roll-back": "adapter_roll_back",
    "training:run-roll-back": "run_roll_back",
    "training:questions": "adapter_questions", "training:merge": "adapter_merge"}


def test_whatever_a_page_changes_a_program_can_change_or_it_is_said_why_not():
    changing = {row.url for row in PAGES if row.method == "POST" and row.expected["alice"] != "405"}
    sorted_out = [*BY_OPERATION, *ONLY_A_PAGE]
    assert len(sorted_out) == len(set(sorted_out)), "a route is sorted out twice"
    assert changing - set(sorted_out) == set(), "these routes have no operation, and no reason why not"
    assert set(sorted_out) - changing == set(), "these are no routes that change anything"
    assert set(BY_OPERATION.values()) <= set(OPERATIONS)


def test_an_operation_takes_the_right_that_its_page_takes():
    wrong = {route: (OPERATIONS[name].policy, policy_of(ROUTES[route].callback, route))
             for route, name in BY_OPERATION.items()
             if OPERATIONS[name].policy != policy_of(ROUTES[route].callback, route)}
    assert wrong == {}


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
