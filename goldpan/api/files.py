"""Files that an operation takes or gives."""

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse
from ninja.errors import HttpError

A_FILE = {"responses": {200: {"description": "The file", "content": {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}}


def check_size(*files: UploadedFile, advice: str = "Split it.") -> None:
    """Raises HttpError 413 if the files of a request are together larger than GOLDPAN_MAX_UPLOAD_MB."""
    limit_mb = settings.GOLDPAN_MAX_UPLOAD_MB
    if sum(file.size or 0 for file in files) > limit_mb * 1_000_000:
        raise HttpError(413, f"What was sent has more than {limit_mb:g} MB. {advice}")


def as_file(file: Any, name: str) -> FileResponse:
    """file: open for reading in binary. It is closed once it is sent."""
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/octet-stream",
                        headers={"X-Content-Type-Options": "nosniff"})
