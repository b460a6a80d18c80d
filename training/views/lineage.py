from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from labeling.models import Example
from projects.rights import on
from projects.views import Request
from training.services.lineage import holdings


@on(Example, "see_runs")
@require_GET
def example_lineage(request: Request, example: Example) -> HttpResponse:
    """All snapshots, runs and adapters that hold an example, and which of them are stale."""
    found = holdings(example)
    old = [one for one in found if one.has_changed]
    return render(request, "training/example_lineage.html", {
        "project": example.project, "nav": "labeling:example-list", "example": example, "holdings": found,
        "n_stale": len(old), "n_learned": sum(len(one.adapters) for one in old if one.was_learned)})
