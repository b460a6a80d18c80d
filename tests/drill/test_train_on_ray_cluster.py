"""A training as a job of a real Ray cluster of two nodes: the same adapter as here, and a node that dies costs time."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import services as jobs
from jobs.child import run_child
from jobs.models import Job
from tests.training.conftest import judged, model, snapshot, tiny_folder  # noqa: F401
from training.checkpoints import newest_verified
from training.models import Adapter
from training.services.bundles import finetune_spec
from training.services.runs import start_training

ray = pytest.importorskip("ray", reason="requirements-ray.txt is not installed")
pytestmark = pytest.mark.drill

CONFIG = {"epochs": 12, "batch_size": 8, "checkpoint_steps": 2, "threads": 1, "dev_rows": 2}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that takes no work and two nodes that do; their processes find this Python as `python`."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started = Cluster(initialize_head=True, head_node_args={
        "num_cpus": 0, "include_dashboard": True, "dashboard_port": 0, "object_store_memory": 200_000_000})
    for _ in range(2):
        started.add_node(num_cpus=1, object_store_memory=200_000_000)
    started.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", started.address)
    yield started
    started.shutdown()


@pytest.fixture
def run(judged: Any, alice: Any, settings: Any, tiny_folder: Path) -> Any:  # noqa: F811
    settings.GOLDPAN_EXECUTORS, settings.GOLDPAN_BASE_MODEL = ["ray"], tiny_folder
    return start_training(judged, by=alice, executor="ray", config=CONFIG)


def folder_of(run: Any, settings: Any) -> Path:
    return settings.GOLDPAN_JOBS / str(run.job_id)


def trained_here(run: Any, folder: Path) -> dict[str, Any]:
    from training.services.bundles import split_rows

    folder.mkdir()
    for split, rows in split_rows(run.snapshot).items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_child("training.finetune", finetune_spec(run.config, folder), folder=folder / "work")


def test_the_cluster_trains_the_same_adapter(cluster: Any, run: Any, tmp_path: Path) -> None:
    jobs.run(run.job_id, heartbeat=False)
    job = Job.objects.get(pk=run.job_id)
    assert job.state == "succeeded", job.error
    adapter, here = Adapter.objects.get(run=run), trained_here(run, tmp_path / "here")
    assert adapter.files["adapter_model.safetensors"] == here["files"]["adapter_model.safetensors"]
    assert run.submissions.get().remote_id.startswith(f"goldpan-run-{run.pk}-")


def test_a_node_that_dies_in_the_middle_costs_nothing_but_time(cluster: Any, run: Any, settings: Any,
                                                              tmp_path: Path) -> None:
    """The driver dies with its node; the job is submitted again and resumes from the last checkpoint."""
    kept = folder_of(run, settings) / "ray" / "work" / "checkpoints"

    def kill() -> None:
        from ray.job_submission import JobSubmissionClient

        while newest_verified(kept) is None:
            time.sleep(0.05)
        (job,) = JobSubmissionClient().list_jobs()
        cluster.remove_node(next(node for node in cluster.worker_nodes if node.node_id == job.driver_node_id),
                            allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    jobs.run(run.job_id, heartbeat=False)
    killer.join(60)
    done = Job.objects.get(pk=run.job_id)
    assert done.state == "succeeded", done.error
    assert run.submissions.count() == 2, "the node died before the training had ended"
    adapter, here = Adapter.objects.get(run=run), trained_here(run, tmp_path / "here")
    assert adapter.receipt["resumed_from"] > 0
    assert adapter.receipt["loss_last"] == pytest.approx(here["loss_last"], abs=1e-4)
