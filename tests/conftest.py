"""The cast of every test: Alice is an admin, Bob a curator, Charlie an annotator, Dora belongs to another project."""

import os
import tempfile

os.environ["GOLDPAN_DATA"] = tempfile.mkdtemp(prefix="goldpan-tests-")  # before Django reads its settings
os.environ.setdefault("GOLDPAN_BROKER", "memory://")  # the drills run some tests on Redis and PostgreSQL

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from jobs import services as jobs
from jobs.models import Job
from projects.models import Project, Role
from projects.services import add_member, create_project
from tests.template_database import copy_into_memory

pytest_plugins = ["tests.label_studio_fixture"]

# The same cases in every run: whether a change may land is no matter of luck. Wider: --hypothesis-profile wide.
hypothesis.settings.register_profile(
    "same", derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow])  # a busy machine is no mistake
hypothesis.settings.register_profile("wide", max_examples=1000)
hypothesis.settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with real servers and models come first: two processes share the files, and end together."""
    real = {item.path for item in items if any(map(item.get_closest_marker, ("labelstudio", "models")))}
    items.sort(key=lambda item: item.path not in real)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """Migrations are applied already when the test database in memory is made: it is a copy of the template."""
    if connection.vendor != "sqlite":
        yield
        return
    creation: Any = connection.creation
    memory = copy_into_memory(creation._get_test_db_name())
    yield
    memory.close()


@pytest.fixture(autouse=True)
def _own_settings(settings: Any, tmp_path: Path) -> None:
    """Every test has a store of its own, fast passwords, and encodes without a model."""
    settings.GOLDPAN_OBJECTS = tmp_path / "objects"
    settings.GOLDPAN_JOBS = tmp_path / "jobs"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.GOLDPAN_ENCODER = "tests.fakes.HashingEncoder"
    settings.GOLDPAN_SINGLE_USER = False
    settings.WHITENOISE_AUTOREFRESH = True  # else every Client lists all static files: more than half of a page's time


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie")


@pytest.fixture
def dora(db: None) -> User:
    """A curator, but of another project."""
    dora = User.objects.create_user("dora")
    other = new_project("Somebody else's", dora)
    other.memberships.filter(user=dora).update(role=Role.curator)
    return dora


@pytest.fixture
def project(alice: User, bob: User, charlie: User) -> Project:
    project = new_project("Moods", alice)
    add_member(project, bob, Role.curator, by=alice)
    add_member(project, charlie, Role.annotator, by=alice)
    return project


def new_project(name: str, by: User) -> Project:
    labels = [{"name": "negative", "description": ""}, {"name": "neutral", "description": ""},
              {"name": "positive", "description": ""}]
    return create_project(name=name, labels=labels, instructions="Say the mood.", target_metric="accuracy",
                          target_value=0.8, created_by=by, split_salt="tests")


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """A browser in which this user is logged in."""

    def login(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return login


@pytest.fixture
def run_jobs() -> Iterator[Callable[[], None]]:
    """Run everything that is queued, here and now, in order."""

    def run_all() -> None:
        while (job := Job.objects.filter(state=Job.State.queued).order_by("pk").first()) is not None:
            jobs.run(job.pk, heartbeat=False)

    yield run_all
