"""API keys: made once, shown once, good for what they say, as long as their maker belongs to the project."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.errors import UserError
from projects.models import ApiKey, AuditEvent, Role
from projects.services import KeyRefused, add_member, api_key_of, create_api_key, revoke_api_key


def made(project, by, **changed):
    return create_api_key(project, **{"name": "nightly", "scopes": ["read"], "by": by} | changed)


def test_a_key_opens_what_it_is_good_for_and_its_secret_is_kept_nowhere(project, alice):
    key, secret = made(project, alice)
    found = api_key_of(secret, "read")
    assert found == key and found.last_used_on is None
    assert ApiKey.objects.get().last_used_on == timezone.now().date()
    assert secret not in str(ApiKey.objects.values().get())
    assert secret.startswith(key.shown) and len(secret) > 40


@pytest.mark.parametrize("change", ["another", "other scope", "revoked", "expired", "maker gone", "maker inactive"])
def test_a_key_is_refused_when(project, alice, bob, change):
    add_member(project, bob, Role.admin, by=alice)
    key, secret = made(project, bob)
    if change == "revoked":
        revoke_api_key(key, by=alice)
    elif change == "maker gone":
        project.memberships.filter(user=bob).delete()
    elif change == "maker inactive":
        type(bob).objects.filter(pk=bob.pk).update(is_active=False)
    with pytest.raises(KeyRefused):
        api_key_of(secret + "x" if change == "another" else secret, "write" if change == "other scope" else "read",
                   now=timezone.now() + timedelta(days=91 if change == "expired" else 0))


@pytest.mark.parametrize(("changed", "words"), [
    ({"name": " "}, "needs a name"), ({"scopes": []}, "at least one"), ({"scopes": ["all"]}, "“all”"),
    ({"days": 0}, "1 to 366"), ({"days": 400}, "1 to 366")])
def test_a_key_that_cannot_be_is_refused_in_words(project, alice, changed, words):
    with pytest.raises(UserError, match=words):
        made(project, alice, **changed)
    assert not ApiKey.objects.exists()


def test_making_and_revoking_are_audited_and_a_key_is_revoked_once(project, alice):
    key, secret = made(project, alice, days=None)
    assert key.expires_at is None
    revoke_api_key(key, by=alice)
    with pytest.raises(UserError, match="already"):
        revoke_api_key(key, by=alice)
    assert list(AuditEvent.objects.order_by("sequence").values_list("what", flat=True))[-2:] == [
        "create_api_key", "revoke_api_key"]
    assert secret not in str(list(AuditEvent.objects.values()))
