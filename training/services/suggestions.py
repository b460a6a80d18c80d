"""What the best model so far would answer, to prefill on people's desks.

1. `best_source`: the champion, else the best prompt where it beats the probe on the test rows, else the probe.
2. `run_suggest` asks it about examples of the pool: first those in open batches, then those without a label.
3. `poll` refreshes, where suggestions are shown, when there is another source or another batch.
Dev and test examples and known answers never get one. Suggestions are opinions, never labels: what people make of them
is measured by `labeling.services.suggestions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from curation.models import QualityReport
from curation.services.scoring import latest_report
from curation.services.snapshots import FrozenRow
from curation.services.suggestions import probe_answers
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from labeling.models import Annotation, Batch, BatchItem, Example, KnownAnswer, LabelingRules, Suggestion
from labeling.services.bulk import CHUNK
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from training.models import Adapter, Evaluation, Run, Verdict
from training.prompts import prompt_from_json
from training.services.champions import best_prompt_verdict, champion_of
from training.services.endpoint import classify_rows
from training.services.quoting import has_lost_a_quote
from training.services.scoring import Calibration, RowShots, score_rows
from training.services.showing import showable
from training.services.stored import materialise

MOST = 5_000  # examples of one refresh: a language model without a GPU takes minutes for so many

NO_MODEL = {  # what is suggested by no model yet, and why
    "multilabel": "sets of labels", "preference": "comparisons", "response": "free text", "chat": "free text",
    "extraction": "records", "spans": "spans",
}


@dataclass(frozen=True)
class Source:
    """Who suggests: an adapter, a prompt's run, or the probe on a report; `by` says it in words."""

    by: str
    adapter: Adapter | None = None
    prompt: Run | None = None
    report: QualityReport | None = None


def best_source(project: Project) -> Source:
    """Return the best model so far. Raises UserError if there is none, or none for this type of task."""
    if project.task_type in NO_MODEL:
        raise UserError(f"No model suggests {NO_MODEL[project.task_type]} yet. Predictions that come with an import "
                        "can be shown.")
    champion = champion_of(project)
    if champion is not None and Evaluation.objects.filter(run=champion.run, split="test").exists():
        if champion.adapter is not None:
            return Source(f"adapter {champion.adapter.pk}", adapter=champion.adapter)
        if _can_be_asked(champion.run):
            return _prompt_source(champion.run)
    verdict = best_prompt_verdict(project)
    if verdict is not None and _can_be_asked(verdict.best_prompt) and _beats_probe(verdict):
        return _prompt_source(verdict.best_prompt)
    report = latest_report(project)
    if report is None:
        raise UserError("Nothing can suggest labels yet. Label some examples and score them first.")
    if report.hidden_because:
        raise UserError(f"Nothing is good enough to suggest labels yet. {report.hidden_because}")
    return Source(f"probe on {report}", report=report)


def _prompt_source(run: Run) -> Source:
    return Source(f"prompt, {run.config['prompt']['name']} (run {run.pk})"[:100], prompt=run)


def _can_be_asked(run: Run) -> bool:
    """Whether prompt and model are still those that were judged."""
    if has_lost_a_quote(run):
        return False
    if _is_embedded(run):
        return True
    return bool(settings.GOLDPAN_LLM_URL) and run.config.get("model") == settings.GOLDPAN_LLM_MODEL


def _is_embedded(run: Run) -> bool:
    return "prompt_tokens" in run.config


def _beats_probe(verdict: Verdict) -> bool:
    """On the test rows of the verdict's snapshot; both looked at the same ones."""
    probes = Evaluation.objects.filter(snapshot=verdict.snapshot_id, split="test", run__kind=Run.Kind.probe)
    mine = Evaluation.objects.get(run=verdict.best_prompt_id, split="test").measured.value
    return all(mine > probe.measured.value for probe in probes)


def start_suggest(project: Project, *, by: User | None, wake: bool = True) -> Job:
    """Queue a refresh of the suggestions; one that waits or runs already is returned.

    Raises UserError if nothing can suggest labels.
    """
    source = best_source(project)
    active = Job.objects.active().filter(project=project, kind="suggest").first()
    return active or enqueue("suggest", project, title=f"Suggesting labels: {source.by}", requested_by=by,
                             params=_occasion(project, source), exclusive=f"suggest:{project.pk}", wake=wake)


def _occasion(project: Project, source: Source) -> dict[str, Any]:
    """What a refresh is for: while neither changes, another one would say the same."""
    newest = Batch.objects.filter(project=project).first()
    return {"by": source.by, "batch": newest.number if newest else 0}


def poll() -> None:
    """Called by the tick: refresh where suggestions are shown, and model or batch are others than last time or some
    examples of open batches did not fit in.

    What failed is not tried again until one of them changes.
    """
    shown = LabelingRules.objects.filter(shows_suggestions=True, project__batches__state=Batch.State.open)
    for rules in shown.distinct().select_related("project"):
        try:
            occasion = _occasion(rules.project, best_source(rules.project))
        except UserError:
            continue  # nothing can suggest yet; the board says so to whoever asks
        last = Job.objects.filter(project=rules.project, kind="suggest").first()
        goes_on = last is not None and last.result.get("n_left") and last.result.get("n")
        if last is None or (not last.is_active and (last.params != occasion or goes_on)):
            start_suggest(rules.project, by=None)


