"""Before an A/B test: the same kept requests asked of champion and challenger, and people who judge them blind.

1. `start_shadow` queues a job that asks both about requests that are kept with their words; nobody is shown an answer.
   Both are asked, as what is kept may have its personal data covered, unlike what the champion answered.
2. It says how many answers differ, and with that how many people would have to judge.
3. `ask_people` makes a project of type preference of them, whose batch people judge in Label Studio as any other: each
   on a desk of their own, sides drawn at random, without a word of whose answer is whose.
"""

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from curation.models import Erasure
from curation.services.erasing import erase
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, Example
from labeling.services.batches import Overlap, create_batch
from labeling.task_types import task_type
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import Project
from projects.services import add_member, audit, create_project
from serving.answering import Answer, Question, Reply, Served, Unanswerable
from serving.models import BlindComparison, BlindPair, Deployment, ExchangeContent, Shadow, ShadowPair
from serving.services.deployments import CHAMPION, serve, serve_choice
from serving.services.experiments import challengers_of
from serving.services.gateway import backend_of
from serving.services.parity import AT_ONCE, ask_patiently
from stats.shadow import PreferenceResult, Preferences, ToJudge, to_judge, weigh_preferences

N_ASKED, MOST_ASKED = 200, 2000  # requests of one shadow
NEWEST = 20_000  # kept requests among which they are drawn
ASKED = "Which answer is better? The two stand in random order. If neither is, say tie."


def kept_requests(project: Project) -> QuerySet[ExchangeContent]:
    """Requests to the champion whose words are kept."""
    return ExchangeContent.objects.filter(project=project, exchange__deployment__slot=Deployment.Slot.champion)


def shadow_job_of(project: Project) -> Job | None:
    return Job.objects.filter(project=project, kind="shadow").first()


def start_shadow(project: Project, *, challenger: str, n: int = N_ASKED, by: User, wake: bool = True) -> Job:
    """Queue the comparison on n kept requests, or on all if there are fewer; one that waits or runs is returned.

    challenger: a name of `challengers_of`. Raises NotServed if nothing serves, UserError if nothing is kept.
    """
    serve(project, CHAMPION)
    if challenger not in {one.name for one in challengers_of(project)}:
        raise UserError(f"“{challenger:.40}” cannot be compared: choose an adapter or a prompt that was evaluated and "
                        "does not serve already.")
    if not 1 <= n <= MOST_ASKED:
        raise UserError(f"Compare on 1 to {MOST_ASKED:,} requests; got {n:,}.")
    if not kept_requests(project).exists():
        raise UserError("No request is kept with its words, so there is nothing to ask both. Keep a share of them, "
                        "under “Limits and what is kept” of the page Live.")
    waiting = Job.objects.active().filter(project=project, kind="shadow").first()
    return waiting or enqueue(
        "shadow", project, title=f"Asking champion and {challenger} the same requests", requested_by=by,
        params={"challenger": challenger, "n": n, "seed": secrets.randbelow(2**31)},
        exclusive=f"shadow:{project.pk}", wake=wake)


@dataclass(frozen=True)
class _Said:
    answer: Answer
    seconds: float

    @property
    def kept(self) -> dict[str, Any]:
        return {"text": self.answer.text, "value": self.answer.value}


