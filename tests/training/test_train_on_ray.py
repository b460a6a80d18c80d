"""Training on a Ray cluster, with a cluster that does what it is told; the real one is in tests/drill."""

import json

import pytest
from django.conf import settings

from jobs import services as jobs
from jobs.models import Job
from tests.training.elsewhere import HEX, receipt_of, write_result
from training.bundle import SUMS
from training.elsewhere import AT_CAP
from training.language_model import file_sha256
from training.models import Adapter, Run
from training.ray_jobs import Look
from training.services.bundles import bundle_of
from training.services.runs import keep_best, live_metrics, log_tail, raise_cap, start_training


class FakeCluster:
    """Answers `look` with what was planned, one after the other, the last one for ever; `done` leaves a result."""

    def __init__(self):
        self.looks, self.submitted, self.stopped, self.on_look = [Look("succeeded", exit_code=0)], [], [], None
        self.folder, self.said = None, "epoch 1\nall well"

    def submit(self, name, folder, arguments, *, cpus, gpus):
        self.submitted.append((name, arguments, cpus, gpus))
        self.folder = folder

    def look(self, name):
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if self.on_look:
            self.on_look(look)
        if isinstance(look, Exception):
            raise look
        if look.state == "succeeded":
            self.leave_result()
        return look

    def leave_result(self):
        about = json.loads((self.folder / "bundle.json").read_text())
        write_result(self.folder / "result", bundle=file_sha256(self.folder / SUMS), receipt=receipt_of(),
                     **{name: about[name] for name in ("snapshot_sha256", "config_sha256")})

    def log(self, name):
        return self.said

    def stop(self, name):
        self.stopped.append(name)


@pytest.fixture
def cluster(monkeypatch, settings):
    fake = FakeCluster()
    settings.GOLDPAN_EXECUTORS = ["local", "ray"]
    monkeypatch.setattr("training.services.executors.ray_jobs.Cluster", lambda: fake)
    monkeypatch.setattr("training.services.executors.RAY_POLL_SECONDS", 0)
    monkeypatch.setattr("training.language_model.model_identity", lambda folder: f"tiny@sha256:{HEX}")
    return fake


@pytest.fixture
def run(judged, alice, cluster):
    return start_training(judged, by=alice, executor="ray")


def work(run):
    jobs.run(run.job_id, heartbeat=False)
    return Job.objects.get(pk=run.job_id)


