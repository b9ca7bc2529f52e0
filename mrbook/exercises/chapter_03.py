"""Exercises of chapter 3, the discrete wavelet transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mrbook.dwt import MODES, dwt
from mrbook.exercises.engine import Exercise, Mistake

# --------------------------------------------------------------------------------------- cost


def _draw_tree(rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    J = min(size, 8)
    return 2**J * int(rng.integers(1, 5)), 2 * int(rng.integers(1, 5)), J


def _cost(L: int, K: int, J: int) -> int:
    return sum(K * (L >> level) for level in range(J))


def _cost_in_zero_mode(L: int, K: int, J: int) -> int:
    total = 0
    for _ in range(J):
        L = (L + K - 1) // 2
        total += 2 * K * L
    return total


# ------------------------------------------------------------------------------------- lengths


def _draw_lengths(rng: np.random.Generator, size: int) -> tuple[int, int]:
    return int(rng.integers(1, 8 * size + 1)), 2 * int(rng.integers(1, size + 1))


def _band_length(L: int, K: int) -> int:
    return (L + K - 1) // 2


# --------------------------------------------------------------------------------- modes, ramp


def _judge_modes(modes: set[str]) -> str | None:
    if not isinstance(modes, set | frozenset):
        return f"a set of names is expected, got {type(modes).__name__}"
    if unknown := sorted(str(mode) for mode in modes if mode not in MODES):
        return f"there is no mode {unknown[0]!r}"
    ramp = 3 + 2 * torch.arange(20, dtype=torch.float64)
    largest = {mode: float(dwt(ramp, "db2", mode)[1].abs().max()) for mode in MODES}
    for mode in MODES:
        if mode in modes and largest[mode] > 1e-9:
            return f"mode {mode} is not right: its largest detail is {largest[mode]:.1f}"
    missing = sum(size < 1e-9 for size in largest.values()) - len(modes)
    return f"{missing} of the modes {'is' if missing == 1 else 'are'} missing" if missing else None


# -------------------------------------------------------------------------------- band kernels


def _draw_bank(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    K = 2 * min(size, 4)
    return rng.standard_normal(K), rng.standard_normal(K), 1 + (size - 1) % 5


def _spread(h: np.ndarray, d: int) -> np.ndarray:
    dilated = np.zeros((len(h) - 1) * d + 1)
    dilated[::d] = h
    return dilated


def _kernel(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    g = np.ones(1)
    for i in range(level - 1):
        g = np.convolve(g, _spread(lo, 2**i))
    return np.convolve(g, _spread(hi, 2 ** (level - 1)))


def _wrong_one_spread(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    """Spread what stands before a drop instead of what comes after it."""
    g = hi
    for i in range(1, level):
        g = np.convolve(g, _spread(lo, 2**i))
    return g


def _spread_by_level(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    g = np.ones(1)
    for i in range(level - 1):
        g = np.convolve(g, _spread(lo, i + 1))
    return np.convolve(g, _spread(hi, level))


def _always_high(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    return _kernel(hi, hi, level)


def _not_spread(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    g = hi
    for _ in range(level - 1):
        g = np.convolve(g, lo)
    return g


def _zeros_at_the_end(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    g = np.ones(1)
    for i in range(level):
        g = np.convolve(g, np.kron(lo if i < level - 1 else hi, np.eye(1, 2**i)[0]))
    return g


def _repeated(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    g = np.ones(1)
    for i in range(level):
        g = np.convolve(g, np.repeat(lo if i < level - 1 else hi, 2**i))
    return g


def _one_drop_more(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    g = np.ones(1)
    for i in range(level):
        g = np.convolve(g, _spread(lo if i < level - 1 else hi, 2 ** (i + 1)))
    return g


def _one_low_pass(lo: np.ndarray, hi: np.ndarray, level: int) -> np.ndarray:
    return np.convolve(lo, _spread(hi, 2 ** (level - 1))) if level > 1 else hi


# ------------------------------------------------------------------------------------ thresholds


def _draw_coefficients(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, float]:
    a = torch.from_numpy(rng.normal(scale=5, size=size).round(1))
    b = torch.from_numpy(rng.normal(scale=2, size=size).round(1))
    return a, b, float(rng.integers(1, 4))


def _soft(c: Tensor, threshold: float) -> Tensor:
    return c.sign() * (c.abs() - threshold).clamp(min=0)


def _shrink(a: Tensor, b: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return a, _soft(b, threshold)


Answer = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _details(change: Callable[[Tensor, float], Tensor]) -> Answer:
    return lambda a, b, threshold: (a, change(b, threshold))


EXERCISES = (
    Exercise(
        name="dwt-cost",
        reference=_cost,
        draw=_draw_tree,
        hints=(
            "Start with one level. How many windows are there, and how many products in each?",
            "Both bands have L/2 windows of K products.",
            "The next level does the same with L/2 samples: add up a geometric series.",
        ),
        mistakes=(
            Mistake(
                lambda L, K, J: K * L * J,
                "That is K·L on every level, L log L in all. Each level works on half as many "
                "samples as the one before.",
            ),
            Mistake(
                lambda L, K, J: 2 * K * L,
                "2KL is the bound that no number of levels reaches. Count what J levels take.",
            ),
            Mistake(
                lambda L, K, J: sum(K * (L >> level) // 2 for level in range(J)),
                "That is half of it. Every level computes two bands, approximations and details.",
            ),
            Mistake(
                lambda L, K, J: sum(K * (L >> level) // 2 for level in range(J)) + K * (L >> J),
                "You count what is kept. The approximations on the way are computed too: the "
                "next level needs them.",
            ),
            Mistake(
                lambda L, K, J: K * L * (L.bit_length() - 1),
                "That is L log L. There are J levels, and each works on half as many samples as "
                "the one before.",
            ),
            Mistake(
                lambda L, K, J: sum(K * (L >> level) for level in range(J + 1)),
                "That is one level too many: level 1 works on L samples, level J on L/2^(J-1).",
            ),
            Mistake(
                lambda L, K, J: sum(L >> level for level in range(J)),
                "That counts the results. Each of them takes K products.",
            ),
            Mistake(
                lambda L, K, J: sum((2 * K - 1) * (L >> level) for level in range(J)),
                "Count the products alone, without the additions.",
            ),
            Mistake(
                _cost_in_zero_mode,
                "That is mode zero, where windows hang over the ends. On a circle of L samples "
                "there are L/2 windows.",
            ),
            Mistake(
                lambda L, K, J: sum(2 * K * (L >> level) for level in range(J)),
                "That computes every window and drops half of them. Step by two instead.",
            ),
        ),
    ),
    Exercise(
        name="dwt-length",
        reference=_band_length,
        draw=_draw_lengths,
        hints=(
            "Try L = 4, K = 4 with pencil and paper. Where does the first window start?",
            "Window n starts at sample 2n - (K - 2). For the last one this is L - 1 or before.",
            "Count n from 0 to the largest with 2n - (K - 2) <= L - 1.",
        ),
        mistakes=(
            Mistake(
                lambda L, K: L // 2,
                "That is half of the samples, 25 for the 50. Windows that hang over the ends "
                "count too.",
            ),
            Mistake(
                lambda L, K: (L + 1) // 2,
                "That is mode periodization, which wraps round. Here windows that hang over the "
                "ends count too.",
            ),
            Mistake(
                lambda L, K: (L + K) // 2,
                "Nearly. The full convolution has L + K - 1 results; every second one is kept, "
                "and the first one isn't.",
            ),
            Mistake(
                lambda L, K: max((L - K) // 2 + 1, 0),
                "These are the windows that lie wholly inside. One sample is enough to count.",
            ),
            Mistake(lambda L, K: L + K - 1, "Every second one of these is dropped."),
            Mistake(
                lambda L, K: (L + K - 2) // 2,
                "Right for even lengths. An odd signal needs one window more for its last sample.",
            ),
            Mistake(
                lambda L, K: L + K - 2,
                "That is both bands of an even signal together. Count the details alone.",
            ),
            Mistake(
                lambda L, K: (L + K - 1) / 2,
                "Nearly: there are no half coefficients. Round down, with //.",
            ),
        ),
    ),
    Exercise(
        name="dwt-ramp",
        reference={"smooth", "antireflect"},
        judge=_judge_modes,
        hints=(
            "db2 has two vanishing moments: to which signals are its details blind?",
            "So the signal must go on as the same straight line beyond both ends.",
            "Two of the nine modes keep the slope. Turn the figure of the modes to each of them.",
        ),
        mistakes=(
            *(
                Mistake(
                    modes,
                    "On a circle the ramp falls from its end back to its start, and db2 sees the "
                    "jump.",
                )
                for modes in ({"periodic", "periodization"}, {"periodic"}, {"periodization"})
            ),
            *(
                Mistake(
                    modes,
                    "A mirror makes no jump, but a kink: the ramp turns back. db2 sees kinks.",
                )
                for modes in (
                    {"symmetric", "reflect"},
                    {"symmetric"},
                    {"reflect"},
                    {"smooth", "antireflect", "reflect"},
                    {"smooth", "antireflect", "symmetric"},
                )
            ),
            *(
                Mistake(
                    modes, "The minus turns 3 into -3, and that is a jump. What keeps the slope?"
                )
                for modes in (
                    {"antisymmetric"},
                    {"antisymmetric", "antireflect"},
                    {"antisymmetric", "smooth"},
                    {"smooth", "antireflect", "antisymmetric"},
                )
            ),
            *(
                Mistake(
                    modes,
                    "A constant has another slope than the ramp: there is a kink at each end.",
                )
                for modes in ({"constant"}, {"constant", "smooth"})
            ),
            Mistake({"zero"}, "The ramp falls down to 0 at its ends, and db2 sees the jump."),
            Mistake({"smooth"}, "What does antireflect do at the end of a straight line?"),
            Mistake({"antireflect"}, "Which other mode keeps the slope?"),
        ),
    ),
    Exercise(
        name="dwt-kernel",
        reference=_kernel,
        draw=_draw_bank,
        hints=(
            "Level 1 is hi itself. Level 2 is: lo, drop, hi.",
            "(h, drop, g) is (h * g with a zero between its taps, drop). The filter after the "
            "drop is spread.",
            "A filter behind i drops is spread by 2^i. All but the last are lo.",
        ),
        mistakes=(
            Mistake(
                _wrong_one_spread,
                "You spread the wrong one. What comes after the drop is spread, what stands before "
                "it stays.",
            ),
            Mistake(
                _spread_by_level,
                "Each drop doubles the spacing: the taps stand 1, 2, 4, 8 apart, not 1, 2, 3, 4.",
            ),
            Mistake(
                _always_high,
                "Only the last filter is the high-pass. The way there leads through the low-pass.",
            ),
            Mistake(_not_spread, "A filter behind a drop has to be spread."),
            Mistake(
                lambda lo, hi, level: _kernel(lo, lo, level),
                "That is the approximation of the level. The last filter of a detail is hi.",
            ),
            Mistake(
                lambda lo, hi, level: _kernel(hi, lo, level),
                "Low-pass and high-pass have changed places: the way there leads through lo.",
            ),
            Mistake(
                _one_low_pass,
                "A detail of level l has gone through l - 1 low-passes, not through one.",
            ),
            Mistake(
                _zeros_at_the_end,
                "Zeros belong between the taps, not behind the last one: K taps, d apart, take "
                "(K - 1) d + 1 places.",
            ),
            Mistake(_repeated, "Spreading puts zeros between the taps. It does not repeat them."),
            Mistake(
                _one_drop_more,
                "One drop too many: the first filter stands behind none and is not spread.",
            ),
        ),
    ),
    Exercise(
        name="dwt-threshold",
        reference=_shrink,
        draw=_draw_coefficients,
        hints=(
            "Which of the two bands holds the noise you want to remove?",
            "The size of a detail becomes |b| - threshold, but never below 0. Keep its sign.",
            "clamp(min=0) cuts off at zero, b.sign() has the signs.",
        ),
        mistakes=(
            Mistake(
                lambda a, b, threshold: (_soft(a, threshold), _soft(b, threshold)),
                "You shrink the approximation too. It holds the level of the signal; leave it.",
            ),
            Mistake(
                _details(lambda b, threshold: b * (b.abs() > threshold)),
                "That is hard thresholding: the large details stay as they are. Move them towards "
                "zero by the threshold.",
            ),
            Mistake(
                _details(lambda b, threshold: (b.abs() - threshold).clamp(min=0)),
                "The signs are lost: negative details came out positive.",
            ),
            Mistake(
                _details(lambda b, threshold: (b - threshold).clamp(min=0)),
                "Large negative details count too. Compare their size.",
            ),
            Mistake(
                _details(lambda b, threshold: b.sign() * (b.abs() - threshold)),
                "Small details change their sign now. They should become zero.",
            ),
            Mistake(
                _details(lambda b, threshold: (b - threshold) * (b.abs() > threshold)),
                "For negative details, minus the threshold leads away from zero. Move them up.",
            ),
            Mistake(
                _details(lambda b, threshold: b.clamp(-threshold, threshold)),
                "You keep just what should go. Take that away from b instead.",
            ),
            Mistake(
                _details(
                    lambda b, threshold: torch.where(b.abs() > threshold, _soft(b, threshold), b)
                ),
                "The small details are still there. They should become zero.",
            ),
            Mistake(
                lambda a, b, threshold: (_soft(a, threshold), b),
                "You shrink the approximation and leave the details. It is the other way round.",
            ),
            Mistake(
                lambda a, b, threshold: _soft(b, threshold),
                "The details are right. Return both bands, (a, b).",
            ),
        ),
    ),
    Exercise(
        name="dwt-shift",
        reference=(32, 8),
        hints=(
            "Neighbors on level 1 are 2 samples apart. And on level 5?",
            "All bands must move by a whole number of places; the coarsest is the strictest.",
        ),
        mistakes=(
            Mistake((2, 1), "Level 1 moves along, but level 2 does not: its steps are 4 samples."),
            Mistake((2, 0), "Level 1 moves along, but level 2 does not: its steps are 4 samples."),
            Mistake((1, 1), "Moving by one sample keeps what was dropped before. Try it."),
            Mistake((10, 2), "Steps double from level to level: 2, 4, 8, and so on, not 2, 4, 6."),
            Mistake((16, 4), "That is enough for four levels."),
            Mistake((32, 16), "The first number is right. 16 places is how far level 1 moves."),
            Mistake((1024, 256), "A full turn does it, but a smaller move does it too."),
            Mistake((64, 16), "That does it, but half as far is enough."),
            Mistake(
                (32, 4),
                "The first number is right. Neighbors on level 2 are 4 samples apart: how many "
                "such steps are 32 samples?",
            ),
            Mistake(
                (32, 32),
                "The first number is right. But one place of level 2 is more than one sample.",
            ),
            Mistake((32, 1), "The first number is right. One place is how far level 5 moves."),
            Mistake((32, 2), "The first number is right. Two places is how far level 4 moves."),
            Mistake((5, 2), "Steps double from level to level: 2, 4, 8, and so on."),
        ),
    ),
)
