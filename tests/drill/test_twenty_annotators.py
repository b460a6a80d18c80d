"""Twenty people label at the same time over a real Label Studio: every example has exactly the overlap asked for."""

import pytest

from tests.drill.conftest import Install

pytestmark = [pytest.mark.drill, pytest.mark.labelstudio]

N_PEOPLE, N_TEXTS, N_LABELS, ON_A_DESK = 20, 200, 3, 6
PEOPLE = [f"person-{number:02}" for number in range(N_PEOPLE)]


def test_twenty_people_at_once_give_every_example_exactly_three_labels(install: Install) -> None:
    goldpan = install(GOLDPAN_POLL_SECONDS="2")  # the tick makes rounds while they work
    goldpan.start_and_wait("labelstudio", "web", "tick", "worker")
    project = goldpan.inside("add_project", name="Crowd")
    goldpan.inside("add_examples", project=project, n=N_TEXTS, salt="c", labelled=False)
    goldpan.inside("hire", project=project, names=PEOPLE)
    first = goldpan.wait_for(goldpan.inside("ask", project=project, n_labels=N_LABELS, max_labels=N_LABELS,
                                            open_limit=ON_A_DESK))
    assert first.state == "succeeded" and first.result["n_handed_out"] == N_PEOPLE * ON_A_DESK
    answers = goldpan.inside("work_at_desks", project=project, names=PEOPLE, seconds=400)
    assert goldpan.wait_for(goldpan.inside("queue_sync", project=project)).state == "succeeded"
    compared = goldpan.wait_for(goldpan.inside("queue_comparison", project=project)).result

    n_pool = goldpan.count("labeling_example WHERE split = 'pool'")
    per_example = [n for n, in goldpan.rows("SELECT count(*) FROM labeling_annotation GROUP BY example_id")]
    assert per_example == [N_LABELS] * n_pool
    assert sum(answers.values()) == N_LABELS * n_pool, "nobody worked for nothing"
    assert len(goldpan.rows("SELECT DISTINCT example_id, annotator_id FROM labeling_annotation")) == N_LABELS * n_pool
    assert compared["are_equal"] and compared["n_here"] == N_LABELS * n_pool
    assert sum(n > 0 for n in answers.values()) == N_PEOPLE, "everybody had something to do"
    print(f"\n{N_PEOPLE} people, {n_pool} examples, {sum(answers.values())} answers: {N_LABELS} each, no more, no less")
    assert goldpan.manage("verify") == {"problems": []}
    goldpan.stop()
