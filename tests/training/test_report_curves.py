import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from goldpan.checks import check_settings
from jobs import services as jobs
from jobs.models import Job
from jobs.progress import silent
from projects.errors import UserError
from tests.training.story import start_quoted
from training.services.reports import require_allowed
from training.trackers import KEYS, TRACKERS, mirror, numbers_of

LINES = [{"step": 1, "loss": 2.5, "metric": "accuracy"}, {"step": 2, "loss": 1.25},
         {"step": 2, "epoch": 1, "dev_accuracy": 0.875}]


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return {"metrics_file": str(tmp_path / "metrics.jsonl"), "project": "goldpan-Moods", "run": "run-7",
            "settings": {"r": 8}, "logs": str(tmp_path / "logs")}


def test_only_numbers_are_copied():
    assert numbers_of({"step": 1, "loss": 2, "metric": "accuracy", "done": True, "a b?": 0.5}) == {
        "loss": 2.0, "a b_": 0.5}
    assert set(KEYS) == set(TRACKERS)


def test_tensorboard_has_the_curve_once_however_often_it_is_copied(spec, tmp_path):
    pytest.importorskip("tensorboard", reason="requirements-trackers.txt is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    for _ in range(2):
        answer = mirror({**spec, "trackers": ["tensorboard"]}, tmp_path, silent)
    read = EventAccumulator(answer["trackers"]["tensorboard"]["place"], size_guidance={"tensors": 0})
    read.Reload()
    assert sorted(read.Tags()["tensors"]) == ["dev_accuracy", "epoch", "loss"]
    assert [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in read.Tensors("loss")] == [
        (1, 2.5), (2, 1.25)]


class FakeMlflow(BaseHTTPRequestHandler):
    """The five calls of MLflow's REST API that a copy makes."""

    said: list[tuple[str, dict]] = []
    run = {"info": {"run_id": "r1", "experiment_id": "1", "status": "RUNNING"}, "data": {}}

    def answer(self, content):
        path = self.path.split("?")[0].rsplit("mlflow/", 1)[-1]
        self.said.append((path, content))
        if path == "experiments/get-by-name":
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        return 200, {"experiments/create": {"experiment_id": "1"}}.get(path, {"run": self.run, "run_info":
                                                                              self.run["info"]})

    def do_GET(self):
        self.reply(*self.answer({}))

    def do_POST(self):
        self.reply(*self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def reply(self, status, data):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def test_mlflow_gets_numbers_and_settings_by_its_api(spec, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="requirements-trackers.txt is not installed")
    FakeMlflow.said = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeMlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    answer = mirror({**spec, "trackers": ["mlflow"]}, tmp_path, silent)
    server.shutdown()
    assert answer["trackers"]["mlflow"] == {"place": "experiment “goldpan-Moods”, run r1"}, answer
    batches = [content for path, content in FakeMlflow.said if path == "runs/log-batch"]
    assert [one["value"] for batch in batches for one in batch.get("params", [])] == ["8"]
    assert {(one["key"], one["step"], one["value"]) for batch in batches for one in batch.get("metrics", [])} == {
        ("loss", 1, 2.5), ("loss", 2, 1.25), ("epoch", 2, 1.0), ("dev_accuracy", 2, 0.875)}


def test_wandb_writes_the_run_without_the_rest_of_the_machine(spec, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="requirements-trackers.txt is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    answer = mirror({**spec, "trackers": ["wandb"]}, tmp_path, silent)
    assert answer["trackers"]["wandb"]["place"].startswith("project goldpan-Moods, run "), answer
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert not list((tmp_path / "wandb").rglob("requirements.txt"))


def test_one_tracker_that_fails_hides_no_other(spec, tmp_path, monkeypatch):
    def broken(*_):
        raise ConnectionError("away")

    monkeypatch.setitem(TRACKERS, "mlflow", broken)
    monkeypatch.setitem(TRACKERS, "tensorboard", lambda *_: "there")
    assert mirror({**spec, "trackers": ["mlflow", "tensorboard"]}, tmp_path, silent) == {"trackers": {
        "mlflow": {"error": "ConnectionError: away"}, "tensorboard": {"place": "there"}}}


# The job behind a training

@pytest.fixture
def asked(monkeypatch):
    """What the child was given."""
    calls = []

    def child(module, spec, *, folder, progress, environment):
        calls.append((module, spec, environment))
        return {"trackers": {name: {"place": "there"} for name in spec["trackers"]}}

    monkeypatch.setattr("training.services.reports.run_child", child)
    return calls


def trained(judged, alice, run_jobs):
    run = start_quoted(judged, by=alice)
    run_jobs()
    return run


def test_by_default_nothing_is_copied(judged, alice, run_jobs, asked):
    trained(judged, alice, run_jobs)
    assert asked == [] and not Job.objects.filter(kind="report").exists()


def test_a_training_is_followed_by_a_copy_with_numbers_only(judged, alice, run_jobs, asked, settings, monkeypatch):
    settings.GOLDPAN_REPORT_TO = ["tensorboard", "wandb"]
    settings.GOLDPAN_ALLOWED_ORIGINS = ["https://api.wandb.ai"]
    monkeypatch.setenv("WANDB_API_KEY", "key")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "another")
    run = trained(judged, alice, run_jobs)
    (module, spec, environment), = asked
    assert module == "training.trackers" and environment == {"WANDB_API_KEY": "key"}
    assert spec["settings"]["r"] == 8 and "prompt" not in json.dumps(spec)
    assert (spec["project"], spec["run"]) == ("goldpan-Moods", f"run-{run.pk}")
    assert Job.objects.get(kind="report").result["places"] == {"tensorboard": "there", "wandb": "there"}


def test_a_tracker_that_is_away_costs_no_run(judged, alice, run_jobs, settings, monkeypatch):
    settings.GOLDPAN_REPORT_TO = ["tensorboard"]
    monkeypatch.setattr("training.services.reports.run_child", lambda *_, **__: {
        "trackers": {"tensorboard": {"error": "OSError: disk full"}}})
    run = trained(judged, alice, run_jobs)
    assert run.adapter.pk and Job.objects.get(kind="evaluate").state == "succeeded"
    job = Job.objects.get(kind="report")
    assert job.state == "failed" and "disk full" in job.error and "the run itself is not touched" in job.error
    jobs.retry(job)


@pytest.mark.parametrize(("name", "variables", "origins", "words"), [
    ("neptune", {}, [], "it knows tensorboard"),
    ("mlflow", {}, ["https://mlflow.example.org"], "would go to “”"),
    ("mlflow", {"MLFLOW_TRACKING_URI": "file:///etc"}, ["file:///etc"], "would go to “file:///etc”"),
    ("mlflow", {"MLFLOW_TRACKING_URI": "https://mlflow.example.org.evil.com"}, ["https://mlflow.example.org"], "evil"),
    ("wandb", {}, [], "would go to “https://api.wandb.ai”")])
def test_only_allowed_places_get_a_curve(settings, monkeypatch, name, variables, origins, words):
    for key in KEYS["mlflow"] + KEYS["wandb"]:
        monkeypatch.delenv(key, raising=False)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    settings.GOLDPAN_ALLOWED_ORIGINS, settings.GOLDPAN_REPORT_TO = origins, [name]
    with pytest.raises(UserError, match=words):
        require_allowed(name)
    assert "goldpan.E007" in {message.id for message in check_settings()}


def test_an_executor_that_nobody_knows_stops_every_command(settings):
    settings.GOLDPAN_EXECUTORS = ["local", "slurm"]
    assert [message.msg for message in check_settings() if message.id == "goldpan.E006"] == [
        "GOLDPAN_EXECUTORS names slurm, which nobody knows."]
