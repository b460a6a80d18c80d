"""Experiments: does the small clean set beat the large noisy one here, and what does settling labels bring?

1. The arms are rows of the pool with labels as they were given, as they are now, or as a model suggests.
2. `curation.experiments` learns each arm by one recipe and judges it on dev, or on test if somebody says so.
3. Experiment and arms are written once, with the rows, the answers and the words.
A look at the test rows is counted: `n_test_looks`. Rows of an arm are stored, so that other recipes can learn them too.
"""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.canonical import canonical_line, sha256_of
from curation.experiments import (
    CHOICES,
    Judge,
    Training,
    difference,
    difference_draws,
    judged,
    mean_accuracy,
    verdict,
)
from curation.models import Experiment, ExperimentArm, QualityReport
from curation.selection import GoldRule, matched_draws, select_gold
from curation.services.embeddings import encoder_name, load_embeddings
from curation.services.gold_pool import Pool, label_as_given, read_pool
from curation.services.gold_sets import gold_set_of, rule_of
from curation.services.held_out import held_out
from curation.services.scoring import latest_report
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_exists, open_object, put_object
from projects.services import audit
from projects.wording import counted, point_words
from stats.intervals import Interval, percentiles, wilson

SEEDS = (0, 1, 2)
MIN_JUDGES = 30  # held-out rows below which nothing can be shown
MAX_GROUPS, MIN_IN_GROUP = 8, 3  # groups of flagged rows that are tried one by one, and the least rows of one
SEED = 0


def start_experiment(project: Project, *, kind: str, by: User, split: str = "dev", wake: bool = True) -> Job:
    """Queue an experiment of one of Experiment.Kind by the gold set's rule as it stands.

    Raises UserError if the type of task has no probe, there is no report, or the kind or split is none.
    """
    if kind not in Experiment.Kind:
        raise UserError(f"There is no experiment “{kind}”. There are: {', '.join(Experiment.Kind)}.")
    if split not in ("dev", "test"):
        raise UserError(f"Rows of dev or test judge an experiment, not “{split}”.")
    if obstacle := experiment_obstacle(project):
        raise UserError(obstacle)
    return enqueue("experiment", project, title=Experiment.Kind(kind).label, requested_by=by,
                   params={"kind": kind, "split": split, "rule": asdict(rule_of(gold_set_of(project)))},
                   exclusive=f"experiment:{project.pk}", wake=wake)


def experiment_obstacle(project: Project) -> str:
    """Why no experiment can be run in this project, in words; "" if one can."""
    if project.task_type != Project.TaskType.classification:
        return (f"Experiments with a probe are for one label per text; this project is "
                f"“{project.get_task_type_display()}”. The arms can be downloaded from the gold set and trained on.")
    if latest_report(project) is None:
        return "Score the project first: the arms of an experiment go by what looks wrong."
    return ""


def judging_rows(experiment: Experiment) -> tuple[list[int], list[str]]:
    """The example ids and labels of the rows that judged, for other recipes to be judged on the same.

    Raises UserError if they were not kept, as in experiments of early versions, and have changed since.
    """
    sha256 = experiment.config["judges_sha256"]
    if object_exists(settings.GOLDPAN_OBJECTS, sha256):
        with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
            kept = json.loads(file.read())
        return kept["ids"], kept["labels"]
    label_of = held_out(experiment.project, experiment.report).label_of[experiment.split]
    if sha256_of(_judges_line(list(label_of), list(label_of.values()))) != sha256:
        raise UserError("The held-out labels have changed since this experiment, and it did not keep its own. Run it "
                        "again.")
    return list(label_of), list(label_of.values())


def _judges_line(ids: Sequence[int], labels: Sequence[str]) -> bytes:
    return canonical_line({"ids": list(ids), "labels": list(labels)})


def rows_of(arm: ExperimentArm) -> list[list[tuple[int, str]]]:
    """What an arm was learned from: per draw the example ids and their labels."""
    with open_object(settings.GOLDPAN_OBJECTS, arm.rows_sha256) as file:
        return [[(row["example"], row["label"]) for row in draw] for draw in json.loads(file.read())["draws"]]


def right_of(arm: ExperimentArm) -> np.ndarray:
    """(s, n) bool: which judging rows the experiment's own recipe got right, draw by draw."""
    with open_object(settings.GOLDPAN_OBJECTS, arm.right_sha256) as file:
        return np.array(json.loads(file.read())["right"], dtype=bool)


def n_test_looks(project: Project) -> int:
    """How many experiments have looked at the test rows."""
    return Experiment.objects.filter(project=project, split="test").count()


