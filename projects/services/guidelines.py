"""The guideline: what annotators and the prompt are told, version by version. A version is never edited."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from projects.errors import UserError
from projects.models import Guideline, Project
from projects.schema import label_names
from projects.services.auditing import audit

MAX_CHARS = 20_000
MAX_NOTE_CHARS = 500


def current_guideline(project: Project) -> Guideline:
    return Guideline.objects.select_related("created_by").get(project=project, version=project.instructions_version)


def ruled_labels(project: Project) -> list[str]:
    """The labels that can each have a rule of their own; [] where answers are free, or one of two."""
    return label_names(project.schema) if "labels" in project.schema else []


@transaction.atomic
def publish_guideline(project: Project, *, text: str, note: str, by: User, seen: int,
                      changed_labels: Sequence[str] = (), changes_all: bool = False) -> Guideline:
    """Make this text the guideline from now on; what was labelled under earlier ones says so.

    note: what changed and why. changed_labels: those whose rule changed; changes_all: every rule did. Their examples
    are looked at again.
    seen: the version that the writer's page showed.
    Raises UserError if the text is empty, too long or the one that counts already, there is no note, a label is none
    of the project's, or somebody has published since.
    """
    text, note = text.replace("\r\n", "\n").strip(), note.strip()
    if not 1 <= len(text) <= MAX_CHARS:
        raise UserError(f"A guideline has 1 to {MAX_CHARS:,} characters; this one has {len(text):,}.")
    if not 1 <= len(note) <= MAX_NOTE_CHARS:
        raise UserError(f"Say in 1 to {MAX_NOTE_CHARS} characters what changed and why; there are {len(note)}. "
                        "Annotators read it, and so does whoever looks at old labels again.")
    labels = ruled_labels(project)
    if unknown := [label for label in changed_labels if label not in labels]:
        raise UserError(f"“{unknown[0]}” is not a label of this project. "
                        f"{'Its labels are: ' + ', '.join(labels) if labels else 'Its answers have no labels'}.")
    last = Guideline.objects.select_related("created_by").filter(project=project).first()
    if last is not None and last.version == seen and last.text == text:
        raise UserError(f"Guideline {seen} says exactly this already. Change something first.")
    moved = Project.objects.filter(pk=project.pk, instructions_version=seen).update(
        instructions=text, instructions_version=seen + 1)
    if not moved:
        by_whom = f"{last.created_by} has published guideline {last.version}" if last else "It has been changed"
        raise UserError(f"{by_whom} since your page showed guideline {seen}, so yours was not published. Read what "
                        "changed, then publish again.")
    guideline = Guideline.objects.create(
        project=project, version=seen + 1, text=text, note=note, changes_all=changes_all,
        changed_labels=[] if changes_all else [label for label in labels if label in changed_labels], created_by=by)
    audit(project, by, "publish_guideline", {
        "version": guideline.version, "changed_labels": guideline.changed_labels, "changes_all": changes_all})
    project.refresh_from_db(fields=["instructions", "instructions_version"])
    return guideline


@dataclass(frozen=True)
class RuleChanges:
    """The last guideline that changed the rule of every label at once, and those after it, label → guideline.

    The first version changes nothing: nobody labelled before it.
    """

    of_all: Guideline | None
    of_label: dict[str, Guideline]

    def of(self, label: str) -> Guideline | None:
        return self.of_label.get(label, self.of_all)

    @property
    def guidelines(self) -> list[Guideline]:
        """Every guideline that is the last to have changed some rule."""
        last = {guideline.pk: guideline for guideline in self.of_label.values()}
        return [*([self.of_all] if self.of_all else []), *last.values()]

    def labels_of(self, guideline: Guideline) -> list[str]:
        """The labels whose rule this guideline was the last to change by name."""
        return [label for label, last in self.of_label.items() if last.pk == guideline.pk]


def rule_changes(project: Project) -> RuleChanges:
    of_all: Guideline | None = None
    of_label: dict[str, Guideline] = {}
    if project.instructions_version == 1:
        return RuleChanges(None, {})
    for guideline in Guideline.objects.filter(project=project, version__gt=1).defer("text").order_by("version"):
        if guideline.changes_all:
            of_all, of_label = guideline, {}
        else:
            of_label |= dict.fromkeys(guideline.changed_labels, guideline)
    return RuleChanges(of_all, of_label)
