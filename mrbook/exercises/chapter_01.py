"""Exercises of chapter 1, Haar: averages and differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mrbook.dwt import wavedec, waverec
from mrbook.exercises.engine import Exercise, Mistake

ROOT2 = 2**0.5


# ----------------------------------------------------------------------------- the way back


def _draw_bands(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    a, b = rng.standard_normal((2, size))
    return torch.from_numpy(a), torch.from_numpy(b)


def _interleave(older: Tensor, newer: Tensor) -> Tensor:
    return torch.stack((older, newer), -1).flatten()


def _synthesis(a: Tensor, b: Tensor) -> Tensor:
    return _interleave((a + b) / ROOT2, (a - b) / ROOT2)


# ------------------------------------------------------------------------------- dimensions


def _draw_resolution(rng: np.random.Generator, size: int) -> tuple[int]:
    return (size - 1,)


def _dimensions(j: int) -> tuple[int, int]:
    return 2**j, 2**j


# ------------------------------------------------------------------------------ who sees it


def _draw_sample(rng: np.random.Generator, size: int) -> tuple[int, int]:
    return int(rng.integers(2**size)), size


def _touching(n: int, J: int) -> set[int]:
    return {0} | {2**j + (n >> (J - j)) for j in range(J)}


# --------------------------------------------------------------------------- the best M terms


def _draw_signal(rng: np.random.Generator, size: int) -> tuple[Tensor, int]:
    length = 2**size
    M = int(rng.integers(1, length + 1))
    while True:  # until it is plain which M coefficients are the largest
        x = torch.from_numpy(rng.normal(scale=4, size=length).round(1))
        ordered = torch.cat(wavedec(x, "haar")).abs().sort(descending=True).values
        if M == length or ordered[M - 1] > ordered[M] + 0.01:
            return x, M


def _keep(
    choose: Callable[[Tensor, int], Tensor], levels: int | None = None
) -> Callable[[Tensor, int], Tensor]:
    """Return an answer that keeps the coefficients at the places that `choose` names."""

    def answer(x: Tensor, M: int) -> Tensor:
        bands = wavedec(x, "haar", level=levels)
        coefficients = torch.cat(bands)
        kept = torch.zeros_like(coefficients)
        places = choose(coefficients, M)
        kept[places] = coefficients[places]
        return waverec(kept.split([len(band) for band in bands]), "haar")

    return answer


def _best_terms(x: Tensor, M: int) -> Tensor:
    return _keep(lambda c, M: c.abs().topk(M).indices)(x, M)


def _kept_coefficients(x: Tensor, M: int) -> Tensor:
    return torch.cat(wavedec(_best_terms(x, M), "haar"))


def _largest_samples(x: Tensor, M: int) -> Tensor:
    kept = torch.zeros_like(x)
    places = x.abs().topk(M).indices
    kept[places] = x[places]
    return kept


# -------------------------------------------------------------------------------------- a ramp


def _draw_level(rng: np.random.Generator, size: int) -> tuple[int]:
    return (size,)


def _ramp_detail(level: int) -> float:
    return -(2.0 ** (1.5 * level - 2))


EXERCISES = (
    Exercise(
        name="haar-by-hand",
        reference=[4.0, 0.0, ROOT2, -2 * ROOT2],
        rtol=4e-3,
        atol=1e-3,
        hints=(
            "Make pairs, (3, 1) and (0, 4). What are their sums and their differences?",
            "Divide every sum and every difference by √2. The two differences are b_1 already.",
            "The two averages are the pair for the next step; √2 times √2 is 2.",
        ),
        mistakes=(
            Mistake(
                [2.0, 0.0, 1.0, -2.0],
                "These are plain means and half differences. They lose energy: "
                "2² + 0² + 1² + 2² = 9, but the samples have 26. Divide by √2 instead of 2.",
            ),
            Mistake(
                [8.0, 0.0, 2.0, -4.0],
                "These are plain sums and differences, and they have more energy than the samples. "
                "Divide by √2 in every step.",
            ),
            Mistake(
                [4.0, 0.0, -ROOT2, 2 * ROOT2],
                "The details have the wrong sign: in this book a difference is older minus newer.",
            ),
            Mistake(
                [4.0, 0.0, ROOT2, 2 * ROOT2],
                "Look at the signs: 0 - 4 is negative, and the older sample stands first.",
            ),
            Mistake(
                [8 / ROOT2, 0.0, ROOT2, -2 * ROOT2],
                "The details of the first step are right. The second step divides by √2 as well.",
            ),
            Mistake(
                [ROOT2, -2 * ROOT2, 4.0, 0.0],
                "The numbers are right, their order is not: the coarsest comes first.",
            ),
        ),
    ),
    Exercise(
        name="haar-synthesis",
        reference=_synthesis,
        draw=_draw_bands,
        hints=(
            "Solve a = (older + newer)/√2 and b = (older - newer)/√2 for older and newer.",
            "Adding the two equations gives the older sample, subtracting them the newer one.",
            "torch.stack((older, newer), -1) makes rows of pairs; flatten() joins them.",
        ),
        mistakes=(
            Mistake(
                lambda a, b: _interleave((a + b) / ROOT2, (b - a) / ROOT2),
                "Look at the sign of the odd samples: the newer one takes a - b.",
            ),
            Mistake(
                lambda a, b: _interleave((a - b) / ROOT2, (a + b) / ROOT2),
                "Each pair is swapped: b is older minus newer, so the older one takes the plus.",
            ),
            Mistake(
                lambda a, b: torch.cat(((a + b) / ROOT2, (a - b) / ROOT2)),
                "All older samples come first. Interleave them instead: older, newer, older, …",
            ),
            Mistake(
                lambda a, b: _interleave((a + b) / 2, (a - b) / 2),
                "Half the sum undoes a plain sum. Here both directions divide by √2.",
            ),
            Mistake(
                lambda a, b: _interleave(a + b, a - b),
                "Both directions divide by √2, or the way back makes the signal larger.",
            ),
            Mistake(
                lambda a, b: torch.stack((a + b, a - b), -1) / ROOT2,
                "These are the right pairs, one per row. flatten() puts them in one line.",
            ),
        ),
    ),
    Exercise(
        name="haar-dimensions",
        reference=_dimensions,
        draw=_draw_resolution,
        sizes=(1, 2, 3, 4, 5, 8, 11),
        hints=(
            "A function in V_j is constant on each of its steps. How many steps are there?",
            "V_{j+1} = V_j ⊕ W_j, and dimensions add up.",
        ),
        mistakes=(
            Mistake(
                lambda j: (2**j, 2 ** (j + 1)),
                "2^(j+1) is the dimension of V_{j+1}. W_j is only what V_{j+1} adds to V_j.",
            ),
            Mistake(
                lambda j: (2**j, 2**j - 1),
                "2^j - 1 counts all coarser details together. How many are in W_j alone?",
            ),
            Mistake(
                lambda j: (2**j, 2 ** (j - 1) if j else 0),
                "2^(j-1) is the dimension of W_{j-1}: V_j holds it already. W_j is new in V_{j+1}.",
            ),
            Mistake(
                lambda j: (j + 1, 1),
                "Each resolution doubles the number of blocks; it doesn't just add one.",
            ),
            Mistake(
                lambda j: (2 * j, 2 * j),
                "Each resolution doubles the number of blocks: a power of 2, not a multiple.",
            ),
            Mistake(
                lambda j: (2 ^ j, 2 ^ j),
                "In Python ^ is not a power: it compares bits. Write 2**j.",
            ),
        ),
    ),
    Exercise(
        name="haar-touching",
        reference=_touching,
        draw=_draw_sample,
        sizes=(1, 2, 3, 4, 5, 6, 8),
        hints=(
            "Try it: transform a signal that is 1 at sample n and 0 elsewhere. What isn't 0?",
            "Every coefficient sees one block. How many blocks of one band hold sample n?",
            "The blocks of b_j hold 2^(J-j) samples, and the band starts at number 2^j.",
        ),
        mistakes=(
            Mistake(
                lambda n, J: set(range(2**J)),
                "Not all: a coefficient sees only its own block. Change one sample and look.",
            ),
            Mistake(
                lambda n, J: {2**j + (n >> (J - j)) for j in range(J)},
                "One is missing: a_0 depends on every sample.",
            ),
            Mistake(
                lambda n, J: {2 ** (J - 1) + n // 2},
                "That is the finest one. The coarser bands see the sample too, in wider blocks.",
            ),
            Mistake(
                lambda n, J: {0} | {2**j + (n >> j) for j in range(J)},
                "The widths are the wrong way round: the blocks of b_0 are the widest.",
            ),
            Mistake(
                lambda n, J: {0, 2 ** (J - 1) + n // 2},
                "There are bands between the coarsest and the finest; each has a block there.",
            ),
            Mistake(
                lambda n, J: {0} | {2**j + n / 2 ** (J - j) for j in range(J)},
                "Number of the block: n over the width, rounded down. In Python that is //.",
            ),
            Mistake(
                lambda n, J: {1} | {1 + 2**j + (n >> (J - j)) for j in range(J)},
                "Counting starts at 0 here, for samples and for coefficients.",
            ),
        ),
    ),
    Exercise(
        name="haar-best-terms",
        reference=_best_terms,
        draw=_draw_signal,
        sizes=(1, 2, 3, 4, 5),
        shrink=False,
        hints=(
            "The error's energy is the sum of the squares of what you drop.",
            "torch.cat joins the bands; c.abs().topk(M).indices says where the M largest are.",
            "Fill a tensor of zeros at these places and split it into bands for waverec.",
        ),
        mistakes=(
            Mistake(
                _keep(lambda c, M: torch.arange(M)),
                "These are the coarsest coefficients. The best are the largest, on whatever level.",
            ),
            Mistake(
                _keep(lambda c, M: c.topk(M).indices),
                "A large negative coefficient counts too: compare absolute values.",
            ),
            Mistake(
                _keep(lambda c, M: (-c.abs()).topk(M).indices),
                "You kept the smallest ones.",
            ),
            Mistake(
                _keep(lambda c, M: c.abs().topk(M).indices, levels=1),
                "That is one level. Take all of them: coarse coefficients can be larger.",
            ),
            Mistake(
                _kept_coefficients,
                "These are the coefficients. waverec turns them back into a signal.",
            ),
            Mistake(
                _largest_samples,
                "These are the largest samples. Choose among the coefficients instead.",
            ),
        ),
    ),
    Exercise(
        name="haar-ramp",
        reference=_ramp_detail,
        draw=_draw_level,
        sizes=(1, 2, 3, 4, 5, 8),
        hints=(
            "Level 1: what is (older - newer)/√2 for 0 and 1? For 6 and 7?",
            "A block of level ℓ has 2^ℓ samples. By how much does each newer sample exceed the one "
            "half a block before it?",
            "There are 2^(ℓ-1) such pairs. Divide the difference of the sums by 2^(ℓ/2).",
        ),
        mistakes=(
            Mistake(
                lambda level: 2.0 ** (1.5 * level - 2),
                "The sign: older minus newer is negative where the signal rises.",
            ),
            Mistake(
                lambda level: -(0.5**0.5),
                "That is level 1. In wider blocks the two halves are further apart.",
            ),
            Mistake(
                lambda level: -(2.0 ** (level - 1)),
                "That is the difference of the halves' means. The coefficient is the difference of "
                "their sums, over 2^(ℓ/2).",
            ),
            Mistake(
                lambda level: -(2.0 ** (2 * level - 2)),
                "That is the difference of the halves' sums. Each level divides by √2 once.",
            ),
            Mistake(
                lambda level: -(2.0 ** (level - 2)),
                "That is with plain means: half the difference of the halves' means.",
            ),
            Mistake(
                lambda level: -level / 2**0.5,
                "Level 1 is right. The halves grow twice as wide from level to level.",
            ),
            Mistake(
                lambda level: 0.0,
                "Haar details vanish on a constant. On a slope the halves differ.",
            ),
        ),
    ),
)
