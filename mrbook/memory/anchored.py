"""The memory at time t: a wavelet transform of the history, anchored at now, then forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count
from mrbook.dwt import dwt
from mrbook.filters import Wavelet, as_wavelet
from mrbook.memory.bands import Band, synthesize
from mrbook.memory.base import Memory, check_values

#: How many of a level's newest coefficients stay: a number, a function of the level, or a plan.
Keep = int | Callable[[int], int] | Literal["all", "fading", "uniform"]

_DEEPEST = 60  # indices stay exact; 2**60 steps are more than anyone writes


def tree_depth(length: int, kernel_size: int) -> int:
    """How many levels let the newest coefficient of the coarsest one see `length` samples.

    ``ceil(log2((length - 1) / (kernel_size - 1) + 1))``, the published formula, and at least 1.

    Parameters
    ----------
    length : int
        At least 1.
    kernel_size : int
        Number of taps K, at least 2.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or too small.

    References
    ----------
    J. Shi, K. A. Wang, E. B. Fox, "Sequence modeling with multiresolution convolutional memory",
    ICML 2023.

    Examples
    --------
    >>> tree_depth(256, 2), tree_depth(257, 2), tree_depth(1024, 4), tree_depth(1, 2)
    (8, 9, 9, 1)
    """
    length = check_count(length, "length")
    kernel_size = check_count(kernel_size, "kernel_size", 2)
    return max(1, (-(-(length - 1) // (kernel_size - 1))).bit_length())


class AnchoredMemory(Memory):
    """The wavelet memory at time t, as MultiresConv reads it.

    The history ``x[0], ..., x[t]`` is transformed with zeros in front of it and behind it, anchored
    so that the newest coefficient of every level ends exactly at t. Then a schedule forgets. At
    time t + 1 the tree is anchored anew, so this memory can't be updated from itself: it is
    built from the history every time.

    Filters longer than Haar's have coefficients that *straddle* t: they begin before t and end
    after it, where they see zeros. Without them the newest samples can't be recalled.

    Parameters
    ----------
    history : Tensor, shape (..., t + 1), float32 or float64
        The values so far, the newest last.
    wavelet : Wavelet or str
        A wavelet, or the name of one of PyWavelets' discrete wavelets. Recall inverts an
        unforgotten memory of every wavelet that reconstructs; the orthogonal ones forget best.
    depth : int, optional
        Number of levels J. The default is `tree_depth` of the history.
    keep : int, callable, "all", "fading" or "uniform"
        The schedule. A number c keeps the newest c complete coefficients of every band (fading). A
        function of the level ℓ = 1, ..., J gives c for each; the talk's ``f(j)``, the index
        of the oldest coefficient kept, is the band's length minus c. c = 0 drops a band.
        "fading" is 1, or with `size` numbers in turn from the coarsest band to the finest, until
        they are used up. "uniform" keeps all of the coarse bands until `size` numbers are used
        up. "all" forgets nothing. The approximation is treated like the coarsest details.
    size : int, optional
        How many numbers to keep in all, with "fading" or "uniform".
    straddling : bool
        Whether the coefficients that end after t belong to the memory. With a number or
        a function for `keep` they come on top of it. With `size` they are counted, and taken
        right after the newest complete one of their band.

    Attributes
    ----------
    wavelet : Wavelet
    depth : int
    approximation : Band
        What is kept of level J's approximation ``a``.
    details : dict of int to Band
        What is kept of the details ``b``, by level 1, ..., J.
    newest : Tensor, shape (..., depth + 1)
        The newest complete coefficients ``a_J, b_J, ..., b_1``, forgotten or not: what
        MultiresConv weights with ``w[0], ..., w[J]``.

    Raises
    ------
    TypeError
        If the history is not a float32 or float64 tensor, or a number is not an integer.
    ValueError
        If the history is empty, depth is not between 1 and 60, or `keep` and `size` make no sense.

    References
    ----------
    J. Shi, K. A. Wang, E. B. Fox, "Sequence modeling with multiresolution convolutional memory",
    ICML 2023.

    Examples
    --------
    With Haar, the newest coefficients hold the means of blocks of 1, 1, 2, 4, ... samples:

    >>> x = torch.tensor([1.0, 3.0, 0.0, 4.0, 2.0, 6.0, 5.0, 7.0])
    >>> memory = AnchoredMemory(x, "haar")
    >>> memory.recall().round(decimals=3)
    tensor([2., 2., 2., 2., 4., 4., 5., 7.])
    >>> memory.size, AnchoredMemory(x, "haar", keep="uniform", size=6).size
    (4, 6)
    """

    def __init__(
        self,
        history: Tensor,
        wavelet: Wavelet | str = "haar",
        *,
        depth: int | None = None,
        keep: Keep = "fading",
        size: int | None = None,
        straddling: bool = True,
    ) -> None:
        check_values(history, "history")
        if history.ndim == 0 or history.shape[-1] == 0:
            raise ValueError(f"history: expected at least one value, got {tuple(history.shape)}")
        self.wavelet = as_wavelet(wavelet)
        self.length = history.shape[-1]
        if depth is None:
            depth = tree_depth(self.length, self.wavelet.dec_len)
        self.depth = check_count(depth, "depth", 1, _DEEPEST)

        # Bands as in `wavedec`: a_J, b_J, ..., b_1. Complete coefficients, then straddling ones.
        bands, complete, self.newest = _analyze(history, self.wavelet, self.depth)
        tails = [b.shape[-1] - n for b, n in zip(bands, complete, strict=True)]
        if not straddling:
            bands = [b[..., :n] for b, n in zip(bands, complete, strict=True)]
            tails = [0] * len(bands)
        levels = [self.depth, *range(self.depth, 0, -1)]
        counts = _schedule(keep, size, levels, complete, tails)

        # Level ℓ's index 0 lies at the start of the history padded to a multiple of 2^J in front.
        self._padded = complete[0] << self.depth
        kept = []
        for level, b, n, tail, count in zip(levels, bands, complete, tails, counts, strict=True):
            newer = min(tail, max(0, count - 1))
            start, stop = n + newer - count, n + newer
            kept.append(Band((self._padded >> level) - n + start, b[..., start:stop].clone()))
        self.approximation = kept[0]
        self.details = dict(enumerate(reversed(kept[1:]), start=1))

    @property
    def size(self) -> int:
        """How many numbers are kept for each channel of each sequence."""
        bands = (self.approximation, *self.details.values())
        return sum(band.values.shape[-1] for band in bands)

    def coefficients(self) -> list[Tensor]:
        """The bands in full, ``[cA_J, cD_J, ..., cD_1]``, with zeros for what is forgotten.

        Returns
        -------
        list of Tensor
            Unforgotten they are PyWavelets' ``wavedec(history, wavelet, "zero", depth)`` of the
            history padded with zeros in front to the next multiple of ``2**depth``.
        """
        dense: list[Tensor] = []
        n = self._padded
        for band in self.details.values():
            n = (n + self.wavelet.dec_len - 1) // 2
            dense.insert(0, band.dense(0, n))
        return [self.approximation.dense(0, n), *dense]

    def _recall(self, first: int, last: int) -> Tensor:
        empty = Band(0, self.newest[..., :0])
        approximations = [empty] * self.depth + [self.approximation]
        details = list(self.details.values())
        offset = self._padded - self.length
        return synthesize(approximations, details, self.wavelet, first + offset, last + offset)

    def __repr__(self) -> str:
        return (
            f"AnchoredMemory({self.length} values of {self.wavelet.name!r}, depth {self.depth}, "
            f"{self.size} numbers kept)"
        )


def _analyze(
    history: Tensor, wavelet: Wavelet, depth: int
) -> tuple[list[Tensor], list[int], Tensor]:
    """Bands ``[a_J, b_J, ..., b_1]``, how many coefficients of each are complete, the newest ones.

    Padding to a multiple of ``2**J`` in front would mostly transform zeros. One zero at
    each level that has an odd number of complete coefficients keeps the anchor just as well.
    """
    a, n = history, history.shape[-1]
    details: list[Tensor] = []
    complete: list[int] = []
    newest: list[Tensor] = []
    for _ in range(depth):
        a, n = F.pad(a, (n % 2, 0)), (n + 1) // 2
        a, b = dwt(a, wavelet, "zero")
        details.insert(0, b)
        complete.insert(0, n)
        newest.insert(0, b[..., n - 1])
    return [a, *details], [n, *complete], torch.stack([a[..., n - 1], *newest], -1)


def _schedule(
    keep: Keep, size: int | None, levels: list[int], complete: list[int], tails: list[int]
) -> list[int]:
    """How many coefficients to keep of each band, the straddling ones included."""
    lengths = [n + tail for n, tail in zip(complete, tails, strict=True)]
    if size is not None:
        if keep not in ("fading", "uniform"):
            raise ValueError(f"size: goes with keep='fading' or 'uniform', got keep={keep!r}")
        left = min(check_count(size, "size"), sum(lengths))
        counts = [0] * len(lengths)
        while left:
            for i, length in enumerate(lengths):
                share = length - counts[i] if keep == "uniform" else min(1, length - counts[i])
                share = min(share, left)
                counts[i], left = counts[i] + share, left - share
        return counts
    if keep == "all":
        return lengths
    if keep == "uniform":
        raise ValueError("size: keep='uniform' needs the number of coefficients to keep, got None")
    asked = [_number(keep, level) for level in levels]
    return [min(c, n) + tail if c else 0 for c, n, tail in zip(asked, complete, tails, strict=True)]


def _number(keep: Keep, level: int) -> int:
    """How many of the newest coefficients of one level `keep` asks for."""
    if isinstance(keep, str) and keep != "fading":
        raise ValueError(
            "keep: expected a number, a function of the level, 'all', 'fading' or 'uniform', "
            f"got {keep!r}"
        )
    if callable(keep):
        return check_count(keep(level), f"keep({level})", 0)
    return 1 if keep == "fading" else check_count(keep, "keep", 0)
