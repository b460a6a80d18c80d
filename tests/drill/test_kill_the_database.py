"""kill -9 of PostgreSQL while users ask and give feedback: what was acknowledged is there, and the gateway goes on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation
from tests.drill.servers import Postgres, wait_until
from tests.drill.serving import Asking, Critic, Known, serve_letters, with_model

pytestmark = pytest.mark.drill
N_KILLS, N_ASKING, N_CRITICS = 3, 4, 2


@pytest.fixture(scope="module")
def goldpan(install: Install, postgres: Postgres) -> Iterator[KillableInstallation]:
    yield from with_model(install, DATABASE_URL=postgres.url)


@pytest.fixture(scope="module")
def letters(goldpan: KillableInstallation) -> dict[str, Any]:
    return serve_letters(goldpan, in_ab_test=True)


def test_a_killed_database_loses_no_exposure_and_no_feedback(goldpan: KillableInstallation, letters: dict[str, Any],
                                                             postgres: Postgres) -> None:
    asking = [Asking(goldpan, letters, number) for number in range(N_ASKING)]
    for one in asking:
        one.start()
    wait_until(lambda: any(one.answers for one in asking), "an answer", 180)
    exchange = next(one.answers[0][2] for one in asking if one.answers)
    critics = [Critic(goldpan, letters, exchange, number) for number in range(N_CRITICS)]
    for critic in critics:
        critic.start()

    def progress() -> tuple[int, int]:
        return sum(len(one.answers) for one in asking), sum(len(critic.acknowledged) for critic in critics)

    for _ in range(N_KILLS):
        answers, acknowledged = progress()
        enough = answers + goldpan.random.randint(5, 20), acknowledged + goldpan.random.randint(10, 30)
        wait_until(lambda enough=enough: progress() >= enough and progress()[1] >= enough[1],  # type: ignore[misc]
                   "answers and feedback", 180)
        postgres.kill()
        KILLS["PostgreSQL under traffic"] += 1
        postgres.start()
    answers, acknowledged = progress()
    wait_until(lambda: progress()[0] >= answers + 5 and progress()[1] >= acknowledged + 5, "the gateway", 180)
    threads: list[Asking | Critic] = [*asking, *critics]
    for thread in threads:
        thread.stopped.set()
        thread.join()

    test = Known(**goldpan.inside("ab_test_of", test=letters["test"]))
    exposed = dict(goldpan.rows("SELECT unit_sha256, arm FROM serving_exposure"))
    for one in asking:
        for user, _, _ in one.answers:
            assert test.unit(user) in exposed, f"{user} was answered and not counted"
    stored = [name for name, in goldpan.rows("SELECT idempotency_key FROM serving_feedback")]
    assert len(stored) == len(set(stored)), "nothing twice"
    assert {name for critic in critics for name in critic.acknowledged} <= set(stored)
    print(f"{progress()[0]} answers, {len(exposed)} exposures, {progress()[1]} feedback acknowledged, {N_KILLS} kills")
