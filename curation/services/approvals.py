"""Deciding on a snapshot: who asks, who approves exactly which bytes, what they override and why, what people say."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.urls import reverse

from curation.models import Approval, ApprovalRequest, CheckOverride, Snapshot, SnapshotCheck, SnapshotComment
from curation.services.checks import Check, bytes_check, check_snapshot
from curation.services.staleness import ChangedRow
from projects.errors import UserError
from projects.rights import can
from projects.services import audit, notify

MAX_WORDS = 2000


@dataclass(frozen=True)
class Judged:
    """A check and, where it fails, the newest override that still covers what it finds."""

    check: Check
    override: CheckOverride | None

    @property
    def is_green(self) -> bool:
        return self.check.holds or self.override is not None


def judged_checks(snapshot: Snapshot, changed: Sequence[ChangedRow] | None = None) -> list[Judged]:
    """Every check of a snapshot with its override; one covers no more findings than whoever wrote it has seen.

    changed: as `changed_rows` gives them, where the caller has them.
    """
    overrides = list(CheckOverride.objects.filter(snapshot=snapshot).select_related("by"))
    return [Judged(check, next((one for one in reversed(overrides)
                                if not check.holds and one.name == check.name and check.n <= one.n), None))
            for check in check_snapshot(snapshot, changed)]


def n_red(snapshot: Snapshot) -> int:
    """How many of the checks made at the freeze fail without an override. One query; `judged_checks` looks at all."""
    covering = CheckOverride.objects.filter(snapshot=snapshot, name=OuterRef("name"), n__gte=OuterRef("n"))
    return SnapshotCheck.objects.filter(~Exists(covering), snapshot=snapshot, holds=False).count()


def approval_obstacle(snapshot: Snapshot, user: User) -> str:
    """Why this person cannot approve or refuse this snapshot, in words; "" if nothing stands in the way."""
    if not can(user, "approve_snapshot", snapshot.project):
        return f"Only an admin of “{snapshot.project}” approves its snapshots."
    if user.pk == snapshot.created_by_id and not settings.GOLDPAN_SINGLE_USER:
        return "You made this snapshot, so somebody else has to approve it."
    return ""


@transaction.atomic
def approve_snapshot(snapshot: Snapshot, *, sha256: str, approver: User, comment: str = "",
                     decision: str = Approval.Choice.approved) -> Approval:
    """Approve, or refuse, exactly these bytes for training. The first decision stands.

    sha256: the hash that the approver's page showed. comment: of a refusal the reason.
    Raises UserError if the snapshot's hash differs, the approver is no admin or made it, somebody has decided already,
    the stored bytes are not these any more, a check fails that nobody has overridden, or a refusal has no reason.
    """
    if sha256 != snapshot.sha256:
        raise UserError("The snapshot on your page is not this one. Reload the page and read it again.")
    if obstacle := approval_obstacle(snapshot, approver):
        raise UserError(obstacle)
    earlier = Approval.objects.filter(snapshot=snapshot).select_related("approver").first()
    if earlier is not None:
        raise UserError(f"{earlier.approver} has decided on this snapshot already.")
    if decision == Approval.Choice.approved:
        _check_green(snapshot)
    elif not comment.strip():
        raise UserError("Say what has to change: a refusal without a reason leaves its maker guessing.")
    is_own = approver.pk == snapshot.created_by_id
    approval, created = Approval.objects.get_or_create(  # unique per snapshot: of two clicks one wins
        snapshot=snapshot, defaults={"sha256": sha256, "approver": approver, "created_by": snapshot.created_by,
                                     "decision": decision, "comment": comment.strip(), "self_approved": is_own})
    if not created:
        raise UserError(f"{approval.approver} has decided on this snapshot already.")
    audit(snapshot.project, approver, "approve_snapshot", {"snapshot": snapshot.number, "sha256": sha256,
                                                           "decision": decision, "self_approved": is_own})
    notify(snapshot.project, f"snapshot.{decision}", title=f"{snapshot} was {decision}",
           text=approval.comment, by=approver, people=[snapshot.created_by], data=_named(snapshot),
           link=_page(snapshot))
    return approval


def _named(snapshot: Snapshot) -> dict[str, object]:
    return {"snapshot": snapshot.pk, "sha256": snapshot.sha256}


def _page(snapshot: Snapshot) -> str:
    return reverse("curation:snapshot-detail", args=[snapshot.pk])


def _check_green(snapshot: Snapshot) -> None:
    """Raises UserError if a check fails that nobody has overridden, or a row is not the one that was frozen."""
    red = [judged.check for judged in judged_checks(snapshot) if not judged.is_green]
    if not red and not (whole := bytes_check(snapshot, whole=True)).holds:
        red = [whole]
    if red:
        n, first = len(red), red[0]
        way = ("Mend it and freeze again, or override it with a reason." if first.can_be_overridden else
               "Nobody can override that.")
        raise UserError(f"{n} check{'s fail' if n > 1 else ' fails'}, so {str(snapshot).lower()} is not approved. "
                        f"“{first.claim}” {first.found} {way}")


def require_approved(snapshot: Snapshot) -> None:
    """Raises UserError unless an admin has approved exactly this snapshot."""
    if not snapshot.is_approved:
        raise UserError(f"{snapshot} is not approved. An admin who did not make it has to approve it first.")


@transaction.atomic
def override_check(snapshot: Snapshot, *, name: str, n: int, reason: str, by: User) -> CheckOverride:
    """Let a snapshot be approved although this check fails. Whoever may approve it may override, in writing.

    n: how many findings the person's page showed; more of them make the check fail again.
    Raises UserError if the person may not, the check holds or cannot be overridden, it finds more by now, it has been
    decided on the snapshot, or there is no reason.
    """
    if obstacle := approval_obstacle(snapshot, by):
        raise UserError(obstacle)
    _require_open(snapshot)
    check = next((check for check in check_snapshot(snapshot) if check.name == name), None)
    if check is None or check.holds:
        raise UserError("This check holds, so there is nothing to override. Reload the page.")
    if not check.can_be_overridden:
        raise UserError(f"“{check.claim}” cannot be overridden: nobody could prove what is trained on.")
    if check.n > n:
        raise UserError(f"Your page showed {n:,} findings; by now there are {check.n:,}. Reload it and read them.")
    override = CheckOverride.objects.create(snapshot=snapshot, name=name, n=check.n, reason=_words(reason), by=by)
    audit(snapshot.project, by, "override_check", {"snapshot": snapshot.number, "sha256": snapshot.sha256,
                                                   "check": name, "n": check.n, "reason": override.reason})
    return override


@transaction.atomic
def request_approval(snapshot: Snapshot, *, by: User, note: str = "") -> ApprovalRequest:
    """Ask the admins to decide on a snapshot; they read it on their home page. Asking twice is asking once."""
    _require_open(snapshot)
    request, created = ApprovalRequest.objects.get_or_create(
        snapshot=snapshot, defaults={"asked_by": by, "note": note.strip()[:MAX_WORDS]})
    if created:
        audit(snapshot.project, by, "request_approval", {"snapshot": snapshot.number, "sha256": snapshot.sha256})
        notify(snapshot.project, "snapshot.approval_requested", title=f"{snapshot} waits for approval",
               text=request.note, by=by, data=_named(snapshot), link=_page(snapshot))
    return request


def comment_on(snapshot: Snapshot, *, text: str, by: User) -> SnapshotComment:
    """Append to a snapshot's thread. Raises UserError if nothing is said."""
    return SnapshotComment.objects.create(snapshot=snapshot, text=_words(text), author=by)


def _words(text: str) -> str:
    words = text.strip()
    if not 1 <= len(words) <= MAX_WORDS:
        raise UserError(f"Write 1 to {MAX_WORDS:,} characters; there are {len(words):,}.")
    return words


def _require_open(snapshot: Snapshot) -> None:
    approval = Approval.objects.filter(snapshot=snapshot).select_related("approver").first()
    if approval is not None:
        raise UserError(f"{approval.approver} has decided on this snapshot already: {approval.decision}.")
