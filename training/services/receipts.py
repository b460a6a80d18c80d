"""What a run has taken, beside what was quoted for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projects.wording import UNKNOWN, duration_words, percent_words
from training.economics import money_words
from training.memory import memory_words
from training.models import Receipt, Run
from training.quote import error_of


def write_receipt(run: Run, found: Mapping[str, Any], *, is_whole: bool) -> Receipt:
    """Keep what a run has taken, in the caller's transaction.

    found: what `training.finetune` returns. is_whole: it ended by itself, not at its cap or at somebody's word.
    """
    cap, seconds = run.caps.select_related("quote__machine").first(), found["spent_seconds"]
    quote = cap.quote if cap else None
    machine = quote.machine if quote else None
    return Receipt.objects.create(
        run=run, quote=quote, seconds=seconds, cpu_seconds=found["cpu_seconds"], peak_mb=found["peak_mb"],
        money=machine.of_seconds(seconds) if machine else None,
        steps=found["steps"], is_whole=is_whole, found={
            name: found[name] for name in ("n_steps", "n_epochs", "best_dev", "chosen_by", "best_step")
            if name in found})


@dataclass(frozen=True)
class ReceiptLine:
    """One line of a receipt: what was quoted, what came, and by how much the quote was off, in words."""

    name: str
    quoted: str
    came: str
    error: str


def receipt_lines(receipt: Receipt | None) -> list[ReceiptLine]:
    """Nothing stands under “quoted” where there was no quote, as for a run on another machine."""
    if receipt is None:
        return []
    quote = receipt.quote
    if quote is None:
        return [ReceiptLine(name, UNKNOWN, came, UNKNOWN) for name, came in (
            ("Time", duration_words(receipt.seconds)), ("Processor", duration_words(receipt.cpu_seconds)),
            ("Memory at most", memory_words(receipt.peak_mb)))]
    lines = [ReceiptLine("Time", duration_words(quote.seconds), duration_words(receipt.seconds),
                         _off(quote.seconds, receipt.seconds, receipt)),
             ReceiptLine("Processor", duration_words(quote.cpu_seconds), duration_words(receipt.cpu_seconds),
                         _off(quote.cpu_seconds, receipt.cpu_seconds, receipt)),
             ReceiptLine("Memory at most", memory_words(quote.peak_mb), memory_words(receipt.peak_mb),
                         _off(quote.peak_mb, receipt.peak_mb, receipt))]
    if receipt.money is not None and quote.money is not None:
        lines.append(ReceiptLine("Money", money_words(quote.money, quote.currency),
                                 money_words(receipt.money, quote.currency),
                                 _off(quote.money, receipt.money, receipt)))
    return lines


def _off(quoted: float, came: float, receipt: Receipt) -> str:
    """Nothing where the run was stopped, or shared by several processes: the trial was one process."""
    error = error_of(quoted, came)
    if error is None or not receipt.is_whole or receipt.run.executor != "local":
        return UNKNOWN
    return f"{'+' if error >= 0 else '−'}{percent_words(abs(error), 0)}"
