"""Django's admin: superusers look, nobody writes."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import reverse

from labeling.models import LabelStudioToken

TABLES = sorted(admin.site._registry.items(), key=lambda item: item[0]._meta.label)
NAMES = [model._meta.label for model, _ in TABLES]


@pytest.fixture
def root(db):
    return User.objects.create_superuser("root")


@pytest.fixture
def as_root(root):
    request = RequestFactory().get("/")
    request.user = root
    return request


def parts(table):
    return [table, *(inline(table.model, admin.site) for inline in table.inlines)]


@pytest.mark.parametrize("table", [table for _, table in TABLES], ids=NAMES)
def test_not_even_a_superuser_writes(table, as_root):
    for part in parts(table):
        assert part.has_view_permission(as_root)
        assert not part.has_add_permission(as_root, None)
        assert not part.has_change_permission(as_root) and not part.has_delete_permission(as_root)


@pytest.mark.parametrize("model", [model for model, _ in TABLES], ids=NAMES)
def test_every_table_opens(model, root, client_of, project):
    client = client_of(root)
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert client.get(reverse(f"{name}_changelist"), {"q": "x"}).status_code == 200
    assert client.get(reverse(f"{name}_add")).status_code == 403
    found = model.objects.first()
    if found is not None:
        assert client.get(reverse(f"{name}_change", args=[found.pk])).status_code == 200
        assert client.post(reverse(f"{name}_change", args=[found.pk]), {"name": "x"}).status_code == 403
        assert client.post(reverse(f"{name}_delete", args=[found.pk]), {"post": "yes"}).status_code == 403


def test_one_action_and_no_other(as_root):
    actions = {model._meta.label: list(table.get_actions(as_root)) for model, table in TABLES}
    assert {label: names for label, names in actions.items() if names} == {"curation.Snapshot": ["start_lora_run"]}


def test_staff_without_superuser_see_nothing(client_of, db):
    staff = User.objects.create_user("staff", is_staff=True)
    assert client_of(staff).get(reverse("admin:index")).status_code == 403


def test_no_secret_is_shown(root, client_of, project):
    assert LabelStudioToken not in dict(TABLES)
    html = client_of(root).get(reverse("admin:auth_user_change", args=[root.pk])).content.decode()
    assert "password" not in html.replace("admin/password_change", "").lower().replace("change password", "")
