"""Accounts: passwords that nobody chose, handed out once, and roles given by those who may."""

import json
import re
from collections.abc import Callable
from io import StringIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from projects.models import AuditEvent, Membership, Project, Role
from projects.people import ALPHABET, new_password


def told(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command(*arguments, "--json", stdout=out)
    return dict(json.loads(out.getvalue()))


def test_a_new_password_can_be_read_aloud_and_never_repeats() -> None:
    made = {new_password() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(f"(?:[{ALPHABET}]{{4}}-){{3}}[{ALPHABET}]{{4}}", password) for password in made)
    assert not set("lio01") & set(ALPHABET)
    assert len(ALPHABET) ** 16 > 2**79


def test_a_reset_password_opens_the_door_and_the_old_one_does_not(alice: User) -> None:
    alice.set_password("what she forgot")
    alice.save()
    password = told("reset_password", "alice")["password"]
    assert Client().login(username="alice", password=password)
    assert not Client().login(username="alice", password="what she forgot")


def test_a_reset_ends_the_sessions_that_were_open(alice: User, project: Project,
                                                  client_of: Callable[[User], Client]) -> None:
    browser = client_of(alice)
    page = f"/projects/{project.pk}/"
    assert browser.get(page).status_code == 200
    told("reset_password", "alice")
    assert browser.get(page).status_code == 302


def test_what_is_pressed_after_a_session_ended_leads_back_to_the_page_and_not_to_what_was_pressed(
        project: Project) -> None:
    page, button = f"/projects/{project.pk}/quality/?by=label", f"/projects/{project.pk}/quality/score/"
    stranger = Client()
    assert back_from(stranger.get(page)["Location"]) == page
    assert back_from(stranger.post(button, headers={"referer": f"http://testserver{page}"})["Location"]) == page
    part = stranger.get(button, headers={"hx-request": "true", "hx-current-url": f"http://testserver{page}"})
    assert part.status_code == 200 and back_from(part["HX-Redirect"]) == page


@pytest.mark.parametrize("referer", ["", "http://elsewhere.example/projects/1/", "http://[broken"])
def test_after_a_press_from_nowhere_they_begin_at_home(referer: str, project: Project) -> None:
    answer = Client().post(f"/projects/{project.pk}/quality/score/", headers={"referer": referer})
    assert back_from(answer["Location"]) == "/"


def back_from(log_in: str) -> str:
    """Where a log-in leads, out of its address."""
    return parse_qs(urlsplit(log_in).query)["next"][0]


def test_an_address_that_only_takes_forms_says_so(alice: User, project: Project,
                                                  client_of: Callable[[User], Client]) -> None:
    answer = client_of(alice).get(f"/projects/{project.pk}/quality/score/")
    assert answer.status_code == 405 and answer["Allow"] == "POST"
    assert "only takes what a button sends" in answer.content.decode()


def test_nobody_signs_up(db: None) -> None:
    assert Client().get("/accounts/signup/").status_code == 404
    assert "signup" not in Client().get("/accounts/login/").content.decode()


def test_who_was_made_inactive_is_out_at_once(bob: User, project: Project,
                                              client_of: Callable[[User], Client]) -> None:
    browser = client_of(bob)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert browser.get(f"/projects/{project.pk}/").status_code == 302


def test_a_role_is_given_by_an_admin_of_the_project(project: Project, dora: User) -> None:
    assert told("add_member", "Moods", "dora", "annotator", "--by", "alice") == {"user": "dora", "role": "annotator"}
    last = AuditEvent.objects.filter(project=project).last()
    assert last is not None and (last.who, last.what) == ("alice", "add_member")


@pytest.mark.parametrize("by", ["bob", "charlie", "dora"])
def test_a_role_is_given_by_nobody_else(by: str, project: Project, dora: User) -> None:
    with pytest.raises(CommandError, match=f"Only an admin of “Moods” adds members; {by} is none"):
        told("add_member", "Moods", by, "admin", "--by", by)
    assert not Membership.objects.filter(project=project, user__username=by, role=Role.admin).exists()


def test_a_name_that_is_nobodys_is_said(project: Project) -> None:
    for arguments in (("reset_password", "nobody"), ("add_member", "Moods", "nobody", "curator", "--by", "alice")):
        with pytest.raises(CommandError, match="no user “nobody”"):
            told(*arguments)
