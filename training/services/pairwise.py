"""Two runs' written answers judged pair by pair: drawing the pairs, people's blind judgements, and what they come to.

Rows hold keys and choices only. Texts are read from the examples and answers from the stored evaluations, and of an
erased example no pair is shown, asked about or counted.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q, QuerySet

from jobs.models import Job
from labeling.overlap import FREE_TEXT
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from stats.intervals import Interval
from training.judging import (
    FIRST,
    SECOND,
    TIE,
    Pair,
    Weighed,
    mirrored,
    settle,
    share_of_second,
    weigh,
    win_sentence,
)
from training.models import AnswerPair, Evaluation, HumanPreference, JudgePreference, JudgeRun, PairwiseEvaluation, Run
from training.services.scoring import Prediction, read_predictions

MOST_DISAGREEMENTS = 10
SHARES = {"first": FIRST, "tie": TIE, "second": SECOND}


@transaction.atomic
def open_pairwise(run: Run, other: Run, *, by: User) -> PairwiseEvaluation:
    """Draw the pairs of two runs' answers to the test rows, in the order and on the sides in which people see them.

    What two runs have already is returned. Raises UserError if answers are not free text, the runs are of two
    snapshots, or one has not been evaluated on the test rows.
    """
    if why := pairwise_obstacle(run, other):
        raise UserError(why)
    project = run.project
    Project.objects.select_for_update().get(pk=project.pk)  # of two clicks one draws
    first, second = _evaluations(run, other)
    found = PairwiseEvaluation.objects.filter(first=first, second=second).first()
    if found is not None:
        return found
    a, b = read_predictions(first), read_predictions(second)
    if [one.key for one in a] != [one.key for one in b]:
        raise ValueError("two evaluations of different rows, or in another order, cannot be paired")
    examples = dict(first.snapshot.rows.filter(split="test").values_list("example__key", "example_id"))
    pairwise = PairwiseEvaluation.objects.create(first=first, second=second, seed=secrets.randbelow(2**31),
                                                 created_by=by)
    random = np.random.default_rng(pairwise.seed)
    positions, swapped = random.permutation(len(a)), random.random(len(a)) < 0.5
    AnswerPair.objects.bulk_create(AnswerPair(
        pairwise=pairwise, example_id=examples[one.key], position=int(positions[k]), is_swapped=bool(swapped[k]),
        settled=settle(one.predicted, two.predicted)) for k, (one, two) in enumerate(zip(a, b, strict=True)))
    audit(project, by, "open_pairwise", {"pairwise": pairwise.pk, "runs": [first.run_id, second.run_id], "n": len(a)})
    return pairwise


def pairwise_obstacle(run: Run, other: Run) -> str:
    """Why two runs' answers cannot be judged in pairs, in words; "" where they can."""
    if run.project.task_type not in FREE_TEXT:
        return "Answers are judged in pairs where they are free text. Here the project's metric says what is right."
    if run == other:
        return "Choose two different runs."
    if run.snapshot_id != other.snapshot_id:
        return f"{run} and {other} are of two snapshots: choose two runs of one, which answer the same rows."
    if len(_evaluations(run, other)) < 2:
        return "Both runs have to be evaluated on the held-out rows first."
    return ""


def _evaluations(run: Run, other: Run) -> list[Evaluation]:
    return list(Evaluation.objects.filter(run__in=[run, other], split="test").select_related(
        "snapshot__project", "run").order_by("pk"))


# What people say

@dataclass(frozen=True)
class Shown:
    """A pair as people see it: answers 1 and 2 without a word of whose they are; gold: what people answered."""

    pair: AnswerPair
    answers: list[str]
    gold: str


def to_judge(pairwise: PairwiseEvaluation) -> QuerySet[AnswerPair]:
    """The pairs that somebody has to judge, in the order in which people are asked."""
    return AnswerPair.objects.filter(pairwise=pairwise, settled=None, example__erasure__isnull=True)


def pairs_left(pairwise: PairwiseEvaluation) -> QuerySet[AnswerPair]:
    """Those of them that no person has judged."""
    return to_judge(pairwise).exclude(pk__in=HumanPreference.objects.current().filter(
        pair__pairwise=pairwise).values("pair"))


def next_to_judge(pairwise: PairwiseEvaluation, *, by: User) -> Shown | None:
    """The next pair that this person sees, None where all are judged. Two people begin at different places."""
    left, n = pairs_left(pairwise).select_related("example"), pairwise.pairs.count()
    start = by.pk * 389 % n if n else 0
    pair = left.filter(position__gte=start).first() or left.first()
    if pair is None:
        return None
    first, second = (_answer_to(evaluation, pair.example.key) for evaluation in (pairwise.first, pairwise.second))
    said = [second, first] if pair.is_swapped else [first, second]
    return Shown(pair, [one.predicted or one.answer for one in said], first.gold)


def _answer_to(evaluation: Evaluation, key: str) -> Prediction:
    return next(one for one in read_predictions(evaluation) if one.key == key)


@transaction.atomic
def judge_pair(pair: AnswerPair, *, choice: str, by: User) -> HumanPreference:
    """Write which answer somebody found better. choice: “1” or “2” as the page showed them, or “tie”.

    Raises UserError for another choice, or if somebody has judged the pair.
    """
    if choice not in ("1", "2", "tie"):
        raise UserError(f"Say “1”, “2” or “tie”; got “{choice}”.")
    project = Project.objects.select_for_update().get(pk=pair.pairwise.project.pk)  # of two clicks one counts
    if not pairs_left(pair.pairwise).filter(pk=pair.pk).exists():
        raise UserError("Somebody has judged this pair since your page showed it. Go on with the next one.")
    is_second = (choice == "2") != pair.is_swapped
    preferred = HumanPreference.Choice.tie if choice == "tie" else (
        HumanPreference.Choice.second if is_second else HumanPreference.Choice.first)
    preference = HumanPreference.objects.create(pair=pair, choice=preferred, judged_by=by)
    audit(project, by, "judge_answers", {"pairwise": pair.pairwise_id, "preference": preference.pk,
                                         "choice": preferred})
    return preference


