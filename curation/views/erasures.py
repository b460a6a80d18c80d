from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from curation.forms import EraseForm
from curation.models import Erasure, Snapshot
from curation.services.erasing import NOT_REACHED, erase, same_group
from curation.views.page import Request
from labeling.models import Annotation, Example
from projects.rights import on


@on(Example, "erase")
@require_http_methods(["GET", "POST"])
def example_erase(request: Request, example: Example) -> HttpResponse:
    """What would go and what cannot be reached; then the erasure itself."""
    erased = Erasure.objects.filter(example=example).select_related("erased_by", "job").first()
    others = [] if erased else same_group(example)
    form = EraseForm(request.POST or None, n_same_group=len(others))
    if request.method == "POST" and not erased and form.is_valid():
        chosen = [example, *(others if form.cleaned_data.get("group") else [])]
        job = erase(chosen, reason=form.cleaned_data["reason"], by=request.user)
        messages.success(request, f"{job.title}: their words are gone from every page; files and desks follow.")
        return redirect("curation:example-erase", example.pk)
    return render(request, "curation/example_erase.html", {
        "project": example.project, "nav": "labeling:example-list", "example": example, "erased": erased, "form": form,
        "not_reached": NOT_REACHED, "n_others": len(others),
        "snapshots": Snapshot.objects.filter(rows__example=example),
        "n_annotations": Annotation.objects.filter(example=example).count()},
        status=422 if form.is_bound and not form.is_valid() else 200)
