from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drill.installation import KILLS, SEED, VERDICTS, KillableInstallation, stop_marked
from tests.drill.servers import Postgres

Install = Callable[..., KillableInstallation]


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    """Make installations; whatever of them still runs when the module's drills are over is killed."""
    made: list[Path] = []

    def make(**environment: str) -> KillableInstallation:
        made.append(tmp_path_factory.mktemp("goldpan") / "data")
        return KillableInstallation(made[-1], environment=environment)

    yield make
    for data in made:
        stop_marked(data)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if KILLS:
        terminalreporter.section("kills")
        for what, n in sorted(KILLS.items()):
            terminalreporter.write_line(f"{n:3}  {what}")
        terminalreporter.write_line(f"{KILLS.total():3}  in all, seed {SEED}")
    if VERDICTS:
        terminalreporter.section("verdicts on small real runs")
        for verdict in VERDICTS:
            terminalreporter.write_line(verdict)
