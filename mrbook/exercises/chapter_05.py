"""Exercises of chapter 5, MultiresConv."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake


def _draw_depth(rng: np.random.Generator, size: int) -> tuple[int]:
    return (3 + min(size, 8),)


def _mean_of_16(depth):  # type: ignore[no-untyped-def]
    w = torch.zeros(depth + 2, dtype=torch.float64)
    w[0] = 2.0 ** (-depth / 2)
    for level in range(5, depth + 1):
        w[depth + 1 - level] = -(2.0 ** (-level / 2))
    return w


def _approximation_only(depth: int) -> Tensor:
    w = torch.zeros(depth + 2, dtype=torch.float64)
    w[0] = 2.0 ** (-depth / 2)
    return w


def _depth_four(depth: int) -> Tensor:
    w = torch.zeros(depth + 2, dtype=torch.float64)
    w[0] = 1 / 4
    return w


def _without_root(depth: int) -> Tensor:
    w = _depth_four(depth)
    w[1 : depth - 3] = -1 / 4
    return w


def _changed(change: Callable[[Tensor], Tensor]) -> Callable[[int], Tensor]:
    """The right weights, with those of the details changed."""

    def answer(depth: int) -> Tensor:
        w = _mean_of_16(depth)
        w[1:-1] = change(w[1:-1])
        return w

    return answer


def _draw_level(rng: np.random.Generator, size: int) -> tuple[int]:
    return (min(size, 12),)


def _expected_energy(level):  # type: ignore[no-untyped-def]
    return 3.0**-level


def _draw_parts(rng: np.random.Generator, size: int) -> tuple[list[Tensor]]:
    """The kernels of details, of random filters."""
    taps, depth = 2 + size % 3, min(1 + size // 3, 4)
    h0, h1 = rng.standard_normal((2, taps))
    a, parts = np.ones(1), []
    for level in range(depth):
        low, high = np.zeros((2, (taps - 1) * 2**level + 1))
        low[:: 2**level], high[:: 2**level] = h0, h1
        parts.append(torch.from_numpy(np.convolve(a, high)))
        a = np.convolve(a, low)
    return (parts,)


def _flipped(g):  # type: ignore[no-untyped-def]
    return [part.flip(0) for part in g]


EXERCISES = (
    Exercise(
        name="multires-levels",
        reference=9,
        hints=(
            "At level ℓ the taps stand 2^(ℓ-1) steps apart, and there are K - 1 gaps between them.",
            "All levels together look (K - 1)(1 + 2 + ... + 2^(J-1)) steps back.",
            "From the last of 1,024 samples to the first there are 1,023 steps.",
        ),
        mistakes=(
            Mistake(
                8,
                "K · 2^J = 1,024 counts taps, not gaps: eight levels look 3 · 255 = 765 steps "
                "back.",
            ),
            Mistake(
                10,
                "Ten levels are what two taps need. Four taps look three times as far back.",
            ),
            Mistake(
                11,
                "That is the number of weights, J + 2. Asked is J.",
            ),
            Mistake(
                math.log2((1024 - 1) / (4 - 1) + 1),
                "The formula is right, but levels are whole: round up.",
            ),
        ),
    ),
    Exercise(
        name="multires-owner",
        reference=5,
        hints=(
            "Which lags does the detail of level ℓ look at? Level 1 looks at 0 and 1.",
            "Level ℓ looks at the lags 0 to 2^ℓ - 1, so 32 to 63 are new at level 6.",
            "The weights are listed from coarse to fine: w_1 reads level J, w_J reads level 1.",
        ),
        mistakes=(
            Mistake(
                6,
                "w_6 reads level 5, which ends at lag 31. You want level 6, and weights run from "
                "coarse to fine: w_1 reads level 10, w_2 level 9.",
            ),
            Mistake(
                1,
                "w_1 reads level 10. It does reach these lags, but finer levels have reached them "
                "before.",
            ),
            Mistake(
                4,
                "w_4 reads level 7, which reaches the lags 64 to 127 first. One level finer.",
            ),
            Mistake(
                0,
                "w_0 reads the approximation. It reaches all lags, but the question is about the "
                "details.",
            ),
        ),
    ),
    Exercise(
        name="multires-mean",
        reference=_mean_of_16,
        draw=_draw_depth,
        hints=(
            "For depth 4: a_4 is a sum of 16 samples. What did each level divide by?",
            "a_4 is the sum over 2^(4/2) = 4, and the mean is the sum over 16.",
            "A block's newer half is (a - b) / √2, since a detail is older minus newer. "
            "Apply it from the coarsest level down to a_4.",
        ),
        mistakes=(
            Mistake(
                lambda depth: _mean_of_16(depth) / 4,
                "Four times too small: a_4 is already the sum divided by 4, not the sum. Each "
                "level divides by √2, so J levels by 2^(J/2).",
            ),
            Mistake(
                _depth_four,
                "This is right for depth 4. With more levels, w_0 no longer reads a_4 but a_J, a "
                "sum over 2^J samples: the details must cancel the older ones.",
            ),
            Mistake(
                _without_root,
                "The newer half of a block is (a - b) / √2, not a - b: every level above 4 divides "
                "by another √2.",
            ),
            Mistake(
                _approximation_only,
                "This is right for depth 4. With more levels, a_J is a sum over 2^J samples: the "
                "details must cancel the older ones.",
            ),
            Mistake(
                _changed(torch.neg),
                "This is the mean of older samples: a detail is older minus newer, so the newer "
                "half is (a - b) / √2.",
            ),
            Mistake(
                _changed(lambda w: w.flip(0)),
                "The right numbers in the wrong order: details are listed from coarse to fine, "
                "so level ℓ has the index J + 1 - ℓ.",
            ),
        ),
    ),
    Exercise(
        name="multires-rank",
        reference=11,
        hints=(
            "The filters are fixed, so r is fixed too. What is left free in the closed form?",
            "One constant for lag 0 and one for each octave. Every part is such a kernel.",
            "Ten levels have ten octaves.",
        ),
        mistakes=(
            Mistake(
                12,
                "One too many: the input alone, a pulse at lag 0, is already a mixture of the "
                "other parts.",
            ),
            Mistake(
                10,
                "There are ten octaves, but lag 0 stands apart and has a constant of its own.",
            ),
            Mistake(
                56,
                "56 is what many layers with different r span together. Here r is fixed.",
            ),
            Mistake(
                16,
                "16 numbers are stored, J + 6. Asked is how many of the J + 2 parts are "
                "independent.",
            ),
            Mistake(
                1024,
                "There are 1,024 lags, but twelve parts can't span more than twelve dimensions.",
            ),
        ),
    ),
    Exercise(
        name="multires-energy",
        reference=_expected_energy,
        draw=_draw_level,
        hints=(
            "What is the mean of the square of a number drawn from U(-1, 1)?",
            "It is 1/3. K taps, each divided by √K: the energy of a filter is 1/3 on average.",
            "How many filters stand one after the other in the detail of level ℓ?",
        ),
        mistakes=(
            Mistake(
                lambda level: 1.0,
                "That is a start from an orthogonal wavelet. A random filter has energy 1/3 on "
                "average, not 1.",
            ),
            Mistake(
                lambda level: 1 / 3,
                "That is level 1. Each further level adds a filter, and its energy multiplies.",
            ),
            Mistake(
                lambda level: 3.0 ** (1 - level),
                "One filter is missing: the detail of level ℓ goes through ℓ - 1 low-passes and "
                "one high-pass.",
            ),
            Mistake(
                lambda level: 3.0 ** -(1 + level),
                "One factor of 1/3 too many: the detail of level ℓ goes through ℓ filters. The "
                "weight isn't counted.",
            ),
            Mistake(
                lambda level: level / 3,
                "Filters in a row multiply: each takes the energy that the one before has left.",
            ),
            Mistake(
                lambda level: 12.0**-level,
                "1/12 is the variance of U(0, 1). U(-1, 1) is twice as wide: the mean of U² is "
                "1/3.",
            ),
            Mistake(
                lambda level: 2.0**-level,
                "The mean of |U| is 1/2, but energy is about squares: the mean of U² is 1/3.",
            ),
            Mistake(
                lambda level: float(np.pi**-level),
                "1/π is the median for two tied taps; asked is the mean for untied ones.",
            ),
        ),
    ),
    Exercise(
        name="multires-flip",
        reference=_flipped,
        draw=_draw_parts,
        hints=(
            "Level 1 first: its kernel is the filter h1 itself, by lag.",
            "Level 2 is a convolution of two filters. What does a convolution become if both "
            "factors are reversed?",
            "Every part is reversed within its own length.",
        ),
        mistakes=(
            Mistake(
                lambda g: [part.clone() for part in g],
                "Something does change: reverse (1, 2, 3) and it answers a pulse with 3, 2, 1. "
                "Only symmetric parts stay.",
            ),
            Mistake(
                lambda g: [-part for part in g],
                "That is true of Haar, whose details are antisymmetric. Try a filter that looks "
                "different from both ends.",
            ),
            Mistake(
                lambda g: g[::-1],
                "This turns the list round. Turn round each kernel in it: the levels stay.",
            ),
            Mistake(
                lambda g: [part * (-1.0) ** torch.arange(len(part)) for part in g],
                "Alternating signs turn a low-pass into a high-pass. A flip changes the order and "
                "no sign.",
            ),
            Mistake(
                lambda g: [-part.flip(0) for part in g],
                "The order is right, but a flip changes no sign.",
            ),
            Mistake(
                lambda g: [
                    torch.cat([part.new_zeros(len(g[-1]) - len(part)), part.flip(0)]) for part in g
                ],
                "This reverses all parts about one common end. But each level's filters sit at "
                "lag 0: every part is reversed within its own length.",
            ),
        ),
        shrink=False,
    ),
)
