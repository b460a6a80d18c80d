"""An A/B test while the gateway is killed again and again: whoever got an answer was counted before it.

Real processes, the real small model, several users that ask at once, some of them the same.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation
from tests.drill.servers import wait_until
from tests.drill.serving import Asking, Known, bearer, gateway_of, serve_letters, with_model

pytestmark = pytest.mark.drill
N_KILLS, N_ASKING = 5, 6


@pytest.fixture(scope="module")
def goldpan(install: Install) -> Iterator[KillableInstallation]:
    yield from with_model(install)


@pytest.fixture(scope="module")
def letters(goldpan: KillableInstallation) -> dict[str, Any]:
    return serve_letters(goldpan, in_ab_test=True)


def test_a_killed_gateway_loses_no_exposure(goldpan: KillableInstallation, letters: dict[str, Any]) -> None:
    asking = [Asking(goldpan, letters, number) for number in range(N_ASKING)]
    for one in asking:
        one.start()

    def n_answers() -> int:
        return sum(len(one.answers) for one in asking)

    for _ in range(N_KILLS):
        enough = n_answers() + goldpan.random.randint(15, 40)
        wait_until(lambda enough=enough: n_answers() >= enough, "answers", 180)  # type: ignore[misc]
        goldpan.kill("gateway")
        KILLS["gateway in an A/B test"] += 1
        goldpan.start_gateway("gateway")
    for one in asking:
        one.stopped.set()
        one.join()
    exposed = goldpan.rows("SELECT unit_sha256, arm FROM serving_exposure")
    assert len({unit for unit, _ in exposed}) == len(exposed), "each unit once"
    test = Known(**goldpan.inside("ab_test_of", test=letters["test"]))
    arm_of_unit, answered = dict(exposed), [answer for one in asking for answer in one.answers]
    deployments = {"champion": test.champion, "challenger": test.challenger}
    for user, deployment, _ in answered:
        arm = test.arm(user)
        assert arm_of_unit.get(test.unit(user)) == arm, f"{user} was answered and not counted"
        assert deployment == deployments[arm], f"{user} got the other arm"
    print(f"{len(answered)} answers to {len({user for user, *_ in answered})} users, {len(exposed)} exposures, "
          f"{N_KILLS} kills")


def test_feedback_on_answers_of_before_and_after_a_kill_counts_in_its_arm(goldpan: KillableInstallation,
                                                                          letters: dict[str, Any]) -> None:
    asking = Asking(goldpan, letters, 99)
    asking.start()
    wait_until(lambda: len(asking.answers) >= 12, "answers", 120)
    asking.stopped.set()
    asking.join()
    goldpan.kill("gateway")
    KILLS["gateway before feedback"] += 1
    goldpan.start_gateway("gateway")
    for _, _, exchange in asking.answers:
        answer = httpx.post(f"{gateway_of(goldpan)}/feedback", timeout=60, trust_env=False, headers=bearer(letters),
                            json={"exchange": exchange, "thumb": "up"})
        assert answer.status_code == 200, answer.text
    units = {user for user, *_ in asking.answers}
    found = goldpan.inside("judge_ab_test", test=letters["test"])
    assert sum(found["rated"]) == len(units) and found["outcome"] == "CONTINUE"
