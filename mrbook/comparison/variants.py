"""The rows of the comparison: layers with their options, and how wide each is made.

Rows are compared at about equal parameters. A layer with few numbers per channel gets many
channels, one with a thousand numbers per channel gets few: `match_width`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ABLATIONS", "LAYER_ROWS", "VARIANTS", "Variant", "match_width"]

_WIDEST = 256


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the comparison.

    Attributes
    ----------
    name : str
        What commands and records call it.
    label : str
        What tables call it.
    layer : str
        A key of `mrbook.models.LAYERS`.
    options : mapping
        Of the layer; what is not named is the layer's default.
    of : str, optional
        For an ablation the row that it differs from, whose learning rate it takes.
    width : int, optional
        Channels, in place of those that make the parameters equal.
    """

    name: str
    label: str
    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    of: str | None = None
    width: int | None = None


def _rows(*rows: Variant) -> dict[str, Variant]:
    return {row.name: row for row in rows}


_MRCONV = {"kernel": "fourier+sparse"}


def _multires(name: str, label: str, **options: Any) -> Variant:
    name = f"multires-{name}"
    return Variant(name=name, label=label, layer="multires", options=options, of="multires")


def _mrconv(name: str, label: str, **options: Any) -> Variant:
    name, options = f"mrconv-{name}", _MRCONV | options
    return Variant(name=name, label=label, layer="mrconv", options=options, of="mrconv")


#: One row for each layer, with its published start and options where these are known.
LAYER_ROWS = _rows(
    Variant(name="multires", label="MultiresConv", layer="multires"),
    Variant(
        name="untied",
        label="MultiresConv, untied",
        layer="multires",
        options={"tie_levels": False},
    ),
    Variant(name="mrconv", label="MRConv", layer="mrconv", options=_MRCONV),
    Variant(name="s4d", label="S4D", layer="s4d"),
    Variant(name="sgconv", label="SGConv", layer="sgconv"),
    Variant(name="longconv", label="Long convolution", layer="longconv"),
    Variant(name="wavenet", label="WaveNet", layer="wavenet"),
    Variant(name="lstm", label="LSTM", layer="lstm"),
    Variant(name="attention", label="Attention", layer="attention", options={"heads": 1}),
)

#: One thing changed of a row above; at equal parameters, but for the last.
ABLATIONS = _rows(
    _multires("k4", "4 taps", kernel_size=4),
    _multires("depth6", "6 levels", depth=6),
    _multires("start", "filters start √3 larger", gain=3**0.5),
    _mrconv("dense", "dense kernels", kernel="dense"),
    _mrconv("dilated", "dilated kernels", kernel="dilated"),
    _mrconv("fourier", "Fourier kernels", kernel="fourier"),
    _mrconv("sparse", "sparse kernels", kernel="sparse"),
    _mrconv("layer-norm", "layer normalization", norm="layer"),
    _mrconv("no-norm", "no normalization", norm=None),
    _mrconv("fixed", "alpha fixed, all equal", learn_alpha=False),
    _mrconv("fixed-decay", "alpha fixed, halved by octave", learn_alpha=False, decay=1.0),
    _mrconv("l0-4", "shortest kernel 4", l0=4),
    _mrconv("l0-64", "shortest kernel 64, 16 taps", l0=64, taps=16),
    Variant(
        name="longconv-wide",
        label="Long convolution, 16 channels",
        layer="longconv",
        of="longconv",
        width=16,
    ),
)

#: All rows by name.
VARIANTS = LAYER_ROWS | ABLATIONS


def match_width(count: Callable[[int], int], budget: int) -> int:
    """The width at which a network has the number of parameters nearest to a budget.

    Parameters
    ----------
    count : callable
        From a width to a number of parameters, which grows with the width. Widths that a layer
        can't have raise a ValueError, and are left out.
    budget : int
        Parameters wanted.

    Returns
    -------
    int
        The width, at least 1.

    Raises
    ------
    ValueError
        If there is no width up to 256; the layer's own reason.

    Examples
    --------
    >>> match_width(lambda width: 10 * width**2, budget=1000), match_width(lambda width: 7, 1)
    (10, 1)
    """
    best, reason = 0, None
    distance = float("inf")
    for width in range(1, _WIDEST + 1):
        try:
            parameters = count(width)
        except ValueError as error:
            reason = error
            continue
        if abs(parameters - budget) < distance:
            best, distance = width, abs(parameters - budget)
        if parameters > budget:
            break
    if not best:
        raise reason or ValueError(f"budget must be reached by some width, got {budget}")
    return best
