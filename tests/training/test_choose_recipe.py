import re

import pytest
from django.urls import reverse

from jobs.models import Job
from projects.errors import UserError
from tests.training.story import quoted
from training.models import Adapter, Evaluation, Quote, Run, TestLook
from training.recipes import recipes
from training.services.runs import start_training


def url(snapshot):
    return reverse("training:train", args=[snapshot.pk])


def ask(client, snapshot, recipe, **changes):
    from tests.training.test_start_training import filled

    return client.post(reverse("training:quote", args=[snapshot.pk]), filled(**changes) | {"recipe": recipe})


def test_a_recipe_is_words_first_and_minutes_once_a_trial_tells(judged, alice, client_of):
    client = client_of(alice)
    html = client.get(url(judged)).content.decode()
    assert "Quick: 2 passes over the rows" in html and "Thorough: 5 trainings" in html
    assert "checked" in html.split('value="balanced"')[1].split(">")[0]
    quoted(judged, alice, **recipes(30)[0].config)
    html = client.get(url(judged)).content.decode()
    assert re.search(r"Quick: about \d", html) and re.search(r"Thorough: about \d", html) and "recipe “Quick”" in html
    assert "checked" in html.split('value="quick"')[1].split(">")[0]


@pytest.mark.parametrize(("recipe", "epochs", "seeds"), [("quick", 2, 0), ("balanced", 5, 0), ("thorough", 5, 3),
                                                         ("own", 4, 0), ("", 4, 0)])
def test_a_recipe_counts_before_the_settings_behind_the_fold(judged, alice, client_of, recipe, epochs, seeds):
    assert ask(client_of(alice), judged, recipe, epochs=4, seed=7).status_code == 302
    training = Job.objects.get(kind="quote").params["config"]["training"]
    assert (training["epochs"], training["search_seeds"], training["seed"]) == (epochs, seeds, 7)


def test_a_search_is_quoted_and_capped_as_a_whole(judged, alice, client_of):
    one, five = (quoted(judged, alice, **recipe.config) for recipe in recipes(30)[1:])
    assert five.seconds == pytest.approx(5 * one.seconds) and five.n_steps == 5 * one.n_steps
    assert five.cap_seconds > five.seconds_high


def test_a_search_is_one_run_whose_winner_looks_at_the_test_rows_once(judged, alice, client_of, model, run_jobs):
    config = dict(recipes(30)[2].config)
    quoted(judged, alice, **config)
    n_looks = TestLook.objects.count()
    run = start_training(judged, by=alice, config=config)
    run_jobs()
    assert "training.search" in [module for module, _ in model.asked]
    assert TestLook.objects.count() == n_looks + 1 and Evaluation.objects.filter(run=run, split="test").count() == 1
    assert Adapter.objects.count() == 1 == Run.objects.filter(kind="lora").count()
    html = client_of(alice).get(reverse("training:run", args=[run.pk])).content.decode()
    assert "The search" in html and "With 3 seeds they agree." in html and "diverged" in html


def test_a_search_is_not_carried_elsewhere(judged, alice, settings):
    settings.GOLDPAN_EXECUTORS = ["local", "bundle"]
    with pytest.raises(UserError, match="A search is several trainings by one process on this machine"):
        start_training(judged, by=alice, config={"search_seeds": 3}, executor="bundle")
    assert not Quote.objects.exists()
