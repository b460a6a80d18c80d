"""A/B tests through their pages: plan, start, read, stop, ship. Who may, and what is refused in which words."""

import json

import pytest
from django.core.management import call_command
from django.urls import reverse

from projects.models import AuditEvent
from serving.models import Experiment, ExperimentEnd
from serving.services import experiments
from serving.services.experiments import judge, stop_experiment
from serving.services.planning import facts_for
from tests.serving.ab import after, begin_test, users
from tests.training.conftest import trained
from training.models import Adapter

pytestmark = pytest.mark.django_db
PLAN = {"challenger": "same", "outcome": "thumb", "share": 50, "base": 80, "difference": 5, "feedback_rate": 3,
        "units_a_week": 20000, "engine": "planned looks", "margin": 1, "cap": 1, "slow_seconds": 5}


@pytest.fixture(autouse=True)
def _same_salt(monkeypatch):
    monkeypatch.setattr(experiments.secrets, "token_hex", lambda n: "5a17" * n)


def page(client, name, number, **query):
    response = client.get(reverse(f"serving:{name}", args=[number]), query)
    assert response.status_code == 200, response.content.decode()[-2000:]
    return response.content.decode()


def test_a_project_in_which_nothing_serves_says_what_is_missing(untried, alice, client_of):
    html = page(client_of(alice), "ab-test-list", untried.pk)
    assert "Nothing serves yet" in html and html.count("btn-gold") == 1
    assert "Nothing serves yet." in page(client_of(alice), "ab-test-new", untried.pk)


def test_the_first_page_says_how_to_begin(champion, project, alice, bob, client_of):
    html = page(client_of(alice), "ab-test-list", project.pk)
    assert "No A/B test yet" in html and "<code>user</code>" in html and html.count("btn-gold") == 1
    assert "An admin starts it." in page(client_of(bob), "ab-test-list", project.pk)


def test_the_plan_is_worked_out_from_the_feedback_rate(champion, project, alice, client_of):
    html = page(client_of(alice), "ab-test-new", project.pk, **PLAN)
    assert "It takes 3.1 weeks." in html and "928 outcomes in each arm" in html and "Start the test" in html
    html = page(client_of(alice), "ab-test-new", project.pk, **PLAN | {"feedback_rate": 1})
    assert "It would take 9.3 weeks." in html and "stopped after 8 weeks without a result" in html
    assert 'class="btn-gold"' not in html and "Start it all the same" in html
    html = page(client_of(alice), "ab-test-new", project.pk, **PLAN | {"base": 98})
    assert "that share with the difference (103.0%)" in html and "Some numbers below cannot be." in html


def test_the_plan_begins_with_what_was_measured(champion, backend, program, project, alice, client_of):
    said = [program.predict(project).json()["exchange"] for _ in range(20)]
    for exchange, thumb in zip(said[:5], ("up", "up", "up", "up", "down"), strict=True):
        program.say(exchange, thumb=thumb)
    program.say(said[5], outcome=7.5)
    facts = facts_for(project, "thumb")
    assert (facts.rate.estimate, facts.rate.n, facts.base.estimate, facts.a_week) == (0.25, 20, 0.8, 20)
    assert facts_for(project, "value", cap=10).base.estimate == 0.75
    html = page(client_of(alice), "ab-test-new", project.pk)
    assert "Measured on the 20 answers of the last 30 days." in html and "Measured: 25.0" in html
    assert 'name="base" value="80.0"' in html and "Its champion" not in html


def test_a_plan_without_traffic_says_that_it_guesses(champion, project, alice, client_of):
    html = page(client_of(alice), "ab-test-new", project.pk)
    assert "nobody has asked in the last 30 days" in html and html.count("Not measured yet: a guess") == 2


def test_the_last_test_is_what_the_next_is_planned_from(champion, project, alice, key):
    test = begin_test(project, alice)
    users(test, key[0], 40, good={"champion": 0.5, "challenger": 0.5})
    judge(test, now=after(test))
    stop_experiment(test, reason="Measured.", by=alice)
    facts = facts_for(project, "thumb")
    assert facts.has_units and facts.rate.estimate == 1.0 and facts.source.startswith(f"Measured in {test}, on ")


def test_an_admin_starts_it_and_a_curator_reads_it(champion, project, alice, bob, client_of):
    url = reverse("serving:ab-test-new", args=[project.pk])
    assert client_of(bob).post(url, PLAN).status_code == 403
    response = client_of(alice).post(url, PLAN | {"challenger": f"run-{_prompt(project)}", "share": 10})
    test = Experiment.objects.get()
    assert response.status_code == 302 and response["Location"] == reverse("serving:ab-test", args=[test.pk])
    assert (test.share, test.n_max, test.is_aa, test.state) == (0.1, 928, False, "running")
    assert test.challenger.run_id == _prompt(project) and test.champion.adapter == champion and len(test.salt) >= 32
    event = AuditEvent.objects.get(what="start_ab_test")
    assert event.who == "alice" and event.detail["share"] == 0.1
    html = page(client_of(bob), "ab-test", test.pk)
    assert "It is open so far." in html and "Nobody is in the test yet." in html and "Stop the test" not in html
    live = page(client_of(bob), "live", project.pk)
    assert f">{test}</a> runs: 10" in live
    again = client_of(alice).post(url, PLAN)
    assert again.status_code == 400 and "runs already" in again.content.decode()
    assert f"{test} runs already." in page(client_of(alice), "ab-test-new", project.pk)


