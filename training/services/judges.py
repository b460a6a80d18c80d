"""Asking a model, as a judge, which of two runs' answers is better: every pair in both orders, nothing twice."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.services.snapshots import FrozenRow, read_rows
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from projects.services.guidelines import current_guideline
from training.judging import PROMPT_VERSION, families_of, judge_prompt, share_of_second, shown_text
from training.models import Adapter, AnswerPair, JudgePreference, JudgeRun, PairwiseEvaluation, Run
from training.openai_endpoint import parse_label, request_of
from training.prompts import Prompt, prompt_sha256
from training.services.cards import base_model_of
from training.services.endpoint import LEAST_TOKENS, replies_to
from training.services.pairwise import to_judge
from training.services.scoring import read_predictions, score_rows

PAIRS_AT_ONCE = 64  # are written down together: at most so many are asked again if the embedded model is cut off


@dataclass(frozen=True)
class Judge:
    """Who is configured to judge. url: "" for the embedded model. prices: of a million tokens read, and written."""

    model: str
    url: str = ""
    key: str = ""
    prices: tuple[float, float] = (0.0, 0.0)


def configured_judge() -> Judge:
    """The judge by the settings: an endpoint of its own, else a model at the prompts' endpoint, else the embedded."""
    prices = settings.GOLDPAN_JUDGE_PRICE_INPUT, settings.GOLDPAN_JUDGE_PRICE_OUTPUT
    if settings.GOLDPAN_JUDGE_URL:
        return Judge(settings.GOLDPAN_JUDGE_MODEL, settings.GOLDPAN_JUDGE_URL, settings.GOLDPAN_JUDGE_KEY, prices)
    if settings.GOLDPAN_LLM_URL and settings.GOLDPAN_JUDGE_MODEL:
        return Judge(settings.GOLDPAN_JUDGE_MODEL, settings.GOLDPAN_LLM_URL, settings.GOLDPAN_LLM_KEY, prices)
    if settings.GOLDPAN_LLM_URL:
        return Judge(settings.GOLDPAN_LLM_MODEL, settings.GOLDPAN_LLM_URL, settings.GOLDPAN_LLM_KEY,
                     (settings.GOLDPAN_LLM_PRICE_INPUT, settings.GOLDPAN_LLM_PRICE_OUTPUT))
    return Judge(settings.GOLDPAN_BASE_MODEL.name)


def judge_obstacle(pairwise: PairwiseEvaluation, judge: Judge) -> str:
    """Why this judge may not judge these runs, in words; "" where it may."""
    if not judge.model:
        return "The judge's endpoint has no model's name. Set GOLDPAN_JUDGE_MODEL."
    for run in (pairwise.first.run, pairwise.second.run):
        if families_of(model_of(run)) & families_of(judge.model):
            return (f"{judge.model} is of the same family as {model_of(run).partition('@')[0]}, which wrote the "
                    f"answers of run {run.pk}, and models prefer answers like their own. Set GOLDPAN_JUDGE_URL and "
                    "GOLDPAN_JUDGE_MODEL to a model of another family, or let people judge alone.")
    return ""


def model_of(run: Run) -> str:
    """The name of the model that wrote a run's answers; of a training the base model's."""
    if run.is_trained:
        return base_model_of(Adapter.objects.get(run=run))
    return str(run.config.get("model", ""))


def start_judging(pairwise: PairwiseEvaluation, *, by: User, wake: bool = True) -> Job:
    """Queue asking the configured judge about every pair, in both orders; one that was cut off goes on.

    Raises UserError if the judge is of a judged model's family, nothing is to be judged, or it has said all already.
    """
    judge, project = configured_judge(), pairwise.project
    if why := judge_obstacle(pairwise, judge):
        raise UserError(why)
    n = to_judge(pairwise).count()
    if not n:
        raise UserError("All answers are equal or need no judging, so there is nothing to ask a judge.")
    guideline = current_guideline(project)
    sha256 = prompt_sha256(judge_prompt(guideline.text))
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # of two clicks one asks
        same = JudgeRun.objects.filter(pairwise=pairwise, model=judge.model, prompt_sha256=sha256,
                                       is_endpoint=bool(judge.url)).select_related("job").first()
        if same is not None and same.job.state == Job.State.succeeded:
            raise UserError(f"{same} has been asked about all pairs with this prompt already; it would say the same.")
        job = enqueue("judge", project, title=f"Asking {judge.model[:40]} to judge {n:,} pairs", requested_by=by,
                      params={"pairwise": pairwise.pk}, exclusive=f"judge:{pairwise.pk}", wake=wake,
                      dedupe_key=f"judge:{pairwise.pk}:{sha256[:16]}:{_name_sha256(judge)[:16]}")
        if same is None:
            judge_run = JudgeRun.objects.create(
                pairwise=pairwise, model=judge.model, is_endpoint=bool(judge.url), prompt_version=PROMPT_VERSION,
                prompt_sha256=sha256, guideline=guideline.version, job=job, created_by=by)
            audit(project, by, "start_judge", {"judge_run": judge_run.pk, "pairwise": pairwise.pk,
                                               "model": judge.model, "prompt_sha256": sha256})
    return job