@dataclass(frozen=True)
class _Arm:
    """What an experiment trains on: per draw the pool's row numbers and their labels."""

    name: str
    what: str
    draws: list[tuple[np.ndarray, list[str]]]


@dataclass(frozen=True)
class _Judged:
    """An arm and which judging rows came out right, (s, n) bool."""

    arm: _Arm
    right: np.ndarray
    seconds: float


def run_experiment(job: Job, progress: Progress) -> None:
    project, by = job.project, job.requested_by
    assert by is not None
    report = latest_report(project)
    assert report is not None, "a report is never removed"
    progress("Reading labels", 0, 1)
    rule = GoldRule(**job.params["rule"])
    pool = read_pool(project, report, rule=rule)
    ids, judge = judge_of(project, report, job.params["split"])
    is_arms = job.params["kind"] == Experiment.Kind.arms
    arms = _arms(pool, rule) if is_arms else _before_and_after(pool, report)
    found = [_judge(arm, pool, judge, progress) for arm in arms]
    said, groups = (_arms_verdict(found, judge), []) if is_arms else _fixes_verdict(found, pool, judge, progress)
    with completing(job) as result:
        experiment = Experiment.objects.create(
            project=project, kind=job.params["kind"], report=report, job=job, split=job.params["split"],
            n=len(judge.labels), verdict=said, groups=groups, created_by=by, config={
                "recipe": "logistic regression on frozen embeddings", "choices_of_c": CHOICES, "seeds": SEEDS,
                "rule": asdict(rule), "encoder": encoder_name(settings.GOLDPAN_ENCODER),
                "judges_sha256": put_object(settings.GOLDPAN_OBJECTS, _judges_line(ids, judge.labels))})
        ExperimentArm.objects.bulk_create(_row(experiment, position, one, found[0], pool, judge)
                                          for position, one in enumerate(found))
        audit(project, by, "experiment", {"experiment": experiment.pk, "kind": experiment.kind,
                                          "split": experiment.split, "n": experiment.n})
        result |= {"experiment": experiment.pk, "words": said}


def judge_of(project: Project, report: QualityReport, split: str) -> tuple[list[int], Judge]:
    """The held-out rows that judge: their example ids and what the recipe needs of them.

    Raises UserError if there are fewer than MIN_JUDGES with a label.
    """
    label_of = held_out(project, report).label_of[split]
    if len(label_of) < MIN_JUDGES:
        raise UserError(f"{len(label_of)} {split} examples have a label that people agree on; {MIN_JUDGES} are needed "
                        "to judge anything. Ask three people for a label of each.")
    facts = {pk: (content, group) for pk, content, group in
             Example.objects.filter(pk__in=label_of).values_list("pk", "content_sha256", "group")}
    ids = list(label_of)
    try:
        vectors = load_embeddings([facts[pk][0] for pk in ids])
    except KeyError:
        raise UserError("The present encoder has not seen the held-out texts. Score the project again.") from None
    return ids, Judge(vectors, [label_of[pk] for pk in ids], np.array([facts[pk][1] for pk in ids]))


