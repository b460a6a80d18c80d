import pytest
from django.core.management import call_command
from django.urls import reverse

from projects.errors import UserError
from tests.training.conftest import trained
from tests.training.story import quoted
from tests.training.test_start_training import ask, filled
from training.config import RATES
from training.models import Adapter, GeneralCheck, Quote, Run
from training.services.comparison import compare
from training.services.exports import start_merge
from training.services.promotion import promote, standing
from training.services.runs import start_training


@pytest.fixture
def full(judged, alice, run_jobs):
    return trained(judged, alice, run_jobs, method="full")


def test_the_page_offers_full_fine_tuning_and_quotes_it_with_its_own_rate(judged, alice, client_of, run_jobs):
    client = client_of(alice)
    html = client.get(reverse("training:train", args=[judged.pk])).content.decode()
    assert "its result cannot be promoted" in html
    assert ask(client, judged, method="full").status_code == 302
    run_jobs()
    training = Quote.objects.get().config["training"]
    assert (training["method"], training["learning_rate"]) == ("full", RATES["full"])
    html = client.get(reverse("training:train", args=[judged.pk])).content.decode()
    assert "What you start: Full fine-tuning" in html and "The result cannot be promoted." in html


def test_a_recipe_for_all_weights_keeps_its_passes_and_takes_their_rate(judged, alice, client_of, run_jobs):
    client = client_of(alice)
    client.post(reverse("training:quote", args=[judged.pk]), filled(method="full", recipe="balanced"))
    run_jobs()
    training = Quote.objects.get().config["training"]
    assert (training["epochs"], training["learning_rate"]) == (5, RATES["full"])


def test_it_is_judged_as_any_training_and_stands_beside_lora(full, adapter, judged, bob, client_of):
    assert full.run.kind == Run.Kind.full and full.is_whole_model and str(full).startswith("Full model")
    rivals = {rival.run.kind for rival in compare(judged).rivals}
    assert {"full", "lora"} <= rivals and compare(judged).lora.run == adapter.run
    assert "The fully trained model gets 95.0 %" in compare(judged, lora_run=full.run).paragraph
    assert GeneralCheck.objects.filter(adapter=full).exists()
    html = client_of(bob).get(reverse("training:run", args=[full.run.pk])).content.decode()
    assert "Full fine-tuning" in html and "What it did" in html


def test_it_cannot_be_promoted_or_merged_and_its_page_says_why(full, alice, client_of):
    html = client_of(alice).get(reverse("training:adapter", args=[full.pk])).content.decode()
    assert "for comparison only." in html and "to compare LoRA with it" in html
    assert "Promote" not in html.split("<main")[1].replace("Promote the LoRA run", "") and "Ready to serve" not in html
    assert not standing(full).allowed
    with pytest.raises(UserError, match="is not promoted"):
        promote(full, by=alice, override_reason="I want to.")
    with pytest.raises(UserError, match="nothing to merge"):
        start_merge(full, by=alice, wake=False)
    assert Adapter.objects.get(pk=full.pk).stage == Adapter.Stage.candidate
    card = client_of(alice).get(reverse("training:adapter-card", args=[full.pk])).content.decode()
    assert "All weights of" in card and '"full"' in card and "LoRA adapter for" not in card


def test_it_stays_on_this_machine(judged, alice):
    with pytest.raises(UserError, match="on this machine only"):
        start_training(judged, by=alice, executor="bundle", config={"method": "full"}, wake=False)


def test_a_command_trains_all_weights(judged, alice, run_jobs):
    quoted(judged, alice, method="full")
    call_command("train", judged.project.name, "--by", "alice", "--method", "full", "--json")
    assert Run.objects.get(kind="full").config["training"]["learning_rate"] == RATES["full"]
