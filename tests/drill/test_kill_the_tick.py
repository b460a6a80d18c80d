"""kill -9 of the tick while it sends: between sending and writing down, and at any other moment."""

import time
from collections import Counter
from functools import partial

import pytest
from standardwebhooks import Webhook

from tests.drill.conftest import Install
from tests.drill.installation import KILLS
from tests.drill.servers import wait_until
from tests.receiver import Receiver, receiver

pytestmark = pytest.mark.drill

N_KILLS = 10
N_NOTICES = 60
LEASE_SECONDS = 60


def _has_more_than(there: Receiver, n: int) -> bool:
    return len(there.came) > n


def test_every_notice_arrives_under_one_id_however_often_the_tick_is_killed(install: Install) -> None:
    with receiver() as there:
        goldpan = install(GOLDPAN_ALLOWED_ORIGINS=there.origin)
        project = goldpan.inside("add_project", name="Told")
        secret = goldpan.inside("add_webhook", project=project, url=f"{there.origin}/slow")
        there.release_after = 0.3
        goldpan.inside("tell", project=project, n=N_NOTICES)
        for _ in range(N_KILLS):
            before = len(there.came)
            goldpan.start("tick")
            wait_until(partial(_has_more_than, there, before), "a request")
            time.sleep(goldpan.random.uniform(0, 0.6))
            goldpan.kill("tick")
            KILLS["the tick while it sends"] += 1
        waiting = goldpan.count("projects_webhookdelivery WHERE state = 'waiting'")
        under_way = goldpan.count("projects_webhookdelivery WHERE state = 'waiting' AND n_tries > 0")
        assert waiting and under_way, "it was killed too late to show anything"
        goldpan.start("tick")
        wait_until(lambda: not goldpan.count("projects_webhookdelivery WHERE state = 'waiting'"), "the rest",
                   3 * LEASE_SECONDS)
        ids: Counter[str] = Counter()
        runs: dict[str, int] = {}
        for _, headers, body in there.came:
            said = Webhook(secret).verify(body, headers)
            ids[headers["webhook-id"]] += 1
            run = said["data"]["run"]
            assert runs.setdefault(headers["webhook-id"], run) == run
        assert sorted(runs.values()) == list(range(N_NOTICES)), "each notice, and each under one id"
        assert max(ids.values()) > 1, "some came twice: at least once, and said so"
        assert goldpan.count("projects_webhookdelivery WHERE state = 'delivered'") == N_NOTICES
        goldpan.assert_all_is_well()
