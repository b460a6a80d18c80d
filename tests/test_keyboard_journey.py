"""A curator's afternoon without a mouse: from “64 labels look wrong” to a snapshot that waits for approval.

Real pages in a real Chromium, a real server and a real worker. What a model says was written into the report before,
and keys are all that is pressed: letters, Tab and Enter.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.browser import CHROMIUM, FLAGS
from tests.installation import Installation

pytestmark = pytest.mark.browser

N_FLAGGED, N_ONE_BY_ONE = 64, 12

SEED = """
import hashlib, json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from curation.models import ExampleScore, QualityReport
from jobs.models import Job
from labeling.models import Annotation, Annotator, Example
from projects.services import add_member, create_project

alice, bob = User.objects.create_user("alice"), User.objects.create_user("bob")
labels = ["negative", "neutral", "positive"]
project = create_project(name="Moods", labels=[{"name": name} for name in labels], instructions="Say the mood.",
                         target_metric="accuracy", target_value=0.8, created_by=alice, split_salt="journey")
add_member(project, bob, "curator", by=alice)
people = [Annotator.objects.create(project=project, name=name) for name in ("mira", "jon", "kim")]
splits = ["pool"] * 300 + ["dev"] * 12 + ["test"] * 24
examples = Example.objects.bulk_create(Example(
    project=project, key=f"e{n:03}", text=f"This is text {n}.", data={}, group=str(n), split=split,
    content_sha256=hashlib.sha256(str(n).encode()).hexdigest()) for n, split in enumerate(splits))
Annotation.objects.bulk_create(Annotation(
    example=example, annotator=person, value=labels[n % 3], seconds=9, source="file", instructions_version=1,
    created_at=timezone.now()) for n, example in enumerate(examples)
    for person in people[:1 if example.split == "pool" else 3])
job = Job.objects.create(project=project, kind="score", title="Scored", state="succeeded", requested_by=bob,
                         started_at=timezone.now(), finished_at=timezone.now())
report = QualityReport.objects.create(project=project, job=job, encoder="none", n_examples=len(examples), n_scored=300,
                                      n_issues=FLAGGED, n_clusters=0, n_crossing=0, duplicate_threshold=0.95,
                                      accuracy=0.8, majority_share=0.34)
ExampleScore.objects.bulk_create(ExampleScore(
    report=report, example=example, label=labels[n % 3] if n < 300 else "", n_labels=1, cluster=n, cluster_size=1,
    label_quality=None if n >= 300 else 0.1 if n < FLAGGED else 0.9, is_label_issue=n < FLAGGED,
    predicted_label="" if n >= 300 else labels[(n + 1) % 3] if n < FLAGGED else labels[n % 3],
    expected_gain=0 if n >= 300 else 1 - n / 300) for n, example in enumerate(examples))
