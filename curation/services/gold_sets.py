"""The gold set: a rule, and the rows it picks right now.

A pick of a small pool is made while the page waits. That of a large one is a job's: `look` finds it by a fingerprint of
all that it depends on, or queues it.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.answers import MODELLED
from curation.canonical import canonical_line, canonical_pieces, sha256_of
from curation.facility_location import coverage
from curation.models import GoldPick, GoldSet, QualityReport, Selection
from curation.selection import (
    Candidates,
    GoldRule,
    LeftOut,
    Pick,
    audit_order,
    count_gold,
    matched_draws,
    select_gold,
)
from curation.selection import Selection as GoldSelection
from curation.services.embeddings import encoder_name
from curation.services.gold_pool import Pool, label_as_given, pool_of, read_pool
from curation.services.held_out import held_out
from curation.services.keeping import mark_now
from curation.services.scoring import latest_report
from curation.services.selections import create_selection
from jobs.models import Job
from jobs.progress import Progress, silent
from jobs.services import cancel, completing, enqueue
from labeling.models import Batch
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.services import audit
from projects.wording import counted
from stats.intervals import Interval, wilson

# Task type → what the quotas are by
STRATA = {"classification": "label", "preference": "side", "multilabel": "rarest label", "spans": "rarest label",
          "response": "group of like texts", "extraction": "group of like texts", "chat": "group of like texts"}
N_ARMS = 3  # matched random draws beside every selection
IN_PAGE = 2_000  # examples up to which a pick is made while the page waits
N_PICKS_KEPT = 30  # of a project; older ones are of labels that have changed
N_SHOWN = 10  # examples that a page shows
MIN_AUDIT, MIN_CHECKED = 30, 10  # labels to check by hand, and those from which on their share is told


@dataclass(frozen=True)
class Audit:
    """The check by hand: `rows` to check in order, of which the first n_checked are, and n_wrong were wrong.

    error: of the selection's labels, by that sample, where settled ones count as right; None while too few are checked
    or the selection holds suspected labels that nobody has settled. rows: example ids.
    """

    rows: list[int]
    n_checked: int
    n_wrong: int
    error: Interval | None


@dataclass(frozen=True)
class GoldPreview:
    """What a rule picks now.

    label_of: example id → label it would be trained on, in the order the examples came.
    quality_of: example id → label quality, None where it has none. left_out: reason → how many pool examples.
    reason_of: example id → why it is not picked. pick_of: example id → why it is. n_labelled: pool examples with a
    label, the most that any rule could pick. stratum: what the quotas are by, one of STRATA.
    arms: N_ARMS matched random draws, example id → label. coverage, arm_coverage: mean cosine of what passes the filter
    to the nearest picked text, [] and None where there are no embeddings. agreement: how often a model that has not
    seen a picked label says the same. n_unknown: picked texts without an embedding. n_flagged: picked although flagged.
    """

    report: QualityReport
    rule: GoldRule
    selection: GoldSelection
    label_of: dict[int, str]
    quality_of: dict[int, float | None]
    left_out: dict[LeftOut, int]
    reason_of: dict[int, LeftOut]
    pick_of: dict[int, Pick]
    n_labelled: int
    stratum: str
    arms: list[dict[int, str]]
    coverage: float | None
    arm_coverage: list[float]
    agreement: Interval | None
    audit: Audit
    n_unknown: int
    n_flagged: int

    @property
    def n(self) -> int:
        return len(self.label_of)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a page shows, as JSON."""
        shown = sorted(self.label_of, key=lambda pk: (self.quality_of[pk] is None, self.quality_of[pk], pk))[:N_SHOWN]
        return {
            "n": self.n, "n_labelled": self.n_labelled, "size": self.rule.size, "stratum": self.stratum,
            "method": str(self.rule.method), "table": [asdict(row) for row in self.selection.table],
            "left_out": {str(reason): n for reason, n in self.left_out.items()},
            "taken": {str(why): n for why, n in Counter(pick.why for pick in self.pick_of.values()).items()},
            "coverage": self.coverage, "arm_coverage": self.arm_coverage, "n_unknown": self.n_unknown,
            "agreement": self.agreement and asdict(self.agreement), "audit": asdict(self.audit),
            "n_flagged": self.n_flagged,
            "shown": [{"pk": pk, "label": self.label_of[pk], "quality": self.quality_of[pk]} for pk in shown]}

    @property
    def picks(self) -> dict[str, Any]:
        """Every row with its reason, and the arms."""
        lists = self._lists
        return {**lists, "gold": list(lists["gold"]), "arms": list(map(list, lists["arms"]))}

    def store(self) -> str:
        """Write `picks` into the object store; return the file's sha256. Whoever stores it has to keep the hash."""
        return put_object(settings.GOLDPAN_OBJECTS, canonical_pieces(self._lists))

    @property
    def _lists(self) -> dict[str, Any]:
        """`picks` with iterators for lists: each row makes several entries, together far larger than what they say."""
        return {
            "rule": asdict(self.rule), "report": self.report.pk, "encoder": self.report.encoder,
            "gold": ({"example": pk, "label": self.label_of[pk], "why": str(pick.why), "place": pick.place,
                      "gain": pick.gain} for pk, pick in sorted(self.pick_of.items(), key=lambda item: item[1].place)),
            "arms": (({"example": pk, "label": label} for pk, label in arm.items()) for arm in self.arms),
            "left_out": {str(pk): str(reason) for pk, reason in self.reason_of.items()}}


