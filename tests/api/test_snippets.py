"""“Do this from a program”: what a page shows is what the operation takes."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from django.urls import reverse

from curation.services.snapshots import start_freeze
from goldpan.api.snippets import operation_of, snippet
from projects.services.webhooks import create_webhook
from tests.curation.conftest import Scored, scored  # noqa: F401
from tests.training.conftest import adapter, judged, model, snapshot  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
URL = "http://goldpan.example:8000"
USES = [(path.name, name) for path in sorted((ROOT / "templates").rglob("*.html"))
        for name in re.findall(r'{% from_a_program "(\w+)"', path.read_text())]


def test_the_actions_of_the_straight_path_are_shown():
    assert {name for _, name in USES} >= {"upload_create", "upload_import", "score", "freeze", "snapshot_approve",
                                          "baseline", "quote", "train", "evaluate", "adapter_promote"}


@pytest.mark.parametrize(("page", "name"), USES)
def test_every_snippets_operation_exists_and_reads_as_shell_and_as_python(page, name):
    found = snippet(name, 7, {}, url=URL)
    assert found.method == operation_of(name).method and "/7" in found.path
    assert found.method != "GET" or "goldpan.download(" in found.python, "reading needs no fold"
    words = shlex.split(found.curl.replace("\\\n", " "))
    assert words[:3] == ["curl", "-X", found.method] and words[3] == f"{URL}/api/v1{found.path}"
    ast.parse(found.python)
    assert f'"{found.path}"' in found.python


def test_values_of_the_form_are_sent_where_they_are_not_the_default():
    found = snippet("train", 7, {"quote": "3", "executor": "local", "override_reason": "it's “why”", "cap_minutes": 9},
                    url=URL)
    assert found.body == {"quote": 3, "override_reason": "it's “why”"}
    words = shlex.split(found.curl.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1]) == found.body
    call = ast.parse(found.python).body[-1]
    assert {word.arg: ast.literal_eval(word.value) for node in ast.walk(call) if isinstance(node, ast.Call)
            for word in node.keywords} == found.body


def test_what_means_something_to_the_page_alone_is_left_out():
    assert snippet("quote", 7, {"recipe": "own"}, url=URL).body == {}
    assert snippet("quote", 7, {"recipe": "quick"}, url=URL).body == {"recipe": "quick"}
    assert snippet("snapshot_approve", 7, {}, url=URL).body == {"sha256": "<sha256>"}


def test_a_job_is_waited_for_and_a_file_is_sent():
    assert "goldpan.wait(goldpan.post(" in snippet("score", 7, {}, url=URL).python
    assert "wait" not in snippet("snapshot_approve", 7, {}, url=URL).python
    upload = snippet("upload_create", 7, {"kind": "annotations"}, url=URL)
    assert "-F file=@examples.csv" in upload.curl and "-F kind=annotations" in upload.curl
    assert 'goldpan.upload("/projects/7/uploads", "examples.csv", kind=\'annotations\')' in upload.python


def test_a_folder_is_sent_file_by_file_and_a_file_is_fetched():
    result = snippet("run_result", 7, {}, url=URL, files=["result/a", "result/b"])
    assert "-F files=@result/a" in result.curl and "-F files=@result/b" in result.curl
    assert 'goldpan.upload("/runs/7/result", "result")' in result.python
    bundle = snippet("run_bundle", 7, {}, url=URL, files=["run.tar"])
    assert bundle.curl.endswith("-o run.tar") and 'goldpan.download("/runs/7/bundle", "run.tar")' in bundle.python


def test_an_operation_that_there_is_not_is_an_error():
    with pytest.raises(KeyError, match="fly"):
        snippet("fly", 7, {}, url=URL)


def shown(client, name, *args):
    html = client.get(reverse(name, args=args)).content.decode()
    return re.findall(r'id="program-(\w+)-\d+-curl"', html)


def test_pages_of_curation_show_them(project, bob, alice, client_of, scored: Scored, run_jobs):  # noqa: F811
    client = client_of(bob)
    assert shown(client, "labeling:import", project.pk) == ["upload_create"]
    assert shown(client, "curation:quality", project.pk) == ["score"]
    assert shown(client, "curation:gold-set", project.pk) == ["freeze"]
    start_freeze(project, by=bob)
    run_jobs()
    [one] = project.snapshots.all()
    assert shown(client_of(alice), "curation:snapshot-detail", one.pk) == ["snapshot_approve"]
    assert shown(client, "curation:snapshot-detail", one.pk) == [], "Bob made it, so he cannot approve it"
    assert one.sha256 in client_of(alice).get(reverse("curation:snapshot-detail", args=[one.pk])).content.decode()


def test_pages_of_training_show_them(project, alice, client_of, adapter):  # noqa: F811
    client, of = client_of(alice), adapter.run.snapshot
    assert shown(client, "training:train", of.pk) == ["train", "quote", "train_elsewhere"]
    assert shown(client, "training:adapter", adapter.pk) == ["adapter_promote"]


def test_pages_of_webhooks_files_and_rules_show_them(project, alice, client_of):
    client, (webhook, _) = client_of(alice), create_webhook(
        project, url="https://hooks.example.org", events=["job.failed"], by=alice)
    assert shown(client, "projects:webhooks", project.pk) == ["webhook_create"]
    assert shown(client, "projects:webhook", webhook.pk) == [
        "webhook_test", "webhook_change", "webhook_secret", "webhook_state"]
    assert shown(client, "curation:snapshot-import", project.pk) == ["snapshot_import"]
    assert shown(client, "serving:live-rules", project.pk) == ["serving_rules_save"]
    html = client.get(reverse("projects:webhook", args=[webhook.pk])).content.decode()
    assert "events=[&#x27;job.failed&#x27;]" in html and "whsec_" not in html


def test_the_page_before_the_baseline_shows_it(project, bob, client_of, snapshot):  # noqa: F811
    assert shown(client_of(bob), "training:comparison", snapshot.pk) == ["baseline"]
