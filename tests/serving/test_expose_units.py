"""Who is in an A/B test: the same unit always gets the same arm, and is counted before it is answered."""

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.db.utils import DatabaseError

from serving.answering import Unanswerable, Unavailable
from serving.exchange_id import read_id
from serving.models import Deployment, Exchange, Experiment, Exposure
from serving.services.experiments import stop_experiment
from serving.services.exposures import arm_for, expose, unit_sha256
from tests.serving.ab import begin_test, deployment_of, n_exposed

pytestmark = pytest.mark.django_db


@pytest.fixture
def prompt(champion, project):
    """The challenger: the best prompt, which the champion beat."""
    return project.snapshots.get().verdict.best_prompt


@pytest.fixture
def test(champion, prompt, project, alice):
    return begin_test(project, alice, f"run-{prompt.pk}")


def users_of(experiment, arm, n=1):
    found = [f"user {k}" for k in range(200) if arm_for(experiment, f"user {k}") == arm]
    return found[0] if n == 1 else found[:n]


def test_a_unit_keeps_its_arm_and_is_counted_once(test, backend, program, project, prompt):
    user = users_of(test, "challenger")
    said = [program.predict(project, user=user).json() for _ in range(3)]
    assert {one["deployment"] for one in said} == {test.challenger_id} and test.challenger.run == prompt
    assert all(served.adapter is None for served, _ in backend.asked), "the prompt answered, not the adapter"
    exposure = Exposure.objects.get(experiment=test)
    assert exposure.arm == "challenger" and exposure.unit_sha256 == unit_sha256(test, user)
    assert user not in exposure.unit_sha256, "no name is kept"
    assert list(Exchange.objects.filter(first_of=exposure).values_list("name", flat=True)) == [said[0]["exchange"]]
    assert {one["model"] for one in said} == {"moods/champion"}, "who asks is not told the arm"


def test_users_are_split_in_the_planned_shares_by_a_salt_of_its_own(test, project, alice):
    arms = [arm_for(test, f"user {k}") for k in range(2000)]
    assert 0.46 < arms.count("challenger") / 2000 < 0.54
    stop_experiment(test, reason="Again.", by=alice)
    again = begin_test(project, alice, f"run-{test.challenger.run_id}")
    same = sum(arm_for(again, f"user {k}") == arms[k] for k in range(2000)) / 2000
    assert 0.46 < same < 0.54, "another salt, so another split"


def test_openais_user_is_the_unit_then_the_group(test, backend, program, project):
    user = users_of(test, "challenger")
    program.chat(user=user)
    program.chat(safety_identifier=user)
    program.predict(project, group=user)
    assert n_exposed(test) == 1, "it is the same unit"
    assert program.predict(project, user=7).status_code == 400


def test_without_a_unit_the_champion_answers_and_nobody_is_counted(test, backend, program, project):
    said = {program.predict(project).json()["deployment"] for _ in range(5)}
    assert said == {test.champion_id} and n_exposed(test) == 0


def test_whoever_names_another_model_is_not_in_the_test(test, backend, program, project, champion):
    program.predict(project, user="user 1", model=f"adapter-{champion.pk}")
    program.predict(project, user="user 1", model="prompt")
    assert n_exposed(test) == 0


def test_the_exposure_is_there_before_the_model_is_asked(test, backend, program, project, monkeypatch):
    seen = []
    ask = backend.ask

    def looking(served, question):
        seen.append(n_exposed(test))
        yield from ask(served, question)

    monkeypatch.setattr(backend, "ask", looking)
    assert program.predict(project, user="somebody").status_code == 200
    backend.refuses = RuntimeError("killed in the middle")
    program.predict(project, user="somebody else")
    assert seen == [1, 2] and n_exposed(test) == 2, "whatever becomes of the request"


def test_a_units_first_request_is_one_and_nobody_changes_its_arm(test):
    champion = test.champion
    first, second = expose(champion, "a"), expose(champion, "a")
    assert first.is_first and not second.is_first and first.exposure == second.exposure
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("UPDATE serving_exposure SET arm = 'champion'")


