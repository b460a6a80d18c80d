import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from projects.models import ApiKey, Project
from projects.services import create_api_key
from serving.services import exchanges, rules
from tests.serving.fake_backend import FakeBackend
from tests.training.conftest import adapter, judged, model, snapshot
from tests.training.story import FakeModel
from training.models import Adapter

__all__ = ["adapter", "judged", "model", "snapshot"]
OPENED: list[FakeBackend] = []


def the_backend(deployment: Any) -> FakeBackend:
    return OPENED[0]


@pytest.fixture(autouse=True)
def _serving(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model in sight, a log without a thread, limits that nobody has used up."""
    settings.GOLDPAN_ADAPTERS, settings.GOLDPAN_BASE_MODEL = tmp_path / "adapters", tmp_path / "no-model"
    settings.GOLDPAN_OPEN_BACKEND = f"{__name__}.the_backend"
    monkeypatch.setattr(exchanges.LOG, "_is_threaded", False)
    monkeypatch.setattr(rules, "_limits", {})


@pytest.fixture
def backend(model: FakeModel) -> FakeBackend:
    OPENED[:] = [FakeBackend(model)]
    return OPENED[0]


@pytest.fixture
def champion(adapter: Adapter) -> Adapter:
    """The evaluated adapter, promoted."""
    Adapter.objects.filter(pk=adapter.pk).update(stage=Adapter.Stage.champion)
    adapter.refresh_from_db()
    return adapter


@pytest.fixture
def key(project: Project, alice: User) -> tuple[ApiKey, str]:
    return create_api_key(project, name="shop", scopes=["predict", "feedback"], by=alice)


class Program:
    """What a program sends with its key, and what comes back as JSON."""

    def __init__(self, secret: str) -> None:
        self.client, self.headers = Client(), {"Authorization": f"Bearer {secret}"}

    def post(self, path: str, body: Any, **headers: str) -> Any:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(path, content, content_type="application/json", headers={**self.headers, **headers})

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)

    def chat(self, text: str = "Row 003 was lovely.", **more: Any) -> Any:
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **more})

    def predict(self, project: Project, text: str = "Row 003 was lovely.", **more: Any) -> Any:
        return self.post(f"/v1/projects/{project.pk}/predict", {"text": text, **more})

    def say(self, exchange: str, *, key: str = "", **said: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self.post("/v1/feedback", {"exchange": exchange, **said}, **headers)


@pytest.fixture
def program(key: tuple[ApiKey, str]) -> Program:
    return Program(key[1])


@pytest.fixture
def program_with(project: Project, alice: User) -> Callable[..., Program]:
    def make(*scopes: str) -> Program:
        return Program(create_api_key(project, name="other", scopes=scopes, by=alice)[1])

    return make