def test_a_run_is_submitted_followed_and_its_result_taken(run, cluster):
    cluster.looks = [Look("waiting"), Look("running"), Look("succeeded", exit_code=0)]
    job = work(run)
    assert job.state == "succeeded", job.error
    name = run.submissions.get().remote_id
    given = ["--model", str(settings.GOLDPAN_BASE_MODEL), "--processes", "1"]
    assert cluster.submitted == [(name, given, settings.GOLDPAN_THREADS, 0)]
    assert name.startswith(f"goldpan-run-{run.pk}-")
    adapter = Adapter.objects.get(run=run)
    assert set(adapter.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert live_metrics(Run.objects.get(pk=run.pk))[-1] == {"step": 2, "loss": 1.25}
    assert Job.objects.filter(kind="evaluate").count() == 1


def test_progress_log_and_loss_are_seen_on_the_runs_page_while_it_trains(run, cluster):
    seen = []

    def look(state):
        (cluster.folder / "work").mkdir(exist_ok=True)
        (cluster.folder / "work" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
        now = Run.objects.select_related("job").get(pk=run.pk)
        seen.append((now.job.stage, now.job.done, live_metrics(now), log_tail(now)))

    cluster.looks, cluster.on_look = [Look("running"), Look("running"), Look("succeeded", exit_code=0)], look
    work(run)
    stage, done, points, log = seen[-1]
    assert (stage, done, points) == ("Training on the cluster", 1, [{"step": 1, "loss": 2.5}])
    assert log == "epoch 1\nall well"


def test_a_worker_that_comes_after_a_dead_one_goes_on_with_the_same_job(run, cluster):
    def die(look):
        Job.objects.filter(pk=run.job_id).update(state="queued", fence=7, lease_expires_at=None)  # as the tick does
        cluster.on_look = None

    cluster.looks, cluster.on_look = [Look("running"), Look("running"), Look("succeeded", exit_code=0)], die
    work(run)
    assert not Adapter.objects.exists() and cluster.stopped == []
    assert work(run).state == "succeeded"
    assert len(cluster.submitted) == 1 and run.submissions.count() == 1


def test_a_job_whose_node_died_is_submitted_again_under_another_name(run, cluster):
    cluster.looks = [Look("running"), Look("failed", was_lost=True, message="the node died"),
                     Look("succeeded", exit_code=0)]
    assert work(run).state == "succeeded"
    names = [name for name, *_ in cluster.submitted]
    assert len(set(names)) == 2 and list(run.submissions.values_list("remote_id", flat=True)) == names


def test_a_job_that_keeps_dying_is_given_up(run, cluster):
    cluster.looks = [Look("failed", was_lost=True, message="the node died")]
    job = work(run)
    assert job.state == "failed" and "the node died" in job.error and len(cluster.submitted) == 3


def test_what_run_py_refuses_is_said_in_its_words_and_not_tried_again(run, cluster):
    cluster.looks = [Look("failed", exit_code=2)]
    cluster.said = "Starting\nWhere is tiny? Name its folder with --model."
    job = work(run)
    assert (job.state, job.error) == ("failed", "Where is tiny? Name its folder with --model.")
    assert len(cluster.submitted) == 1


def test_a_failed_run_can_run_again_and_is_submitted_anew(run, cluster):
    cluster.looks = [Look("failed", exit_code=1)]
    assert work(run).state == "failed"
    jobs.retry(Job.objects.get(pk=run.job_id))
    cluster.looks = [Look("failed", exit_code=1), Look("succeeded", exit_code=0)]
    assert work(run).state == "succeeded" and len(cluster.submitted) == 2


def test_a_cancelled_run_is_stopped_on_the_cluster(run, cluster):
    cluster.looks = [Look("running")]
    cluster.on_look = lambda look: Job.objects.filter(pk=run.job_id, state="running").update(state="cancelling")
    assert work(run).state == "cancelled"
    assert cluster.stopped == [run.submissions.get().remote_id]


def test_a_cluster_that_is_silent_for_a_while_is_waited_for(run, cluster, monkeypatch):
    cluster.looks = [ConnectionError(), Look("running"), Look("succeeded", exit_code=0)]
    assert work(run).state == "succeeded"


def test_a_cluster_that_stays_silent_is_given_up(run, cluster, monkeypatch):
    monkeypatch.setattr("training.services.executors.RAY_SILENT_SECONDS", -1)
    cluster.looks = [ConnectionError()]
    job = work(run)
    assert job.state == "failed" and "has not answered" in job.error


def test_without_a_cluster_it_says_what_to_do(judged, alice, settings, monkeypatch):
    settings.GOLDPAN_EXECUTORS = ["ray"]

    def nobody():
        raise ValueError("No Ray cluster answers.")

    monkeypatch.setattr("training.services.executors.ray_jobs.Cluster", nobody)
    assert "No Ray cluster answers." in work(start_training(judged, by=alice, executor="ray")).error


def test_a_result_that_was_changed_in_the_shared_folder_is_not_taken(run, cluster):
    whole = cluster.leave_result

    def tampered():
        whole()
        (cluster.folder / "result" / "metrics.jsonl").write_text('{"step": 2, "loss": 0}\n')

    cluster.leave_result = tampered
    job = work(run)
    assert job.state == "failed" and "metrics.jsonl: not the bytes" in job.error and not Adapter.objects.exists()


def stopped_at_cap(cluster):
    """Looks of a job that stops at its cap, and what it leaves in its folder then."""
    def leave(look):
        if look.exit_code == AT_CAP:
            (cluster.folder / "work").mkdir(exist_ok=True)
            (cluster.folder / "work" / "result.json").write_text(json.dumps({"result": {
                "stopped_at_cap": True, "steps": 1, "n_steps": 12, "n_epochs": 1, "best_dev": 0.75,
                "chosen_by": "dev_calibrated", "peak_mb": 99.0, "spent_seconds": 60.0, "cpu_seconds": 50.0}}))

    cluster.looks, cluster.on_look = [Look("failed", exit_code=AT_CAP)], leave


def test_a_run_stops_there_at_its_cap_and_goes_on_with_a_higher_one(judged, alice, cluster):
    run = start_training(judged, by=alice, executor="ray", cap_seconds=60)
    stopped_at_cap(cluster)
    job = work(run)
    assert job.state == "failed" and job.error.startswith("Stopped at its cap of") and len(cluster.submitted) == 1
    run = Run.objects.get(pk=run.pk)
    raise_cap(run, by=alice, seconds=600)
    cluster.looks, cluster.on_look = [Look("failed", exit_code=AT_CAP), Look("succeeded", exit_code=0)], None
    assert work(run).state == "succeeded"
    assert json.loads(bundle_of(run).files["bundle.json"])["cap_seconds"] == 600
    assert len(set(run.submissions.values_list("bundle_id", flat=True))) == 2  # the cap is in the bundle
    assert [(one.quote, one.is_whole) for one in run.receipts.all()] == [(None, True), (None, False)]


def test_or_its_best_epoch_there_is_kept(judged, alice, cluster):
    run = start_training(judged, by=alice, executor="ray", cap_seconds=60)
    stopped_at_cap(cluster)
    work(run)
    run = Run.objects.get(pk=run.pk)
    keep_best(run, by=alice)
    cluster.looks, cluster.on_look = [Look("failed", exit_code=AT_CAP), Look("succeeded", exit_code=0)], None
    assert work(run).state == "succeeded" and cluster.submitted[-1][1][-1] == "--finish"
    assert not run.receipts.first().is_whole
