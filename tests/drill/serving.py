"""What the drills of serving share: a Goldpan with the real small model, users who ask it, critics of its answers."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from django.conf import settings

from serving.services.exposures import arm_for, unit_sha256
from tests.drill.conftest import Install
from tests.drill.installation import KillableInstallation, need_model


def with_model(install: Install, **environment: str) -> Iterator[KillableInstallation]:
    """An installation that serves the real small model, for a fixture to yield; the drill is skipped without it."""
    need_model()
    installation = install(GOLDPAN_BASE_MODEL=str(settings.GOLDPAN_BASE_MODEL), **environment)
    yield installation
    installation.stop()


def serve_letters(goldpan: KillableInstallation, *, in_ab_test: bool = False) -> dict[str, Any]:
    """A project that serves, with its key and texts to ask about, and the gateway started. test: of `in_ab_test`."""
    made: dict[str, Any] = goldpan.inside("serve_letters")
    if in_ab_test:
        made["test"] = goldpan.inside("start_ab_test", project=made["project"])
    goldpan.start_gateway()
    return made


def gateway_of(goldpan: KillableInstallation) -> str:
    return f"http://localhost:{goldpan.gateway_port}/v1"


def bearer(letters: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {letters['key']}"}


class Asking(threading.Thread):
    """Asks in the name of one new user after the other, each twice, until it is told to stop."""

    def __init__(self, goldpan: KillableInstallation, letters: dict[str, Any], number: int) -> None:
        super().__init__(daemon=True)
        self.url = f"{gateway_of(goldpan)}/projects/{letters['project']}/predict"
        self.headers, self.texts = bearer(letters), letters["texts"]
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


class Critic(threading.Thread):
    """Gives feedback on one answer again and again, each time under the same key until it is acknowledged."""

    def __init__(self, goldpan: KillableInstallation, letters: dict[str, Any], exchange: str, number: int) -> None:
        super().__init__(daemon=True)
        self.url, self.exchange, self.number = f"{gateway_of(goldpan)}/feedback", exchange, number
        self.headers = bearer(letters)
        self.acknowledged: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        n = 0
        with httpx.Client(trust_env=False, timeout=20) as client:
            while not self.stopped.is_set():
                name = f"{self.number}-{n}"
                try:
                    answer = client.post(self.url, headers={**self.headers, "Idempotency-Key": name},
                                         json={"exchange": self.exchange, "thumb": "up", "outcome": n})
                except httpx.HTTPError:  # the gateway is dead: nobody knows whether it was stored, so say it again
                    time.sleep(0.1)
                    continue
                if answer.status_code == 200:
                    self.acknowledged.append(name)
                    n += 1


@dataclass(frozen=True)
class Known:
    """An A/B test as `inside.ab_test_of` tells it: what the hashes of its users are made of."""

    pk: int
    salt: str
    shares: dict[str, float]
    champion: int
    challenger: int

    def unit(self, user: str) -> str:
        return unit_sha256(self, user)  # type: ignore[arg-type]

    def arm(self, user: str) -> str:
        return arm_for(self, user)  # type: ignore[arg-type]
