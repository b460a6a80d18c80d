"""Prompts in a curator's own words: written, changed version by version, compared, and tried on dev rows.

A version is tried on dev only, as often as somebody likes, and each look is counted: whoever chooses among many by the
same rows chooses luck, too. The test rows see the best prompt of a baseline, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from curation.models import Snapshot
from curation.services.snapshots import read_rows, require_approved
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from projects.word_diff import Piece, word_diff
from stats.intervals import Interval, wilson
from stats.paired import PairedComparison, PairedScores
from training.models import Evaluation, PromptVersion, Run
from training.prompts import TEXT, Prompt, by_hand, zero_shot
from training.services.asking import Candidate, asker_for, write_tried
from training.services.comparison import pair
from training.services.quoting import has_lost_words
from training.services.showing import N_SHOTS, Showable, showable

MAX_CHARS = 20_000  # of the system message, and of the instruction
MANY_LOOKS = 20  # at the same dev rows: from here on the page warns


@dataclass(frozen=True)
class Words:
    """What a version says, and which solved examples come with it."""

    system: str
    instruction: str
    examples: PromptVersion.Examples


def starting_words(project: Project) -> Words:
    """What a new prompt begins with: the guideline, the definitions, how to answer."""
    prompt = zero_shot(project.schema, project.instructions, project.task_type)
    return Words(prompt.system, prompt.instruction, PromptVersion.Examples.none)


def words_of(version: PromptVersion) -> Words:
    return Words(version.system, version.instruction, version.examples)


@transaction.atomic
def write_prompt(project: Project, *, name: str, words: Words, note: str, by: User) -> PromptVersion:
    """Write the first version of a prompt.

    Raises UserError if there is one of this name, or {text} is not in the instruction once.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 60:
        raise UserError(f"A prompt's name has 1 to 60 characters; this one has {len(name)}.")
    Project.objects.select_for_update().get(pk=project.pk)
    if PromptVersion.objects.filter(project=project, name=name).exists():
        raise UserError(f"There is a prompt “{name}” already. Change that one, or choose another name.")
    return _write(project, name, 1, words, note or "First version.", by)


@transaction.atomic
def change_prompt(version: PromptVersion, *, words: Words, note: str, by: User) -> PromptVersion:
    """Write the next version of a prompt; the version that it was written from stays as it is.

    Raises UserError if it says the same, {text} is not in the instruction once, there is no note, or somebody has
    written another version since.
    """
    Project.objects.select_for_update().get(pk=version.project_id)
    newest = PromptVersion.objects.filter(project=version.project_id, name=version.name).first()
    if newest != version:
        raise UserError(f"{newest} has been written since your page showed version {version.version}. Read it, then "
                        "change that one.")
    if tidy(words) == words_of(version):
        raise UserError(f"{version} says exactly this already. Change something first.")
    if not note.strip():
        raise UserError("Say in a few words what changed and why: whoever compares the versions reads it.")
    return _write(version.project, version.name, version.version + 1, words, note, by)


def tidy(words: Words) -> Words:
    system, instruction = (text.replace("\r\n", "\n").strip() for text in (words.system, words.instruction))
    return Words(system, instruction, words.examples)


def _write(project: Project, name: str, number: int, words: Words, note: str, by: User) -> PromptVersion:
    words = tidy(words)
    if words.instruction.count(TEXT) != 1:
        raise UserError(f"The question says once, as {TEXT}, where the text goes; this one says it "
                        f"{words.instruction.count(TEXT)} times.")
    for what, text in (("The system message", words.system), ("The question", words.instruction)):
        if len(text) > MAX_CHARS:
            raise UserError(f"{what} has at most {MAX_CHARS:,} characters; this one has {len(text):,}.")
    version = PromptVersion.objects.create(
        project=project, name=name, version=number, note=" ".join(note.split())[:500], created_by=by,
        content={"words": {"system": words.system, "instruction": words.instruction}, "examples": words.examples})
    audit(project, by, "write_prompt", {"prompt": name, "version": number})
    return version


def newest_prompts(project: Project) -> list[PromptVersion]:
    """The newest version of every prompt, the last written first."""
    newest: dict[str, PromptVersion] = {}
    for version in PromptVersion.objects.filter(project=project).select_related("created_by"):
        newest.setdefault(version.name, version)
    return list(newest.values())


def newest_versions(project: Project) -> list[PromptVersion]:
    """The newest version of every prompt that can still be asked, the last written first."""
    return [version for version in newest_prompts(project) if not has_lost_words(version)]


def candidate_of(version: PromptVersion, shown: Showable) -> Candidate:
    """The version as a prompt that can be asked, with its solved examples of the snapshot's training rows."""
    examples, project = version.examples, version.project
    prompt: Prompt = by_hand(
        project.schema, project.task_type, name=str(version), system=version.system, instruction=version.instruction,
        shots=shown.spread() if examples == PromptVersion.Examples.spread else (),
        neighbours=N_SHOTS if examples == PromptVersion.Examples.nearest else 0)
    return Candidate(Run.Kind.by_hand, prompt, {"prompt_version": version.pk})


