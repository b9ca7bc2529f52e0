"""Which inputs are sent to which outputs, and when; what that costs; and one tile computed."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mrbook.checks import check_count

__all__ = [
    "OnlineConv",
    "Tile",
    "check_power",
    "largest_tile",
    "multiplications",
    "tile_conv",
    "tile_size",
    "tile_spectrum",
    "tiles",
]


class Tile(NamedTuple):
    """What is done when `step` inputs are known: these inputs are sent to these outputs."""

    step: int
    inputs: range
    outputs: range


def tile_size(step: int, largest: int | None = None) -> int:
    """The largest power of two that divides `step`, or `largest` where that is less.

    Examples
    --------
    >>> [tile_size(step) for step in range(1, 9)]
    [1, 2, 1, 4, 1, 2, 1, 8]
    """
    size = check_count(step, "step") & -step
    return size if largest is None else min(size, largest)


def tiles(length: int, largest: int | None = None, smallest: int = 1) -> Iterator[Tile]:
    """The tiles of `length` steps, in the order in which they become possible.

    Parameters
    ----------
    length : int
        Steps in all.
    largest : int, optional
        Size of the largest tile, a power of two: `largest_tile` of the kernel's length. Default: no
        limit.
    smallest : int
        Size of the smallest tile, a power of two up to `largest`. What is closer to the diagonal is
        left to do: pairs inside blocks of so many steps.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or out of range, or a size is no power of two.

    Examples
    --------
    >>> for tile in tiles(4):
    ...     print(tile)
    Tile(step=1, inputs=range(0, 1), outputs=range(1, 2))
    Tile(step=2, inputs=range(0, 2), outputs=range(2, 4))
    Tile(step=3, inputs=range(2, 3), outputs=range(3, 4))
    """
    check_count(length, "length")
    check_power(smallest, "smallest")
    if largest is not None and check_power(largest, "largest") < smallest:
        raise ValueError(f"largest must be at least {smallest}, the smallest, got {largest}")
    for step in range(smallest, length, smallest):
        size = tile_size(step, largest)
        yield Tile(step, range(step - size, step), range(step, min(step + size, length)))


def largest_tile(kernel_length: int, block: int = 1) -> int:
    """The size at which tiles stop growing: the first ``block * 2^a`` not below the largest lag.

    Examples
    --------
    >>> [largest_tile(m) for m in (1, 2, 5, 6)]
    [1, 1, 4, 8]
    """
    largest_lag = check_count(kernel_length, "kernel_length") - 1
    size = check_power(block, "block")
    while size < largest_lag:
        size *= 2
    return size


def multiplications(length: int, kernel_length: int | None = None, block: int = 1) -> int:
    """Products of real numbers that `length` steps take, per sequence and channel.

    The rule: a pair inside a block is one product, counted up to the end of the block. An FFT of n
    real numbers is ``n log2 n``: half of ``n/2 log2 n`` complex products, at four each. A product
    of two spectra is ``4 (n/2 + 1)``. The spectrum of a prefix of the kernel counts once.

    Parameters
    ----------
    length : int
        Steps taken.
    kernel_length : int, optional
        Length of the kernel. Default: `length`.
    block : int
        Of so many steps, a power of two.

    Examples
    --------
    Beside the ``L (L + 1) / 2`` of dot products:

    >>> for L in (1024, 16384):
    ...     print(L, round(L * (L + 1) / 2 / multiplications(L, block=32), 1))
    1024 4.1
    16384 34.0
    """
    length = check_count(length, "length")
    largest = largest_tile(length if kernel_length is None else kernel_length, block)
    count, seen = sum(block - t % block for t in range(length)), set()
    for tile in tiles(length, largest, block):
        n = 2 * len(tile.inputs)
        transforms = 2 if n in seen else 3
        seen.add(n)
        count += transforms * n * (n.bit_length() - 1) + 4 * (n // 2 + 1)
    return count


# ---- one tile, one channel ----------------------------------------------------------------------


def tile_spectrum(k: Tensor, size: int) -> Tensor:
    """Spectrum of the first ``2 size`` values of a kernel: all the lags that a tile has.

    Parameters
    ----------
    k : Tensor
        Kernel by lag, shape ``(..., m)``, of any length: it is 0 beyond.
    size : int
        Of the tile.

    Returns
    -------
    Tensor
        Complex, shape ``(..., size + 1)``.
    """
    return torch.fft.rfft(k[..., : 2 * size], n=2 * size)


def tile_conv(x: Tensor, spectrum: Tensor) -> Tensor:
    """What the newest inputs send to as many outputs that follow.

    Output j gets ``sum_s k[size + j - s] x[s]``, over lags from 1 to ``2 size - 1``. A circular
    convolution of ``2 size`` values is enough: what wraps around falls on the first half of it,
    which is thrown away.

    Parameters
    ----------
    x : Tensor
        Inputs, shape ``(..., size)``.
    spectrum : Tensor
        From `tile_spectrum`.

    Returns
    -------
    Tensor
        Shape of x.

    Examples
    --------
    >>> k = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    >>> tile_conv(torch.tensor([1.0, 2.0]), tile_spectrum(k, 2))
    tensor([ 120., 1200.])
    """
    size = x.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(x, n=2 * size) * spectrum, n=2 * size)[..., size:]


class OnlineConv:
    """Online convolution as simply as it can be written: an input comes, its output goes.

    Parameters
    ----------
    k : Tensor
        Kernel by lag, shape ``(..., m)``. Inputs have the shape ``(...)``.

    Examples
    --------
    Each output is the next input:

    >>> conv, u = OnlineConv(torch.tensor([1.0, 1.0])), torch.tensor(1.0)
    >>> for _ in range(7):
    ...     u = conv(u)
    ...     print(int(u), end=" ")
    1 2 3 5 8 13 21
    """

    def __init__(self, k: Tensor) -> None:
        self.k, self.largest = k, largest_tile(k.shape[-1])
        self.inputs: list[Tensor] = []
        self.ahead: dict[int, Tensor] = {}  # what outputs to come have got already

    def __call__(self, u_t: Tensor) -> Tensor:
        """The output at the time of this input."""
        t = len(self.inputs)
        if t > 0:
            size = tile_size(t, self.largest)
            x = torch.stack(self.inputs[-size:], -1)
            for j, y in enumerate(tile_conv(x, tile_spectrum(self.k, size)).unbind(-1)):
                self.ahead[t + j] = self.ahead.get(t + j, 0) + y
        self.inputs.append(u_t)
        return self.ahead.pop(t, 0) + self.k[..., 0] * u_t


def check_power(value: int, name: str) -> int:
    """Return a power of two, or raise a ValueError."""
    if check_count(value, name) & (value - 1):
        raise ValueError(f"{name} must be a power of two, got {value}")
    return value
