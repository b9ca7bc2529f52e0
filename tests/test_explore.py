"""Figures with sliders: as stored on a page, in a browser, and as widgets of a live kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from playwright.sync_api import Browser, Page

from mrbook import explore as module
from mrbook import figures
from mrbook.explore import Explorer, explore


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("agg")
        yield
    plt.close("all")


def draw(**values: Any) -> Figure:
    """Write the values into a small figure."""
    fig = plt.figure(figsize=(3, 1))
    fig.text(0.1, 0.5, str(values))
    return fig


def same(level: int) -> Figure:
    return draw()


def stored(markup: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', markup)[1])


# What is stored


def test_every_combination_is_stored_in_the_order_of_the_controls() -> None:
    explorer = Explorer(draw, {"a": [1, 2], "b": ["x", "y", "z"]}, alt="Words.")
    data = stored(explorer.to_html())
    assert data["labels"] == [["1", "2"], ["x", "y", "z"]]
    assert data["order"] == [0, 1, 2, 3, 4, 5]
    assert data["alts"][4] == "Words. (a: 2, b: y)"
    expected = figures.encode(draw(a=2, b="y")).source
    assert data["frames"][4] == expected
    assert not plt.get_fignums(), "a figure was left open"


def test_start_is_shown_first_and_stored_once() -> None:
    controls = {"a": [1, 2, 3], "b": ["x", "y"]}
    markup = Explorer(draw, controls, alt="Words.", start={"a": 3}).to_html()
    shown = figures.encode(draw(a=3, b="x")).source
    assert markup.count(shown) == 1
    assert f'<img class="mrfig dark-light" src="{shown}" alt="Words. (a: 3, b: x)"' in markup
    assert stored(markup)["frames"][4] == ""
    assert 'max="2" step="1" value="2" aria-valuetext="3"' in markup


def test_equal_frames_are_stored_once() -> None:
    data = stored(Explorer(same, {"level": range(6)}, alt="Same.").to_html())
    assert data["frames"] == [""]
    assert data["order"] == [0] * 6


def test_the_markup_repeats_bit_by_bit() -> None:
    one, two = (Explorer(draw, {"a": range(3)}, alt="Words.").to_html() for _ in range(2))
    assert one == two
    assert " id=" not in one, "ids would collide when a page shows an explorer twice"


def test_nothing_is_fetched() -> None:
    markup = Explorer(draw, {"a": range(3)}, alt="Words.").to_html()
    assert "//" not in re.sub(r"data:image/webp;base64,[^\"]*", "", markup)


def test_text_is_escaped() -> None:
    evil = "</script><script>alert(1)</script>"
    markup = Explorer(same, {"level": [evil, '"b"']}, alt=f"<i>{evil}").to_html()
    assert markup.count("<script") == 2 and "<i>" not in markup
    assert stored(markup)["labels"] == [[evil, '"b"']]
    assert "&quot;b&quot;</option>" in markup


def test_a_callable_writes_the_whole_text() -> None:
    data = stored(Explorer(draw, {"a": [1, 2]}, alt=lambda a: f"Level {a}.").to_html())
    assert data["alts"] == ["Level 1.", "Level 2."]


@pytest.mark.parametrize(
    ("values", "ordered", "labels"),
    [
        (range(1, 4), True, ["1", "2", "3"]),
        (np.linspace(0, 1, 4), True, ["0", "0.333", "0.667", "1"]),
        ([np.float32(1 / 3), 2], True, ["0.333", "2"]),
        ([0.12341, 0.12342], True, ["0.12341", "0.12342"]),
        ([1e-7, 12345678.0], True, ["1e-07", "1.23e+07"]),
        ({"π/2": 1.57, "π": 3.14}, True, ["π/2", "π"]),
        (["haar", "db2"], False, ["haar", "db2"]),
        ([False, True], False, ["no", "yes"]),
        ([None, 1], False, ["None", "1"]),
    ],
)
def test_numbers_give_sliders_and_everything_else_menus(
    values: Any, ordered: bool, labels: list[str]
) -> None:
    markup = Explorer(lambda some_name: draw(), {"some_name": values}, alt="Same.").to_html()
    assert ('type="range"' in markup) == ordered
    assert ("<select" in markup) != ordered
    assert stored(markup)["labels"] == [labels]
    assert "<span>some name</span>" in markup


# What is refused


def test_too_many_frames_are_refused_before_any_is_drawn() -> None:
    def never(**_: Any) -> Figure:
        raise AssertionError("drawn")

    explorer = Explorer(never, {"a": range(9), "b": range(9)}, alt="Words.")
    with pytest.raises(ValueError, match=r"9 \(a\) x 9 \(b\) = 81 frames, more than max_frames=80"):
        explorer.to_html()


def test_too_many_bytes_are_refused() -> None:
    explorer = Explorer(draw, {"a": range(20)}, alt="Words.", max_bytes=5_000)
    with pytest.raises(ValueError, match=r"of 20 frames take .* max_bytes=5,000: give fewer"):
        explorer.to_html()


def test_figures_of_several_sizes_are_refused() -> None:
    explorer = Explorer(lambda a: plt.figure(figsize=(a, 1)), {"a": [1, 2]}, alt="Words.")
    with pytest.raises(ValueError, match=r"figures of one size, got \[\(96, 96\), \(192, 96\)\]"):
        explorer.to_html()


def test_a_text_that_does_not_follow_is_refused() -> None:
    explorer = Explorer(draw, {"a": [1, 2]}, alt=lambda a: "Always this.")
    with pytest.raises(ValueError, match="alt must name every control's value"):
        explorer.to_html()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alt": "", "a": [1]}, ValueError, "alt must say in words"),
        ({"alt": "Words."}, ValueError, "at least one control"),
        ({"alt": "Words.", "a": []}, ValueError, "a must have at least one value"),
        ({"alt": "Words.", "a": "haar"}, TypeError, "a must list its values, got 'haar'"),
        ({"alt": "Words.", "a": 3}, TypeError, "a must list its values, got 3"),
        ({"alt": "Words.", "a": [1], "start": {"a": 2}}, ValueError, r"2, not among \[1\]"),
        ({"alt": "Words.", "a": [1], "start": {"b": 2}}, ValueError, "no control: b"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        explore(draw, **arguments)
    with pytest.raises(TypeError, match="draw must be a function"):
        explore(plt.figure(), alt="Words.", a=[1])


# With a kernel and without


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pretend that a notebook's kernel runs; return what it displays."""
    shown: list[Any] = []

    class Shell:
        kernel = object()

    monkeypatch.delenv(module.STATIC, raising=False)
    monkeypatch.setattr("IPython.get_ipython", lambda: Shell())
    monkeypatch.setattr("IPython.display.display", lambda data, raw=False: shown.append(data))
    return shown


