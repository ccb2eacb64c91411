"""The pages in a real Chromium: clicks, keyboard, a narrow screen, contrast, and a page without scripts."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser import REMEDY, find_chromium
from tests.contrast import POOR_CONTRAST
from tests.serving.shop import item

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=REMEDY)

NARROW, WIDE = {"width": 360, "height": 780}, {"width": 1280, "height": 900}
PAGES = ("/", "/product/i05", "/category/bags", "/search?q=red+shoes", "/product/nothing")
# The bags that can be bought, and what sells best when they are gone.
BAGS = [item(row) for row in (12, 16, 20, 24, 28, 32)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """The app on a free port of the loopback."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until, "the server did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Open]:
    """Open a page in a context of its own; whatever the page complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str, status: int = 200, **options: Any) -> Page:
        contexts.append(browser.new_context(base_url=address, **{"viewport": WIDE} | options))
        page = contexts[-1].new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == status
        if status != 200:
            complaints.clear()  # the browser itself says that the page has this status
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def row_of(page: Page) -> list[str]:
    return page.eval_on_selector_all("#for-you .piece", "pieces => pieces.map((piece) => piece.dataset.item)")


def test_three_clicks_on_products_of_one_style_shift_the_row_to_it(visit: Open) -> None:
    page = visit("/")
    assert row_of(page) == [item(row) for row in range(8)]
    for bag in ("i00", "i04", "i08"):
        page.goto("/")
        page.click(f'#for-you [data-item="{bag}"] > a')
        page.wait_for_url(f"**/product/{bag}")
    page.click(".name")
    page.wait_for_url("**/")
    assert row_of(page)[:6] == BAGS
    assert page.locator(".steps > li").count() == 3
    assert "7 of 8 pieces changed" in page.locator(".steps > li").last.inner_text()
    # Every picture that is on the screen was loaded.
    assert page.eval_on_selector_all("#for-you img", "all => all.every((img) => img.complete && img.naturalWidth)")


@pytest.mark.parametrize("scripts", [True, False])
def test_the_row_moves_in_place_and_without_scripts_by_a_whole_page(visit: Open, scripts: bool) -> None:
    page = visit("/", java_script_enabled=scripts)
    if scripts:
        page.evaluate("window.isTheSamePage = true")
    for bag in ("i00", "i04", "i08"):
        with page.expect_response("**/look") as told:
            page.click(f'#for-you [data-item="{bag}"] button')
        assert told.value.status == 303
        page.wait_for_selector(f'.steps > li:first-child a[href="/product/{bag}"]')
    ids = [piece.get_attribute("data-item") for piece in page.locator("#for-you .piece").all()]
    assert ids[:6] == BAGS
    if scripts:
        assert page.evaluate("window.isTheSamePage")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit: Open) -> None:
    page = visit("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    focused = page.evaluate("""() => { const tag = document.activeElement, style = getComputedStyle(tag);
      return [tag.getAttribute('href'), style.outlineStyle, parseFloat(style.outlineWidth)]; }""")
    assert focused == ["/product/i00", "solid", 2]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # "I like this"
    page.wait_for_selector(".steps > li")
    assert row_of(page)[:3] == ["i04", "i08", "i12"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_fit_a_narrow_screen_and_can_be_read(visit: Open, path: str, scheme: str) -> None:
    page = visit(path, 404 if path.endswith("nothing") else 200, viewport=NARROW, color_scheme=scheme)
    if path == "/":
        page.click('#for-you [data-item="i00"] button')
        page.wait_for_selector(".steps > li")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= NARROW["width"]
    contrast = page.evaluate(POOR_CONTRAST)
    assert contrast["texts"] > 8
    assert contrast["poor"] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 19, 17)") == (scheme == "dark")
    unnamed = page.evaluate("""() => [...document.querySelectorAll('img, [role=img]')].filter(
      (img) => !(img.alt || img.getAttribute('aria-label'))).length""")
    assert unnamed == 0
    # Fingers are wider than a line of text is high.
    small = page.eval_on_selector_all("button, input:not([type=hidden]), summary",
                                      "all => all.filter((tag) => tag.getBoundingClientRect().height < 32).length")
    assert small == 0
