"""Figures with sliders: redrawn where a kernel lives, switched between stored frames on a page."""

from __future__ import annotations

import html
import json
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from mrbook import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explorer", "explore"]

STATIC = "MRBOOK_STATIC"


def explore(
    draw: Callable[..., Figure],
    /,
    *,
    alt: str | Callable[..., str],
    start: Mapping[str, Any] | None = None,
    max_frames: int = 80,
    max_bytes: int = 700_000,
    **controls: Iterable[Any] | Mapping[str, Any],
) -> None:
    """Show a figure that depends on a few choices, with a slider or a menu for each.

    With a live kernel the controls are ipywidgets and every move calls `draw`. While the book is
    built (the environment variable ``MRBOOK_STATIC`` is set), every combination is drawn once and
    the page switches between the pictures without a kernel and without a network.

    Parameters
    ----------
    draw : callable
        ``draw(name=value, ...)`` returns a new matplotlib figure, always of the same size.
    alt : str or callable
        What the figure shows, in words; the values of the controls are appended. A callable gets
        the same keywords as `draw` and returns the whole text, another one for each combination.
    start : dict, optional
        First value of a control; the first one listed by default.
    max_frames, max_bytes : int, optional
        Limits of a stored figure: how many combinations, and how large all pictures together.
    **controls : iterable or dict
        One keyword per control: the values it runs through. Numbers give a slider, anything else a
        menu. A dict gives each value the label to show.

    Raises
    ------
    ValueError
        If `alt` is empty, a control has no value, `start` is not among the values, or the stored
        frames break a limit.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> def draw(level, wavelet):
    ...     fig, ax = plt.subplots()
    ...     ax.set_title(f"{wavelet}, level {level}")
    ...     return fig
    >>> explore(draw, alt="An empty plot.", level=range(1, 4), wavelet=["haar", "db2"])
    [interactive figure] An empty plot. (level: 1, wavelet: haar)
    """
    explorer = Explorer(
        draw, controls, alt=alt, start=start, max_frames=max_frames, max_bytes=max_bytes
    )
    explorer.display()


