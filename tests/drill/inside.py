"""What a drill does inside an installation's own Django: make data, queue jobs, look at what became of them.

Each function runs in a process of its own; what it takes and returns is JSON.
"""

import csv
import io
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import F

from curation.models import Snapshot
from curation.services.approvals import judged_checks, override_check
from curation.services.gold_sets import gold_set_of, save_rule
from curation.services.scoring import start_score
from curation.services.snapshots import approve_snapshot, start_freeze
from jobs import services as jobs
from jobs.models import Job
from labeling.label_studio import bootstrap_token
from labeling.models import Assignment, BatchItem, Desk, Example, LabelingRules
from labeling.services.batches import Overlap, create_batch
from labeling.services.desks import annotator_of
from labeling.services.imports import receive_upload, start_import
from labeling.services.server import label_studio
from labeling.services.sync import start_sync
from labeling.task_types.classification import to_result
from projects.models import Project, Role
from projects.services import add_member, create_api_key, create_project, notify
from projects.services.webhooks import create_webhook
from serving.models import Experiment
from serving.services.experiments import Asked, judge, start_experiment
from serving.services.parity import start_replay
from serving.services.rules import save_rules
from tests.training.kinds import KINDS, approved, letter
from training.models import Adapter, Evaluation, Run, Verdict
from training.services.baseline import start_baseline
from training.services.quotes import start_quote
from training.services.runs import start_training

LABELS = {"negative": ("broken", "late", "refund", "angry", "lost"),
          "neutral": ("order", "invoice", "question", "when"),
          "positive": ("thanks", "great", "happy", "works", "love")}
WORDS = ("the", "a", "my", "card", "account", "payment", "parcel", "app", "still", "again", "today", "please", "help",
         "with", "from", "support", "team", "this", "was", "is", "because", "after", "before", "yesterday", "phone",
         "letter", "twice", "never", "always")


def add_project(name: str) -> int:
    """A project with Alice as its admin and Bob as a curator."""
    alice, bob = (User.objects.get_or_create(username=user)[0] for user in ("alice", "bob"))
    project = create_project(name=name, labels=[{"name": label} for label in LABELS], instructions="Say the mood.",
                             target_metric="accuracy", target_value=0.8, created_by=alice, split_salt=name)
    add_member(project, bob, Role.curator, by=alice)
    return project.pk


def add_webhook(project: int, url: str) -> str:
    """A webhook of the project that gets every end of a run; return its secret."""
    return create_webhook(Project.objects.get(pk=project), url=url, events=["run.finished"], by=_user("alice"))[1]


def tell(project: int, n: int) -> int:
    """n notices of runs that have ended."""
    for run in range(n):
        notify(Project.objects.get(pk=project), "run.finished", title=f"Run {run} is trained", link="/",
               data={"run": run, "adapter": run})
    return n


def serve_letters() -> dict[str, Any]:
    """A small classification project whose prompt was tried with the real model, a key to ask it, and texts."""
    alice, bob = (User.objects.get_or_create(username=user)[0] for user in ("alice", "bob"))
    snapshot = approved(KINDS["classification"], admin=alice, curator=bob, n_pool=34, n_dev=6, n_test=20)
    job = start_baseline(snapshot, by=bob, arms=["zero_shot", "few_shot"], wake=False)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    limits = {"key_limit": 100_000, "project_limit": 100_000}
    save_rules(snapshot.project, limits, by=alice)
    _, secret = create_api_key(snapshot.project, name="load", scopes=["predict", "feedback"], by=alice)
    return {"project": snapshot.project_id, "key": secret, "texts": [letter(n) for n in range(200, 400)]}


