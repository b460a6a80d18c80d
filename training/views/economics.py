from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from projects.errors import UserError
from projects.models import Project
from projects.rights import MAY, on, role_in
from projects.views import Request
from training.forms import EconomicsForm, PriceForm
from training.models import Price, Verdict
from training.services.economics import economics_of, save_economics, worth_lines
from training.services.prices import add_price, prices, withdraw_price


@on(Project, "say_economics")
@require_http_methods(["GET", "POST"])
def economics(request: Request, project: Project) -> HttpResponse:
    said = economics_of(project)
    form = EconomicsForm(request.POST if request.method == "POST" else None, instance=said)
    if request.method == "POST" and form.is_valid():
        save_economics(project, form.cleaned_data, by=request.user)
        messages.success(request, "Written down, and the verdicts are weighed with it.")
        return redirect("training:economics", project.pk)
    verdict = Verdict.objects.filter(snapshot__project=project).select_related("snapshot").order_by("-pk").first()
    return render(request, "training/economics.html", {
        "project": project, "nav": "training:run-list", "form": form, "said": economics_of(project),
        "verdict": verdict, "weighing": verdict.weighing if verdict else None,
        "worth": worth_lines(verdict.weighing) if verdict else [], "may_edit_prices":
        role_in(request.user, project) in MAY["edit_prices"]}, status=422 if form.is_bound and form.errors else 200)


@on(Project, "edit_prices")
@require_http_methods(["GET", "POST"])
def price_table(request: Request, project: Project) -> HttpResponse:
    form = PriceForm(request.POST or None, initial={"currency": economics_of(project).currency})
    if request.method == "POST" and form.is_valid():
        price = add_price(form.cleaned_data, by=request.user)
        messages.success(request, f"“{price}” is in the table.")
        return redirect("training:prices", project.pk)
    return render(request, "training/prices.html", {
        "project": project, "nav": "training:run-list", "form": form, "machines": prices(Price.Kind.machine),
        "models": prices(Price.Kind.tokens)}, status=422 if form.is_bound and form.errors else 200)


@on(Project, "edit_prices")
@require_POST
def price_withdraw(request: Request, project: Project) -> HttpResponse:
    price = next((row for row in prices() if str(row.pk) == request.POST.get("price")), None)
    if price is None:
        raise UserError("This price is not in the table any more. Reload the page.")
    withdraw_price(price, by=request.user)
    messages.success(request, f"“{price}” is out of the table. What was quoted with it keeps it.")
    return redirect("training:prices", project.pk)
