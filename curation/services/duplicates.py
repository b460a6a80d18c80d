"""Duplicates for a curator: clusters to look at, leaks first, what can be done about them, and pairs to judge.

Keep one leaves the other examples out; merge gives all the same label; keep all says that they are different, so the
next scoring does not join them. The first two write decisions, as reviewing does; what was done to which cluster is
kept beside them, so that it can be taken back as a whole and later reports do not ask again.
Labels of held-out examples are never touched. Of a cluster in two splits the lower split gives way: pool before dev
before test.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum

from curation.models import (
    Decision,
    DuplicateAction,
    DuplicateCluster,
    DuplicateMember,
    PairJudgement,
    PairToJudge,
    QualityReport,
)
from curation.services.duplicate_search import MOST_APART, ORDER
from curation.services.labels import answers_of
from curation.services.review import undoing
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import BatchItem, Example
from labeling.services.bulk import CHUNK
from labeling.services.set_aside import leave_settled
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from projects.word_diff import Piece, word_diff
from projects.wording import counted

What, Kind, Verdict = DuplicateCluster.What, DuplicateCluster.Kind, DuplicateAction.Verdict
SHOWN_MEMBERS = 12
MOST_MEMBERS = 200  # on one page, when asked for all
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Wanted:
    """Which clusters a page shows: what they are, why they are clusters, how alike; "" and 0 to 1 are any."""

    what: str = ""
    kind: str = ""
    lowest: float = 0.0
    highest: float = 1.0


def cluster_queue(report: QualityReport, wanted: Wanted) -> QuerySet[DuplicateCluster]:
    """The clusters that nobody has settled: leaks, then conflicts by size times entropy, then the largest."""
    queue = report.duplicate_clusters.filter(action=None).order_by("place")
    if wanted.what:
        queue = queue.filter(what=wanted.what)
    if wanted.kind:
        queue = queue.filter(kind=wanted.kind)
    if wanted.lowest > 0 or wanted.highest < 1:
        queue = queue.filter(similarity__gte=wanted.lowest, similarity__lte=wanted.highest)
    return queue


def group_with(report: QualityReport, example_id: int) -> DuplicateCluster | None:
    """The group that an example is in, whether settled or not; groups are stars, so a near-copy may be in none."""
    return report.duplicate_clusters.filter(members__example=example_id).first()


@dataclass(frozen=True)
class DuplicateCounts:
    """How many clusters are left by what they are, and by why they are clusters within the one shown; n_settled."""

    what: dict[str, int]
    kind: dict[str, int]
    n_left: int
    n_settled: int


def groups_left(report: QualityReport) -> dict[str, int]:
    """What a cluster is → how many of them nobody has settled."""
    return dict(cluster_queue(report, Wanted()).order_by().values_list("what").annotate(Count("pk")))


def duplicate_counts(report: QualityReport, what: str = "") -> DuplicateCounts:
    by_what: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for one, kind, n in cluster_queue(report, Wanted()).order_by().values_list("what", "kind").annotate(Count("pk")):
        by_what[one] += n
        by_kind[kind] += n if what in ("", one) else 0
    n_left = by_what.total()
    return DuplicateCounts({name: by_what[name] for name in What.values}, {name: by_kind[name] for name in Kind.values},
                           n_left, report.duplicate_clusters.count() - n_left)


@dataclass(frozen=True)
class Member:
    """An example of the cluster. label: what counts for it now, "" if none or held out; shown: the same in words.

    pieces: its text beside the centre's, word by word. state: what somebody decided, in words.
    """

    example: Example
    similarity: float
    kind: str
    label: str
    shown: str
    pieces: list[Piece]
    state: str

    @property
    def is_held_out(self) -> bool:
        return self.example.split != Example.Split.pool


@dataclass(frozen=True)
class ClusterItem:
    """All that helps to decide about a cluster. members: the centre first, then the least similar ones.

    n_more: members that are not shown. labels: (label, in words, how many of those shown have it), the commonest first.
    kept: the example that stays unless another one is chosen. may_merge: whether one label can be given to all.
    action: what was done about it, None if nothing or it was taken back.
    """

    cluster: DuplicateCluster
    members: list[Member]
    n_more: int
    labels: list[tuple[str, str, int]]
    kept: int
    may_merge: bool
    action: DuplicateAction | None


def cluster_item(cluster: DuplicateCluster, report: QualityReport, *, shows_all: bool = False) -> ClusterItem:
    """Gather what is known about a cluster. Five queries, however many members it has."""
    answers, centre = answers_of(report.project), cluster.centre
    found = list(cluster.members.exclude(example=cluster.centre_id).select_related("example").order_by(
        "similarity", "pk")[:MOST_MEMBERS if shows_all else SHOWN_MEMBERS - 1])
    examples = [centre, *(member.example for member in found)]
    label_of, state_of = _labels_now(report, [example.pk for example in examples])
    members = []
    for example, similarity, kind in [(centre, 1.0, ""), *((m.example, m.similarity, m.get_kind_display())
                                                           for m in found)]:
        label = label_of.get(example.pk, "") if example.split == Example.Split.pool else ""
        members.append(Member(example, similarity, kind, label, answers.show(label, source=example.text) if label
                              else "", word_diff(centre.text, example.text), state_of.get(example.pk, "")))
    counts = Counter(member.label for member in members if member.label)
    shown = {member.label: member.shown for member in members}
    kept = max(members, key=lambda member: (ORDER[member.example.split], member.state != LEFT_OUT)).example.pk
    action = DuplicateAction.objects.filter(pk=cluster.action_id or 0).select_related("decided_by").first()
    return ClusterItem(cluster, members, cluster.size - len(members),
                       [(label, shown[label], n) for label, n in counts.most_common()], kept,
                       answers.are_names and bool(counts), action)


def _labels_now(report: QualityReport, example_ids: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
    """The label that counts for each pool example, decided or the report's, and what was decided in words."""
    label_of: dict[int, str] = {}
    state_of: dict[int, str] = {}
    for start in range(0, len(example_ids), CHUNK):
        some = example_ids[start:start + CHUNK]
        label_of |= dict(report.scores.filter(example__in=some).values_list("example_id", "label"))
        for decision in Decision.objects.current().filter(example__in=some).exclude(verdict=Decision.Verdict.open):
            label_of[decision.example_id] = decision.value or label_of.get(decision.example_id, "")
            state_of[decision.example_id] = {
                Decision.Verdict.exclude: LEFT_OUT, Decision.Verdict.discuss: "in discussion"}.get(
                Decision.Verdict(decision.verdict), "decided")
    return label_of, state_of


