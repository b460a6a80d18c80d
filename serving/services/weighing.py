"""Whether a training pays, weighed before anybody trains: today's gold set beside what the deployed model learned.

A quick model learns either and answers the same dev rows. It is done after every scoring, because a gold set is chosen
from what was scored. What it finds is the result of its job; `services.proposals` proposes by it.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
from django.db.models import Exists, OuterRef

from curation.experiments import Training, difference, judged
from curation.selection import select_gold
from curation.services.experiments import judge_of
from curation.services.forecasts import forecast_obstacle
from curation.services.gold_pool import read_pool
from curation.services.gold_sets import gold_set_of, rule_of
from curation.services.scoring import latest_report
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, Example
from projects.errors import UserError
from projects.services import audit
from serving.models import Deployment
from serving.services.watch_plans import Watched
from stats.intervals import Interval

SEED = 0


@dataclass(frozen=True)
class Weighed:
    """gain: in accuracy on dev rows, None where `why_not` says why it is not known. n_new: new rows of the gold set."""

    gain: Interval | None
    n_new: int
    n_gold: int
    at: datetime
    why_not: str = ""


def weighed_of(deployment: Deployment) -> Weighed | None:
    """The newest weighing; None while there is none."""
    job = Job.objects.filter(project=deployment.project_id, kind="weigh", state=Job.State.succeeded,
                             params__deployment=deployment.pk).order_by("-pk").first()
    if job is None or job.finished_at is None:
        return None
    found = job.result
    return Weighed(Interval(**found["gain"]) if found["gain"] else None, found["n_new"], found["n_gold"],
                   job.finished_at, found["why_not"])


def start_due_weighing(watched: Watched, *, wake: bool = True) -> Job | None:
    """Queue it for the newest scoring, unless that was done or it is the one that the deployed model came from."""
    deployment, project = watched.deployment, watched.project
    report = latest_report(project)
    if report is None or report.pk == deployment.run.snapshot.report_id:
        return None
    key = f"weigh:{deployment.pk}:{report.pk}"
    if Job.objects.filter(dedupe_key=key).exists() or forecast_obstacle(project):
        return None
    return enqueue("weigh", project, title="Weighing whether training again pays", requested_by=None, wake=wake,
                   dedupe_key=key, params={"deployment": deployment.pk}, exclusive=f"weigh:{project.pk}")


def run_weigh(job: Job, progress: Progress) -> None:
    project = job.project
    deployment = Deployment.objects.select_related("run__snapshot").get(pk=job.params["deployment"])
    progress("Reading labels", 0, 1)
    gain, n_new, n_gold, why_not = None, 0, 0, ""
    report = latest_report(project)
    assert report is not None, "a report is never removed"
    try:
        rule = rule_of(gold_set_of(project))
        pool = read_pool(project, report, rule=rule)
        candidates, place = pool.candidates, {row.example_id: number for number, row in enumerate(pool.rows)}
        assert candidates.embeddings is not None and pool.is_known is not None
        then = dict(deployment.run.snapshot.rows.filter(split="train").exclude(example__text="").values_list(
            "example", "label"))
        gold = select_gold(candidates, rule, progress=progress).rows
        n_gold, n_new = len(gold), sum(pool.rows[number].example_id not in then for number in gold)
        _, judge = judge_of(project, report, "dev")
        now = gold[pool.is_known[gold]]
        before = np.array([place[pk] for pk in then if pk in place and pool.is_known[place[pk]]], dtype=np.intp)
        if not len(now) or not len(before):
            raise UserError("None of the rows has an embedding of today's encoder. Score the project again.")
        arms = [Training(candidates.embeddings[before], [then[pool.rows[number].example_id] for number in before]),
                Training(candidates.embeddings[now], [str(pool.labels[number]) for number in now])]
        right = [judged([arm], judge, progress=progress, stage="Learning then and now") for arm in arms]
        gain = difference(right[0], right[1], judge.groups, seed=SEED)
    except UserError as error:
        why_not = str(error)
    with completing(job) as result:
        result |= {"gain": asdict(gain) if gain else None, "n_new": n_new, "n_gold": n_gold, "report": report.pk,
                   "why_not": why_not}
        audit(project, None, "weigh_training", {"deployment": deployment.pk, "report": report.pk, "n_new": n_new,
                                                "low": str(round(gain.low, 4)) if gain else None})


def n_unscored(watched: Watched) -> int:
    """How many labelled pool examples no scoring has seen with a label."""
    report = latest_report(watched.project)
    labelled = Example.objects.filter(
        Exists(Annotation.objects.current().filter(example=OuterRef("pk"))), project=watched.project,
        split=Example.Split.pool).exclude(text="")
    if report is None:
        return labelled.count()
    return labelled.exclude(Exists(report.scores.filter(example=OuterRef("pk")).exclude(label=""))).count()
