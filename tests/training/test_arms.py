import json
import shutil

import pytest

from jobs.child import run_child
from tests.training.tiny_model import SCHEMA, toy_rows
from training import prompts
from training.arms import Labelled, Speed, even_steps, learn_and_judge
from training.config import TrainingConfig

PROMPT = prompts.short(SCHEMA)
CONFIG = TrainingConfig(batch_size=4, checkpoint_steps=5, learning_rate=0.01, threads=1)


def test_a_random_model_learns_so_many_steps_and_is_judged(tiny_folder, tmp_path):
    """40 rows by fours are 10 steps a pass: 13 end within the second, and a run that is cut off there ends alike."""
    rows = [Labelled(row["text"], row["label"]) for row in toy_rows(40)]
    told = []
    found = learn_and_judge(rows, rows[:9], model=tiny_folder, prompt=PROMPT, config=CONFIG, steps=13, folder=tmp_path,
                            progress=lambda *call: told.append(call))
    assert (found.n_rows, found.n_refused, found.steps, len(found.right)) == (40, 0, 13, 9)
    assert found.train_seconds > 0 and found.score_seconds > 0 and "@sha256:" in found.model
    assert told[-1] == ("Judging", 3 * 4 * 13 + 9, 165) and [done for _, done, _ in told] == sorted(
        done for _, done, _ in told)

    place, before = tmp_path / "training", metrics_of(tmp_path)
    assert [line["step"] for line in before] == [*range(1, 14), 13] and "dev_accuracy" not in before[-1]
    shutil.rmtree(place / "checkpoints" / "epoch-13")
    (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in before[:-1]))
    again = run_child("training.finetune", json.loads((place / "spec.json").read_text()), folder=place)
    assert (again["resumed_from"], again["steps"], again["best_step"]) == (10, 13, 13)
    assert again["loss_last"] == pytest.approx(before[12]["loss"], abs=1e-4)


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "training" / "metrics.jsonl").read_text().splitlines()]


def test_the_same_budget_reads_the_largest_arm_once():
    assert even_steps(4000, batch_size=8) == 500 and even_steps(4001, batch_size=8) == 501
    assert even_steps(100, batch_size=8) == 60


def test_a_speed_counts_rows_in_steps_judges_and_loading():
    speed = Speed(per_row=0.5, per_judge=0.25, loading=10)
    assert speed.seconds(steps=60, batch_size=8, n_judges=100) == 10 + 240 + 25
