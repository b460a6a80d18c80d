"""A project is usable or not made at all, and it never loses its last admin."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from projects.errors import UserError
from projects.models import AuditEvent, Membership, Project, Role
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
