"""Selections: examples that somebody picked out on the map or that a check drew, under a number that can be shared."""

import io
from collections.abc import Sequence

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.models import Map, Selection
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_path, put_object
from projects.services import audit


@transaction.atomic
def create_selection(project: Project, example_ids: Sequence[int] | np.ndarray, *, by: User,
                     drawn: Map | None = None) -> Selection:
    """Keep these examples of the project, at least one, as a selection; what this person has kept before is that."""
    ids = np.unique(np.asarray(example_ids, dtype=np.int64))
    same = {"project": project, "map": drawn, "ids_sha256": store_ids(ids), "created_by": by}
    if (kept := Selection.objects.filter(**same).first()) is not None:
        return kept
    selection = Selection.objects.create(**same, n_examples=len(ids))
    audit(project, by, "select", {"selection": selection.pk, "n_examples": len(ids)})
    return selection


def selection_of(project: Project, number: int) -> Selection:
    """The selection of this number. Raises UserError if the project has none: whose examples they are decides who sees
    them, so one of another project is none."""
    found = Selection.objects.filter(project=project, pk=number).select_related("created_by").first()
    if found is None:
        raise UserError(f"There is no selection {number} in this project. Open the map and draw one.")
    return found


def selected_ids(selection: Selection) -> np.ndarray:
    """The primary keys of a selection's examples, (n,) int64, ascending."""
    return read_ids(selection.ids_sha256)


def selection_page(selection: Selection, number: int, per_page: int) -> list[Example]:
    """The examples of a page of the selection, in the order they came."""
    ids = selected_ids(selection)[(number - 1) * per_page:number * per_page].tolist()
    return list(Example.objects.filter(pk__in=ids).order_by("pk"))


def store_ids(ids: np.ndarray) -> str:
    content = io.BytesIO()
    np.save(content, ids, allow_pickle=False)
    return put_object(settings.GOLDPAN_OBJECTS, content.getvalue())


def read_ids(sha256: str) -> np.ndarray:
    return np.asarray(np.load(object_path(settings.GOLDPAN_OBJECTS, sha256), mmap_mode="r", allow_pickle=False))