session = SessionStore()
session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(bob.pk), "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = bob.get_session_auth_hash()
session.create()
print(json.dumps(session.session_key))
"""


@pytest.fixture
def goldpan(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "goldpan")
    installation.start("web", "worker", "tick")
    yield installation
    installation.stop()


def test_a_curator_gets_from_doubtful_labels_to_a_request_for_approval_by_keys_alone(
        goldpan: Installation, tmp_path: Path) -> None:
    cookie = goldpan.shell(f"FLAGGED = {N_FLAGGED}\n{SEED}")
    goldpan.wait_for_web()
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1240, "height": 900})
        context.add_cookies([{"name": "goldpan_sessionid", "value": str(cookie), "url": goldpan.url}])
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        walk(page, goldpan.url)
        page.screenshot(path=tmp_path / "end.png", full_page=True)
        browser.close()
    assert wrong == []
    found = goldpan.shell(
        "import json; from collections import Counter; from curation.models import *\n"
        "print(json.dumps([Counter(Decision.objects.current().values_list('verdict', flat=True)), "
        "BulkDecision.objects.get().n_decided, Message.objects.get().text, "
        "Snapshot.objects.get().created_by.username, Approval.objects.count()]))")
    assert found == [{"relabel": 59, "keep": 4, "exclude": 1}, N_FLAGGED - N_ONE_BY_ONE, "Sarcasm?", "bob", 0]


def walk(page: Page, url: str) -> None:
    fetched: list[str] = []
    page.on("requestfinished", lambda sent: fetched.append(sent.url))
    page.goto(url)
    arrived(page, page.get_by_text(f"{N_FLAGGED} of 300 labels look wrong."))
    page.keyboard.press("r")

    # One by one: keep, accept, another label by its digit, exclude, a mistake taken back, a question
    settled = 0
    for key in ("w", "w", "q", "1", "w", "e", "w", "w", "q"):
        reviewed(page, settled)
        page.keyboard.press(key)
        settled += 1
    reviewed(page, settled)
    page.keyboard.press("z")
    reviewed(page, settled - 1)
    page.keyboard.press("q")
    reviewed(page, settled)
    page.keyboard.press("n")
    expect(page.get_by_label("What is to be discussed?")).to_be_focused()
    page.keyboard.type("Sarcasm?")
    press_on(page, "Set aside for discussion")
    reviewed(page, settled + 1)

    # Look on without deciding, at what was fetched while this one was read, and back
    here, following = page.url, page.locator("[data-prefetch]").get_attribute("hx-get") or ""
    while not any(address.endswith(following) for address in fetched):
        page.wait_for_timeout(50)
    n_fetched = len(fetched)
    page.keyboard.press("j")
    page.wait_for_url(lambda address: address.endswith(following))
    assert not any(address.endswith(following) for address in fetched[n_fetched:])
    page.keyboard.press("k")
    page.wait_for_url(here)
    page.keyboard.press("w")
    reviewed(page, settled + 2)
    page.keyboard.press("w")
    reviewed(page, N_ONE_BY_ONE)

    # The question is settled from the list of discussions
    press_on(page, "Discussions")
    arrived(page, page.get_by_role("heading", name="Discussions"))
    page.keyboard.press("d")
    arrived(page, page.get_by_text("Sarcasm?").first)
    page.keyboard.press("q")
    arrived(page, page.get_by_text("Nothing waits for a discussion."))
    press_on(page, "looks wrong")

    # The rest at once
    reviewed(page, N_ONE_BY_ONE)
    page.keyboard.press("b")
    rest = N_FLAGGED - N_ONE_BY_ONE
    arrived(page, page.get_by_role("heading", name=f"{rest} examples at once"))
    page.keyboard.press("w")
    expect(page.get_by_label(re.compile("Accept the suggestion"))).to_be_checked()
    page.keyboard.press("d")
    arrived(page, page.get_by_text(f"{rest} examples relabelled as suggested."))
    page.keyboard.press("u")

    # The gold set, frozen; an admin has to approve it
    arrived(page, page.get_by_text("Everything that looked wrong is settled."))
    page.keyboard.press("g")
    arrived(page, page.get_by_role("heading", name="Gold set"))
    page.keyboard.press("f")
    page.wait_for_url(re.compile("/snapshots/"))
    expect(page.get_by_role("link", name="Snapshot 1")).to_be_visible(timeout=60_000)
    press_on(page, "Snapshot 1")
    arrived(page, page.get_by_text("waits for approval").first)


def arrived(page: Page, sign: Locator) -> None:
    """Wait until the page shows this, and takes keys."""
    expect(sign).to_be_visible(timeout=20_000)
    page.wait_for_load_state()
    expect(page.locator(".htmx-request")).to_have_count(0, timeout=20_000)


def reviewed(page: Page, n: int) -> None:
    arrived(page, page.get_by_text(f"{n} of {N_FLAGGED} reviewed"))


def press_on(page: Page, name: str) -> None:
    """Tab to the button or link of this name, and press Enter."""
    for _ in range(120):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.textContent").strip()
        if focused == name:
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"“{name}” cannot be reached with Tab")
