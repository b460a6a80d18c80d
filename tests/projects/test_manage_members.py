"""Members: an admin gives people roles, and an account to those who have none."""

import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from projects.models import AuditEvent, Role


def members(client, project, **data):
    url = reverse("projects:members", args=[project.pk])
    here = {"Referer": f"http://testserver{url}"}
    return client.post(url, data, follow=True, headers=here) if data else client.get(url)


def role(project, name):
    membership = project.memberships.filter(user__username=name).first()
    return membership.role if membership else None


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_an_admin_manages_members(project, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert members(client, project).status_code == status
    assert members(client, project, name="mira", role="annotator").status_code == status
    assert User.objects.filter(username="mira").exists() == (status == 200)


def test_somebody_new_gets_an_account_and_a_password_that_is_shown_once(project, alice, client_of):
    client = client_of(alice)
    html = members(client, project, name="mira", role="annotator").content.decode()
    password = re.search(r'<code id="password">(.+?)</code>', html).group(1)
    assert client_of(alice).login(username="mira", password=password)
    assert role(project, "mira") == Role.annotator and password not in members(client, project).content.decode()


def test_somebody_with_an_account_keeps_their_password(project, alice, dora, client_of):
    dora.set_password("their own")
    dora.save()
    html = members(client_of(alice), project, name="dora", role="curator").content.decode()
    dora.refresh_from_db()
    assert role(project, "dora") == Role.curator and dora.check_password("their own") and 'id="password"' not in html


def test_a_role_is_changed_and_written_down(project, alice, bob, client_of):
    members(client_of(alice), project, name="bob", role="admin")
    assert role(project, "bob") == Role.admin
    assert AuditEvent.objects.filter(what="add_member").latest("pk").detail == {"user": "bob", "role": "admin"}


def test_the_last_admin_stays(project, alice, client_of):
    answer = members(client_of(alice), project, name="alice", role="curator")
    assert "A project keeps at least one admin" in answer.content.decode() and role(project, "alice") == Role.admin


@pytest.mark.parametrize("name", ["", "two words", "a" * 151])
def test_a_name_that_cannot_be_is_refused(project, alice, client_of, name):
    assert "errorlist" in members(client_of(alice), project, name=name, role="annotator").content.decode()
    assert User.objects.count() == 3
