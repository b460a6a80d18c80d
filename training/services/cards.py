"""What an adapter is made of: its lineage in numbers, and its model card."""

import json
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from curation.models import Approval, Snapshot
from projects.objects import open_object
from training.checkpoints import ADAPTER_FILES, MODEL_FILES
from training.model_card import CardMetric, model_card
from training.models import Adapter
from training.prompts import prompt_from_json
from training.services.comparison import Comparison, Rival, compare


@dataclass(frozen=True)
class Lineage:
    """From labels to metrics: the annotations and decisions behind the snapshot's rows, its approval, the scores.

    mine: the adapter's run on the test rows, None until it has been evaluated.
    """

    n_annotations: int
    n_decisions: int
    n_rows: int
    approval: Approval | None
    comparison: Comparison

    @property
    def mine(self) -> Rival | None:
        return self.comparison.lora


def lineage_of(adapter: Adapter) -> Lineage:
    snapshot = adapter.run.snapshot
    behind = list(snapshot.rows.values_list("annotation_ids", "decision_id"))
    return Lineage(
        n_annotations=len({pk for annotation_ids, _ in behind for pk in annotation_ids}),
        n_decisions=sum(decision is not None for _, decision in behind), n_rows=len(behind),
        approval=Approval.objects.filter(snapshot=snapshot).select_related("approver").first(),
        comparison=compare(snapshot, lora_run=adapter.run))


def card_of(adapter: Adapter, lineage: Lineage) -> str:
    """The adapter's model card, in Markdown; all of it comes from the rows and the stored files."""
    run, snapshot = adapter.run, adapter.run.snapshot
    comparison = lineage.comparison
    return model_card(
        title=f"{adapter.project}: {str(adapter).lower()}", base=base_model_of(adapter),
        snapshot=f"{snapshot} of “{adapter.project}”", snapshot_sha256=snapshot.sha256,
        approval=_approval_words(lineage.approval), label_counts=snapshot.counts["labels"],
        n_rows={split: snapshot.counts[split] for split in snapshot.counts["labels"]},
        prompt=prompt_from_json(run.config["prompt"]), config=run.config["training"], seed=run.seed,
        metrics=[metric for rival in comparison.rivals for metric in _metrics(rival, lineage.mine)],
        verdict=f"{comparison.headline} {comparison.paragraph}", lineage=_sentences(adapter, lineage),
        files=adapter.files, versions=adapter.receipt.get("versions", {}),
        refused=[(key, reason) for key, reason in adapter.receipt["refused"]])


def base_model_of(adapter: Adapter) -> str:
    """The base model's name and hash, as the adapter's own configuration has them."""
    _, config = MODEL_FILES if adapter.is_whole_model else ADAPTER_FILES
    with open_object(settings.GOLDPAN_OBJECTS, adapter.files[config]) as file:
        return str(json.load(file)["base_model_name_or_path"])


def _metrics(rival: Rival, mine: Rival | None) -> list[CardMetric]:
    """Every metric of this adapter and of those it had to beat; other adapters have cards of their own."""
    if rival.run.is_trained and rival is not mine:
        return []
    who = "this adapter" if rival is mine else rival.name
    return [CardMetric(who, "test", rival.measured.name, rival.score),
            *(CardMetric(who, "test", name, interval) for name, interval in rival.others)]


def _sentences(adapter: Adapter, lineage: Lineage) -> list[str]:
    run, snapshot = adapter.run, adapter.run.snapshot
    sentences = [f"{adapter} was trained by run {run.pk}, which {run.created_by} started on "
                 f"{run.created_at:%Y-%m-%d}."]
    if run.override_reason:
        sentences.append(f"It was started against the gate's advice, because: {run.override_reason}")
    if lineage.mine:
        evaluation = lineage.mine.evaluation
        sentences.append(f"Its answers to the {evaluation.n:,} test rows have the sha256 "
                         f"{evaluation.predictions_sha256}.")
    sentences.append(f"{snapshot} was frozen by {snapshot.created_by} on {snapshot.created_at:%Y-%m-%d}: "
                     f"{_count_words(snapshot)}.")
    sentences.append(f"Behind its rows stand {lineage.n_annotations:,} annotations and {lineage.n_decisions:,} "
                     "decisions; every row names its own.")
    if snapshot.parent:
        sentences.append(f"It follows {snapshot.parent}, sha256 {snapshot.parent.sha256}.")
    return sentences


def _count_words(snapshot: Snapshot) -> str:
    return ", ".join(f"{snapshot.counts[split]:,} {split}" for split in ("train", "dev", "test"))


def _approval_words(approval: Approval | None) -> str:
    if approval is None:
        return "Nobody has approved it."
    said = f"{approval.decision.capitalize()} by {approval.approver} on {timezone.localdate(approval.created_at)}"
    return f"{said}, who also made it." if approval.self_approved else f"{said}."
