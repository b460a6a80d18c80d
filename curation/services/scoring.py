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

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.answers import COMPARED, COMPARED_WHOLE, Answers
from curation.canonical import sha256_of
from curation.conflicts import conflict_groups, find_conflicts
from curation.expected_gain import expected_gain
from curation.groups import group_texts
from curation.label_quality import consensus, score_label_sets, score_labels
from curation.label_sets import OutOfSampleSets, out_of_sample_sets
from curation.languages import dominant_language, languages_of
from curation.models import ExampleScore, Flag, QualityReport, ScoreChange
from curation.neighbours import nearest
from curation.outliers import Outliers, find_outliers
from curation.people import MIN_VOTES, people_say
from curation.probabilities import OutOfSample, out_of_sample_probabilities
from curation.report_changes import Judged, changes
from curation.services.duplicate_search import Duplicates, search_duplicates, write_duplicates
from curation.services.embeddings import encoder_name, ensure_embeddings, load_embeddings
from curation.services.labels import Ballot, ExampleRow, answers_of, ballots, codes, example_rows
from curation.text_checks import OF_THE_TEXT, VERSION, Answered, check_answers, kind_of
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotator, Example
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.services import audit
from stats.intervals import bootstrap_interval

N_NEIGHBOURS = 5
SEED = 0
BATCH = 2000  # rows written at a time
MARKED = 0.5  # from this probability on a set of labels is predicted to have a label

# Below such an agreement a pair of answers is looked at. Half of the labels, fields or spans: then they have more apart
# than together. Unrelated English sentences agree to .1 to .2 in wording; a comparison has a tie or a majority.
LOOK_BELOW = {"multilabel": 0.5, "extraction": 0.5, "spans": 0.5, "response": 0.25, "chat": 0.25, "preference": 0.0}


