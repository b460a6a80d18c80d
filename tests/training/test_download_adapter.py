import pytest
from django.conf import settings
from django.urls import reverse

from curation.models import SnapshotRow
from projects.objects import object_path
from tests.training.conftest import trained
from tests.training.story import start_quoted

WEIGHTS = "adapter_model.safetensors"


def download(client, adapter, name=WEIGHTS):
    return client.get(reverse("training:adapter-file", args=[adapter.pk, name]))


def card(client, adapter):
    return client.get(reverse("training:adapter-card", args=[adapter.pk]))


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_of_the_project_download(adapter, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert download(client, adapter).status_code == status
    assert card(client, adapter).status_code == status


def test_a_file_comes_as_it_was_trained_and_is_never_opened_by_the_browser(adapter, bob, client_of):
    response = download(client_of(bob), adapter)
    assert b"".join(response.streaming_content) == b"weights"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{WEIGHTS}"'


@pytest.mark.parametrize("name", ["other.bin", "..%2f..%2fgoldpan.sqlite3", "ADAPTER_MODEL.SAFETENSORS"])
def test_only_the_adapters_own_files_have_an_address(adapter, bob, client_of, name):
    good = reverse("training:adapter-file", args=[adapter.pk, WEIGHTS])
    assert client_of(bob).get(good.replace(WEIGHTS, name)).status_code == 404


def test_a_changed_file_does_not_leave(adapter, bob, client_of):
    path = object_path(settings.GOLDPAN_OBJECTS, adapter.files[WEIGHTS])
    path.write_bytes(b"weightz")
    response = download(client_of(bob), adapter)
    assert response.status_code == 400 and "has changed on the disk" in response.content.decode()
    path.unlink()
    html = client_of(bob).get(reverse("training:adapter", args=[adapter.pk])).content.decode()
    assert 'flag bad">missing' in html


def test_the_card_says_what_it_is_made_of_and_how_good_it_is(adapter, bob, client_of):
    response = card(client_of(bob), adapter)
    text, snapshot = response.content.decode(), adapter.run.snapshot
    assert response.headers["Content-Disposition"] == f'attachment; filename="moods-adapter-{adapter.pk}.md"'
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert text.startswith("---\n") and "tiny@sha256:00" in text and snapshot.sha256 in text
    assert "Approved by alice on " in text and "Classify as negative, neutral, positive." in text
    assert "| this adapter | test | accuracy | 95.0 % |" in text and "| Prompt, zero-shot | test |" in text
    assert "237 annotations and 0 decisions" in text and adapter.files[WEIGHTS] in text and "numpy" in text


def test_a_card_speaks_of_its_own_run(adapter, alice, client_of, model, run_jobs):
    model.adapter_errs = lambda number: True
    worse = trained(adapter.run.snapshot, alice, run_jobs, seed=2)
    client = client_of(alice)
    assert "Yes, by " in card(client, adapter).content.decode()
    text = card(client, worse).content.decode()
    assert "No, it is worse by " in text and text.count("| this adapter |") == 2 and "| LoRA |" not in text


def test_the_card_names_what_speaks_against_it(snapshot, alice, client_of, model, run_jobs):
    model.refused = [["e004", "The row has 600 tokens, more than 512."]]
    run = start_quoted(snapshot, by=alice, override_reason="There was no time.")
    run_jobs()
    text = card(client_of(alice), run.adapter).content.decode()
    assert "It was started against the gate's advice, because: There was no time." in text
    assert "e004: The row has 600 tokens" in text and "No prompt has been tried yet." in text


def test_every_row_behind_the_card_names_its_annotations(adapter):
    assert all(row.annotation_ids for row in SnapshotRow.objects.filter(snapshot=adapter.run.snapshot))
