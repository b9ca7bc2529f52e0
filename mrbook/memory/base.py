"""What every memory can do: recall, and say how much it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from mrbook.checks import check_count


class Memory(ABC):
    """A memory of the values ``x[0], ..., x[t]``, of any batch shape.

    Attributes
    ----------
    length : int
        How many values were seen, t + 1.
    """

    length: int = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """How many numbers are kept for each channel of each sequence."""

    @abstractmethod
    def _recall(self, first: int, last: int) -> Tensor:
        """Estimates of ``x[first], ..., x[last]``, shape ``(..., last - first + 1)``."""

    def recall(self, s: int | None = None) -> Tensor:
        """Estimate past values from what is kept.

        Parameters
        ----------
        s : int, optional
            The time to recall, from 0 to ``length - 1``. Without it: all of them.

        Returns
        -------
        Tensor, shape (...) for one time, (..., length) for all
            Estimates, of the dtype and batch shape that were written.

        Raises
        ------
        TypeError
            If `s` is not an integer.
        ValueError
            If nothing was written yet, or `s` is not a time of the past.
        """
        if self.length == 0:
            raise ValueError("nothing to recall: no value was written yet")
        if s is None:
            return self._recall(0, self.length - 1)
        s = check_count(s, "s", 0, self.length - 1)
        return self._recall(s, s)[..., 0]


class Stream(Memory):
    """A memory that takes one value at a time and never sees it again."""

    _shape: torch.Size
    _like: Tensor

    @abstractmethod
    def _write(self, x_t: Tensor) -> None:
        """Take in the value of time ``self.length``."""

    def write(self, x_t: Tensor) -> None:
        """Take in the next value.

        Parameters
        ----------
        x_t : Tensor, shape (...), float32 or float64
            One value per sequence and channel; any shape, the same at every step.

        Raises
        ------
        TypeError
            If `x_t` is not a float32 or float64 tensor, or the dtype changes.
        ValueError
            If the shape or the device changes.
        """
        check_values(x_t, "x_t")
        if self.length == 0:
            self._like = x_t.new_empty(0)
            self._shape = x_t.shape
        if x_t.shape != self._shape:
            raise ValueError(
                f"x_t: expected shape {tuple(self._shape)} as before, got {tuple(x_t.shape)}"
            )
        if x_t.dtype != self._like.dtype:
            raise TypeError(f"x_t: expected {self._like.dtype} as before, got {x_t.dtype}")
        if x_t.device != self._like.device:
            raise ValueError(f"x_t: expected device {self._like.device}, got {x_t.device}")
        self._write(x_t)
        self.length += 1

    def extend(self, x: Tensor) -> Self:
        """Write all values of ``x``, shape (..., time), one after the other; returns the memory."""
        check_values(x, "x")
        if x.ndim == 0:
            raise ValueError("x: expected time along the last axis, got a scalar tensor")
        for x_t in x.unbind(-1):
            self.write(x_t)
        return self


def check_values(x: object, name: str) -> None:
    """Raise unless ``x`` is a float32 or float64 tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {x.dtype}")
