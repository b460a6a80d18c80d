"""Discussions: examples that somebody set aside, what was said about each, and whose word is waited for.

A discussion is open while “needs discussion” is the decision that counts. Its first message is that decision's reason.
"""

from collections import Counter
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from curation.models import Decision, Message
from labeling.models import Example
from projects.errors import UserError
from projects.models import Membership, Project
from projects.rights import MAY
from projects.services import audit

MAX_CHARS = 4000


@dataclass(frozen=True)
class Discussion:
    """An open discussion. last: its newest message, None where it was opened without a word. n: messages."""

    decision: Decision
    last: Message | None
    n: int

    @property
    def asked(self) -> User | None:
        """Whose word is waited for: who was asked last, and has not spoken since."""
        return self.last.asked if self.last else None


def reviewers(project: Project) -> QuerySet[User]:
    """Those who take part: everybody in the project who may review."""
    ids = Membership.objects.filter(project=project, role__in=MAY["review"]).values("user")
    return User.objects.filter(pk__in=ids).order_by("username")


@transaction.atomic
def write_message(example: Example, *, text: str, by: User, asked: User | None = None) -> Message:
    """Say something about an example that is discussed.

    asked: whose word is waited for now. What is said without asking leaves a question to somebody else open.
    Raises UserError if nothing is said, it is too long, nobody discusses the example, or the asked person cannot read
    it.
    """
    text = text.strip()
    if not 1 <= len(text) <= MAX_CHARS:
        raise UserError(f"A message has 1 to {MAX_CHARS:,} characters; this one has {len(text):,}.")
    if not _open(example.project).filter(example=example).exists():
        raise UserError(f"Example {example.key} is not in discussion any more. Look at its history, or set it aside "
                        "again.")
    if asked is not None and not reviewers(example.project).filter(pk=asked.pk).exists():
        raise UserError(f"{asked} cannot review in “{example.project}”, so they could not answer.")
    if asked is None:
        last = Message.objects.filter(example=example).last()
        asked = last.asked if last and last.asked_id != by.pk else None
    message = Message.objects.create(example=example, author=by, text=text, asked=asked)
    audit(example.project, by, "write_message", {"example": example.key, "message": message.pk})
    return message


def _open(project: Project) -> QuerySet[Decision]:
    return Decision.objects.current().filter(example__project=project, verdict=Decision.Verdict.discuss)


def discussions(project: Project, *, asking: User | None = None) -> list[Discussion]:
    """The open discussions, the one that was quiet longest first. asking: only where this person is asked."""
    opened = list(_open(project).select_related("example", "decided_by"))
    messages = Message.objects.filter(example__in=[decision.example_id for decision in opened]).select_related(
        "author", "asked")
    newest = {message.example_id: message for message in messages}
    n = Counter(message.example_id for message in messages)
    found = [Discussion(decision, newest.get(decision.example_id), n[decision.example_id]) for decision in opened]
    found = [one for one in found if asking is None or one.asked == asking]
    return sorted(found, key=lambda one: one.last.created_at if one.last else one.decision.created_at)


def n_asking(project: Project, user: User) -> int:
    """How many open discussions wait for this person's word."""
    if not Message.objects.filter(asked=user, example__project=project).exists():
        return 0
    return len(discussions(project, asking=user))