def test_a_kernel_gets_widgets(kernel: list[Any]) -> None:
    explore(draw, alt="Words.", a=[1, 2, 3], b=["x", "y"], start={"a": 2})
    (box,) = kernel
    slider, menu, picture = box.children
    assert (type(slider).__name__, slider.label) == ("SelectionSlider", "2")
    assert (type(menu).__name__, menu.label) == ("Dropdown", "x")
    assert "Words. (a: 2, b: x)" in picture.value
    slider.index, menu.index = 2, 1
    assert "Words. (a: 3, b: y)" in picture.value
    assert figures.encode(draw(a=3, b="y")).source in picture.value
    assert not plt.get_fignums()


def test_an_error_while_a_slider_moves_is_seen(kernel: list[Any]) -> None:
    explore(lambda a: draw(b=1 / a), alt="Words.", a=[1, 0])
    slider, picture = kernel[0].children
    slider.index = 1
    assert picture.value == "<pre>ZeroDivisionError: division by zero</pre>"
    slider.index = 0
    assert "<img" in picture.value


def test_the_build_gets_stored_frames(kernel: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.STATIC, "1")
    explore(draw, alt="Words.", a=[1, 2])
    (data,) = kernel
    assert data["text/html"] == Explorer(draw, {"a": [1, 2]}, alt="Words.").to_html()
    assert data["text/plain"] == "[interactive figure] Words. (a: 1)"


