"""What serves a project: its champion, an adapter or a prompt as it was evaluated, or else the best prompt.

A request names it: “<project>/champion”, “<project>/prompt”, “<project>/adapter-<number>”; the project's part may be
left out.
"""

import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from curation.models import Erasure
from jobs.progress import silent
from projects.errors import UserError
from projects.models import Project
from serving.answering import Backend, Served
from serving.embedded import EmbeddedModel
from serving.endpoint import Endpoint
from serving.examples import write_examples
from serving.models import Deployment
from training.language_model import model_identity
from training.models import Adapter, Evaluation, Run
from training.prompts import Prompt, prompt_from_json
from training.services.cards import base_model_of
from training.services.champions import asking_obstacle, best_prompt_verdict, champion_of, erasure_obstacle
from training.services.showing import showable
from training.services.stored import materialise

CHAMPION, PROMPT = "champion", "prompt"
EXAMPLES = "examples"  # the folder's name, before the run's number
ENDPOINT_TOKENS = 1024  # an endpoint's answer may have so many
_ADAPTER = re.compile(r"adapter-(\d{1,15})")


class NotServed(UserError):
    """Nothing answers under this name, in words: what is missing."""


class UnknownModel(NotServed):
    """The project has no such model."""


@dataclass(frozen=True)
class Choice:
    """What a name stands for. run: whose prompt asks; it was evaluated."""

    slot: str
    run: Run
    adapter: Adapter | None


def slug_of(project: Project) -> str:
    """The project's part of a model's name."""
    return slugify(project.name) or f"project-{project.pk}"


def names_of(project: Project) -> list[str]:
    """The models that a request can name, the champion first; [] while nothing can serve."""
    adapters = Adapter.objects.filter(project=project, run__evaluations__split="test").select_related("run").order_by(
        "pk").distinct()
    names = [f"adapter-{adapter.pk}" for adapter in adapters if adapter.can_serve]
    if best_prompt_verdict(project) is not None:
        names.insert(0, PROMPT)
    return [f"{slug_of(project)}/{name}" for name in [CHAMPION, *names]] if names else []


def choose(project: Project, name: str) -> Choice:
    """Return what the name stands for; "" is the champion. Raises NotServed in words."""
    short = name.rpartition("/")[2] or CHAMPION
    if "/" in name and name.rpartition("/")[0] not in (slug_of(project), project.name, str(project.pk)):
        raise UnknownModel(f"“{name:.120}” is a model of another project than this key's, “{project}”. Its models "
                           f"begin with “{slug_of(project)}/”.")
    if match := _ADAPTER.fullmatch(short):
        adapter = Adapter.objects.filter(project=project, pk=int(match[1])).select_related("run__snapshot").first()
        if adapter is None:
            raise UnknownModel(f"“{project}” has no adapter {match[1]}. There are: {', '.join(names_of(project))}.")
        return _of_adapter(Deployment.Slot.named, adapter)
    if short not in (CHAMPION, PROMPT):
        raise UnknownModel(f"There is no model “{name:.120}”. There are: {', '.join(names_of(project)) or 'none yet'}.")
    slot = Deployment.Slot.champion if short == CHAMPION else Deployment.Slot.named
    champion = champion_of(project) if short == CHAMPION else None
    if champion is not None:
        return _of_adapter(slot, champion.adapter) if champion.adapter else Choice(slot, champion.run, None)
    verdict = best_prompt_verdict(project)
    if verdict is None:
        raise NotServed(f"Nothing in “{project}” can answer yet: no prompt has been tried. Approve a snapshot and run "
                        "the baseline.")
    return Choice(slot, verdict.best_prompt, None)


def _of_adapter(slot: str, adapter: Adapter) -> Choice:
    if not adapter.can_serve:
        raise NotServed(f"{adapter} does not serve: it was never asked what this project asks. Its page says why.")
    return Choice(slot, adapter.run, adapter)


def serve(project: Project, name: str) -> tuple[Served, Deployment]:
    """Return what answers under this name, as a backend is told, and its deployment, written if it is new.

    Raises NotServed in words if nothing answers, or not as it was evaluated.
    """
    return serve_choice(project, choose(project, name), name)


def serve_choice(project: Project, choice: Choice, name: str = "") -> tuple[Served, Deployment]:
    """The same for what was chosen already. name: what the request calls it."""
    prompt = prompt_of(choice)
    backend = backend_of(choice)
    is_here = backend == Deployment.Backend.embedded
    if choice.adapter is not None and is_here:
        _check_base(choice.adapter)
    deployment = _deployment(project, choice, backend)
    is_written = not prompt.has_labels
    return Served(
        name=f"{slug_of(project)}/{name.rpartition('/')[2] or CHAMPION}", deployment=deployment.pk, prompt=prompt,
        bias=() if is_written or not is_here else _bias(choice),
        adapter=_files(choice.adapter) if choice.adapter and is_here else None,
        examples=_examples(choice.run) if prompt.neighbours else None,
        max_new_tokens=_longest(choice, backend) if is_written else 0,
        model="" if is_here else _model_name(choice)), deployment


def prompt_of(choice: Choice) -> Prompt:
    """The prompt that was evaluated. Raises NotServed if it cannot be asked as it was."""
    obstacle = erasure_obstacle(choice.run) if choice.adapter else asking_obstacle(choice.run)
    if obstacle:
        raise NotServed(obstacle)
    return prompt_from_json(choice.run.config["prompt"])


