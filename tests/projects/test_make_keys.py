"""Keys for programs: a curator or admin makes one, sees its secret once, and ends it after a question."""

import re

import pytest
from django.urls import reverse

from projects.models import ApiKey
from projects.services import KeyRefused, api_key_of, create_api_key

ASKED = {"name": "nightly", "scopes": ["read", "write"], "days": 90}


def url(project):
    return reverse("projects:keys", args=[project.pk])


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_make_keys(project, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert client.get(url(project)).status_code == status
    assert client.post(url(project), ASKED).status_code == status
    assert ApiKey.objects.exists() == (status == 200)


def test_a_secret_is_shown_once_and_opens(project, bob, client_of):
    client = client_of(bob)
    html = client.post(url(project), ASKED).content.decode()
    secret = re.search(r'<code id="secret" class="secret">(gp_.+?)</code>', html).group(1)
    assert api_key_of(secret, "write").created_by == bob
    assert secret not in client.get(url(project)).content.decode()


def test_a_key_for_nothing_is_refused(project, bob, client_of):
    answer = client_of(bob).post(url(project), {"name": "nightly", "days": 90})
    assert answer.status_code == 422 and "errorlist" in answer.content.decode() and not ApiKey.objects.exists()


def test_admins_see_everybodys_keys_and_curators_their_own(project, alice, bob, client_of):
    keys = {user: create_api_key(project, name=f"of {user}", scopes=["read"], by=user)[0] for user in (alice, bob)}
    assert all(f"of {user}" in client_of(alice).get(url(project)).content.decode() for user in keys)
    assert "of alice" not in client_of(bob).get(url(project)).content.decode()
    revoke = reverse("projects:key-revoke", args=[keys[alice].pk])
    assert client_of(bob).get(revoke).status_code == client_of(bob).post(revoke).status_code == 404


def test_a_key_is_revoked_after_a_question(project, alice, bob, client_of):
    key, secret = create_api_key(project, name="nightly", scopes=["read"], by=bob)
    client, address = client_of(alice), reverse("projects:key-revoke", args=[key.pk])
    assert "Revoke “nightly”?" in client.get(address).content.decode()
    assert api_key_of(secret, "read") == key
    assert "is revoked" in client.post(address, follow=True).content.decode()
    with pytest.raises(KeyRefused):
        api_key_of(secret, "read")
    assert client.get(address).status_code == 400


def test_the_page_takes_few_queries(project, alice, bob, client_of, django_assert_max_num_queries):
    for n in range(5):
        create_api_key(project, name=f"key {n}", scopes=["read"], by=bob)
    client = client_of(alice)
    with django_assert_max_num_queries(10):
        client.get(url(project))
