"""What a project serves: its champion, an adapter or a prompt without one, else the best prompt that was tried."""

from dataclasses import dataclass

from django.conf import settings
from django.db.models import F, Q, Subquery

from projects.models import Project
from training.language_model import model_identity
from training.models import Adapter, Promotion, Run, Verdict
from training.services.quoting import has_lost_a_quote


@dataclass(frozen=True)
class Champion:
    """run: whose prompt asks. adapter: what answers to it; None: the bare model."""

    run: Run
    adapter: Adapter | None

    @property
    def title(self) -> str:
        return str(self.adapter) if self.adapter else f"{self.run.title} (run {self.run.pk})"


def champion_of(project: Project) -> Champion | None:
    """What was made the champion; None while nothing was, then the best prompt serves."""
    newest = Promotion.objects.filter(project=project).values("run")[:1]
    is_it = Q(adapter__project=project, adapter__stage=Adapter.Stage.champion) | Q(
        pk=Subquery(newest), kind__in=Run.PROMPTS)  # what is no adapter is it while no adapter is
    run = Run.objects.filter(is_it).select_related("snapshot__project", "adapter").order_by(
        F("adapter").asc(nulls_last=True)).first()
    return Champion(run, getattr(run, "adapter", None)) if run else None


def serving_run(project: Project) -> Run | None:
    """The champion's run, else that of the best prompt; None while no prompt was tried."""
    champion = champion_of(project)
    if champion is not None:
        return champion.run
    verdict = best_prompt_verdict(project)
    return verdict.best_prompt if verdict else None


def best_prompt_verdict(project: Project) -> Verdict | None:
    """The newest verdict: its best prompt serves while there is no champion."""
    return Verdict.objects.filter(snapshot__project=project).select_related("best_prompt__snapshot__project").order_by(
        "-pk").first()


def former_champion(project: Project) -> Champion | None:
    """What served until the present champion was promoted; None where nothing did, or nobody knows."""
    champion = champion_of(project)
    newest = Promotion.objects.filter(project=project).select_related("instead_of__adapter").first()
    if champion is None or newest is None or newest.run_id != champion.run.pk or newest.instead_of is None:
        return None
    return Champion(newest.instead_of, getattr(newest.instead_of, "adapter", None))


def has_been_champion(run: Run) -> bool:
    """Whether it served before something else was promoted, or is promoted now."""
    return Promotion.objects.filter(Q(run=run) | Q(instead_of=run)).exists()


def erasure_obstacle(run: Run) -> str:
    """Why a run's prompt cannot be asked after an erasure, in words; "" where it can."""
    return (f"The prompt of {run} quoted a text that was erased, so it cannot be asked any more. Run the baseline on a "
            "new snapshot.") if has_lost_a_quote(run) else ""


def asking_obstacle(run: Run) -> str:
    """Why a prompt cannot serve as it was judged, in words; "" where it can."""
    if obstacle := erasure_obstacle(run):
        return obstacle
    was = str(run.config.get("model", ""))
    if "prompt_tokens" not in run.config:
        if run.config.get("prompt", {}).get("neighbours"):
            return (f"{run} shows each text the training rows most like it, which Goldpan looks up for the embedded "
                    "model only. Promote an adapter, or try prompts without nearest examples.")
        if settings.GOLDPAN_LLM_URL and was == settings.GOLDPAN_LLM_MODEL:
            return ""
        return (f"{run} was tried with the model {was}, which is not the one that is configured now. Run the baseline "
                "on a new snapshot.")
    if not (settings.GOLDPAN_BASE_MODEL / "config.json").exists():
        return ""  # the model's own process says what it lacks
    now = model_identity(settings.GOLDPAN_BASE_MODEL)
    return "" if was == now else (f"{run} was made with the model {was}, and GOLDPAN_BASE_MODEL is {now} now: it would "
                                  "not answer as it was evaluated.")
