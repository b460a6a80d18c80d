"""A pytest plugin that keeps the tests that touch the database: what a change of database cannot break need not run."""

from typing import Any

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup"}


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    kept = [item for item in items
            if DATABASE_FIXTURES & set(item.fixturenames) or item.get_closest_marker("django_db")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
