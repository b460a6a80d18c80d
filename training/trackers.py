"""Copies of a learning curve for people who watch their runs in TensorBoard, MLflow or Weights & Biases.

The curve itself stays in metrics.jsonl; what leaves are its numbers and the run's settings, never a text or a label.
Runs as a child, `python -m training.trackers <folder>`, after a training: a tracker that is away costs no run.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.child import child_main
from jobs.progress import Progress

Rows = Sequence[Mapping[str, Any]]
KEYS = {  # tracker → the names of its own environment variables that its child is given
    "tensorboard": (),
    "mlflow": ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    "wandb": ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY"),
}
WANDB_URL = "https://api.wandb.ai"  # where it goes unless WANDB_BASE_URL names another


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a line of the learning curve but its step, by names that every tracker takes."""
    return {re.sub(r"[^\w./ -]", "_", name): float(value) for name, value in row.items()
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)}


def mirror(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Copy the curve to every tracker that the spec names; returns tracker → where it is, or what went wrong.

    spec: "trackers", "metrics_file", "project" and "run" (names for people), "settings" (name → value), "logs" (the
    folder of TensorBoard's files).
    """
    rows = [json.loads(line) for line in Path(spec["metrics_file"]).read_text().split("\n") if line]
    answers = {}
    for number, name in enumerate(spec["trackers"]):
        progress(f"Copying the learning curve to {name}", number, len(spec["trackers"]))
        try:
            answers[name] = {"place": TRACKERS[name](spec, rows, folder)}
        except ImportError:
            answers[name] = {"error": f"{name} is not installed: pip install -r requirements-trackers.txt"}
        except Exception as error:  # each has errors of its own, and none may hide the others
            answers[name] = {"error": f"{type(error).__name__}: {error}"[:500]}
    return {"trackers": answers}


def _tensorboard(spec: Mapping[str, Any], rows: Rows, folder: Path) -> str:
    from tensorboard.summary import Writer

    place = Path(spec["logs"]) / spec["run"]
    for earlier in place.glob("events.out.tfevents.*"):  # copied before: the curve is the same or longer
        earlier.unlink()
    writer = Writer(str(place))
    for row in rows:
        for name, value in numbers_of(row).items():
            writer.add_scalar(name, value, row["step"])
    writer.close()
    return str(place)


def _mlflow(spec: Mapping[str, Any], rows: Rows, folder: Path) -> str:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient()
    experiment = client.get_experiment_by_name(spec["project"])
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(spec["project"])
    run = client.create_run(experiment_id, run_name=spec["run"])
    client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in spec["settings"].items()])
    metrics = [Metric(name, value, 0, row["step"]) for row in rows for name, value in numbers_of(row).items()]
    for start in range(0, len(metrics), 1000):  # the most that one request may hold
        client.log_batch(run.info.run_id, metrics=metrics[start:start + 1000])
    client.set_terminated(run.info.run_id)
    return f"experiment “{spec['project']}”, run {run.info.run_id}"


def _wandb(spec: Mapping[str, Any], rows: Rows, folder: Path) -> str:
    import wandb

    quiet = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True,
                           x_disable_meta=True, x_save_requirements=False, init_timeout=60)
    run = wandb.init(project=spec["project"], name=spec["run"], dir=str(folder), config=dict(spec["settings"]),
                     settings=quiet)
    for step in sorted({row["step"] for row in rows}):  # its steps only go up, and a step is one line
        merged: dict[str, float] = {}
        for row in rows:
            if row["step"] == step:
                merged |= numbers_of(row)
        run.log(merged, step=step)
    run.finish()
    return f"project {spec['project']}, run {run.id}"


TRACKERS: dict[str, Callable[[Mapping[str, Any], Rows, Path], str]] = {
    "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


if __name__ == "__main__":
    child_main(mirror)
