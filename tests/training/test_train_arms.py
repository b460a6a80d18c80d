import json
from collections import Counter, defaultdict
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.urls import reverse

from curation.models import Experiment
from curation.services.experiments import right_of
from jobs import services as jobs
from jobs.models import Job
from jobs.progress import Cancelled, silent
from labeling.models import Example
from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.objects import delete_object
from tests.training.story import new_experiment
from training.forms import ArmsForm
from training.models import ArmResult, ArmTraining, ArmVerdict
from training.services.arms import arms_obstacle, n_arm_looks, plan_of, start_arms
from training.services.comparison import n_looks


class WordModel:
    """Stands in for the two subprocesses: it learns which label a text's last word had most often, and says that.

    stop_at: the call, counted from 1, at which the worker is killed.
    """

    def __init__(self):
        self.specs, self.rows, self.stop_at = [], [], 0

    def __call__(self, module, spec, *, folder, progress=silent):
        self.specs.append((module, spec))
        if len(self.specs) == self.stop_at:
            raise SystemExit("killed")
        progress("Loading the model", 0, 1)
        progress("Training", 1, 2)
        return self._train(spec, folder) if module == "training.finetune" else self._score(spec, folder)

    def _train(self, spec, folder):
        rows = [json.loads(line) for line in Path(spec["rows_file"]).read_text().splitlines()]
        self.rows.append(rows)
        said = defaultdict(Counter)
        for row in rows:
            said[row["text"].split()[-1]][row["label"]] += 1
        (folder / "adapter").mkdir(parents=True)
        (folder / "adapter" / "words.json").write_text(
            json.dumps({word: count.most_common(1)[0][0] for word, count in said.items()}))
        steps = spec["steps"] or spec["config"]["epochs"] * -(-len(rows) // spec["config"]["batch_size"])
        return {"steps": steps, "train_seconds": 8.0 * steps, "tokens": 100, "peak_mb": 900.0, "adapter": "adapter/",
                "n_rows": len(rows), "refused": []}

    def _score(self, spec, folder):
        words = json.loads((Path(spec["adapter"]) / "words.json").read_text())
        names = [label["name"] for label in spec["prompts"][0]["labels"]]
        texts = [json.loads(line)["text"] for line in Path(spec["texts_file"]).read_text().splitlines()]
        np.save(folder / "scores-0.npy", np.array([[float(words.get(text.split()[-1]) == name) for name in names]
                                                   for text in texts]))
        return {"model": "tiny@sha256:00", "prompts": [{"scores": "scores-0.npy", "seconds": 36.0}]}

    @property
    def trained(self):
        return [spec for module, spec in self.specs if module == "training.finetune"]


@pytest.fixture
def words(monkeypatch):
    fake = WordModel()
    monkeypatch.setattr("training.arms.run_child", fake)
    return fake


@pytest.fixture
def experiment(project, bob, words):
    return new_experiment(project, by=bob)


def url(experiment, name="experiment-arms"):
    return reverse(f"training:{name}", args=[experiment.pk])


def filled(experiment, **changes):
    form = ArmsForm(arms=list(experiment.arms.all()))
    return {name: "" if form[name].value() is None else form[name].value() for name in form.fields} | changes


def trained(experiment, by, run_jobs, **plan):
    training = start_arms(experiment, plan_of(experiment, **{"positions": [0, 1], "steps": 5} | plan), by=by)
    run_jobs()
    training.job.refresh_from_db()
    assert training.job.state == "succeeded", training.job.error
    return training


def test_an_admin_lets_the_language_model_learn_the_arms(experiment, alice, client_of, run_jobs, words):
    client = client_of(alice)
    assert "No language model has learned these arms yet" in client.get(url(experiment)).content.decode()
    response = client.post(url(experiment, "arms-start"), filled(experiment))
    assert response.headers["Location"] == url(experiment)
    run_jobs()
    training = ArmTraining.objects.get()
    assert (training.steps, training.seeds, training.positions) == (60, [0, 1, 2], [0, 1])
    assert (training.job.kind, training.job.exclusive, training.job.state) == ("train_arms", "train", "succeeded")
    assert {(one.arm.name, one.seed) for one in training.results.all()} == {
        (name, seed) for name in ("all as labelled", "gold") for seed in range(3)}
    html = client.get(url(experiment)).content.decode()
    assert "Right on the same 36 dev rows" in html
    assert "The same budget is the same number of optimiser steps: 60 of 8 rows" in html
    assert [event.what for event in AuditEvent.objects.filter(what__contains="arms")] == ["train_arms", "trained_arms"]


def test_one_recipe_another_seed_and_the_draws_in_turn(experiment, alice, run_jobs, words):
    trained(experiment, alice, run_jobs, n_seeds=4, config={"r": 4})
    orders = [(spec["steps"], spec["config"]["r"], spec["config"]["seed"], spec["dev_file"]) for spec in words.trained]
    assert orders == [(5, 4, seed, None) for seed in range(4) for _ in range(2)]
    first_rows = [rows[0]["text"].split()[1] for rows in words.rows[1::2]]
    assert first_rows == ["000", "006", "012", "000"] and {len(rows) for rows in words.rows[::2]} == {24}


def test_passes_instead_of_steps_give_the_larger_arm_more(experiment, alice, run_jobs, words):
    training = trained(experiment, alice, run_jobs, steps=None, config={"epochs": 2})
    verdict = ArmVerdict.objects.get(training=training)
    assert [one["steps"] for one in verdict.arms] == [6, 4] and {spec["steps"] for spec in words.trained} == {None}


def test_the_verdict_stands_beside_the_probes(experiment, alice, run_jobs, words):
    """The word model learns through the noise, so that both arms get all right; the probe lost 6 rows on the first."""
    verdict = ArmVerdict.objects.get(training=trained(experiment, alice, run_jobs))
    first, gold = verdict.arms
    assert first["accuracies"] == gold["accuracies"] == [1.0] * 3 and first["difference"] is None
    assert gold["difference"]["estimate"] == 0 and gold["difference"]["low"] < 0 < gold["difference"]["high"]
    assert gold["probe"]["difference"]["estimate"] == pytest.approx(6 / 36)
    assert gold["probe"]["difference"]["low"] > 0
    assert verdict.words[0].startswith("No difference is shown between “all as labelled” (100.0")
    assert verdict.words[-1] == "The probe said otherwise: it found “gold” better."
    assert [right_of(arm).shape for arm in experiment.arms.all()] == [(1, 36), (3, 36)]


def test_a_killed_worker_trains_nothing_twice(experiment, alice, words):
    training = start_arms(experiment, plan_of(experiment, positions=[0, 1], steps=5), by=alice)
    words.stop_at = 6  # within the third of six: it is trained, not judged
    with pytest.raises(SystemExit):
        jobs.run(training.job_id, heartbeat=False)
    assert training.results.count() == 2 and not ArmVerdict.objects.exists()
    Job.objects.filter(pk=training.job_id).update(state="queued", lease_expires_at=None)  # as the reaper does
    jobs.run(training.job_id, heartbeat=False)
    assert training.results.count() == 6 and len(words.trained) == 7
    assert ArmVerdict.objects.filter(training=training).exists()


def test_an_attempt_takes_over_the_checkpoints_of_the_one_before(experiment, alice, words, settings):
    training = start_arms(experiment, plan_of(experiment, positions=[0, 1], steps=5), by=alice)
    left = settings.GOLDPAN_JOBS / str(training.job_id) / "1" / "arm-0-seed-0" / "training"
    (left / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (left / "metrics.jsonl").write_text("{}\n")
    Job.objects.filter(pk=training.job_id).update(fence=1)
    words.stop_at = 2
    with pytest.raises(SystemExit):
        jobs.run(training.job_id, heartbeat=False)
    taken = settings.GOLDPAN_JOBS / str(training.job_id) / "2" / "arm-0-seed-0" / "training"
    assert (taken / "checkpoints" / "checkpoint-3").is_dir() and (taken / "metrics.jsonl").exists()


def test_a_cancelled_one_keeps_what_was_judged_and_goes_on_when_run_again(experiment, alice, client_of, words, run_jobs,
                                                                         monkeypatch):
    training = start_arms(experiment, plan_of(experiment, positions=[0, 1], steps=5), by=alice)
    ask = WordModel.__call__

    def cancelled(self, module, spec, **more):
        if len(self.specs) == 2:
            raise Cancelled
        return ask(self, module, spec, **more)

    monkeypatch.setattr(WordModel, "__call__", cancelled)
    Job.objects.filter(pk=training.job_id).update(state="queued")
    jobs.run(training.job_id, heartbeat=False)
    training.job.refresh_from_db()
    assert training.job.state == "cancelled" and training.results.count() == 1
    html = client_of(alice).get(url(experiment)).content.decode()
    assert "1 of 3" in html and "0 of 3" in html and "goes on behind what has been judged" in html
    monkeypatch.setattr(WordModel, "__call__", ask)
    jobs.retry(training.job)
    run_jobs()
    assert ArmVerdict.objects.filter(training=training).exists() and len(words.trained) == 6


def test_nothing_of_an_adapter_is_left(experiment, alice, run_jobs, settings):
    training = trained(experiment, alice, run_jobs)
    assert not (settings.GOLDPAN_JOBS / str(training.job_id)).exists()
    assert not list(settings.GOLDPAN_OBJECTS.rglob("*words.json"))


def test_progress_is_that_of_all_trainings(experiment, alice, run_jobs, monkeypatch):
    told = []
    monkeypatch.setattr("jobs.services.progress_of", lambda job: lambda *call: told.append(call))
    trained(experiment, alice, run_jobs)
    shares = [done for stage, done, total in told if stage == "Training 6 models"]
    assert shares == sorted(shares) and {total for stage, _, total in told if stage != "Comparing"} == {600}


# Before it starts

def test_the_time_is_told_from_a_measured_speed_or_not_at_all(experiment, alice, client_of, run_jobs):
    client = client_of(alice)
    assert "no measured time to tell" in client.get(url(experiment, "arms-start")).content.decode()
    trained(experiment, alice, run_jobs)  # 1 s for a row in training, 1 s for a judged one: 40 + 36
    html = client.get(url(experiment, "arms-start")).content.decode()
    assert "About 52\u202fmin<" in html  # 6 × (60 × 8 + 36) s
    assert f"training {ArmTraining.objects.get().pk} of an experiment" in html
    reckoned = client.post(url(experiment, "arms-start"), filled(experiment, steps=10, reckon="1"))
    assert reckoned.status_code == 200 and "About 12\u202fmin<" in reckoned.content.decode()
    assert ArmTraining.objects.count() == 1


def test_another_projects_speed_is_said_to_be_that(experiment, alice, dora, run_jobs, client_of):
    trained(experiment, alice, run_jobs)
    other = Project.objects.exclude(pk=experiment.project_id).get()
    theirs = new_experiment(other, by=dora)
    other.memberships.filter(user=dora).update(role="admin")
    assert "in another project here" in client_of(dora).get(url(theirs, "arms-start")).content.decode()


@pytest.mark.parametrize(("changes", "words"), [
    ({"arms": [1]}, "Choose at least 2 arms: one alone"), ({"arms": []}, "Choose at least 2 arms."),
    ({"n_seeds": 2}, "greater than or equal to 3"), ({"steps": 0}, "greater than or equal to 1"),
    ({"learning_rate": 3}, "This must be between 1e-07 and 0.1, got 3.0.")])
def test_an_impossible_order_is_said_at_its_field(experiment, alice, client_of, changes, words):
    response = client_of(alice).post(url(experiment, "arms-start"), filled(experiment, **changes))
    assert response.status_code == 422 and words in response.content.decode()
    assert not ArmTraining.objects.exists()


def test_of_two_clicks_one_trains(experiment, alice, client_of):
    client = client_of(alice)
    client.post(url(experiment, "arms-start"), filled(experiment))
    response = client.post(url(experiment, "arms-start"), filled(experiment))
    assert response.status_code == 400 and "being learned in this project already" in response.content.decode()


@pytest.mark.parametrize(("who", "sees", "may_start"), [("alice", 200, 200), ("bob", 200, 403), ("charlie", 403, 403),
                                                       ("dora", 404, 404)])
def test_only_admins_start_it_and_curators_read_it(experiment, request, client_of, who, sees, may_start):
    client = client_of(request.getfixturevalue(who))
    assert client.get(url(experiment)).status_code == sees
    assert client.get(url(experiment, "arms-start")).status_code == may_start


def test_erased_texts_and_gone_labels_stop_it_in_words(experiment, alice, project):
    plan = plan_of(experiment, positions=[0, 1])
    project.schema = {"labels": [{"name": "negative"}, {"name": "neutral"}]}
    project.save()
    with pytest.raises(UserError, match="labels that the project has not: positive"):
        start_arms(Experiment.objects.get(), plan, by=alice)


def test_erased_texts_stop_it_in_words(experiment, alice, monkeypatch):
    monkeypatch.setattr("training.services.arms._texts", lambda rows: dict.fromkeys([pk for pk, _ in rows], ""))
    with pytest.raises(UserError, match="60 of the experiment's texts have been erased since"):
        start_arms(experiment, plan_of(experiment, positions=[0, 1]), by=alice)


def test_judging_rows_that_were_not_kept_have_to_be_the_same(experiment, alice, settings):
    delete_object(settings.GOLDPAN_OBJECTS, experiment.config["judges_sha256"])
    with pytest.raises(UserError, match="held-out labels have changed since"):
        start_arms(experiment, plan_of(experiment, positions=[0, 1]), by=alice)


def test_other_types_of_task_say_why_not(experiment, alice, client_of):
    Project.objects.update(task_type="multilabel")
    assert "one label per text" in client_of(alice).get(url(experiment)).content.decode()
    assert client_of(alice).get(url(experiment, "arms-start")).status_code == 400
    assert "one label per text" in arms_obstacle(Experiment.objects.get())


# What stays

def test_a_look_at_the_test_rows_counts_once_for_all_models(project, bob, alice, run_jobs, words, client_of):
    experiment = new_experiment(project, by=bob, split="test")
    assert n_arm_looks(project) == 0 and n_looks(project) == 1
    assert "looked at 1 time; this is one look more" in client_of(alice).get(
        url(experiment, "arms-start")).content.decode()
    trained(experiment, alice, run_jobs)
    assert n_arm_looks(project) == 1 and n_looks(project) == 2


def test_what_was_found_cannot_be_changed(experiment, alice, run_jobs):
    trained(experiment, alice, run_jobs)
    for model, change in ((ArmTraining, {"steps": 1}), (ArmResult, {"n_right": 0}), (ArmVerdict, {"words": []})):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            model.objects.update(**change)


def test_an_earlier_training_stays_readable(experiment, alice, bob, run_jobs, client_of, django_assert_max_num_queries):
    first = trained(experiment, alice, run_jobs)
    trained(experiment, alice, run_jobs, steps=7)
    client = client_of(bob)
    assert f"?training={first.pk}" in client.get(url(experiment)).content.decode()
    with django_assert_max_num_queries(12):
        html = client.get(url(experiment), {"training": first.pk}).content.decode()
    assert "optimiser steps: 5 of 8 rows" in html
    assert client.get(url(experiment), {"training": 0}).status_code == 404
    assert url(experiment) in client.get(reverse("curation:experiment", args=[experiment.pk])).content.decode()


def test_the_same_by_a_command(experiment, alice, project):
    out = StringIO()
    call_command("train_arms", "Moods", by="alice", arms=["gold", "all as labelled"], json=True, stdout=out)
    result = json.loads(out.getvalue())
    assert result["experiment"] == experiment.pk and [one["steps"] for one in result["arms"]] == [60, 60]
    with pytest.raises(CommandError, match="has no arm “silver”"):
        call_command("train_arms", "Moods", by="alice", arms=["silver"])
    with pytest.raises(CommandError, match="Only an admin"):
        call_command("train_arms", "Moods", by="bob")
    assert Example.objects.filter(project=project).count() == 60
