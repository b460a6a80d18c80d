"""A real headless Chromium for tests of pages: Debian's, driven by Playwright."""

import re
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


def walk(base: str, *, user: str, password: str, paths: Iterable[str], pictures: Path) -> list[str]:
    """Log in, open every path in both themes and on a phone's width; return what was wrong, page by page.

    Wrong is: another status than 200, a word on the console (the content policy speaks there), a request to
    another host, or a page wider than the screen. A picture of each page is left in `pictures`.
    """
    problems: list[str] = []
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for theme, width in (("light", 1240), ("dark", 1240), ("light", 360)):
            context = browser.new_context(viewport={"width": width, "height": 900},
                                          color_scheme="dark" if theme == "dark" else "light")
            page = context.new_page()
            _listen(page, base, problems)
            _log_in(page, base, user, password)
            for path in paths:
                problems += _look(page, base, path, width, pictures / f"{_name(path)}-{theme}-{width}.png")
            context.close()
        browser.close()
    return problems


def label_at_the_desk(base: str, *, user: str, password: str, choice: str, n: int, picture: Path) -> str:
    """What a person does: log in to Goldpan, press Label, answer n examples in Label Studio, come back.

    Every example gets the same choice. Returns the words of their home once it counts the answers; a picture of Label
    Studio's page is left.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1240, "height": 900})
        _log_in(page, base, user, password)
        home = page.url
        page.get_by_role("link", name="Label", exact=False).and_(page.locator(".btn-gold")).click()
        for _ in range(n):
            page.get_by_text(re.compile(rf"^{re.escape(choice)}(\[\d\])?$")).first.click()  # its key stands behind it
            page.screenshot(path=picture)
            with page.expect_response(lambda got: "/annotations" in got.url and got.request.method == "POST"):
                page.get_by_test_id("bottombar-submit-button").click()
            page.wait_for_load_state("networkidle")
        page.goto(home)
        for _ in range(60):
            if f"{n} answers, {n} in the last seven days" in page.inner_text("main"):
                break
            page.wait_for_timeout(1000)
            page.reload()
        words = page.inner_text("main")
        browser.close()
    return words


def _listen(page: Page, base: str, problems: list[str]) -> None:
    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"{page.url}: {message.text}")

    def request(sent: Request) -> None:
        if not sent.url.startswith((base, "data:")):
            problems.append(f"{page.url} asks {sent.url}")

    page.on("console", console)
    page.on("request", request)


def _log_in(page: Page, base: str, user: str, password: str) -> None:
    page.goto(f"{base}/accounts/login/")
    page.fill("input[name=login]", user)
    page.fill("input[name=password]", password)
    with page.expect_navigation(url=lambda url: "login" not in url):
        page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")


def _look(page: Page, base: str, path: str, width: int, picture: Path) -> list[str]:
    response = page.goto(base + path, wait_until="networkidle")
    _draw_charts(page)
    page.screenshot(path=picture, full_page=True)
    status = response.status if response else 0
    found = [] if status == 200 else [f"{path}: status {status}"]
    wide = page.evaluate("document.documentElement.scrollWidth")
    return found + ([f"{path}: {wide} px wide on a screen of {width} px"] if wide > width else [])


def _draw_charts(page: Page) -> None:
    """Charts are drawn when they come near the screen, and a picture of the whole page does not scroll."""
    for chart in page.locator("[data-chart]:visible").all():
        chart.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
    page.evaluate("window.scrollTo(0, 0)")


def _name(path: str) -> str:
    return path.strip("/").replace("/", "-") or "home"
