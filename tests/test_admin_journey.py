"""An admin's day: approve, read the verdict and the quote, start, watch, compare, promote, and take it back.

Real pages in a real Chromium and a real server. One address is typed; from there on everything is found by the names
that a person sees. The worker is real, what it asks of a language model is faked. What the day has left, and some that
went wrong beside it, is then looked at on every page of the app, in both themes and on a phone's width.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests import browser
from tests.browser import CHROMIUM, FLAGS
from tests.installation import Installation
from training.urls import urlpatterns

pytestmark = pytest.mark.browser

SEED = """
from datetime import date
from django.contrib.auth.models import User
from curation.services.approvals import request_approval
from projects.services import add_member, create_project
from tests.training.story import frozen_snapshot
from training.services.economics import save_economics
from training.services.prices import add_price

alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
labels = ["negative", "neutral", "positive"]
project = create_project(name="Moods", labels=[{"name": name} for name in labels], instructions="Say the mood.",
                         target_metric="accuracy", target_value=0.8, created_by=alice, split_salt="journey")
add_member(project, bob, "curator", by=alice)
machine = add_price({"kind": "machine", "name": "The machine under the desk", "currency": "USD", "per_hour": 36.0,
                     "since": date(2026, 11, 1), "source": "bill"}, by=alice)
save_economics(project, {"machine": machine}, by=alice)
request_approval(frozen_snapshot(project, maker=bob), by=bob, note="Ready.")
"""

STATES = """
import json
from contextlib import ExitStack
from unittest import mock
from django.contrib.auth.models import User
from django.urls import reverse
from curation.models import Snapshot
from jobs import services as jobs
from jobs.models import Job
from labeling.models import Example
from projects.models import Project
from tests.training.conftest import encode_here
from tests.training.story import MODEL_DOORS, FakeModel, frozen_snapshot, new_experiment, start_quoted
from training.models import Adapter, PromptVersion, Run
from training.services.runs import start_training
from training.services.written_prompts import Words, change_prompt, start_try, write_prompt

alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
project, snapshot = Project.objects.get(), Snapshot.objects.get()
with ExitStack() as stack:
    model = FakeModel()
    for door in MODEL_DOORS:
        stack.enter_context(mock.patch(door, model))
    stack.enter_context(mock.patch("curation.services.embeddings.run_child", encode_here))
    stack.enter_context(mock.patch("training.language_model.model_identity", lambda folder: "tiny@sha256:" + 64 * "0"))

    def run(job):
        jobs.run(job.pk, heartbeat=False)

    model.takes = 4000.0
    stopped = start_quoted(snapshot, by=alice, config={"seed": 7}, cap_seconds=60)
    run(stopped.job)
    model._train = lambda spec, folder: {}
    failed = start_quoted(snapshot, by=alice, config={"seed": 8})
    run(failed.job)
    carried = start_training(snapshot, by=alice, executor="bundle")
    run(carried.job)
    prompt = write_prompt(project, name="irony", words=Words("Say the mood.", "{text}", "none"), note="", by=bob)
    changed = change_prompt(prompt, words=Words("Say the mood. Irony is negative.", "{text}", "none"), note="Irony.",
                            by=bob)
    run(start_try(changed, by=bob))
    waiting = frozen_snapshot(project, maker=bob)
    experiment = new_experiment(project, by=bob)
trained, other = Adapter.objects.order_by("pk")
names = {  # name of the url: what to open it with
    "run-list": [project], "comparison": [snapshot, waiting], "train": [snapshot, waiting], "economics": [project],
    "prices": [project], "prompt-list": [project], "prompt-new": [project], "prompt": [changed],
    "prompt-change": [changed], "prompt-differences": [changed], "flips": [trained.run],
    "run": [trained.run, stopped, failed, carried, Run.objects.get(kind="probe")],
    "experiment-arms": [experiment], "arms-start": [experiment], "result": [carried],
    "example-lineage": [Example.objects.first()], "adapter": [trained, other]}
