"""Counting a look: people's labels against the model's answers, and what that says about accuracy.

A look counts once: when all its labels are settled, or 14 days after its end with those that are there. Looks count in
their order. Only the rows drawn at random feed the alarm (`stats.drop_alarm`); all rows together give the estimate
where each one's chance is known (`stats.label_sample`).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django.urls import reverse

from curation.answers import Answers
from curation.services.labels import answers_of
from curation.services.snapshots import FrozenRow
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from projects.models import Project
from projects.services import audit, notify
from projects.wording import counted, interval_words, percent_words
from serving.models import Look, LookCount, LookRow, RowScore
from serving.services.look_labels import BlindLabel, blind_labels
from serving.services.looks import start_extra
from serving.services.proposals import propose
from serving.services.watch_plans import Watched, floor_of, is_binary, rule_of, score_name, watched_of
from stats.drop_alarm import AlarmRule, Watch, watch
from stats.intervals import bootstrap_interval, wilson
from stats.label_sample import weighted_share
from stats.live_accuracy import AccuracyEstimate, estimate_accuracy
from training.services.scoring import judge

MUCH_MISSING = 0.2  # of a look's rows without a label: from here on the look may flatter


@dataclass(frozen=True)
class Standing:
    """How far the labels of a look have come. labels: example id → its label."""

    rows: list[LookRow]
    labels: dict[int, BlindLabel]

    @property
    def n_settled(self) -> int:
        return sum(label.is_settled for label in self.labels.values())

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing that could still come: what was erased or excluded never will."""
        return all(label.is_settled or label.why_not in ("erased", "excluded by a curator")
                   for label in self.labels.values())


def standing_of(look: Look) -> Standing:
    rows = list(look.rows.select_related("example").order_by("position"))
    return Standing(rows, blind_labels(look.project, [row.example for row in rows]))


def start_count(look: Look, *, is_last_call: bool, occasion: str, wake: bool = True) -> Job:
    """Queue the counting of a look; one job per occasion, so that nothing is counted over and over.

    is_last_call: it counts with the labels that are there. A job that failed is not tried again by itself.
    """
    key = f"count:{look.pk}:{occasion}"[:100]
    return Job.objects.filter(dedupe_key=key).first() or enqueue(
        "count_look", look.project, title=f"Holding people's labels of {look} against the model", requested_by=None,
        exclusive=f"look:{look.project_id}", wake=wake, dedupe_key=key,
        params={"look": look.pk, "is_last_call": is_last_call})


def run_count(job: Job, progress: Progress) -> None:
    look = Look.objects.select_related("project", "deployment", "plan").get(pk=job.params["look"])
    if LookCount.objects.filter(look=look).exists():
        return
    progress("Reading labels", 0, 1)
    standing = standing_of(look)
    if not standing.is_complete and not job.params["is_last_call"]:
        with completing(job) as result:
            result |= {"look": look.pk, "n_settled": standing.n_settled, "n_rows": len(standing.rows)}
        return
    scores = _scores(look.project, standing)
    watched = watched_of(look.project)
    with completing(job) as result:
        RowScore.objects.bulk_create(
            RowScore(row=row, score=scores[row.pk], annotation_ids=list(standing.labels[row.example_id].annotation_ids))
            for row in standing.rows if row.pk in scores)
        count = _count(look, watched, standing, scores, job)
        audit(look.project, None, "count_look", {"look": look.number, "level": count.level,
                                                 "n_uniform": count.n_uniform, "n_missing": count.n_missing})
        if watched is not None and watched.deployment.pk == look.deployment_id:
            _follow(count, watched)
        result |= {"look": look.pk, "count": count.pk, "level": count.level}


