"""What must hold of a snapshot before somebody approves it, looked up in its files and in the ledger, never assumed.

Checks of the rows are made once, when they are frozen, and stored: neither the rows nor what was found can change. Two
are made whenever somebody looks: whether labels have changed since, and whether the stored bytes are the frozen ones.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from curation.answers import WITH_LABELS, Answers
from curation.conflicts import conflict_groups, find_conflicts
from curation.models import Decision, DuplicateMember, ExampleScore, QualityReport, Snapshot, SnapshotCheck
from curation.personal_data import find_personal_data, texts_in
from curation.services.frozen import file_trouble, read_manifest, rows_file_of, stream_chunks
from curation.services.labels import Ballot, Vote, answers_of
from curation.services.staleness import ChangedRow, changed_rows, n_erased
from labeling.models import Annotation, Example
from labeling.services.batches import MIN_HELD_OUT_LABELS
from labeling.services.bulk import CHUNK
from projects.errors import UserError
from projects.models import Project
from projects.wording import counted

HELD_OUT = ("dev", "test")
MIN_TRAIN_ROWS = 5  # of a label, below which nothing can be said about it out of sample either
SHOWN_KEYS = 3


@dataclass(frozen=True)
class Check:
    """A claim, whether it holds, the figures that decided it, and how many rows, labels or groups break it."""

    name: str
    claim: str
    holds: bool
    found: str
    n: int = 0

    @property
    def can_be_overridden(self) -> bool:
        """Whether somebody may approve all the same: never bytes that nobody can prove."""
        return self.name != "bytes"


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row of a snapshot as the checks see it, with what they found in its text: texts are read once and not kept.

    label: as it is frozen. decision_id: what a curator decided on it. source: the text of a held-out row whose answers
    point into it, else "". personal_data: the kinds that were found. is_readable: its answer is one under the schema as
    it is now, or is made of labels, which are looked at together.
    """

    example_id: int
    key: str
    group: str
    content_sha256: str
    split: str
    label: str
    annotation_ids: list[int]
    decision_id: int | None
    source: str
    personal_data: frozenset[str]
    is_readable: bool


def check_snapshot(snapshot: Snapshot, changed: Sequence[ChangedRow] | None = None) -> list[Check]:
    """Return every check, in the order a reader wants them; those of the rows as they were stored.

    changed: as `changed_rows` gives them, where the caller has them.
    """
    stored = [Check(check.name, check.claim, check.holds, check.found, check.n)
              for check in SnapshotCheck.objects.filter(snapshot=snapshot)]
    of_rows = stored or check_rows(snapshot.project, snapshot.report, rows_of(snapshot))
    return [*of_rows, staleness_check(snapshot, changed_rows(snapshot) if changed is None else changed),
            bytes_check(snapshot)]


def check_rows(project: Project, report: QualityReport | None, rows: Sequence[CheckedRow]) -> list[Check]:
    """Check rows that are about to be frozen. Reads ledger and report, no texts."""
    return [_clusters(report, rows), _groups(rows), _blind_labels(project, rows), _classes(project, rows),
            _balance(project, rows), _personal_data(rows), _conflicts(project, report, rows), _scoring(report, rows)]


def rows_of(snapshot: Snapshot) -> list[CheckedRow]:
    """The rows of a snapshot that were not erased."""
    answers = answers_of(snapshot.project)
    rows = snapshot.rows.select_related("example").filter(example__erasure__isnull=True).iterator(CHUNK)
    return [checked_row(answers, row.example, row.split, row.label, row.annotation_ids, row.decision_id)
            for row in rows]


def checked_row(answers: Answers, example: Example, split: str, label: str, annotation_ids: list[int],
                decision_id: int | None) -> CheckedRow:
    """answers: under the schema as it is now."""
    found = find_personal_data(f"{example.text}\n{label}\n{texts_in(example.data)}")
    return CheckedRow(
        example.pk, example.key, example.group, example.content_sha256, split, label, annotation_ids, decision_id,
        source=example.text if answers.task_type == "spans" and split in HELD_OUT else "",
        personal_data=frozenset(one.what for one in found), is_readable=_is_readable(answers, label, example.text))


