from django.urls import reverse

from jobs.models import Job
from tests.training.story import CHECKS, quoted
from training.models import Quote
from training.services.quotes import checks_of, start_quote

REFUSED = {"name": "No row is cut", "state": "failed", "words": "9 of 30 rows are left out.", "advice": "Raise it.",
           "rows": [["e001", "The row has 700 tokens, at most 512 are trained on."]], "is_hard": True}


def page(client, snapshot):
    return client.get(reverse("training:train", args=[snapshot.pk])).content.decode()


def test_every_check_stands_on_the_page_and_those_to_look_at_come_first(judged, alice, client_of):
    quote = quoted(judged, alice)
    assert [check.state for check in checks_of(judged, quote)] == ["open", *["passed"] * 4]
    html = page(client_of(alice), judged)
    assert "Looked at before you pay" in html and "The loss fell from 2.00 to 0.40. It was learning." in html
    assert "None of the 69 rows that judge is among the training rows." in html


def test_rows_that_may_not_be_trained_on_make_no_quote_but_a_list(judged, alice, model, client_of, run_jobs):
    model.checks = [*CHECKS, REFUSED]
    start_quote(judged, by=alice)
    run_jobs()
    job = Job.objects.get(kind="quote")
    assert job.state == "succeeded" and job.result["words"] == ["9 of 30 rows are left out. Raise it."]
    assert not Quote.objects.exists()
    html = page(client_of(alice), judged)
    assert "e001" in html and "700 tokens" in html and "Start the training" not in html
    assert html.index("No row is cut") < html.index("The chat template gives back")


def test_an_older_refusal_does_not_hang_over_a_newer_quote(judged, alice, model, run_jobs):
    model.checks = [REFUSED]
    start_quote(judged, by=alice)
    run_jobs()
    model.checks = CHECKS
    quote = quoted(judged, alice)
    assert "failed" not in {check.state for check in checks_of(judged, quote)}
