"""Runs that are trained on another machine: their files out, the result back in."""

import io

from django.http import FileResponse
from ninja import File, Router, Status
from ninja.files import UploadedFile

from goldpan.api.files import A_FILE, as_file, check_size
from goldpan.api.policy import Request, on
from goldpan.api.shapes import AdapterShape
from training.models import Run
from training.services.bundles import download, import_result, uploaded

router = Router(tags=["Training elsewhere"])


@router.get("/runs/{id}/bundle", openapi_extra=A_FILE)
@on(Run, "train")
def run_bundle(request: Request, run: Run) -> FileResponse:
    """Download a run as one tar: train and dev rows, settings and code, to be trained on another machine.

    Who took it is in the audit log. A run is one for another machine by its `executor`.
    """
    name, content = download(run, by=request.auth.user)
    return as_file(io.BytesIO(content), name)


@router.post("/runs/{id}/result", response={201: AdapterShape})
@on(Run, "train", is_harmless=True)
def run_result(request: Request, run: Run, files: File[list[UploadedFile]]) -> Status:
    """Bring in what was trained elsewhere: the files of the folder result/, all of them.

    Nothing is taken unless every hash holds and it is this run's. The first result stands; its evaluation follows.
    """
    check_size(*files, advice="A result is an adapter, and not a whole model.")
    with uploaded((file.name or "", file) for file in files) as folder:  # type: ignore[misc]
        adapter, _ = import_result(run, folder, by=request.auth.user)
    return Status(201, adapter)
