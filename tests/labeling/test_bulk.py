"""Staged rows: a table that only this connection sees, in a transaction of the caller's and without one."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, transaction

from labeling.services.bulk import STAGING, execute, one_of, query, staging_table

COLUMNS = {"line": "integer PRIMARY KEY", "group": "text", "value": "jsonb"}
ROWS = [(2, "a", '"x"'), (1, "b", None), (3, "c", '{"y": 1}')]

# Rows of the product's own tables stay: nothing here touches them, and some can never be removed.
outside_a_transaction = pytest.mark.django_db(transaction=True, available_apps=["django.contrib.sessions"])
in_both_ways = pytest.mark.parametrize("way", [
    pytest.param("within a transaction", marks=pytest.mark.django_db),
    pytest.param("by itself", marks=outside_a_transaction)])


def staged() -> list[tuple[int, str]]:
    return [(line, group) for line, group in query(f'SELECT line, "group" FROM {STAGING} ORDER BY line')]


@in_both_ways
def test_rows_are_staged_in_any_number_of_steps_and_gone_afterwards(way: str) -> None:
    for _ in range(2):
        with staging_table(COLUMNS) as stage:
            stage(iter(ROWS[:2]))
            stage([])
            stage(ROWS[2:])
            assert staged() == [(1, "b"), (2, "a"), (3, "c")]
            with transaction.atomic():
                assert execute(f"DELETE FROM {STAGING} WHERE line > 1") == 2
    assert not list(settings.GOLDPAN_DATA.glob(".staged-*"))
    with pytest.raises(DatabaseError), transaction.atomic():
        staged()


def broken() -> Iterator[Sequence[Any]]:
    yield ROWS[0]
    raise ZeroDivisionError


@outside_a_transaction
def test_after_an_error_the_next_rows_can_be_staged() -> None:
    with pytest.raises(ZeroDivisionError), staging_table(COLUMNS) as stage:
        stage(broken())
    with staging_table(COLUMNS) as stage:
        stage(ROWS)
        assert len(staged()) == 3


@pytest.mark.django_db
def test_one_of_takes_any_number_of_values() -> None:
    are_among, those = one_of([f"it's {n}" for n in range(40_000)])
    assert query(f"SELECT 1 WHERE 'it''s 39999' {are_among}", [those]) == [(1,)]
    assert query(f"SELECT 1 WHERE 'its' {are_among}", [those]) == []
