"""A project's webhooks: where its notices are sent, and the log of what was."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from projects.errors import UserError
from projects.events import EVENTS
from projects.models import Project, Webhook, WebhookDelivery
from projects.rights import on
from projects.services.webhooks import (
    create_webhook,
    edit_webhook,
    rotate_secret,
    send_again,
    set_webhook_state,
    try_webhook,
)
from projects.views import Request, posted_number

PER_PAGE = 50


class WebhookForm(forms.Form):
    url = forms.CharField(max_length=500, label="Address",
                          widget=forms.URLInput(attrs={"placeholder": "https://hooks.example.org/goldpan"}),
                          help_text="It has to begin with https:// and to be reachable from the internet.")
    events = forms.MultipleChoiceField(choices=[(name, event.words) for name, event in EVENTS.items()],
                                       widget=forms.CheckboxSelectMultiple, label="What it gets")


@on(Project, "manage_webhooks")
@require_http_methods(["GET", "POST"])
def webhook_list(request: Request, project: Project) -> HttpResponse:
    form = WebhookForm(request.POST or None, initial={"events": list(EVENTS)})
    if request.method == "POST" and form.is_valid():
        try:
            made = create_webhook(project, url=form.cleaned_data["url"], events=form.cleaned_data["events"],
                                  by=request.user)
        except UserError as error:
            form.add_error("url", str(error))
        else:
            return _detail(request, *made)
    delivered = Q(deliveries__state=WebhookDelivery.State.delivered)
    waiting = Q(deliveries__state=WebhookDelivery.State.waiting)
    webhooks = Webhook.objects.filter(project=project, removed_at=None).annotate(
        n_delivered=Count("deliveries", filter=delivered), n_waiting=Count("deliveries", filter=waiting))
    return render(request, "projects/webhooks.html", {"form": form, "webhooks": webhooks, "nav": "projects:detail"})


@on(Webhook, "manage_webhooks")
@require_GET
def webhook_detail(request: Request, webhook: Webhook) -> HttpResponse:
    return _detail(request, webhook)


def _detail(request: Request, webhook: Webhook, secret: str = "", form: WebhookForm | None = None) -> HttpResponse:
    """secret: one that was made just now, to be shown this once."""
    show = request.GET.get("show", "")
    log: Any = WebhookDelivery.objects.filter(webhook=webhook).select_related("notice")
    if show in WebhookDelivery.State.values:
        log = log.filter(state=show)
    return render(request, "projects/webhook.html", {
        "webhook": webhook, "secret": secret, "project": webhook.project, "nav": "projects:detail", "show": show,
        "states": WebhookDelivery.State.choices, "now": timezone.now(),
        "form": form or WebhookForm(initial={"url": webhook.url, "events": webhook.events}),
        "page": Paginator(log, PER_PAGE).get_page(request.GET.get("page"))})


@on(Webhook, "manage_webhooks")
@require_http_methods(["GET", "POST"])
def webhook_edit(request: Request, webhook: Webhook) -> HttpResponse:
    form = WebhookForm(request.POST)
    if request.method == "POST":
        if not form.is_valid():
            return _detail(request, webhook, form=form)
        edit_webhook(webhook, url=form.cleaned_data["url"], events=form.cleaned_data["events"], by=request.user)
        messages.success(request, "Saved.")
    return redirect("projects:webhook", webhook.pk)  # by GET: where an error leads back to from the page drawn here


@on(Webhook, "manage_webhooks")
@require_POST
def webhook_state(request: Request, webhook: Webhook) -> HttpResponse:
    set_webhook_state(webhook, request.POST.get("state", ""), by=request.user)
    if webhook.removed_at:
        messages.success(request, f"{webhook} is removed; nothing is sent to {webhook.url} any more.")
        return redirect("projects:webhooks", webhook.project_id)
    return redirect("projects:webhook", webhook.pk)


@on(Webhook, "manage_webhooks")
@require_http_methods(["GET", "POST"])
def webhook_secret(request: Request, webhook: Webhook) -> HttpResponse:
    if request.method == "POST":
        return _detail(request, webhook, rotate_secret(webhook, by=request.user))
    return redirect("projects:webhook", webhook.pk)  # a reload, or an error on the page that showed the secret


@on(Webhook, "manage_webhooks")
@require_POST
def webhook_test(request: Request, webhook: Webhook) -> HttpResponse:
    tried = try_webhook(webhook, by=request.user)
    if tried.state == WebhookDelivery.State.delivered:
        messages.success(request, f"It works: the receiver answered {tried.status}.")
    else:
        messages.error(request, tried.words or f"The receiver answered {tried.status}, and not 200 to 299.")
    return redirect("projects:webhook", webhook.pk)


@on(Webhook, "manage_webhooks")
@require_POST
def webhook_again(request: Request, webhook: Webhook) -> HttpResponse:
    send_again(webhook, posted_number(request, "delivery"), by=request.user)
    messages.success(request, "It is sent again within a few seconds, under the same id.")
    return redirect("projects:webhook", webhook.pk)
