import io
import tarfile

import pytest
from django.urls import reverse

from jobs.models import Job
from projects.models import AuditEvent
from training.models import MergedExport


def merge(client, adapter):
    return client.post(reverse("training:merge", args=[adapter.pk]))


def page(client, adapter):
    return client.get(reverse("training:adapter", args=[adapter.pk])).content.decode()


@pytest.fixture
def merged(adapter, alice, client_of, run_jobs):
    assert merge(client_of(alice), adapter).status_code == 302
    run_jobs()
    return MergedExport.objects.get(adapter=adapter)


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_admins_merge(adapter, request, client_of, who, status):
    assert merge(client_of(request.getfixturevalue(who)), adapter).status_code == status
    assert Job.objects.filter(kind="merge").exists() == (status == 302)


def test_what_is_deployed_is_what_was_evaluated(merged, adapter, bob, client_of, model):
    assert (merged.n, merged.n_equal, merged.differing) == (60, 60, []) and merged.score == pytest.approx(0.95)
    html = page(client_of(bob), adapter)
    assert "deployed = evaluated" in html and "answered all 60 test rows as at the evaluation" in html
    asked = [spec for module, spec in model.asked if module == "training.label_scoring"][-1]
    assert asked["model"].endswith("/merged") and asked["adapter"] is None
    assert AuditEvent.objects.get(what="merge").detail["n_equal"] == 60


def test_a_merged_model_that_answers_otherwise_is_said_to(adapter, alice, client_of, model, run_jobs):
    model.merged_errs = lambda number: number % 20 == 0 or number == 41
    merge(client_of(alice), adapter)
    run_jobs()
    merged = MergedExport.objects.get()
    assert (merged.n_equal, merged.differing) == (59, ["e041"])
    html = page(client_of(alice), adapter)
    assert "1 answered otherwise" in html and "answered 59 of 60 test rows" in html and "e041" in html


def test_the_tar_is_a_whole_folder_with_card_and_hashes(merged, adapter, bob, client_of):
    response = client_of(bob).get(reverse("training:merged", args=[adapter.pk]))
    name = f"adapter-{adapter.pk}-merged"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}.tar"'
    with tarfile.open(fileobj=io.BytesIO(b"".join(response.streaming_content))) as archive:
        assert archive.getnames() == [f"{name}/{file}" for file in ("README.md", "SHA256SUMS", "model.safetensors")]
        card = archive.extractfile(f"{name}/README.md").read().decode()
        sums = archive.extractfile(f"{name}/SHA256SUMS").read().decode()
    assert 'library_name: "transformers"' in card and "## Lineage" in card
    assert sums == "".join(f"{digest}  {file}\n" for file, digest in merged.files.items())
    assert f"vllm serve ./{name}" in page(client_of(bob), adapter)


def test_it_is_merged_once(merged, adapter, alice, client_of):
    response = merge(client_of(alice), adapter)
    assert response.status_code == 400 and "has been merged already" in response.content.decode()


def test_before_it_is_merged_there_is_no_tar(adapter, bob, client_of):
    assert client_of(bob).get(reverse("training:merged", args=[adapter.pk])).status_code == 404
