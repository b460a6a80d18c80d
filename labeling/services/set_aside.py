"""Examples that somebody skipped and that wait for a curator: given out again, or left where they are."""

from collections.abc import Collection

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from labeling.models import Batch, BatchItem, Example
from projects.errors import UserError
from projects.services import audit


@transaction.atomic
def give_out_again(batch: Batch, item_ids: Collection[int] | None, *, by: User) -> int:
    """Ask other people about these set-aside examples, all of them if None; return how many it are.

    Whoever skipped one is not asked again. Raises UserError if the batch is closed or none of them is set aside.
    """
    if batch.state == Batch.State.closed:
        raise UserError(f"{batch} is closed. Put the examples into another batch.")
    items = BatchItem.objects.filter(batch=batch, is_set_aside=True)
    n = (items if item_ids is None else items.filter(pk__in=item_ids)).update(is_set_aside=False)
    if not n:
        raise UserError("None of these is set aside any more. Reload the page.")
    audit(batch.project, by, "give_out_again", {"batch": batch.number, "n_examples": n})
    return n


def leave_settled(example: Example) -> None:
    """A curator has settled the example: nobody is asked about it any more, and it waits no longer."""
    BatchItem.objects.filter(example=example, is_set_aside=True).update(is_set_aside=False, n_wanted=F("n_taken"))
