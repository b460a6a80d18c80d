from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from projects.errors import UserError
from projects.rights import on
from projects.views import Request
from training.forms import ResultForm
from training.models import Adapter, Run
from training.services.bundles import download, import_result, uploaded


@on(Run, "train")
@require_POST
def run_bundle(request: Request, run: Run) -> HttpResponse:
    """The run as files, to be carried to another machine; who took them is in the audit log."""
    name, content = download(run, by=request.user)
    return HttpResponse(content, content_type="application/x-tar", headers={
        "Content-Disposition": f'attachment; filename="{name}"'})


@on(Run, "train")
@require_http_methods(["GET", "POST"])
def run_result(request: Request, run: Run) -> HttpResponse:
    """Bring a result in: nothing is taken unless every hash holds and it is this run's."""
    form = ResultForm(request.POST, request.FILES) if request.method == "POST" else ResultForm()
    if request.method == "POST" and form.is_valid():
        try:
            with uploaded((file.name, file) for file in form.cleaned_data["files"]) as folder:
                adapter, _ = import_result(run, folder, by=request.user)
        except UserError as error:
            form.add_error("files", str(error))
        else:
            messages.success(request, f"{adapter} is in. Its evaluation is under way.")
            return redirect("training:run", run.pk)
    return render(request, "training/result.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "form": form,
        "has_result": Adapter.objects.filter(run=run).exists()}, status=422 if request.method == "POST" else 200)