def _scores(project: Project, standing: Standing) -> dict[int, float]:
    """Row id → score in [0, 1] of the frozen answer against the label, where that is settled.

    Rows whose label or answer is none under today's schema are left out: a label was renamed meanwhile.
    """
    answers = answers_of(project)
    rows = [row for row in standing.rows if row.answer and standing.labels[row.example_id].is_settled
            and _is_answer(answers, standing.labels[row.example_id].label, row.example)
            and _is_answer(answers, row.answer["label"], row.example)]
    if not rows:
        return {}
    frozen = [_frozen(row.example, standing.labels[row.example_id].label or "") for row in rows]
    said = judge(project, frozen, [row.answer["label"] for row in rows])
    return {row.pk: one.row_score for row, one in zip(rows, said.predictions, strict=True)}


def _is_answer(answers: Answers, label: str | None, example: Example) -> bool:
    """Whether it is one under the schema; None, which could not be read, is one that is wrong."""
    if label is None:
        return True
    try:
        answers.value(label, source=example.text)
    except ValueError:
        return False
    return True


def _frozen(example: Example, label: str) -> FrozenRow:
    return FrozenRow(example.key, example.text, label, example.split, example.group, dict(example.data))


def scores_of(looks: Sequence[Look]) -> list[np.ndarray]:
    """The scores of the random rows of each of these counted looks, in their order."""
    found: dict[int, list[float]] = {look.pk: [] for look in looks}
    for look, score in RowScore.objects.filter(row__look__in=list(looks), row__is_uniform=True).order_by(
            "row__position").values_list("row__look_id", "score"):
        found[look].append(score)
    return [np.array(found[look.pk]) for look in looks]


def watch_of(watched: Watched) -> tuple[list[Look], Watch, AlarmRule]:
    """The counted looks of this watch, oldest first, and what they say together."""
    looks = list(watched.looks.filter(count__isnull=False).select_related("count", "plan"))
    rule = rule_of(watched, floor_of(watched).value)
    return looks, watch(scores_of(looks), rule), rule


def _count(look: Look, watched: Watched | None, standing: Standing, scores: dict[int, float], job: Job) -> LookCount:
    uniform = np.array([scores[row.pk] for row in standing.rows if row.is_uniform and row.pk in scores])
    n_targeted, n_missing = len(scores) - len(uniform), len(standing.rows) - len(scores)
    said: list[str] = []
    level, evidence, threshold, estimate = LookCount.Level.none, None, None, None
    is_current = (watched is not None and look.is_regular and watched.deployment.pk == look.deployment_id
                  and watched.plan.began_at == look.plan.began_at)
    if is_current and watched is not None:
        before = list(watched.looks.filter(count__isnull=False))
        rule = rule_of(watched, look.floor)
        found = watch([*scores_of(before), uniform], rule)
        evidence, threshold = float(found.evidence[-1]), rule.threshold
        level = (LookCount.Level.alarm if evidence >= rule.threshold else LookCount.Level.warning
                 if evidence >= rule.warning else LookCount.Level.quiet)
        said.append(found.words)
    elif look.is_regular:
        said.append("Something else serves, or it is watched otherwise, since this look was drawn: it feeds no alarm.")
    else:
        said.append("An extra look is no random sample: how many of its answers are right says nothing about accuracy.")
    if look.is_regular and len(uniform):
        estimate, words = _estimate(look, standing, scores, n_missing)
        said.extend(words)
    if n_missing:
        said.append(_missing_words(n_missing, len(standing.rows), standing))
    return LookCount.objects.create(
        look=look, level=level, n_uniform=len(uniform), n_targeted=n_targeted, n_missing=n_missing, evidence=evidence,
        threshold=threshold, share=_share(uniform, look.project), estimate=estimate, words=said, job=job)


def _share(uniform: np.ndarray, project: Project) -> dict[str, Any] | None:
    """The mean of the random rows: Wilson's interval where scores are right or wrong, else a bootstrap."""
    if not len(uniform):
        return None
    if is_binary(project):
        return asdict(wilson(int(uniform.sum()), len(uniform)))
    return asdict(bootstrap_interval(lambda rows: float(uniform[rows].mean()), np.arange(len(uniform))))


