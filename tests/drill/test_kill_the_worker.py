"""kill -9 of the worker, with everything it started, in the middle of an import, of scoring and of training."""

import math
import os
import signal
from collections.abc import Iterator

import pytest

from tests.drill.conftest import Install
from tests.drill.installation import KILLS, JobRow, KillableInstallation
from tests.drill.servers import wait_until
from tests.training.tiny_model import write_tiny_model

pytestmark = pytest.mark.drill

N_ROWS = 100_000


@pytest.fixture(scope="module")
def goldpan(install: Install, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableInstallation]:
    model = write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-llama")
    installation = install(GOLDPAN_BASE_MODEL=str(model))
    installation.start("tick", "worker")
    yield installation
    installation.stop()


def test_an_import_happens_whole_and_once(goldpan: KillableInstallation) -> None:
    project = goldpan.inside("add_project", name="Imports")
    examples = f"labeling_example WHERE project_id = {project}"
    labels = f"labeling_annotation WHERE example_id IN (SELECT id FROM {examples})"
    job = goldpan.inside("queue_import", project=project, n=N_ROWS, salt="whole")
    halfway = goldpan.random.randint(1, N_ROWS // 2)
    for is_the_moment in (lambda row: row.stage == "Reading",
                          lambda row: row.stage == "Reading" and row.done >= halfway,
                          lambda row: row.stage == "Writing"):
        goldpan.kill_in_the_middle("worker", job, is_the_moment, within_seconds=0.3)
        assert goldpan.count(examples) == goldpan.count(labels) == 0
        goldpan.wipe_the_queue()
        goldpan.start("worker")
    ended = goldpan.wait_for(job)
    assert ended.result == {"n_examples": N_ROWS, "n_annotations": N_ROWS} and ended.attempt == 4
    assert goldpan.count(examples) == goldpan.count(labels) == N_ROWS
    assert n_audited(goldpan, project, "import") == 1
    goldpan.assert_all_is_well()


def n_audited(goldpan: KillableInstallation, project: int, what: str) -> int:
    return goldpan.count(f"projects_auditevent WHERE project_id = {project} AND what = '{what}'")


def test_a_process_of_the_worker_that_dies_alone_is_replaced(goldpan: KillableInstallation) -> None:
    job = goldpan.inside("queue_import", project=goldpan.inside("add_project", name="One dies"), n=N_ROWS, salt="one")
    goldpan.wait_for_moment(job, lambda row: row.stage == "Reading")
    [(owner,)] = goldpan.rows(f"SELECT owner FROM jobs_job WHERE id = {job}")
    os.kill(int(owner.rsplit(":")[-1]), signal.SIGKILL)
    KILLS["one process of the worker"] += 1
    assert goldpan.wait_for(job).attempt == 2
    assert goldpan.count("labeling_example WHERE key LIKE 'one-%'") == N_ROWS
    goldpan.assert_all_is_well()


def test_a_worker_that_slept_past_its_lease_changes_nothing(goldpan: KillableInstallation) -> None:
    job = goldpan.inside("queue_import", project=goldpan.inside("add_project", name="Sleeps"), n=N_ROWS, salt="sleep")
    goldpan.wait_for_moment(job, lambda row: row.stage == "Reading")
    sleeper = goldpan.processes["sleeper"] = goldpan.processes.pop("worker")
    os.killpg(sleeper.pid, signal.SIGSTOP)
    assert goldpan.job(job).state == "running", "it fell asleep too late"
    goldpan.start("worker")
    assert goldpan.wait_for(job).attempt == 2
    os.killpg(sleeper.pid, signal.SIGCONT)
    log = goldpan.data / "worker.log"
    wait_until(lambda: f"job {job}: the lease is lost, this attempt (fence 1) stops" in log.read_text(), "the refusal")
    goldpan.kill("sleeper")
    assert goldpan.count("labeling_example WHERE key LIKE 'sleep-%'") == N_ROWS
    assert goldpan.count(f"jobs_jobevent WHERE job_id = {job} AND what = 'succeeded'") == 1
    goldpan.assert_all_is_well()


def test_scoring_writes_one_report(goldpan: KillableInstallation) -> None:
    n = 15_000  # so that every stage lasts long enough to be seen on a busy machine
    project = goldpan.inside("add_project", name="Scores")
    goldpan.inside("add_examples", project=project, n=n, salt="scores")
    job = goldpan.inside("queue_score", project=project)
    reports = f"curation_qualityreport WHERE project_id = {project}"
    for is_the_moment in (lambda row: row.stage == "Embedding",
                          lambda row: row.stage not in ("Starting", "Embedding", "Writing the report"),
                          lambda row: row.stage == "Writing the report"):
        goldpan.kill_in_the_middle("worker", job, is_the_moment, within_seconds=0.2)
        assert goldpan.count(reports) == 0
        goldpan.start("worker")
    goldpan.wait_for(job)
    assert goldpan.count(reports) == goldpan.count(f"{reports} AND job_id = {job} AND n_examples = {n}") == 1
    assert goldpan.count(f"curation_examplescore WHERE report_id IN (SELECT id FROM {reports})") == n
    assert goldpan.count("curation_embedding WHERE encoder LIKE 'hashing%'") == n
    assert n_audited(goldpan, project, "score") == 1
    goldpan.assert_all_is_well()


@pytest.mark.models
def test_embedding_with_the_real_model_is_taken_up_again(goldpan: KillableInstallation) -> None:
    n = 2200
    project = goldpan.inside("add_project", name="Real embeddings")
    goldpan.inside("add_examples", project=project, n=n, salt="real")
    with_minilm = goldpan.environment | {"GOLDPAN_ENCODER": "curation.encoder.MiniLMEncoder"}
    hashing, goldpan.environment = goldpan.environment, with_minilm
    goldpan.kill("worker")
    goldpan.start("worker")
    job = goldpan.inside("queue_score", project=project)
    goldpan.kill_in_the_middle("worker", job, lambda row: row.stage == "Embedding")
    goldpan.start("worker")
    goldpan.wait_for(job)
    assert goldpan.count(f"curation_qualityreport WHERE job_id = {job} AND n_examples = {n}") == 1
    assert goldpan.count("curation_embedding WHERE encoder LIKE 'all-MiniLM%'") == n
    goldpan.assert_all_is_well()
    goldpan.environment = hashing
    goldpan.kill("worker")
    goldpan.start("worker")


def test_training_goes_on_from_a_checkpoint_and_ends_as_if_nothing_had_happened(goldpan: KillableInstallation) -> None:
    project = goldpan.inside("add_project", name="Training")
    goldpan.inside("add_examples", project=project, n=1200, salt="training")
    goldpan.inside("add_blind_labels", project=project)
    snapshot = goldpan.inside("approved_snapshot", project=project, size=400)
    config = {"epochs": 3, "batch_size": 4, "checkpoint_steps": 15, "dev_rows": 50, "threads": 1}
    n_steps = 3 * 400 // 4

    unbroken = goldpan.inside("queue_training", snapshot=snapshot, config=config)
    assert goldpan.wait_for(unbroken).result["resumed_from"] == 0

    broken = goldpan.inside("queue_training", snapshot=snapshot, config=config)
    for share in (0.1, 0.4, 0.6):
        moment = goldpan.random.randint(round(share * n_steps), round((share + 0.2) * n_steps))

        def has_come(row: JobRow, moment: int = moment) -> bool:
            return row.stage == "Training" and row.done >= moment

        goldpan.kill_in_the_middle("worker", broken, has_come)
        goldpan.start("worker")
    ended = goldpan.wait_for(broken)
    assert ended.attempt == 4 and ended.result["resumed_from"] > 0 and ended.result["steps"] == n_steps
    first, second = goldpan.inside("receipts", snapshot=snapshot)
    assert math.isclose(first["loss_last"], second["loss_last"], abs_tol=1e-4)
    assert [row["dev_loss"] for row in first["epochs"]] == pytest.approx(
        [row["dev_loss"] for row in second["epochs"]], abs=1e-4)
    assert goldpan.count("training_adapter") == n_audited(goldpan, project, "trained") == 2
    for kind in ("evaluate", "general_check"):  # the one asks for the other
        for check, in goldpan.rows(f"SELECT id FROM jobs_job WHERE kind = '{kind}'"):
            goldpan.wait_for(check)
    assert goldpan.count("training_testlook") == n_audited(goldpan, project, "evaluate") == 2
    goldpan.assert_all_is_well()
