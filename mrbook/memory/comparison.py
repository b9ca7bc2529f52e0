"""Two plain memories to compare with: the newest samples, and sums that fade exponentially."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from mrbook.checks import check_count
from mrbook.memory.base import Stream


class SlidingWindow(Stream):
    """The newest `size` values, exact; everything older is recalled as zero.

    Parameters
    ----------
    size : int
        How many values to keep.

    Raises
    ------
    TypeError, ValueError
        If size is not an integer of at least 1.

    Examples
    --------
    >>> SlidingWindow(2).extend(torch.tensor([1.0, 2.0, 3.0])).recall()
    tensor([0., 2., 3.])
    """

    def __init__(self, size: int) -> None:
        self._values: deque[Tensor] = deque(maxlen=check_count(size, "size"))

    @property
    def size(self) -> int:
        """How many numbers are kept for each channel of each sequence."""
        return len(self._values)

    def _write(self, x_t: Tensor) -> None:
        self._values.append(x_t.clone())

    def _recall(self, first: int, last: int) -> Tensor:
        oldest = self.length - len(self._values)
        zero = self._like.new_zeros(self._shape)
        times = range(first, last + 1)
        return torch.stack([self._values[s - oldest] if s >= oldest else zero for s in times], -1)


class ExponentialMemory(Stream):
    """A set of exponential moving averages, ``m_i <- λ_i m_i + (1 - λ_i) x[t]``.

    Recall is by least squares: of all histories with these averages, the one of smallest energy, a
    sum of the same exponentials.

    Parameters
    ----------
    time_constants : sequence of float
        Positive and different from each other, in steps: ``λ_i = exp(-1 / τ_i)``. Spread them
        geometrically over the lags you care about: `ExponentialMemory.spread`.

    Raises
    ------
    ValueError
        If there are none, or they are not positive, finite and different.

    Examples
    --------
    >>> memory = ExponentialMemory.spread(4, longest=64.0)
    >>> memory.time_constants
    (1.0, 4.0, 16.0, 64.0)
    >>> x = torch.exp(-torch.arange(100.0).flip(0) / 4)  # what one of them weights by
    >>> torch.allclose(memory.extend(x).recall(), x, atol=1e-3)
    True
    """

    def __init__(self, time_constants: Sequence[float]) -> None:
        self.time_constants = tuple(float(tau) for tau in time_constants)
        valid = all(0 < tau < math.inf for tau in self.time_constants)
        if not valid or not 0 < len(self.time_constants) == len(set(self.time_constants)):
            raise ValueError(
                "time_constants: expected positive, finite, different numbers, "
                f"got {list(time_constants)}"
            )

    @classmethod
    def spread(cls, size: int, longest: float) -> ExponentialMemory:
        """`size` time constants in geometric steps from 1 to `longest`, which is above 1."""
        check_count(size, "size")
        if not 1 < longest < math.inf:
            raise ValueError(f"longest: expected a number above 1, got {longest}")
        return cls(torch.logspace(0, math.log2(longest), size, 2, dtype=torch.float64).tolist())

    @property
    def size(self) -> int:
        """How many numbers are kept for each channel of each sequence."""
        return len(self.time_constants)

    def _write(self, x_t: Tensor) -> None:
        if self.length == 0:
            self._averages = self._like.new_zeros((*self._shape, self.size))
        decay = self._decay().to(self._averages)
        self._averages = decay * self._averages + (1 - decay) * x_t[..., None]

    def _decay(self) -> Tensor:
        return torch.exp(-1 / torch.tensor(self.time_constants, dtype=torch.float64))

    def _recall(self, first: int, last: int) -> Tensor:
        lags = torch.arange(self.length - 1, -1, -1, dtype=torch.float64)
        decay = self._decay()
        weights = (1 - decay) * decay ** lags[:, None]  # (length, size): m = weights.T @ x
        # Neighboring exponentials are nearly parallel: what rounding has spoilt is left out.
        inverse = torch.linalg.pinv(weights.T, rtol=torch.finfo(self._like.dtype).eps ** 0.5)
        return self._averages @ inverse[first : last + 1].T.to(self._averages)
