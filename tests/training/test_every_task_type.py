"""Every type of task goes from an approved snapshot over prompt, gate and adapter to a comparison, on the pages, too.

The model's subprocesses are faked: they answer right, or in a way that each test says.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from curation.models import Snapshot
from jobs.progress import Progress, silent
from projects.schema import METRICS, TASK_TYPES
from tests.training.conftest import encode_here
from tests.training.kinds import KINDS, approved, completion, letter
from tests.training.story import TRIAL, start_quoted
from training.models import Adapter, Evaluation, Quote, Run, TestLook, Verdict
from training.services.baseline import NO_PROBE, start_baseline
from training.services.comparison import compare, flips, lower_bound
from training.services.promotion import promote, standing
from training.services.scoring import read_predictions

N_POOL, N_DEV, N_TEST = 12, 6, 24
NUMBER_OF = {letter(n): n for n in range(N_POOL + N_DEV + N_TEST)}


def _is_trained(spec: dict[str, Any]) -> bool:
    return bool(spec["adapter"]) or spec["model"].endswith("/merged")


class FakeModel:
    """Answers for the children: the prompt is unreadable or wrong on every other row, the adapter on none."""

    def __init__(self, kind: str) -> None:
        self.kind = KINDS[kind]
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, module: str, spec: dict[str, Any], *, folder: Path,
                 progress: Progress = silent) -> dict[str, Any]:
        self.asked.append((module, spec))
        folder.mkdir(parents=True, exist_ok=True)
        return {"training.label_scoring": self._score, "training.generation": self._write,
                "training.finetune": self._train, "training.trial": self._try,
                "training.general_suite": self._answer, "training.merging": self._merge}[module](spec, folder)

    def _answer(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        return {"base": [True] * 50, "adapter": [True] * 50, "suite_sha256": "0" * 64, "seconds": 2.0}

    def _merge(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        (folder / "merged").mkdir()
        (folder / "merged" / "model.safetensors").write_bytes(b"merged weights")
        return {"seconds": 1.0}

    def _try(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        rows = [json.loads(line) for line in Path(spec["rows_file"]).read_text().splitlines()]
        assert all(row.get("data", {}) == self.kind.data(NUMBER_OF[row["text"]]) for row in rows)
        return dict(TRIAL)

    def _numbers(self, spec: dict[str, Any]) -> list[int]:
        rows = [json.loads(line) for line in Path(spec["texts_file"]).read_text().splitlines()]
        assert all(row.get("data", {}) == self.kind.data(NUMBER_OF[row["text"]]) for row in rows)
        return [NUMBER_OF[row["text"]] for row in rows]

    def _score(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        labels = [label["name"] for label in spec["prompts"][0]["labels"]]
        numbers = self._numbers(spec)
        scores = np.full((len(numbers), len(labels)), -9.0)
        for row, n in enumerate(numbers):
            errs = not _is_trained(spec) and n % 4 < 2
            scores[row, (labels.index(self.kind.right(n)) + errs) % len(labels)] = -0.1
        np.save(folder / "scores.npy", scores)
        np.save(folder / "free.npy", np.zeros((2, len(labels))))
        return {"prompts": [{"scores": "scores.npy", "content_free": "free.npy", "seconds": 6.0, "prompt_tokens": 10}],
                "model": "tiny@sha256:00"}

    def _write(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        answers = [completion(self.kind, n) if _is_trained(spec) or n % 2 else "" for n in self._numbers(spec)]
        (folder / "a.jsonl").write_text("".join(json.dumps({"answer": answer}) + "\n" for answer in answers))
        return {"prompts": [{"answers": "a.jsonl", "seconds": 6.0, "prompt_tokens": 10, "answer_tokens": 9,
                             "n_cut": 0}], "model": "tiny@sha256:00", "max_new_tokens": 20}

    def _train(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        rows = [json.loads(line) for line in Path(spec["rows_file"]).read_text().splitlines()]
        assert {row["label"] for row in rows} == {completion(self.kind, NUMBER_OF[row["text"]]) for row in rows}
        (folder / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 2.5}) + "\n" + json.dumps(
            {"step": 1, "epoch": 1, "dev_loss": 1.5, "n_dev": 6}) + "\n")
        adapter = folder / "adapter"
        adapter.mkdir()
        (adapter / "adapter_model.safetensors").write_bytes(b"weights")
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "tiny@sha256:00"}))
        return {"steps": 1, "train_seconds": 60.0, "dev_seconds": 3.0, "tokens": 4321, "peak_mb": 1234.5,
                "loss_first": 2.5, "loss_last": 1.25, "adapter": "adapter/", "n_rows": len(rows), "best_step": 1,
                "files": {"adapter_model.safetensors": "", "adapter_config.json": ""}, "refused": [],
                "resumed_from": 0, "epochs": [], "chosen_by": "dev_loss", "spent_seconds": 70.0, "cpu_seconds": 90.0}


@pytest.fixture(params=TASK_TYPES)
def model(request, monkeypatch) -> FakeModel:
    fake = FakeModel(request.param)
    monkeypatch.setattr("training.services.scoring.run_child", fake)
    monkeypatch.setattr("training.services.executors.run_child", fake)
    monkeypatch.setattr("training.services.quotes.run_child", fake)
    monkeypatch.setattr("training.services.general.run_child", fake)
    monkeypatch.setattr("training.services.exports.run_child", fake)
    monkeypatch.setattr("curation.services.embeddings.run_child", encode_here)
    return fake


@pytest.fixture
def snapshot(model, alice, bob) -> Snapshot:
    return approved(model.kind, admin=alice, curator=bob, n_pool=N_POOL, n_dev=N_DEV, n_test=N_TEST)


def test_from_the_prompt_to_the_champion(snapshot, model, alice, bob, run_jobs, client_of):
    name = model.kind.name
    start_baseline(snapshot, by=bob)
    run_jobs()
    verdict = Verdict.objects.get(snapshot=snapshot)
    prompt = Evaluation.objects.get(run=verdict.best_prompt, split="test")
    assert (verdict.target_metric, prompt.metric) == (METRICS[name], METRICS[name])
    assert verdict.lower < prompt.measured.value < verdict.upper
    assert verdict.outcome in ("FINE_TUNE", "INCONCLUSIVE")
    assert Run.objects.filter(kind="probe").exists() == (name not in NO_PROBE)
    assert TestLook.objects.count() == 1 + (name not in NO_PROBE)
    is_written = name not in ("classification", "preference")
    assert prompt.n_unread == (N_TEST // 2 if is_written else 0)
    assert all(p.predicted is None for p in read_predictions(prompt) if p.row_score == 0) == is_written
    assert (prompt.n_right is None) == is_written
    assert f"{100 * prompt.measured.value:.1f} %" in verdict.words

    run = start_quoted(snapshot, by=alice, override_reason="To see.")
    run_jobs()
    run.refresh_from_db()
    assert Quote.objects.get().config == run.config and verdict.weighing.outcome == verdict.outcome
    assert ("not weighed here" in " ".join(verdict.weighing.words)) == (
        is_written and verdict.outcome != Verdict.Outcome.prompt_ok)
    (trained,) = (spec for module, spec in model.asked if module == "training.finetune")
    asked = [spec for module, spec in model.asked if "adapter" in spec and module != "training.general_suite"][-1]
    assert asked["adapter"] and trained["prompt"] == run.config["prompt"]
    assert json.loads(json.dumps(asked["prompts"])) == [run.config["prompt"]]
    adapter, mine = Adapter.objects.get(run=run), Evaluation.objects.get(run=run, split="test")
    assert mine.measured.value == pytest.approx(1) and mine.n_unread == 0
    assert lower_bound(prompt, mine) > 0.1
    found = compare(snapshot)
    assert found.headline.startswith("Is fine-tuning worth it? Yes, by ")
    assert found.lora.against_prompt.n_won == found.lora.n_flips > 0
    changed = flips(prompt, mine)
    assert all(flip.is_second_better and flip.second for flip in changed)
    assert any(not flip.first for flip in changed) == is_written
    assert standing(adapter).allowed
    assert promote(adapter, by=alice).stage == Adapter.Stage.champion

    client = client_of(alice)
    for url in (reverse("training:run-list", args=[snapshot.project_id]), reverse("training:train", args=[snapshot.pk]),
                reverse("training:comparison", args=[snapshot.pk]), reverse("training:run", args=[run.pk]),
                reverse("training:run", args=[verdict.best_prompt_id]), reverse("training:flips", args=[run.pk]),
                reverse("training:adapter", args=[adapter.pk])):
        assert client.get(url).status_code == 200, url
    page = client.get(reverse("training:comparison", args=[snapshot.pk])).content.decode()
    assert ("could not be read count as wrong: Prompt, zero-shot 12." in page) == is_written
    assert (NO_PROBE.get(name, "No linear probe") in page) == (name in NO_PROBE)
    card = client.get(reverse("training:adapter-card", args=[adapter.pk])).content.decode()
    assert f"| this adapter | test | {mine.measured.name} | 100.0 %" in card