def run_shadow(job: Job, progress: Progress) -> None:
    project, params = job.project, job.params
    chosen = next((one for one in challengers_of(project) if one.name == params["challenger"]), None)
    if chosen is None:
        raise UserError(f"{params['challenger']} serves by now, or is gone. Choose another challenger.")
    served, champion = serve(project, CHAMPION)
    other, challenger = serve_choice(project, chosen.choice, chosen.name)
    random = np.random.default_rng(params["seed"])
    contents = _drawn(project, params["n"], random)
    questions = [Question(one.text, one.data) for one in contents]
    mine = _ask_all(champion, served, questions, progress, "Asking the champion")
    theirs = _ask_all(challenger, other, questions, progress, "Asking the challenger")
    swapped = random.random(len(contents)) < 0.5
    with completing(job) as result:
        n_differing = sum(not _is_same(a.answer, b.answer) for a, b in zip(mine, theirs, strict=True))
        shadow = Shadow.objects.create(
            project=project, champion=champion, challenger=challenger, job=job, n=len(contents),
            n_differing=n_differing, seed=params["seed"], n_unreadable=[
                sum(one.answer.frozen is None for one in side) for side in (mine, theirs)],
            seconds=[float(np.mean([one.seconds for one in side])) for side in (mine, theirs)])
        still = set(ExchangeContent.objects.filter(pk__in=[one.pk for one in contents]).values_list("pk", flat=True))
        ShadowPair.objects.bulk_create(
            ShadowPair(shadow=shadow, content=content, champion_answer=a.kept, challenger_answer=b.kept,
                       is_swapped=bool(is_swapped))
            for content, a, b, is_swapped in zip(contents, mine, theirs, swapped, strict=True)
            if content.pk in still and not _is_same(a.answer, b.answer))
        said = {"shadow": shadow.pk, "n": shadow.n, "n_differing": n_differing}
        audit(project, job.requested_by, "shadow", {**said, "champion": champion.pk, "challenger": challenger.pk})
        result |= said


def _drawn(project: Project, n: int, random: np.random.Generator) -> list[ExchangeContent]:
    """n of the newest kept requests at random, each text once."""
    newest = dict(kept_requests(project).order_by("-pk").values_list("content_sha256", "pk")[:NEWEST])
    pks = sorted(newest.values())
    chosen = random.permutation(len(pks))[:n]
    return list(ExchangeContent.objects.filter(pk__in=[pks[k] for k in chosen]).order_by("pk"))


def _ask_all(deployment: Deployment, served: Served, questions: Sequence[Question], progress: Progress,
             stage: str) -> list[_Said]:
    backend, said = backend_of(deployment), []

    def ask(question: Question) -> _Said:
        try:
            answer, reply = ask_patiently(backend, served, question)
        except Unanswerable as error:
            answer, reply = Answer("", None, None, str(error)), Reply()
        return _Said(answer, reply.model_seconds / reply.n_together)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for one in pool.map(ask, questions):
                said.append(one)
                progress(stage, len(said), len(questions))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return said


def _is_same(one: Answer, other: Answer) -> bool:
    if one.frozen is not None or other.frozen is not None:
        return one.frozen == other.frozen
    return one.text.split() == other.text.split()


# What it shows, and what people say

@dataclass(frozen=True)
class ShadowShown:
    """pairs: the first that differ, while their words are kept. result: what people prefer, None before they are asked.
    n_open: pairs that nobody has judged."""

    to_judge: ToJudge
    pairs: list[ShadowPair]
    n_kept: int
    comparison: BlindComparison | None
    result: PreferenceResult | None
    n_open: int


def shadow_shown(shadow: Shadow, *, n_pairs: int = 10) -> ShadowShown:
    comparison = BlindComparison.objects.filter(shadow=shadow).select_related("judged_in", "batch").first()
    said = preferences_of(comparison) if comparison else None
    n_pairs_asked = BlindPair.objects.filter(comparison=comparison).count() if comparison else 0
    return ShadowShown(
        to_judge(shadow.n, shadow.n_differing),
        list(shadow.pairs.select_related("content")[:n_pairs]), shadow.pairs.count(), comparison,
        weigh_preferences(said) if said else None,
        n_pairs_asked - (said.champion + said.challenger + said.ties if said else 0))


