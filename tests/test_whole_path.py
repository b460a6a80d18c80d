"""The product's story, told once on real parts: Label Studio, a worker process, the embedder and the small LLM.

Alice runs the place. Bob curates. Charlie labels. The texts are real tweets, the labels real people's ratings.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from goldpan.demo_data import SDIST, labels_of, read_tweets
from labeling.label_studio import LabelStudio
from labeling.task_types.classification import to_result
from tests.browser import label_at_the_desk, walk
from tests.installation import Installation
from tests.label_studio_fixture import Server

ROOT = Path(__file__).parent.parent
N_TWEETS = 250
QUICK = {"epochs": 1, "batch_size": 16, "checkpoint_steps": 4}

pytestmark = [pytest.mark.labelstudio, pytest.mark.models, pytest.mark.browser]


@pytest.fixture
def goldpan(tmp_path: Path, label_studio_server: Server) -> Iterator[Installation]:
    """A whole installation of its own: database, worker and tick as real processes, beside a real Label Studio."""
    installation = Installation(tmp_path / "goldpan", label_studio=label_studio_server)
    installation.start("worker", "tick")
    yield installation
    installation.stop()


def test_from_noisy_labels_to_an_honest_comparison(
        goldpan: Installation, label_studio_server: Server, tmp_path: Path) -> None:
    tweets = read_tweets(ROOT / "var" / "downloads" / SDIST)
    given = dict(zip(tweets.keys, labels_of(tweets.ratings), strict=True))

    # Alice opens a project and brings Bob and Charlie in.
    goldpan.add_users("alice", "bob", "charlie")
    goldpan.manage("create_project", "Moods", "--label", "negative", "--label", "neutral", "--label", "positive",
                   "--target", "0.8", "--instructions", "Say which sentiment the tweet expresses.", "--by", "alice")
    goldpan.manage("add_member", "Moods", "bob", "curator", "--by", "alice")
    goldpan.manage("add_member", "Moods", "charlie", "annotator", "--by", "alice")

    # Bob tries a file with a bad line: he is told which, and nothing is imported.
    # Every tenth tweet ends in a word that is wider than a phone.
    texts = [[key, text + f" s{'o' * 120}" * (position % 10 == 0)]
             for position, (key, text) in enumerate(zip(tweets.keys[:N_TWEETS], tweets.texts[:N_TWEETS], strict=True))]
    bad = write_csv(tmp_path / "bad.csv", ["id", "text"], [*texts, ["tweet-0001", "The key is there twice."]])
    refused = goldpan.refused("import_examples", "Moods", str(bad), "--by", "bob")
    assert f"line {N_TWEETS + 2}" in refused and "tweet-0001" in refused
    good = write_csv(tmp_path / "good.csv", ["id", "text"], texts)
    assert goldpan.manage("import_examples", "Moods", str(good), "--by", "bob", "--worker")["n_examples"] == N_TWEETS

    # Every pool tweet has one noisy label; the held-out ones have three blind ones each.
    split_of = goldpan.splits("Moods")
    labels = [[key, "first", given[key][0]] for key, split in split_of.items() if split == "pool"]
    labels += [[key, f"blind-{column}", given[key][column]]
               for key, split in split_of.items() if split != "pool" for column in (1, 2, 3)]
    file = write_csv(tmp_path / "labels.csv", ["id", "annotator", "label"], labels)
    imported = goldpan.manage("import_examples", "Moods", str(file), "--kind", "annotations", "--by", "bob", "--worker")
    assert imported["n_annotations"] == len(labels)

    # Scoring says which labels look wrong; Charlie is asked for those, and nobody shows him what was said before.
    scored = goldpan.manage("score", "Moods", "--worker")
    assert 0 < scored["n_issues"] < scored["n_scored"]
    flagged = goldpan.flagged("Moods")[:10]
    keys = [argument for key in flagged for argument in ("--key", key)]
    assert goldpan.manage("push_examples", "Moods", *keys, "--to", "charlie", "--worker")["n_pushed"] == len(flagged)

    # He opens Goldpan, goes to Label Studio with the same log-in, answers two, comes back and sees them counted.
    goldpan.start("web", "door")
    goldpan.wait_for_web()
    told = label_at_the_desk(goldpan.url, user="charlie", password=goldpan.password, choice="neutral", n=2,
                             picture=tmp_path / "desk.png")
    assert "2 answers, 2 in the last seven days" in told and f"{len(flagged) - 2} examples are on your desk" in told

    # The others he answers the same way, here without the clicks.
    charlie = goldpan.label_studio_account("Moods", "charlie")
    server = LabelStudio(label_studio_server.url, label_studio_server.token)
    for key, ls_task_id in goldpan.desk("Moods", "charlie").items():
        server.answer(ls_task_id, to_result(str(given[key][6])), charlie, 3.0)
    goldpan.manage("pull_annotations", "Moods", "--worker")
    compared = goldpan.manage("sync", "Moods", "--reconcile", "--worker")
    assert compared["are_equal"] and compared["n_here"] == len(flagged) and compared["n_new"] == 0

    # Bob settles them: where Charlie agrees the label stays, where not it goes, once he changes his mind.
    for key in flagged:
        verdict = "keep" if given[key][6] == given[key][0] else "exclude"
        goldpan.manage("decide", "Moods", "--key", key, "--verdict", verdict, "--by", "bob")
    goldpan.manage("decide", "Moods", "--undo", "--by", "bob")

    # He picks a gold set and freezes it. He made it, so he cannot approve it; Alice can.
    assert goldpan.manage("gold_set", "Moods", "--size", "60", "--min-per-label", "5", "--by", "bob")["n"] == 60
    snapshot = goldpan.manage("freeze", "Moods", "--by", "bob", "--worker")
    assert "admin" in goldpan.refused("approve", "Moods", "--by", "bob")
    assert "not approved" in goldpan.refused("baseline", "Moods")
    goldpan.manage("approve", "Moods", "--by", "alice", "--sha256", snapshot["sha256"])
    goldpan.manage("export_snapshot", "Moods", str(tmp_path / "rows.jsonl"))
    frozen = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["split"] for row in frozen} == {"train", "dev", "test"}
    assert all(split_of[row["key"]] == ("pool" if row["split"] == "train" else row["split"]) for row in frozen)

    # The prompt comes first; training before it is refused.
    assert "No prompt has been tried" in goldpan.refused("train", "Moods", "--by", "alice")
    # (Not by the nearest examples: no two texts share any then, and reading them all takes longer than all the rest.)
    judged = goldpan.manage("baseline", "Moods", "--by", "alice", "--worker", "--arms", "zero_shot", "defined",
                            "few_shot")
    assert judged["verdict"] in {"PROMPT_OK", "FINE_TUNE", "INCONCLUSIVE"}
    assert "admin" in goldpan.refused("train", "Moods", "--by", "bob")
    assert "no quote" in goldpan.refused("train", "Moods", "--by", "alice", "--override", "The story goes on.")
    quoted = goldpan.manage("quote", "Moods", "--by", "alice", "--worker", "--config", json.dumps(QUICK))
    assert quoted["seconds"] > 0 and quoted["peak_mb"] > 0 and len(quoted["words"]) == 2
    trained = goldpan.manage("train", "Moods", "--by", "alice", "--worker", "--config", json.dumps(QUICK),
                             "--override", "The story is told to its end whatever the verdict says.")
    assert trained["steps"] == 4
    evaluated = goldpan.manage("evaluate", "Moods", "--worker")
    n_test = sum(row["split"] == "test" for row in frozen)
    assert evaluated["n"] == n_test and 0 <= evaluated["n_right"] <= n_test
    assert evaluated["headline"]

    # Promotion follows the proof: allowed or refused in words, and with a written reason in any case.
    goldpan.manage("promote", "Moods", "--by", "alice", "--override", "The story ends well.")

    # Every page shows it, in both themes and on a phone, without a word from the content policy.
    pages = ["/projects/1/", "/snapshots/1/", "/snapshots/1/comparison/", "/adapters/1/", *(
        f"/projects/1/{page}/" for page in (
            "members", "import", "examples", "labeling", "labeling/rules", "labeling/next", "guideline", "adjudicate",
            "review", "quality", "gold-set", "snapshots", "runs", "jobs"))]
    assert walk(goldpan.url, user="alice", password=goldpan.password, paths=pages, pictures=tmp_path / "pages") == []

    # Everything still has its hash; a changed byte is found.
    assert goldpan.manage("verify") == {"problems": []}
    stored = goldpan.stored_file(snapshot["sha256"])
    stored.write_bytes(stored.read_bytes().replace(b"Moods", b"Noods"))
    assert snapshot["sha256"] in goldpan.refused("verify")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path
