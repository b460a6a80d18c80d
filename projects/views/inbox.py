"""A person's inbox over all their projects, and how they want mail."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from projects.models import InboxItem, Membership
from projects.rights import on, signed_in
from projects.services.notices import choose_mail, mark_read
from projects.views import Request, posted_number
from projects.wording import counted

PER_PAGE = 50


class MailForm(forms.Form):
    """Where mail goes, and per project how often."""

    address = forms.EmailField(required=False, label="Your address",
                               widget=forms.EmailInput(attrs={"autocomplete": "email"}))

    def __init__(self, *args: object, memberships: list[Membership], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.memberships = memberships
        for membership in memberships:
            self.fields[f"of_{membership.pk}"] = forms.ChoiceField(
                choices=Membership.Mail.choices, initial=membership.mail, label=membership.project.name)

    @property
    def choices(self) -> dict[int, str]:
        return {membership.pk: self.cleaned_data[f"of_{membership.pk}"] for membership in self.memberships}


@signed_in
@require_GET
def inbox(request: Request) -> HttpResponse:
    everything = request.GET.get("show") == "all"
    items = InboxItem.objects.visible_to(request.user).select_related("notice__project", "notice__by")
    page = Paginator(items if everything else items.filter(read_at=None), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "projects/inbox.html", {
        "everything": everything, "page": page,
        "newest": max((item.pk for item in page), default=0)})


@on(InboxItem, "see_project")
@require_GET
def notice(request: Request, item: InboxItem) -> HttpResponse:
    """Lead to the page that the notice is about; who has followed it has read it."""
    mark_read(request.user, item=item.pk)
    return redirect(item.notice.link)


@signed_in
@require_POST
def inbox_read(request: Request) -> HttpResponse:
    """Mark as read what the person's page showed, and older; not what came since."""
    n = mark_read(request.user, up_to=posted_number(request, "up_to"))
    messages.success(request, f"{counted(n, 'notice')} marked as read.")
    return redirect("projects:inbox")


@signed_in
@require_http_methods(["GET", "POST"])
def mail(request: Request) -> HttpResponse:
    memberships = list(Membership.objects.filter(user=request.user).select_related("project").order_by("project__name"))
    form = MailForm(request.POST or None, memberships=memberships, initial={"address": request.user.email})
    if request.method == "POST" and form.is_valid():
        choose_mail(request.user, address=form.cleaned_data["address"], choices=form.choices)
        messages.success(request, "Saved.")
        return redirect("projects:mail")
    return render(request, "projects/mail.html", {"form": form, "is_sent": bool(settings.GOLDPAN_EMAIL_URL)})
