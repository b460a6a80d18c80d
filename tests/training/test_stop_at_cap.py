import pytest
from django.urls import reverse

from jobs.models import Job
from projects.errors import UserError
from projects.models import AuditEvent, Notice
from tests.training.story import start_quoted
from training.models import Adapter, Cap, Receipt
from training.services.runs import cap_of, keep_best, raise_cap, stopped_at_cap


@pytest.fixture
def stopped(judged, alice, model, run_jobs):
    """A run that would take longer than its cap of a minute; one epoch was scored by then."""
    run = start_quoted(judged, by=alice, cap_seconds=60)
    run_jobs()
    run.refresh_from_db()
    run.job.refresh_from_db()
    return run


def page(client, run):
    return client.get(reverse("training:run", args=[run.pk])).content.decode()


def test_a_run_stops_at_its_cap_in_words(stopped, alice, client_of):
    assert stopped.job.state == Job.State.failed and not Adapter.objects.exists()
    assert stopped.job.error.startswith("Stopped at its cap of 1\u202fmin, after step 1 of 12. Nothing is lost.")
    assert "got 75.0\u202f% right on dev" in stopped.job.error
    receipt = stopped_at_cap(stopped)
    assert receipt.seconds == 60 and not receipt.is_whole and receipt.quote == stopped.caps.get().quote
    assert [notice.event for notice in Notice.objects.order_by("-pk")][:2] == ["run.stopped_at_cap", "quote.ready"]
    html = page(client_of(alice), stopped)
    assert "stopped at its cap." in html and "Keep the best pass so far" in html and "Go on up to this cap" in html
    assert "says nothing about the quote" in html


def test_running_the_job_again_changes_nothing_of_the_cap(stopped, alice, run_jobs, client_of):
    client_of(alice).post(reverse("jobs:job-retry", args=[stopped.job_id]))
    run_jobs()
    stopped.job.refresh_from_db()
    assert "Stopped at its cap" in stopped.job.error and Receipt.objects.count() == 2


def test_an_admin_lets_it_go_on_with_a_higher_cap(stopped, alice, run_jobs, client_of):
    client_of(alice).post(reverse("training:raise-cap", args=[stopped.pk]), {"cap_minutes": "5"})
    assert [cap.seconds for cap in stopped.caps.all()] == [300.0, 60.0]
    event = AuditEvent.objects.get(what="raise_cap")
    assert event.who == "alice" and event.detail == {"run": stopped.pk, "seconds": 300, "before": 60}
    run_jobs()
    receipt = stopped.receipts.first()
    assert Adapter.objects.get().run == stopped and receipt.is_whole and receipt.seconds == 80


@pytest.mark.parametrize("seconds", [30, 60])
def test_a_cap_is_raised_not_lowered(stopped, alice, seconds):
    with pytest.raises(UserError, match="has to be higher"):
        raise_cap(stopped, by=alice, seconds=seconds)
    assert stopped.caps.count() == 1


def test_or_keeps_the_best_epoch_so_far(stopped, alice, run_jobs, client_of):
    client_of(alice).post(reverse("training:keep-best", args=[stopped.pk]))
    assert AuditEvent.objects.get(what="keep_best").detail == {"run": stopped.pk}
    run_jobs()
    assert Adapter.objects.get().run == stopped and not stopped.receipts.first().is_whole
    assert stopped.evaluations.filter(split="test").exists()
    assert "was stopped, so this says nothing about the quote" in page(client_of(alice), stopped)


def test_without_a_scored_epoch_there_is_nothing_to_keep(judged, alice, model, run_jobs, client_of):
    model.n_epochs = 0
    run = start_quoted(judged, by=alice, cap_seconds=60)
    run_jobs()
    run.job.refresh_from_db()
    assert "No pass over the rows was finished by then" in run.job.error
    with pytest.raises(UserError, match="nothing to choose"):
        keep_best(run, by=alice)
    assert "Keep the best pass so far" not in page(client_of(alice), run)


def test_a_run_that_is_under_way_or_done_has_no_cap_to_raise(adapter, alice):
    for act in (lambda: raise_cap(adapter.run, by=alice, seconds=900), lambda: keep_best(adapter.run, by=alice)):
        with pytest.raises(UserError, match="has not stopped at its cap; it is"):
            act()


def test_only_an_admin_decides(stopped, bob, client_of):
    client = client_of(bob)
    assert "Go on up to this cap" not in page(client, stopped)
    assert client.post(reverse("training:raise-cap", args=[stopped.pk]), {"cap_minutes": "5"}).status_code == 403


def test_the_receipt_stands_beside_the_quote(adapter, alice, client_of):
    receipt = Receipt.objects.get()
    assert (receipt.seconds, receipt.cpu_seconds, receipt.peak_mb, receipt.is_whole) == (80, 100, 1234.5, True)
    html = page(client_of(alice), adapter.run)
    assert "1\u202fmin 26\u202fs" in html and "1\u202fmin 20\u202fs" in html and "+8\u202f%" in html  # 86 for 80
    assert "−3\u202f%" in html  # 1,200 MB quoted, 1,234.5 came


def test_a_cap_in_money_needs_a_price(stopped):
    with pytest.raises(UserError, match="needs the price of this machine"):
        cap_of(Cap.objects.get().quote, seconds=None, money=1.0)