def read_picks(sha256: str) -> dict[str, Any]:
    """What `store` wrote: rule, report, encoder, gold, arms, left_out."""
    with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
        return dict(json.load(file))


def gold_set_of(project: Project) -> GoldSet:
    return GoldSet.objects.get_or_create(project=project)[0]


def rule_of(gold_set: GoldSet) -> GoldRule:
    """The rule as it stands. Raises UserError if a value is out of range."""
    if gold_set.size < 1:
        raise UserError(f"A gold set has at least 1 example; the rule asks for {gold_set.size}.")
    if not 0 <= gold_set.min_quality <= 1:
        raise UserError(f"The lowest quality is between 0 and 1; the rule says {gold_set.min_quality:g}.")
    shares = (gold_set.uncertain_share, gold_set.audit_share, gold_set.favoured_share)
    if min(shares) < 0 or sum(shares) > 1 + 1e-9:
        raise UserError(f"The shares that are kept lie between 0 and 1, also together; they are {sum(shares):g} "
                        "together.")
    rule = GoldRule(size=gold_set.size, seed=gold_set.seed, min_quality=gold_set.min_quality,
                    min_per_label=gold_set.min_per_label, allow_flagged=gold_set.allow_flagged)
    if gold_set.method == GoldSet.Method.draw:
        return rule
    return replace(rule, method=gold_set.method, uncertain_share=gold_set.uncertain_share,
                   audit_share=gold_set.audit_share, favoured_share=gold_set.favoured_share,
                   favoured_batches=tuple(gold_set.favoured_batches))


@transaction.atomic
def save_rule(gold_set: GoldSet, *, size: int, min_quality: float, min_per_label: int, allow_flagged: bool, seed: int,
              by: User, method: str | None = None, uncertain_share: float | None = None,
              audit_share: float | None = None, favoured_share: float | None = None,
              favoured_batches: Sequence[int] | None = None) -> GoldSet:
    """Change the rule; method, shares and batches stay as they are if left out.

    Raises UserError if a value is out of range, or there is no such batch.
    """
    gold_set.size, gold_set.min_quality, gold_set.min_per_label = size, min_quality, min_per_label
    gold_set.allow_flagged, gold_set.seed = allow_flagged, seed
    gold_set.method = gold_set.method if method is None else method
    gold_set.uncertain_share = gold_set.uncertain_share if uncertain_share is None else uncertain_share
    gold_set.audit_share = gold_set.audit_share if audit_share is None else audit_share
    gold_set.favoured_share = gold_set.favoured_share if favoured_share is None else favoured_share
    if favoured_batches is not None:
        gold_set.favoured_batches = sorted(set(favoured_batches))
    rule = rule_of(gold_set)
    if missing := missing_batches(gold_set.project, gold_set.favoured_batches):
        raise UserError(f"There is no batch {missing[0]} in this project.")
    gold_set.save()
    audit(gold_set.project, by, "save_gold_rule", {
        "size": size, "min_quality": str(min_quality), "seed": seed, "min_per_label": min_per_label,
        "allow_flagged": allow_flagged, "method": str(rule.method), "uncertain_share": str(rule.uncertain_share),
        "audit_share": str(rule.audit_share), "favoured_share": str(rule.favoured_share),
        "favoured_batches": list(rule.favoured_batches)})
    return gold_set


