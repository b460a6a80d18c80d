"""The gateway with the real small model: it answers as evaluated, under load without an error, and a kill -9 of it
loses no feedback that was acknowledged; the model's process comes back by itself.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import openai
import psutil
import pytest

from bench.gateway import ask_for
from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation
from tests.drill.servers import wait_until
from tests.drill.serving import Critic, bearer, gateway_of, serve_letters, with_model

pytestmark = pytest.mark.drill
SECONDS = float(os.environ.get("GOLDPAN_DRILL_SECONDS", "15"))
N_CLIENTS, N_KILLS = 20, 3


@pytest.fixture(scope="module")
def goldpan(install: Install) -> Iterator[KillableInstallation]:
    yield from with_model(install)


@pytest.fixture(scope="module")
def letters(goldpan: KillableInstallation) -> dict[str, Any]:
    return serve_letters(goldpan)


def test_what_serves_answers_as_it_was_evaluated(goldpan: KillableInstallation, letters: dict[str, Any]) -> None:
    said = goldpan.inside("replay", project=letters["project"])
    print(f"{said['n_equal']} of {said['n']} answered as evaluated")
    assert said["n"] == 20 and said["n_equal"] >= said["n"] - 1, "rounding may tip one that stands on the edge"


def test_openais_client_gets_the_same_whole_and_streamed(goldpan: KillableInstallation,
                                                         letters: dict[str, Any]) -> None:
    with openai.OpenAI(base_url=gateway_of(goldpan), api_key=letters["key"],
                       http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
        for text in letters["texts"][:3]:
            messages: Any = [{"role": "user", "content": text}]
            whole = client.chat.completions.create(model="champion", messages=messages)
            pieces = [choice.delta.content or "" for event in client.chat.completions.create(
                model="champion", messages=messages, stream=True) for choice in event.choices]
            assert "".join(pieces) == whole.choices[0].message.content != ""


def test_twenty_clients_get_no_error(goldpan: KillableInstallation, letters: dict[str, Any]) -> None:
    load = ask_for(SECONDS, url=gateway_of(goldpan), key=letters["key"],
                   texts=letters["texts"], n_clients=N_CLIENTS)
    assert not load.errors and len(load.seconds) > N_CLIENTS
    ordered = sorted(load.seconds)
    print(f"{len(ordered)} answers in {SECONDS:.0f} s, p95 {ordered[int(0.95 * len(ordered))]:.2f} s, "
          f"{load.refused} times told to wait")
    wait_until(lambda: goldpan.count("serving_exchange") >= len(load.names), "the log")
    assert len(set(load.names)) == len(load.names)


def _has(count: Callable[[], int], enough: int) -> bool:
    return count() >= enough


def test_a_killed_gateway_loses_no_acknowledged_feedback(goldpan: KillableInstallation,
                                                         letters: dict[str, Any]) -> None:
    answer = httpx.post(f"{gateway_of(goldpan)}/projects/{letters['project']}/predict", timeout=60, trust_env=False,
                        json={"text": letters["texts"][0]}, headers=bearer(letters))
    critics = [Critic(goldpan, letters, answer.json()["exchange"], number) for number in range(4)]
    for critic in critics:
        critic.start()

    def n_acknowledged() -> int:
        return sum(len(critic.acknowledged) for critic in critics)

    for _ in range(N_KILLS):
        enough = n_acknowledged() + goldpan.random.randint(20, 60)
        wait_until(partial(_has, n_acknowledged, enough), "feedback", 120)
        goldpan.kill("gateway")
        KILLS["gateway while feedback comes in"] += 1
        goldpan.start_gateway("gateway")
    for critic in critics:
        critic.stopped.set()
        critic.join()
    stored = [name for name, in goldpan.rows("SELECT idempotency_key FROM serving_feedback")]
    acknowledged = {name for critic in critics for name in critic.acknowledged}
    assert len(stored) == len(set(stored)), "nothing twice"
    assert acknowledged <= set(stored)
    assert len(stored) - len(acknowledged) <= len(critics), "what was stored and not yet acknowledged"
    print(f"{len(acknowledged)} acknowledged, {len(stored)} stored, {N_KILLS} kills")


def test_a_killed_model_comes_back_by_itself(goldpan: KillableInstallation, letters: dict[str, Any]) -> None:
    [model] = psutil.Process(goldpan.processes["model"].pid).children()
    model.kill()
    KILLS["the model's process"] += 1

    def answers() -> bool:
        answer = httpx.post(f"{gateway_of(goldpan)}/projects/{letters['project']}/predict", timeout=120,
                            json={"text": letters["texts"][0]}, trust_env=False, headers=bearer(letters))
        assert answer.status_code in (200, 503), answer.text
        assert answer.status_code == 200 or int(answer.headers["Retry-After"]) >= 1
        return answer.status_code == 200

    wait_until(answers, "the model", 120)
