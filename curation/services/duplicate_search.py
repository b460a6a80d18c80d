"""The duplicates among a project's examples, as scoring finds them: same text, nearly the same words, same meaning.

1. The threshold of the cosine comes from curators' judgements, or is the default until there are enough.
2. Equal texts, texts of nearly the same words and texts of like meaning are joined into components, which splits
   must not divide. Pairs that a curator called different are not joined.
3. Inside the components stars gather what is like one example; those are shown, with labels that differ in one, and
   members in two splits.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from typing import Any

import numpy as np
from django.conf import settings

from curation.conflicts import conflict_groups, find_conflicts
from curation.dedup import Clusters, find_clusters
from curation.duplicate_threshold import DEFAULT, N_BINS, PairSample, Threshold, bin_of, sample_pairs, threshold_from
from curation.lexical import JACCARD, jaccard, lexical_links
from curation.models import (
    DuplicateAction,
    DuplicateCluster,
    DuplicateMember,
    PairJudgement,
    PairToJudge,
    QualityReport,
)
from curation.services.embeddings import encoder_name
from curation.services.labels import ExampleRow, answers_of
from curation.shards import shards_of
from curation.star_clusters import Stars, star_clusters
from curation.wordings import same_wordings, wording_links
from jobs.progress import Progress
from labeling.models import Example
from projects.models import Project

SEED = 0
CHAINED_SHARE, CHAINED_ROWS, STEP = 0.05, 100, 0.02  # a larger component is a chain: the threshold goes up by a step
MOST_APART = 50  # members of a cluster that can be called different from each other; it makes pairs of all of them
ORDER = {split: number for number, split in enumerate(Example.Split.values)}  # of two splits the lower one gives way
What, Kind = DuplicateCluster.What, DuplicateCluster.Kind


@dataclass(frozen=True)
class Duplicates:
    """What was found, a value per row. cluster: the components, numbered by first row. star: as `star_clusters` says.

    kind: for which reason a row is with its centre. to_judge: pairs for curators, by rows. facts: for the job's result.
    """

    cluster: np.ndarray
    stars: Stars
    kind: list[str]
    threshold: Threshold
    to_judge: PairSample
    facts: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """The components of all rows and the threshold that made them.

    links: (k, 2) rows of nearly the same words. wording: (n,) int, equal for rows of one bare wording.
    """

    clusters: Clusters
    threshold: Threshold
    links: np.ndarray
    wording: np.ndarray


def current_threshold(project: Project, report: QualityReport | None) -> Threshold:
    """The threshold that the next scoring will use, by the judgements so far.

    report: the newest one, which says how many pairs the corpus has at each cosine.
    """
    judged = list(PairJudgement.objects.current().filter(
        project=project, encoder=encoder_name(settings.GOLDPAN_ENCODER)).values_list("similarity", "answer"))
    n_in_bin = (report.job.result.get("duplicates", {}).get("n_in_bin") if report else None) or [1] * N_BINS
    return threshold_from(np.array([similarity for similarity, _ in judged]),
                          np.array([answer == PairJudgement.Answer.same for _, answer in judged], dtype=bool),
                          np.array(n_in_bin, dtype=float))


def find_components(project: Project, rows: Sequence[ExampleRow], embeddings: np.ndarray,
                    progress: Progress) -> Found:
    """Find the components of all examples. embeddings: one row of length 1 per example, in their order."""
    threshold = current_threshold(project, QualityReport.objects.filter(project=project).select_related("job").first())
    first_of = {row.compared_sha256: number for number, row in reversed(list(enumerate(rows)))}
    firsts = np.array(sorted(first_of.values()), dtype=np.intp)
    texts = [rows[row].compared for row in firsts]
    wordings = same_wordings(texts, progress=progress)
    links = firsts[np.concatenate([lexical_links(texts, progress=progress), wording_links(wordings)])]
    wording_of = dict(zip((rows[row].compared_sha256 for row in firsts), wordings.tolist(), strict=True))
    apart = _called_different(project, rows)
    while True:
        found = find_clusters(embeddings, [row.compared_sha256 for row in rows], threshold=threshold.value, links=links,
                              apart=apart, spread=shards_of(settings.GOLDPAN_BACKENDS), progress=progress)
        largest = int(np.bincount(found.cluster[firsts]).max(initial=0))
        is_chained = largest > max(CHAINED_ROWS, CHAINED_SHARE * len(firsts))
        if not is_chained or threshold.value >= DEFAULT:
            return Found(found, threshold, links, np.array([wording_of[row.compared_sha256] for row in rows], np.intp))
        value = min(DEFAULT, threshold.value + STEP)
        threshold = Threshold(value, f"{value:.3f}, raised from {threshold.value:.3f}, at which {largest:,} texts hang "
                              f"together as one. {threshold.why}", threshold.n_judged, threshold.precision, True)


def search_duplicates(project: Project, rows: Sequence[ExampleRow], embeddings: np.ndarray,
                      progress: Progress) -> Duplicates:
    """Find the duplicates among all examples. embeddings: one row of length 1 per example, in their order."""
    components = find_components(project, rows, embeddings, progress)
    found, threshold, links = components.clusters, components.threshold, components.links
    firsts = np.unique(found.first)
    linked = np.zeros(len(rows), dtype=bool)
    linked[links.ravel()] = True
    degree = found.degree + np.bincount(links.ravel(), minlength=len(rows))
    stars = star_clusters(embeddings, found.cluster, degree, threshold=threshold.value, rows=firsts,
                          alike=_alike(rows, linked, components.wording) if len(links) else None, progress=progress)
    stars = Stars(stars.centre[found.first], stars.similarity[found.first])
    to_judge = sample_pairs(embeddings, firsts, seed=SEED, progress=progress)
    facts = {"n_pairs": found.n_pairs, "n_wordings": len(links), "threshold": threshold.value, "why": threshold.why,
             "is_calibrated": threshold.is_calibrated, "n_in_bin": [round(n, 1) for n in to_judge.n_in_bin.tolist()],
             "recall": [found.recall.estimate, found.recall.low, found.recall.n] if found.recall else None}
    return Duplicates(found.cluster, stars, _kinds(rows, stars.centre, components.wording), threshold, to_judge, facts)


def _alike(rows: Sequence[ExampleRow], linked: np.ndarray, wording: np.ndarray) -> Any:
    """Whether rows have nearly the wording of a centre; asked only of rows that have it of some row."""

    def alike(centre: int, others: np.ndarray) -> np.ndarray:
        found = np.zeros(len(others), dtype=bool)
        for at in np.flatnonzero(linked[others]) if linked[centre] else ():
            found[at] = _is_wording(rows, wording, centre, others[at])
        return found

    return alike


def _is_wording(rows: Sequence[ExampleRow], wording: np.ndarray, a: int, b: int) -> bool:
    is_bare = bool(wording[a] == wording[b])
    return is_bare or jaccard(rows[a].compared, rows[b].compared) >= JACCARD


def _kinds(rows: Sequence[ExampleRow], centre: np.ndarray, wording: np.ndarray) -> list[str]:
    kinds: list[str] = []
    for number, (row, other) in enumerate(zip(rows, centre.tolist(), strict=True)):
        if row.compared_sha256 == rows[other].compared_sha256:
            kinds.append(Kind.exact)
        else:
            kinds.append(Kind.lexical if _is_wording(rows, wording, number, other) else Kind.semantic)
    return kinds


def _called_different(project: Project, rows: Sequence[ExampleRow]) -> np.ndarray:
    """(k, 2) rows that a curator called different: one by one, or as members of a cluster that all stay."""
    row_of = {row.pk: number for number, row in enumerate(rows)}
    pairs = set(PairJudgement.objects.current().filter(project=project, answer=PairJudgement.Answer.different)
                .values_list("example_a_id", "example_b_id"))
    kept = DuplicateAction.objects.standing().filter(project=project, verdict=DuplicateAction.Verdict.keep_all)
    members: dict[int, list[int]] = defaultdict(list)
    for cluster_id, example_id in DuplicateMember.objects.filter(
            cluster__in=kept.values("cluster_id"), cluster__size__lte=MOST_APART).order_by("example_id").values_list(
            "cluster_id", "example_id"):
        members[cluster_id].append(example_id)
    pairs.update(pair for ids in members.values() for pair in combinations(ids, 2))
    known = [(row_of[a], row_of[b]) for a, b in sorted(pairs) if a in row_of and b in row_of]
    return np.array(known, dtype=np.intp).reshape(-1, 2)


def members_sha256(example_ids: Sequence[int]) -> str:
    """What a cluster is known by in every report: the hash of its members."""
    return hashlib.sha256(",".join(map(str, sorted(example_ids))).encode()).hexdigest()


def write_duplicates(report: QualityReport, rows: Sequence[ExampleRow], found: Duplicates,
                     labels: Sequence[str | None], is_excluded: Sequence[bool]) -> None:
    """Write the stars with their members, and the pairs to be judged, in the caller's transaction.

    labels, is_excluded: a value per row. Excluded examples are left out; what then stands alone is no cluster.
    """
    groups = conflict_groups(answers_of(report.project), near=found.stars.centre.tolist(),
                             equal=[row.content_sha256 for row in rows])
    against = {one.row for one in find_conflicts(groups, labels)} if groups is not None else set()
    members_of: dict[int, list[int]] = defaultdict(list)
    for row, centre in enumerate(found.stars.centre.tolist()):
        if not is_excluded[row]:
            members_of[centre].append(row)
    drafts = [_draft(report, rows, found, members, [labels[row] for row in members if row in against])
              for members in members_of.values() if len(members) > 1]
    drafts.sort(key=lambda draft: (list(What).index(What(draft[0].what)), -draft[0].urgency, -draft[0].size,
                                   draft[1][0]))
    done = dict(DuplicateAction.objects.standing().filter(project=report.project_id).values_list(
        "members_sha256", "pk"))
    for place, (cluster, _) in enumerate(drafts):
        cluster.place, cluster.action_id = place, done.get(cluster.members_sha256)
    DuplicateCluster.objects.bulk_create([cluster for cluster, _ in drafts], 2000)
    DuplicateMember.objects.bulk_create(_members(rows, found, drafts), 2000)
    PairToJudge.objects.bulk_create(_pairs_to_judge(report, rows, found.to_judge), 2000)


def _draft(report: QualityReport, rows: Sequence[ExampleRow], found: Duplicates, members: list[int],
           labels: Sequence[str | None]) -> tuple[DuplicateCluster, list[int]]:
    """A cluster without its place, and its rows, the centre first, then the more similar ones.

    labels: of those that contradict each other.
    """
    centre = int(found.stars.centre[members[0]])
    members.sort(key=lambda row: (row != centre, -found.stars.similarity[row], row))
    splits = [ORDER[rows[row].split] for row in members]
    counts = Counter(labels)
    shares = np.array(list(counts.values()), dtype=float) / max(1, counts.total())
    what = What.leak if len(set(splits)) > 1 else What.conflict if len(counts) > 1 else What.other
    highest = max(splits)
    kinds = [found.kind[row] for row in members]
    cluster = DuplicateCluster(
        report=report, what=what, kind=next(kind for kind in reversed(list(Kind)) if kind in kinds),
        centre_id=rows[members[0]].pk, size=len(members), n_held_out=sum(split > 0 for split in splits),
        n_to_exclude=sum(split < highest for split in splits) if highest else len(members) - 1,
        similarity=float(found.stars.similarity[members].min()), n_labels=len(counts),
        urgency=round(len(members) * float(-(shares * np.log2(shares)).sum()), 6) if len(counts) > 1 else 0.0,
        members_sha256=members_sha256([rows[row].pk for row in members]))
    return cluster, members


def _members(rows: Sequence[ExampleRow], found: Duplicates,
             drafts: list[tuple[DuplicateCluster, list[int]]]) -> Iterator[DuplicateMember]:
    for cluster, members in drafts:
        for row in members:
            yield DuplicateMember(cluster=cluster, example_id=rows[row].pk, kind=found.kind[row],
                                  similarity=float(found.stars.similarity[row]))


def _pairs_to_judge(report: QualityReport, rows: Sequence[ExampleRow], sample: PairSample) -> Iterator[PairToJudge]:
    """The bins in turn, so that a curator who stops early has judged of each."""
    nth_of_bin: dict[int, Iterator[int]] = defaultdict(count)
    pairs = [(next(nth_of_bin[number]), -number, at) for at, number in enumerate(bin_of(sample.similarity).tolist())]
    for place, (_, _, at) in enumerate(sorted(pairs)):
        a, b = sorted((rows[sample.rows_a[at]].pk, rows[sample.rows_b[at]].pk))
        yield PairToJudge(report=report, place=place, example_a_id=a, example_b_id=b,
                          similarity=round(float(sample.similarity[at]), 6))

