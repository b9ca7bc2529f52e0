"""Pieces of wavelet bands, and the synthesis of a few samples from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.dwt import idwt
from mrbook.filters import Wavelet


class Band(NamedTuple):
    """A run of neighboring coefficients; all others of its band are forgotten, and count as zero.

    Attributes
    ----------
    first : int
        Index of the first coefficient kept. Coefficient n of level ℓ is complete at time
        ``2**ℓ * (n + 1) - 1``.
    values : Tensor, shape (..., kept)
    """

    first: int
    values: Tensor

    @property
    def stop(self) -> int:
        """Index behind the last coefficient kept."""
        return self.first + self.values.shape[-1]

    def dense(self, start: int, stop: int) -> Tensor:
        """Coefficients ``start, ..., stop - 1``, zero where nothing is kept."""
        inner = max(start, self.first), min(stop, self.stop)
        if inner[0] >= inner[1]:
            return self.values.new_zeros((*self.values.shape[:-1], stop - start))
        values = self.values[..., inner[0] - self.first : inner[1] - self.first]
        return F.pad(values, (inner[0] - start, stop - inner[1]))


def synthesize(
    approximations: Sequence[Band],
    details: Sequence[Band],
    wavelet: Wavelet,
    first: int,
    last: int,
) -> Tensor:
    """Samples ``first, ..., last`` of the signal whose coefficients are kept.

    Only the few coefficients of each level that touch these samples are looked at: at most K/2
    for one sample of level 1, fewer than K on every other level.

    Parameters
    ----------
    approximations : sequence of J + 1 Band
        Of the levels 0 to J. The coarsest starts the synthesis; what is kept on the others
        replaces what would come out of it.
    details : sequence of J Band
        Of the levels 1 to J.
    wavelet : Wavelet
    first, last : int

    Returns
    -------
    Tensor, shape (..., last - first + 1)
    """
    ranges = [(first, last + 1)]
    for _ in details:
        start, stop = ranges[-1]
        ranges.append((start // 2, (stop - 1 + wavelet.rec_len - 2) // 2 + 1))
    a = approximations[-1].dense(*ranges[-1])
    for level in range(len(details), 0, -1):
        a = idwt(a, details[level - 1].dense(*ranges[level]), wavelet, "zero")
        (start, stop), offset = ranges[level - 1], 2 * ranges[level][0]
        a = _replace(a[..., start - offset : stop - offset], start, approximations[level - 1])
    return a


def _replace(a: Tensor, start: int, kept: Band) -> Tensor:
    """``a``, which starts at index ``start``, with the coefficients kept in their places."""
    stop = start + a.shape[-1]
    low, high = max(start, kept.first), min(stop, kept.stop)
    if low >= high:
        return a
    values = kept.values[..., low - kept.first : high - kept.first]
    return torch.cat((a[..., : low - start], values, a[..., high - start :]), -1)
