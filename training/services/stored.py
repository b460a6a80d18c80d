"""An adapter's files out of the object store."""

import shutil
from pathlib import Path

from django.conf import settings

from projects.errors import UserError
from projects.objects import object_is_sound, object_path
from training.models import Adapter


def materialise(adapter: Adapter, folder: Path) -> Path:
    """Write an adapter's files into a folder under their names, each hashed on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sha256 in adapter.files.items():
        if not object_is_sound(settings.GOLDPAN_OBJECTS, sha256):
            raise UserError(f"{name} of {adapter} is missing or has changed on the disk. Restore it from a backup.")
        shutil.copy(object_path(settings.GOLDPAN_OBJECTS, sha256), folder / Path(name).name)
    return folder
