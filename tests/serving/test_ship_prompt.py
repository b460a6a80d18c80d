"""A prompt that wins an A/B test is shipped like an adapter, serves from the next request on, and goes back as fast."""

import json

import pytest
from django.db import connection
from django.db.utils import DatabaseError
from django.urls import reverse

from projects.errors import UserError
from projects.models import AuditEvent, Notice
from projects.services import create_api_key
from serving.models import Deployment
from serving.services.experiments import challengers_of, judge
from serving.services.live import standing_of
from tests.serving.ab import after, begin_test, users
from tests.training.conftest import trained
from training.models import Adapter, Promotion, Run
from training.services import champions
from training.services.champions import champion_of, former_champion
from training.services.promotion import promote, promote_prompt, roll_back, roll_back_to_prompt
from training.services.suggestions import best_source

pytestmark = pytest.mark.django_db
WHY = "Users like it."


@pytest.fixture
def crowned(adapter, alice):
    """The adapter, promoted by its proof; before it the best prompt served."""
    return promote(adapter, by=alice)


@pytest.fixture
def prompt(crowned, project):
    return project.snapshots.get().verdict.best_prompt


@pytest.fixture
def won(prompt, project, alice, key):
    """A test that the prompt has won."""
    test = begin_test(project, alice, f"run-{prompt.pk}")
    users(test, key[0], 130, good={"champion": 0.3, "challenger": 0.95})
    assert judge(test, now=after(test)).outcome == "SHIP"
    test.refresh_from_db()
    return test


def page(client, name, pk):
    response = client.get(reverse(name, args=[pk]))
    assert response.status_code == 200
    return response.content.decode()


def ship(client, test, reason=WHY):
    return client.post(reverse("serving:ab-test-ship", args=[test.pk]), {"reason": reason})


def answered_by(program, project):
    deployment = Deployment.objects.get(pk=program.predict(project).json()["deployment"])
    return deployment.adapter or deployment.run


def test_the_next_request_is_answered_by_what_was_shipped_and_after_a_roll_back_by_the_adapter_again(
        won, crowned, prompt, backend, program, project, alice, client_of):
    client = client_of(alice)
    assert answered_by(program, project) == crowned and backend.asked[-1][0].adapter is not None
    assert ship(client, won).headers["Location"] == reverse("serving:live", args=[project.pk])
    assert answered_by(program, project) == prompt and backend.asked[-1][0].adapter is None
    assert answered_by(program, project) == prompt and program.chat().json()["model"] == "moods/champion"
    client.post(reverse("training:roll-back", args=[crowned.pk]), {"reason": "It was the season."})
    assert answered_by(program, project) == crowned
    client.post(reverse("training:run-roll-back", args=[prompt.pk]), {"reason": "No, it was not."})
    assert answered_by(program, project) == prompt
    assert [one.way for one in Promotion.objects.filter(project=project)] == [
        "rolled_back", "rolled_back", "overridden", "proven"]


def test_it_goes_through_the_gate_with_the_result_as_the_proof(won, crowned, prompt, project, alice, bob, client_of):
    assert "Promote Prompt" in page(client_of(alice), "serving:ab-test", won.pk)
    assert "Promote Prompt" not in page(client_of(bob), "serving:ab-test", won.pk)
    assert ship(client_of(bob), won).status_code == 403
    assert ship(client_of(alice), won, " ").status_code == 422 and champion_of(project).adapter == crowned
    assert ship(client_of(alice), won).status_code == 302
    made = Promotion.objects.filter(project=project).first()
    assert (made.run, made.instead_of, made.way, made.by) == (prompt, crowned.run, "overridden", alice)
    assert made.reason.startswith(f"{WHY} {won}: The challenger's outcome is ")
    said = AuditEvent.objects.filter(what="promote").latest("pk")
    assert said.who == "alice" and said.detail == {"run": prompt.pk, "allowed": False, "override": made.reason}
    told = Notice.objects.get(event="prompt.promoted")
    assert told.data == {"run": prompt.pk, "overridden": True} and told.title.endswith("is the champion now")
    crowned.refresh_from_db()
    assert crowned.stage == Adapter.Stage.retired and champion_of(project).run == prompt
    assert "Promote Prompt" not in page(client_of(alice), "serving:ab-test", won.pk)
    again = ship(client_of(alice), won)
    assert again.status_code == 400 and "is the champion already" in again.content.decode()
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("UPDATE training_promotion SET reason = 'because'")


def test_every_page_says_that_the_prompt_is_the_champion(won, crowned, prompt, project, snapshot, alice, client_of):
    client = client_of(alice)
    ship(client, won)
    live = page(client, "serving:live", project.pk)
    assert f"{prompt.title} <span" in live and f"alice promoted it against the gate: “{WHY}" in live
    assert f"Go back to {crowned}" in live and reverse("training:adapter", args=[crowned.pk]) in live
    run = page(client, "training:run", prompt.pk)
    assert "The champion</h2>" in run and f"Go back to {crowned}" in run
    adapter = page(client, "training:adapter", crowned.pk)
    assert "has taken its place" in adapter and f"Roll back to {crowned}" in adapter
    runs = page(client, "training:run-list", project.pk)
    assert f"{prompt.title} (run {prompt.pk})</a> is the champion." in runs and runs.count("champion</span>") == 1
    assert page(client, "training:comparison", snapshot.pk).count('good">champion</span>') == 1
    home = client.get(reverse("home"), follow=True).content.decode()
    assert f"{prompt.title} (run {prompt.pk}) is the champion, and has answered nothing yet." in home
    roll_back(crowned, by=alice, reason="Again.")
    run = page(client, "training:run", prompt.pk)
    assert "Roll back to this prompt" in run and f"{crowned} has taken its place." in run