def _prompt(project):
    return project.snapshots.get().verdict.best_prompt_id


def test_what_cannot_be_started_is_told_in_words(champion, project, alice, client_of):
    url = reverse("serving:ab-test-new", args=[project.pk])
    for wrong in ({"challenger": f"adapter-{champion.pk}"}, {"share": 0}, {"outcome": "luck"}, {"engine": "peeking"},
                  {"base": 98}, {"difference": 0}):
        assert client_of(alice).post(url, PLAN | wrong).status_code == 422, wrong
    assert not Experiment.objects.exists()


def test_an_admin_stops_it_with_a_reason(champion, project, alice, bob, client_of):
    test = begin_test(project, alice)
    url = reverse("serving:ab-test-stop", args=[test.pk])
    assert client_of(bob).post(url, {"reason": "x"}).status_code == 403
    assert client_of(alice).post(url, {"reason": ""}).status_code == 422
    assert client_of(alice).post(url, {"reason": "A bug in the shop."}).status_code == 302
    end = ExperimentEnd.objects.get()
    assert (end.outcome, end.by, end.reason) == ("STOPPED", alice, "A bug in the shop.")
    html = page(client_of(bob), "ab-test", test.pk)
    assert "Stopped before its end." in html and "Stopped by alice: “A bug in the shop.”" in html
    assert "too few for anything" in html
    assert client_of(alice).post(url, {"reason": "again"}).status_code == 400
    assert f">{test}</a> runs" not in page(client_of(bob), "live", project.pk)


def test_a_result_is_read_in_words_first_with_its_looks_and_bounds(champion, project, alice, key, client_of):
    test = begin_test(project, alice, f"run-{_prompt(project)}")
    users(test, key[0], 130, good={"champion": 0.3, "challenger": 0.95})
    judge(test, now=after(test))
    html = page(client_of(alice), "ab-test", test.pk)
    assert "The challenger is better." in html and "It is better: ship it." in html
    assert "Units came as planned" in html and "Refused, empty or unreadable answers" in html and "data-chart" in html
    assert "decided</span>" in html and "ended: the challenger is better" in html
    assert "Ship it" in html and "It is answered by the bare model" in html
    assert "The challenger is better." in page(client_of(alice), "ab-test-list", project.pk)


def test_shipping_promotes_through_the_gate_with_the_result_as_the_proof(
        champion, snapshot, project, alice, bob, key, client_of, run_jobs, model):
    model.adapter_errs = lambda number: number % 3 == 0  # on the test rows it is worse: the gate would say no
    better = trained(snapshot, alice, run_jobs, seed=2)
    test = begin_test(project, alice, f"adapter-{better.pk}")
    url = reverse("serving:ab-test-ship", args=[test.pk])
    assert client_of(alice).post(url, {"reason": "Now."}).status_code == 400, "it has shown nothing yet"
    users(test, key[0], 130, good={"champion": 0.3, "challenger": 0.95})
    judge(test, now=after(test))
    assert "Promote Adapter" in page(client_of(alice), "ab-test", test.pk)
    assert "Promote Adapter" not in page(client_of(bob), "ab-test", test.pk)
    assert client_of(bob).post(url, {"reason": "Now."}).status_code == 403
    assert client_of(alice).post(url, {"reason": "Users like it."}).status_code == 302
    assert Adapter.objects.filter(project=project).champion() == better
    said = AuditEvent.objects.get(what="promote").detail
    assert not said["allowed"] and said["override"].startswith(f"Users like it. {test}: The challenger's outcome is ")
    assert "Promote Adapter" not in page(client_of(alice), "ab-test", test.pk)


def test_the_pages_need_few_queries(champion, project, alice, key, client_of, django_assert_max_num_queries):
    test = begin_test(project, alice)
    users(test, key[0], 60, good={"champion": 0.5, "challenger": 0.5})
    client = client_of(alice)
    for name, number, most in (("ab-test", test.pk, 32), ("ab-test-list", project.pk, 24),
                               ("ab-test-new", project.pk, 26)):
        with django_assert_max_num_queries(most):
            page(client, name, number)


def test_the_command_line_plans_starts_and_stops_one(champion, project, capsys):
    def said(*more):
        call_command("ab_test", "Moods", "--json", *more)
        return json.loads(capsys.readouterr().out)

    assert said("--size", "--units-a-week", "20000")["n_rated"] == 928
    started = said("--start", "same")
    assert started["outcome"] == "CONTINUE" and started["exposed"] == [0, 0]
    assert said()["test"] == started["test"]
    stopped = said("--stop", "Only a trial.")
    assert stopped["outcome"] == "STOPPED" and "Only a trial." in stopped["words"][0]
