"""Promotions from before there were rows of them are told by the audit log."""

from importlib import import_module

from django.apps import apps
from django.contrib.auth.models import User

from tests.training.conftest import trained
from training.models import Promotion
from training.services.promotion import promote, roll_back


def test_the_audit_log_gives_the_rows_that_the_services_write(adapter, alice, run_jobs):
    other = trained(adapter.run.snapshot, alice, run_jobs, seed=2)
    promote(adapter, by=alice)
    promote(other, by=alice, override_reason="It is as good, and newer.")
    roll_back(adapter, by=alice, reason="Users complain.")
    written = rows_after(0)
    assert [way for _, _, way, _, _ in written] == ["proven", "overridden", "rolled_back"]
    newest = Promotion.objects.latest("pk").pk
    import_module("training.migrations.0016_promotions").write_what_the_audit_log_tells(apps, None)
    assert rows_after(newest) == written


def test_an_account_that_is_gone_is_no_reason_to_lose_a_promotion(adapter, alice):
    promote(adapter, by=alice)
    User.objects.filter(pk=alice.pk).update(username="somebody else")
    newest = Promotion.objects.latest("pk").pk
    import_module("training.migrations.0016_promotions").write_what_the_audit_log_tells(apps, None)
    [(run, _, way, _, by)] = rows_after(newest)
    assert (run, way, by) == (adapter.run_id, "proven", None)


def rows_after(pk):
    return list(Promotion.objects.filter(pk__gt=pk).order_by("pk").values_list(
        "run", "instead_of", "way", "reason", "by"))