# What can be done about a cluster

@transaction.atomic
def settle_cluster(cluster: DuplicateCluster, *, verdict: str, by: User, kept: int | None = None,
                   label: str = "") -> DuplicateAction:
    """Keep one of the cluster, keep all, or give all the same label; the decisions are written with it.

    kept: for keep_one, the pk of the example that stays; the page's suggestion if left out. label: for merge.
    Raises UserError if somebody has settled it, the project was scored anew, or this cannot be done to this cluster.
    """
    cluster = DuplicateCluster.objects.select_for_update(of=("self",)).select_related("report__project").get(
        pk=cluster.pk)
    report = cluster.report
    project = report.project
    _check_open(cluster)
    if verdict not in Verdict.values:
        raise UserError(f"Keep one, keep all or give all the same label; got “{verdict}”.")
    members = _members([cluster])[cluster.pk]
    decisions: list[Decision] = []
    if verdict == Verdict.keep_one:
        decisions = _write(report, by, [(pk, Decision.Verdict.exclude, "", "It repeats another example.")
                                        for pk in _excluded(members, cluster.centre_id, kept)])
    elif verdict == Verdict.merge:
        decisions = _merge(report, by, members, label)
    elif cluster.size > MOST_APART:
        raise UserError(f"This group has {cluster.size:,} examples; at most {MOST_APART} can be called different from "
                        f"each other at once. Judge pairs instead: enough of them move the threshold.")
    action = DuplicateAction.objects.create(
        project=project, cluster=cluster, members_sha256=cluster.members_sha256, verdict=verdict, decided_by=by,
        decisions=[decision.pk for decision in decisions])
    cluster.action = action  # its row is locked
    cluster.save(update_fields=["action"])
    audit(project, by, "settle_duplicates", {"action": action.pk, "cluster": cluster.pk, "verdict": verdict,
                                             "decisions": action.decisions})
    return action


