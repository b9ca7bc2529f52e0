"""One look for every figure of the book, and one way to show a figure.

``use_style()`` once at the top of a notebook, ``show(fig, alt=...)`` for each figure. The few
drawings that many chapters share (taps, stairs, a pyramid of coefficients, a kernel) are here too.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "APPROXIMATION",
    "COLORS",
    "CYCLE",
    "DETAIL",
    "MUTED",
    "SIGNAL",
    "kernel",
    "pyramid",
    "show",
    "stairs",
    "taps",
    "use_style",
]

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart with any color vision.
SIGNAL = "#222222"
APPROXIMATION = "#0072B2"
DETAIL = "#D55E00"
ACCENT = "#009E73"
MUTED = "#8A8A8A"
COLORS = {
    "signal": SIGNAL,
    "approximation": APPROXIMATION,
    "detail": DETAIL,
    "accent": ACCENT,
    "muted": MUTED,
}
CYCLE = (APPROXIMATION, DETAIL, ACCENT, "#CC79A7", "#E69F00", "#56B4E9", SIGNAL)

_CSS_PIXELS_PER_INCH = 96
_DPI = 144


def use_style() -> None:
    """Set matplotlib's defaults to the book's: 6 inches wide, large text, colors for everyone.

    A figure of this width is legible when a phone shrinks it to 375 pixels.

    Examples
    --------
    >>> use_style()
    >>> import matplotlib.pyplot as plt
    >>> float(plt.rcParams["figure.figsize"][0])
    6.0
    """
    import matplotlib.pyplot as plt
    from cycler import cycler

    plt.rcParams.update(
        {
            "figure.figsize": (6.0, 3.4),
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.08,
            "figure.constrained_layout.h_pad": 0.08,
            "savefig.facecolor": "white",
            "font.size": 13,
            "axes.titlesize": 14,
            "axes.labelsize": 13,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
            "legend.fontsize": 12,
            "legend.frameon": False,
            "axes.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=CYCLE),
            "axes.axisbelow": True,
            "grid.color": "#DDDDDD",
            "lines.linewidth": 2.0,
            "lines.markersize": 6.0,
            "image.cmap": "viridis",
        }
    )


def show(fig: Figure, *, alt: str) -> None:
    """Display a figure with its alternative text, then close it.

    The picture is the same on the book's page, in Jupyter and in Colab. Outside a notebook the
    alternative text is printed instead.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure, usually 6 inches wide.
    alt : str
        What a reader who can't see the picture has to know: what is drawn and what it shows.

    Raises
    ------
    TypeError
        If `fig` is not a figure.
    ValueError
        If `alt` is empty.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> taps(ax, [0.7, 0.7])
    >>> show(fig, alt="Two equal taps: the Haar scaling filter.")
    [figure] Two equal taps: the Haar scaling filter.
    """
    checked_alt(alt)
    display_html(image_html(encode(fig), alt), f"[figure] {alt}")


class Picture(NamedTuple):
    """A figure as a data URI, and its size in CSS pixels."""

    source: str
    width: int
    height: int


def encode(fig: Figure) -> Picture:
    """Close a figure and return it as WebP.

    Lines on white are smallest without loss, photographs with it: the smaller file is taken.
    """
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from PIL import Image

    if not isinstance(fig, Figure):
        raise TypeError(f"expected a matplotlib Figure, got {type(fig).__name__}")
    drawn = io.BytesIO()
    fig.savefig(drawn, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
    plt.close(fig)
    image = Image.open(drawn).convert("RGB")
    files = []
    for options in ({"lossless": True}, {"quality": 80}):
        file = io.BytesIO()
        image.save(file, format="webp", method=4, **options)
        files.append(file.getvalue())
    data = base64.b64encode(min(files, key=len)).decode()
    width, height = (round(n * _CSS_PIXELS_PER_INCH / _DPI) for n in image.size)
    return Picture(f"data:image/webp;base64,{data}", width, height)


def image_html(picture: Picture, alt: str) -> str:
    """Return an ``<img>`` on a white card, shrunk where the page is narrower."""
    return (
        f'<img class="mrfig dark-light" src="{picture.source}" alt="{html.escape(alt)}" '
        f'width="{picture.width}" height="{picture.height}" '
        f'style="display:block;width:{picture.width}px;max-width:100%;height:auto;'
        f'background:#fff;border-radius:6px">'
    )


def display_html(markup: str, text: str) -> None:
    """Display HTML in a notebook; elsewhere print `text`."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
    else:
        display({"text/html": markup, "text/plain": text}, raw=True)


