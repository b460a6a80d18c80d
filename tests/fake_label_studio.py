"""Label Studio in memory, for tests of the services that talk to it: same methods, same errors, same pitfalls.

As in the real one: task ids are given out again after a deletion, the same import twice is there twice, answers are
not checked, and a deleted task leaves no trace in `pull_changes`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from labeling.label_studio import (
    MAX_IMPORT,
    Ambiguous,
    AnnotationOut,
    AuthFailed,
    LabelStudio,
    NotFound,
    ProjectFacts,
    TaskIdentity,
    TaskIn,
    TaskOut,
    Unavailable,
)


@dataclass
class _Task:
    ls_project_id: int
    key: str | None
    batch: str | None
    data: dict[str, Any]
    updated_at: datetime
    annotations: dict[int, AnnotationOut] = field(default_factory=dict)
    prediction: list[dict[str, Any]] | None = None


@dataclass
class _Project:
    title: str
    label_config: str
    overlap: int
    webhooks: dict[str, tuple[int, str]] = field(default_factory=dict)  # url: (id, secret)


class FakeLabelStudio(LabelStudio):
    """Behaves as `LabelStudio` does; tests turn its switches.

    unavailable: every call raises Unavailable and changes nothing.
    auth_fails: every call raises AuthFailed.
    ambiguous_writes: so many writes from now on are done, and raise Ambiguous.
    lost_writes: so many writes from now on raise Ambiguous and are not done.
    """

    def __init__(self, url: str = "http://label-studio.test", token: str = "token", *, timeout: float = 60.0) -> None:
        super().__init__(url, token, timeout=timeout)
        self.unavailable = self.auth_fails = False
        self.ambiguous_writes = self.lost_writes = 0
        self.projects: dict[int, _Project] = {}
        self.tasks: dict[int, _Task] = {}
        self.users: dict[str, int] = {}
        self.passwords: dict[str, str] = {}
        self._ids = count(1)
        self._now = datetime.now(UTC)

    def version(self) -> str:
        self._reach()
        return "1.23.2"

    def clock(self) -> datetime:
        self._reach()
        return self._tick()

    def whoami(self) -> str:
        self._reach()
        return "admin@goldpan.test"

    def create_project(self, title: str, label_config: str, overlap: int) -> int:
        is_answered = self._begin()
        ls_project_id = next(self._ids)
        self.projects[ls_project_id] = _Project(title, label_config, overlap)
        self._end(is_answered)
        return ls_project_id

    def find_project(self, title: str) -> int | None:
        self._reach()
        return min((pk for pk, project in self.projects.items() if project.title == title), default=None)

    def delete_project(self, ls_project_id: int) -> None:
        self._project(ls_project_id)
        is_answered = self._begin()
        del self.projects[ls_project_id]
        self.tasks = {pk: task for pk, task in self.tasks.items() if task.ls_project_id != ls_project_id}
        self._end(is_answered)

    def project(self, ls_project_id: int) -> ProjectFacts:
        project = self._project(ls_project_id)
        tasks = [task for _, task in self._tasks_of(ls_project_id)]
        n_annotations = sum(not annotation.was_cancelled for task in tasks for annotation in task.annotations.values())
        return ProjectFacts(len(tasks), n_annotations, project.label_config)

    def update_config(self, ls_project_id: int, label_config: str) -> None:
        project = self._project(ls_project_id)
        is_answered = self._begin()
        project.label_config = label_config
        self._end(is_answered)

    def import_tasks(self, ls_project_id: int, tasks: Sequence[TaskIn]) -> list[int]:
        if len(tasks) > MAX_IMPORT:
            raise ValueError(f"at most {MAX_IMPORT} tasks per call, got {len(tasks)}")
        if not tasks:
            return []
        self._project(ls_project_id)
        is_answered = self._begin()
        ids = []
        for task in tasks:
            ids.append(max(self.tasks, default=0) + 1)
            self.tasks[ids[-1]] = _Task(
                ls_project_id, task.key, task.batch, dict(task.data), self._tick(),
                prediction=[dict(item) for item in task.prediction] if task.prediction else None)
        self._end(is_answered)
        return ids

    def scan_identities(self, ls_project_id: int, since: datetime | None = None) -> Iterator[TaskIdentity]:
        self._project(ls_project_id)
        for ls_task_id, task in self._tasks_of(ls_project_id):
            if since is None or task.updated_at >= since:
                yield TaskIdentity(ls_task_id, task.key, task.batch)

    def pull_changes(self, ls_project_id: int, since: datetime | None) -> Iterator[TaskOut]:
        self._project(ls_project_id)
        for ls_task_id, task in sorted(self._tasks_of(ls_project_id), key=lambda item: item[1].updated_at):
            if since is None or task.updated_at >= since:
                yield TaskOut(ls_task_id, task.key, task.updated_at, tuple(task.annotations.values()))

    def delete_tasks(self, ls_project_id: int, ls_task_ids: Sequence[int]) -> None:
        self._project(ls_project_id)
        is_answered = self._begin()
        self.lose_tasks(ls_task_ids)
        self._end(is_answered)

    def provision_annotator(self, email: str, password: str) -> int:
        self._reach()
        if email.casefold() in self.users:
            return self.users[email.casefold()]
        is_answered = self._begin()
        self.users[email.casefold()] = next(self._ids)
        self.passwords[email.casefold()] = password
        self._end(is_answered)
        return self.users[email.casefold()]

    def answer(self, ls_task_id: int, result: Sequence[Mapping[str, Any]], ls_user_id: int, seconds: float, *,
               skipped: bool = False) -> int:
        is_answered = self._begin()
        if ls_task_id not in self.tasks:
            raise NotFound(f"task {ls_task_id} is gone")
        task = self.tasks[ls_task_id]
        for annotation in task.annotations.values():
            if annotation.ls_user_id == ls_user_id:
                return annotation.ls_annotation_id
        ls_annotation_id = next(self._ids)
        task.updated_at = self._tick()
        task.annotations[ls_annotation_id] = AnnotationOut(
            ls_annotation_id, ls_user_id, [dict(item) for item in result], skipped, seconds, task.updated_at)
        self._end(is_answered)
        return ls_annotation_id

    def register_webhook(self, ls_project_id: int, url: str, secret: str) -> int:
        project = self._project(ls_project_id)
        is_answered = self._begin()
        webhook_id = project.webhooks[url][0] if url in project.webhooks else next(self._ids)
        project.webhooks[url] = (webhook_id, secret)
        self._end(is_answered)
        return webhook_id

    # What people do in the browser, and what goes wrong there:

    def change_annotation(self, ls_task_id: int, ls_annotation_id: int, result: list[dict[str, Any]]) -> None:
        task = self.tasks[ls_task_id]
        task.updated_at = self._tick()
        old = task.annotations[ls_annotation_id]
        task.annotations[ls_annotation_id] = AnnotationOut(
            ls_annotation_id, old.ls_user_id, result, False, old.seconds, task.updated_at)

    def delete_annotation(self, ls_task_id: int, ls_annotation_id: int) -> None:
        task = self.tasks[ls_task_id]
        del task.annotations[ls_annotation_id]
        task.updated_at = self._tick()

    def lose_tasks(self, ls_task_ids: Sequence[int]) -> None:
        for ls_task_id in ls_task_ids:
            self.tasks.pop(ls_task_id, None)

    def _tick(self) -> datetime:
        self._now = max(datetime.now(UTC), self._now + timedelta(microseconds=1))
        return self._now

    def _tasks_of(self, ls_project_id: int) -> list[tuple[int, _Task]]:
        return [(pk, task) for pk, task in sorted(self.tasks.items()) if task.ls_project_id == ls_project_id]

    def _reach(self) -> None:
        if self.unavailable:
            raise Unavailable(f"Label Studio at {self.url} cannot be reached. Start it, or check the address.")
        if self.auth_fails:
            raise AuthFailed(f"Label Studio at {self.url} refused the access token.")

    def _project(self, ls_project_id: int) -> _Project:
        self._reach()
        if ls_project_id not in self.projects:
            raise NotFound(f"Label Studio at {self.url} no longer has this project or task.")
        return self.projects[ls_project_id]

    def _begin(self) -> bool:
        """Whether the write that begins will be answered."""
        self._reach()
        if self.lost_writes:
            self.lost_writes -= 1
            raise Ambiguous(f"Label Studio at {self.url} gave no clear answer.")
        if self.ambiguous_writes:
            self.ambiguous_writes -= 1
            return False
        return True

    def _end(self, is_answered: bool) -> None:
        if not is_answered:
            raise Ambiguous(f"Label Studio at {self.url} gave no clear answer.")