def _check_open(cluster: DuplicateCluster) -> None:
    report = cluster.report
    if QualityReport.objects.filter(project=report.project_id, pk__gt=report.pk).exists():
        raise UserError("The project has been scored anew since your page was drawn. Reload it and decide there.")
    done = DuplicateAction.objects.filter(pk=cluster.action_id or 0).select_related("decided_by").first()
    if done is not None:
        raise UserError(f"{done.decided_by} has settled this group already: {done.get_verdict_display()}. Reload the "
                        f"page, or go to the next one.")


def _members(clusters: Sequence[DuplicateCluster]) -> dict[int, list[tuple[int, str]]]:
    """Cluster → its members that nobody has left out, (example, split), the centre first."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for start in range(0, len(clusters), CHUNK):
        members = DuplicateMember.objects.filter(cluster__in=clusters[start:start + CHUNK])
        gone = set(Decision.objects.current().filter(
            example__in=members.order_by().values("example_id"), verdict=Decision.Verdict.exclude)
            .values_list("example_id", flat=True))
        for cluster_id, pk, split in members.order_by("pk").values_list("cluster_id", "example_id", "example__split"):
            if pk not in gone:
                found[cluster_id].append((pk, split))
    return found


def _excluded(members: Sequence[tuple[int, str]], centre: int, kept: int | None = None) -> list[int]:
    """The examples that go if one is kept; of a cluster in two splits all of the lower ones, and nobody chooses."""
    highest = max((split for _, split in members), key=ORDER.__getitem__, default=Example.Split.pool)
    staying = {pk for pk, split in members if split == highest}
    if kept is not None and kept not in {pk for pk, _ in members}:
        raise UserError("The example to keep is not of this group. Reload the page.")
    if kept is not None and kept not in staying:
        raise UserError(f"An example of this group is held out for {highest}: that one stays, for it must not be "
                        f"trained on. Keep it, or keep all if they are different.")
    if highest == Example.Split.pool:
        staying = {kept if kept is not None else centre if centre in staying else min(staying, default=centre)}
    return [pk for pk, _ in members if pk not in staying]


def _merge(report: QualityReport, by: User, members: Sequence[tuple[int, str]], label: str) -> list[Decision]:
    answers, pool = answers_of(report.project), [pk for pk, split in members if split == Example.Split.pool]
    label_of = _labels_now(report, pool)[0]
    known = {label_of.get(pk, "") for pk in pool} | set(report.project.labels if answers.are_labels else ())
    if not answers.are_names:  # what is right for one text is not for another
        raise UserError("One answer cannot be given to several texts in this project. Settle them one by one.")
    if not label or label not in known:
        raise UserError("Choose one of the group's labels to give to all.")
    return _write(report, by, [
        (pk, Decision.Verdict.keep if label_of.get(pk) == label else Decision.Verdict.relabel, label,
         "All texts of a group of near-duplicates have one label.") for pk in pool])


def _write(report: QualityReport, by: User, wanted: Iterable[tuple[int, str, str, str]]) -> list[Decision]:
    """Write decisions (example, verdict, value, reason) at once; what is excluded already stays as it is."""
    decisions: list[Decision] = []
    rows = list(wanted)
    for start in range(0, len(rows), CHUNK):
        some = rows[start:start + CHUNK]
        ids = [pk for pk, *_ in some]
        list(Example.objects.select_for_update().filter(pk__in=ids).order_by("pk").values_list("pk"))
        gone = set(Decision.objects.current().filter(example__in=ids, verdict=Decision.Verdict.exclude)
                   .values_list("example_id", flat=True))
        decisions += Decision.objects.bulk_create(
            Decision(example_id=pk, report=report, verdict=verdict, value=value, reason=reason, decided_by=by)
            for pk, verdict, value, reason in some if pk not in gone)
        for item in BatchItem.objects.filter(example__in=ids, is_set_aside=True).select_related("example"):
            leave_settled(item.example)
    return decisions


@transaction.atomic
def undo_duplicates(project: Project, *, by: User) -> list[DuplicateAction]:
    """Take back what this person did last about a cluster, or about many at once; return what was taken back.

    Decisions that somebody has replaced since stay as they are.
    Raises UserError if there is nothing to take back.
    """
    Project.objects.select_for_update().get(pk=project.pk)  # of two undos at once the second sees the first
    standing = DuplicateAction.objects.standing().filter(project=project, decided_by=by)
    last = standing.last()
    if last is None:
        raise UserError("You have settled no group of duplicates that could be taken back.")
    actions = list(standing.filter(job=last.job_id)) if last.job_id else [last]
    DuplicateCluster.objects.filter(
        action__in=DuplicateAction.objects.filter(Q(job=last.job_id) if last.job_id else Q(pk=last.pk))
    ).update(action=None)
    back = _take_back([pk for action in actions for pk in action.decisions], by)
    DuplicateAction.objects.bulk_create(DuplicateAction(
        project=project, cluster_id=action.cluster_id, members_sha256=action.members_sha256, verdict=action.verdict,
        undoes=action, decided_by=by, decisions=[back[pk] for pk in action.decisions if pk in back])
        for action in actions)
    audit(project, by, "undo_duplicates", {"actions": len(actions), "first": actions[0].pk, "decisions": len(back)})
    return actions


def _take_back(decision_ids: Sequence[int], by: User) -> dict[int, int]:
    """Undo those decisions that still count, each to what counted before; return old → new decision."""
    back: dict[int, int] = {}
    for start in range(0, len(decision_ids), CHUNK):
        counting = list(Decision.objects.current().filter(pk__in=decision_ids[start:start + CHUNK]))
        history: dict[int, list[Decision]] = defaultdict(list)
        undone = Decision.objects.filter(undoes_id=OuterRef("pk"))
        for earlier in Decision.objects.filter(~Exists(undone), undoes__isnull=True, example__in=[
                decision.example_id for decision in counting]).order_by("pk"):
            history[earlier.example_id].append(earlier)
        rows = []
        for decision in counting:
            before = next((one for one in reversed(history[decision.example_id]) if one.pk < decision.pk), None)
            rows.append(undoing(decision, before, by=by))
        back |= {int(row.undoes_id or 0): row.pk for row in Decision.objects.bulk_create(rows)}
    return back


# Many at once

@dataclass(frozen=True)
class Bulk:
    """What keeping one of each would do: how many clusters, how many examples left out."""

    n_clusters: int
    n_examples: int


def _bulk_queue(report: QualityReport, lowest: float, kind: str = "") -> QuerySet[DuplicateCluster]:
    """Clusters from a similarity up; not those whose labels differ, for somebody has to say which label is right."""
    return cluster_queue(report, Wanted(kind=kind, lowest=lowest)).filter(Q(n_labels__lte=1) & Q(n_to_exclude__gt=0))


def preview_keep_one(report: QualityReport, *, lowest: float, kind: str = "") -> Bulk:
    found = _bulk_queue(report, lowest, kind).aggregate(n=Count("pk"), gone=Sum("n_to_exclude"))
    return Bulk(found["n"], found["gone"] or 0)


def start_keep_one(report: QualityReport, *, lowest: float, kind: str = "", n_seen: int, by: User,
                   wake: bool = True) -> Job:
    """Queue keeping one of every cluster from a similarity up.

    n_seen: how many clusters the curator's preview showed. Raises UserError if there are none, or they have changed.
    """
    n = preview_keep_one(report, lowest=lowest, kind=kind).n_clusters
    if n != n_seen or not n:
        raise UserError(f"There {'is' if n == 1 else 'are'} {counted(n, 'such group')} now, your preview showed "
                        f"{n_seen:,}. Look at it again.")
    title = f"Keeping one of each of {n:,} groups" if n > 1 else "Keeping one of a group"
    return enqueue("keep_one", report.project, title=title, requested_by=by,
                   params={"report": report.pk, "lowest": lowest, "kind": kind},
                   exclusive=f"keep_one:{report.project_id}", wake=wake)


def run_keep_one(job: Job, progress: Progress) -> None:
    report, by = QualityReport.objects.select_related("project").get(pk=job.params["report"]), job.requested_by
    assert by is not None
    if QualityReport.objects.filter(project=report.project_id, pk__gt=report.pk).exists():
        raise UserError("The project has been scored anew meanwhile. Look at its duplicates again.")
    clusters = list(_bulk_queue(report, job.params["lowest"], job.params["kind"]))
    progress("Leaving out what repeats", 0, len(clusters))
    members = _members(clusters)
    with completing(job) as result:
        excluded = {cluster.pk: _excluded(members[cluster.pk], cluster.centre_id) for cluster in clusters}
        decisions = _write(report, by, [(pk, Decision.Verdict.exclude, "", "It repeats another example.")
                                        for ids in excluded.values() for pk in ids])
        decision_of = {decision.example_id: decision.pk for decision in decisions}
        DuplicateAction.objects.bulk_create((DuplicateAction(
            project=report.project, cluster=cluster, members_sha256=cluster.members_sha256, verdict=Verdict.keep_one,
            decided_by=by, job=job, decisions=[decision_of[pk] for pk in excluded[cluster.pk] if pk in decision_of])
            for cluster in clusters), CHUNK)
        mine = DuplicateAction.objects.filter(job=job, cluster=OuterRef("pk")).values("pk")
        DuplicateCluster.objects.filter(report=report, pk__in=DuplicateAction.objects.filter(job=job).values("cluster")
                                        ).update(action=Subquery(mine[:1]))
        audit(report.project, by, "keep_one", {"job": job.pk, "clusters": len(clusters), "decisions": len(decisions),
                                               "lowest": str(job.params["lowest"])})
        result |= {"n_clusters": len(clusters), "n_examples": len(decisions)}


# Pairs to judge

@dataclass(frozen=True)
class PairItem:
    """A pair to judge, its texts beside each other, and how far the judging is."""

    pair: PairToJudge | None
    pieces: list[Piece]
    n_judged: int
    n_left: int


def pairs_left(report: QualityReport) -> QuerySet[PairToJudge]:
    """The report's pairs that nobody has judged, all cosines in turn."""
    judged = PairJudgement.objects.current().filter(
        project=report.project_id, example_a=OuterRef("example_a"), example_b=OuterRef("example_b"))
    return report.pairs_to_judge.filter(~Exists(judged))


