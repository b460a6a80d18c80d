"""A prompt that quotes an example loses its text when it is erased, and nothing else of a run may change."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from curation.services.erasing import erase
from jobs.models import Job
from labeling.models import Example
from training.models import Run, Verdict
from training.services.quoting import has_lost_a_quote
from training.services.suggestions import best_source


@pytest.fixture
def quoting(judged):
    return Run.objects.get(kind="few_shot")


@pytest.fixture
def quoted(quoting):
    return Example.objects.get(text=quoting.config["prompt"]["shots"][0]["text"])


def test_its_text_leaves_the_prompt_and_the_hash_stays(quoting, quoted, alice, client_of, run_jobs):
    before, text = quoting.config, quoted.text
    erase([quoted], reason="Somebody asked.", by=alice)
    run_jobs()
    quoting.refresh_from_db()
    first, *others = quoting.config["prompt"]["shots"]
    assert first == {"text": "[erased]", "label": before["prompt"]["shots"][0]["label"]}
    assert others == before["prompt"]["shots"][1:] and has_lost_a_quote(quoting)
    assert quoting.config["prompt_sha256"] == before["prompt_sha256"]
    assert text not in str(list(Run.objects.values_list("config", flat=True)))
    html = client_of(alice).get(reverse("training:run", args=[quoting.pk])).content.decode()
    assert "was erased since" in html and before["prompt_sha256"] in html and text not in html
    assert Job.objects.get(kind="erase").result["n_prompts"] == 1
    html = client_of(alice).get(reverse("curation:example-erase", args=[quoted.pk])).content.decode()
    assert "1 quoted it" in html


def test_a_prompt_that_does_not_quote_it_stays(quoting, judged, alice, run_jobs):
    shots = {shot["text"] for shot in quoting.config["prompt"]["shots"]}
    other = Example.objects.filter(split="pool").exclude(text__in=shots)[0]
    erase([other], reason="Somebody asked.", by=alice)
    run_jobs()
    assert Run.objects.get(pk=quoting.pk).config == quoting.config
    assert Job.objects.get(kind="erase").result["n_prompts"] == 0


def test_a_prompt_with_a_hole_suggests_nothing_any_more(judged, quoting, quoted, alice, run_jobs, monkeypatch):
    monkeypatch.setattr("training.services.suggestions._beats_probe", lambda verdict: True)
    monkeypatch.setattr(Verdict, "best_prompt", quoting)
    assert best_source(judged.project).prompt == quoting
    erase([quoted], reason="Somebody asked.", by=alice)
    run_jobs()
    quoting.refresh_from_db()
    assert best_source(judged.project).prompt is None


def test_nothing_else_of_a_run_can_be_changed(quoting, quoted, alice, run_jobs):
    as_json = "::jsonb" if connection.vendor == "postgresql" else ""
    replacing = f"UPDATE training_run SET config = REPLACE(CAST(config AS TEXT), '{{}}', '{{}}'){as_json}"
    quote, model = quoting.config["prompt"]["shots"][0]["text"], quoting.config["model"]

    def refuse(statements):
        for statement in statements:
            with (pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic(),
                  connection.cursor() as cursor):
                cursor.execute(statement)

    refuse([replacing.format(quote, "[erased]")])  # nothing in the project is erased yet
    erase([quoted], reason="Somebody asked.", by=alice)
    run_jobs()
    refuse([replacing.format(model, "Other"), "UPDATE training_run SET seed = 7", "DELETE FROM training_run",
            "UPDATE training_run SET config = '{}'"])
