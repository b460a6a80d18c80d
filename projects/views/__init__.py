from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from projects.models import Project, Role
from projects.people import new_password
from projects.rights import on
from projects.services import add_member


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