def backend_of(choice: Choice) -> Deployment.Backend:
    """Where it is asked: where it was evaluated; an adapter behind a server of adapters if there is one."""
    if choice.adapter is not None:
        return Deployment.Backend.endpoint if settings.GOLDPAN_SERVING_URL else Deployment.Backend.embedded
    return Deployment.Backend.embedded if "prompt_tokens" in choice.run.config else Deployment.Backend.endpoint


def open_backend(deployment: Deployment) -> Backend:
    """What asks the model of a deployment."""
    if deployment.backend == Deployment.Backend.embedded:
        return EmbeddedModel(settings.GOLDPAN_MODEL_SOCKET)
    if deployment.adapter_id is not None:
        return Endpoint(settings.GOLDPAN_SERVING_URL, settings.GOLDPAN_SERVING_KEY, settings.GOLDPAN_ALLOWED_ORIGINS)
    return Endpoint(settings.GOLDPAN_LLM_URL, settings.GOLDPAN_LLM_KEY, settings.GOLDPAN_ALLOWED_ORIGINS)


def _evaluation(choice: Choice) -> Evaluation:
    found = Evaluation.objects.filter(run=choice.run, split="test").first()
    if found is None:
        raise NotServed(f"{choice.adapter or choice.run} has not been evaluated, so nobody knows how it answers. "
                        "Evaluate it first.")
    return found


def _bias(choice: Choice) -> tuple[float, ...]:
    """How labels were balanced when it was evaluated: a prompt has it in its run, an adapter in its evaluation."""
    stored = choice.run.config.get("calibration") or _evaluation(choice).metrics.get("calibration_details")
    if stored is None:
        raise NotServed(f"The evaluation of {choice.run} does not say how its labels were balanced, so it cannot "
                        "answer as it did there. Train or try it again.")
    return tuple(stored["bias"])


def _longest(choice: Choice, backend: Deployment.Backend) -> int:
    if backend == Deployment.Backend.endpoint:
        return ENDPOINT_TOKENS
    said = choice.run.config if choice.adapter is None else _evaluation(choice).metrics
    return int(said["max_new_tokens"])


def _check_base(adapter: Adapter) -> None:
    """Raises NotServed if it would answer on another model than the one that it was evaluated on."""
    if not (settings.GOLDPAN_BASE_MODEL / "config.json").exists():
        return  # the model's own process says what it lacks
    was, now = base_model_of(adapter), model_identity(settings.GOLDPAN_BASE_MODEL)
    if was != now:
        raise NotServed(f"{adapter} was made with the model {was}, and GOLDPAN_BASE_MODEL is {now} now: it would not "
                        "answer as it was evaluated.")


def _model_name(choice: Choice) -> str:
    return f"adapter-{choice.adapter.pk}" if choice.adapter else settings.GOLDPAN_LLM_MODEL


def _deployment(project: Project, choice: Choice, backend: Deployment.Backend) -> Deployment:
    same = {"run": choice.run, "adapter": choice.adapter, "backend": backend}

    def standing() -> Deployment | None:
        of_slot = Deployment.objects.filter(project=project, slot=choice.slot)
        if choice.slot == Deployment.Slot.named:
            return of_slot.filter(**same).first()
        newest = of_slot.first()
        is_same = newest is not None and (newest.run_id, newest.adapter_id, newest.backend) == (
            choice.run.pk, choice.adapter.pk if choice.adapter else None, backend)
        return newest if is_same else None

    found = standing()
    if found is None:
        with transaction.atomic():
            Project.objects.select_for_update().get(pk=project.pk)  # of two first requests one writes it
            found = standing() or Deployment.objects.create(project=project, slot=choice.slot, **same)
    return found


def _files(adapter: Adapter) -> Path:
    """The adapter's files, each checked by its hash."""
    return _once(settings.GOLDPAN_ADAPTERS / f"adapter-{adapter.pk}", lambda folder: materialise(adapter, folder))


def _examples(run: Run) -> Path:
    """The training rows that a prompt may show, with the vectors that its own job has computed."""
    def write(folder: Path) -> None:
        shown = showable(run.job, run.snapshot, silent)
        erased = set(Erasure.objects.filter(project=run.project).values_list("example__key", flat=True))
        left = [n for n, row in enumerate(shown.rows) if row.key not in erased]  # its line may not be blanked yet
        write_examples(folder, [shown.shots[n] for n in left], shown.vectors[left])

    return _once(settings.GOLDPAN_ADAPTERS / f"{EXAMPLES}-{run.pk}", write)


def forget_examples(project: Project) -> None:
    """Remove the texts that prompts of the project may show: they are written anew, without those that were erased."""
    for pk in Run.objects.filter(snapshot__project=project).values_list("pk", flat=True):
        shutil.rmtree(settings.GOLDPAN_ADAPTERS / f"{EXAMPLES}-{pk}", ignore_errors=True)


def _once(folder: Path, write: Callable[[Path], object]) -> Path:
    """A folder that the model's process reads, written by whoever needs it first; it appears whole, by rename."""
    if folder.exists():
        return folder
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    write(temporary)
    try:
        temporary.rename(folder)
    except OSError:  # another thread was faster, with the same files
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