def _is_readable(answers: Answers, label: str, text: str) -> bool:
    if answers.task_type in WITH_LABELS:
        return True
    try:
        answers.value(label, source=text)
    except ValueError:  # whose words may quote the answer, and a check is kept for ever
        return False
    return True


# Leaks

def _clusters(report: QualityReport | None, rows: Sequence[CheckedRow]) -> Check:
    cluster_of: dict[int, int] = {}
    if report is not None:
        for ids in _chunks([row.example_id for row in rows]):
            cluster_of |= dict(ExampleScore.objects.filter(report=report, example__in=ids).values_list(
                "example_id", "cluster"))
    unknown = sum(row.example_id not in cluster_of for row in rows)
    n = _n_in_two_splits((cluster_of[row.example_id], row.split) for row in rows if row.example_id in cluster_of)
    return Check(
        "leaks", "No near-duplicate stands in two splits.", not n and not unknown,
        f"{n} of {counted(len(set(cluster_of.values())), 'cluster')} "
        f"{_is(n)} in more than one of train, dev and test"
        + (f"; {counted(unknown, 'row was', 'rows were')} never compared." if unknown else "."), n + unknown)


def _groups(rows: Sequence[CheckedRow]) -> Check:
    n = _n_in_two_splits((row.group, row.split) for row in rows)
    return Check("groups", "No customer, thread or document stands in two splits.", not n,
                 f"{n} of {counted(len({row.group for row in rows}), 'group')} {_is(n)} in more than one split.", n)


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _n_in_two_splits(pairs: Iterable[tuple[int | str, str]]) -> int:
    splits_of: dict[int | str, set[str]] = defaultdict(set)
    for what, split in pairs:
        splits_of[what].add(split)
    return sum(len(splits) > 1 for splits in splits_of.values())


# Labels

def _blind_labels(project: Project, rows: Sequence[CheckedRow]) -> Check:
    """Enough different annotators, and the label is theirs: what they say together, or a decision where they tie."""
    answers, held_out = answers_of(project), [row for row in rows if row.split in HELD_OUT]
    said: dict[int, tuple[int, int, Any]] = {}
    for ids in _chunks(list(chain.from_iterable(row.annotation_ids for row in held_out))):
        said |= {pk: (example_id, annotator, value) for pk, example_id, annotator, value in
                 Annotation.objects.filter(pk__in=ids).values_list("pk", "example_id", "annotator_id", "value")}
    n_few = n_other = 0
    for row in held_out:
        votes = [Vote(pk, annotator, answers.label(value, source=row.source), value)
                 for pk, (example_id, annotator, value) in ((pk, said[pk]) for pk in row.annotation_ids if pk in said)
                 if example_id == row.example_id]
        n_few += len({vote.annotator_id for vote in votes}) < MIN_HELD_OUT_LABELS
        n_other += not _is_theirs(row, Ballot(votes, None, answers, row.source))
    if answers.is_free_text:
        claim = f"Every dev and test answer is one of at least {MIN_HELD_OUT_LABELS} that people wrote blind."
        other = "an answer that none of them gave."
    else:
        claim = f"Every dev and test label is the {answers.joint} of at least {MIN_HELD_OUT_LABELS} blind labels."
        other = f"another label than the {answers.joint} gave."
    return Check("blind_labels", claim, bool(held_out) and not n_few and not n_other,
                 f"Of {counted(len(held_out), 'held-out row')} {counted(n_few, 'has', 'have')} fewer labels "
                 f"and {n_other:,} {other}",
                 max(n_few, n_other))


def _is_theirs(row: CheckedRow, ballot: Ballot) -> bool:
    """Whether a held-out row's label is what its votes say, or is decided where they say nothing together.

    Of free text only whether somebody gave that answer: which one is most like the others takes long to find out.
    """
    if ballot.answers.is_free_text:
        return row.decision_id is not None or row.label in {vote.label for vote in ballot.votes}
    common = ballot.blind_label
    return common == row.label if common else row.decision_id is not None


