"""kill -9 of PostgreSQL while users ask and give feedback: what was acknowledged is there, and the gateway goes on."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from serving.services.exposures import unit_sha256
from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation
from tests.drill.servers import Postgres, wait_until
from tests.drill.test_ab_test import Asking, Known
from tests.drill.test_gateway import Critic

pytestmark = pytest.mark.drill
N_KILLS, N_ASKING, N_CRITICS = 3, 4, 2


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def goldpan(install: Install, postgres: Postgres) -> Iterator[KillableInstallation]:
    if not (settings.GOLDPAN_BASE_MODEL / "config.json").exists():
        pytest.skip("the small language model is not there: make setup")
    installation = install(GOLDPAN_BASE_MODEL=str(settings.GOLDPAN_BASE_MODEL), DATABASE_URL=postgres.url)
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def letters(goldpan: KillableInstallation) -> dict[str, Any]:
    made: dict[str, Any] = goldpan.inside("serve_letters")
    made["test"] = goldpan.inside("start_ab_test", project=made["project"])
    goldpan.start_gateway()
    return made


def test_a_killed_database_loses_no_exposure_and_no_feedback(goldpan: KillableInstallation, letters: dict[str, Any],
                                                             postgres: Postgres) -> None:
    asking = [Asking(goldpan, letters, number) for number in range(N_ASKING)]
    for one in asking:
        one.start()
    wait_until(lambda: any(one.answers for one in asking), "an answer", 180)
    exchange = next(one.answers[0][2] for one in asking if one.answers)
    url = f"http://localhost:{goldpan.gateway_port}/v1"
    critics = [Critic(url, letters["key"], exchange, number) for number in range(N_CRITICS)]
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

    test = goldpan.inside("ab_test_of", test=letters["test"])
    known = Known(test["pk"], test["salt"], test["shares"])
    exposed = dict(goldpan.rows("SELECT unit_sha256, arm FROM serving_exposure"))
    for one in asking:
        for user, _, _ in one.answers:
            assert unit_sha256(known, user) in exposed, f"{user} was answered and not counted"  # type: ignore[arg-type]
    stored = [name for name, in goldpan.rows("SELECT idempotency_key FROM serving_feedback")]
    assert len(stored) == len(set(stored)), "nothing twice"
    assert {name for critic in critics for name in critic.acknowledged} <= set(stored)
    print(f"{progress()[0]} answers, {len(exposed)} exposures, {progress()[1]} feedback acknowledged, {N_KILLS} kills")
