"""Sequence layers by the names that models, recipes and the command line use."""

from collections.abc import Callable
from typing import Any

from torch import nn

from mrbook.baselines import LSTM, S4D, Attention, LongConv, SGConv, WaveNet
from mrbook.mrconv import MRConv
from mrbook.multires import MultiresConv

__all__ = ["LAYERS", "make_layer"]

#: Whatever keeps the contract of a sequence layer and is built as
#: ``layer(channels, length=length, **options)``.
LAYERS: dict[str, Callable[..., nn.Module]] = {
    "multires": MultiresConv,
    "mrconv": MRConv,
    "s4d": S4D,
    "sgconv": SGConv,
    "longconv": LongConv,
    "lstm": LSTM,
    "wavenet": WaveNet,
    "attention": Attention,
}


def make_layer(name: str, channels: int, length: int | None, **options: Any) -> nn.Module:
    """Build a sequence layer.

    Parameters
    ----------
    name : str
        A key of `LAYERS`.
    channels : int
        Channels of its input and output.
    length : int or None
        Longest sequence that it should be made for; None where its options say it.
    **options
        The layer's own.

    Returns
    -------
    Module
        From ``(batch, channels, length)`` to the same shape.

    Raises
    ------
    ValueError
        If there is no such layer.
    TypeError
        If it doesn't know an option.

    Examples
    --------
    >>> make_layer("multires", 8, 1024, kernel_size=4)
    MultiresConv(
      8, kernel_size=4, depth=9, memory='fading', tie_levels=True
      (_rings): Rings()
    )
    """
    if name not in LAYERS:
        raise ValueError(f"layer must be one of {', '.join(LAYERS)}, got {name!r}")
    return LAYERS[name](channels, length=length, **options)