def _classes(project: Project, rows: Sequence[CheckedRow]) -> Check:
    answers, labels = answers_of(project), project.labels
    if not labels:
        return _readable(rows)
    is_none_allowed = project.task_type == "spans"  # a text may hold nothing to mark
    bad = [row.key for row in rows if not set(names := answers.names_in(row.label)) <= set(labels)
           or not (names or is_none_allowed)]
    return Check("labels", "Every row has a label, and the schema knows it.", not bad,
                 f"{len(bad):,} of {counted(len(rows), 'row')} {_is(len(bad))} without one of the "
                 f"{len(labels)} labels{_first(bad)}.",
                 len(bad))


def _readable(rows: Sequence[CheckedRow]) -> Check:
    bad = [row.key for row in rows if not row.is_readable]
    return Check("labels", "Every row has an answer that fits the schema.", not bad,
                 f"{len(bad):,} of {counted(len(rows), 'row')} {'does' if len(bad) == 1 else 'do'} not{_first(bad)}.",
                 len(bad))


def _balance(project: Project, rows: Sequence[CheckedRow]) -> Check:
    answers = answers_of(project)
    if not project.labels:
        n_of_split = Counter(row.split for row in rows)
        thin = [split for split in ("train", "test") if n_of_split[split] < MIN_TRAIN_ROWS]
        return Check("balance", f"Train and test have at least {MIN_TRAIN_ROWS} rows each.", not thin,
                     f"{n_of_split['train']:,} train and {counted(n_of_split['test'], 'test row')}.", len(thin))
    needed = [label for label in project.labels if label != "tie" or project.task_type != "preference"]
    n_of = Counter((row.split, name) for row in rows for name in answers.names_in(row.label))
    absent = [f"“{label}” in {split}" for split in ("train", "test") for label in needed if not n_of[split, label]]
    thin = [f"“{label}” ({n_of['train', label]})" for label in needed if 0 < n_of["train", label] < MIN_TRAIN_ROWS]
    least = min(needed, key=lambda label: n_of["train", label])
    found = f"The rarest label of train is “{least}”, with {counted(n_of['train', least], 'row')}."
    return Check(
        "balance", f"Every label has rows in test, and at least {MIN_TRAIN_ROWS} in train.", not absent and not thin,
        found + (f" No row of {', '.join(absent)}." if absent else "")
        + (f" Fewer than {MIN_TRAIN_ROWS} in train: {', '.join(thin)}." if thin else ""), len(absent) + len(thin))


def _conflicts(project: Project, report: QualityReport | None, rows: Sequence[CheckedRow]) -> Check:
    """Texts that say the same with other labels, in the snapshot or among the labelled pool, where nobody has decided.

    As scoring flags them and the page of duplicates shows them, but by the labels of the snapshot and those of now.
    """
    answers, claim = answers_of(project), "No text that says the same stands here with another label, undecided."
    said = [(row.example_id, row.content_sha256, row.label) for row in rows]
    if report is not None:
        left_out = set(Decision.objects.current().filter(
            example__project=project, verdict=Decision.Verdict.exclude).values_list("example_id", flat=True))
        decided = dict(Decision.objects.current().filter(example__project=project).exclude(value="").values_list(
            "example_id", "value"))
        unwanted = left_out | {row.example_id for row in rows}
        pool = report.scores.filter(example__split=Example.Split.pool).exclude(label="").values_list(
            "example_id", "example__content_sha256", "label")
        said += [(pk, content, decided.get(pk, label)) for pk, content, label in pool.iterator(CHUNK)
                 if pk not in unwanted]
    group_of = dict(DuplicateMember.objects.filter(cluster__report=report).values_list("example_id", "cluster_id"))
    # Of a comparison the text is half of what is compared, so equal texts are not yet the same.
    near = [group_of.get(pk, content if project.task_type != "preference" else f"example {pk}")
            for pk, content, _ in said]
    groups = conflict_groups(answers, near=near, equal=[content for _, content, _ in said])
    if groups is None:
        return Check("conflicts", claim, True, "To one text there may be several good answers.")
    against = [rows[found.row] for found in find_conflicts(groups, [label for _, _, label in said])
               if found.row < len(rows)]
    bad = [row.key for row in against if row.split == "train" and row.decision_id is None]
    twins = counted(len(bad), "train row has a twin that says", "train rows have a twin that says")
    return Check("conflicts", claim, not bad, f"{twins} otherwise{_first(bad)}.", len(bad))


