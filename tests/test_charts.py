"""Charts in a real Chromium: drawn from what the page says, in both themes, without a word on the console."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import CHROMIUM, FLAGS
from tests.installation import Installation

pytestmark = pytest.mark.browser

PLACES = """() => [...document.querySelectorAll('main *:not(.chart-box *)')].filter(one => one.getClientRects().length)
  .map(one => Math.round(one.getBoundingClientRect().top + scrollY))"""

SEED = """
import hashlib, json
from datetime import timedelta
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from curation.models import Experiment, ExperimentArm, ExampleScore, LabelForecast, QualityReport
from jobs.models import Job
from labeling.models import Annotation, Annotator, Example
from projects.services import add_member, create_project

bob = User.objects.create_user("bob")
labels = ["negative", "neutral", "positive"]
project = create_project(name="Moods", labels=[{"name": name} for name in labels], instructions="Say the mood.",
                         target_metric="accuracy", target_value=0.8, created_by=bob, split_salt="charts")
mira = Annotator.objects.create(project=project, name="mira")
examples = Example.objects.bulk_create(Example(
    project=project, key=f"e{n:03}", text=f"This is text {n}.", data={}, group=str(n), split="pool",
    content_sha256=hashlib.sha256(str(n).encode()).hexdigest()) for n in range(120))
