"""Each type of task goes its way from a file to an approved, exported snapshot, over a real Label Studio.

Three people answer at their desks. They agree on most examples; where they do not, a curator settles it.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User

from curation.models import Snapshot
from curation.services.adjudication import adjudication_queue
from curation.services.approvals import judged_checks, override_check
from curation.services.exporting import write_export
from curation.services.gold_sets import gold_set_of, save_rule
from curation.services.review import decide
from curation.services.scoring import latest_report, start_score
from curation.services.snapshots import approve_snapshot, start_freeze
from jobs.models import Job
from labeling.label_studio import LabelStudio
from labeling.models import Annotation, Assignment, Example, LabelingRules, LabelStudioToken
from labeling.services.batches import Overlap, create_batch, progress_of
from labeling.services.imports import receive_upload, start_import
from labeling.services.sync import start_sync
from labeling.task_types import task_type
from projects.models import Role
from projects.services import add_member, create_project
from projects.services.sealing import encrypt
from tests.label_studio_fixture import Server

pytestmark = pytest.mark.labelstudio

N = 36
CITIES = ["Lima", "Oslo", "Rome", "Cairo", "Quito"]
LABELS = {"labels": [{"name": "refund"}, {"name": "address"}, {"name": "praise"}]}
FIELDS = {"json_schema": {"type": "object", "properties": {"city": {"type": "string"}, "parcel": {"type": "integer"}},
                          "required": ["city"]}}


class Kind(NamedTuple):
    """A type of task, what an example of it brings beside its text, and what is right for the n-th."""

    name: str
    schema: dict[str, Any]
    metric: str
    right: Callable[[int, str], Any]
    wrong: Callable[[int, str], Any]
    fields: Callable[[int], dict[str, Any]] = lambda n: {}


def message(n: int) -> str:
    """No two of them are near-duplicates."""
    told = " ".join(f"{word}{n * n}" for word in ("red", "left", "box", "door", "late", "blue", "five", "noon", "key"))
    return f"Where is parcel {n}? It should be in {city(n)} by now, please {label(n)}: {told}."


def label(n: int) -> str:
    return str(LABELS["labels"][n % 3]["name"])


def city(n: int) -> str:
    return CITIES[n % 5]


def span(n: int, text: str) -> list[dict[str, Any]]:
    start = text.index(city(n))
    return [{"start": start, "end": start + len(city(n)), "label": "refund"}]


KINDS = [
    Kind("classification", LABELS, "accuracy", lambda n, text: label(n), lambda n, text: label(n + 1)),
    Kind("multilabel", LABELS, "macro_f1", lambda n, text: sorted({label(n), label(n // 2)}),
         lambda n, text: [label(n + 1)]),
    Kind("extraction", FIELDS, "field_f1", lambda n, text: {"city": city(n), "parcel": n},
         lambda n, text: {"city": city(n), "parcel": n + 1}),
    Kind("spans", LABELS, "strict_f1", span, lambda n, text: []),
    Kind("preference", {"allow_tie": True}, "accuracy", lambda n, text: ("left", "right")[n % 2], lambda n, text: "tie",
         lambda n: {"left": f"It is on its way to {city(n)}. {message(n)}", "right": "We do not know."}),
    Kind("response", {}, "rouge_l", lambda n, text: f"Parcel {n} for {city(n)} leaves tomorrow.",
         lambda n, text: f"Nobody knows about {n}."),
    Kind("chat", {}, "rouge_l", lambda n, text: f"Parcel {n} for {city(n)} leaves tomorrow.",
         lambda n, text: f"Nobody knows about {n}.",
         lambda n: {"messages": [{"role": "user", "content": f"Where is parcel {n}?"},
                                 {"role": "assistant", "content": "To which city?"},
                                 {"role": "user", "content": f"To {city(n)}. {message(n)}"}]}),
]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_from_a_file_to_an_exported_snapshot(
        kind: Kind, alice: User, bob: User, run_jobs: Callable[[], None], label_studio_server: Server,
        settings: Any, tmp_path: Path) -> None:
    settings.GOLDPAN_LABEL_STUDIO_URL = label_studio_server.url
    LabelStudioToken.objects.create(url=label_studio_server.url, token_encrypted=encrypt(label_studio_server.token))
    here = task_type(kind.name)

    def done(job: Job) -> dict[str, Any]:
        run_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.succeeded, job.error
        return dict(job.result)

    # Alice opens the project; Bob brings the texts in and asks three people about each of them.
    project = create_project(name=f"All of {kind.name}", task_type=kind.name, schema=kind.schema, created_by=alice,
                             instructions="Be kind.", target_metric=kind.metric, target_value=0.8, split_salt="tests")
    add_member(project, bob, Role.curator, by=alice)
    for name in ("erin", "frank", "grace"):
        add_member(project, User.objects.create_user(name), Role.annotator, by=alice)
    LabelingRules.objects.create(project=project, open_limit=100)
    lines = [{"key": f"k{n:02}", "text": message(n), **kind.fields(n)} for n in range(N)]
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    upload = receive_upload(project, file, name="texts.jsonl", kind="examples", by=bob)
    assert upload.n_bad == 0, upload.bad_rows
    assert done(start_import(upload, by=bob))["n_examples"] == N
    batch = create_batch(project, Example.objects.filter(project=project).values_list("pk", flat=True), title="all",
                         by=bob, overlap=Overlap(3, 0, 3, 3))
    assert done(start_sync(project, by=bob))["n_handed_out"] == 3 * N

    # They answer. Grace is wrong about every sixth.
    server = LabelStudio(label_studio_server.url, label_studio_server.token)
    for assignment in Assignment.objects.select_related("annotator", "example"):
        n, text = int(assignment.example.key[1:]), assignment.example.text
        is_wrong = assignment.annotator.name == "grace" and n % 6 == 0
        answer = kind.wrong(n, text) if is_wrong else kind.right(n, text)
        assert assignment.ls_task_id and assignment.annotator.ls_user_id
        server.answer(assignment.ls_task_id, here.to_result(answer), assignment.annotator.ls_user_id, 3.0)
    found = done(start_sync(project, by=bob))
    assert (found["n_new"], found["n_unreadable"]) == (3 * N, 0)
    assert done(start_sync(project, by=bob, reconcile=True))["are_equal"]
    progress = progress_of(batch)
    assert (progress.n_done, progress.n_answered) == (N, 3 * N)
    values = {(row.example.key, row.annotator.name): row.value
              for row in Annotation.objects.select_related("example", "annotator")}
    assert values["k01", "erin"] == here.canonical(kind.right(1, Example.objects.get(key="k01").text))

    # What two of three say stands; what is left open waits for Bob, who settles it.
    done(start_score(project, by=bob))
    report = latest_report(project)
    assert report is not None and report.n_examples == N
    for example in Example.objects.filter(pk__in=[one.example_id for one in adjudication_queue(project)]):
        value = kind.right(int(example.key[1:]), example.text)
        decide(example, verdict="relabel", value=here.to_completion(value, source=example.text), by=bob, report=report)

    # The gold set is frozen, Alice approves exactly its bytes, and it leaves as files that can be trained on.
    save_rule(gold_set_of(project), size=15, min_quality=0, min_per_label=1, allow_flagged=True, seed=0, by=bob)
    done(start_freeze(project, by=bob))
    snapshot = Snapshot.objects.get(project=project)
    for judged in judged_checks(snapshot):
        if not judged.is_green:  # thirty texts are too few to be balanced
            assert judged.check.name == "balance", judged.check
            override_check(snapshot, name="balance", n=judged.check.n, reason="A short test.", by=alice)
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=alice)
    assert snapshot.counts["train"] == 15 and snapshot.counts["dev"] and snapshot.counts["test"]
    write_export(snapshot, "trl", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    for row in snapshot.rows.select_related("example"):
        value = here.parse_completion(row.label, project.schema, source=row.example.text)
        here.validate_value(value, project.schema, text=row.example.text)
        assert value == here.canonical(kind.right(int(row.example.key[1:]), row.example.text)), row.example.key