def test_without_ipywidgets_the_frames_are_shown(
    kernel: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    explore(draw, alt="Words.", a=[1, 2])
    assert 'class="mrx"' in kernel[0]["text/html"]


def test_outside_a_notebook_the_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert explore(draw, alt="Words.", a=[1, 2], start={"a": 2}) is None
    assert capsys.readouterr().out == "[interactive figure] Words. (a: 2)\n"


# In a browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with an explorer of two controls, one with a Play button, and a copy of it."""
    matplotlib.use("agg")
    two = Explorer(draw, {"level": [1, 2, 3], "wavelet": ["haar", "db2"]}, alt="Two.").to_html()
    one = Explorer(draw, {"θ": {"π/4": 0.79, "π/2": 1.57, "π": 3.14, "2π": 6.28}}, alt="One.")
    file = tmp_path_factory.mktemp("explore") / "page.html"
    file.write_text(
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        + two
        + one.to_html()
        + one.to_html()
    )
    return file


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 375, "height": 800}, has_touch=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert not errors


def texts(page: Page) -> list[str]:
    assert page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth > 0)))"
    )
    return [image.get_attribute("alt") or "" for image in page.locator(".mrx img").all()]


def test_explorers_move_by_keyboard_and_do_not_disturb_each_other(page: Page) -> None:
    before = [image.get_attribute("src") for image in page.locator(".mrx img").all()]
    slider = page.get_by_label("level")
    slider.press("ArrowRight")
    assert texts(page) == ["Two. (level: 2, wavelet: haar)", "One. (θ: π/4)", "One. (θ: π/4)"]
    assert slider.get_attribute("aria-valuetext") == "2"
    assert page.locator("output").first.inner_text() == "2"
    page.get_by_label("wavelet").select_option("db2")
    page.get_by_label("θ").last.press("End")
    assert texts(page) == ["Two. (level: 2, wavelet: db2)", "One. (θ: π/4)", "One. (θ: 2π)"]
    slider.press("Home")
    page.get_by_label("wavelet").select_option("haar")
    page.get_by_label("θ").last.press("Home")
    assert [image.get_attribute("src") for image in page.locator(".mrx img").all()] == before


def test_a_finger_finds_every_control(page: Page) -> None:
    for control in page.locator(".mrx input, .mrx select, .mrx button").all():
        box = control.bounding_box()
        assert box is not None and box["height"] >= 44
        assert box["x"] >= 0 and box["x"] + box["width"] <= 375
    box = page.get_by_label("level").bounding_box()
    page.touchscreen.tap(box["x"] + 0.98 * box["width"], box["y"] + box["height"] / 2)
    assert texts(page)[0] == "Two. (level: 3, wavelet: haar)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_play_runs_through_the_values_until_it_is_stopped(page: Page) -> None:
    page.clock.install()
    page.reload()
    play = page.locator(".mrx-play").first
    assert page.locator(".mrx").first.locator(".mrx-play").count() == 0
    play.click()
    seen = []
    for _ in range(4):
        page.clock.run_for(700)
        seen.append(texts(page)[1])
    assert seen == ["One. (θ: π/2)", "One. (θ: π)", "One. (θ: 2π)", "One. (θ: π/4)"]
    assert play.inner_text() == "Pause"
    page.get_by_label("θ").first.press("ArrowRight")
    assert play.inner_text() == "Play"
    page.clock.run_for(2100)
    assert texts(page)[1:] == ["One. (θ: π/2)", "One. (θ: π/4)"]


def test_nothing_plays_for_readers_who_want_less_motion(page: Page) -> None:
    assert page.locator(".mrx-play").first.is_visible()
    page.emulate_media(reduced_motion="reduce")
    assert not page.locator(".mrx-play").first.is_visible()