def _scoring(report: QualityReport | None, rows: Sequence[CheckedRow]) -> Check:
    claim = "The scoring is newer than the labels."
    if report is None:
        return Check("scoring", claim, False, "These rows were never scored in this project.", len(rows))
    newer = set(Annotation.objects.filter(annotator__project=report.project_id, created_at__gt=report.created_at)
                .values_list("example_id", flat=True))
    bad = [row.key for row in rows if row.split == "train" and row.decision_id is None and row.example_id in newer]
    return Check("scoring", claim, not bad,
                 f"{counted(len(bad), 'train row was', 'train rows were')} answered after {report} was written and not "
                 f"decided on{_first(bad)}.",
                 len(bad))


# What must not be in a text

def _personal_data(rows: Sequence[CheckedRow]) -> Check:
    kinds = Counter(kind for row in rows for kind in sorted(row.personal_data))
    bad = [row.key for row in rows if row.personal_data]
    said = ", ".join(f"{n:,} with {kind}" for kind, n in kinds.most_common())
    return Check("personal_data", "No row has a pattern of personal data: e-mail, phone, card, IBAN.", not bad,
                 f"{len(bad):,} of {counted(len(rows), 'row')}" + (f": {said}{_first(bad)}." if bad else "."), len(bad))


# What changes after the freeze

def staleness_check(snapshot: Snapshot, changed: Sequence[ChangedRow]) -> Check:
    return Check("staleness", "No label has changed since the freeze.", not changed,
                 f"{len(changed):,} of {snapshot.counts['train'] + snapshot.counts['dev'] + snapshot.counts['test']:,} "
                 f"rows would have another label today{_first([row.key for row in changed])}.", len(changed))


def bytes_check(snapshot: Snapshot, *, whole: bool = False) -> Check:
    """whole: compare every row in the database with the file, too, which takes about a second for 100,000 rows."""
    claim = "The stored files are the ones that were frozen."
    try:
        manifest = read_manifest(snapshot)
    except UserError as error:
        return Check("bytes", claim, False, str(error), 1)
    named = [manifest[part]["sha256"] for part in ("lineage", "left_out") if part in manifest]
    named += [manifest["rows"]["sha256s"]["sha256"]] if "sha256s" in manifest["rows"] else []
    trouble = [words for sha256 in (rows_file_of(snapshot), *named) if (words := file_trouble(sha256))]
    n_erased_rows, n_rows = n_erased(snapshot), snapshot.rows.count()
    if manifest["rows"]["sha256"] != snapshot.rows_sha256 or n_rows != manifest["rows"]["n"]:
        trouble.append(f"the manifest names {counted(manifest['rows']['n'], 'row')}, the database has {n_rows:,}")
    if whole and not trouble:
        frozen = chain.from_iterable(chunk.sha256s for chunk in stream_chunks(snapshot))
        listed = snapshot.rows.order_by("position").values_list("row_sha256", flat=True)
        n_other = sum(ours != theirs for ours, theirs in zip(frozen, listed.iterator(CHUNK), strict=True))
        if n_other:
            rows = counted(n_other, "row in the database has", "rows in the database have")
            trouble.append(f"{rows} another hash than in the file")
    erased = f" Erased since: {n_erased_rows:,}; hashes are kept." if n_erased_rows else ""
    if trouble:
        return Check("bytes", claim, False, f"{'; '.join(trouble)}. Restore it from a backup.", len(trouble))
    return Check("bytes", claim, True, f"{counted(n_rows, 'row')} in the file and in the database.{erased}")


def _first(keys: Sequence[str]) -> str:
    """The first of the rows, to look at."""
    return f", first {', '.join(f'{key:.40}' for key in keys[:SHOWN_KEYS])}" if keys else ""


def _chunks(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start:start + CHUNK] for start in range(0, len(ids), CHUNK))