def _estimate(look: Look, standing: Standing, scores: dict[int, float],
              n_missing: int) -> tuple[dict[str, Any] | None, list[str]]:
    """The best estimate for all traffic of the period, and in words by what it was made.

    The targeted rows join by one over their chance where answers are right or wrong and no label is missing: who leaves
    out what people cannot settle leaves out the hard ones. The model's own confidence joins by PPI where it may.
    """
    if not is_binary(look.project):
        return None, [f"Of all traffic {score_name(look.project)} is told by the random rows alone."]
    rows = [row for row in standing.rows if row.pk in scores]
    uniform = [row for row in rows if row.is_uniform]
    by_model = _by_confidence(uniform, scores, look.unlabelled)
    if by_model is not None and by_model.uses_judge:
        return asdict(by_model.interval), [f"{by_model.words} The judge is the model's own confidence."]
    told = [] if by_model is None else [f"The model's own confidence is not used. {' '.join(by_model.why_not)}"]
    drawn = [row for row in rows if row.chance is not None]
    if n_missing or len(drawn) == len(uniform):
        why = "labels are missing, and those may be the hard ones" if n_missing else "all rows were drawn at random"
        return None, [f"The estimate is that of the random rows: {why}.", *told]
    found = weighted_share(np.array([scores[row.pk] for row in drawn]) >= 0.5,
                           np.array([row.chance for row in drawn], dtype=float))
    return asdict(found), [f"With the targeted rows, each weighed by one over its chance: "
                           f"{percent_words(found.estimate)} ({interval_words(found)}).", *told]


def _by_confidence(uniform: Sequence[LookRow], scores: dict[int, float],
                   unlabelled: Sequence[float]) -> AccuracyEstimate | None:
    chances = [row.answer.get("probability") for row in uniform]
    if not chances or any(chance is None for chance in chances) or not unlabelled:
        return None
    right = np.array([scores[row.pk] for row in uniform])
    return estimate_accuracy(right, np.array(chances, dtype=float), np.array(unlabelled, dtype=float))


def _missing_words(n_missing: int, n: int, standing: Standing) -> str:
    reasons: dict[str, int] = {}
    for label in standing.labels.values():
        if not label.is_settled:
            reasons[label.why_not] = reasons.get(label.why_not, 0) + 1
    told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items(), key=lambda item: -item[1]))
    flatters = " So many are missing that the look may flatter: hard rows are settled last." \
        if n_missing > MUCH_MISSING * n else ""
    return f"{counted(n_missing, 'row')} of {n} did not count ({told or 'its answer is none any more'}).{flatters}"


def _follow(count: LookCount, watched: Watched) -> None:
    """What follows from a counted look: notices, an extra look after an alarm, a proposal."""
    look, project = count.look, count.look.project
    link = reverse("serving:drift", args=[project.pk])
    earlier = LookCount.objects.filter(look__in=watched.looks.exclude(pk=look.pk))
    if count.level == LookCount.Level.alarm and not earlier.filter(level=LookCount.Level.alarm).exists():
        notify(project, "drift.alarm", title=f"Alarm: {score_name(project)} is below {percent_words(look.floor)}",
               text=count.words[0], link=link, key=f"drift.alarm:{count.pk}", data=_data(count))
        start_extra(project, since=_since(watched, look), until=look.until, by=None, because=look)
        return  # it proposes once its labels are there
    if count.level == LookCount.Level.warning and not earlier.filter(
            level__in=(LookCount.Level.warning, LookCount.Level.alarm)).exists():
        notify(project, "drift.warning", title=f"{score_name(project).capitalize()} may be falling",
               text=count.words[0], link=link, key=f"drift.warning:{count.pk}", data=_data(count))
    propose(watched, look=look, today=look.until)


def _since(watched: Watched, look: Look) -> Any:
    """Since when the drop most likely is, for the rows of an extra look."""
    looks, found, _ = watch_of(watched)
    return looks[found.likely_since].since if found.likely_since is not None else look.since


def _data(count: LookCount) -> dict[str, Any]:
    assert count.evidence is not None and count.threshold is not None
    evidence = count.evidence if math.isfinite(count.evidence) else 1e300
    return {"look": count.look_id, "floor": count.look.floor, "evidence": round(evidence, 3),
            "threshold": round(count.threshold, 1)}