def run_judge(job: Job, progress: Progress) -> None:
    """Ask about the pairs that this judge has said nothing of, and write its word down as it comes."""
    judge_run = JudgeRun.objects.select_related("pairwise__first__snapshot__project", "pairwise__second").get(job=job)
    pairwise, judge, prompt = judge_run.pairwise, configured_judge(), _prompt_of(judge_run)
    if (judge.model, bool(judge.url)) != (judge_run.model, judge_run.is_endpoint):
        raise UserError(f"The settings name another judge by now than {judge_run}. Ask that one instead.")
    rows = {row.key: row for row in read_rows(pairwise.first.snapshot, "test")}
    said = {one.key: (one.predicted or "", two.predicted or "") for one, two in zip(
        read_predictions(pairwise.first), read_predictions(pairwise.second), strict=True)}
    pairs = list(to_judge(pairwise).select_related("example"))
    todo = [pair for pair in pairs if pair.pk not in set(
        JudgePreference.objects.filter(judge_run=judge_run).values_list("pair_id", flat=True))]
    n_known = len(pairs) - len(todo)
    for start in range(0, len(todo), PAIRS_AT_ONCE):
        some = todo[start:start + PAIRS_AT_ONCE]
        asked = [_asked(rows[pair.example.key], *said[pair.example.key], kind=job.project.task_type) for pair in some]

        def told(stage: str, done: int, total: int, n_done: int = n_known + start) -> None:
            progress("Asking the judge", 2 * n_done + done, 2 * len(pairs))

        both = [one for orders in asked for one in orders]
        preferences = _by_endpoint(judge_run, judge, prompt, some, both, told) if judge.url else _by_model(
            judge_run, prompt, some, both, work_folder(job) / f"pairs-{start}", told)
        JudgePreference.objects.bulk_create(preferences, ignore_conflicts=True)
    with completing(job) as result:
        chosen = JudgePreference.objects.filter(judge_run=judge_run)
        shares = [share_of_second(one.as_it_is, one.swapped) for one in chosen]
        counts = {"n": len(shares), "n_unread": sum(not (one.as_it_is and one.swapped) for one in chosen),
                  "n_first": shares.count(0.0), "n_tied": shares.count(0.5), "n_second": shares.count(1.0)}
        audit(job.project, job.requested_by, "judge", {"judge_run": judge_run.pk, **counts})
        result |= {"judge_run": judge_run.pk, "pairwise": pairwise.pk, **counts}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


def judge_cost(judge_run: JudgeRun) -> float | None:
    """What a judge's answers cost when they were asked, by its tokens and today's prices; None where none is set."""
    judge = configured_judge()
    if not judge_run.is_endpoint or judge.model != judge_run.model or not any(judge.prices):
        return None
    said = JudgePreference.objects.filter(judge_run=judge_run).values_list("prompt_tokens", "answer_tokens")
    return sum((read or 0) * judge.prices[0] + (written or 0) * judge.prices[1] for read, written in said) / 1e6


def _name_sha256(judge: Judge) -> str:
    return hashlib.sha256(f"{judge.url} {judge.model}".encode()).hexdigest()


def _prompt_of(judge_run: JudgeRun) -> Prompt:
    """The prompt that was ordered. Raises UserError if its words are others by now."""
    project = judge_run.pairwise.project
    prompt = judge_prompt(project.guidelines.get(version=judge_run.guideline).text)
    if prompt_sha256(prompt) != judge_run.prompt_sha256:
        raise UserError("The judge's prompt has changed since this was ordered. Ask the judge anew.")
    return prompt


def _asked(row: FrozenRow, first: str, second: str, *, kind: str) -> tuple[FrozenRow, FrozenRow]:
    """The row as a judge reads it: with the first run's answer on the left, and with it on the right."""
    text = shown_text(kind, row.text, row.data, row.label)
    return (replace(row, text=text, data={"left": first, "right": second}),
            replace(row, text=text, data={"left": second, "right": first}))


def _by_endpoint(judge_run: JudgeRun, judge: Judge, prompt: Prompt, pairs: Sequence[AnswerPair],
                 rows: Sequence[FrozenRow], progress: Progress) -> list[JudgePreference]:
    replies, _ = replies_to(judge_run.pairwise.project, [
        request_of(prompt, row.text, row.data, (), model=judge.model, max_tokens=LEAST_TOKENS) for row in rows],
        url=judge.url, key=judge.key, progress=progress)
    found = []
    for pair, one, two in zip(pairs, replies[::2], replies[1::2], strict=True):
        read, written = ([getattr(reply, name) for reply in (one, two)] for name in ("prompt_tokens", "answer_tokens"))
        found.append(JudgePreference(
            judge_run=judge_run, pair=pair, as_it_is=parse_label(one.text, prompt) or "",
            swapped=parse_label(two.text, prompt) or "", prompt_tokens=None if None in read else sum(read),
            answer_tokens=None if None in written else sum(written)))
    return found


def _by_model(judge_run: JudgeRun, prompt: Prompt, pairs: Sequence[AnswerPair], rows: Sequence[FrozenRow],
              folder: Path, progress: Progress) -> list[JudgePreference]:
    """By the embedded model: the side whose name is the likelier answer."""
    [said] = score_rows(rows, [prompt], folder=folder, progress=progress)
    sides = [prompt.labels[k].name for k in said.scores.argmax(axis=1)]
    return [JudgePreference(judge_run=judge_run, pair=pair, as_it_is=one, swapped=two)
            for pair, one, two in zip(pairs, sides[::2], sides[1::2], strict=True)]
