"""Who may do what: one table, one question, one decorator for every view."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from projects.models import AnyUser, Membership, Project, Role

# Django says which modules it owns; this one holds Django because rights are about its users and requests.
MAY: dict[str, tuple[Role, ...]] = {
    "see_project": (Role.annotator, Role.curator, Role.admin),
    "import_examples": (Role.curator, Role.admin),
    "see_examples": (Role.curator, Role.admin),
    "see_labeling": (Role.curator, Role.admin),
    "run_labeling": (Role.curator, Role.admin),
    "edit_guideline": (Role.curator, Role.admin),
    "score": (Role.curator, Role.admin),
    "see_quality": (Role.curator, Role.admin),
    "review": (Role.curator, Role.admin),
    "edit_gold_set": (Role.curator, Role.admin),
    "experiment": (Role.curator, Role.admin),
    "freeze": (Role.curator, Role.admin),
    "see_snapshot": (Role.curator, Role.admin),
    "export_snapshot": (Role.curator, Role.admin),
    "approve_snapshot": (Role.admin,),
    "erase": (Role.admin,),
    "see_runs": (Role.curator, Role.admin),
    "run_baseline": (Role.curator, Role.admin),
    "write_prompts": (Role.curator, Role.admin),
    "judge_answers": (Role.curator, Role.admin),
    "say_economics": (Role.curator, Role.admin),
    "edit_prices": (Role.admin,),
    "train": (Role.admin,),
    "promote": (Role.admin,),
    "see_live": (Role.curator, Role.admin),
    "check_live": (Role.curator, Role.admin),
    "edit_live": (Role.admin,),
    "run_ab_test": (Role.admin,),
    "edit_watch": (Role.curator, Role.admin),
    "decide_training": (Role.admin,),
    "see_jobs": (Role.curator, Role.admin),
    "cancel_job": (Role.curator, Role.admin),
    "manage_members": (Role.admin,),
    "manage_webhooks": (Role.admin,),
    "make_keys": (Role.curator, Role.admin),
    "see_audit": (Role.admin,),
}

PUBLIC = "public"
SIGNED_IN = "signed_in"
SUPERUSER = "superuser"
FOUNDER = "founder"

View = Callable[..., Any]


def role_in(user: AnyUser, project: Project) -> Role | None:
    membership = Membership.objects.filter(user_id=user.pk or 0, project=project).first()
    return Role(membership.role) if membership else None


def can(user: AnyUser, action: str, project: Project) -> bool:
    """Whether the user may do this in this project. Raises KeyError for an action nobody declared."""
    return role_in(user, project) in MAY[action]


def require(user: AnyUser, action: str, project: Project) -> Role | None:
    """Return the user's role. Raises PermissionDenied unless it may do this."""
    role = role_in(user, project)
    if role not in MAY[action]:
        raise PermissionDenied(f"This needs the role {' or '.join(MAY[action])} in “{project}”.")
    return role


def public(view: View) -> View:
    """Anybody may open this view, logged in or not."""
    view.policy = PUBLIC  # type: ignore[attr-defined]
    return view


def signed_in(view: View) -> View:
    """Anybody who is logged in may open this view; it shows only what `visible_to` gives them."""
    view.policy = SIGNED_IN  # type: ignore[attr-defined]
    return view


def superuser(view: View) -> View:
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not (isinstance(request.user, User) and request.user.is_superuser):
            raise PermissionDenied("This needs a superuser.")
        return view(request, *args, **kwargs)

    checked.policy = SUPERUSER  # type: ignore[attr-defined]
    return checked


def may_found(user: AnyUser) -> bool:
    """Whether this person may create projects: a superuser, or an admin of some project."""
    is_superuser = isinstance(user, User) and user.is_superuser
    return is_superuser or Membership.objects.filter(user_id=user.pk or 0, role=Role.admin).exists()


def founder(view: View) -> View:
    """Whoever may create projects may open this view."""
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may_found(request.user):
            raise PermissionDenied("New projects are made by superusers and by admins of a project. Ask one of them.")
        return view(request, *args, **kwargs)

    checked.policy = FOUNDER  # type: ignore[attr-defined]
    return checked


def on(model: type[Model], action: str) -> Callable[[View], View]:
    """Hand the view the object of its URL's `pk` instead of the number.

    The object is looked up through what the user may see, so another project's is a 404 like one that does
    not exist; then the action is checked in its project. An object is a Project or has one as `project`.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, pk: int, *args: Any, **kwargs: Any) -> HttpResponse:
            found = get_object_or_404(model.objects.visible_to(request.user), pk=pk)  # type: ignore[attr-defined]
            project = found if isinstance(found, Project) else found.project
            request.role = require(request.user, action, project)  # type: ignore[attr-defined]
            request.project = project  # type: ignore[attr-defined]
            return view(request, found, *args, **kwargs)

        if action not in MAY:
            raise KeyError(f"declare “{action}” in projects.rights.MAY first")
        checked.policy, checked.model = action, model  # type: ignore[attr-defined]
        return checked

    return decorate
