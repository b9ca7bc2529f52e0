"""Exercises of chapter 7, making it fast."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake

# --------------------------------------------------------------------------------------- bytes


def _draw_layer(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    B, D = (int(n) for n in rng.integers(1, size + 1, 2))
    return B, D, 8 * int(rng.integers(1, size + 1)), int(rng.integers(1, min(size, 12) + 1))


def _bytes_moved(B: int, D: int, L: int, J: int) -> int:
    return (13 * J + 7) * B * D * L * torch.finfo(torch.float32).bits // 8


# --------------------------------------------------------------------------------------- batch


def _draw_times(rng: np.random.Generator, size: int) -> tuple[int, int]:
    tree = int(rng.integers(2, 6 * size + 3))
    return tree, int(rng.integers(1, tree))


def _smallest_batch(tree: int, fft: int) -> int:
    return math.floor(tree / (tree - fft)) + 1


# ---------------------------------------------------------------------------------------- size


def _draw_circle(rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    L, m = (int(n) for n in rng.integers(1, 4 * size + 1, 2))
    return L, m, int(rng.integers(0, L))


def _fft_size(L: int, m: int, first: int) -> int:
    return L + max(m - 1 - first, 0)


# --------------------------------------------------------------------------------------- spike


def _judge_error(error: float) -> str | None:
    if isinstance(error, bool) or not isinstance(error, int | float):
        return "A float is expected"
    if not 2e-3 < float(error) < 0.7:
        return "This is off by more than a factor of ten"
    return None


# ------------------------------------------------------------------------------------ backward

Gradients = tuple[Tensor, Tensor, Tensor]


def _draw_level(
    rng: np.random.Generator, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    length, taps = int(rng.integers(1, 2 * size + 1)), int(rng.integers(2, 5))
    lengths = (length, length, length, taps, taps)
    r, g, a, c, q = (torch.from_numpy(rng.standard_normal(n)) for n in lengths)
    return r, g, a, c, q, 1 << int(rng.integers(0, 4))


def _backward(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    """By matrices: output t meets input s with the tap of lag (t - s) / d."""
    lag = torch.arange(len(a))[:, None] - torch.arange(len(a))
    used = [(lag == i * d).double() for i in range(len(c))]  # where each tap stands
    forward_c = sum((tap * u for tap, u in zip(c, used, strict=True)), torch.zeros_like(lag))
    forward_q = sum((tap * u for tap, u in zip(q, used, strict=True)), torch.zeros_like(lag))
    for_a = forward_c.mT @ r + forward_q.mT @ g
    return for_a, torch.stack([r @ u @ a for u in used]), torch.stack([g @ u @ a for u in used])


def _causal(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    """The forward filters, applied to the gradients as they are."""
    flipped = _backward(r.flip(0), g.flip(0), a, c, q, d)[0].flip(0)
    return flipped, *_backward(r, g, a, c, q, d)[1:]


def _wrapped(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    shifts = [-i * d for i in range(len(c))]
    rs, gs = (torch.stack([v.roll(s) for s in shifts]) for v in (r, g))
    return c @ rs + q @ gs, rs @ a, gs @ a


def _taps_ahead(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    for_a = _backward(r, g, a, c, q, d)[0]
    return for_a, *_backward(r.flip(0), g.flip(0), a.flip(0), c, q, d)[1:]


def _next_only(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    return _backward(r, g, a, c, 0 * q, d)[0], *_backward(r, g, a, c, q, d)[1:]


def _share_only(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    return _backward(r, g, a, 0 * c, q, d)[0], *_backward(r, g, a, c, q, d)[1:]


def _oldest_first(r: Tensor, g: Tensor, a: Tensor, c: Tensor, q: Tensor, d: int) -> Gradients:
    for_a, for_c, for_q = _backward(r, g, a, c, q, d)
    return for_a, for_c.flip(0), for_q.flip(0)


# --------------------------------------------------------------------------------------- store


def _draw_machine(rng: np.random.Generator, size: int) -> tuple[float, float]:
    return 1e9 * float(rng.integers(1, 50 * size)), 1e9 * float(rng.integers(1, 10 * size))


def _most_operations(peak: float, bandwidth: float) -> float:
    return 8 * peak / bandwidth


EXERCISES = (
    Exercise(
        name="fast-bytes",
        reference=_bytes_moved,
        draw=_draw_layer,
        hints=(
            "Go line by line. How many tensors does each operation read, how many does it write?",
            "conv1d(pad(a), h1) is two operations, and pad(a) is computed twice in every level.",
            "y += w * b is two operations, too. The second one reads y and the product, and "
            "writes y.",
        ),
        mistakes=(
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (7 * J + 4),
                "These are the reads alone. What is computed has to be written as well.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (6 * J + 3),
                "These are the writes alone. What goes in has to be read as well.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (11 * J + 7),
                "That is the chapter's version, which pads once. Here pad(a) stands in both lines.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (12 * J + 6),
                "An addition in place still reads y before it writes it: three trips.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (11 * J + 5),
                "An addition in place still makes trips: it reads y and the product, and writes y.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * 13 * J,
                "The levels are right. The lines before and after the loop move tensors, too.",
            ),
            Mistake(
                lambda B, D, L, J: B * D * L * (13 * J + 7),
                "That many numbers. A float32 has four bytes.",
            ),
            Mistake(
                lambda B, D, L, J: 8 * B * D * L * (13 * J + 7),
                "A float32 has four bytes, not eight.",
            ),
        ),
    ),
    Exercise(
        name="fast-batch",
        reference=_smallest_batch,
        draw=_draw_times,
        hints=(
            "Write down what a batch of B sequences costs, once by each form.",
            "The tree costs B · tree. The kernel form costs one tree for the pulse, and B · fft.",
            "Solve for B, and mind the word strictly: equal is not faster.",
        ),
        mistakes=(
            Mistake(
                lambda tree, fft: -(-tree // (tree - fft)),
                "Where the division comes out even, both forms take the same time. One more "
                "sequence is needed.",
            ),
            Mistake(
                lambda tree, fft: 1,
                "The kernel has to be computed first: a pulse goes through the tree.",
            ),
            Mistake(
                lambda tree, fft: 2,
                "Two is right when the FFT is cheap. If it costs nearly as much as the tree, it "
                "takes many sequences to pay for the pulse.",
            ),
            Mistake(
                lambda tree, fft: tree // fft + 1,
                "That is how many FFTs one tree is worth. But without the kernel every sequence "
                "needs a tree.",
            ),
        ),
    ),
    Exercise(
        name="fast-size",
        reference=_fft_size,
        draw=_draw_circle,
        hints=(
            "Where does the true convolution end? Its last entry is at L + m - 2.",
            "On a circle of n, entry n + t lands on place t. How many outputs does that spoil?",
            "The first L + m - 1 - n are spoilt. You can do without as many as `first`.",
        ),
        mistakes=(
            Mistake(
                lambda L, m, first: L,
                "On a circle of L the tail of the result comes round and spoils the first m - 1 "
                "outputs.",
            ),
            Mistake(
                lambda L, m, first: L + m - 1,
                "With this size all outputs are right. You need only those from `first` on.",
            ),
            Mistake(
                lambda L, m, first: 2 * L - 1,
                "That is for L taps, and for all outputs. Count with m taps, and use `first`.",
            ),
            Mistake(
                lambda L, m, first: L + m - 1 - first,
                "Nearly. The circle must also hold all samples.",
            ),
            Mistake(
                lambda L, m, first: max(L, m, L + m - first),
                "One too many: the result has L + m - 1 entries, not L + m.",
            ),
            Mistake(
                lambda L, m, first: max(L, m, L + m - 2 - first),
                "One too few: output `first` itself has to be right.",
            ),
        ),
    ),
    Exercise(
        name="fast-spike",
        reference=0.06,
        judge=_judge_error,
        hints=(
            "Each number of the spectrum contains every sample. How large are these numbers?",
            "They are rounded to a share of 2^-24 of their size, and the roundings are dealt out "
            "over all outputs.",
            "Use the rule of thumb: ε times the length of the signal times that of the kernel.",
        ),
        mistakes=(
            Mistake(
                2**-24,
                "That would be a relative error per sample. The FFT mixes all samples, so the "
                "largest one counts everywhere.",
            ),
            Mistake(
                6e-8,
                "That would be a relative error per sample. The FFT mixes all samples, so the "
                "largest one counts everywhere.",
            ),
            Mistake(
                1e-6,
                "That is what a direct sum makes of it. The FFT mixes all samples, then it rounds.",
            ),
            Mistake(
                0.0,
                "The convolution is causal, but its FFT is not, up to rounding: each number of the "
                "spectrum contains the spike.",
            ),
            Mistake(
                1e6,
                "That is the spike itself. It is rounded to a small share of its size.",
            ),
            Mistake(
                4.0,
                "The spike counts once, not once per output: ‖u‖ is its height, not 64 times that.",
            ),
        ),
    ),
    Exercise(
        name="fast-backward",
        reference=_backward,
        draw=_draw_level,
        hints=(
            "Who has used a[s]? Outputs at times s + i d, each with tap number i.",
            "a goes two ways, so its gradient has two sums: one over c and r, one over q and g.",
            "Tap c[i] was used at every t from i d on, each time together with a[t - i d].",
            "For tap i take n = L - i d pairs, none if that is negative: the last n of r and g, "
            "and the first n of a.",
        ),
        mistakes=(
            Mistake(
                _causal,
                "The gradient of a looks back here, like the forward pass. It must look ahead: "
                "a[s] was used at s and later.",
            ),
            Mistake(
                _wrapped,
                "roll wraps around: late gradients must not meet the end of the signal again.",
            ),
            Mistake(
                _taps_ahead,
                "The gradient of a is right. For the taps, g[t] meets a[t - i d], not a[t + i d].",
            ),
            Mistake(
                _next_only,
                "The output's share is missing in the gradient of a: it went into y, too.",
            ),
            Mistake(
                _share_only,
                "The next level is missing in the gradient of a: it went there, too.",
            ),
            Mistake(
                _oldest_first,
                "The gradients of the taps are oldest first. The taps are by lag.",
            ),
        ),
    ),
    Exercise(
        name="fast-store",
        reference=_most_operations,
        draw=_draw_machine,
        hints=(
            "How many seconds does it take to store the number and to fetch it?",
            "A float32 has four bytes, and it makes two trips.",
            "How many operations fit into these seconds?",
        ),
        mistakes=(
            Mistake(
                lambda peak, bandwidth: 4 * peak / bandwidth,
                "That is one trip. The number is written and then read.",
            ),
            Mistake(
                lambda peak, bandwidth: peak / bandwidth,
                "That is the corner of the roofline: operations per byte. How many bytes are it?",
            ),
            Mistake(
                lambda peak, bandwidth: 2 * peak / bandwidth,
                "Two trips, but of four bytes each.",
            ),
            Mistake(
                lambda peak, bandwidth: 64 * peak / bandwidth,
                "The bandwidth counts bytes, not bits.",
            ),
            Mistake(
                lambda peak, bandwidth: 8 * bandwidth / peak,
                "Upside down: on a machine with a faster core, more can be computed again.",
            ),
        ),
    ),
)