class Explorer:
    """The figure behind `explore`; its arguments are those of `explore`."""

    def __init__(
        self,
        draw: Callable[..., Figure],
        controls: Mapping[str, Iterable[Any] | Mapping[str, Any]],
        *,
        alt: str | Callable[..., str],
        start: Mapping[str, Any] | None = None,
        max_frames: int = 80,
        max_bytes: int = 700_000,
    ) -> None:
        if not callable(draw):
            raise TypeError(f"draw must be a function, got {type(draw).__name__}")
        if not controls:
            raise ValueError("give at least one control, such as level=range(1, 6)")
        if not callable(alt):
            figures.checked_alt(alt)
        self.draw, self.alt = draw, alt
        self.max_frames, self.max_bytes = max_frames, max_bytes
        self.controls = [_Control(name, values) for name, values in controls.items()]
        wanted = dict(start or {})
        self.start = tuple(c.index(wanted.pop(c.name, c.values[0])) for c in self.controls)
        if wanted:
            raise ValueError(f"start names no control: {', '.join(wanted)}")

    def display(self) -> None:
        """Show widgets if a kernel lives and ipywidgets is there, else the stored frames."""
        if not _has_kernel():
            print(f"[interactive figure] {self._alt(self.start)}")
            return
        if not os.environ.get(STATIC):
            try:
                box = self.widget()
            except ImportError:
                pass
            else:
                from IPython.display import display

                display(box)
                return
        figures.display_html(self.to_html(), f"[interactive figure] {self._alt(self.start)}")

    def widget(self) -> Any:
        """Return ipywidgets controls over a picture that the kernel redraws."""
        import ipywidgets

        inputs = []
        for control, index in zip(self.controls, self.start, strict=True):
            options = list(zip(control.labels, range(len(control.values)), strict=True))
            kind = ipywidgets.SelectionSlider if control.ordered else ipywidgets.Dropdown
            inputs.append(
                kind(
                    options=options,
                    value=index,
                    description=control.title,
                    style={"description_width": "initial"},
                    layout={"width": "100%", "max_width": "30rem"},
                )
            )
        picture = ipywidgets.HTML(self._picture(self.start))

        def redraw(_: Any) -> None:
            try:
                picture.value = self._picture(tuple(i.value for i in inputs))
            except Exception as error:  # a callback's error is seen nowhere else
                text = html.escape(f"{type(error).__name__}: {error}")
                picture.value = f"<pre>{text}</pre>"

        for control_input in inputs:
            control_input.observe(redraw, names="value")
        return ipywidgets.VBox([*inputs, picture])

    def to_html(self) -> str:
        """Return a self-contained fragment: controls, pictures and the script that joins them."""
        count = prod(len(c.values) for c in self.controls)
        if count > self.max_frames:
            terms = " x ".join(f"{len(c.values)} ({c.name})" for c in self.controls)
            raise ValueError(
                f"{terms} = {count} frames, more than max_frames={self.max_frames}: "
                "give fewer values"
            )
        frames: dict[figures.Picture, int] = {}
        order, alts, size = [], [], 0
        for indices in product(*(range(len(c.values)) for c in self.controls)):
            picture = figures.encode(self.draw(**self._values(indices)))
            if picture not in frames:
                frames[picture] = len(frames)
                size += len(picture.source)
            if size > self.max_bytes:
                raise ValueError(
                    f"{len(frames)} of {count} frames take {size:,} bytes, more than "
                    f"max_bytes={self.max_bytes:,}: give fewer values or a plainer figure"
                )
            order.append(frames[picture])
            alts.append(self._alt(indices))
            if alts[-1] in alts[:-1]:
                raise ValueError(f"alt must name every control's value, got {alts[-1]!r} twice")
        sizes = {(picture.width, picture.height) for picture in frames}
        if len(sizes) > 1:
            raise ValueError(f"draw must return figures of one size, got {sorted(sizes)} pixels")
        first = 0
        for control, index in zip(self.controls, self.start, strict=True):
            first = first * len(control.values) + index
        pictures = list(frames)
        shown = pictures[order[first]]
        # The picture shown first is in the <img> already.
        data = {
            "frames": ["" if p is shown else p.source for p in pictures],
            "order": order,
            "alts": alts,
            "labels": [c.labels for c in self.controls],
        }
        play = len(self.controls) == 1 and self.controls[0].ordered and count > 3
        rows = "".join(c.row(i) for c, i in zip(self.controls, self.start, strict=True)) + (
            '<button type="button" class="mrx-play">Play</button>' if play else ""
        )
        payload = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
        return (
            f'<div class="mrx" style="max-width:{shown.width + 26}px"><style>{_STYLE}</style>'
            f'<div class="mrx-rows">{rows}</div>'
            f"{figures.image_html(shown, alts[first])}"
            f'<script type="application/json">{payload}</script>'
            f"<script>{_SCRIPT}</script></div>"
        )

    def _values(self, indices: tuple[int, ...]) -> dict[str, Any]:
        return {c.name: c.values[i] for c, i in zip(self.controls, indices, strict=True)}

    def _picture(self, indices: tuple[int, ...]) -> str:
        picture = figures.encode(self.draw(**self._values(indices)))
        return figures.image_html(picture, self._alt(indices))

    def _alt(self, indices: tuple[int, ...]) -> str:
        if callable(self.alt):
            text = self.alt(**self._values(indices))
            figures.checked_alt(text)
            return text
        pairs = zip(self.controls, indices, strict=True)
        return f"{self.alt} ({', '.join(f'{c.title}: {c.labels[i]}' for c, i in pairs)})"