def _arms(pool: Pool, rule: GoldRule) -> list[_Arm]:
    """The large set as it is labelled, without its suspects, and settled; then the small ones, random and gold."""
    candidates, given = pool.candidates, _given(pool)
    is_known = pool.is_known
    assert is_known is not None and candidates.was_flagged is not None
    usable = np.array([label is not None for label in given]) & ~candidates.crosses_split & is_known
    everything = np.flatnonzero(usable)
    if not len(everything):
        raise UserError("No labelled pool example can be learned from. Score the project again.")
    kept = np.flatnonzero(usable & ~candidates.was_flagged)
    now = np.flatnonzero(usable & ~candidates.is_excluded)
    settled = [pool.labels[row] or given[row] for row in now]
    n_decided = int(sum(ballot.is_settled for ballot in pool.ballot_of))
    golds = [select_gold(candidates, replace(rule, seed=rule.seed + seed)).rows for seed in SEEDS]
    matched = matched_draws(candidates, rule, SEEDS)
    n_gold = len(golds[0])
    randoms = [np.random.default_rng(seed).choice(everything, min(n_gold, len(everything)), replace=False)
               for seed in SEEDS]

    def as_given(rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
        return rows, [str(given[row]) for row in rows]

    def as_now(rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
        rows = rows[is_known[rows]]
        return rows, [str(pool.labels[row]) for row in rows]

    arms = [_Arm("all as labelled", "Every labelled pool example with the label that people gave it first, wrong ones "
                 "included.", [as_given(everything)])]
    if len(kept) < len(everything):
        arms.append(_Arm("all but the flagged", "The same without those that look wrong, or did when somebody decided "
                         "on them. Costs no work.", [as_given(kept)]))
    if n_decided:
        arms.append(_Arm("flagged settled", "Every labelled pool example with "
                         f"{counted(n_decided, 'decision')} applied; those that look wrong and wait are as labelled.",
                         [(now, [str(label) for label in settled])]))
    arms.append(_Arm("random few", "As many as the gold set, drawn from all at random, as labelled.",
                     [as_given(rows) for rows in randoms]))
    if n_gold:
        arms += [_Arm("random of the gold's kind", "As many of each label as the gold set, drawn at random from what "
                      "its rule lets through, as labels are now.", [as_now(rows) for rows in matched]),
                 _Arm("gold", "What the gold set's rule picks, as labels are now.", [as_now(rows) for rows in golds])]
    return arms


def _given(pool: Pool) -> list[str | None]:
    """Each row's label before anybody decided on it."""
    return [label_as_given(ballot) or (None if ballot.is_settled else row.label or None)
            for row, ballot in zip(pool.rows, pool.ballot_of, strict=True)]


def _before_and_after(pool: Pool, report: QualityReport) -> list[_Arm]:
    """The whole pool with the labels that the report judged, and with those that stand now."""
    assert pool.is_known is not None
    usable = ~pool.candidates.crosses_split & pool.is_known
    before = np.flatnonzero(usable & np.array([bool(row.label) for row in pool.rows]))
    after = np.flatnonzero(usable & ~pool.candidates.is_excluded & np.array([bool(label) for label in pool.labels]))
    if not len(before):
        raise UserError("No labelled pool example can be learned from. Score the project again.")
    return [_Arm("before", f"Every labelled pool example with the label that report {report.pk} judged.",
                 [(before, [pool.rows[row].label for row in before])]),
            _Arm("after", "The same with all that was decided and labelled since.",
                 [(after, [str(pool.labels[row]) for row in after])])]


def _judge(arm: _Arm, pool: Pool, judge: Judge, progress: Progress) -> _Judged:
    started = time.perf_counter()
    right = judged([_training(pool, *draw) for draw in arm.draws], judge, progress=progress,
                   stage=f"Learning “{arm.name}”")
    return _Judged(arm, right, time.perf_counter() - started)


def _training(pool: Pool, rows: np.ndarray, labels: Sequence[str]) -> Training:
    assert pool.candidates.embeddings is not None
    return Training(pool.candidates.embeddings[rows], labels)


def _arms_verdict(found: list[_Judged], judge: Judge) -> list[str]:
    """Who beats all as labelled; then gold against random, which says whether the choice within a label matters."""
    words = _compared(found, judge)
    small = {one.arm.name: one for one in found}
    if "gold" in small:
        words += _compared([small["random of the gold's kind"], small["gold"]], judge)
    return words


def _compared(found: list[_Judged], judge: Judge) -> list[str]:
    return verdict([one.arm.name for one in found],
                   [mean_accuracy(one.right, judge.groups, seed=SEED) for one in found],
                   [None, *(difference(found[0].right, one.right, judge.groups, seed=SEED) for one in found[1:])])


def _fixes_verdict(found: list[_Judged], pool: Pool, judge: Judge,
                   progress: Progress) -> tuple[list[str], list[dict[str, Any]]]:
    """What the corrections since the report brought, and what those that are left may bring, group by group."""
    before, after = found
    gap = difference(before.right, after.right, judge.groups, seed=SEED)
    n_changed = sum((pool.labels[number] if not pool.candidates.is_excluded[number] else None) != row.label
                    for number, row in enumerate(pool.rows) if row.label)
    words = [_before_and_after_words(n_changed, gap)]
    n_right, n_decided = _suggestions_so_far(pool)
    groups = _groups(pool)
    tried = [_tried(group, rows, after, pool, judge, (n_right, n_decided), progress)
             for group, rows in groups[:MAX_GROUPS]]
    left = np.array([row for _, rows in groups for row in rows], dtype=np.intp)
    if not len(left):
        return [*words, "No flagged label with another suggestion is left to settle."], []
    total = _tried(("all", "as suggested"), left, after, pool, judge, (n_right, n_decided), progress)
    gain = Interval(**total["gain"])
    flagged = counted(len(left), "flagged label that is", "flagged labels that are")
    words.append(f"Settling {flagged} left may bring {_with_range(gain)}"
                 + (f", going by the {n_decided:,} settled so far, of which {n_right:,} were wrong." if n_decided else
                    "; none has been settled yet, so how many are wrong is anybody's guess."))
    tried.sort(key=lambda one: -one["gain"]["estimate"])
    if tried and not any(one["gain"]["low"] > 0 for one in tried):
        words.append("No single group moves the accuracy by more than these judging rows can show: go on worst first.")
    return words, tried


def _before_and_after_words(n_changed: int, gap: Interval) -> str:
    if not n_changed:
        return "No label has changed since the report, so there is nothing to compare yet."
    what = f"{n_changed:,} label{' has' if n_changed == 1 else 's have'} changed since the report"
    if gap.low > 0:
        return f"{what}, and that made the model better: {_with_range(gap)}."
    if gap.high < 0:
        return f"{what}, and the model got worse: {_with_range(gap)}. Look at what was decided."
    return f"{what}; no difference is shown yet: {_with_range(gap)}."


def _with_range(gap: Interval) -> str:
    low, high = (point_words(end).removesuffix(" points") for end in (gap.low, gap.high))
    return f"{point_words(gap.estimate)} ({low} to {high}, n = {gap.n:,})"


def _suggestions_so_far(pool: Pool) -> tuple[int, int]:
    """Of the flagged labels that somebody has settled: how many were wrong, and how many there are."""
    assert pool.candidates.was_flagged is not None
    settled = [pool.ballot_of[row] for row in np.flatnonzero(pool.candidates.was_flagged)
               if pool.ballot_of[row].is_settled]
    n_wrong = sum(ballot.is_excluded or ballot.decided_label != label_as_given(ballot) for ballot in settled)
    return n_wrong, len(settled)


def _groups(pool: Pool) -> list[tuple[tuple[str, str], np.ndarray]]:
    """The undecided flagged rows by given and suggested label, largest group first."""
    rows_of: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    usable = pool.candidates.is_label_issue & ~pool.candidates.crosses_split
    for row in np.flatnonzero(usable & pool.is_known):
        label, predicted = pool.labels[row], pool.rows[row].predicted
        if label and predicted and label != predicted:
            rows_of[label, predicted].append(int(row))
    ranked = sorted(rows_of.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(pair, np.array(rows)) for pair, rows in ranked if len(rows) >= MIN_IN_GROUP] or [
        (pair, np.array(rows)) for pair, rows in ranked]


def _tried(pair: tuple[str, str], rows: np.ndarray, after: _Judged, pool: Pool, judge: Judge,
           so_far: tuple[int, int], progress: Progress) -> dict[str, Any]:
    """What a group may bring: the gain if every suggestion of it is right, times how often suggestions were so far.

    The share has a uniform prior, so that it is a half, and wide, where nothing has been settled.
    """
    base, labels = after.arm.draws[0]
    suggested = {int(row): pool.rows[row].predicted for row in rows}
    changed = [suggested.get(int(row), label) for row, label in zip(base, labels, strict=True)]
    right = judged([_training(pool, base, changed)], judge, progress=progress,
                   stage=f"Trying “{pair[0]}” → “{pair[1]}”"[:80])
    draws = difference_draws(after.right, right, judge.groups, seed=SEED)
    n_wrong, n_decided = so_far
    share = np.random.default_rng(SEED).beta(n_wrong + 1, n_decided - n_wrong + 1, len(draws))
    low, high = percentiles(draws * share, 0.95)
    if_right = float(right.mean() - after.right.mean())
    estimate = if_right * (n_wrong + 1) / (n_decided + 2)
    worst = sorted(rows.tolist(), key=lambda row: (np.nan_to_num(pool.candidates.quality[row], nan=1.0), row))
    return {"given": pair[0], "suggested": pair[1], "n": len(rows), "if_right": if_right,
            "gain": asdict(Interval(estimate, min(low, estimate), max(high, estimate), len(judge.labels))),
            "so_far": asdict(wilson(n_wrong, n_decided)) if n_decided else None,
            "examples": [pool.rows[row].example_id for row in worst[:3]]}


def _row(experiment: Experiment, position: int, one: _Judged, first: _Judged, pool: Pool,
         judge: Judge) -> ExperimentArm:
    rows = [[{"example": pool.rows[row].example_id, "label": label} for row, label in zip(*draw, strict=True)]
            for draw in one.arm.draws]
    gap = None if one is first else difference(first.right, one.right, judge.groups, seed=SEED)
    return ExperimentArm(
        experiment=experiment, position=position, name=one.arm.name, what=one.arm.what, n_rows=len(one.arm.draws[0][0]),
        accuracies=[round(float(share), 6) for share in one.right.mean(axis=1)],
        accuracy=asdict(mean_accuracy(one.right, judge.groups, seed=SEED)),
        difference=gap and asdict(gap), seconds=round(one.seconds, 3),
        rows_sha256=put_object(settings.GOLDPAN_OBJECTS, canonical_line({"draws": rows})),
        right_sha256=put_object(settings.GOLDPAN_OBJECTS, canonical_line({"right": one.right.astype(int).tolist()})))