def test_what_asks_for_the_champion_gets_the_prompt(won, crowned, prompt, project, alice, client_of):
    ship(client_of(alice), won)
    assert standing_of(project).run == prompt and best_source(project).prompt == prompt
    assert f"adapter-{crowned.pk}" in [one.name for one in challengers_of(project)]
    assert former_champion(project).adapter == crowned
    again = begin_test(project, alice, f"adapter-{crowned.pk}")
    assert (again.champion.run, again.champion.adapter) == (prompt, None)
    assert judge(again).outcome == "CONTINUE"
    roll_back(crowned, by=alice, reason="Again.")
    assert judge(again).outcome == "STOPPED", "another champion: nothing to compare with"


def test_the_best_prompt_comes_back_where_the_first_adapter_was_a_mistake(crowned, prompt, project, alice, client_of):
    assert former_champion(project).run == prompt, "it served before anything was promoted"
    url = reverse("training:run-roll-back", args=[prompt.pk])
    assert client_of(alice).post(url, {"reason": "It is slow."}).status_code == 302
    assert champion_of(project).run == prompt and Notice.objects.get(event="prompt.rolled_back").data == {
        "run": prompt.pk, "instead_of": crowned.run_id}
    assert AuditEvent.objects.get(what="roll_back").detail == {
        "run": prompt.pk, "from": crowned.pk, "reason": "It is slow."}
    assert client_of(alice).post(url, {"reason": "Once more."}).status_code == 400


def test_an_adapter_is_held_against_the_prompt_that_is_the_champion(
        won, crowned, prompt, project, snapshot, alice, client_of, run_jobs, model):
    ship(client_of(alice), won)
    better = trained(snapshot, alice, run_jobs, seed=2)
    assert promote(better, by=alice).stage == "champion"
    assert Promotion.objects.filter(project=project).first().instead_of == prompt
    assert former_champion(project).title == f"{prompt.title} (run {prompt.pk})"
    html = page(client_of(alice), "training:adapter", better.pk)
    assert reverse("training:run", args=[prompt.pk]) in html and f"Go back to {prompt.title}" in html


def test_what_cannot_be_the_champion_is_refused_in_words(won, crowned, prompt, project, untried, alice, monkeypatch,
                                                         client_of):
    with pytest.raises(UserError, match="is no prompt of “Untried”"):
        promote_prompt(prompt, untried, by=alice, override_reason=WHY)
    with pytest.raises(UserError, match="is no prompt of “Moods”"):
        promote_prompt(crowned.run, project, by=alice, override_reason=WHY)
    unseen = Run.objects.filter(snapshot__project=project, kind__in=Run.PROMPTS, evaluations__split="dev").exclude(
        pk=prompt.pk).first()
    with pytest.raises(UserError, match="has not been evaluated on the test rows"):
        promote_prompt(unseen, project, by=alice, override_reason=WHY)
    with pytest.raises(UserError, match="is no earlier champion"):
        roll_back_to_prompt(unseen, by=alice, reason=WHY)
    with pytest.raises(UserError, match="Write down a reason"):
        promote_prompt(prompt, project, by=alice)
    monkeypatch.setattr(champions, "has_lost_a_quote", lambda run: run == prompt)
    refused = ship(client_of(alice), won)
    assert refused.status_code == 400 and "quoted a text that was erased" in refused.content.decode()
    assert champion_of(project).adapter == crowned and Promotion.objects.filter(project=project).count() == 1


def test_a_prompt_of_a_model_that_is_not_served_any_more_is_not_shipped(won, crowned, project, alice, settings,
                                                                        tmp_path, monkeypatch, client_of):
    settings.GOLDPAN_BASE_MODEL = tmp_path
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(champions, "model_identity", lambda folder: "another-model")
    refused = ship(client_of(alice), won)
    assert refused.status_code == 400 and "GOLDPAN_BASE_MODEL is another-model now" in refused.content.decode()
    assert champion_of(project).adapter == crowned


def test_a_program_ships_it_and_goes_back(won, crowned, prompt, project, alice, client_of):
    secret = create_api_key(project, name="ops", scopes=["read", "write"], by=alice)[1]
    client, headers = client_of(alice), {"Authorization": f"Bearer {secret}"}

    def post(path, **body):
        answer = client.post(f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers)
        assert answer.status_code == 200, answer.content
        return answer.json()

    shipped = post(f"/ab-tests/{won.pk}/ship", reason=WHY)
    assert (shipped["run_id"], shipped["adapter_id"], shipped["way"]) == (prompt.pk, None, "overridden")
    assert post(f"/adapters/{crowned.pk}/roll-back", reason="Back.")["stage"] == "champion"
    assert post(f"/runs/{prompt.pk}/roll-back", reason="And again.")["instead_of_id"] == crowned.run_id
    listed = client.get(f"/api/v1/projects/{project.pk}/promotions", headers=headers).json()["items"]
    assert [one["adapter_id"] for one in listed] == [None, crowned.pk, None, crowned.pk]