def missing_batches(project: Project, numbers: Sequence[int]) -> list[int]:
    """Of these numbers those that are no batch's."""
    known = set(Batch.objects.filter(project=project, number__in=numbers).values_list("number", flat=True))
    return sorted(set(numbers) - known)


@dataclass(frozen=True)
class Look:
    """What a page can show of a rule's pick now: its facts, or the job that is making it.

    The facts that a job made have the held-out rows counted, too.
    """

    facts: dict[str, Any] | None
    job: Job | None = None


def look(project: Project, rule: GoldRule, *, by: User) -> Look:
    """Return the pick of a rule if it is known or quickly made, else queue it.

    Raises UserError as `preview` does.
    """
    report = _report(project)
    fingerprint = _fingerprint(project, rule, report)
    known = GoldPick.objects.filter(project=project, fingerprint=fingerprint).first()
    if known is not None:
        return Look(known.facts)
    if report.n_examples <= IN_PAGE:
        return Look(preview(project, rule).facts)
    key = f"pick:{project.pk}:{fingerprint}"
    for waiting in Job.objects.filter(project=project, kind="pick", state=Job.State.queued).exclude(dedupe_key=key):
        cancel(waiting)  # the rule has been changed since; nobody waits for it any more
    job = Job.objects.filter(dedupe_key=key).first()
    if job is None or job.state == Job.State.cancelled:
        job = enqueue("pick", project, title=f"Choosing {counted(rule.size, 'gold row')}", requested_by=by,
                      dedupe_key=key, params={"rule": asdict(rule)}, exclusive=f"pick:{project.pk}")
    return Look(None, job)


def select_to_check(project: Project, rule: GoldRule, *, by: User) -> Selection:
    """The labels that a rule draws for a check by hand as a selection; the same ones are one selection.

    Raises UserError as `preview` does, if the pick is still being made, and if there is nothing to check.
    """
    found = look(project, rule, by=by)
    if found.facts is None:
        raise UserError("The rows are still being chosen. Open the gold set again in a moment.")
    if not found.facts["audit"]["rows"]:
        raise UserError("There is no label to check by hand: every one has looked wrong or has been left out.")
    return create_selection(project, found.facts["audit"]["rows"], by=by)


def run_pick(job: Job, progress: Progress) -> None:
    project, rule = job.project, GoldRule(**job.params["rule"])
    fingerprint = _fingerprint(project, rule, _report(project))  # before the rows are read: a later label is not missed
    picked = preview(project, rule, progress=progress)
    progress("Counting held-out rows", 0, 1)
    splits = held_out(project, picked.report, only_count=True).facts
    progress("Writing", 0, 1)
    sha256 = picked.store()
    with completing(job) as result:
        GoldPick.objects.get_or_create(project=project, fingerprint=fingerprint, defaults={
            "report": picked.report, "job": job, "rule": asdict(rule), "facts": {**picked.facts, "held_out": splits},
            "picks_sha256": sha256})
        kept = GoldPick.objects.filter(project=project).values_list("pk", flat=True)[:N_PICKS_KEPT]
        old = GoldPick.objects.filter(project=project).exclude(pk__in=list(kept))
        Job.objects.filter(pk__in=list(old.values_list("job", flat=True))).update(dedupe_key=None)  # may be asked again
        old.delete()
        result |= {"n": picked.n, "coverage": picked.coverage, "picks": sha256}


def picks_of(project: Project, rule: GoldRule) -> dict[str, Any]:
    """Every row of a rule's pick with its reason, and the matched random arms: `GoldPreview.picks`.

    Raises UserError as `preview` does.
    """
    known = GoldPick.objects.filter(project=project, fingerprint=_fingerprint(project, rule, _report(project))).first()
    return read_picks(known.picks_sha256) if known else preview(project, rule).picks


def count_quickly(project: Project, rule: GoldRule) -> int | None:
    """How many examples the rule picks now; None where to find that out takes a job. Raises UserError as `preview`."""
    report = _report(project)
    known = GoldPick.objects.filter(project=project, fingerprint=_fingerprint(project, rule, report)).first()
    if known is not None:
        return int(known.facts["n"])
    return count_gold(pool_of(project, report).candidates, rule) if report.n_examples <= IN_PAGE else None


