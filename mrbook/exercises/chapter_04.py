"""Exercises of chapter 4, a wavelet memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake
from mrbook.filters import Wavelet
from mrbook.memory import AnchoredMemory

ROOT2 = 2**0.5


# ------------------------------------------------------------------ from coefficients to means


def _draw_memory(rng: np.random.Generator, size: int) -> tuple[Tensor]:
    return (torch.from_numpy(rng.standard_normal(size + 1)),)


def _means(z: Tensor) -> Tensor:
    return _walk(z, lambda value, level: value / 2 ** (level / 2))


def _halved(z: Tensor) -> Tensor:
    """Splits by plain halves, as if the coefficients were means."""
    a = z[0]
    means: list[Tensor] = []
    for b in z[1:]:
        means.insert(0, (a + b) / 2)
        a = (a - b) / 2
    return torch.stack([a, *means])


def _walk(z: Tensor, scale: Callable[[Tensor, int], Tensor], sign: int = 1) -> Tensor:
    """The newest half is split again and again; `scale` makes a mean of a coefficient."""
    a = z[0]
    means: list[Tensor] = []
    for level, b in zip(range(len(z) - 2, -1, -1), sign * z[1:], strict=True):
        means.insert(0, scale((a + b) / ROOT2, level))
        a = (a - b) / ROOT2
    return torch.stack([a, *means])


# --------------------------------------------------------------------------------- which block


def _draw_times(rng: np.random.Generator, size: int) -> tuple[int, int]:
    t = int(rng.integers(4 * size))
    return t, int(rng.integers(t + 1))


def _block(t: int, s: int) -> tuple[int, int]:
    if s == t:
        return t, t
    size = 2 ** ((t - s).bit_length() - 1)
    return t - 2 * size + 1, t - size


def _fixed_block(t: int, s: int) -> tuple[int, int]:
    size = 2 ** max(0, (t - s).bit_length() - 1)
    return s // size * size, s // size * size + size - 1


def _never_alone(t: int, s: int) -> tuple[int, int]:
    size = 2 ** max(0, (t - s).bit_length() - 1)
    return t - 2 * size + 1, t - size


def _late_block(t: int, s: int) -> tuple[int, int]:
    size = 2 ** ((t - s + 1).bit_length() - 1)
    return t - 2 * size + 2, t - size + 1


# ------------------------------------------------------------------------------------- forget


def _draw_bands(rng: np.random.Generator, size: int) -> tuple[list[Tensor], list[int]]:
    depth = 1 + (size - 1) % 5
    lengths = [1, *(2**j for j in range(depth))]
    bands = [torch.from_numpy(rng.standard_normal(n)) for n in lengths]
    return bands, [int(rng.integers(2**j + 1)) for j in range(depth)]


def _forget(bands: list[Tensor], f: list[int]) -> list[Tensor]:
    return _zeroed(bands, [slice(0, 0), *(slice(first) for first in f)])


def _zeroed(bands: Sequence[Tensor], places: Sequence[slice]) -> list[Tensor]:
    zeroed = [band.clone() for band in bands]
    for band, place in zip(zeroed, places, strict=True):
        band[place] = 0
    return zeroed


def _forget_shifted(bands: list[Tensor], f: list[int]) -> list[Tensor]:
    return _zeroed(bands, [slice(first) for first in f] + [slice(0, 0)])


def _forget_newest(bands: list[Tensor], f: list[int]) -> list[Tensor]:
    return _zeroed(bands, [slice(0, 0), *(slice(first, None) for first in f)])


def _forget_one_more(bands: list[Tensor], f: list[int]) -> list[Tensor]:
    return _zeroed(bands, [slice(0, 0), *(slice(first + 1) for first in f)])


def _forget_last(bands: list[Tensor], f: list[int]) -> list[Tensor]:
    return _zeroed(bands, [slice(0, 0), *(slice(-n, None) for n in f)])


def _cut_off(bands: list[Tensor], f: list[int]) -> list[Tensor]:
    return [bands[0], *(band[first:] for band, first in zip(bands[1:], f, strict=True))]


# ------------------------------------------------------------------------- where the noise goes


def _draw_lag(rng: np.random.Generator, size: int) -> tuple[int]:
    return (size - 1 if size < 5 else int(rng.integers(2**size)),)


def _noise_error(tau: int) -> float:
    return 1 - 1 / 2 ** max(0, tau.bit_length() - 1)


# ------------------------------------------------------------------------------------ no state


def _judge_twins(value: tuple[Tensor, Tensor]) -> str | None:
    if not isinstance(value, tuple) or len(value) != 2:
        return "a tuple of two tensors is expected"
    for history in value:
        if not isinstance(history, Tensor) or history.shape != (8,):
            return "each history must be a tensor of shape (8,)"
        if history.dtype != torch.float64 or not history.isfinite().all():
            return "each history must hold finite float64 numbers"
    before = [AnchoredMemory(history, "haar", depth=3).newest for history in value]
    if not torch.allclose(before[0], before[1], rtol=0, atol=1e-9):
        return "their memories differ already at time t"
    next_sample = torch.zeros(1, dtype=torch.float64)
    later = [torch.cat((history, next_sample)) for history in value]
    after = [AnchoredMemory(history, "haar", depth=3).newest for history in later]
    if torch.allclose(after[0], after[1], rtol=0, atol=1e-6):
        return "their memories are equal at time t + 1 too: no new cut runs between what differs"
    return None


def _pulses(*lags: int) -> tuple[Tensor, ...]:
    return tuple(torch.eye(8, dtype=torch.float64)[7 - lag] for lag in lags)


# ------------------------------------------------------------------------ how much of now gets in


def _draw_filters(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, int]:
    names = ["haar", "db2", "db3", "sym4", "coif1", "db5"]
    wavelet = Wavelet(names[int(rng.integers(len(names)))] if size > 2 else names[size - 1])
    return wavelet.dec_lo.flip(0), wavelet.dec_hi.flip(0), 1 + int(rng.integers(size))


def _energy_now(h0: Tensor, h1: Tensor, J: int) -> float:
    return _energy(float(h0[-1]), float(h1[-1]), J)


def _energy(low: float, high: float, J: int) -> float:
    return sum((low**i * high) ** 2 for i in range(J)) + low ** (2 * J)


def _draw_more_than_one_level(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, int]:
    h0, h1, J = _draw_filters(rng, size)
    return h0, h1, J + 1


EXERCISES = (
    Exercise(
        name="memory-means",
        reference=_means,
        draw=_draw_memory,
        sizes=(1, 2, 3, 4, 5, 6, 8, 10),
        hints=(
            "One step of synthesis turns a and b into an older and a newer half. "
            "Which of the two is one of the blocks already?",
            "The older half is a block. The newer half is the a for the next b.",
            "A coefficient that sees n samples is √n times their mean.",
        ),
        mistakes=(
            Mistake(
                lambda z: _walk(z, lambda value, level: value),
                "These are coefficients. Divide one that sees n samples by √n to get a mean.",
            ),
            Mistake(
                lambda z: _walk(z, lambda value, level: value / 2 ** ((len(z) - 2) / 2)),
                "The blocks are not equally long: each divides by the root of its own length.",
            ),
            Mistake(
                lambda z: _walk(z, lambda value, level: value / 2 ** (level / 2), sign=-1),
                "A detail is older minus newer, so the older half is (a + b)/√2.",
            ),
            Mistake(lambda z: _means(z).flip(0), "The newest block comes first."),
            Mistake(
                lambda z: _walk(z, lambda value, level: value / 2 ** ((level + 1) / 2)),
                "The older half of 2^ℓ samples has 2^(ℓ-1) of them: divide by the root of that.",
            ),
            Mistake(
                lambda z: _walk(z, lambda value, level: value / 2**level),
                "A coefficient is √n times the mean of n samples: divide by √n, not by n.",
            ),
            Mistake(
                _halved,
                "One step of synthesis divides by √2, and a coefficient is not yet a mean.",
            ),
            Mistake(
                lambda z: _means(torch.cat((z[:1], z[1:].flip(0)))),
                "z[1] is b_0, the coarsest detail: start with it, as it belongs to a_0.",
            ),
        ),
    ),
    Exercise(
        name="memory-block",
        reference=_block,
        draw=_draw_times,
        hints=(
            "Work with the lag t - s. Which lags does the block of 4 samples hold?",
            "The block of n samples holds the lags n to 2n - 1; the newest sample is alone.",
        ),
        mistakes=(
            Mistake(
                _fixed_block,
                "These blocks stand still in time. In this memory the cuts move with t.",
            ),
            Mistake(
                _late_block,
                "The newest sample has lag 0 and is a block of its own; then come 1, 2, 4, ...",
            ),
            Mistake(
                lambda t, s: tuple(t - time for time in reversed(_block(t, s))),
                "These are lags. The times are t minus the lags, the earlier time first.",
            ),
            Mistake(_never_alone, "The newest sample, at lag 0, is a block of its own."),
            Mistake(
                lambda t, s: (_block(t, s)[0] - (t > s), _block(t, s)[1]),
                "Lags n to 2n are one sample too many: the block of n ends at lag 2n - 1.",
            ),
            Mistake(
                lambda t, s: (_block(t, s)[0], t),
                "That is all that the wavelet sees. Recall gives the mean of its older half only.",
            ),
            Mistake(
                lambda t, s: tuple(max(0, time) for time in _block(t, s)),
                "Don't cut the block off at 0: the zeros before the start are in the mean too.",
            ),
        ),
    ),
    Exercise(
        name="memory-forget",
        reference=_forget,
        draw=_draw_bands,
        hints=(
            "Coefficients stand in the order of time: which end of a band is old?",
            "bands[0] is the approximation, so b_j is bands[j + 1].",
        ),
        mistakes=(
            Mistake(_forget_newest, "You forget the new and keep the old: n < f(j) goes."),
            Mistake(_forget_one_more, "Coefficient f(j) itself is kept: only n < f(j) goes."),
            Mistake(_forget_shifted, "f[0] belongs to b_0, which is bands[1]."),
            Mistake(
                lambda bands, f: _forget(bands, f[::-1]),
                "f[0] is for b_0, the coarsest details: f and bands run the same way.",
            ),
            Mistake(
                _forget_last,
                "b[-n:] is the newest n, and for n = 0 the whole band. The old end is b[:n].",
            ),
            Mistake(
                lambda bands, f: _forget(bands, [len(band) - 1 for band in bands[1:]]),
                "You keep the newest coefficient of every band. How many to forget, f says.",
            ),
            Mistake(_cut_off, "Forgotten coefficients become zero, but keep their place."),
        ),
    ),
    Exercise(
        name="memory-noise",
        reference=_noise_error,
        draw=_draw_lag,
        sizes=(1, 2, 3, 4, 5, 6, 8, 10),
        hints=(
            "The answer is a mean of n samples, one of which is the sample in question.",
            "x - mean: expand the square. E[x · mean] = 1/n, and E[mean²] = 1/n.",
            "The block of n samples starts at lag n.",
        ),
        mistakes=(
            Mistake(
                lambda tau: 1 / 2 ** max(0, tau.bit_length() - 1),
                "That is the variance of the mean. What is missing is the rest.",
            ),
            Mistake(
                lambda tau: 1 + 1 / 2 ** max(0, tau.bit_length() - 1),
                "The sample is part of the mean, so the two are correlated.",
            ),
            Mistake(
                lambda tau: (256 - 9) / 256,
                "That is the mean over all lags. The error depends on how long ago.",
            ),
            Mistake(
                lambda tau: 1 - 1 / max(1, tau),
                "That is right where a block starts. All lags from n to 2n - 1 share one n.",
            ),
            Mistake(
                lambda tau: float(2 ** max(0, tau.bit_length() - 1) - 1),
                "That is the error of the whole block. Each of its n samples has an nth of it.",
            ),
            Mistake(
                lambda tau: 1 - 1 / 2 ** tau.bit_length(),
                "The block that holds lag τ has n samples and starts at lag n, not at n/2.",
            ),
        ),
    ),
    Exercise(
        name="memory-twins",
        reference=_pulses(3, 2),
        judge=_judge_twins,
        hints=(
            "How can two histories have equal block means? Move something inside one block.",
            "One step later every sample is one lag older. Which two neighbors are then apart?",
            "The lags 2 and 3 share a block. One step later they are lags 3 and 4.",
        ),
        mistakes=(
            Mistake(_pulses(0, 0), "These two are the same history, so nothing can differ later."),
            Mistake(
                _pulses(5, 4),
                "One step later these lags are 5 and 6, in one block still.",
            ),
            Mistake(_pulses(2, 1), "The lags 1 and 2 are in different blocks at time t already."),
        ),
    ),
    Exercise(
        name="memory-now",
        reference=_energy_now,
        draw=_draw_more_than_one_level,
        shrink=False,
        hints=(
            "Which tap meets the newest sample, if the taps are stored oldest first?",
            "The newest a of one level is the newest input of the next: "
            "after ℓ levels it is h0[-1]^ℓ.",
            "Add up the squares of all the newest b and of the last a.",
        ),
        mistakes=(
            Mistake(
                lambda h0, h1, J: 1.0,
                "All coefficients together hold all of it. Those that end now needn't.",
            ),
            Mistake(
                lambda h0, h1, J: _energy(float(h0[0]), float(h1[0]), J),
                "Oldest first: the newest sample meets the last tap, not the first.",
            ),
            Mistake(
                lambda h0, h1, J: (
                    _energy(float(h0[-1]), float(h1[-1]), J) - float(h0[-1]) ** (2 * J)
                ),
                "The approximation a_0 is kept as well.",
            ),
            Mistake(
                lambda h0, h1, J: (
                    sum(float(h0[-1] ** i * h1[-1]) for i in range(J)) + float(h0[-1] ** J)
                ),
                "These are the coefficients themselves. Energy is the sum of their squares.",
            ),
            Mistake(
                lambda h0, h1, J: float(J * h1[-1] ** 2 + h0[-1] ** 2),
                "Only level 1 sees the pulse itself. Level ℓ sees what ℓ - 1 low-passes leave.",
            ),
            Mistake(
                lambda h0, h1, J: float(h1[-1] ** 2 + h0[-1] ** 2),
                "That is one level. The a of level 1 is split again, J - 1 times.",
            ),
            Mistake(
                lambda h0, h1, J: (
                    _energy(float(h0[-1]), float(h1[-1]), J)
                    + sum(float(h0[-1]) ** (2 * i) for i in range(1, J))
                ),
                "Only the last approximation is kept. The others are split into the next level.",
            ),
        ),
    ),
)
