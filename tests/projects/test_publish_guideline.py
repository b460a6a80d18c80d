import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.urls import reverse

from curation.services.outdated import outdated
from jobs.models import Job
from labeling.models import Annotator, Desk
from projects.errors import UserError
from projects.models import AuditEvent, Guideline
from projects.services import publish_guideline
from projects.services.guidelines import rule_changes

HTMX = {"HX-Request": "true"}
NEW = {"text": "Say the mood of the writer.", "note": "The writer's, not the reader's."}


def publish(project, by, *, seen=1, **more):
    return publish_guideline(project, by=by, seen=seen, **{**NEW, **more})


def address(name, project, query=""):
    return reverse(f"curation:guideline{name}", args=[project.pk]) + query


def test_a_published_text_is_the_projects_from_then_on(project, bob):
    guideline = publish(project, bob, changed_labels=["positive", "negative"])
    project.refresh_from_db()
    assert (project.instructions, project.instructions_version) == (NEW["text"], 2)
    assert guideline.changed_labels == ["negative", "positive"], "in the schema's order"
    assert list(Guideline.objects.filter(project=project).values_list("version", flat=True)) == [2, 1]
    event = AuditEvent.objects.last()
    assert (event.what, event.who, event.detail["version"]) == ("publish_guideline", "bob", 2)


def test_an_earlier_version_stays_as_it_was(project, bob):
    publish(project, bob)
    first = Guideline.objects.get(version=1)
    assert first.text == "Say the mood."
    with pytest.raises(DatabaseError), transaction.atomic():
        Guideline.objects.filter(pk=first.pk).update(text="rewritten")


def test_of_two_who_write_at_once_the_second_is_told(project, alice, bob):
    publish(project, alice)
    with pytest.raises(UserError, match="alice has published guideline 2 since your page showed guideline 1"):
        publish(project, bob, text="Another text.")
    assert Guideline.objects.count() == 2


@pytest.mark.parametrize(("wrong", "message"), [
    ({"text": " \n"}, "1 to 20,000 characters; this one has 0"),
    ({"text": "x" * 20_001}, "this one has 20,001"),
    ({"note": " "}, "what changed and why; there are 0"),
    ({"note": "x" * 501}, "there are 501"),
    ({"changed_labels": ["furious"]}, "“furious” is not a label of this project"),
    ({"text": "Say the mood.\r\n"}, "Guideline 1 says exactly this already"),
])
def test_what_cannot_be_published_is_told_and_changes_nothing(project, bob, wrong, message):
    with pytest.raises(UserError, match=message):
        publish(project, bob, **wrong)
    project.refresh_from_db()
    assert project.instructions_version == 1 and Guideline.objects.count() == 1


def test_the_last_change_of_each_rule_counts(project, bob):
    publish(project, bob, changed_labels=["neutral"])
    publish(project, bob, seen=2, text="b", changes_all=True)
    publish(project, bob, seen=3, text="c", changed_labels=["negative"])
    publish(project, bob, seen=4, text="d")
    changes = rule_changes(project)
    assert changes.of_all.version == 3
    assert changes.of("neutral").version == 3 and changes.of("negative").version == 4
    assert [guideline.version for guideline in changes.guidelines] == [3, 4]


# Pages

@pytest.mark.parametrize(("who", "reads", "edits"), [
    ("alice", 200, 200), ("bob", 200, 200), ("charlie", 200, 403), ("dora", 404, 404)])
def test_everybody_in_the_project_reads_and_curators_write(project, request, client_of, who, reads, edits):
    client = client_of(request.getfixturevalue(who))
    assert client.get(address("", project)).status_code == reads
    assert client.get(address("-changes", project)).status_code == reads
    assert client.get(address("-edit", project)).status_code == edits
    response = client.post(address("-edit", project), {**NEW, "seen": 1, "scope": "wording"})
    assert response.status_code == (302 if edits == 200 else edits)
    assert Guideline.objects.filter(project=project).count() == (2 if edits == 200 else 1)


