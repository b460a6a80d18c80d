"""What does a round with Label Studio cost, when everything is new, when ten answers are, and when nothing is?

`python -m bench.label_studio_sync`: 10,000 examples with three answers each, on twenty desks, are seeded into a real
Label Studio of its own by inline bulk import, and dated back as if each person had given one every twenty seconds. The
first round brings 29,990 answers into the ledger; then ten more are given and a second round brings those. Exits with 1
unless the second is at least 50 times cheaper.
"""

import os
import sqlite3
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

GOAL = 50
N_EXAMPLES, N_DESKS, N_LABELS, N_NEW = 10_000, 20, 3, 10


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as folder:
        os.environ |= {"GOLDPAN_DATA": folder, "GOLDPAN_BROKER": "memory://", "DJANGO_SETTINGS_MODULE":
                       "goldpan.settings", "GOLDPAN_POLL_SECONDS": "86400"}
        from tests.label_studio_fixture import BINARY

        if not BINARY.exists():
            print(f"skipped: there is no Label Studio at {BINARY}; run make setup")
            return 0
        return _with_server(Path(folder))


def _with_server(folder: Path) -> int:
    from labeling.label_studio import bootstrap_token
    from labeling.label_studio_server import prepare, template_path
    from tests.label_studio_fixture import BINARY, ROOT, Server

    server = Server(folder / "label-studio")
    prepare(server.data_dir, template_path(ROOT / "var", BINARY), BINARY)
    try:
        server.start()
        server.token = bootstrap_token(server.url, server.email, server.password)
        os.environ["GOLDPAN_LABEL_STUDIO_URL"] = server.url
        return _measure(server)
    finally:
        server.stop()


def _measure(server: Any) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from labeling.models import Annotation, Assignment, Desk, LabelStudioToken
    from labeling.services.server import label_studio
    from labeling.task_types.classification import to_result
    from projects.services.sealing import encrypt

    call_command("migrate", verbosity=0)
    LabelStudioToken.objects.create(url=server.url, token_encrypted=encrypt(server.token))
    client = label_studio()
    project, curator = _seed(client)
    _date_back(server)
    first, result = _round(project, curator)
    n_seeded = N_EXAMPLES * N_LABELS - N_NEW
    assert Annotation.objects.count() == n_seeded, result
    print(f"first round    {n_seeded:,} answers in {first:.1f} s, {n_seeded / first:.0f} a second")
    for assignment in Assignment.objects.open().select_related("annotator__desk")[:N_NEW]:
        client.answer(assignment.ls_task_id, to_result("positive"), assignment.annotator.ls_user_id, 1.0)
        Desk.objects.filter(pk=assignment.annotator.desk.pk).update(hinted_at=timezone.now())
    second, result = _round(project, None)
    assert result["n_new"] == N_NEW, result
    print(f"second round   {N_NEW} answers in {second:.2f} s")
    print(f"nothing new    {_round(project, None)[0]:.2f} s; asking every desk {_round(project, curator)[0]:.2f} s")
    print(f"the second round is {first / second:.0f} times cheaper than the first, goal {GOAL}")
    return 0 if first / second >= GOAL else 1


def _seed(client: Any) -> tuple[Any, Any]:
    """Twenty desks, and every example with an answer on three of them but for the last ten; return project, curator."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from labeling.models import Annotator, Assignment, BatchItem, Example
    from labeling.services.batches import Overlap, create_batch
    from labeling.services.desks import annotator_of, open_desk
    from labeling.task_types.classification import to_result
    from projects.models import Role
    from projects.services import add_member, create_project

    started = time.perf_counter()
    curator = User.objects.create_user("curator")
    project = create_project(name="Bench", labels=[{"name": "negative"}, {"name": "positive"}], instructions="",
                             target_metric="accuracy", target_value=0.8, created_by=curator)
    Example.objects.bulk_create([
        Example(project=project, key=f"e{n}", text=f"The text number {n}.", data={}, content_sha256=f"{n:064x}",
                group=str(n), split="pool") for n in range(N_EXAMPLES)], 2000)
    people = [User.objects.create_user(f"person-{n:02}") for n in range(N_DESKS)]
    for person in people:
        add_member(project, person, Role.annotator, by=curator)
    annotators = [annotator_of(project, person) for person in people]
    desks = [open_desk(client, annotator) for annotator in annotators]
    batch = create_batch(project, Example.objects.values_list("pk", flat=True), title="all", by=curator,
                         overlap=Overlap(N_LABELS, 0, N_LABELS, N_LABELS))
    BatchItem.objects.update(n_taken=N_LABELS)
    items = list(batch.items.select_related("example").order_by("pk"))
    slots = [(item, (number * N_LABELS + turn) % N_DESKS) for number, item in enumerate(items)
             for turn in range(N_LABELS)]
    unanswered = {id(slot) for slot in slots[-N_NEW:]}
    for number, desk in enumerate(desks):
        mine = [slot for slot in slots if slot[1] == number]
        for start in range(0, len(mine), 500):
            part = mine[start:start + 500]
            ids = _import_answered(client, desk.ls_project_id, [
                (slot[0].example, None if id(slot) in unanswered else to_result("negative")) for slot in part],
                annotators[number].ls_user_id)
            Assignment.objects.bulk_create([Assignment(
                example_id=slot[0].example_id, annotator=annotators[number], item=slot[0], state="placed",
                ls_task_id=ls_task_id, expires_at=timezone.now() + timedelta(days=3))
                for slot, ls_task_id in zip(part, ids, strict=True)])
    assert Annotator.objects.count() == N_DESKS
    print(f"seeded         {len(slots):,} tasks on {N_DESKS} desks in {time.perf_counter() - started:.0f} s")
    return project, curator


def _import_answered(client: Any, ls_project_id: int, rows: list[Any], ls_user_id: int | None) -> list[int]:
    """Import tasks with their answers inline, as only Label Studio's bulk import can; return their ids."""
    request = [{"data": {"text": example.text}, "meta": {"goldpan": {"external_id": example.key, "batch": "seed"}},
                **({"annotations": [{"result": result, "completed_by": ls_user_id, "lead_time": 3.0,
                                     "ground_truth": False}]} if result else {})} for example, result in rows]
    done = client._sdk.projects.import_tasks(id=ls_project_id, request=request, return_task_ids=True,
                                             request_options={"timeout_in_seconds": 300})
    return [int(pk) for pk in done.task_ids]


def _date_back(server: Any) -> None:
    """As if people had answered one by one, every twenty seconds, until yesterday.

    What was touched within the last two minutes is read again in every round, and a bulk import touches everything now.
    """
    with sqlite3.connect(server.data_dir / "label_studio.sqlite3", timeout=60) as database:
        database.execute("UPDATE task SET updated_at = datetime('now', '-8 days', '+' || (id * 20) || ' seconds')")


def _round(project: Any, by: Any) -> tuple[float, dict[str, Any]]:
    """Make one round as a worker makes it; return its seconds and its result."""
    from jobs import services as jobs
    from jobs.models import Job
    from labeling.services.sync import start_sync

    job = start_sync(project, by=by, wake=False)
    started = time.perf_counter()
    jobs.run(job.pk)
    seconds = time.perf_counter() - started
    job = Job.objects.get(pk=job.pk)
    assert job.state == Job.State.succeeded, job.error
    return seconds, dict(job.result)


if __name__ == "__main__":
    sys.exit(main())
