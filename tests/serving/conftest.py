"""One served project for all tests of the package: it is made once, and every test has it as it was.

What a test changes in the database is rolled back behind it, as always; the project itself behind the last test.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client, override_settings

from curation.models import Snapshot
from jobs import services as jobs
from jobs.models import Job
from projects.models import ApiKey, Project, Role
from projects.services import add_member, create_api_key
from serving.services import exchanges, rules
from tests.conftest import new_project
from tests.serving.fake_backend import FakeBackend
from tests.serving.watched import World
from tests.training.conftest import encode_here, model
from tests.training.story import FakeModel, approved_snapshot, start_quoted
from training.models import Adapter
from training.services.baseline import start_baseline

__all__ = ["model"]
OPENED: list[FakeBackend] = []
CHILDREN = ("training.services.scoring", "training.services.general", "training.services.executors",
            "training.services.quotes")


def the_backend(deployment: Any) -> FakeBackend:
    return OPENED[0]


@dataclass(frozen=True)
class Served:
    """Alice's project Moods with a prompt that was tried and an adapter that was evaluated; where its files are."""

    project: int
    snapshot: int
    adapter: int
    folder: Path


@pytest.fixture(scope="package")
def served(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with django_db_blocker.unblock(), transaction.atomic():
        with ExitStack() as stack:
            stack.enter_context(override_settings(
                GOLDPAN_OBJECTS=folder / "objects", GOLDPAN_JOBS=folder / "jobs",
                GOLDPAN_ENCODER="tests.fakes.HashingEncoder"))
            fake = FakeModel()
            for module in CHILDREN:
                stack.enter_context(mock.patch(f"{module}.run_child", fake))
            stack.enter_context(mock.patch("curation.services.embeddings.run_child", encode_here))
            made = _make(folder)
        yield made
        transaction.set_rollback(True)


def _make(folder: Path) -> Served:
    alice, bob, charlie = (User.objects.create_user(name) for name in ("alice", "bob", "charlie"))
    project = new_project("Moods", alice)
    add_member(project, bob, Role.curator, by=alice)
    add_member(project, charlie, Role.annotator, by=alice)
    snapshot = approved_snapshot(project, maker=bob, approver=alice)
    start_baseline(snapshot, by=bob, wake=False)
    _run_all()
    run = start_quoted(snapshot, by=alice, wake=False)
    _run_all()
    return Served(project.pk, snapshot.pk, Adapter.objects.get(run=run).pk, folder)


def _run_all() -> None:
    while (job := Job.objects.filter(state=Job.State.queued).order_by("pk").first()) is not None:
        jobs.run(job.pk, heartbeat=False)


@pytest.fixture(autouse=True)
def _serving(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _own_settings: None) -> None:
    """No model in sight, a log without a thread, limits that nobody has used up."""
    settings.GOLDPAN_ADAPTERS, settings.GOLDPAN_BASE_MODEL = tmp_path / "adapters", tmp_path / "no-model"
    settings.GOLDPAN_OPEN_BACKEND = f"{__name__}.the_backend"
    monkeypatch.setattr(exchanges.LOG, "_is_threaded", False)
    monkeypatch.setattr(exchanges.LOG, "_lost", Counter())
    monkeypatch.setattr(rules, "_limits", {})


@pytest.fixture
def project(served: Served, db: None, settings: Any) -> Project:
    settings.GOLDPAN_OBJECTS, settings.GOLDPAN_JOBS = served.folder / "objects", served.folder / "jobs"
    return Project.objects.get(pk=served.project)


@pytest.fixture
def alice(project: Project) -> User:
    return User.objects.get(username="alice")


@pytest.fixture
def bob(project: Project) -> User:
    return User.objects.get(username="bob")


@pytest.fixture
def snapshot(project: Project, served: Served) -> Snapshot:
    return Snapshot.objects.get(pk=served.snapshot)


@pytest.fixture
def adapter(project: Project, served: Served) -> Adapter:
    """Evaluated, and no champion yet: wrong on 1 row in 20."""
    return Adapter.objects.get(pk=served.adapter)


@pytest.fixture
def champion(adapter: Adapter) -> Adapter:
    """The same, promoted."""
    Adapter.objects.filter(pk=adapter.pk).update(stage=Adapter.Stage.champion)
    adapter.refresh_from_db()
    return adapter


@pytest.fixture
def untried(alice: User) -> Project:
    """A project in which no prompt was tried."""
    return new_project("Untried", alice)


@pytest.fixture
def backend(model: FakeModel) -> FakeBackend:
    OPENED[:] = [FakeBackend(model)]
    return OPENED[0]


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


@pytest.fixture
def world(champion: Any, backend: Any, project: Project, key: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """The project served and watched, in a time of its own."""
    world = World(project, key[0])
    monkeypatch.setattr("django.utils.timezone.now", world.clock)
    return world.begin()
