"""Simpler inputs of the same shape, in search of a counterexample that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

__all__ = ["simpler"]


def simpler(args: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments with one floating-point array made simpler, the simplest first."""
    for i, arg in enumerate(args):
        tensor = isinstance(arg, torch.Tensor)
        if not (tensor and arg.is_floating_point()) and not (
            isinstance(arg, np.ndarray) and arg.dtype.kind == "f"
        ):
            continue
        values = arg.detach().cpu().numpy() if tensor else arg
        for simple in _simpler_arrays(np.asarray(values)):
            new = torch.from_numpy(simple).to(arg.device) if tensor else simple
            yield (*args[:i], new, *args[i + 1 :])


def _simpler_arrays(values: np.ndarray) -> Iterator[np.ndarray]:
    cost = _cost(values)
    if values.size == 0 or cost == (0, 0.0):
        return
    candidates = [np.zeros_like(values)]
    impulses = range(min(values.size, 32))
    for k in impulses:
        impulse = np.zeros_like(values)
        impulse.flat[k] = 1
        candidates.append(impulse)
    candidates.append(np.round(values))
    for k in impulses:
        for value in (0.0, 1.0, np.round(values.flat[k])):
            candidate = values.copy()
            candidate.flat[k] = value
            candidates.append(candidate)
    for candidate in candidates:
        if _cost(candidate) < cost:
            yield candidate


def _cost(values: np.ndarray) -> tuple[int, float]:
    """Order arrays by how hard they are to follow: fractions, nonzero entries, their sizes.

    Infinities and NaN count as fractions and have no size.
    """
    finite = np.isfinite(values)
    fractions = int(np.count_nonzero(~finite | (values != np.round(values))))
    sizes = np.abs(values[finite] - 0.1)
    return (2 * fractions + int(np.count_nonzero(values)), float(sizes.sum()))
