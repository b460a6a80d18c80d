"""A Label Studio in memory behind the services, and the moves of the people who use it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.models import Job
from labeling.models import Annotation, Annotator, Assignment, Example
from labeling.services import deliveries
from labeling.services.batches import Overlap, create_batch
from labeling.services.sync import start_sync
from labeling.task_types.classification import to_result
from projects.models import Project, Role
from projects.services import add_member
from tests.fake_label_studio import FakeLabelStudio

SERVER: list[FakeLabelStudio] = []


def the_server(url: str, token: str) -> FakeLabelStudio:
    return SERVER[0]


def a_token(url: str, email: str, password: str) -> str:
    SERVER[0]._reach()
    return "token"


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> FakeLabelStudio:
    SERVER[:] = [FakeLabelStudio(settings.GOLDPAN_LABEL_STUDIO_URL)]
    settings.GOLDPAN_LABEL_STUDIO_CLIENT = f"{__name__}.the_server"
    settings.GOLDPAN_LABEL_STUDIO_BOOTSTRAP = f"{__name__}.a_token"
    monkeypatch.setattr(deliveries, "SETTLE_SECONDS", 0.0)
    return SERVER[0]


class Floor:
    """A project whose people label: `ask` makes a batch, `sync` a round, `answer` is what somebody does there."""

    def __init__(self, project: Project, curator: User, server: FakeLabelStudio, run_jobs: Callable[[], None]) -> None:
        self.project, self.curator, self.server, self.run_jobs = project, curator, server, run_jobs

    def examples(self, n: int, *, split: str = "pool", prefix: str = "e") -> list[Example]:
        return [Example.objects.create(
            project=self.project, key=f"{prefix}{number}", text=f"text {number}", data={},
            content_sha256=f"{number:064x}", group=f"{prefix}{number}", split=split) for number in range(n)]

    def hire(self, *names: str) -> list[User]:
        people = [User.objects.create_user(name) for name in names]
        for person in people:
            add_member(self.project, person, Role.annotator, by=self.curator)
        return people

    def ask(self, examples: list[Example], *, n: int = 1, at_most: int | None = None, **more: Any) -> Any:
        return create_batch(self.project, [example.pk for example in examples], title="test", by=self.curator,
                            overlap=Overlap(n, 0, n, at_most or n), **more)

    def sync(self, *, reconcile: bool = False, fails: bool = False) -> dict[str, Any]:
        job = start_sync(self.project, by=self.curator, reconcile=reconcile)
        self.run_jobs()
        job.refresh_from_db()
        assert (job.state == Job.State.failed) == fails, job.error
        return {"error": job.error} if fails else dict(job.result)

    def desk(self, name: str) -> list[Assignment]:
        """What lies unanswered on somebody's desk."""
        return list(Assignment.objects.filter(annotator__project=self.project, annotator__name=name,
                                              state=Assignment.State.placed).select_related("example").order_by("pk"))

    def answer(self, name: str, example: Example, label: str = "neutral", *, skips: bool = False) -> int:
        assignment = Assignment.objects.get(annotator__name=name, example=example, state=Assignment.State.placed)
        annotator = Annotator.objects.get(project=self.project, name=name)
        assert assignment.ls_task_id is not None and annotator.ls_user_id is not None
        return self.server.answer(assignment.ls_task_id, to_result(label), annotator.ls_user_id, 7.0, skipped=skips)

    def labels(self) -> list[Any]:
        return list(Annotation.objects.current().order_by("pk").values_list("value", flat=True))

    def asked(self, example: Example) -> dict[str, str]:
        """Annotator → state of their newest assignment of the example."""
        rows = Assignment.objects.filter(example=example).order_by("pk")
        return dict(rows.values_list("annotator__name", "state"))


@pytest.fixture
def floor(project: Project, bob: User, server: FakeLabelStudio, run_jobs: Callable[[], None]) -> Floor:
    return Floor(project, bob, server, run_jobs)
