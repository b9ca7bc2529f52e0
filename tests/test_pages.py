"""Every page in a real browser, without a network: wide, on a phone, in dark mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from playwright.sync_api import Browser, Page, Route

LIGHTEST, LARGEST = 3_000, 1_500_000  # bytes of a page


def listed_pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [toc["root"]] + [c["file"] for part in toc["parts"] for c in part["chapters"]]
    return [f"{name}.html" for name in files] + ["search.html", "genindex.html"]


OpenPage = Callable[[Path], tuple[Page, list[str]]]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Return a function that opens a file and gives the page and the list of what went wrong."""
    contexts = []

    def guard(route: Route, bad: list[str]) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            bad.append(f"network: {route.request.url}")
            route.abort()

    def opener(path: Path) -> tuple[Page, list[str]]:
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, color_scheme="light", has_touch=True
        )
        contexts.append(context)
        page = context.new_page()
        bad: list[str] = []
        page.route("**/*", lambda route: guard(route, bad))
        page.on("console", lambda m: bad.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: bad.append(str(error)))
        page.goto(path.as_uri(), wait_until="load")
        if page.evaluate("!!window.MathJax"):
            page.wait_for_function("window.MathJax.startup && MathJax.startup.promise")
            page.evaluate("MathJax.startup.promise")
        return page, bad

    yield opener
    for context in contexts:
        context.close()


def has_overflow(page: Page) -> bool:
    return page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )


def move_every_slider(page: Page) -> int:
    """Move each control of each explorer by keyboard; return how many explorers there were."""
    explorers = page.locator("div.mrx")
    for explorer in explorers.all():
        image, changed = explorer.locator("img"), 0
        for control in explorer.locator("input, select").all():
            source, text = image.get_attribute("src"), image.get_attribute("alt")
            before = control.input_value()
            is_menu = control.evaluate("e => e.tagName") == "SELECT"
            end = "e.options.length - 1" if is_menu else "e.max"
            forward, back = ("ArrowDown", "ArrowUp") if is_menu else ("ArrowRight", "ArrowLeft")
            control.focus()
            page.keyboard.press(
                back if control.evaluate(f"e => +e.value === +({end})") else forward
            )
            assert control.input_value() != before, "the control did not move"
            assert image.get_attribute("alt") != text, "the picture's text did not follow"
            assert image.evaluate("e => e.decode().then(() => e.naturalWidth > 0)")
            changed += image.get_attribute("src") != source
        assert changed, "no control changes the picture"
    return explorers.count()


@pytest.mark.parametrize("path", listed_pages())
def test_page(path: str, book_html: Path, executed: bool, open_page: OpenPage) -> None:
    file = book_html / path
    assert LIGHTEST < file.stat().st_size < LARGEST
    page, bad = open_page(file)

    written = page.evaluate("document.querySelectorAll('span.math, div.math').length")
    assert page.evaluate("document.querySelectorAll('mjx-container').length") >= written
    assert page.locator("mjx-merror").count() == 0
    silent = page.evaluate(
        "[...document.querySelectorAll('img')].filter(i => !(i.alt || '').trim()).map(i => i.src)"
    )
    assert not silent, "images without alternative text"
    assert not has_overflow(page)
    if path.startswith("chapters/"):
        assert page.locator("a[href*='colab.research.google.com']").count() >= 1
        assert "%pip install" not in page.content()
        if executed:
            assert move_every_slider(page) >= 1
            assert page.locator("img.mrfig").count() >= 2

    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    for _ in range(3):
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
        page.locator("button.theme-switch-button:visible").first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.wait_for_function(f"{background} !== '{light}'")

    page.set_viewport_size({"width": 375, "height": 800})
    page.wait_for_timeout(100)
    assert not has_overflow(page), "the page is wider than a phone"
    assert not bad


def test_a_slider_answers_to_touch_and_plays(
    book_html: Path, executed: bool, open_page: OpenPage
) -> None:
    if not executed:
        pytest.skip("the book was built without executing: make book")
    page, bad = open_page(book_html / "chapters" / "01-haar.html")
    page.set_viewport_size({"width": 375, "height": 800})
    slider = page.locator(".mrx input").first
    image = page.locator(".mrx img").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None and box["height"] >= 40, "too small for a finger"
    before = image.get_attribute("src")
    for share in (0.95, 0.05):  # whichever end it starts from, one of the two moves it
        page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        if image.get_attribute("src") != before:
            break
    assert image.get_attribute("src") != before
    assert not bad


def test_search_finds_a_word_without_a_network(book_html: Path, open_page: OpenPage) -> None:
    page, bad = open_page(book_html / "search.html")
    page.goto((book_html / "search.html").as_uri() + "?q=glossary")
    page.wait_for_selector("#search-results li a")
    assert "glossary" in page.locator("#search-results").inner_text().lower()
    assert not bad
