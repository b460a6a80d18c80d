"""Scoring: which labels look wrong, which texts repeat each other, and what several annotators say together.

1. Texts that have no embedding yet are encoded.
2. Near-duplicates among all examples are joined into clusters; those that cross the held-out line are marked.
3. Pool examples with a label get out-of-sample probabilities that leave whole clusters out.
4. Where pool examples have several labels, CROWDLAB says their consensus; where nothing can be told from the texts,
   Dawid-Skene does, if people said enough.
5. Confident learning flags what looks wrong.
6. Checks, neighbours and clusters flag what needs no model: personal data, outliers, conflicts, leaks and the like.
7. The report, its rows, their flags and what changed since the report before are written at once.
What a text or answer that has not changed was found to be is taken over from the report before: its embedding, its
language, what it fails in the checks. Clusters, neighbours and probabilities depend on all rows, so they are new.
Dev and test examples are clustered, never scored: their labels must not depend on a model.

Steps 3 to 5 are for one label per text. Other answers are held against each other and against hard checks; sets of
labels get probabilities label by label beside that. No other type gets any: nothing that reads only the texts could
say how probable a record, a set of spans or a sentence is.
"""


import numpy as np
from django.contrib.auth.models import User
from django.urls import reverse

from curation.models import QualityReport
from curation.services.duplicate_search import search_duplicates
from curation.services.embeddings import ensure_embeddings, load_embeddings
from curation.services.flagging import flag_failures, flag_labels, flag_texts
from curation.services.label_doubts import ask_people, compare_answers, doubt_labels, doubt_sets, find_neighbours
from curation.services.labels import Ballot, ExampleRow, answers_of, ballots, example_rows
from curation.services.report_rows import read_earlier, write_report
from curation.services.scored import Scored
from curation.services.text_groups import group_pool
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from projects.wording import counted


def start_score(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue scoring. Raises UserError if there is nothing to score."""
    n = Example.objects.filter(project=project).count()
    if not n:
        raise UserError("There are no examples yet. Import some first.")
    return enqueue("score", project, title=f"Scoring {counted(n, 'example')}", requested_by=by,
                   exclusive=f"score:{project.pk}", wake=wake)


def run_score(job: Job, progress: Progress) -> None:
    project = job.project
    rows = example_rows(project)
    ensure_embeddings(job, {row.compared_sha256: row.compared for row in rows}, progress)
    embeddings = load_embeddings([row.compared_sha256 for row in rows])
    scored = _cluster(project, rows, ballots(project), embeddings, progress)
    earlier = read_earlier(latest_report(project))
    if project.task_type == "classification":
        doubt_labels(scored, embeddings, project, progress)
        flag_labels(scored)
        flag_failures(scored, earlier, progress)
    else:
        ask_people(scored, project)
        compare_answers(scored, progress)
        if project.task_type == "multilabel":
            doubt_sets(scored, embeddings, project, progress)
        flag_failures(scored, earlier, progress)
        find_neighbours(scored, embeddings, np.flatnonzero(scored.has_label), progress)
        if not project.labels:
            group_pool(scored, embeddings, progress)
    flag_texts(scored, embeddings, progress)
    progress("Writing the report", 0, 1)
    with completing(job) as result:
        report = write_report(job, scored, earlier)
        audit(project, job.requested_by, "score", {"report": report.pk, "n_issues": report.n_issues})
        notify(project, "report.scored", people=[job.requested_by],
               title=f"{report.n_issues:,} of {counted(report.n_scored, 'label')} look wrong",
               data={"report": report.pk, "n_scored": report.n_scored, "n_issues": report.n_issues},
               link=reverse("curation:quality", args=[project.pk]))
        result |= {"report": report.pk, "n_scored": report.n_scored, "n_issues": report.n_issues, **scored.facts,
                   "duplicates": scored.duplicates.facts}


def _cluster(project: Project, rows: list[ExampleRow], found: dict[int, Ballot], embeddings: np.ndarray,
             progress: Progress) -> Scored:
    duplicates = search_duplicates(project, rows, embeddings, progress)
    cluster = duplicates.cluster
    n = len(rows)
    is_pool = np.array([row.split == Example.Split.pool for row in rows])
    held_out_clusters = np.unique(cluster[~is_pool])
    nothing = np.full(n, np.nan)
    answers = answers_of(project)
    ballot_of = [found.get(row.pk) or Ballot(answers=answers) for row in rows]
    return Scored(
        answers=answers, rows=rows, ballot_of=ballot_of, duplicates=duplicates, cluster=cluster,
        cluster_size=np.bincount(cluster)[cluster],
        crosses=is_pool & np.isin(cluster, held_out_clusters),
        label=[_label_to_score(row, ballot) for row, ballot in zip(rows, ballot_of, strict=True)],
        quality=nothing.copy(), is_issue=np.zeros(n, dtype=bool), agreement=nothing.copy(),
        label_probability=nothing.copy(), predicted_probability=nothing.copy(), predicted=[""] * n)


def _label_to_score(row: ExampleRow, ballot: Ballot) -> str | None:
    """The label of a pool example before a model is asked: decided, else what votes say together, else the first."""
    if row.split != Example.Split.pool or ballot.is_excluded:
        return None
    first = ballot.votes[0].label if ballot.votes else None
    return ballot.decided_label or (ballot.consensus if len(ballot.votes) > 1 else None) or first


def latest_report(project: Project) -> QualityReport | None:
    return QualityReport.objects.filter(project=project).select_related("project").first()