def start_score(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue scoring. Raises UserError if there is nothing to score."""
    n = Example.objects.filter(project=project).count()
    if not n:
        raise UserError("There are no examples yet. Import some first.")
    return enqueue("score", project, title=f"Scoring {n:,} examples", requested_by=by,
                   exclusive=f"score:{project.pk}", wake=wake)


@dataclass
class _Scored:
    """Per example, in the order of `rows`, what will be written; nan and empty where there is nothing to say.

    flags: row → kind of flag → its reasons. remarks: row → what else is to be said. language: of the text, of free text
    the answer's. outcomes: row → what the checks found. facts: what the job remembers for the pages.
    weighed: row → how sure its label is, where it is what people say, weighed by how reliable each is.
    """

    answers: Answers
    rows: list[ExampleRow]
    ballot_of: list[Ballot]
    duplicates: Duplicates
    cluster: np.ndarray
    cluster_size: np.ndarray
    crosses: np.ndarray
    label: list[str | None]
    quality: np.ndarray
    is_issue: np.ndarray
    agreement: np.ndarray
    label_probability: np.ndarray
    predicted_probability: np.ndarray
    predicted: list[str]
    neighbours: dict[int, list[list[float]]] = field(default_factory=dict)
    annotators: dict[str, float] = field(default_factory=dict)
    out_of_sample: OutOfSample | OutOfSampleSets | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    hidden_because: str = ""
    flags: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    remarks: dict[int, list[str]] = field(default_factory=dict)
    outliers: Outliers | None = None
    language: list[str] = field(default_factory=list)
    outcomes: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    weighed: dict[int, float] = field(default_factory=dict)

    @property
    def has_label(self) -> np.ndarray:
        return np.array([label is not None for label in self.label], dtype=bool)

    @property
    def is_pool(self) -> np.ndarray:
        return np.array([row.split == Example.Split.pool for row in self.rows], dtype=bool)

    @cached_property
    def rules(self) -> str:
        """What the checks read besides an example and its label."""
        return sha256_of(json.dumps([VERSION, self.answers.task_type, dict(self.answers.schema)]).encode())

    def fingerprint(self, row: int) -> int:
        """What the checks of an example depend on besides its text, which never changes."""
        return int(sha256_of(f"{self.rules} {self.label[row] is None} {self.label[row]}".encode())[:15], 16)

    def flag(self, row: int, kind: str, reason: str) -> None:
        self.flags.setdefault(int(row), {}).setdefault(kind, []).append(reason)

    def remark(self, row: int, words: str) -> None:
        self.remarks.setdefault(int(row), []).append(words)


class _Known(NamedTuple):
    """What an earlier report found in an example by itself, which holds as long as the fingerprint is the same."""

    fingerprint: int | None
    failures: list[tuple[str, str]]
    language: str


@dataclass(frozen=True)
class _Earlier:
    """The report before, and what it says of each example by its id."""

    report: QualityReport | None
    known: dict[int, _Known]
    judged: dict[int, Judged]


def run_score(job: Job, progress: Progress) -> None:
    project = job.project
    rows = example_rows(project)
    ensure_embeddings(job, {row.compared_sha256: row.compared for row in rows}, progress)
    embeddings = load_embeddings([row.compared_sha256 for row in rows])
    scored = _cluster(project, rows, ballots(project), embeddings, progress)
    earlier = _earlier(project)
    if project.task_type == "classification":
        _score(scored, embeddings, project, progress)
        _flag_labels(scored)
        _check(scored, earlier, progress)
    else:
        _ask_people(scored, project)
        _compare(scored, progress)
        if project.task_type == "multilabel":
            _score_sets(scored, embeddings, project, progress)
        _check(scored, earlier, progress)
        _find_neighbours(scored, embeddings, np.flatnonzero(scored.has_label), progress)
        if not project.labels:
            _group(scored, embeddings, progress)
    _flag_texts(scored, embeddings, progress)
    progress("Writing the report", 0, 1)
    with completing(job) as result:
        report = _write(job, scored, earlier)
        audit(project, job.requested_by, "score", {"report": report.pk, "n_issues": report.n_issues})
        result |= {"report": report.pk, "n_scored": report.n_scored, "n_issues": report.n_issues, **scored.facts,
                   "duplicates": scored.duplicates.facts}


def _cluster(project: Project, rows: list[ExampleRow], found: dict[int, Ballot], embeddings: np.ndarray,
             progress: Progress) -> _Scored:
    duplicates = search_duplicates(project, rows, embeddings, progress)
    cluster = duplicates.cluster
    n = len(rows)
    is_pool = np.array([row.split == Example.Split.pool for row in rows])
    held_out_clusters = np.unique(cluster[~is_pool])
    nothing = np.full(n, np.nan)
    answers = answers_of(project)
    ballot_of = [found.get(row.pk) or Ballot(answers=answers) for row in rows]
    return _Scored(
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


def _score(scored: _Scored, embeddings: np.ndarray, project: Project, progress: Progress) -> None:
    """Fill in quality, predictions, consensus and neighbours of the pool examples that have a label."""
    try:
        found = out_of_sample_probabilities(
            embeddings, scored.label, scored.cluster, labels_order=project.labels, seed=SEED, progress=progress)
    except ValueError as error:  # too few labels: duplicates are still worth a report
        scored.hidden_because = str(error)
        _ask_people(scored, project)
        return
    scored.out_of_sample, scored.left_out = found, found.left_out
    if not found.is_better_than_chance:
        scored.hidden_because = (
            f"A model that read the texts agrees with {found.accuracy:.1%} of the labels, hardly more than always "
            f"saying the commonest one ({found.majority_share:.1%}). Its doubts would mislead, so they are not shown.")
        _ask_people(scored, project)
        return
    chosen = np.flatnonzero(found.rows_scored)
    probs = found.pred_probs[chosen]
    _apply_consensus(scored, chosen, probs, found.labels_order)
    label = codes([scored.label[row] for row in chosen], found.labels_order)
    quality = score_labels(label, probs)
    was_set = ~np.isnan(scored.quality[chosen])  # by the consensus of several annotators
    scored.quality[chosen] = np.where(was_set, scored.quality[chosen], quality.label_quality)
    settled = np.array([scored.ballot_of[row].is_settled for row in chosen])
    scored.is_issue[chosen] = quality.is_label_issue & ~settled
    scored.label_probability[chosen] = probs[np.arange(len(chosen)), label]
    scored.predicted_probability[chosen] = probs.max(axis=1)
    for row, k in zip(chosen, quality.predicted_label, strict=True):
        scored.predicted[row] = found.labels_order[k]
    _find_neighbours(scored, embeddings, chosen, progress)


def _apply_consensus(scored: _Scored, chosen: np.ndarray, probs: np.ndarray, order: list[str]) -> None:
    """CROWDLAB for the chosen examples, if some have several labels and nobody has decided on them."""
    votes = [(position, vote.annotator_id, order.index(vote.label))
             for position, row in enumerate(chosen) for vote in scored.ballot_of[row].votes if vote.label in order]
    n_votes = np.bincount([position for position, _, _ in votes], minlength=len(chosen))
    if n_votes.max(initial=0) < 2 or n_votes.min(initial=1) < 1:
        return
    position_of, annotator_of, label_of = (np.array(column) for column in zip(*votes, strict=True))
    said = consensus(position_of, annotator_of, label_of, probs)
    people = Annotator.objects.filter(pk__in=said.annotator_quality, is_person=True)
    scored.annotators = {person.name: round(said.annotator_quality[person.pk], 4) for person in people}
    for position in np.flatnonzero(n_votes >= 2):
        row = chosen[position]
        scored.agreement[row] = said.annotator_agreement[position]
        if not scored.ballot_of[row].is_settled:
            scored.label[row] = order[said.consensus_label[position]]
            scored.quality[row] = said.consensus_quality[position]


def _ask_people(scored: _Scored, project: Project) -> None:
    """Dawid-Skene for one label out of a fixed list where no classifier can weigh people, if they said enough."""
    if not scored.answers.kind.HAS_LABELS:
        return
    order = {label: k for k, label in enumerate(project.labels)}
    people = dict(Annotator.objects.filter(project=project, is_person=True).values_list("pk", "name"))
    ballots_of = [(row, [vote for vote in scored.ballot_of[row].votes if vote.annotator_id in people
                         and vote.label in order]) for row in np.flatnonzero(scored.has_label).tolist()]
    chosen = [(row, votes) for row, votes in ballots_of if len(votes) >= MIN_VOTES]
    if not chosen:
        return
    votes = [(position, vote.annotator_id, order[vote.label]) for position, (_, given) in enumerate(chosen)
             for vote in given]
    said = people_say(*(np.array(column) for column in zip(*votes, strict=True)), n_examples=len(chosen),
                      n_labels=len(order))
    if said is None:
        return
    scored.annotators = {people[pk]: round(share, 4) for pk, share in said.reliability.items()}
    for position, (row, given) in enumerate(chosen):
        label = project.labels[said.label[position]]
        if not scored.ballot_of[row].is_settled and label in {vote.label for vote in given}:
            scored.weighed[row] = float(said.probability[position])
            scored.label[row] = label


def _find_neighbours(scored: _Scored, embeddings: np.ndarray, chosen: np.ndarray, progress: Progress) -> None:
    """The nearest labelled pool examples of the rows that somebody will look at first, as evidence."""
    if not len(chosen):
        return
    worst = chosen[np.argsort(scored.quality[chosen], kind="stable")][:2000]
    asked = np.union1d(worst, np.flatnonzero(scored.is_issue))
    rows, similarity = nearest(embeddings[asked], embeddings[chosen], k=N_NEIGHBOURS + 1, progress=progress)
    for row, found, cosines in zip(asked, chosen[rows], similarity, strict=True):
        scored.neighbours[int(row)] = [
            [scored.rows[other].pk, round(float(cosine), 4)]
            for other, cosine in zip(found, cosines, strict=True) if other != row][:N_NEIGHBOURS]


def _compare(scored: _Scored, progress: Progress) -> None:
    """Agreement where a pool example has several answers; what they cannot settle among themselves is to be looked at.

    Quality is that agreement. One answer alone has none: nobody can say how good it is.
    """
    answers, mark = scored.answers, LOOK_BELOW[scored.answers.task_type]
    several = [row for row in np.flatnonzero(scored.has_label).tolist() if len(scored.ballot_of[row].votes) > 1]
    for number, row in enumerate(several, 1):
        ballot = scored.ballot_of[row]
        agreement = answers.kind.agreement([vote.value for vote in ballot.votes])
        scored.agreement[row] = scored.quality[row] = min(max(agreement, 0.0), 1.0)
        n, is_disputed = len(ballot.votes), answers.task_type in COMPARED_WHOLE and agreement < 1
        if row in scored.weighed and ballot.consensus != scored.label[row]:
            scored.remark(row, f"Its {n} answers differ; weighed by how reliable each person is they say "
                               f"“{scored.label[row]}” ({scored.weighed[row]:.0%} sure).")
        elif ballot.consensus is None and not ballot.decided_label and not answers.is_free_text:
            scored.is_issue[row] = is_disputed = True
            scored.remark(row, f"Its {n} answers settle nothing between them; the first one stands here.")
        elif agreement < mark and not ballot.is_settled:
            scored.is_issue[row] = is_disputed = True
        if agreement < 1:
            words = f"Its {n} answers agree to {agreement:.0%} in {COMPARED[answers.task_type]}."
            if is_disputed:
                scored.flag(row, Flag.Kind.disagreement, words)
            else:
                scored.remark(row, words)
        progress("Comparing answers", number, len(several))
    if several:
        said = scored.agreement[several]
        scored.facts["agreement"] = asdict(bootstrap_interval(
            lambda rows: float(said[rows].mean()), np.arange(len(said)), seed=SEED))


def _score_sets(scored: _Scored, embeddings: np.ndarray, project: Project, progress: Progress) -> None:
    """Doubt sets of labels label by label; quality is the model's where it has one."""
    sets = [None if label is None else frozenset(scored.answers.names_in(label)) for label in scored.label]
    try:
        found = out_of_sample_sets(embeddings, sets, scored.cluster, labels_order=project.labels, seed=SEED,
                                   progress=progress)
    except ValueError as error:
        scored.hidden_because = str(error)
        return
    scored.out_of_sample, scored.left_out = found, found.left_out
    chosen = np.flatnonzero(found.rows_scored)
    column = {label: k for k, label in enumerate(found.labels_order)}
    given = [sorted(column[label] for label in sets[row] or () if label in column) for row in chosen]
    probs = found.pred_probs[chosen]
    quality = score_label_sets(given, probs)
    settled = np.array([scored.ballot_of[row].is_settled for row in chosen], dtype=bool)
    scored.quality[chosen] = quality.label_quality
    scored.is_issue[chosen] |= quality.is_label_issue & ~settled
    for number, row in enumerate(chosen.tolist()):
        predicted = {found.labels_order[k] for k in np.flatnonzero(probs[number] >= MARKED)}
        unjudged = (sets[row] or frozenset()) - column.keys()  # the model has no opinion on these
        if predicted | unjudged:
            scored.predicted[row] = scored.answers.label(sorted(predicted | unjudged))
        if quality.is_label_issue[number] and not settled[number]:
            for doubt in _doubts(given[number], probs[number], found.labels_order):
                scored.flag(row, Flag.Kind.label_issue, doubt)


def _doubts(given: list[int], probs: np.ndarray, order: list[str]) -> Iterator[str]:
    """What a model that has not seen the labels would add and take away."""
    for k, label in enumerate(order):
        if k in given and probs[k] < MARKED:
            yield f"A model that has not seen the labels gives “{label}”, which is given, {probs[k]:.0%}."
        elif k not in given and probs[k] >= MARKED:
            yield f"A model that has not seen the labels gives “{label}”, which is not given, {probs[k]:.0%}."


def _earlier(project: Project) -> _Earlier:
    """The report before this one, with what is compared or taken over."""
    report = latest_report(project)
    if report is None:
        return _Earlier(None, {}, {})
    flags: dict[int, dict[str, str]] = {}
    for score, kind, reason in report.flags.order_by().values_list("score_id", "kind", "reason").iterator(BATCH):
        flags.setdefault(score, {})[kind] = reason
    known, judged = {}, {}
    for score, example, label, quality, *found in report.scores.order_by().values_list(
            "pk", "example_id", "label", "label_quality", "checked", "failures", "language").iterator(BATCH):
        known[example] = _Known(*found)
        judged[example] = Judged(label, quality, flags.get(score, {}))
    return _Earlier(report, known, judged)


def _flag_labels(scored: _Scored) -> None:
    """Flag the labels that a model doubts, and annotators who disagree, where there is one label per text."""
    for row in np.flatnonzero(scored.is_issue).tolist():
        scored.flag(row, Flag.Kind.label_issue, "The label looks wrong to a model that has not seen it.")
    for row in np.flatnonzero(scored.agreement < 1).tolist():
        scored.flag(row, Flag.Kind.disagreement,
                    f"Annotators disagree: {scored.agreement[row]:.0%} of them gave “{scored.label[row]}”.")


def _check(scored: _Scored, earlier: _Earlier, progress: Progress) -> None:
    """Hard checks of every pool text and answer; an answer that a curator has settled is not brought up again."""
    progress("Checking texts and answers", 0, 1)
    rows = np.flatnonzero(scored.is_pool).tolist()
    old = {row: known for row in rows if (known := earlier.known.get(scored.rows[row].pk))
           and known.fingerprint == scored.fingerprint(row)}
    checked = check_answers(
        [Answered(scored.rows[row].text, scored.label[row], int(scored.cluster[row]), scored.rows[row].asked)
         for row in rows], scored.answers,
        known=[[(check, reason) for check, reason in old[row].failures] if row in old else None for row in rows])
    scored.outcomes = dict(zip(rows, checked.outcomes, strict=True))
    for row, failures in zip(rows, checked.failures, strict=True):
        for check, reason in failures:
            if check in OF_THE_TEXT:
                scored.flag(row, kind_of(check), reason)
            elif not scored.ballot_of[row].is_settled:
                scored.flag(row, kind_of(check), reason)
                scored.is_issue[row] |= scored.answers.task_type != "classification"  # there only a model's doubt
    scored.language = [""] * len(scored.rows)
    new = [row for row in rows if row not in old]
    told = languages_of([_written(scored, row) for row in new], progress=progress)
    for row, language in [*((row, known.language) for row, known in old.items()), *zip(new, told, strict=True)]:
        scored.language[row] = language
    scored.facts |= {"n_failed": checked.n_failed, "set_aside": checked.set_aside, "n_checked": len(new)}
    if scored.answers.task_type != "classification":
        scored.facts["names"] = _counted(scored, [row for row in rows if scored.label[row] is not None])


def _written(scored: _Scored, row: int) -> str:
    """The text whose language counts: of free text the answer, since people may ask in any language."""
    return scored.label[row] or "" if scored.answers.is_free_text else scored.rows[row].text


def _flag_texts(scored: _Scored, embeddings: np.ndarray, progress: Progress) -> None:
    """Flag what other texts show about a pool text: conflicts, leaks, near-duplicates, outliers, other languages."""
    rows = np.flatnonzero(scored.is_pool).tolist()
    _flag_conflicts(scored)
    scored.facts["language"] = common = dominant_language([scored.language[row] for row in rows])
    written = "answer" if scored.answers.is_free_text else "text"
    scored.outliers = find_outliers(embeddings, scored.cluster, seed=SEED, progress=progress)
    is_outlier, near = scored.outliers.is_outlier, scored.outliers.nearest_cosine
    for row in rows:
        if common and scored.language[row] not in ("", common):
            scored.flag(row, Flag.Kind.language, f"Its {written} seems to be in another language "
                        f"({scored.language[row]}) than most ({common}).")
        if scored.crosses[row]:
            scored.flag(row, Flag.Kind.leak,
                        "A near-duplicate of it is held out for testing, so it will not be trained on.")
        if scored.cluster_size[row] > 1:
            scored.flag(row, Flag.Kind.duplicate, f"It is one of {scored.cluster_size[row]:,} examples that say nearly "
                                                  "the same.")
        if is_outlier[row]:
            scored.flag(row, Flag.Kind.outlier, f"It is unlike all other texts: its nearest have a mean cosine of "
                        f"{near[row]:.2f}, and {scored.outliers.cutoff:.2f} is far out in this project.")


def _flag_conflicts(scored: _Scored) -> None:
    answers = scored.answers
    groups = conflict_groups(answers, near=scored.duplicates.stars.centre.tolist(),
                             equal=[row.content_sha256 for row in scored.rows])
    same = "nearly the same" if answers.are_names else "the same"
    for found in find_conflicts(groups, scored.label) if groups is not None else ():
        if not scored.ballot_of[found.row].is_settled:
            shown = answers.show(found.other, source=scored.rows[found.row].text)[:80]
            scored.flag(found.row, Flag.Kind.conflict, f"Another example that says {same} carries “{shown}”."
                        if found.n_others == 1 else f"Of {found.n_others:,} other labelled examples that say {same} "
                        f"{found.n_against:,} carry another label, mostly “{shown}”.")


def _counted(scored: _Scored, rows: list[int]) -> dict[str, list[int]]:
    """Name → how many labelled pool examples have it, and how many of those look wrong; [] where answers have none."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        for name in scored.answers.names_in(scored.label[row] or ""):
            count = counts.setdefault(name, [0, 0])
            count[0] += 1
            count[1] += bool(scored.is_issue[row])
    return counts


def _group(scored: _Scored, embeddings: np.ndarray, progress: Progress) -> None:
    """Groups of like texts among the pool, which the gold set is spread over; kept in the store by their hash."""
    pool = np.array([i for i, row in enumerate(scored.rows) if row.split == Example.Split.pool], dtype=np.intp)
    if not len(pool):
        return
    progress("Grouping texts", 0, 1)
    found = group_texts(embeddings[pool], seed=SEED)
    names = [f"{k + 1:02}: like “{' '.join(scored.rows[pool[row]].text.split())[:80]}”"
             for k, row in enumerate(found.central)]
    content = json.dumps({"names": names, "group_of": dict(zip(
        (str(scored.rows[row].pk) for row in pool), found.group.tolist(), strict=True))})
    scored.facts["groups"] = put_object(settings.GOLDPAN_OBJECTS, content.encode())


def groups_of(report: QualityReport) -> dict[int, str]:
    """Example id → the name of its group of like texts, for the pool of a report; {} where there are no groups."""
    if not (sha256 := report.job.result.get("groups")):
        return {}
    with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
        stored = json.load(file)
    return {int(pk): stored["names"][number] for pk, number in stored["group_of"].items()}


def _reasons(scored: _Scored, row: int) -> list[str]:
    """Why a curator should look at this example, in plain words."""
    return [*scored.remarks.get(row, ()), *(reason for found in scored.flags.get(row, {}).values() for reason in found)]


def _write(job: Job, scored: _Scored, earlier: _Earlier) -> QualityReport:
    found, far_out = scored.out_of_sample, scored.outliers
    is_scored = ~np.isnan(scored.quality)
    sizes = np.bincount(scored.cluster) if len(scored.cluster) else np.zeros(0, dtype=int)
    judged = [Judged(scored.label[row] or "", _or_none(scored.quality[row]), {
        kind: " ".join(reasons) for kind, reasons in scored.flags.get(row, {}).items()})
        for row in range(len(scored.rows))]
    moved = [(row, change) for row, (example, now) in enumerate(zip(scored.rows, judged, strict=True))
             for change in changes(earlier.judged.get(example.pk), now)] if earlier.report else []
    n_changes = Counter(f"{change.what} {change.kind}".strip() for _, change in moved)
    if earlier.report:
        n_changes["new"] = sum(example.pk not in earlier.judged for example in scored.rows)
    report = QualityReport.objects.create(
        project=job.project, job=job, encoder=encoder_name(settings.GOLDPAN_ENCODER), n_examples=len(scored.rows),
        n_scored=int(is_scored.sum()), n_issues=int(scored.is_issue.sum()), n_clusters=int((sizes > 1).sum()),
        n_crossing=int(scored.crosses.sum()), duplicate_threshold=scored.duplicates.threshold.value,
        accuracy=found.accuracy if found else None, majority_share=found.majority_share if found else None,
        hidden_because=scored.hidden_because, left_out=scored.left_out, annotators=scored.annotators,
        n_flags=Counter(kind for one in judged for kind in one.flags), n_changes=n_changes, previous=earlier.report,
        outlier_cosine=far_out.cutoff if far_out else None, language=scored.facts["language"])
    gain = _gain(scored)
    ExampleScore.objects.bulk_create((_score_row(report, scored, row, gain) for row in range(len(scored.rows))), BATCH)
    score_of = dict(report.scores.order_by().values_list("example_id", "pk"))
    Flag.objects.bulk_create((
        Flag(report=report, score_id=score_of[example.pk], kind=kind, label_quality=now.quality, reason=reason)
        for example, now in zip(scored.rows, judged, strict=True) for kind, reason in now.flags.items()), BATCH)
    ScoreChange.objects.bulk_create((
        ScoreChange(report=report, score_id=score_of[scored.rows[row].pk], what=change.what, kind=change.kind,
                    before=change.before, after=change.after) for row, change in moved), BATCH)
    write_duplicates(report, scored.rows, scored.duplicates, scored.label,
                     [ballot.is_excluded for ballot in scored.ballot_of])
    return report


def _gain(scored: _Scored) -> np.ndarray:
    """Return (n,) float: what settling each row is expected to change, by which the review queue is ordered.

    The probability that a label is wrong is what the model leaves it out of sample where it has one voter, else 1 less
    its quality; what is flagged counts at least as open.
    """
    one_voter = np.array([len(ballot.votes) < 2 for ballot in scored.ballot_of])
    p_wrong = 1 - np.where(one_voter & ~np.isnan(scored.label_probability), scored.label_probability, scored.quality)
    p_wrong = np.where(scored.is_issue, np.fmax(p_wrong, 0.5), p_wrong)
    order = {label: k for k, label in enumerate(dict.fromkeys(label for label in scored.label if label is not None))}
    label, predicted = (np.array([order.get(name, -1) for name in names], dtype=np.intp)
                        for names in ([name or "" for name in scored.label], scored.predicted))
    if not scored.answers.kind.HAS_LABELS:  # answers that are hardly ever equal have no frequency
        label, predicted = np.minimum(label, 0), np.full(len(label), -1)
    return expected_gain(p_wrong, scored.cluster_size, label, predicted)


def _score_row(report: QualityReport, scored: _Scored, row: int, gain: np.ndarray) -> ExampleScore:
    return ExampleScore(
        report=report, example_id=scored.rows[row].pk, label=scored.label[row] or "",
        n_labels=len(scored.ballot_of[row].votes), predicted_label=scored.predicted[row],
        label_quality=_or_none(scored.quality[row]), is_label_issue=bool(scored.is_issue[row]),
        label_probability=_or_none(scored.label_probability[row]),
        predicted_probability=_or_none(scored.predicted_probability[row]),
        annotator_agreement=_or_none(scored.agreement[row]), cluster=int(scored.cluster[row]),
        cluster_size=int(scored.cluster_size[row]), crosses_split=bool(scored.crosses[row]),
        neighbours=scored.neighbours.get(row, []), reasons=_reasons(scored, row),
        nearest_cosine=_or_none(scored.outliers.nearest_cosine[row]) if scored.outliers else None,
        language=scored.language[row], failures=scored.outcomes.get(row, []),
        checked=scored.fingerprint(row) if row in scored.outcomes else None, expected_gain=float(gain[row]))


def _or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def latest_report(project: Project) -> QualityReport | None:
    return QualityReport.objects.filter(project=project).select_related("project").first()
