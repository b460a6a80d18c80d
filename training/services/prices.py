"""The price table: dated rows that nobody edits; a change is a newer row of the same name."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from training.models import Price


def prices(kind: str | None = None, *, currency: str | None = None) -> list[Price]:
    """The rows that count: of every kind, name and currency the newest, unless it was withdrawn; by kind and name."""
    newest: dict[tuple[str, str, str], Price] = {}
    for row in Price.objects.select_related("created_by").order_by("pk"):
        newest[row.kind, row.name, row.currency] = row
    return sorted((row for row in newest.values() if not row.is_withdrawn and kind in (None, row.kind)
                   and currency in (None, row.currency)), key=lambda row: (row.kind, row.name, row.currency))


def add_price(values: Mapping[str, Any], *, by: User) -> Price:
    """Write down a price; a row of the same kind, name and currency counts no more."""
    return Price.objects.create(**values, created_by=by)


def withdraw_price(price: Price, *, by: User) -> Price:
    """Take a price out of the table. What was quoted with it keeps it."""
    return Price.objects.create(
        **{name: getattr(price, name) for name in (
            "kind", "name", "currency", "per_hour", "memory_gb", "teraflops", "per_million_in", "per_million_out",
            "since", "source")}, is_withdrawn=True, created_by=by)