def preview(project: Project, rule: GoldRule, *, progress: Progress = silent) -> GoldPreview:
    """Return what the rule picks from the pool as it stands, by the newest report and all decisions since.

    Raises UserError if there is no report yet or no pool example has a label.
    """
    report = _report(project)
    progress("Reading labels", 0, 1)
    pool = read_pool(project, report, rule=rule)
    rows, labels, candidates = pool.rows, pool.labels, pool.candidates
    selection = select_gold(candidates, rule, progress=progress)
    arms = matched_draws(candidates, rule, range(N_ARMS))
    progress("Measuring coverage", 0, 1)
    known = np.zeros(len(rows), dtype=bool) if pool.is_known is None else pool.is_known
    passing = np.array([reason not in FILTERED for reason in map(selection.left_out.get, range(len(rows)))]) & known
    measured = [_coverage(candidates, passing, chosen[known[chosen]]) for chosen in (selection.rows, *arms)]
    chosen_rows = [rows[number] for number in selection.rows]
    return GoldPreview(
        report=report, rule=rule, selection=selection,
        label_of={rows[number].example_id: str(labels[number]) for number in selection.rows},
        quality_of={row.example_id: row.quality for row in chosen_rows},
        left_out=dict(Counter(selection.left_out.values()).most_common()),
        reason_of={rows[number].example_id: reason for number, reason in selection.left_out.items()},
        pick_of={rows[number].example_id: pick for number, pick in selection.picks.items()},
        n_labelled=sum(label is not None for label in labels), stratum=STRATA[project.task_type],
        arms=[{rows[number].example_id: str(labels[number]) for number in arm} for arm in arms],
        coverage=measured[0], arm_coverage=[share for share in measured[1:] if share is not None],
        agreement=_agreement(pool, selection, project), audit=_audit(pool, selection, rule),
        n_unknown=int((~known[selection.rows]).sum()), n_flagged=int(candidates.is_label_issue[selection.rows].sum()))


# What leaves before duplicates and quotas: what coverage is not measured over
FILTERED = {LeftOut.EXCLUDED, LeftOut.NO_LABEL, LeftOut.UNDER_DISCUSSION, LeftOut.CROSSES_SPLIT, LeftOut.LABEL_ISSUE,
            LeftOut.LOW_QUALITY}


def _report(project: Project) -> QualityReport:
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: a gold set is chosen by label quality and without repeats.")
    return report


def _fingerprint(project: Project, rule: GoldRule, report: QualityReport) -> str:
    """A hash of all that a pick depends on, from the newest rows of an append-only ledger."""
    mark = mark_now(project)
    return sha256_of(canonical_line({"report": report.pk, "rule": asdict(rule), "answer": mark.annotation,
                                     "decision": mark.decision, "encoder": encoder_name(settings.GOLDPAN_ENCODER)}))


def _coverage(candidates: Candidates, passing: np.ndarray, chosen: np.ndarray) -> float | None:
    if candidates.embeddings is None or not passing.any() or not len(chosen):
        return None
    place = np.cumsum(passing) - 1  # row → its place among those that pass
    return coverage(candidates.embeddings[passing], place[chosen])


def _agreement(pool: Pool, selection: GoldSelection, project: Project) -> Interval | None:
    asked = [number for number in selection.rows if pool.rows[number].predicted]
    if project.task_type not in MODELLED or not asked:
        return None
    return wilson(sum(pool.rows[number].predicted == pool.labels[number] for number in asked), len(asked))


def _audit(pool: Pool, selection: GoldSelection, rule: GoldRule) -> Audit:
    order = audit_order(pool.candidates, rule)[:max(MIN_AUDIT, round(rule.audit_share * rule.size))]
    n_checked = n_wrong = 0
    for number in order:  # up to the first that nobody has settled: whoever picks and chooses makes no sample
        ballot = pool.ballot_of[number]
        if not ballot.is_settled:
            break
        n_checked += 1
        n_wrong += ballot.is_excluded or ballot.decided_label != label_as_given(ballot)
    settled = pool.candidates.is_settled
    assert settled is not None
    n_flagged = int(pool.candidates.is_label_issue[selection.rows].sum())
    error = None
    if n_checked >= MIN_CHECKED and len(selection.rows) and not n_flagged:
        share, wrong = float((~settled[selection.rows]).mean()), wilson(n_wrong, n_checked)
        error = replace(wrong, estimate=share * wrong.estimate, low=share * wrong.low, high=share * wrong.high)
    return Audit([pool.rows[number].example_id for number in order], n_checked, int(n_wrong), error)
