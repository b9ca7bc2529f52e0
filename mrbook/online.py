"""Online convolution: a long convolution output by output, below the price of dot products.

``y[t] = sum_τ k[τ] u[t - τ]`` is wanted before u[t + 1] is known: in sampling, the next input is
made of this output. No FFT of the whole can do that, and a dot product a step costs L²/2 in L
steps. But a past input may be sent ahead to its part in the future at any time. Whenever i inputs
are known and p is the largest power of two that divides i, the newest p of them are sent to the
next p outputs, the p² products of this tile by one FFT. Every pair of an input and a later output
lies in one tile and in no other. L steps cost O(L log² L), and nobody needs to know L.

Why once: let input s meet output t > s. Of the numbers in ``(s, t]`` take i, the one that the
largest power of two divides, p. There is one such i: between two odd multiples of p lies an even
one. The multiples of 2p next to it, ``i - p`` and ``i + p``, are outside of ``(s, t]``, so tile i
has the pair. No other i' in ``(s, t]`` has it: its tile is of a size p' < p, and i, a multiple of
2p', is at least p' away. If i is later, output t comes after the tile's last; if it is earlier,
input s comes before the tile's first.

A kernel of length M needs no tile beyond the first power of two P that is at least M - 1, its
largest lag: then ``(s, t]`` holds at most one multiple of P, which takes the part of i with P in
place of p.

References
----------
J. van der Hoeven, "Relax, but don't be too lazy", Journal of Symbolic Computation 34 (2002), for
power series. C.-A. Oncescu, S. Purandare, S. Idreos, S. Kakade, "Flash Inference: Near Linear Time
Inference for Long Convolution Sequence Models and Beyond", arXiv:2410.12982, and N. Agarwal et al.,
"FutureFill: Fast Generation from Convolutional Sequence Models", arXiv:2410.03766, for layers.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count, check_tensors
from mrbook.longconv import inner_dtype

__all__ = [
    "BLOCK",
    "OnlineConv",
    "OnlineKernel",
    "State",
    "Tile",
    "check_state",
    "dot_step",
    "initial_state",
    "largest_tile",
    "multiplications",
    "tile_conv",
    "tile_size",
    "tile_spectrum",
    "tiles",
]

#: Outputs of a block of so many steps are reached from inputs of the same block without an FFT.
BLOCK = 64

State = tuple[Tensor, Tensor, Tensor]


# ---- the tiling ---------------------------------------------------------------------------------


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
    _check_power(smallest, "smallest")
    if largest is not None and _check_power(largest, "largest") < smallest:
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
    size = _check_power(block, "block")
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


# ---- many channels, many sequences --------------------------------------------------------------


def initial_state(
    batch: int,
    channels: int,
    kernel_length: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    block: int = BLOCK,
) -> State:
    """State before the first step.

    Parameters
    ----------
    batch, channels, kernel_length : int
        Sizes.
    dtype, device
        Of the inputs and sums.
    block : int
        That of `OnlineKernel`.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        ``position``, int64 of shape ``(batch,)``: the number of steps taken, though `dot_step` may
        set it to any other multiple of P, the `largest_tile` of the kernel. ``inputs``, shape
        ``(batch, channels, P)``: the newest P inputs, that of step t at ``t % P``. ``sums``, of the
        same shape: what has been sent to the outputs of this block of P steps.
    """
    sizes = {"batch": batch, "channels": channels}
    shape = *(check_count(n, name) for name, n in sizes.items()), largest_tile(kernel_length, block)
    position = torch.zeros(shape[0], dtype=torch.int64, device=device)
    inputs = torch.zeros(shape, dtype=dtype, device=device)
    return position, inputs, torch.zeros_like(inputs)


def check_state(
    state: tuple[Tensor, ...], u_t: Tensor, size: int, k: Tensor | None = None
) -> State:
    """Return a state that goes with an input and tiles up to a size, or say what is wrong with it.

    So must a kernel, if one is given: shape ``(channels, m)``, in the dtype of the state.

    Raises
    ------
    TypeError
        If it is not a tuple of tensors.
    ValueError
        If their number, a shape, a dtype or a device is wrong.
    """
    position, inputs, sums = check_tensors(state, "state", 3)
    device, values = u_t.device, ((*u_t.shape, size), inner_dtype(u_t), u_t.device)
    expected = [((len(u_t),), torch.int64, device), values, values]
    got = [(tuple(x.shape), x.dtype, x.device) for x in state]
    if got != expected:
        raise ValueError(f"state must be tensors of {expected} for this layer and u, got {got}")
    if k is not None and (k.shape[:-1] != inputs.shape[1:-1] or k.dtype != inputs.dtype):
        raise ValueError(
            f"k must have shape ({inputs.shape[1]}, m) and {inputs.dtype} for this state, "
            f"got {tuple(k.shape)} and {k.dtype}"
        )
    return position, inputs, sums


def dot_step(
    u_t: Tensor, state: tuple[Tensor, ...], k: Tensor, block: int = BLOCK
) -> tuple[Tensor, State]:
    """One step as a dot product with the whole past: differentiable, and one graph when compiled.

    The state is left as it is. The new one has its inputs in order of time and a block that ends,
    so that `OnlineKernel.step`, if it goes on from there, starts a block and sends them all ahead.

    Parameters
    ----------
    u_t : Tensor
        Shape ``(batch, channels)``.
    state : (Tensor, Tensor, Tensor)
        From `initial_state`, or a step of either kind.
    k : Tensor
        Kernel by lag, shape ``(channels, m)``.
    block : int
        That of the state.

    Returns
    -------
    (Tensor, (Tensor, Tensor, Tensor))
        The output, shape ``(batch, channels)`` in the dtype of the state, and the next state.

    Raises
    ------
    TypeError, ValueError
        If the state doesn't go with the input or the kernel.
    """
    size = largest_tile(k.shape[-1], block)
    position, inputs, sums = check_state(state, u_t, size, k)
    u_t = u_t.to(inputs.dtype)
    places = (position[:, None] + torch.arange(size, device=inputs.device)) % size  # oldest first
    past = inputs.gather(2, places[:, None].expand_as(inputs))
    k = F.pad(k, (0, size + 1 - k.shape[-1]))
    y = k[:, 0] * u_t + (past * k[:, 1:].flip(-1)).sum(-1)
    past = torch.cat([past[..., 1:], u_t[..., None]], -1)
    return y, (torch.full_like(position, size), past, torch.zeros_like(sums))


class OnlineKernel:
    """A kernel made ready for online steps: its first taps, and the spectra of its prefixes.

    A spectrum is made when a stream first needs it, so that a short stream doesn't pay for a long
    kernel. Most steps cost a few operations on a part of a block; one in P, the largest tile, costs
    an FFT of 2P.

    Parameters
    ----------
    k : Tensor
        Kernel by lag, shape ``(channels, m)``. No gradients are recorded.
    block : int
        A power of two. Within blocks of so many steps each input is sent ahead directly, to the end
        of its block; tiles of this size and above take an FFT. From 16 to 256 it makes little
        difference on a CPU: what the larger tiles save, the steps inside of blocks pay.
    """

    def __init__(self, k: Tensor, block: int = BLOCK) -> None:
        k = k.detach()
        self.k, self.block = k, block
        self.size = largest_tile(k.shape[-1], block)
        self.taps = F.pad(k, (0, max(0, block - k.shape[-1])))
        self.spectra: dict[int, Tensor] = {}

    def step(self, u_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        """Output for the newest input; the state is updated in place.

        Streams of one age are computed together where they lie side by side in the batch. A GPU is
        waited for: which tile is due is decided on the host.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor, Tensor)
            From `initial_state`, or a step of either kind.

        Returns
        -------
        (Tensor, (Tensor, Tensor, Tensor))
            The output, shape ``(batch, channels)`` in the dtype of the state, and the state.

        Raises
        ------
        TypeError, ValueError
            If the state doesn't go with the input or the kernel.
        """
        position, inputs, sums = check_state(state, u_t, self.size, self.k)
        if len(u_t) == 0:
            return u_t.to(inputs.dtype), (position, inputs, sums)
        times = position.tolist()
        if times.count(times[0]) == len(times):
            y = self._advance(times[0], u_t, inputs, sums).clone()
        else:
            outputs, first = [], 0
            for t, streams in groupby(times):
                rows = slice(first, first + len(list(streams)))
                outputs.append(self._advance(t, u_t[rows], inputs[rows], sums[rows]))
                first = rows.stop
            y = torch.cat(outputs)
        position += 1
        return y, (position, inputs, sums)

    def _advance(self, t: int, u_t: Tensor, inputs: Tensor, sums: Tensor) -> Tensor:
        """Output at time t, a view of the sums."""
        place, left = t % self.size, self.block - t % self.block
        if t > 0 and left == self.block:
            size = tile_size(t, self.size)
            newest = inputs.narrow(-1, (t - size) % self.size, size)
            y = tile_conv(newest, self._spectrum(size))
            if size == self.size:
                sums.copy_(y)  # a new block: nothing was sent to it before
            else:
                sums.narrow(-1, place, size).add_(y)
        rest_of_block, taps = sums.narrow(-1, place, left), self.taps.narrow(-1, 0, left)
        rest_of_block.addcmul_(u_t.unsqueeze(-1), taps)
        inputs.select(-1, place).copy_(u_t)
        return sums.select(-1, place)

    def _spectrum(self, size: int) -> Tensor:
        if size not in self.spectra:
            self.spectra[size] = tile_spectrum(self.k, size)
        return self.spectra[size]


def _check_power(value: int, name: str) -> int:
    """A power of two, or a ValueError."""
    if check_count(value, name) & (value - 1):
        raise ValueError(f"{name} must be a power of two, got {value}")
    return value
