"""A wavelet memory that takes one value at a time and never needs the past again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from mrbook.checks import check_count
from mrbook.filters import Wavelet, as_wavelet
from mrbook.memory.bands import Band, synthesize
from mrbook.memory.base import Stream


class WaveletMemory(Stream):
    """A stream's wavelet coefficients, computed as they complete and forgotten as it goes.

    The tree is anchored at the first value, with zeros before it. A coefficient of level ℓ
    completes every ``2**ℓ`` writes, so that a write completes less than one pair of coefficients on
    average: 2K multiplications, however long the stream. Kept are the newest c details per
    level and, of every level's approximation, the K - 2 or K - 1 newest values, which the next
    coefficient needs: O((c + K) log t) numbers. These values are exactly those that synthesis
    from complete coefficients can't give back, so that nothing is kept twice.

    Parameters
    ----------
    wavelet : Wavelet or str
        A wavelet, or the name of one of PyWavelets' discrete wavelets.
    keep : int, callable or "all"
        How many of the newest details stay: for every level, or as a function of the level ℓ.
        "all" forgets nothing: recall is then exact.
    depth : int, optional
        Deepest level J; the newest ``keep`` of its approximations stay too. Without it levels are
        added as the stream gets longer, and the coarsest approximation covers all of it.

    Attributes
    ----------
    wavelet : Wavelet
    depth : int or None
    details : dict of int to Band
        The details kept, by level.
    approximations : dict of int to Band
        The approximations kept, by level; level 0 is the signal.

    Raises
    ------
    TypeError, ValueError
        If `keep` or `depth` is not as above.

    Examples
    --------
    >>> memory = WaveletMemory("haar", keep=2)
    >>> for value in range(1000):
    ...     memory.write(torch.tensor(float(value)))
    >>> memory.size, memory.recall(998), memory.recall(10)
    (23, tensor(998.), tensor(127.5000))
    """

    def __init__(
        self,
        wavelet: Wavelet | str = "haar",
        *,
        keep: int | Callable[[int], int] | str = 1,
        depth: int | None = None,
    ) -> None:
        if not callable(keep) and keep != "all":
            if isinstance(keep, str):
                raise ValueError(f"keep: expected a number, a function or 'all', got {keep!r}")
            check_count(keep, "keep", 0)
        self.wavelet = as_wavelet(wavelet)
        self.depth = None if depth is None else check_count(depth, "depth")
        self._keep = keep
        self._approximations: list[deque[Tensor]] = [deque()]
        self._details: list[deque[Tensor]] = []

    @property
    def size(self) -> int:
        """How many numbers are kept for each channel of each sequence."""
        return sum(map(len, self._approximations)) + sum(map(len, self._details))

    @property
    def details(self) -> dict[int, Band]:
        """The details kept, by level 1, 2, ..."""
        bands = enumerate(self._details, start=1)
        return {level: self._band(values, level) for level, values in bands}

    @property
    def approximations(self) -> dict[int, Band]:
        """The approximations kept, by level 0, 1, ..."""
        bands = enumerate(self._approximations)
        return {level: self._band(values, level) for level, values in bands}

    def _write(self, x_t: Tensor) -> None:
        if self.length == 0:
            wavelet = self.wavelet.to(dtype=x_t.dtype, device=x_t.device)
            self._filters = wavelet.dec_lo.flip(0), wavelet.dec_hi.flip(0)  # oldest tap first
        taps = self.wavelet.dec_len
        a, n = x_t.clone(), self.length  # a view would keep the signal it comes from
        for level, recent in enumerate(self._approximations):
            recent.append(a)
            if level == self.depth:
                self._forget(recent, level)
                return
            if n % 2 == 0:  # coefficient n // 2 of the next level needs one more value
                return
            window = torch.stack(tuple(recent), -1)
            a, b = (window @ h[-len(recent) :] for h in self._filters)
            while len(recent) > taps - 2:
                recent.popleft()
            if level == len(self._details):
                self._approximations.append(deque())
                self._details.append(deque())
            self._details[level].append(b)
            self._forget(self._details[level], level + 1)
            n //= 2

    def _forget(self, coefficients: deque[Tensor], level: int) -> None:
        keep = self._keep(level) if callable(self._keep) else self._keep
        if keep == "all":
            return
        keep = check_count(keep, f"keep({level})", 0)
        while len(coefficients) > keep:
            coefficients.popleft()

    def _band(self, values: deque[Tensor], level: int) -> Band:
        empty = self._like.expand(*self._shape, 0)
        kept = torch.stack(tuple(values), -1) if values else empty
        return Band((self.length >> level) - len(values), kept)

    def _recall(self, first: int, last: int) -> Tensor:
        details = list(self.details.values())
        approximations = list(self.approximations.values())
        return synthesize(approximations, details, self.wavelet, first, last)

    def __repr__(self) -> str:
        return (
            f"WaveletMemory({self.length} values of {self.wavelet.name!r}, "
            f"{self.size} numbers kept)"
        )
