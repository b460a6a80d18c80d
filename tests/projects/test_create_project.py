"""A project is usable or not made at all, and it never loses its last admin."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from labeling.starters import STARTERS
from projects.errors import UserError
from projects.models import AuditEvent, Membership, Project, Role
from projects.schema import METRICS
from projects.services import DEFAULT_SHARES, add_member, create_project

LABELS = [{"name": "refund", "description": "wants the money back"}, {"name": "other"}]


def create(by: User, **values: Any) -> Project:
    given: dict[str, Any] = {"name": "Tickets", "labels": LABELS, "instructions": " Say why. ",
                             "target_metric": "accuracy", "target_value": 0.8, "created_by": by}
    return create_project(**given | values)


def test_its_creator_is_its_admin_and_it_is_audited(alice: User) -> None:
    project = create(alice)
    assert Membership.objects.get(project=project).role == Role.admin
    assert (project.labels, project.instructions) == (["refund", "other"], "Say why.")
    assert project.schema["labels"][1] == {"name": "other", "description": ""}
    event = AuditEvent.objects.get(project=project)
    assert (event.who, event.what) == ("alice", "create_project")


def test_its_split_is_its_own_unless_given(alice: User) -> None:
    one, other = create(alice), create(alice, name="Others")
    assert one.split_salt != other.split_salt and len(one.split_salt) == 32
    assert create(alice, name="Given", split_salt="salt").split_salt == "salt"
    assert one.split_shares == DEFAULT_SHARES and sum(DEFAULT_SHARES.values()) == pytest.approx(1)


def label(name: str, description: str = "") -> dict[str, str]:
    return {"name": name, "description": description}


@pytest.mark.parametrize(("values", "message"), [
    ({"name": "ab"}, "3 to 50 characters; “ab” has 2"),
    ({"name": "  ab  "}, "has 2"),
    ({"name": "x" * 51}, "has 51"),
    ({"target_value": 0}, "share between 0 and 1"),
    ({"target_value": 80}, "For 80 % give 0.8"),
    ({"target_value": float("nan")}, "share between 0 and 1"),
    ({"target_metric": "loss"}, "accuracy; got “loss”"),
    ({"labels": []}, "there are 0"),
    ({"labels": [label("one")]}, "there are 1"),
    ({"labels": [label("refund"), label("Refund")]}, "read the same"),
    ({"labels": [label("caf\u00e9"), label("cafe\u0301")]}, "read the same"),
    ({"labels": [label(""), label("other")]}, "empty"),
    ({"labels": [label("a  b"), label("other")]}, "twice in a row"),
    ({"labels": [label("a\nb"), label("other")]}, "line break"),
    ({"labels": [label("$text"), label("other")]}, r"\$ before a word"),
    ({"labels": [label("x" * 101), label("other")]}, "101 characters"),
    ({"labels": [label("refund", "y" * 501), label("other")]}, "501 characters"),
    ({"labels": [label(f"label {n}") for n in range(201)]}, "there are 201")])
def test_what_cannot_be_used_is_refused_in_words_and_leaves_nothing(
        values: dict[str, Any], message: str, alice: User) -> None:
    with pytest.raises(UserError, match=message):
        create(alice, **values)
    assert not Project.objects.exists() and not Membership.objects.exists()


def test_a_name_is_taken_once(alice: User, bob: User) -> None:
    create(alice)
    with pytest.raises(UserError, match="named “Tickets” already"):
        create(bob, name=" Tickets ")
    assert Project.objects.get().created_by == alice


def test_a_role_can_be_changed(project: Project, alice: User, charlie: User) -> None:
    add_member(project, charlie, Role.curator, by=alice)
    assert Membership.objects.get(project=project, user=charlie).role == Role.curator
    last = AuditEvent.objects.filter(project=project).last()
    assert last is not None and last.detail == {"user": "charlie", "role": "curator"}


def test_a_role_that_does_not_exist_is_refused(project: Project, alice: User, charlie: User) -> None:
    with pytest.raises(UserError, match="annotator, curator, admin; got “owner”"):
        add_member(project, charlie, "owner", by=alice)


def test_the_last_admin_stays(project: Project, alice: User, bob: User) -> None:
    with pytest.raises(UserError, match="at least one admin"):
        add_member(project, alice, Role.curator, by=alice)
    assert Membership.objects.get(project=project, user=alice).role == Role.admin
    add_member(project, bob, Role.admin, by=alice)
    add_member(project, alice, Role.curator, by=bob)
    assert Membership.objects.get(project=project, user=alice).role == Role.curator


# Every type

SCHEMAS: dict[str, dict[str, Any]] = {
    "multilabel": {"labels": [{"name": "one"}]}, "spans": {"labels": [{"name": "PLACE"}]},
    "extraction": {"json_schema": {"type": "object", "properties": {"date": {"type": "string"}}}},
    "response": {}, "chat": {"max_chars": 100}, "preference": {"allow_tie": False}}


@pytest.mark.parametrize("task_type", SCHEMAS)
def test_a_project_of_any_type_is_judged_by_the_metric_of_its_type(task_type: str, alice: User) -> None:
    project = create(alice, labels=None, target_metric="", task_type=task_type, schema=SCHEMAS[task_type])
    assert (project.task_type, project.target_metric) == (task_type, METRICS[task_type])
    assert project.schema.keys() == SCHEMAS[task_type].keys()


@pytest.mark.parametrize(("values", "message"), [
    ({"task_type": "sorting"}, "task type is one of"),
    ({"task_type": "spans", "target_metric": "accuracy"}, "type spans is strict_f1; got “accuracy”"),
    ({"task_type": "extraction", "labels": None, "schema": {"json_schema": {}}}, "type “object”"),
    ({"task_type": "extraction", "labels": None}, "needs “json_schema”"),
    ({"task_type": "chat", "target_metric": ""}, "“labels”, which is not supported"),
    ({"schema": {"labels": LABELS}}, "labels or a schema, not both"),
    ({"labels": None, "schema": ["refund"]}, "schema is an object")])
def test_what_does_not_fit_a_type_is_refused_in_words(values: dict[str, Any], message: str, alice: User) -> None:
    with pytest.raises(UserError, match=message):
        create(alice, **values)
    assert not Project.objects.exists()


def test_a_project_without_labels_or_schema_is_refused_where_its_type_needs_them(alice: User) -> None:
    with pytest.raises(UserError, match="needs “labels”"):
        create(alice, labels=None)


# The command

def command(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("create_project", *arguments, "--target", "0.8", "--by", "alice", "--json", stdout=out)
    return dict(json.loads(out.getvalue()))


def test_the_command_takes_labels_a_schema_or_a_starter(alice: User, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMAS["extraction"]))
    assert command("Tickets", "--label", "refund=the money back", "--label", "other")["labels"] == ["refund", "other"]
    assert command("Contracts", "--type", "extraction", "--schema", str(schema))["task_type"] == "extraction"
    assert command("Chats", "--type", "chat")["labels"] == []
    assert command("Names", "--starter", "Names in text")["task_type"] == "spans"
    names = Project.objects.get(name="Names")
    assert "PERSON" in names.labels and names.instructions.startswith("Mark every name")


@pytest.mark.parametrize(("arguments", "message"), [
    (("--label", "a", "--starter", "Names in text"), "--schema and --starter; got --label and --starter"),
    (("--type", "chat", "--starter", "Names in text"), "“Names in text” is of type spans"),
    (("--schema", "nowhere.json"), "nowhere.json cannot be read: No such file"),
    (("--metric", "macro_f1", "--label", "a", "--label", "b"), "is accuracy; got “macro_f1”"), ((), "needs “labels”")])
def test_the_command_refuses_in_words(arguments: tuple[str, ...], message: str, alice: User) -> None:
    with pytest.raises(CommandError, match=message):
        command("Tickets", *arguments)


def test_a_schema_that_is_no_strict_json_is_refused(alice: User, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"labels": [], "labels": []}')
    with pytest.raises(CommandError, match="'labels' stands twice"):
        command("Tickets", "--schema", str(schema))


# The page

URL = "/projects/new/"


def post(client: Client, query: str, **values: Any) -> Any:
    return client.post(f"{URL}?{query}", {"name": "Tickets", "instructions": "Say why.", "target": 75, **values})


@pytest.mark.parametrize(("who", "status"), [
    ("alice", 200), ("bob", 403), ("charlie", 403), ("dora", 403), ("root", 200)])
def test_superusers_and_admins_of_a_project_create_others(
        who: str, status: int, project: Project, dora: User, client_of: Any, request: Any) -> None:
    user = User.objects.create_superuser("root") if who == "root" else request.getfixturevalue(who)
    assert client_of(user).get(URL).status_code == status
    made = post(client_of(user), "type=preference", allow_tie="on")
    assert made.status_code == (302 if status == 200 else 403)
    assert Project.objects.filter(name="Tickets").exists() == (status == 200)


@pytest.mark.parametrize("starter", STARTERS, ids=lambda starter: starter.name)
def test_a_starter_becomes_a_project_as_it_stands(starter: Any, project: Project, alice: User, client_of: Any) -> None:
    page = client_of(alice).get(URL, {"starter": starter.name})
    form = page.context["form"]
    given = {name: form[name].value() for name in form.fields}
    answer = client_of(alice).post(page.wsgi_request.get_full_path(), {
        name: value for name, value in given.items() if value not in (None, False)})
    made = Project.objects.latest("pk")
    assert answer["Location"] == f"/projects/{made.pk}/"
    assert (made.name, made.task_type, made.instructions) == (starter.name, starter.task_type, starter.instructions)
    assert made.schema == starter.schema
    assert Membership.objects.get(project=made).user == alice


@pytest.mark.parametrize("task_type", Project.TaskType.values)
def test_every_type_can_be_begun_from_nothing(task_type: str, project: Project, alice: User, client_of: Any) -> None:
    html = client_of(alice).get(URL, {"type": task_type}).content.decode()
    assert str(Project.TaskType(task_type).label) in html and "Create the project" in html
    given = {"labels": "refund: wants: money\n\nother:\n", "fields_schema": json.dumps(
        SCHEMAS["extraction"]["json_schema"]), "max_chars": 50, "guidance": "Short."}
    assert post(client_of(alice), f"type={task_type}", **given).status_code == 302
    made = Project.objects.latest("pk")
    assert (made.task_type, made.target_value) == (task_type, 0.75)
    if "labels" in made.schema:
        assert made.schema["labels"] == [label("refund", "wants: money"), label("other")]


@pytest.mark.parametrize(("query", "values", "said"), [
    ("type=classification", {"labels": "refund"}, "Give between 2 and 200 labels; there are 1."),
    ("type=classification", {"labels": "a\nb", "name": "Moods"}, "There is a project named “Moods” already."),
    ("type=extraction", {"fields_schema": "{"}, "This is not JSON"),
    ("type=preference", {"target": 100}, "less than or equal to 99")])
def test_what_cannot_be_used_is_said_on_the_page_and_what_was_typed_stays(
        query: str, values: dict[str, Any], said: str, project: Project, alice: User, client_of: Any) -> None:
    answer = post(client_of(alice), query, **values)
    html = answer.content.decode()
    assert answer.status_code == 200 and said in html and "Say why." in html
    assert Project.objects.count() == 1


def test_the_way_to_a_new_project_is_shown_to_those_who_may(
        project: Project, alice: User, bob: User, client_of: Any) -> None:
    assert f'href="{URL}"' in client_of(alice).get(f"/projects/{project.pk}/").content.decode()
    assert f'href="{URL}"' not in client_of(bob).get(f"/projects/{project.pk}/").content.decode()
