"""The look of figures, and how they reach the page."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Iterator

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import pywt
import torch
from PIL import Image

from mrbook import figures


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("agg")
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Pretend that a notebook runs; return what it displays."""
    shown: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    return shown


def decode(source: str) -> Image.Image:
    kind, data = source.split(";base64,")
    assert kind == "data:image/webp"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_show_displays_a_picture_with_its_text_and_closes_the_figure(displayed) -> None:
    fig, ax = plt.subplots()
    figures.taps(ax, [0.5, -0.5])
    figures.show(fig, alt='Taps "a" & <b>.')
    assert not plt.fignum_exists(fig.number)
    (data,) = displayed
    assert data["text/plain"] == '[figure] Taps "a" & <b>.'
    markup = data["text/html"]
    assert 'alt="Taps &quot;a&quot; &amp; &lt;b&gt;."' in markup
    assert "max-width:100%" in markup and "dark-light" in markup and "background:#fff" in markup
    image = decode(re.search(r'src="([^"]+)"', markup)[1])
    assert 'width="576" height="326"' in markup
    assert image.size == (864, 489)


def test_show_prints_the_text_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    figures.show(plt.figure(), alt="Nothing.")
    assert capsys.readouterr().out == "[figure] Nothing.\n"


@pytest.mark.parametrize("alt", ["", "  \n", None])
def test_a_figure_needs_its_text(alt: str) -> None:
    fig = plt.figure()
    with pytest.raises(ValueError, match="alt must say in words"):
        figures.show(fig, alt=alt)


def test_show_wants_a_figure() -> None:
    with pytest.raises(TypeError, match="expected a matplotlib Figure, got Axes"):
        figures.show(plt.subplots()[1], alt="Axes.")


def test_encoding_repeats_bit_by_bit_and_is_white() -> None:
    pictures = []
    for _ in range(2):
        fig, ax = plt.subplots()
        figures.stairs(ax, [1, 3, 2], fill=True)
        pictures.append(figures.encode(fig))
    assert pictures[0] == pictures[1]
    assert decode(pictures[0].source).convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_lines_are_stored_without_loss_and_photographs_small() -> None:
    fig, ax = plt.subplots()
    figures.taps(ax, pywt.Wavelet("db4").rec_lo)
    fig.savefig(exact := io.BytesIO(), format="png", dpi=144)
    lines = figures.encode(fig)
    assert np.array_equal(
        np.asarray(decode(lines.source).convert("RGB")),
        np.asarray(Image.open(exact).convert("RGB")),
    )
    fig, ax = plt.subplots()
    ax.imshow(pywt.data.camera(), cmap="gray")
    assert len(figures.encode(fig).source) < 40_000


def test_named_colors_stand_out_from_white_and_from_each_other() -> None:
    for name, color in figures.COLORS.items():
        contrast = 1.05 / (luminance(color) + 0.05)
        assert contrast >= 3, f"{name}: {contrast:.2f} on white (WCAG 1.4.11 asks for 3)"
    # Viénot, Brettel and Mollon's (1999) matrices of protanopia and deuteranopia, on linear RGB.
    blind = {
        "protanopia": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deuteranopia": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1]],
    }
    for one, other in itertools.combinations(figures.COLORS, 2):
        for name, matrix in blind.items():
            a, b = (np.array(matplotlib.colors.to_rgb(figures.COLORS[c])) for c in (one, other))
            seen = np.abs(np.array(matrix) @ (a**2.2 - b**2.2)).max()
            assert seen > 0.03, f"{one} and {other} look alike with {name}"


def test_text_stays_legible_on_a_phone() -> None:
    width = plt.rcParams["figure.figsize"][0] * 96
    shrunk = min(1, 341 / width)  # 375 pixels less the page's margins
    for part in ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"):
        assert plt.rcParams[part] * 96 / 72 * shrunk >= 9


def test_stairs_span_the_interval() -> None:
    _, ax = plt.subplots()
    figures.stairs(ax, torch.tensor([2.0, 5.0], requires_grad=True), start=0, stop=8, label="f")
    patch = ax.patches[0]
    assert patch.get_data().values.tolist() == [2.0, 5.0]
    assert patch.get_data().edges.tolist() == [0.0, 4.0, 8.0]


def test_taps_stand_at_their_positions() -> None:
    _, ax = plt.subplots()
    figures.taps(ax, [1, 2, 3], positions=[-1, 0, 1], label="h0")
    dots = ax.lines[-1]
    assert dots.get_xydata().tolist() == [[-1, 1], [0, 2], [1, 3]]


def test_pyramid_has_a_row_a_band() -> None:
    _, ax = plt.subplots()
    coeffs = pywt.wavedec(np.arange(32.0), "haar", level=3)
    figures.pyramid(ax, coeffs)
    rows = ax.collections
    assert [row.get_array().size for row in rows] == [4, 4, 8, 16]
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "$a_{3}$",
        "$b_{3}$",
        "$b_{2}$",
        "$b_{1}$",
    ]
    assert np.allclose(rows[1].get_array(), np.abs(coeffs[1]))
    assert rows[0].get_clim()[1] == coeffs[0].max()
    assert len({row.get_clim() for row in rows[1:]}) == 1
    first, last = (row.get_coordinates()[..., 0] for row in (rows[0], rows[-1]))
    assert (first.min(), first.max()) == (last.min(), last.max())


def test_pyramid_of_zeros_and_signed_values_draws() -> None:
    _, ax = plt.subplots()
    mesh = figures.pyramid(ax, [[0.0], [0.0]], magnitude=False, labels=["mean", "difference"])
    assert mesh.get_clim() == (-1.0, 1.0)
    with pytest.raises(ValueError, match="at least one band"):
        figures.pyramid(ax, [])


@pytest.mark.parametrize(("n", "dots"), [(8, True), (500, False)])
def test_kernel_is_drawn_by_lag(n: int, dots: bool) -> None:
    _, ax = plt.subplots()
    figures.kernel(ax, 0.9 ** np.arange(n))
    assert ax.get_xlabel() == "lag τ"
    assert ax.lines[-1].get_xdata().tolist() == list(range(n))
    assert (ax.lines[-1].get_marker() == "o") == dots


def test_a_matrix_is_no_sequence() -> None:
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"values must have one axis, got shape \(2, 3\)"):
        figures.taps(ax, np.ones((2, 3)))
