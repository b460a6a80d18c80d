from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from projects.errors import UserError
from projects.models import ApiKey, Project, Role
from projects.people import new_password
from projects.rights import on
from projects.services import add_member, create_api_key, revoke_api_key


class Request(HttpRequest):
    """What a view with a policy other than public gets: its user is somebody."""

    user: User
    htmx: HtmxDetails
    role: Role | None  # in the project that the page is about


def posted_number(request: HttpRequest, name: str) -> int:
    """The whole number that a form sends under a name; 0, which no row has, where it sends none that a row could have.
    """
    said = request.POST.get(name, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else 0


class MemberForm(forms.Form):
    name = forms.CharField(
        max_length=150, label="User name", validators=[UnicodeUsernameValidator()],
        help_text="Somebody without an account gets one, with a password that is shown once.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}))
    role = forms.ChoiceField(choices=Role.choices, initial=Role.annotator)


@on(Project, "manage_members")
@require_http_methods(["GET", "POST"])
def member_list(request: Request, project: Project) -> HttpResponse:
    form = MemberForm(request.POST or None)
    invited = None
    if request.method == "POST" and form.is_valid():
        invited = _invite(project, form.cleaned_data["name"], form.cleaned_data["role"], by=request.user)
        if invited[1] == "":
            messages.success(request, f"{invited[0]} is {form.cleaned_data['role']} now.")
            return redirect("projects:members", project.pk)
        form = MemberForm()
    return render(request, "projects/members.html", {
        "form": form, "invited": invited, "nav": "projects:detail", "roles": Role.values,
        "members": project.memberships.select_related("user").order_by("user__username")})


@transaction.atomic
def _invite(project: Project, name: str, role: str, *, by: User) -> tuple[User, str]:
    """Give somebody a role; return them and, where they had no account before, their new password."""
    user = User.objects.filter(username=name).first()
    password = "" if user else new_password()
    user = user or User.objects.create_user(name, password=password)
    add_member(project, user, role, by=by)
    return user, password


class KeyForm(forms.Form):
    name = forms.CharField(max_length=60, label="What uses it?", widget=forms.TextInput(
        attrs={"placeholder": "nightly import", "autocomplete": "off"}))
    scopes = forms.MultipleChoiceField(
        label="It may", choices=ApiKey.Scope.choices, widget=forms.CheckboxSelectMultiple, initial=["read"],
        help_text="Never more than you may yourself in this project.")
    days = forms.TypedChoiceField(
        label="Until", coerce=int, initial=90,
        choices=[(30, "30 days from now"), (90, "90 days from now"), (365, "a year from now"), (0, "it is revoked")])


@on(Project, "make_keys")
@require_http_methods(["GET", "POST"])
def key_list(request: Request, project: Project) -> HttpResponse:
    """The keys with which programs come in. Admins see everybody's, curators their own; a secret is shown once."""
    form = KeyForm(request.POST or None)
    made: ApiKey | None = None
    secret = ""
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        made, secret = create_api_key(project, name=given["name"], scopes=given["scopes"], days=given["days"] or None,
                                      by=request.user)
        form = KeyForm()
    now = timezone.now()
    keys = list(_keys_shown(request, project).select_related("created_by"))
    good = [key for key in keys if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)]
    return render(request, "projects/keys.html", {
        "form": form, "made": made, "secret": secret, "nav": "projects:detail", "is_admin": request.role == Role.admin,
        "good": [(key, _scope_words(key)) for key in good],
        "ended": [(key, _scope_words(key)) for key in keys if key not in good]},
        status=422 if form.is_bound and form.errors else 200)


@on(ApiKey, "make_keys")
@require_http_methods(["GET", "POST"])
def key_revoke(request: Request, key: ApiKey) -> HttpResponse:
    """Ask whether a key is to end, and end it."""
    if not _keys_shown(request, key.project).filter(pk=key.pk).exists():
        raise Http404("This key is somebody else's.")
    if request.method == "POST":
        revoke_api_key(key, by=request.user)
        messages.success(request, f"“{key.name}” is revoked: whatever uses it is refused from now on.")
        return redirect("projects:keys", key.project_id)
    if key.revoked_at is not None:
        raise UserError(f"“{key.name}” has been revoked already.")
    return render(request, "projects/key_revoke.html", {
        "key": key, "nav": "projects:detail", "scopes": _scope_words(key)})


def _keys_shown(request: Request, project: Project) -> QuerySet[ApiKey]:
    keys: QuerySet[ApiKey] = ApiKey.objects.filter(project=project)
    return keys if request.role == Role.admin else keys.filter(created_by=request.user)


def _scope_words(key: ApiKey) -> str:
    return ", ".join(ApiKey.Scope(scope).label for scope in key.scopes)