label_of = [labels[0 if n % 10 else 1 + n // 10 % 2] for n in range(120)]
Annotation.objects.bulk_create(Annotation(
    example=example, annotator=mira, value=label, seconds=9, source="file", instructions_version=1,
    created_at=timezone.now()) for example, label in zip(examples, label_of))


def job(kind):
    return Job.objects.create(project=project, kind=kind, title=kind, state="succeeded", requested_by=bob,
                              started_at=timezone.now(), finished_at=timezone.now())


for number, n_issues in enumerate((40, 18, 12)):
    report = QualityReport.objects.create(project=project, job=job("score"), encoder="none", n_examples=120,
        n_scored=120, n_issues=n_issues, n_clusters=0, n_crossing=0, duplicate_threshold=0.95, accuracy=0.8,
        majority_share=0.34)
    QualityReport.objects.filter(pk=report.pk).update(created_at=timezone.now() - timedelta(days=9 - 3 * number))
ExampleScore.objects.bulk_create(ExampleScore(
    report=report, example=example, label=label, n_labels=1, cluster=n, cluster_size=1, predicted_label=label,
    label_quality=0.1 if n < 12 else 0.9, is_label_issue=n < 12) for n, (example, label) in
    enumerate(zip(examples, label_of)))

experiment = Experiment.objects.create(project=project, kind="arms", report=report, job=job("experiment"), split="dev",
    n=300, config={"seeds": [0, 1, 2]}, verdict=["The gold set is better."], created_by=bob)
arms = [("all as labelled", None), ("all but the flagged", (.02, -.01, .05)), ("random few", (-.06, -.1, -.02)),
        ("random of the gold's kind", (-.01, -.04, .02)), ("gold", (.04, .01, .07))]
interval = lambda estimate, low, high: {"estimate": estimate, "low": low, "high": high, "n": 300}
ExperimentArm.objects.bulk_create(ExperimentArm(
    experiment=experiment, position=number, name=name, what="Some rows.", n_rows=100, accuracies=[.7],
    accuracy=interval(.7, .65, .75), difference=gap and interval(*gap), rows_sha256="0" * 64, right_sha256="0" * 64,
    seconds=1) for number, (name, gap) in enumerate(arms))

sizes = [40, 63, 101, 159, 252, 400]
error = lambda n: .1 + 2 / n ** .5
LabelForecast.objects.create(project=project, report=report, job=job("forecast"), target_metric="accuracy",
    target_value=.8, n_train=400, n_dev=200, sizes=sizes,
    errors=[[error(n) + .02 * k / (1 + n / 100) for k in (-2, -1, 0, 1, 2)] for n in sizes], words=["About 300 more."],
    found={"band": [[n, error(n), error(n) - .05, error(n) + .05] for n in range(40, 801, 20)], "widened_by": .05,
           "backtest": .01, "price": {"seconds": 9, "per_example": 1, "wage": None, "currency": "EUR"}})

session = SessionStore()
session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(bob.pk), "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = bob.get_session_auth_hash()
session.create()
from django.urls import reverse
pages = [reverse("curation:forecasts", args=[project.pk]), reverse("curation:experiment", args=[experiment.pk]),
         reverse("curation:quality", args=[project.pk]), reverse("curation:gold-set", args=[project.pk])]
print(json.dumps([session.session_key, pages]))
"""


@pytest.fixture(scope="module")
def goldpan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str, list[str]]]:
    installation = Installation(tmp_path_factory.mktemp("charts") / "goldpan")
    installation.start("web")
    cookie, paths = installation.shell(SEED)
    installation.wait_for_web()
    yield installation, cookie, paths
    installation.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize(("theme", "width"), [("light", 1240), ("dark", 1240), ("light", 360)])
def test_every_chart_is_drawn_in_its_place_without_a_word_on_the_console(
        goldpan: tuple[Installation, str, list[str]], browser: Browser, theme: Literal["light", "dark"], width: int,
        tmp_path: Path) -> None:
    installation, _, paths = goldpan
    page, wrong = open_page(goldpan, browser, theme, width)
    for path in paths:
        page.goto(installation.url + path, wait_until="networkidle")  # what the page fetches by itself is there
        box = page.locator("[data-chart]")
        before = page.evaluate(PLACES)
        drawn(page)
        assert page.evaluate(PLACES) == before, "what stands on the page has moved"
        assert (box.get_attribute("aria-label") or "") and page.locator("main table").count() >= 1
        kept, picture = box.bounding_box(), page.locator(".chart-box > div svg").bounding_box()
        assert kept is not None and picture is not None
        assert abs(picture["width"] - kept["width"]) <= 1 and picture["height"] == kept["height"]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator(".chart-box [tabindex], .chart-box a, .chart-box button").count() == 0, "a stop for Tab"
        page.screenshot(path=tmp_path / f"{path.strip('/').replace('/', '-')}.png", full_page=True)
    page.context.close()
    assert wrong == []


def test_a_chart_changes_its_colours_with_the_theme(goldpan: tuple[Installation, str, list[str]],
                                                    browser: Browser) -> None:
    page, wrong = open_page(goldpan, browser, "light", 1240)
    page.goto(goldpan[0].url + goldpan[2][0])
    drawn(page)
    line = page.locator(".chart-box .mark-line path").first
    colour = "element => getComputedStyle(element).stroke"
    assert line.evaluate(colour) == "rgb(183, 121, 31)"  # --gold-fill
    for _ in range(2):  # system, light, dark
        page.locator("[data-theme-toggle]").click()
    assert line.evaluate(colour) == "rgb(214, 158, 58)"
    page.context.close()
    assert wrong == []


def test_the_gold_set_draws_what_another_rule_picks(goldpan: tuple[Installation, str, list[str]],
                                                    browser: Browser) -> None:
    page, wrong = open_page(goldpan, browser, "light", 1240)
    page.goto(goldpan[0].url + goldpan[2][3])
    drawn(page)
    first = page.locator("[data-chart]").get_attribute("aria-label")
    page.get_by_label("Examples wanted").fill("30")
    expect(page.locator("[data-chart]")).not_to_have_attribute("aria-label", first or "")
    drawn(page)
    page.context.close()
    assert wrong == []


def test_a_bar_says_its_figures_under_the_mouse(goldpan: tuple[Installation, str, list[str]],
                                                browser: Browser) -> None:
    page, wrong = open_page(goldpan, browser, "light", 1240)
    page.goto(goldpan[0].url + goldpan[2][3])
    drawn(page)
    page.locator(".chart-box .mark-rect path").first.hover()
    expect(page.locator(".vg-tooltip")).to_contain_text("negative")
    page.context.close()
    assert wrong == []


def open_page(goldpan: tuple[Installation, str, list[str]], browser: Browser, theme: Literal["light", "dark"],
              width: int) -> tuple[Page, list[str]]:
    """A page of Bob's, and what it says on the console or asks of other hosts."""
    installation, cookie, _ = goldpan
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    context.add_cookies([{"name": "goldpan_sessionid", "value": cookie, "url": installation.url}])
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(installation.url) else wrong.append(sent.url))
    return page, wrong


def drawn(page: Page) -> None:
    page.locator("[data-chart]").scroll_into_view_if_needed()
    expect(page.locator(".chart-box > div svg")).to_be_visible()
