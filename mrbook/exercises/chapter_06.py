"""Exercises of chapter 6, the dilated convolution."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake


def _draw_tree(rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    kernel_size = int(rng.integers(2, 5))
    depth = int(rng.integers(1, min(4, size) + 1))
    reach = (kernel_size - 1) * (2**depth - 1)
    return int(rng.integers(0, reach + 3)), kernel_size, depth


def _count_paths(lag, kernel_size, depth):  # type: ignore[no-untyped-def]
    return _count(lag, [kernel_size] * depth, [2**level for level in range(depth)])


def _count(lag: int, choices: list[int], waits: list[int]) -> int:
    paths = product(*map(range, choices))
    return sum(np.dot(q, waits) == lag for q in paths).item()


def _any_digit(lag: int, kernel_size: int, depth: int) -> int:
    waits = [2**level for level in range(depth)]
    return _count(lag, [lag // wait + 1 for wait in waits], waits)


def _draw_level(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor, int]:
    batch, channels = min(2, 1 + size // 4), min(3, 1 + size // 2)
    kernel_size, dilation = int(rng.integers(2, 5)), 2 ** int(rng.integers(0, 3))
    a = torch.from_numpy(rng.standard_normal((batch, channels, size)))
    h0, h1 = (torch.from_numpy(rng.standard_normal((channels, 1, kernel_size))) for _ in range(2))
    return a, h0, h1, dilation


def _padded(a: Tensor, h0: Tensor, h1: Tensor, dilation: int, left: int) -> tuple[Tensor, Tensor]:
    right = (h0.shape[-1] - 1) * dilation - left
    padded = F.pad(a, (left, right))
    return _valid(padded, h0, dilation), _valid(padded, h1, dilation)


def _valid(padded: Tensor, h: Tensor, dilation: int) -> Tensor:
    """conv1d by its definition; quicker than conv1d where there is next to nothing to do."""
    steps = padded.shape[-1] - (h.shape[-1] - 1) * dilation
    if steps < 1:
        raise RuntimeError("the window is longer than the signal")
    starts = range(0, h.shape[-1] * dilation, dilation)
    terms = [h[..., q] * padded[..., start : start + steps] for q, start in enumerate(starts)]
    return torch.stack(terms).sum(0)


def _level(a, h0, h1, dilation):  # type: ignore[no-untyped-def]
    return _padded(a, h0, h1, dilation, (h0.shape[-1] - 1) * dilation)


def _pad_without_dilation(
    a: Tensor, h0: Tensor, h1: Tensor, dilation: int
) -> tuple[Tensor, Tensor]:
    past = F.pad(a, (h0.shape[-1] - 1, 0))
    return _valid(past, h0, dilation), _valid(past, h1, dilation)


def _details_of_next(a: Tensor, h0: Tensor, h1: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
    next_a, _ = _level(a, h0, h1, dilation)
    return next_a, _level(next_a, h0, h1, dilation)[1]


def _draw_stack(rng: np.random.Generator, size: int) -> tuple[list[int], int]:
    dilations = rng.integers(1, 2 + size, size=min(size, 5)).tolist()
    return dilations, int(rng.integers(2, 6))


def _receptive_field(dilations, kernel_size):  # type: ignore[no-untyped-def]
    return 1 + (kernel_size - 1) * sum(dilations)


def _draw_sizes(rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    depth = int(rng.integers(1, min(5, size) + 1))
    return int(rng.integers(1, 4 * size + 1)), int(rng.integers(2, 5)), depth


def _multiplications(length, kernel_size, depth):  # type: ignore[no-untyped-def]
    steps = [q * 2**level for level in range(depth) for q in range(kernel_size)]
    return 2 * sum(max(0, length - step) for step in steps)


def _complete_windows(length: int, kernel_size: int, depth: int) -> int:
    reaches = [(kernel_size - 1) * 2**level for level in range(depth)]
    return 2 * kernel_size * sum(max(0, length - reach) for reach in reaches)


def _signal(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _relu_machine(x: Tensor) -> Tensor:
    a = torch.relu(x + F.pad(x, (1, 0))[:-1])
    return a + F.pad(a, (2, 0))[:-2]


def _judge_signals(signals) -> str | None:  # type: ignore[no-untyped-def]
    if not isinstance(signals, tuple | list) or len(signals) != 2:
        return "give two signals, as a tuple"
    u, v = signals
    for signal in (u, v):
        if not isinstance(signal, Tensor) or signal.shape != (4,) or signal.dtype != torch.float64:
            return "each signal is a float64 tensor of shape (4,)"
    apart = _relu_machine(u) + _relu_machine(v)
    if torch.allclose(_relu_machine(u + v), apart):
        return "for these two the answer to the sum is the sum of the answers"
    return None


def _draw_average(rng: np.random.Generator, size: int) -> tuple[float, int]:
    return float(np.round(rng.uniform(0.5, 9.5), 1)), int(rng.integers(1, min(6, size) + 1))


def _average_taps(half_life, depth):  # type: ignore[no-untyped-def]
    return _taps([0.5 ** (2**level / half_life) for level in range(depth)])


def _taps(older: list[float], *, normalize: bool = True) -> Tensor:
    taps = torch.tensor([[tap, 1.0] for tap in older], dtype=torch.float64)
    return taps / taps.sum(1, keepdim=True) if normalize else taps


_ONE = _signal(1, 0, 0, 0)

EXERCISES = (
    Exercise(
        name="dilated-paths",
        reference=_count_paths,
        draw=_draw_tree,
        hints=(
            "A path is a choice of q = 0, ..., K-1 at each level, and it waits q times the "
            "dilation there.",
            "itertools.product(range(kernel_size), repeat=depth) lists all the paths. Which of "
            "them arrive at this lag?",
            "Faster: a kernel adds up its paths. Which taps make each path worth 1?",
        ),
        mistakes=(
            Mistake(
                lambda lag, kernel_size, depth: int(lag <= (kernel_size - 1) * (2**depth - 1)),
                "One path per lag is right for two taps, where the digits are binary. With a third "
                "tap the digit 2 is allowed, and 2·1 = 1·2 makes a choice.",
            ),
            Mistake(
                lambda lag, kernel_size, depth: kernel_size**depth,
                "K^J counts the paths to all lags together. How many end at this one?",
            ),
            Mistake(
                _any_digit,
                "You let a level wait as often as it likes. With K taps it waits K-1 times the "
                "dilation at most.",
            ),
            Mistake(
                lambda lag, kernel_size, depth: _count(
                    lag, [kernel_size + 1] * depth, [2**level for level in range(depth)]
                ),
                "K taps have K-1 gaps: the digit runs from 0 to K-1.",
            ),
            Mistake(
                lambda lag, kernel_size, depth: _count_paths(lag, kernel_size, depth + 1),
                "That is a level too many: J levels have the dilations 1 to 2^(J-1).",
            ),
            Mistake(
                lambda lag, kernel_size, depth: _count(
                    lag, [kernel_size] * depth, [2 ** (level + 1) for level in range(depth)]
                ),
                "The dilations start at 1, not at 2: level ℓ has 2^(ℓ-1).",
            ),
            Mistake(
                lambda lag, kernel_size, depth: _count(
                    lag, [kernel_size] * depth, list(range(1, depth + 1))
                ),
                "The dilations double from level to level: 1, 2, 4, and not 1, 2, 3.",
            ),
        ),
    ),
    Exercise(
        name="dilated-level",
        reference=_level,
        draw=_draw_level,
        hints=(
            "How far back does the oldest of K taps lie, with `dilation` steps from tap to tap?",
            "F.pad(a, (left, 0)) puts that many zeros before the start. Both filters can use it.",
            "conv1d takes dilation= and groups=; with one group per channel the filters fit as "
            "they are.",
        ),
        mistakes=(
            Mistake(
                lambda a, h0, h1, dilation: _padded(
                    a, h0, h1, dilation, (h0.shape[-1] - 1) * dilation // 2
                ),
                "Half of the zeros on each side: the lengths are right, but every output sees the "
                "future. Put all of them on the left.",
            ),
            Mistake(
                lambda a, h0, h1, dilation: _padded(a, h0, h1, dilation, 0),
                "These zeros stand after the end, so the outputs look ahead. Pad on the left.",
            ),
            Mistake(
                lambda a, h0, h1, dilation: _level(a, h0.flip(-1), h1.flip(-1), dilation),
                "The filters are oldest first already, as conv1d wants them: don't flip.",
            ),
            Mistake(
                lambda a, h0, h1, dilation: _level(a, h1, h0, dilation),
                "The approximation comes first: h0 makes the next a, h1 makes the details b.",
            ),
            Mistake(
                lambda a, h0, h1, dilation: _level(a, h0, h1, 1),
                "The taps stand next to each other: the dilation is missing.",
            ),
            Mistake(
                _details_of_next,
                "h1 looks at a, not at next_a: both filters have the same input.",
            ),
            Mistake(
                lambda a, h0, h1, dilation: _padded(
                    F.pad(a, (dilation, 0)), h0, h1, dilation, (h0.shape[-1] - 1) * dilation
                ),
                "One gap too many: between K taps there are K-1, so pad by (K-1)·dilation.",
            ),
            Mistake(
                _pad_without_dilation,
                "K-1 zeros serve dilation 1. Each of the K-1 gaps is `dilation` steps wide.",
            ),
        ),
    ),
    Exercise(
        name="dilated-reach",
        reference=_receptive_field,
        draw=_draw_stack,
        hints=(
            "How far back does one filter of K taps with dilation d look?",
            "Behind the oldest value that one filter sees, the filter below looks back further: "
            "the reaches add up. And the newest sample counts too.",
        ),
        mistakes=(
            Mistake(
                lambda dilations, kernel_size: (kernel_size - 1) * sum(dilations),
                "That is the largest lag. From lag 0 to there it is one sample more.",
            ),
            Mistake(
                lambda dilations, kernel_size: kernel_size * sum(dilations),
                "K taps have K-1 gaps between them.",
            ),
            Mistake(
                lambda dilations, kernel_size: 1 + kernel_size * sum(dilations),
                "K taps have K-1 gaps between them: (K-1)·d steps per filter.",
            ),
            Mistake(
                lambda dilations, kernel_size: 1 + sum(dilations),
                "That is right for two taps. K taps reach back K-1 gaps.",
            ),
            Mistake(
                lambda dilations, kernel_size: len(
                    {
                        sum(map(math.prod, zip(q, dilations, strict=True)))
                        for q in product(range(kernel_size), repeat=len(dilations))
                    }
                ),
                "You count the lags that a path reaches. Here the gaps between them count too.",
            ),
            Mistake(
                lambda dilations, kernel_size: 1 + (kernel_size - 1) * max(dilations),
                "That is the last filter alone. It looks at values that look back themselves.",
            ),
            Mistake(
                lambda dilations, kernel_size: kernel_size ** len(dilations),
                "K^J counts the paths; several may lead to one sample, and a gap has none.",
            ),
            Mistake(
                lambda dilations, kernel_size: 1 + (kernel_size - 1) * (2 ** len(dilations) - 1),
                "That is right for dilations 1, 2, 4, ... Here they are whatever comes in.",
            ),
        ),
    ),
    Exercise(
        name="dilated-cost",
        reference=_multiplications,
        draw=_draw_sizes,
        hints=(
            "Take one tap: the one that is q gaps older than now, at dilation d. At which steps "
            "does it meet a value?",
            "It looks at t - qd, and that must not lie before the start: t runs from qd to L-1.",
            "Sum max(0, L - qd) over the taps and the levels. How many filters are there?",
        ),
        mistakes=(
            Mistake(
                lambda length, kernel_size, depth: 2 * kernel_size * depth * length,
                "2KJL counts the products with padding too. A tap that looks back beyond the start "
                "meets a zero.",
            ),
            Mistake(
                lambda length, kernel_size, depth: (
                    _multiplications(length, kernel_size, depth) // 2
                ),
                "That is one filter per level. There are two, h0 and h1.",
            ),
            Mistake(
                lambda length, kernel_size, depth: (
                    2 * kernel_size * sum(length // 2**level for level in range(depth))
                ),
                "Nothing is dropped in this tree: every level has all L steps.",
            ),
            Mistake(
                lambda length, kernel_size, depth: (
                    2
                    * sum(
                        max(0, length - q * 2**level - (kernel_size - 1) * (2**level - 1))
                        for level in range(depth)
                        for q in range(kernel_size)
                    )
                ),
                "Each level has a value at every step from 0 on. Only what lies before step 0 "
                "is padding.",
            ),
            Mistake(
                lambda length, kernel_size, depth: (
                    _multiplications(length, kernel_size, depth) - 2 * depth * length
                ),
                "The newest tap, q = 0, is a product like the others.",
            ),
            Mistake(
                _complete_windows,
                "You count only the steps at which all taps meet values. Near the start some of "
                "them already do.",
            ),
            Mistake(
                lambda length, kernel_size, depth: (
                    2
                    * sum(
                        length - q * 2**level for level in range(depth) for q in range(kernel_size)
                    )
                ),
                "A tap that looks back further than the whole signal does no work, and not a "
                "negative amount: use max(0, ...).",
            ),
        ),
    ),
    Exercise(
        name="dilated-relu",
        reference=(_ONE, -_ONE),
        judge=_judge_signals,
        hints=(
            "A ReLU is linear as long as it never sees a change of sign. So what must happen?",
            "What is the answer to a signal plus its negative? And the sum of the two answers?",
        ),
        mistakes=(
            Mistake(
                (_signal(1, 1, 1, 1), _signal(1, 1, 1, 1)),
                "Both are positive: there the ReLU does nothing, and the machine is linear.",
            ),
            Mistake(
                (_signal(1, 0, 0, 0), _signal(0, 0, 0, 1)),
                "Nothing is negative here, so the ReLU lets everything pass.",
            ),
            Mistake(
                (_signal(1, -1, 1, -1), _signal(2, -2, 2, -2)),
                "The second is the first, twice as tall: a positive factor passes through a ReLU.",
            ),
            Mistake(
                (_signal(-1, 0, 0, 0), _signal(0, 0, 0, -1)),
                "Both are stopped, and so is their sum: 0 = 0 + 0. One must pass.",
            ),
        ),
    ),
    Exercise(
        name="dilated-untie",
        reference=_average_taps,
        draw=_draw_average,
        hints=(
            "A kernel that is halved every H steps is λ^τ times a constant. What is λ?",
            "The chapter's exponential has the older tap λ to the power of the dilation, and the "
            "newer tap 1.",
            "A common factor of the two taps of a level only scales the kernel: choose it so that "
            "they sum to 1.",
        ),
        mistakes=(
            Mistake(
                lambda half_life, depth: _taps([0.5 ** (1 / half_life)] * depth),
                "The same taps at every level are a tied tree: lags 1, 2 and 4 all weigh the same.",
            ),
            Mistake(
                lambda half_life, depth: _taps(
                    [0.5 ** ((level + 1) / half_life) for level in range(depth)]
                ),
                "The powers 1, 2, 3, ... count levels. Level 3 waits four steps, not three: use "
                "the dilation.",
            ),
            Mistake(
                lambda half_life, depth: _taps(
                    [0.5 ** (2**level / half_life) for level in range(depth)], normalize=False
                ),
                "The shape is right, but this is a sum: at each level divide by 1 + the older tap.",
            ),
            Mistake(
                lambda half_life, depth: _average_taps(half_life, depth).flip(1),
                "These are by lag. Oldest first, the newest tap, the larger one, stands last.",
            ),
            Mistake(
                lambda half_life, depth: _average_taps(half_life, depth).flip(0),
                "The coarsest level comes first here. Begin with the finest, whose dilation is 1.",
            ),
            Mistake(
                lambda half_life, depth: _taps(
                    [math.exp(-(2**level) / half_life) for level in range(depth)]
                ),
                "This falls to 1/e, not to one half: a half-life isn't a time constant.",
            ),
            Mistake(
                lambda half_life, depth: _taps(
                    [0.5 ** (half_life * 2**level) for level in range(depth)]
                ),
                "λ^H = 1/2 for a half-life of H steps: λ is the H-th root of 1/2, not its power.",
            ),
            Mistake(
                lambda half_life, depth: _taps(
                    [0.5 ** (2 ** (level + 1) / half_life) for level in range(depth)]
                ),
                "The finest level has dilation 1, so its older tap is λ itself.",
            ),
        ),
        sizes=range(2, 12),
    ),
    Exercise(
        name="dilated-peak",
        reference=2 * math.asin(3**-0.5),
        hints=(
            "The band's response has two factors: H_0 at ω and H_1 at 2ω.",
            "|H_0(ω)| = √2 cos(ω/2) and |H_1(2ω)| = √2 |sin(ω)|. Plot the product, or write "
            "s = sin(ω/2).",
            "With s the product is 4 s (1 - s²). Where does its derivative vanish?",
        ),
        mistakes=(
            Mistake(
                math.pi,
                "π is the peak of level 1. Level 2 is silent there: H_0 lets nothing pass.",
            ),
            Mistake(
                math.pi / 2,
                "That is the peak of the spread high-pass alone. The low-pass before it falls "
                "there and pulls the peak down.",
            ),
            Mistake(
                3 * math.pi / 8,
                "That is the middle of the octave. Close, but the response isn't symmetric.",
            ),
            Mistake(math.asin(3**-0.5), "That is ω/2, if you used s = sin(ω/2). Asked for is ω."),
            Mistake(
                math.asin(3**-0.5) / math.pi,
                "That is in periods per sample. In radians it is 2π times as much.",
            ),
            Mistake(math.degrees(2 * math.asin(3**-0.5)), "That is in degrees. Answer in radians."),
            Mistake(math.pi / 4, "That is where the octave of level 2 begins."),
        ),
        rtol=2e-3,
    ),
)