paths = [[name, reverse(f"training:{name}", args=[one.pk])] for name, them in names.items() for one in them]
paths.append(["run-differences", f"{reverse('training:run-differences', args=[trained.run_id])}?with={other.run_id}"])
print(json.dumps(paths))
"""
NO_PAGES = {  # what changes something, a fragment, and files
    "suggest", "critical-slices", "baseline", "prompt-try", "price-withdraw", "quote", "train-elsewhere", "raise-cap",
    "keep-best", "bundle", "promote", "roll-back", "run-roll-back", "questions", "merge", "run-live", "merged",
    "adapter-card", "adapter-file", "pairwise-open"}
OF_WRITTEN_ANSWERS = {"pairwise", "pairwise-judge", "pairwise-ask"}  # this project's are labels


@pytest.fixture
def goldpan(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "goldpan", environment={
        "GOLDPAN_ENCODER": "tests.training.fake_worker.NumberEncoder", "GOLDPAN_EXECUTORS": "local,bundle"})
    installation.add_users("alice", "bob")
    installation.shell(SEED)
    installation.start("web")
    installation.start_command("worker", f"{sys.executable} -m tests.training.fake_worker")
    installation.wait_for_web()
    yield installation
    installation.stop()


def test_an_admin_gets_from_a_waiting_snapshot_to_a_champion_and_back_by_what_pages_say(
        goldpan: Installation, tmp_path: Path) -> None:
    wrong: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        try:
            page.goto(goldpan.url)
            walk(page, goldpan)
        finally:
            page.screenshot(path=tmp_path / "end.png", full_page=True)
            chromium.close()
    assert wrong == []
    found = goldpan.shell(
        "import json; from projects.models import AuditEvent; from training.models import *\n"
        "print(json.dumps([dict(Adapter.objects.values_list('pk', 'stage')), list(AuditEvent.objects.filter("
        "what__in=['train', 'promote', 'roll_back']).order_by('pk').values_list('what', 'who'))]))")
    assert found == [{"1": "champion", "2": "retired"}, [
        ["train", "alice"], ["promote", "alice"], ["train", "alice"], ["promote", "alice"], ["roll_back", "alice"]]]
    goldpan.kill("worker")
    pages = goldpan.shell(STATES)
    looked_at = {name for name, _ in pages}
    assert looked_at | NO_PAGES | OF_WRITTEN_ANSWERS == {pattern.name for pattern in urlpatterns}, "not looked at"
    assert browser.walk(goldpan.url, user="alice", password=goldpan.password, paths=[path for _, path in pages],
                        pictures=tmp_path / "pages") == []


def walk(page: Page, goldpan: Installation) -> None:
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(goldpan.password)
    press(page, "Log in")

    # Home says what waits; she reads it and approves
    reads(page, "Snapshot 1 waits for you", "30 rows to train on, 9 to choose by, 60 to judge on", "bob asked")
    follow(page, "Read snapshot 1")
    reads(page, "Snapshot 1: waits for approval.", "All", "Hash")
    press(page, "Approve")
    reads(page, "Snapshot 1: approved.", "alice approved exactly these bytes")
    follow(page, "Prompt and training")

    # The prompt comes first; its verdict in words
    press(page, "Try the prompt first")
    reads(page, "The prompt cannot reach the target.", "gets 50.0 % of 60 held-out examples right",
          "target of 80 % (at most 60.4 %)", "37.7 to 62.3")
    follow(page, "Train a LoRA adapter")

    # What it takes, before it is taken
    press(page, "Make a quote")
    reads(page, re.compile(r"It takes about .+ on this machine \(.+ to .+\) and 1\.2 GB of memory"),
          re.compile("and costs about .+ USD"),
          re.compile(r"it stops after .+, and what it has learned by then is kept"))
    press(page, "Start the training")

    # Under way: how far, how long still, the loss, the metric, the log
    reads(page, "LoRA: under way.", "Training, 6 of 12", re.compile(r"50 % · .+ left"),
          "training from 2.25 to 1.00, dev 1.50 over 6 steps", "77.8 %", "step 6 done")
    (goldpan.data / "go-on").touch()
    reads(page, "LoRA: 95.0 % right.", "57 of 60", "Receipt", "Quoted", "Came")

    # Beside the best prompt: the interval, every row that changed, the parts
    follow(page, "Read the comparison")
    reads(page, "Is fine-tuning worth it? Yes, by 45 points.", "+45.0 points", "beats the prompt", "Part by part")
    follow(page, "Read the 27 that changed")
    reads(page, "0 lost, 27 won.")
    follow(page, "Snapshot 1")
    press(page, "Promote this adapter")
    reads(page, "Adapter 1: the champion.")
    follow(page, "Home")
    reads(page, "Adapter 1 is the champion.")

    # Another round by a quicker recipe: too few rows to prove it no worse, promoted with a reason, and taken back
    follow(page, "Read the comparison")
    follow(page, "Train again")
    page.get_by_label(re.compile("Quick:")).check()
    press(page, "Make a new quote")
    reads(page, "recipe “Quick”")
    press(page, "Start the training")
    reads(page, "LoRA: 95.0 % right.")
    follow(page, "Read the comparison")
    follow(page, "Why it is not promoted")
    reads(page, "Adapter 2: not promoted.", "It may be worse than the champion by")
    page.get_by_label("Why promote it all the same?").fill("It is half as large.")
    press(page, "Promote all the same")
    reads(page, "Adapter 2: the champion.")
    follow(page, "Go back to Adapter 1")
    page.get_by_label("Why should it be the champion again?").fill("Its answers are read by an older parser.")
    press(page, "Roll back to Adapter 1")
    reads(page, "Adapter 1 is the champion again.")
    follow(page, "Home")
    reads(page, "Adapter 1 is the champion.")


def reads(page: Page, *signs: str | re.Pattern[str]) -> None:
    """Wait until the page says all of this; narrow spaces count as spaces."""
    for sign in signs:
        words = re.escape(sign).replace(r"\ ", r"\s") if isinstance(sign, str) else sign.pattern.replace(" ", r"\s")
        expect(page.locator("main")).to_contain_text(re.compile(words), timeout=60_000)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def follow(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()
