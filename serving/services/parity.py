"""Deployed = evaluated: test rows asked through the model that serves, held against what was evaluated."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.contrib.auth.models import User

from curation.services.snapshots import FrozenRow, read_rows
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from serving.answering import Answer, Backend, Busy, Question, Reply, Served, Unavailable, read
from serving.models import Replay
from serving.services.deployments import choose, serve
from serving.services.gateway import backend_of
from training.models import Evaluation
from training.services.scoring import Stopwatch, read_predictions

WRITTEN_ROWS = 40  # a written answer takes seconds without a GPU
AT_ONCE = 8
MAX_TRIES = 60  # of a row, while the model has more to do than it takes on


def start_replay(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue the replay of what serves now; one that waits or runs already is returned.

    Raises NotServed if nothing serves.
    """
    serve(project, "")
    waiting = Job.objects.active().filter(project=project, kind="replay").first()
    return waiting or enqueue("replay", project, title="Checking that what serves answers as it was evaluated",
                              requested_by=by, exclusive=f"replay:{project.pk}", wake=wake)


def run_replay(job: Job, progress: Progress) -> None:
    project, watch = job.project, Stopwatch()
    served, deployment = serve(project, "")
    found = replay(project, progress)
    with completing(job) as result:
        stored = Replay.objects.create(project=project, deployment=deployment, job=job, n=found.n,
                                       n_equal=found.n - len(found.differing), differing=found.differing,
                                       seconds=watch.seconds)
        said = {"model": served.name, "deployment": deployment.pk, "n": stored.n, "n_equal": stored.n_equal}
        audit(project, job.requested_by, "replay", said)
        result |= said


@dataclass(frozen=True)
class Replayed:
    """n: rows asked. differing: keys of those that were answered otherwise than at the evaluation."""

    n: int
    differing: list[str]


def replay(project: Project, progress: Progress) -> Replayed:
    """Ask what serves the project about the test rows that it was evaluated on, as the gateway asks."""
    served, deployment = serve(project, "")
    choice = choose(project, "")
    evaluation = Evaluation.objects.filter(run=choice.run, split="test").select_related("snapshot__project").first()
    if evaluation is None:
        raise UserError(f"{choice.adapter or choice.run} has not been evaluated: there is nothing to hold it against.")
    rows = read_rows(choice.run.snapshot, "test")
    rows = rows if served.prompt.has_labels else rows[:WRITTEN_ROWS]
    before = {one.key: one for one in read_predictions(evaluation)}
    answers = _ask_all(backend_of(deployment), served, rows, progress)
    return Replayed(len(rows), [row.key for row, now in zip(rows, answers, strict=True)
                                if not _is_same(now, before[row.key].predicted, before[row.key].answer)])


def _is_same(now: Answer, predicted: str | None, written: str) -> bool:
    return now.frozen == predicted and (predicted is not None or now.text.strip() == written.strip())


def _ask_all(backend: Backend, served: Served, rows: Sequence[FrozenRow], progress: Progress) -> list[Answer]:
    answers: list[Answer] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for answer, _ in pool.map(lambda row: ask_patiently(backend, served, Question(row.text, row.data)), rows):
                answers.append(answer)
                progress("Asking what serves", len(answers), len(rows))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return answers


def ask_patiently(backend: Backend, served: Served, question: Question) -> tuple[Answer, Reply]:
    """Ask, and again while the model has too much to do. Raises UserError if it cannot be asked, or Unanswerable."""
    for n in range(MAX_TRIES):
        try:
            *_, reply = backend.ask(served, question)
            assert isinstance(reply, Reply)
            return read(served, question, reply), reply
        except (Busy, Unavailable) as error:
            if n == MAX_TRIES - 1:
                raise UserError(f"What serves could not be asked. {error}") from error
            time.sleep(min(error.retry_after, 2.0))
    raise AssertionError("unreachable: the last try returns or raises")