def start_ab_test(project: int) -> int:
    """A test of the prompt that serves against the other one that was tried; return its id."""
    found = Project.objects.get(pk=project)
    served = Verdict.objects.get(snapshot__project=found).best_prompt
    other = Run.objects.filter(snapshot__project=found, kind__in=Run.PROMPTS).exclude(pk=served.pk).get()
    on_dev = Evaluation.objects.get(run=other, split="dev")
    if not Evaluation.objects.filter(run=other, split="test").exists():  # as if it had been looked at on test, too
        Evaluation.objects.create(**{field.attname: getattr(on_dev, field.attname) for field in Evaluation._meta.fields
                                     if field.name not in ("id", "split")}, split="test")
    return start_experiment(found, challenger=f"run-{other.pk}", by=_user("alice"), slow_seconds=600.0, asked=Asked(
        "thumb", base=0.8, difference=0.05, feedback_rate=0.03, units_a_week=20_000)).pk


def ab_test_of(test: int) -> dict[str, Any]:
    found = Experiment.objects.get(pk=test)
    return {"pk": found.pk, "salt": found.salt, "shares": found.shares, "champion": found.champion_id,
            "challenger": found.challenger_id}


def judge_ab_test(test: int) -> dict[str, Any]:
    found = judge(Experiment.objects.get(pk=test))
    return {"outcome": found.outcome, "rated": [found.champion.n, found.challenger.n]}


def replay(project: int) -> dict[str, Any]:
    """Ask the test rows through what serves."""
    job = start_replay(Project.objects.get(pk=project), by=_user("bob"), wake=False)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    return dict(job.result)


def queue_import(project: int, n: int, salt: str = "", labelled: bool = True) -> int:
    """Queue the import of n texts, a label each; return the job's id."""
    upload = receive_upload(Project.objects.get(pk=project), io.BytesIO(_texts(n, salt, labelled)), name="texts.csv",
                            kind="examples", by=_user("bob"))
    return start_import(upload, by=_user("bob")).pk


def queue_imports(projects: list[int], n_files: int, n: int) -> list[int]:
    """Queue a number of files of n texts for each project; return the jobs' ids."""
    return [queue_import(project, n, salt=f"{project}-{file}") for file in range(n_files) for project in projects]


def _texts(n: int, salt: str, labelled: bool) -> bytes:
    draw = random.Random(salt)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["key", "text", "label"])
    for row in range(n):
        label = draw.choice(list(LABELS))
        words = [*draw.choices(WORDS, k=draw.randint(5, 12)), *draw.choices(LABELS[label], k=2), salt, str(row)]
        writer.writerow([f"{salt}-{row}", " ".join(words), label if labelled else ""])
    return out.getvalue().encode()


def add_examples(project: int, n: int, salt: str, labelled: bool = True) -> None:
    """Import n texts here and now."""
    _run(queue_import(project, n, salt, labelled))


def add_blind_labels(project: int) -> None:
    """Three annotators agree on every held-out text."""
    held_out = Example.objects.filter(project=project).exclude(split="pool").order_by("pk")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["key", "annotator", "label"])
    for example in held_out:
        label = next(label for label, words in LABELS.items() if set(words) & set(example.text.split()))
        writer.writerows([example.key, f"blind-{person}", label] for person in (1, 2, 3))
    upload = receive_upload(Project.objects.get(pk=project), io.BytesIO(out.getvalue().encode()), name="blind.csv",
                            kind="annotations", by=_user("bob"))
    _run(start_import(upload, by=_user("bob"), wake=False).pk)


def queue_score(project: int) -> int:
    return start_score(Project.objects.get(pk=project), by=_user("bob")).pk


def score(project: int) -> None:
    _run(start_score(Project.objects.get(pk=project), by=_user("bob"), wake=False).pk)


def approved_snapshot(project: int, size: int) -> int:
    """Score, pick, freeze and approve; return the snapshot's id."""
    score(project)
    its = Project.objects.get(pk=project)
    save_rule(gold_set_of(its), size=size, min_quality=0.0, min_per_label=1, allow_flagged=True, seed=1,
              by=_user("bob"))
    _run(start_freeze(its, by=_user("bob"), wake=False).pk)
    snapshot = Snapshot.objects.get(project=its)
    for judged in judged_checks(snapshot):
        if not judged.is_green:  # a drill's data is too small to be balanced
            override_check(snapshot, name=judged.check.name, n=judged.check.n, reason="A drill.", by=_user("alice"))
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=_user("alice"))
    return snapshot.pk


