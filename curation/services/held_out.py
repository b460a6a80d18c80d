"""The dev and test rows that a snapshot would hold: they measure models and are never trained on."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from curation.models import QualityReport
from curation.services.labels import Ballot, answers_of, ballots
from labeling.models import Example
from labeling.services.batches import MIN_HELD_OUT_LABELS
from projects.models import Project

MAX_TEST_ROWS = 1000


@dataclass(frozen=True)
class HeldOut:
    """The dev and test rows that a snapshot would hold now.

    label_of: split → example id → label. left_out: split → reason → how many examples. reason_of: example id → reason.
    """

    label_of: dict[str, dict[int, str]]
    left_out: dict[str, dict[str, int]]
    reason_of: dict[int, str]

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What a page shows, as JSON: for dev and test how many rows, and reason → how many are left out."""
        return [{"name": split, "n": len(self.label_of[split]), "left_out": self.left_out[split]}
                for split in ("dev", "test")]


def held_out(project: Project, report: QualityReport, found: dict[int, Ballot] | None = None, *,
             only_count: bool = False) -> HeldOut:
    """Pick the rows of dev and test: labelled blind by enough people, one per duplicate cluster, in a hash's order.

    found: everybody's ballots, where the caller has them already.
    only_count: leave the labels empty and take a tie between free texts for unlikely: to compare them takes seconds.
    """
    if found is None:
        found = ballots(project, among=Example.objects.filter(project=project).exclude(split=Example.Split.pool))
    taken: set[int] = set()
    test = _held_out_of(Example.Split.test, project, report, found, taken, only_count)
    dev = _held_out_of(Example.Split.dev, project, report, found, taken, only_count)  # of both, the test row stays
    reason_of = {**dev[1], **test[1]}
    return HeldOut(
        label_of={"dev": dev[0], "test": test[0]}, reason_of=reason_of,
        left_out={"dev": dict(Counter(dev[1].values())), "test": dict(Counter(test[1].values()))})


def _held_out_of(split: str, project: Project, report: QualityReport, found: dict[int, Ballot],
                 taken: set[int], only_count: bool) -> tuple[dict[int, str], dict[int, str]]:
    answers = answers_of(project)
    examples = sorted(report.scores.filter(example__split=split).values_list("example_id", "example__key", "cluster"),
                      key=lambda row: hashlib.sha256(f"{project.split_salt}:{row[1]}".encode()).digest())
    label_of: dict[int, str] = {}
    reason_of: dict[int, str] = {}
    for pk, _, cluster in examples:
        ballot = found.get(pk) or Ballot(answers=answers)
        if ballot.is_excluded:
            reason_of[pk] = "excluded"
        elif len(ballot.votes) < MIN_HELD_OUT_LABELS:
            reason_of[pk] = f"fewer than {MIN_HELD_OUT_LABELS} labels"
        elif not ballot.has_blind_label and not ballot.decided_label:
            reason_of[pk] = f"no {answers.joint}"
        elif cluster in taken:
            reason_of[pk] = "duplicate"
        elif split == Example.Split.test and len(label_of) >= MAX_TEST_ROWS:
            reason_of[pk] = "beyond the cap"
        elif only_count:
            label_of[pk] = ""
        elif label := ballot.blind_label or ballot.decided_label:
            label_of[pk] = label
        else:  # two free texts are equally like all
            reason_of[pk] = f"no {answers.joint}"
        taken.add(cluster)  # its duplicates are no fresh evidence, used or not
    return label_of, reason_of