def taps(
    ax: Axes,
    values: Any,
    positions: Any = None,
    *,
    color: str = SIGNAL,
    label: str | None = None,
) -> None:
    """Draw numbers as dots on stalks: the taps of a filter, a short sequence.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    values : array_like of shape (n,)
        The numbers; tensors and arrays alike.
    positions : array_like of shape (n,), optional
        Where they stand; 0, 1, 2, … by default.
    color : str, optional
        Color of dots and stalks.
    label : str, optional
        Text for the legend.
    """
    heights = _vector(values, "values")
    places = np.arange(len(heights)) if positions is None else _vector(positions, "positions")
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.vlines(places, 0, heights, color=color, linewidth=2)
    ax.plot(places, heights, "o", color=color, label=label)


def stairs(
    ax: Axes,
    values: Any,
    *,
    start: float = 0.0,
    stop: float | None = None,
    color: str = APPROXIMATION,
    label: str | None = None,
    fill: bool = False,
) -> None:
    """Draw a piecewise constant function: each value holds over one step of equal width.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    values : array_like of shape (n,)
        Heights of the steps.
    start, stop : float, optional
        The interval that the steps share; 0 to n by default.
    color, label : str, optional
        Color of the line and its text in the legend.
    fill : bool, optional
        Shade down to zero.
    """
    heights = _vector(values, "values")
    edges = np.linspace(start, len(heights) if stop is None else stop, len(heights) + 1)
    ax.stairs(heights, edges, baseline=None, color=color, linewidth=2, label=label)
    if fill:
        ax.stairs(heights, edges, baseline=0.0, fill=True, color=color, alpha=0.25)


def pyramid(
    ax: Axes,
    coeffs: Sequence[Any],
    *,
    magnitude: bool = True,
    labels: Sequence[str] | None = None,
) -> Any:
    """Draw the coefficients of ``wavedec`` as rows of boxes, coarse on top, fine at the bottom.

    Every row spans the whole signal, so a box covers the samples that its coefficient is about.
    The details share one scale; the approximation, usually far larger, has its own.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    coeffs : sequence of array_like
        ``[cA_n, cD_n, ..., cD_1]``, each one-dimensional.
    magnitude : bool, optional
        Show absolute values, darker is larger; otherwise blue is below and red above zero.
    labels : sequence of str, optional
        Names of the rows; a and b with their level by default.

    Returns
    -------
    matplotlib.collections.QuadMesh
        The last row drawn, for a color bar.
    """
    rows = [_vector(c, "coeffs") for c in coeffs]
    if not rows:
        raise ValueError("coeffs must hold at least one band, got none")
    depth = len(rows) - 1
    if labels is None:
        labels = [f"$a_{{{depth}}}$", *(f"$b_{{{level}}}$" for level in range(depth, 0, -1))]
    tops = [float(np.abs(row).max(initial=0.0)) for row in rows]
    mesh = None
    for i, row in enumerate(rows):
        top = (max(tops[1:]) if i else tops[0]) or 1.0
        low, colors = (0.0, "Blues") if magnitude else (-top, "RdBu_r")
        edges = np.linspace(0.0, 1.0, len(row) + 1)
        mesh = ax.pcolormesh(
            edges,
            [i - 0.46, i + 0.46],
            (np.abs(row) if magnitude else row)[None, :],
            vmin=low,
            vmax=top,
            cmap=colors,
            edgecolors="#BBBBBB" if len(row) <= 64 else "face",
            linewidth=0.6,
        )
    ax.set_yticks(range(len(rows)), labels)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return mesh


def kernel(
    ax: Axes,
    values: Any,
    *,
    color: str = ACCENT,
    label: str | None = None,
) -> None:
    """Draw a causal kernel by lag, now (lag 0) on the left.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    values : array_like of shape (n,)
        ``k[τ]`` for τ = 0, 1, …, n-1.
    color, label : str, optional
        Color of the line and its text in the legend.
    """
    heights = _vector(values, "values")
    if len(heights) <= 40:
        taps(ax, heights, color=color, label=label)
    else:
        ax.axhline(0, color=MUTED, linewidth=1)
        ax.plot(heights, color=color, label=label, drawstyle="steps-mid")
    ax.set_xlabel("lag τ")
    ax.set_ylabel("k[τ]")


def _vector(values: Any, name: str) -> np.ndarray:
    """Return numbers as a float array, whatever holds them."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    vector = np.asarray(values, dtype=float)
    if vector.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {vector.shape}")
    return vector


def checked_alt(alt: object) -> None:
    """Raise unless `alt` is a text."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must say in words what the figure shows, got {alt!r}")