def queue_training(snapshot: int, config: dict[str, Any]) -> int:
    """Quote and queue a LoRA run; return its job's id."""
    its = Snapshot.objects.get(pk=snapshot)
    _run(start_quote(its, by=_user("alice"), config=config, wake=False).pk)
    run = start_training(its, by=_user("alice"), config=config, override_reason="A drill needs no gate.",
                         cap_seconds=3600)  # the quote's is for a machine that nothing else runs on
    return int(run.job_id)


def receipts(snapshot: int) -> list[dict[str, Any]]:
    """The receipts of a snapshot's adapters, oldest first."""
    return list(Adapter.objects.filter(run__snapshot=snapshot).order_by("pk").values_list("receipt", flat=True))


def queue_batch(project: int) -> int:
    """Ask Bob for a label of everything, and queue the round that puts it on his desk."""
    its, bob = Project.objects.get(pk=project), _user("bob")
    LabelingRules.objects.create(project=its, open_limit=100_000)
    pool = Example.objects.filter(project=its, split="pool").values_list("pk", flat=True)
    create_batch(its, pool, title="all", by=bob, annotators=[annotator_of(its, bob)], overlap=Overlap(1, 0, 1, 1))
    return start_sync(its, by=bob).pk


def queue_sync(project: int) -> int:
    return start_sync(Project.objects.get(pk=project), by=_user("bob")).pk


def retry(job: int) -> None:
    jobs.retry(Job.objects.get(pk=job))


def answer_in_label_studio(project: int, n: int) -> None:
    """Bob answers the first n tasks."""
    client = label_studio()
    lying = Assignment.objects.filter(annotator__project=project, state=Assignment.State.placed).order_by("pk")[:n]
    with ThreadPoolExecutor(4) as people:
        list(people.map(lambda assignment: client.answer(assignment.ls_task_id, to_result("neutral"),
                                                         assignment.annotator.ls_user_id, 2.0),
                        lying.select_related("annotator")))


def tasks_in_label_studio(project: int) -> list[list[Any]]:
    """Key and id of every task that Label Studio holds for the project, by id."""
    desk = Desk.objects.get(project=project)
    return [[task.key, task.ls_task_id] for task in label_studio().scan_identities(desk.ls_project_id)]


def tasks_here(project: int) -> list[list[Any]]:
    """Key and task id of everything on a desk, by task id."""
    lying = Assignment.objects.filter(annotator__project=project).order_by("ls_task_id")
    return [list(pair) for pair in lying.values_list("example__key", "ls_task_id")]


def keys_of_the_pool(project: int) -> list[str]:
    return list(Example.objects.filter(project=project, split="pool").values_list("key", flat=True))


def hire(project: int, names: list[str]) -> None:
    its = Project.objects.get(pk=project)
    for name in names:
        add_member(its, User.objects.get_or_create(username=name)[0], Role.annotator, by=_user("alice"))


def ask(project: int, n_labels: int, max_labels: int, open_limit: int) -> int:
    """Ask everybody who labels here about the whole pool; queue the first round and return its job's id."""
    its = Project.objects.get(pk=project)
    LabelingRules.objects.update_or_create(project=its, defaults={"open_limit": open_limit})
    pool = Example.objects.filter(project=its, split="pool").values_list("pk", flat=True)
    create_batch(its, pool, title="all", by=_user("bob"), overlap=Overlap(n_labels, 0, n_labels, max_labels))
    return start_sync(its, by=_user("bob")).pk


