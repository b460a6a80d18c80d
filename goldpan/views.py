from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from goldpan.path.facts import MIN_AGREEMENT, Facts, facts_of
from goldpan.path.steps import RELIABLE, agreement_words, jobs_to_show, open_items, steps_of
from goldpan.path.turn import turn_of
from jobs.models import Job
from labeling.label_studio import LabelStudio
from labeling.models import Annotation, Annotator, Example, LabelStudioLink
from labeling.services.sync import decrypt
from projects.models import Membership, Project, Role
from projects.rights import on, public, role_in, signed_in
from projects.views import Request


@signed_in
@require_GET
def home(request: Request) -> HttpResponse:
    """The projects of this person; with a single one, that one."""
    memberships = list(Membership.objects.filter(user=request.user).select_related("project").order_by("project__name"))
    if len(memberships) == 1:
        return redirect("projects:detail", memberships[0].project_id)
    projects = [membership.project_id for membership in memberships]
    n_examples = dict(Example.objects.filter(project__in=projects).order_by().values_list("project")
                      .annotate(n=Count("pk")))
    n_running = dict(Job.objects.filter(project__in=projects).active().order_by().values_list("project")
                     .annotate(n=Count("pk")))
    return render(request, "home.html", {"rows": [
        (membership, n_examples.get(membership.project_id, 0), n_running.get(membership.project_id, 0))
        for membership in memberships]})


@on(Project, "see_project")
@require_GET
def project_detail(request: Request, project: Project) -> HttpResponse:
    """Where the project stands and whose turn it is; annotators see what is theirs to do, and nothing about quality."""
    role = role_in(request.user, project)
    if role is None or role == Role.annotator:
        return render(request, "projects/annotator_home.html", {
            "project": project, **_label_studio(LabelStudioLink.objects.filter(project=project).first(), project,
                                                request.user)})
    facts = facts_of(project, request.user, role)
    turn = turn_of(facts)
    return render(request, "projects/detail.html", {
        "project": project, "facts": facts, "turn": turn, "steps": steps_of(facts, turn), "open": open_items(facts),
        "jobs": jobs_to_show(facts.jobs), **_agreement(facts), **_label_studio(facts.link, project, request.user)})


def _agreement(facts: Facts) -> dict[str, Any]:
    found = facts.held_out.agreement if facts.held_out else None
    return {"agreement": found, "agreement_words": agreement_words(found) if found else "", "axis": (0.0, 1.0),
            "reliable": RELIABLE, "min_agreement": MIN_AGREEMENT}


def _label_studio(link: LabelStudioLink | None, project: Project, user: User) -> dict[str, Any]:
    """The way into Label Studio, and this person's own log-in there."""
    account = Annotator.objects.filter(project=project, user=user).first()
    has_account = account is not None and account.ls_user_id is not None
    return {
        "link": link, "account": account if has_account else None,
        "password": decrypt(account.ls_password_encrypted) if has_account and account else "",
        "n_answers": Annotation.objects.current().filter(annotator=account).count() if account else 0,
        "stream_url": LabelStudio(link.url, "").stream_url(link.ls_project_id) if link else ""}


@public
def healthz(request: HttpRequest) -> HttpResponse:
    """Says that the process answers; touches no database."""
    return HttpResponse("ok\n", content_type="text/plain")
