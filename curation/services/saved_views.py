"""Filters of the review queue under a name: one's own, or for everybody who reviews."""

from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db.models import QuerySet

from curation.models import SavedView
from curation.services.queue import read_filter
from projects.errors import UserError
from projects.models import Project
from projects.services import audit

MAX_NAME = 60
MAX_VIEWS = 50  # of one person in a project


def saved_views(project: Project, user: User) -> QuerySet[SavedView]:
    return SavedView.objects.visible_to(user).filter(project=project).select_related("owner")


def save_view(project: Project, given: Mapping[str, str], *, name: str, is_shared: bool, by: User) -> SavedView:
    """Keep a filter under a name; one's own view of that name is replaced by it.

    given: the filter, as an address has it. Raises UserError for a name that is empty or too long, and for too many.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= MAX_NAME:
        raise UserError(f"A view's name has 1 to {MAX_NAME} characters; this one has {len(name)}.")
    mine = SavedView.objects.filter(project=project, owner=by)
    if mine.exclude(name=name).count() >= MAX_VIEWS:
        raise UserError(f"You have {MAX_VIEWS} views here, and more would find nobody. Delete one first.")
    view, _ = mine.update_or_create(name=name, defaults={
        "query": read_filter(given).query, "is_shared": is_shared}, create_defaults={
        "query": read_filter(given).query, "is_shared": is_shared, "project": project, "owner": by})
    audit(project, by, "save_view", {"view": view.pk, "is_shared": is_shared})
    return view


def delete_view(view: SavedView, *, by: User) -> None:
    """Raises UserError if somebody else made it."""
    if view.owner_id != by.pk:
        raise UserError(f"{view.owner} made the view “{view}”, so only they delete it.")
    audit(view.project, by, "delete_view", {"view": view.pk})
    view.delete()
