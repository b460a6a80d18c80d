"""An A/B test while the gateway is killed again and again: whoever got an answer was counted before it.

Real processes, the real small model, several users that ask at once, some of them the same.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import settings

from serving.services.exposures import arm_for, unit_sha256
from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation
from tests.drill.servers import wait_until

pytestmark = pytest.mark.drill
N_KILLS, N_ASKING = 5, 6


@pytest.fixture(scope="module")
def goldpan(install: Install) -> Iterator[KillableInstallation]:
    if not (settings.GOLDPAN_BASE_MODEL / "config.json").exists():
        pytest.skip("the small language model is not there: make setup")
    installation = install(GOLDPAN_BASE_MODEL=str(settings.GOLDPAN_BASE_MODEL))
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def letters(goldpan: KillableInstallation) -> dict[str, Any]:
    made: dict[str, Any] = goldpan.inside("serve_letters")
    made["test"] = goldpan.inside("start_ab_test", project=made["project"])
    goldpan.start_gateway()
    return made


class Asking(threading.Thread):
    """Asks in the name of one new user after the other, each twice, until it is told to stop."""

    def __init__(self, goldpan: KillableInstallation, letters: dict[str, Any], number: int) -> None:
        super().__init__(daemon=True)
        self.url = f"http://localhost:{goldpan.gateway_port}/v1/projects/{letters['project']}/predict"
        self.headers, self.texts = {"Authorization": f"Bearer {letters['key']}"}, letters["texts"]
        self.number, self.stopped = number, threading.Event()
        self.answers: list[tuple[str, int, str]] = []  # user, deployment, exchange

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            for n in range(1_000_000):
                user = f"user {self.number}-{n // 2} of all" if n % 3 else f"shared {n // 6}"
                try:
                    said = client.post(self.url, headers=self.headers,
                                       json={"text": self.texts[n % len(self.texts)], "user": user})
                except httpx.HTTPError:  # the gateway is dead: it may have counted the user or not
                    time.sleep(0.1)
                    continue
                if said.status_code == 200:
                    body = said.json()
                    self.answers.append((user, body["deployment"], body["exchange"]))
                if self.stopped.is_set():
                    return


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
    test = goldpan.inside("ab_test_of", test=letters["test"])
    experiment = Known(test["pk"], test["salt"], test["shares"])
    arm_of_unit, answered = dict(exposed), [answer for one in asking for answer in one.answers]
    deployments = {"champion": test["champion"], "challenger": test["challenger"]}
    for user, deployment, _ in answered:
        arm = arm_for(experiment, user)  # type: ignore[arg-type]
        assert arm_of_unit.get(unit_sha256(experiment, user)) == arm, f"{user} was answered and not counted"  # type: ignore[arg-type]
        assert deployment == deployments[arm], f"{user} got the other arm"
    print(f"{len(answered)} answers to {len({user for user, *_ in answered})} users, {len(exposed)} exposures, "
          f"{N_KILLS} kills")


class Known:
    """What the hash of an arm is made of."""

    def __init__(self, pk: int, salt: str, shares: dict[str, float]) -> None:
        self.pk, self.salt, self.shares = pk, salt, shares


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
        answer = httpx.post(f"http://localhost:{goldpan.gateway_port}/v1/feedback", timeout=60, trust_env=False,
                            headers={"Authorization": f"Bearer {letters['key']}"},
                            json={"exchange": exchange, "thumb": "up"})
        assert answer.status_code == 200, answer.text
    units = {user for user, *_ in asking.answers}
    found = goldpan.inside("judge_ab_test", test=letters["test"])
    assert sum(found["rated"]) == len(units) and found["outcome"] == "CONTINUE"
