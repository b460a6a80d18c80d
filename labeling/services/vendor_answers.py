"""Answers of an outside company to a batch: which of them were asked for, and what becomes of the batch."""

from collections import Counter

from django.db.models import F, Q
from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, KnownAnswer
from labeling.reading import BadRow, Row
from labeling.services.bulk import CHUNK, STAGING, query
from labeling.services.overlap import widen_overlap
from labeling.services.trust import look_at_known_answers

MAX_NAME_CHARS = 100  # of an annotator


class Asked:
    """What a vendor was asked in a batch: `check` lets through the answers that were asked for, each once.

    An example that is in no batch but has a known answer is a honeypot of it. Whoever the vendor names is one of its
    people, "<vendor>/<person>".
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._n_left = {key: wanted - taken for key, wanted, taken in batch.items.values_list(
            "example__key", "n_wanted", "n_taken")}
        known = KnownAnswer.objects.filter(project=batch.project_id).values_list("example__key", flat=True)
        self._honeypots = set(known) - self._n_left.keys()
        people = Annotator.objects.filter(project=batch.project_id, name__startswith=f"{batch.vendor}/")
        self._paused = dict(people.filter(paused_at__isnull=False).values_list("name", "paused_because"))
        said = Annotation.objects.filter(annotator__in=people).filter(
            Q(example__batch_items__batch=batch) | Q(example__known_answer__isnull=False))
        self._said = set(said.values_list("example__key", "annotator__name"))

    def named(self, row: Row) -> Row:
        """The row with the vendor's person by full name, and the key as it is here.

        A spreadsheet's guard before a key that looks like a formula comes back with the file.
        """
        key, name = row.key or "", row.annotator and f"{self._batch.vendor}/{row.annotator}"
        if key not in self._n_left and key[:1] == "'":
            key = key[1:].replace("\\|", "|")
        return row._replace(key=key, annotator=name)

    def check(self, row: Row) -> Row | BadRow:
        """The row if it was asked for, else why it was not."""
        reason = self._objection(row)
        if reason:
            return BadRow(row.line, reason, f"{row.key}, {row.annotator}")
        key, name = row.key or "", row.annotator or ""
        self._said.add((key, name))
        if key in self._n_left:
            self._n_left[key] -= 1
        return row

    def _objection(self, row: Row) -> str:
        key, name = row.key or "", row.annotator or ""
        if row.is_suggestion:
            return "a prediction is no answer of a person. Remove the predictions from the file."
        if not name:
            return "it does not say who answered. Name the vendor's person, by a number if not by name."
        if len(name) > MAX_NAME_CHARS:
            return f"“{name}” has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed. Shorten the name."
        if key not in self._n_left and key not in self._honeypots:
            return f"“{key}” is not in batch {self._batch.number}. Remove the row."
        if (key, name) in self._said:
            return f"{name} has answered “{key}” already. Ask somebody else, or remove the row."
        if name in self._paused:
            return f"{name} is paused: {self._paused[name]} Ask somebody else, or remove the row."
        if self._n_left.get(key, 1) < 1:
            return f"“{key}” has all the answers that are wanted. Remove the row."
        return ""


def record_answers(batch: Batch) -> None:
    """Write down for the staged answers that they were asked for and came: progress, overlap and honeypots count them.

    Belongs into the transaction that adds them to the ledger.
    """
    now = timezone.now()
    items = dict(batch.items.values_list("example_id", "pk"))
    known = dict(KnownAnswer.objects.filter(project=batch.project_id).values_list("example_id", "value"))
    answers = query(f"""
        SELECT example.id, annotator.id FROM {STAGING} staged
        JOIN labeling_example example ON example.project_id = %s AND example.key = staged.key
        JOIN labeling_annotator annotator ON annotator.project_id = %s AND annotator.name = staged.annotator
        ORDER BY staged.number""", [batch.project_id, batch.project_id])  # noqa: S608
    Assignment.objects.bulk_create((
        Assignment(example_id=example, annotator_id=annotator, item_id=items.get(example),
                   purpose=Assignment.Purpose.label if example in items else Assignment.Purpose.honeypot,
                   expected=None if example in items else known[example],
                   state=Assignment.State.answered, expires_at=now, ended_at=now)
        for example, annotator in answers), CHUNK)
    _count(Counter(items[example] for example, _ in answers if example in items))
    Annotator.objects.filter(pk__in={annotator for _, annotator in answers}, vendor="", user=None).update(
        vendor=batch.vendor)
    widen_overlap(batch.project, {example for example, _ in answers})
    look_at_known_answers(batch.project, {annotator for _, annotator in answers})


def _count(n_of: Counter[int]) -> None:
    """Add to the items' counts of answers."""
    for n in set(n_of.values()):
        pks = [pk for pk, count in n_of.items() if count == n]
        for start in range(0, len(pks), CHUNK):
            BatchItem.objects.filter(pk__in=pks[start:start + CHUNK]).update(n_taken=F("n_taken") + n)
