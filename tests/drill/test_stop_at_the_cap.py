"""A training of the real small model that has half the time it needs: it stops, says so, and goes on when it may."""

import json
from itertools import pairwise

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from jobs import services as jobs
from jobs.models import Job
from projects.objects import open_object
from tests.drill.installation import need_model
from tests.training.kinds import KINDS, approved
from tests.training.story import quoted
from training.checkpoints import checkpoint_step, newest_verified
from training.models import Adapter, Run
from training.services.runs import live_metrics, raise_cap, start_training

pytestmark = [pytest.mark.drill, pytest.mark.models]
CHECKPOINT_STEPS, N_STEPS = 4, 24
CONFIG = {"epochs": 2, "batch_size": 4, "checkpoint_steps": CHECKPOINT_STEPS, "threads": 1}
ENOUGH = 3600


def test_a_cap_stops_within_one_checkpoint_and_a_higher_one_goes_on_to_the_same_end(alice: User, bob: User) -> None:
    need_model()
    snapshot = approved(KINDS["classification"], admin=alice, curator=bob, n_pool=48, n_dev=6, n_test=20)
    quoted(snapshot, alice, **CONFIG)

    def start(cap_seconds: float) -> Run:
        run = start_training(snapshot, by=alice, config=CONFIG, override_reason="A drill.", cap_seconds=cap_seconds)
        jobs.run(run.job_id, heartbeat=False)
        return Run.objects.get(pk=run.pk)

    whole = Adapter.objects.get(run=start(ENOUGH)).receipt
    cap = whole["spent_seconds"] - whole["dev_seconds"] - whole["train_seconds"] / 2
    run = start(cap)

    assert run.job.state == Job.State.failed and run.job.error.startswith("Stopped at its cap of")
    [receipt] = run.receipts.all()
    assert not receipt.is_whole and 1 <= receipt.steps < N_STEPS == receipt.found["n_steps"]
    interval = CHECKPOINT_STEPS * max(seconds_of_steps(run))
    assert cap <= receipt.seconds <= cap + interval, f"a checkpoint's interval is {interval:.1f} s"
    folder = settings.GOLDPAN_JOBS / str(run.job_id) / str(run.job.fence)
    newest = newest_verified(folder / "checkpoints")
    assert newest is not None and checkpoint_step(newest) == receipt.steps
    assert not Adapter.objects.filter(run=run).exists()

    raise_cap(run, by=alice, seconds=ENOUGH)
    jobs.run(run.job_id, heartbeat=False)
    adapter = Adapter.objects.get(run=run)
    assert adapter.receipt["resumed_from"] == receipt.steps and adapter.receipt["steps"] == N_STEPS
    assert adapter.receipt["loss_last"] == pytest.approx(whole["loss_last"], abs=1e-4)
    assert adapter.receipt["files"] == whole["files"]
    with open_object(settings.GOLDPAN_OBJECTS, adapter.metrics_sha256) as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, N_STEPS + 1))
    newer, older = run.receipts.all()
    assert newer.is_whole and not older.is_whole and newer.seconds > older.seconds


def seconds_of_steps(run: Run) -> list[float]:
    """How long each step of a run that stands still took, behind the first."""
    ends = [line["seconds"] for line in live_metrics(run) if "loss" in line]
    return [later - earlier for earlier, later in pairwise(ends)] or ends
