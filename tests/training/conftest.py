from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from curation.encoder import embed_file
from curation.models import Snapshot
from jobs.progress import Progress
from projects.models import Project
from tests.training.story import MODEL_DOORS, FakeModel, approved_snapshot, start_quoted
from tests.training.tiny_model import write_tiny_model
from training.models import Adapter, Run
from training.services.baseline import start_baseline


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-llama")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """What answers instead of a model's subprocess; tell it where to err before it is asked."""
    fake = FakeModel()
    for door in MODEL_DOORS:
        monkeypatch.setattr(door, fake)
    monkeypatch.setattr("curation.services.embeddings.run_child", encode_here)
    return fake


def encode_here(module: str, spec: dict[str, Any], *, folder: Path, progress: Progress) -> dict[str, Any]:
    """The encoder's own work without its subprocess: the test's encoder loads no model."""
    return embed_file(spec, folder, progress)


@pytest.fixture
def snapshot(project: Project, alice: User, bob: User, model: FakeModel) -> Snapshot:
    """Frozen by Bob, approved by Alice; nothing has been tried on it."""
    return approved_snapshot(project, maker=bob, approver=alice)


@pytest.fixture
def judged(snapshot: Snapshot, bob: User, run_jobs: Callable[[], None]) -> Snapshot:
    """The snapshot with its verdict: half of what the prompt answers is wrong, so it cannot reach the target."""
    start_baseline(snapshot, by=bob)
    run_jobs()
    return snapshot


@pytest.fixture
def adapter(judged: Snapshot, alice: User, run_jobs: Callable[[], None]) -> Adapter:
    """Trained on it and evaluated: wrong on 1 row in 20."""
    return trained(judged, alice, run_jobs)


def trained(snapshot: Snapshot, by: User, run_jobs: Callable[[], None], **config: int) -> Adapter:
    run: Run = start_quoted(snapshot, by=by, config=config)
    run_jobs()
    return Adapter.objects.get(run=run)
