"""An adapter as a model that a server opens, and the proof that it answers as the one that was evaluated.

1. A child merges the adapter into its base model.
2. The merged folder answers the test rows anew; each answer is held against the evaluation's.
3. Folder, card and hashes become one tar in the object store; the outcome of step 2 is written beside it.
"""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User

from curation.services.frozen import FrozenRow
from curation.services.snapshots import read_rows
from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from projects.errors import UserError
from projects.objects import put_object
from projects.services import audit
from training.language_model import IDENTITY_FILE, file_sha256
from training.models import Adapter, Evaluation, MergedExport, Run
from training.prompts import prompt_from_json
from training.services.cards import card_of, lineage_of
from training.services.scoring import (
    Calibration,
    Judged,
    Stopwatch,
    judge,
    judge_scores,
    read_answers,
    read_predictions,
    score_rows,
    write_rows,
)
from training.services.stored import materialise


def start_merge(adapter: Adapter, *, by: User, wake: bool = True) -> Job:
    """Queue the export; one that is queued already is returned.

    Raises UserError if it is there already, no adapter that answers the task, or not evaluated yet.
    """
    if adapter.is_whole_model:
        raise UserError(f"{adapter} holds all weights, so there is nothing to merge. Its files are the model.")
    if adapter.run.kind == Run.Kind.dpo:
        raise UserError(f"{adapter} has learned to write and was judged by which answer it prefers, so a merged model "
                        "could not be held against that. Load its files with peft on the base model.")
    if MergedExport.objects.filter(adapter=adapter).exists():
        raise UserError(f"{adapter} has been merged already. Reload the page to download it.")
    if not Evaluation.objects.filter(run=adapter.run, split="test").exists():
        raise UserError(f"{adapter} has not been evaluated yet, so there is nothing to hold the merged model against.")
    return enqueue("merge", adapter.project, title=f"Merging {adapter} into its base model", requested_by=by, wake=wake,
                   params={"adapter": adapter.pk}, dedupe_key=f"merge:{adapter.pk}")


def run_merge(job: Job, progress: Progress) -> None:
    adapter = Adapter.objects.select_related("project", "run__snapshot__project").get(pk=job.params["adapter"])
    evaluation = Evaluation.objects.get(run=adapter.run, split="test")
    folder, watch = work_folder(job), Stopwatch()
    shutil.rmtree(folder / "merged", ignore_errors=True)
    run_child("training.merging", {
        "model": str(settings.GOLDPAN_BASE_MODEL), "adapter": str(materialise(adapter, folder / "adapter")),
        "threads": settings.GOLDPAN_THREADS}, folder=folder, progress=progress)
    rows = read_rows(adapter.run.snapshot, "test")
    judged = _replay(adapter.run, evaluation, rows, folder / "merged", folder / "replay", progress)
    there = {row.key for row in rows}  # without those that were erased since
    before = [one for one in read_predictions(evaluation) if one.key in there]
    if [one.key for one in before] != [one.key for one in judged.predictions]:
        raise ValueError("the test rows were evaluated in another order than they are replayed in")
    differing = [now.key for now, then in zip(judged.predictions, before, strict=True)
                 if (now.predicted, now.answer) != (then.predicted, then.answer)]
    progress("Packing", 0, 1)
    files = _complete(folder / "merged", card_of(adapter, lineage_of(adapter)))
    path = _packed(folder / "merged", folder / "merged.tar", f"adapter-{adapter.pk}-merged")
    sha256, size = put_object(settings.GOLDPAN_OBJECTS, path), path.stat().st_size
    with completing(job) as result:
        export = MergedExport.objects.create(
            adapter=adapter, sha256=sha256, size=size, files=files, n=len(before), n_equal=len(before) - len(differing),
            differing=differing, score=judged.measured.value, seconds=watch.seconds)
        said = {"adapter": adapter.pk, "sha256": sha256, "n": export.n, "n_equal": export.n_equal}
        audit(adapter.project, job.requested_by, "merge", said)
        result |= said
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


def _replay(run: Run, evaluation: Evaluation, rows: Sequence[FrozenRow], model: Path, folder: Path,
            progress: Progress) -> Judged:
    """What the merged model says about the test rows, balanced between labels as at the evaluation."""
    prompt = prompt_from_json(run.config["prompt"])
    if prompt.has_labels:
        [said] = score_rows(rows, [prompt], folder=folder, progress=progress, model=model)
        balance = evaluation.metrics.get("calibration_details")
        if balance is None:
            raise UserError(f"The evaluation of {run} does not say how its labels were balanced, so it cannot be "
                            "replayed. Train again to export.")
        calibration = Calibration(balance["kind"], tuple(balance["bias"]), balance["dev_accuracy"])
        return judge_scores(run.project, rows, said.scores, calibration)
    [written] = write_rows(rows, [prompt], completions=[row.label for row in read_rows(run.snapshot, "train")],
                           folder=folder, progress=progress, model=model)
    return judge(run.project, rows, read_answers(prompt, rows, written.answers), answers=written.answers)


def _complete(folder: Path, card: str) -> dict[str, str]:
    """Add card and SHA256SUMS to the merged folder; return its files with their hashes."""
    (folder / IDENTITY_FILE).unlink(missing_ok=True)  # a note of this machine's
    # The hub reads the front matter: this is a whole model now, no adapter.
    (folder / "README.md").write_text(card.replace('library_name: "peft"', 'library_name: "transformers"', 1))
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in files.items()))
    return files


def _packed(folder: Path, target: Path, name: str) -> Path:
    """The folder's files below one folder `name` in a tar, without times and owners."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(f"{name}/{path.name}")
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(member, file)
    return target


def serving_commands(adapter: Adapter) -> list[tuple[str, str]]:
    """How the merged folder is served, step by step: what a command does, and the command."""
    name, rank = f"adapter-{adapter.pk}-merged", adapter.run.config["training"].get("r", 16)
    return [
        ("Unpack and check it", f"tar -xf {name}.tar && cd {name} && sha256sum -c SHA256SUMS"),
        ("Serve it with vLLM", f"vllm serve ./{name} --served-model-name {name}"),
        ("Or only the adapter, beside its base model", "vllm serve BASE_MODEL --enable-lora "
         f"--max-lora-rank {rank} --lora-modules adapter-{adapter.pk}=./adapter"),
        ("Make a GGUF for llama.cpp or Ollama", f"python llama.cpp/convert_hf_to_gguf.py ./{name} --outtype bf16 "
         f"--outfile {name}.gguf"),
        ("Put it on a hub", f"hf upload YOUR_NAME/{name} ./{name}"),
    ]