@transaction.atomic
def ask_people(shadow: Shadow, *, by: User, n_labels: int = 1) -> BlindComparison:
    """Have people judge a shadow's differing answers blind: a project of type preference with a batch in Label Studio.

    n_labels: how many people judge each pair. Everybody in the project has the same role there. The texts are copied,
    and stay as long as that project does; an erasure of an example reaches the copies.
    Raises UserError if people are asked already, or nothing is left to judge.
    """
    project = Project.objects.select_for_update().get(pk=shadow.project_id)
    if BlindComparison.objects.filter(shadow=shadow).exists():
        raise UserError("People are asked about these answers already.")
    pairs = [(pair, data) for pair, data in _sides(shadow) if _is_comparable(pair.content.text, data)]
    if not pairs:
        raise UserError("There is nothing to judge: no two answers differ, or their words are no longer kept.")
    judged_in = create_project(
        name=f"{project.name[:32]}, blind {shadow.pk}", task_type=Project.TaskType.preference,
        schema={"allow_tie": True}, instructions=f"{ASKED}\n\n{project.instructions}".strip(), target_value=0.5,
        created_by=by)
    shares = {"pool": 1.0, "dev": 0.0, "test": 0.0}  # nothing is trained on it, so nothing is held out
    Project.objects.filter(pk=judged_in.pk).update(split_shares=shares)
    judged_in.refresh_from_db()
    for member in project.memberships.exclude(user=by).select_related("user"):
        add_member(judged_in, member.user, member.role, by=by)
    examples = Example.objects.bulk_create(
        Example(project=judged_in, key=f"pair-{pair.pk}", text=pair.content.text, data=data, split=Example.Split.pool,
                content_sha256=(sha256 := content_sha256(pair.content.text)), group=sha256) for pair, data in pairs)
    batch = create_batch(judged_in, [one.pk for one in examples], title="Which answer is better?", by=by,
                         overlap=Overlap(n_labels, 0.0, max(n_labels, 2), max(n_labels, 3)))
    comparison = BlindComparison.objects.create(shadow=shadow, judged_in=judged_in, batch=batch, created_by=by)
    BlindPair.objects.bulk_create(
        BlindPair(comparison=comparison, example=example, content_sha256=pair.content.content_sha256,
                  is_swapped=pair.is_swapped) for example, (pair, _) in zip(examples, pairs, strict=True))
    audit(project, by, "ask_people_blind", {"shadow": shadow.pk, "project": judged_in.pk, "n_pairs": len(pairs)})
    return comparison


def _sides(shadow: Shadow) -> Iterator[tuple[ShadowPair, dict[str, str]]]:
    for pair in shadow.pairs.select_related("content"):
        left, right = pair.champion_answer["text"], pair.challenger_answer["text"]
        yield pair, {"left": right, "right": left} if pair.is_swapped else {"left": left, "right": right}


def _is_comparable(text: str, data: dict[str, str]) -> bool:
    try:
        task_type(Project.TaskType.preference).validate_data(text, data, {})
    except ValueError:
        return False
    return bool(text.strip())


def preferences_of(comparison: BlindComparison) -> Preferences:
    """What people said so far: of each pair what most of them preferred, a draw among them being a tie."""
    swapped = dict(BlindPair.objects.filter(comparison=comparison).values_list("example", "is_swapped"))
    votes: dict[int, Counter[str]] = {}
    for example, value in Annotation.objects.filter(example__in=swapped).current().values_list("example", "value"):
        votes.setdefault(example, Counter())[str(value)] += 1
    won: Counter[str] = Counter()
    for example, counts in votes.items():
        side = _most(counts)
        won["left"] += side == "left"
        won["tie" if side == "tie" else "challenger" if (side == "left") == swapped[example] else "champion"] += 1
    return Preferences(won["champion"], won["challenger"], won["tie"], won["left"])


def _most(counts: Counter[str]) -> str:
    first, *rest = counts.most_common()
    return "tie" if rest and rest[0][1] == first[1] else first[0]


def erase_compared(examples: Sequence[Example]) -> dict[str, int]:
    """Erase the copies that blind comparisons made of these examples of one project; see GOLDPAN_ON_ERASE."""
    copies = list(Example.objects.filter(
        pk__in=BlindPair.objects.filter(
            comparison__shadow__project=examples[0].project_id,
            content_sha256__in={content_sha256(one.text) for one in examples}).values("example"),
        erasure__isnull=True).select_related("project"))
    done = Erasure.objects.filter(example__in=examples).select_related("erased_by").first()
    by_project: dict[int, list[Example]] = {}
    for copy in copies:
        by_project.setdefault(copy.project_id, []).append(copy)
    for some in by_project.values():
        assert done is not None
        erase(some, reason=f"A copy of an example of {examples[0].project} that was erased.", by=done.erased_by)
    return {"n_compared": len(copies)}