def test_a_database_without_room_serves_the_champion_uncounted(test, backend, program, project, monkeypatch):
    def full(**values):
        raise OperationalError("database is locked")

    monkeypatch.setattr(Exposure.objects, "get_or_create", full)
    said = program.predict(project, user=users_of(test, "challenger"))
    assert said.status_code == 200 and said.json()["deployment"] == test.champion_id


@pytest.mark.parametrize("failure", [Unavailable("Its server is away."), Unanswerable("Too long for its prompt.")])
def test_the_champion_answers_for_a_challenger_that_cannot(test, backend, program, project, failure, monkeypatch):
    ask = backend.ask

    def broken(served, question):
        if served.adapter is None:
            raise failure
        yield from ask(served, question)

    monkeypatch.setattr(backend, "ask", broken)
    said = program.predict(project, user=users_of(test, "challenger")).json()
    assert said["deployment"] == test.champion_id and said["answer"] == "positive"
    exchange, exposure = Exchange.objects.get(name=said["exchange"]), Exposure.objects.get(experiment=test)
    assert exposure.arm == "challenger" and exchange.first_of == exposure, "it counts where it belongs"
    named = read_id(said["exchange"], secret=settings.SECRET_KEY)
    assert (named.deployment, named.exposure) == (test.champion_id, exposure.pk)


def test_a_failing_champion_fails_as_ever(test, backend, program, project):
    backend.refuses = Unavailable("Gone.")
    assert program.predict(project, user=users_of(test, "champion")).status_code == 503
    assert program.predict(project, user=users_of(test, "challenger")).status_code == 503


def test_a_challenger_that_is_not_served_any_more_breaks_no_request(test, backend, program, project, monkeypatch):
    monkeypatch.setattr("training.services.champions.has_lost_a_quote", lambda run: run.pk == test.challenger.run_id)
    said = program.predict(project, user=users_of(test, "challenger"))
    assert said.status_code == 200 and said.json()["deployment"] == test.champion_id
    assert Exposure.objects.get(experiment=test).arm == "challenger"


def test_after_the_end_everybody_gets_the_champion_at_once(test, backend, program, project, alice):
    user = users_of(test, "challenger")
    assert program.predict(project, user=user).json()["deployment"] == test.challenger_id
    stop_experiment(test, reason="Enough.", by=alice)
    assert program.predict(project, user=user).json()["deployment"] == test.champion_id
    assert n_exposed(test) == 1


def test_a_new_champion_is_nobodys_arm(test, backend, program, project, champion):
    type(champion).objects.filter(pk=champion.pk).update(stage="retired")
    program.predict(project, user="user 1")
    assert n_exposed(test) == 0 and deployment_of(project) != test.champion


def test_without_a_test_no_more_than_one_query_is_asked(champion, project, django_assert_num_queries):
    deployment = deployment_of(project)
    with django_assert_num_queries(1):
        assert expose(deployment, "user 1") is None


def test_a_known_unit_costs_two_reads_and_no_write(test, django_assert_num_queries):
    expose(test.champion, "user 1")
    with django_assert_num_queries(2):
        assert expose(test.champion, "user 1").is_first is False


def test_both_arms_of_an_aa_test_are_the_champion(champion, project, alice, backend, program):
    test = begin_test(project, alice)
    said = [program.predict(project, user=f"user {k}").json()["deployment"] for k in range(6)]
    assert set(said) == {test.champion_id} == {test.challenger_id}
    assert set(Exposure.objects.values_list("arm", flat=True)) <= {"champion", "challenger"} and n_exposed(test) == 6


def test_one_test_of_a_project_runs_at_a_time(test, project, alice):
    with pytest.raises(Exception, match="runs already"):
        begin_test(project, alice)
    assert Experiment.objects.count() == 1 and Deployment.objects.filter(slot="named").count() == 1
