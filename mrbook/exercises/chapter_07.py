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
    L, K = (int(n) for n in rng.integers(1, 4 * size + 1, 2))
    return L, K, int(rng.integers(0, L))


def _fft_size(L: int, K: int, first: int) -> int:
    return L + max(K - 1 - first, 0)


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
    r, g, a, c0, c1 = (torch.from_numpy(rng.standard_normal(n)) for n in lengths)
    return r, g, a, c0, c1, 1 << int(rng.integers(0, 4))


def _backward(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    """By matrices: output t meets input s with tap number (t - s) / d."""
    lag = torch.arange(len(a))[:, None] - torch.arange(len(a))
    used = [(lag == q * d).double() for q in range(len(c0))]  # where each tap stands
    forward_0 = sum((tap * u for tap, u in zip(c0, used, strict=True)), torch.zeros_like(lag))
    forward_1 = sum((tap * u for tap, u in zip(c1, used, strict=True)), torch.zeros_like(lag))
    for_a = forward_0.mT @ r + forward_1.mT @ g
    return for_a, torch.stack([r @ u @ a for u in used]), torch.stack([g @ u @ a for u in used])


def _causal(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    """The forward filters, applied to the gradients as they are."""
    flipped = _backward(r.flip(0), g.flip(0), a, c0, c1, d)[0].flip(0)
    return flipped, *_backward(r, g, a, c0, c1, d)[1:]


def _wrapped(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    shifts = [-q * d for q in range(len(c0))]
    rs, gs = (torch.stack([v.roll(s) for s in shifts]) for v in (r, g))
    return c0 @ rs + c1 @ gs, rs @ a, gs @ a


def _taps_ahead(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    for_a = _backward(r, g, a, c0, c1, d)[0]
    return for_a, *_backward(r.flip(0), g.flip(0), a.flip(0), c0, c1, d)[1:]


def _next_only(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    return _backward(r, g, a, c0, 0 * c1, d)[0], *_backward(r, g, a, c0, c1, d)[1:]


def _share_only(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    return _backward(r, g, a, 0 * c0, c1, d)[0], *_backward(r, g, a, c0, c1, d)[1:]


def _oldest_first(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    for_a, *for_taps = _backward(r, g, a, c0, c1, d)
    return for_a, for_taps[0].flip(0), for_taps[1].flip(0)


def _crossed(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    return _backward(r, g, a, c1, c0, d)


def _other_order(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    for_a, for_c0, for_c1 = _backward(r, g, a, c0, c1, d)
    return for_a, for_c1, for_c0


def _undilated(r: Tensor, g: Tensor, a: Tensor, c0: Tensor, c1: Tensor, d: int) -> Gradients:
    return _backward(r, g, a, c0, c1, 1)


# --------------------------------------------------------------------------------------- store


def _draw_machine(rng: np.random.Generator, size: int) -> tuple[float, float]:
    return 1e9 * float(rng.integers(1, 50 * size)), 1e9 * float(rng.integers(1, 10 * size))


def _most_operations(peak: float, bandwidth: float) -> float:
    return 8 * peak / bandwidth


# --------------------------------------------------------------------------------------- zeros


def _draw_tiling(rng: np.random.Generator, size: int) -> tuple[int, int]:
    return int(rng.integers(1, 4 * size + 1)), int(rng.integers(1, 2 * size + 1))


def _multiplied(L: int, tile: int) -> int:
    blocks = -(-L // tile)
    return tile * tile * blocks * (blocks + 1) // 2


def _wasted(L: int, tile: int) -> int:
    return _multiplied(L, tile) - L * (L + 1) // 2


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
                "y += w * b is two operations: the product is written, then read again to add it.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (13 * J + 2),
                "The line after the loop moves tensors, too: a product, then an addition.",
            ),
            Mistake(
                lambda B, D, L, J: 4 * B * D * L * (9 * J + 7),
                "pad is an operation of its own: it reads a and writes a longer copy.",
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
                lambda tree, fft: tree // (tree - fft),
                "Nearly. At this batch the kernel form isn't faster yet: it has to be above "
                "tree / (tree - fft).",
            ),
            Mistake(
                lambda tree, fft: -(-tree // (tree - fft)) + 1,
                "Rounding up and adding one is one too many, except where the division is even.",
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
            "Where does the true convolution end? Its last entry is at L + K - 2.",
            "On a circle of n, entry n + t lands on place t. How many outputs does that spoil?",
            "The first L + K - 1 - n are spoilt. You can do without as many as `first`.",
        ),
        mistakes=(
            Mistake(
                lambda L, K, first: L,
                "On a circle of L the tail of the result comes round and spoils the first K - 1 "
                "outputs.",
            ),
            Mistake(
                lambda L, K, first: L + K - 1,
                "With this size all outputs are right. You need only those from `first` on.",
            ),
            Mistake(
                lambda L, K, first: 2 * L - 1,
                "That is for L taps, and for all outputs. Count with K taps, and use `first`.",
            ),
            Mistake(
                lambda L, K, first: L + K - 1 - first,
                "Nearly. The circle must also hold all samples.",
            ),
            Mistake(
                lambda L, K, first: max(L, K, L + K - first),
                "One too many: the result has L + K - 1 entries, not L + K.",
            ),
            Mistake(
                lambda L, K, first: max(L, K, L + K - 2 - first),
                "One too few: output `first` itself has to be right.",
            ),
            Mistake(
                lambda L, K, first: max(L, K),
                "All fits, but the tail of the result comes round and spoils the first outputs.",
            ),
            Mistake(
                lambda L, K, first: L - first,
                "The outputs that you don't need still take part: all samples go into the FFT.",
            ),
            Mistake(
                lambda L, K, first: 1 << (L + K - 2).bit_length(),
                "An FFT may have any size. The question is the smallest, not a power of two.",
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
                1.5e-5,
                "The roundings are not shared out: each of the 4,096 numbers of the spectrum has "
                "its own, and every output collects all of them.",
            ),
            Mistake(
                1.0,
                "That is the size of the outputs. It is bad, but not as bad as that.",
            ),
            Mistake(
                1e6,
                "That is the spike itself. It is rounded to a small share of its size.",
            ),
            Mistake(
                3.8,
                "The spike counts once, not once per output: ‖u‖ is its height, not 64 times that.",
            ),
        ),
    ),
    Exercise(
        name="fast-backward",
        reference=_backward,
        draw=_draw_level,
        hints=(
            "Who has used a[s]? Outputs at times s + q d, each with tap number q.",
            "a goes two ways, so its gradient has two sums: one over c0 and r, one over c1 and g.",
            "Tap c0[q] was used at every t from q d on, each time together with a[t - q d].",
            "For tap q take n = L - q d pairs, none if that is negative: the last n of r and g, "
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
                "The gradient of a is right. For the taps, g[t] meets a[t - q d], not a[t + q d].",
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
            Mistake(
                _crossed,
                "c0 made the next approximation, so r comes back through c0, and g through c1.",
            ),
            Mistake(
                _other_order,
                "The tuple is (for a, for c0, for c1): r meets a in the second, g in the third.",
            ),
            Mistake(_undilated, "The taps stand d steps apart, on the way back as well."),
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
                lambda peak, bandwidth: 16 * peak / bandwidth,
                "A float32 has four bytes, not eight.",
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
    Exercise(
        name="fast-zeros",
        reference=_wasted,
        draw=_draw_tiling,
        hints=(
            "How many blocks are there, and how many tiles on the diagonal and below?",
            "Every tile takes tile · tile multiplications, the ragged ones too.",
            "The outputs consist of 1 + 2 + … + L products. All others are needless.",
        ),
        mistakes=(
            Mistake(
                lambda L, tile: -(-L // tile) * tile * (tile - 1) // 2,
                "These are the zeros above the diagonal. Where the last block sticks out, its rows "
                "are multiplied for nothing, too.",
            ),
            Mistake(
                lambda L, tile: L // tile * tile * (tile - 1) // 2,
                "The last block counts as a whole one, however few samples it has.",
            ),
            Mistake(
                lambda L, tile: -(-L // tile) * tile * (tile + 1) // 2,
                "Lag 0 is needed: the diagonal itself holds k[0], not zeros.",
            ),
            Mistake(
                lambda L, tile: _multiplied(L, tile) - (L * L + 1) // 2,
                "Output t consists of t + 1 products, so all of them of L (L + 1) / 2, not L² / 2.",
            ),
            Mistake(
                lambda L, tile: (-(-L // tile) * tile) ** 2 - L * (L + 1) // 2,
                "Tiles above the diagonal are left out altogether.",
            ),
            Mistake(
                lambda L, tile: L * (L - 1) // 2,
                "That is for one tile as large as all. Smaller tiles multiply fewer zeros.",
            ),
            Mistake(
                _multiplied,
                "That is all of the multiplications. Some of them are needed.",
            ),
        ),
    ),
)