def pair_item(report: QualityReport) -> PairItem:
    left = pairs_left(report).select_related("example_a", "example_b")
    pair = left.first()
    n_left = left.count()
    return PairItem(pair, word_diff(pair.example_a.text, pair.example_b.text) if pair else [],
                    report.pairs_to_judge.count() - n_left, n_left)


@transaction.atomic
def judge_pair(pair: PairToJudge, *, answer: str, by: User) -> PairJudgement:
    """Write whether two texts say the same. Raises UserError if the answer is neither, or somebody has judged them."""
    if answer not in (PairJudgement.Answer.same, PairJudgement.Answer.different):
        raise UserError(f"Say “same” or “different”; got “{answer}”.")
    project = Project.objects.select_for_update().get(pk=pair.report.project_id)
    if not pairs_left(pair.report).filter(pk=pair.pk).exists():
        raise UserError("Somebody has judged this pair since your page showed it. Go on with the next one.")
    judgement = PairJudgement.objects.create(
        project=project, example_a_id=pair.example_a_id, example_b_id=pair.example_b_id, similarity=pair.similarity,
        encoder=pair.report.encoder, answer=answer, judged_by=by)
    audit(project, by, "judge_pair", {"judgement": judgement.pk, "answer": answer})
    return judgement


@transaction.atomic
def undo_judgement(project: Project, *, by: User) -> PairJudgement:
    """Take back this person's last judgement. Raises UserError if there is none."""
    Project.objects.select_for_update().get(pk=project.pk)
    last = PairJudgement.objects.current().filter(project=project, judged_by=by).last()
    if last is None:
        raise UserError("You have judged no pair that could be taken back.")
    undone = PairJudgement.objects.create(
        project=project, example_a_id=last.example_a_id, example_b_id=last.example_b_id, similarity=last.similarity,
        encoder=last.encoder, answer=PairJudgement.Answer.open, judged_by=by)
    audit(project, by, "undo_judgement", {"judgement": last.pk})
    return undone