def work_at_desks(project: int, names: list[str], seconds: float) -> dict[str, int]:
    """Everybody answers what lies on their desk, all at the same time, until all is answered or the time is over.

    Each has a connection and a rhythm of their own, and answers what the text says. Returns annotator → answers.
    """
    client, end = label_studio(), time.monotonic() + seconds

    def is_over() -> bool:
        wanted = BatchItem.objects.filter(batch__project=project, n_taken__lt=F("n_wanted"))
        return not wanted.exists() and not Assignment.objects.open().filter(annotator__project=project).exists()

    def work(name: str) -> int:
        draw, n = random.Random(name), 0
        while time.monotonic() < end and not is_over():
            lying = list(Assignment.objects.filter(annotator__project=project, annotator__name=name, state="placed")
                         .exclude(pk__in=done[name]).select_related("example", "annotator")[:5])
            for assignment in lying:
                time.sleep(draw.uniform(0, 0.2))
                client.answer(assignment.ls_task_id, to_result(_mood_of(assignment.example.text)),
                              assignment.annotator.ls_user_id, 2.0)
                done[name].add(assignment.pk)
                n += 1
            if not lying:
                time.sleep(0.5)
        return n

    done: dict[str, set[int]] = {name: set() for name in names}
    with ThreadPoolExecutor(len(names)) as people:
        return dict(zip(names, people.map(work, names), strict=True))


def _mood_of(text: str) -> str:
    return next(label for label, words in LABELS.items() if set(words) & set(text.split()))


def answer_one(project: int, name: str, label: str = "neutral") -> str:
    """Somebody answers the next example on their desk; return its key."""
    assignment = Assignment.objects.filter(annotator__project=project, annotator__name=name, state="placed")[0]
    label_studio().answer(assignment.ls_task_id, to_result(label), assignment.annotator.ls_user_id, 2.0)
    return str(assignment.example.key)


def desk_of(project: int, name: str) -> dict[str, Any]:
    """A desk as its pages show it, and the tasks that lie on it: key → Label Studio's id."""
    desk = Desk.objects.get(project=project, annotator__name=name)
    lying = Assignment.objects.filter(annotator=desk.annotator_id, state="placed")
    return {"ls_project_id": desk.ls_project_id, "state": desk.state, "message": desk.message,
            "tasks": dict(lying.values_list("example__key", "ls_task_id"))}


def queue_comparison(project: int) -> int:
    return start_sync(Project.objects.get(pk=project), by=_user("bob"), reconcile=True).pk


def add_label(project: int, label: str) -> None:
    """The labels change while answers are there: the page at every desk has to follow."""
    its = Project.objects.get(pk=project)
    its.schema["labels"].append({"name": label, "description": ""})
    its.save()


def in_label_studio(method: str, arguments: list[Any]) -> Any:
    """Call the client as an administrator there would act: delete a project or tasks, change a page."""
    return getattr(label_studio(), method)(*arguments)


def revoke_token() -> None:
    """Somebody makes another token in Label Studio, which ends the one that Goldpan has."""
    bootstrap_token(settings.GOLDPAN_LABEL_STUDIO_URL, settings.GOLDPAN_LABEL_STUDIO_EMAIL,
                    settings.GOLDPAN_LABEL_STUDIO_PASSWORD)


def session_of(user: str) -> dict[str, str]:
    """The cookies of a browser in which this person is logged in."""
    session = SessionStore()
    person = _user(user)
    session.update({"_auth_user_id": str(person.pk), "_auth_user_hash": person.get_session_auth_hash(),
                    "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0]})
    session.save()
    return {settings.SESSION_COOKIE_NAME: str(session.session_key), settings.CSRF_COOKIE_NAME: "d" * 32}


def _user(name: str) -> User:
    return User.objects.get(username=name)


def _run(job: int) -> None:
    jobs.run(job)
    while Job.objects.filter(pk=job, state__in=Job.ACTIVE).exists():  # the worker or the tick was first
        time.sleep(0.1)
    ended = Job.objects.get(pk=job)
    assert ended.state == Job.State.succeeded, ended.error