# On dev

def snapshot_to_try(project: Project) -> Snapshot:
    """The snapshot whose dev rows prompts are tried on: the newest, which has to be approved.

    Raises UserError if there is none, or it is not approved.
    """
    snapshot = Snapshot.objects.filter(project=project).first()
    if snapshot is None:
        raise UserError("Prompts are tried on the dev rows of a snapshot, and there is none. Freeze one first.")
    require_approved(snapshot)
    return snapshot


def trying_obstacle(version: PromptVersion) -> str:
    """Why it cannot be tried now, in words; "" where it can."""
    if has_lost_words(version):
        return f"{version} lost words when an example was erased, so it is not asked any more. Write a new version."
    try:
        snapshot_to_try(version.project)
    except UserError as error:
        return str(error)
    return ""


def start_try(version: PromptVersion, *, by: User, wake: bool = True) -> Job:
    """Queue asking a version about the dev rows of the newest snapshot; a try that waits or runs is returned.

    Raises UserError if there is no approved snapshot, or the version lost words by an erasure.
    """
    if obstacle := trying_obstacle(version):
        raise UserError(obstacle)
    snapshot = snapshot_to_try(version.project)
    waiting = Job.objects.active().filter(project=version.project_id, kind="try_prompt",
                                          params__prompt_version=version.pk)
    return waiting.first() or enqueue(
        "try_prompt", version.project, title=f"Trying {version} on the dev rows of {str(snapshot).lower()}",
        requested_by=by, params={"prompt_version": version.pk, "snapshot": snapshot.pk},
        exclusive=f"try:{version.pk}", wake=wake)


def run_try(job: Job, progress: Progress) -> None:
    version = PromptVersion.objects.select_related("project").get(pk=job.params["prompt_version"])
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    require_approved(snapshot)
    rows = read_rows(snapshot)
    shown = showable(job, snapshot, progress, rows=rows)
    asker = asker_for(job, shown, progress, [row.label for row in rows if row.split == "train"])
    arm = asker.try_on_dev(candidate_of(version, shown), [row for row in rows if row.split == "dev"])
    with completing(job) as result:
        run = write_tried(job, snapshot, arm)
        audit(snapshot.project, job.requested_by, "try_prompt", {
            "prompt": version.name, "version": version.version, "snapshot": snapshot.number, "run": run.pk})
        result |= {"run": run.pk, "dev": arm.dev_score}


def n_dev_looks(snapshot: Snapshot) -> int:
    """How often prompts have been tried on the snapshot's dev rows, by baselines and one by one."""
    return Evaluation.objects.filter(snapshot=snapshot, split="dev", run__kind__in=Run.PROMPTS).count()


def tries_of(versions: Sequence[PromptVersion]) -> dict[int, list[Evaluation]]:
    """Version id → its dev evaluations, newest first; one query."""
    found: dict[int, list[Evaluation]] = {version.pk: [] for version in versions}
    evaluations = Evaluation.objects.filter(
        split="dev", run__kind=Run.Kind.by_hand, run__config__prompt_version__in=list(found)).select_related(
        "run", "snapshot").order_by("-pk")
    for evaluation in evaluations:
        found[evaluation.run.config["prompt_version"]].append(evaluation)
    return found


def dev_score(evaluation: Evaluation) -> Interval:
    """What a prompt got on dev; where labels were balanced by those very rows, as judged by cross-fitting."""
    calibration = evaluation.run.config.get("calibration")
    if not calibration:
        return evaluation.measured.interval
    return wilson(round(calibration["dev_accuracy"] * evaluation.n), evaluation.n)


@dataclass(frozen=True)
class VersionsCompared:
    """Two versions word by word, and on the dev rows that both have answered, where there are such.

    difference: after minus before, on the same rows.
    """

    system: list[Piece]
    instruction: list[Piece]
    before: Evaluation | None
    after: Evaluation | None
    difference: PairedComparison | PairedScores | None


def compare_versions(before: PromptVersion, after: PromptVersion) -> VersionsCompared:
    tries = tries_of([before, after])
    newest = {one.snapshot_id: one for one in reversed(tries[before.pk])}
    both = next(((newest[one.snapshot_id], one) for one in tries[after.pk] if one.snapshot_id in newest
                 and newest[one.snapshot_id].run.config.get("model") == one.run.config.get("model")), None)
    first, second = both or (next(iter(tries[before.pk]), None), next(iter(tries[after.pk]), None))
    return VersionsCompared(
        word_diff(before.system, after.system), word_diff(before.instruction, after.instruction), first, second,
        pair(*both) if both and before != after else None)
