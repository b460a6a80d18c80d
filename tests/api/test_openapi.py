"""The API's description: committed, complete, and shown without a request to anywhere else."""

import json
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from goldpan.api.joined import api, openapi_text

ROOT = Path(__file__).resolve().parents[2]
DESCRIBED = json.loads(openapi_text())


def test_the_description_that_is_committed_is_what_the_operations_say():
    assert (ROOT / "docs" / "openapi.json").read_text() == openapi_text(), "run `manage.py openapi`"


def test_the_command_tells_an_old_description(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    with pytest.raises(CommandError, match="Run `manage"):
        call_command("openapi", "--check")
    call_command("openapi")
    call_command("openapi", "--check")


def test_what_is_served_is_what_is_committed(client_of, alice):
    assert client_of(alice).get("/api/openapi.json").json() == DESCRIBED


def test_every_operation_says_what_it_does_who_may_and_how_errors_look():
    for declared in api.operations():
        said = DESCRIBED["paths"][f"/api{declared.path}"][declared.method.lower()]
        assert 8 < len(said["summary"]) < 100 and said["description"] and said["operationId"] == declared.name
        assert said["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
        done = set(said["responses"]) - {"default"}  # what is many takes a job, and otherwise is done at once
        assert len(said["security"]) == 2 and (len(done) == 1 or done == {"201", "202"}), declared.name


def test_every_reference_leads_somewhere():
    for reference in set(re.findall(r'"\$ref": ?"#/([^"]+)"', openapi_text())):
        found = DESCRIBED
        for part in reference.split("/"):
            found = found[part]


def test_the_page_asks_nobody_else(client_of, alice):
    html = client_of(alice).get("/api/docs").content.decode()
    assert re.findall(r'(?:src|href)="([^"]+)"', html) and not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    assert "<script>" not in html and "style=" not in html