@transaction.atomic
def undo_preference(pairwise: PairwiseEvaluation, *, by: User) -> HumanPreference:
    """Take back this person's last judgement of these pairs. Raises UserError if there is none."""
    project = Project.objects.select_for_update().get(pk=pairwise.project.pk)
    last = HumanPreference.objects.current().filter(pair__pairwise=pairwise, judged_by=by).last()
    if last is None:
        raise UserError("You have judged no pair that could be taken back.")
    undone = HumanPreference.objects.create(pair=last.pair, choice=HumanPreference.Choice.open, judged_by=by)
    audit(project, by, "undo_judge_answers", {"pairwise": pairwise.pk, "preference": last.pk})
    return undone


# What they come to

def counted_judge(pairwise: PairwiseEvaluation) -> JudgeRun | None:
    """The judge whose word counts: the newest that has been asked about all pairs."""
    return JudgeRun.objects.filter(pairwise=pairwise, job__state=Job.State.succeeded).select_related("job").first()


def weighed(pairwise: PairwiseEvaluation) -> Weighed:
    """What people and the judge have said so far. It is kept until somebody says more or an example is erased."""
    judge = counted_judge(pairwise)
    last = HumanPreference.objects.filter(pair__pairwise=pairwise).order_by("-pk").values_list("pk", flat=True).first()
    n_live = AnswerPair.objects.filter(pairwise=pairwise, example__erasure__isnull=True).count()
    key = f"pairwise:{pairwise.pk}:{pairwise.seed}:{last}:{judge.pk if judge else 0}:{n_live}"
    found: Weighed | None = cache.get(key)
    if found is None:
        found = weigh(_pairs(pairwise, judge))
        cache.set(key, found, None)
    return found


def _pairs(pairwise: PairwiseEvaluation, judge: JudgeRun | None) -> list[Pair]:
    said = {one.key: (one, two) for one, two in zip(read_predictions(pairwise.first), read_predictions(pairwise.second),
                                                    strict=True)}
    people = {pair: SHARES[choice] for pair, choice in HumanPreference.objects.current().filter(
        pair__pairwise=pairwise).values_list("pair", "choice")}
    judged = {pair: (as_it_is, swapped) for pair, as_it_is, swapped in JudgePreference.objects.filter(
        judge_run=judge).values_list("pair", "as_it_is", "swapped")} if judge else {}
    rows = AnswerPair.objects.filter(pairwise=pairwise, example__erasure__isnull=True)
    return [Pair(said[key][0].group, settled, people.get(pk), judged.get(pk), len(said[key][0].predicted or ""),
                 len(said[key][1].predicted or ""))
            for pk, key, settled in rows.values_list("pk", "example__key", "settled")]


@dataclass(frozen=True)
class Disagreement:
    """A pair of which people and the judge say different things; both say whose answer is better, or “neither”."""

    example: int
    text: str
    first: str
    second: str
    people: str
    judge: str


def disagreements(pairwise: PairwiseEvaluation, judge: JudgeRun) -> list[Disagreement]:
    """Where people and judge differ, at most MOST_DISAGREEMENTS: those first where both prefer another answer."""
    said = {one.key: (one, two) for one, two in zip(read_predictions(pairwise.first), read_predictions(pairwise.second),
                                                    strict=True)}
    judged = {one.pair_id: share_of_second(one.as_it_is, one.swapped)
              for one in JudgePreference.objects.filter(judge_run=judge)}
    current = HumanPreference.objects.current().filter(
        pair__pairwise=pairwise, pair__example__erasure__isnull=True, pair__in=judged).select_related("pair__example")
    differing = sorted((one for one in current if judged[one.pair_id] != SHARES[one.choice]), key=lambda one: (
        -abs(judged[one.pair_id] - SHARES[one.choice]), one.pair.position))[:MOST_DISAGREEMENTS]
    names = {FIRST: f"run {pairwise.first.run_id}", SECOND: f"run {pairwise.second.run_id}", TIE: "neither"}
    return [Disagreement(one.pair.example_id, one.pair.example.text, said[one.pair.example.key][0].predicted or "",
                         said[one.pair.example.key][1].predicted or "", names[SHARES[one.choice]],
                         names[judged[one.pair_id]]) for one in differing]


# For other pages

@dataclass(frozen=True)
class Win:
    """How often one run's answers win against a rival's, where enough pairs are judged. words: the same in a sentence.
    """

    pairwise: PairwiseEvaluation
    interval: Interval
    words: str


def pairwise_of(run: Run, other: Run) -> PairwiseEvaluation | None:
    """The pairs of these two runs, if they have been drawn."""
    return PairwiseEvaluation.objects.filter(
        Q(first__run=run, second__run=other) | Q(first__run=other, second__run=run)).select_related(
        "first__snapshot__project", "first__run", "second__run").first()


def win_of(run: Run, rival: Run, *, name: str, rival_name: str) -> Win | None:
    """The run's win rate against the rival; None while it does not count."""
    pairwise = pairwise_of(run, rival) if run.project.task_type in FREE_TEXT else None
    if pairwise is None:
        return None
    found = weighed(pairwise)
    if not found.is_counted or found.best is None:
        return None
    win = found.best if pairwise.second.run_id == run.pk else mirrored(found.best)
    return Win(pairwise, win, win_sentence(found, win, name=name, rival=rival_name))