def run_suggest(job: Job, progress: Progress) -> None:
    project = job.project
    source = best_source(project)
    asked, n_left = to_suggest(project, source)
    answers = _answers(job, source, asked, progress) if asked else {}
    with completing(job) as result:
        Suggestion.objects.bulk_create(
            (Suggestion(example_id=pk, value=label, by=source.by) for pk, label in answers.items()), CHUNK)
        audit(project, job.requested_by, "suggest", {"by": source.by, "n": len(answers)})
        result |= {"by": source.by, "n_asked": len(asked), "n": len(answers), "n_left": n_left}


def to_suggest(project: Project, source: Source) -> tuple[list[Example], int]:
    """Return the pool examples to ask this source about, MOST at most, and how many in open batches did not fit.

    First those that wait in open batches, in the order in which people get them, then those without a label. Left out
    are those whose newest suggestion is this source's already, what it has learned its own answer from, and known
    answers: whoever is tested by one must not see it.
    """
    newest = Suggestion.objects.filter(example=OuterRef("pk")).order_by("-pk").values("by")[:1]
    known = KnownAnswer.objects.filter(example=OuterRef("pk"))
    pool = Example.objects.filter(project=project, split=Example.Split.pool).annotate(
        newest_by=Coalesce(Subquery(newest), Value(""))).exclude(newest_by=source.by).filter(
        ~Exists(known), ~_learnt(source)).only("pk", "key", "text", "content_sha256", "group")
    items = BatchItem.objects.filter(batch__project=project, batch__state=Batch.State.open, batch__vendor="",
                                     n_taken__lt=F("n_wanted"))
    rank = items.filter(example=OuterRef("pk")).order_by("batch__number", "priority", "pk")
    waiting = pool.filter(Exists(items.filter(example=OuterRef("pk")))).order_by(
        Subquery(rank.values("batch__number")[:1]), Subquery(rank.values("priority")[:1]), "pk")
    first = list(waiting[:MOST])
    is_labelled = Exists(Annotation.objects.current().filter(example=OuterRef("pk")))
    rest = pool.filter(~is_labelled, ~Exists(items.filter(example=OuterRef("pk")))).order_by("pk")
    n_left = waiting.count() - len(first) if len(first) == MOST else 0
    return [*first, *rest[:MOST - len(first)]], n_left


def _learnt(source: Source) -> Q:
    """The examples whose label the source has seen: it would only repeat what somebody has said.

    The probe answers for those without having seen them.
    """
    if source.adapter is not None:
        return Q(pk__in=source.adapter.run.snapshot.rows.filter(split="train").values("example_id"))
    if source.prompt is not None:
        prompt = source.prompt.config["prompt"]
        if prompt.get("neighbours"):
            return Q(pk__in=source.prompt.snapshot.rows.filter(split="train").values("example_id"))
        return Q(text__in=[shot["text"] for shot in prompt["shots"]])
    return Q(pk__in=[])


def _answers(job: Job, source: Source, asked: Sequence[Example], progress: Progress) -> dict[int, str]:
    """Example id → label, without those that the source has no answer for."""
    if source.report is not None:
        return probe_answers(job, source.report, asked, progress)
    run = source.adapter.run if source.adapter else source.prompt
    assert run is not None
    prompt, labels = prompt_from_json(run.config["prompt"]), job.project.labels
    rows = [FrozenRow(one.key, one.text, "", Example.Split.pool, one.group) for one in asked]
    if source.prompt is not None and not _is_embedded(run):
        said = classify_rows(job.project, prompt, rows, shots=_nearest(job, run, rows, progress))
        return {one.pk: label for one, label in zip(asked, said, strict=True) if label in labels}
    folder = work_folder(job)
    adapter = materialise(source.adapter, folder / "adapter") if source.adapter else None
    scores = score_rows(rows, [prompt], folder=folder, progress=progress, adapter=adapter,
                        shots=_nearest(job, run, rows, progress))[0].scores
    chosen, _ = _calibration(run).predict(scores)
    names = [label.name for label in prompt.labels]
    return {one.pk: names[k] for one, k in zip(asked, chosen, strict=True) if names[k] in labels}


def _nearest(job: Job, run: Run, rows: Sequence[FrozenRow], progress: Progress) -> RowShots:
    """What a prompt shows beside each row, from its own snapshot; None where it shows the same to all."""
    k = run.config["prompt"].get("neighbours", 0)
    return showable(job, run.snapshot, progress).nearest(rows, k) if k else None


def _calibration(run: Run) -> Calibration:
    """The balance between labels that was chosen on dev: a prompt has it in its run, an adapter in its evaluation."""
    stored = run.config.get("calibration") or Evaluation.objects.get(
        run=run, split="test").metrics["calibration_details"]
    return Calibration(stored["kind"], tuple(stored["bias"]), stored["dev_accuracy"])
