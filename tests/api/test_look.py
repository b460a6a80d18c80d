"""The API's pages in a real browser: nothing is asked of another host, the content policy has nothing to say."""

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM, FLAGS, _listen, _log_in, walk
from tests.test_rights import World, world  # noqa: F401

pytestmark = pytest.mark.browser
PASSWORD = "a password of their own"
# What Swagger UI does to pictures of its own; the policy refuses it, and nothing is missing on the page
REFUSED_STYLE = "Refused to apply inline style"


@pytest.fixture(autouse=True)
def _may_ask(monkeypatch):
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright runs a loop in this thread


def test_pages_that_tell_programs_how_are_sound_in_both_themes_and_on_a_phone(served, world: World, tmp_path):  # noqa: F811
    of = world.objects
    paths = [f"/projects/{of['project']}/keys/", f"/keys/{of['key']}/revoke/", f"/projects/{of['project']}/gold-set/",
             f"/snapshots/{of['snapshot']}/train/", f"/projects/{of['project']}/import/"]
    assert walk(served, user="alice", password=PASSWORD, paths=paths, pictures=tmp_path) == []


def test_the_description_is_drawn_from_the_packages_own_files(served, world: World, tmp_path):  # noqa: F811
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1240, "height": 900})
        page.set_default_timeout(300_000)  # a busy machine is no mistake
        _log_in(page, served, "alice", PASSWORD)
        _listen(page, served, problems)
        page.goto(f"{served}/snapshots/{world.objects['snapshot']}/train/")
        page.set_viewport_size({"width": 360, "height": 900})
        page.locator(".program summary").first.click()
        page.screenshot(path=tmp_path / "fold.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.set_viewport_size({"width": 1240, "height": 900})
        page.goto(f"{served}/api/docs", wait_until="networkidle")
        page.wait_for_selector(".opblock")
        page.screenshot(path=tmp_path / "docs.png", full_page=True)
        page.locator(".opblock-summary", has_text="/api/v1/projects/{id}/jobs").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("input[placeholder=id]").fill(str(world.objects["project"]))
        with page.expect_response(lambda answer: "/jobs" in answer.url) as answered:
            page.get_by_role("button", name="Execute").click()
        assert answered.value.status == 200
        page.screenshot(path=tmp_path / "tried.png", full_page=True)
        browser.close()
    assert [one for one in problems if REFUSED_STYLE not in one] == []