class _Control:
    """A name, the values it runs through, and how they read."""

    def __init__(self, name: str, values: Iterable[Any] | Mapping[str, Any]) -> None:
        self.name, self.title = name, name.replace("_", " ")
        if isinstance(values, Mapping):
            self.labels, self.values = [str(k) for k in values], list(values.values())
        elif isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"{name} must list its values, got {values!r}")
        else:
            self.values = [v.item() if hasattr(v, "item") else v for v in values]
            self.labels = _labels(self.values)
        if not self.values:
            raise ValueError(f"{name} must have at least one value, got none")
        self.ordered = all(_is_number(v) for v in self.values)

    def index(self, value: Any) -> int:
        if value not in self.values:
            raise ValueError(f"start of {self.name} is {value!r}, not among {self.values}")
        return self.values.index(value)

    def row(self, index: int) -> str:
        """Return the control as one labeled line of HTML, needing no id."""
        title, label = html.escape(self.title), html.escape(self.labels[index])
        if self.ordered:
            longest = min(max(map(len, self.labels)), 16)  # or the slider would change its length
            return (
                f'<label class="mrx-row"><span>{title}</span>'
                f'<input type="range" min="0" max="{len(self.values) - 1}" step="1" '
                f'value="{index}" aria-valuetext="{label}" autocomplete="off">'
                f'<output style="min-width:{longest}ch">{label}</output></label>'
            )
        options = "".join(
            f'<option value="{i}"{" selected" if i == index else ""}>{html.escape(text)}</option>'
            for i, text in enumerate(self.labels)
        )
        return (
            f'<label class="mrx-row"><span>{title}</span>'
            f'<select autocomplete="off">{options}</select></label>'
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _labels(values: list[Any]) -> list[str]:
    """Write numbers with as few digits as tell them apart.

    >>> _labels([0.5, 1 / 3, 1000000]), _labels([0.1234, 0.1235]), _labels([True, "haar"])
    (['0.5', '0.333', '1000000'], ['0.1234', '0.1235'], ['yes', 'haar'])
    """
    labels: list[str] = []
    for digits in range(3, 18):
        labels = [_label(v, digits) for v in values]
        if len(set(labels)) == len(labels):
            break
    return labels


def _label(value: Any, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def _has_kernel() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


_STYLE = """
.mrx{box-sizing:border-box;margin:.5rem 0;padding:12px;background:#fff;color:#1a1a1a;
color-scheme:light;border:1px solid #d0d0d0;border-radius:6px;font:16px/1.4 system-ui,sans-serif}
.mrx-rows{margin-bottom:8px}
.mrx-row{display:flex;align-items:center;gap:0 12px;margin:0}
.mrx-row span{min-width:5rem;max-width:60%;font-weight:600}
.mrx-row input{flex:1 1 9rem;min-width:0;height:44px;margin:0;accent-color:#0072b2;cursor:pointer}
.mrx-row output{text-align:right;font-variant-numeric:tabular-nums}
.mrx-row select{min-height:44px;min-width:0;padding:0 8px;font:inherit;background:#fff;
color:#1a1a1a;border:1px solid #767676;border-radius:4px}
.mrx-play{min-height:44px;min-width:6rem;font:inherit;background:#fff;color:#1a1a1a;
border:1px solid #767676;border-radius:4px;cursor:pointer}
.mrx :focus-visible{outline:3px solid #0072b2;outline-offset:2px}
@media (max-width:480px){.mrx-row{flex-wrap:wrap}.mrx-row input{order:1;flex-basis:100%}
.mrx-row output{margin-left:auto}}
@media (prefers-reduced-motion:reduce){.mrx-play{display:none}}
@media print{.mrx-play{display:none}}
"""

_SCRIPT = """
document.querySelectorAll(".mrx:not([data-ready])").forEach(function (root) {
  var store = root.querySelector("script[type='application/json']");
  if (!store) return;
  root.dataset.ready = "1";
  var data = JSON.parse(store.textContent), img = root.querySelector("img"),
      inputs = Array.from(root.querySelectorAll("input, select")),
      play = root.querySelector(".mrx-play"), timer = null, shown = img.src;
  function update() {
    var k = 0;
    inputs.forEach(function (el, i) {
      var labels = data.labels[i];
      k = k * labels.length + Number(el.value);
      if (el.type === "range") {
        el.setAttribute("aria-valuetext", labels[el.value]);
        el.parentNode.querySelector("output").textContent = labels[el.value];
      }
    });
    img.src = data.frames[data.order[k]] || shown;
    img.alt = data.alts[k];
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    if (play) play.textContent = "Play";
  }
  inputs.forEach(function (el) {
    el.addEventListener("input", function () { stop(); update(); });
  });
  if (play) play.addEventListener("click", function () {
    if (timer !== null) return stop();
    play.textContent = "Pause";
    timer = setInterval(function () {
      if (!root.isConnected) return stop();
      var el = inputs[0];
      el.value = el.value === el.max ? el.min : Number(el.value) + 1;
      update();
    }, 700);
  });
  update();
});
"""
