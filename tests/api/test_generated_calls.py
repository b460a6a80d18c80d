"""A generated call of every operation that changes something; tests/drill has thousands of calls of all of them."""

from unittest import mock

import pytest
from django.db import connection
from schemathesis import GenerationMode

from projects.models import Project
from projects.services import create_api_key
from tests.api.generated import call_everything
from tests.api.test_rights import OPERATIONS, ROWS
from tests.test_rights import World, world  # noqa: F401
from training.models import Run


@pytest.fixture
def numbers(world: World) -> dict[str, int]:  # noqa: F811
    """Operation → the number of an object that it is about."""
    run = Run.objects.select_related("snapshot").get(pk=world.objects["run"])
    assert run.snapshot.report_id is not None
    objects = {**world.objects, "report": run.snapshot.report_id, "-": 0}
    return {name: objects[object] for name, (object, _) in ROWS.items()}


@pytest.fixture
def secret(world: World) -> str:  # noqa: F811
    return create_api_key(Project.objects.get(name="Moods"), name="generated", scopes=["read", "write"],
                          by=world.people["alice"])[1]


def test_no_generated_call_ends_in_a_fault_or_answers_otherwise_than_described(numbers, secret, settings):
    settings.GOLDPAN_API_PER_MINUTE = 0
    writing = {name: number for name, number in numbers.items() if OPERATIONS[name].scope == "write"}
    with mock.patch.object(connection, "close"):  # the end of a request would close the test's own
        seen = call_everything(writing, secret=secret, n_each=1, modes=[GenerationMode.POSITIVE])
    assert 50 <= seen.total() <= 100 and set(seen) <= {200, 201, 202, 400, 403, 404, 409, 422}
