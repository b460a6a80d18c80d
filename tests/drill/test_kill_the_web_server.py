"""kill -9 of the web server while curators decide: what was answered with success is there afterwards."""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.drill.conftest import Install
from tests.drill.installation import KILLS, KillableInstallation

pytestmark = pytest.mark.drill

N_KILLS, N_CURATORS, N_TEXTS = 5, 4, 3000
VERDICTS = ("exclude", "keep")


@pytest.fixture(scope="module")
def goldpan(install: Install) -> Iterator[KillableInstallation]:
    installation = install()
    yield installation
    installation.stop()


class Curator(threading.Thread):
    """Decides on one example after the other, each once, and writes down what was acknowledged."""

    def __init__(self, url: str, cookies: dict[str, str], scores: list[tuple[int, int]]) -> None:
        super().__init__(daemon=True)
        self.url, self.cookies, self.scores = url, cookies, scores
        self.acknowledged: dict[int, str] = {}
        self.refused: list[int] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        with httpx.Client(cookies=self.cookies, timeout=20, trust_env=False,
                          headers={"X-CSRFToken": self.cookies["goldpan_csrftoken"]}) as browser:
            for score, example in self.scores:
                if self.stopped.is_set():
                    return
                verdict = VERDICTS[example % len(VERDICTS)]
                try:
                    answer = browser.post(self.url, data={"score": score, "seen": 0, "verdict": verdict})
                except httpx.HTTPError:  # the server is dead: nobody knows whether this one was saved
                    time.sleep(0.05)
                    continue
                if answer.status_code == 302:
                    self.acknowledged[example] = verdict
                else:
                    self.refused.append(answer.status_code)


def n_acknowledged(curators: list[Curator]) -> int:
    return sum(len(curator.acknowledged) for curator in curators)


def test_an_acknowledged_decision_is_never_lost(goldpan: KillableInstallation) -> None:
    project = goldpan.inside("add_project", name="Decisions")
    goldpan.inside("add_examples", project=project, n=N_TEXTS, salt="w")
    goldpan.inside("score", project=project)
    cookies = goldpan.inside("session_of", user="bob")
    scores = goldpan.rows("SELECT score.id, score.example_id FROM curation_examplescore score "
                          "WHERE label_quality IS NOT NULL ORDER BY score.id")
    goldpan.start_and_wait("web")
    url = f"http://localhost:{goldpan.port}/projects/{project}/review/decide/?view=all"
    curators = [Curator(url, cookies, scores[n::N_CURATORS]) for n in range(N_CURATORS)]
    for curator in curators:
        curator.start()
    for _ in range(N_KILLS):
        enough = n_acknowledged(curators) + goldpan.random.randint(20, 60)
        while n_acknowledged(curators) < enough:
            assert any(curator.is_alive() for curator in curators), "the curators ran out of examples"
            time.sleep(0.01)
        goldpan.kill("web")
        KILLS["web while curators decide"] += 1
        goldpan.start_and_wait("web")
    for curator in curators:
        curator.stopped.set()
        curator.join()

    acknowledged = {example: verdict for curator in curators for example, verdict in curator.acknowledged.items()}
    assert not any(curator.refused for curator in curators)
    saved = goldpan.rows("SELECT example_id, verdict FROM curation_decision")
    assert len(saved) == len(dict(saved)), "a decision was saved twice"
    assert acknowledged.items() <= dict(saved).items()
    assert len(saved) - len(acknowledged) <= N_KILLS * N_CURATORS  # those on their way when the server died
    assert goldpan.count("projects_auditevent WHERE what = 'decide'") == len(saved)
    print(f"{len(acknowledged)} decisions acknowledged, {len(saved)} saved, {N_KILLS} kills")
    goldpan.assert_all_is_well()