def test_the_page_shows_the_text_its_labels_and_its_history(project, bob, charlie, client_of):
    publish(project, bob, changed_labels=["neutral"])
    html = client_of(charlie).get(address("", project)).content.decode()
    assert NEW["text"] in html and "The writer&#x27;s, not the reader&#x27;s." in html and "Guideline 1" in html
    assert "Change it" not in html, "annotators read"
    old = client_of(charlie).get(address("", project, "?version=1")).content.decode()
    assert "Say the mood." in old and "Not in force any more" in old
    assert client_of(charlie).get(address("", project, "?version=9")).status_code == 404


def test_any_two_versions_are_compared_word_by_word(project, bob, client_of):
    publish(project, bob)
    publish(project, bob, seen=2, text="Say the mood of the text.")
    client = client_of(bob)
    html = client.get(address("-changes", project)).content.decode()
    assert "<del>writer</del><ins>text</ins>" in html
    html = client.get(address("-changes", project, "?from=1&to=3")).content.decode()
    assert "Say the mood<ins> of the text</ins>." in html
    html = client.get(address("-changes", project, "?from=3&to=1")).content.decode()
    assert "Say the mood<del> of the text</del>." in html


def test_the_preview_shows_what_would_change_and_saves_nothing(project, bob, client_of):
    response = client_of(bob).post(address("-preview", project), {"text": "Say the <b>tone</b>."}, headers=HTMX)
    html = response.content.decode()
    assert "<del>mood</del>" in html and "&lt;" in html and "<b>tone" not in html
    assert Guideline.objects.count() == 1


@pytest.mark.parametrize(("answer", "message"), [
    ({"scope": "labels"}, "Choose at least one label"),
    ({"scope": "wording", "changed_labels": ["neutral"]}, "You ticked 1 label below"),
    ({}, "This field is required"),
    ({"scope": "wording", "text": "Say the mood."}, "says exactly this already"),
])
def test_an_unusable_form_keeps_what_was_written(project, bob, client_of, answer, message):
    response = client_of(bob).post(address("-edit", project), {**NEW, "seen": 1, **answer})
    assert response.status_code == 422 and message in response.content.decode()
    assert answer.get("text", NEW["text"]) in response.content.decode() and Guideline.objects.count() == 1


def test_publishing_brings_the_new_text_to_the_desks(project, bob, charlie, client_of):
    client = client_of(bob)
    client.post(address("-edit", project), {**NEW, "seen": 1, "scope": "wording"})
    assert not Job.objects.exists(), "nobody has a desk yet"
    annotator = Annotator.objects.create(project=project, name="charlie", user=charlie)
    Desk.objects.create(project=project, annotator=annotator, url="http://localhost:8080", ls_project_id=1,
                        config_sha256="0" * 64, instructions_version=1, webhook_secret="s")
    client.post(address("-edit", project), {**NEW, "text": "Shorter.", "seen": 2, "scope": "all"})
    assert Job.objects.get().kind == "sync"


# The command

def test_the_command_publishes_a_file(project, bob, tmp_path, capsys):
    path: Path = tmp_path / "guideline.txt"
    path.write_text("Say the tone.\n", encoding="utf-8")
    call_command("publish_guideline", "Moods", str(path), note="Tone.", changes=["neutral"], by="bob", json=True)
    assert json.loads(capsys.readouterr().out) == {"version": 2, "n_outdated": 0}
    assert Guideline.objects.first().changed_labels == ["neutral"] and not outdated(project)
    with pytest.raises(CommandError, match="bob has published guideline 2"):
        call_command("publish_guideline", "Moods", str(path), note="Tone.", by="bob", seen=1)
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("publish_guideline", "Moods", str(tmp_path / "none.txt"), note="Tone.", by="bob")
