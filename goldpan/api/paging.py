"""Lists in pages. A page goes on behind a row and never by a count, so what is inserted meanwhile shifts nothing."""

import base64
import binascii
from typing import Any, Generic, TypeVar

from django.db.models import QuerySet
from ninja import Schema
from ninja.errors import ValidationError
from pydantic import Field

T = TypeVar("T")
MOST = 200


class Paging(Schema):
    cursor: str | None = Field(None, max_length=100, description="`next` of the page before; none for the first page.")
    limit: int = Field(50, ge=1, le=MOST, description="How many rows at most.")


class Page(Schema, Generic[T]):
    """Rows in a fixed order. next: the cursor of the page behind this one, null for the last."""

    items: list[T]
    next: str | None = None


def page_of(rows: QuerySet[Any], paging: Paging, *, by: str = "-pk") -> dict[str, Any]:
    """Return one page of the rows. by: a field without two equal values, with “-” before it for falling order.

    A row that is inserted while somebody pages comes before the first page, or on the last; none is told twice.
    Raises ValidationError for a cursor that no page gave.
    """
    name, falls = by.removeprefix("-"), by.startswith("-")
    if paging.cursor is not None:
        rows = rows.filter(**{f"{name}__{'lt' if falls else 'gt'}": _place(paging.cursor)})
    found = list(rows.order_by(by)[:paging.limit + 1])
    items = found[:paging.limit]
    return {"items": items, "next": _cursor(getattr(items[-1], name)) if len(found) > paging.limit else None}


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"after {place}".encode()).decode().rstrip("=")


def _place(cursor: str) -> int:
    try:
        words = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        word, _, place = words.partition(" ")
        if word == "after" and place.isdecimal() and len(place) < 19:
            return int(place)
    except (binascii.Error, ValueError):
        pass
    raise ValidationError([{"loc": ("query", "cursor"), "msg": "No page gave this cursor. Leave it out to begin."}])
