"""Exercises of chapter 14, long convolutions side by side."""

from __future__ import annotations

import numpy as np

from mrbook.exercises.engine import Exercise, Mistake

Array = np.ndarray


# ---- a recurrence and its kernel ----------------------------------------------------------------


def _draw_recurrence(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array, int]:
    state = min(4, 1 + size // 3)
    A = rng.standard_normal((state, state)) / state**0.5
    return A, rng.standard_normal(state), rng.standard_normal(state), size


def _unroll(A: Array, b: Array, c: Array, length: int) -> Array:
    taps, s = [], b
    for _ in range(length):
        taps.append(c @ s)
        s = A @ s
    return np.array(taps)


def _one_step_late(A: Array, b: Array, c: Array, length: int) -> Array:
    return _unroll(A, A @ b, c, length)


def _elementwise(A: Array, b: Array, c: Array, length: int) -> Array:
    return np.array([c @ A**lag @ b for lag in range(length)])


def _transposed(A: Array, b: Array, c: Array, length: int) -> Array:
    return _unroll(A.T, b, c, length)


def _summed(A: Array, b: Array, c: Array, length: int) -> Array:
    return np.cumsum(_unroll(A, b, c, length))


def _oldest_first(A: Array, b: Array, c: Array, length: int) -> Array:
    return _unroll(A, b, c, length)[::-1].copy()


# ---- standard errors ----------------------------------------------------------------------------


def _draw_scores(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    n, m = rng.integers(2, 3 + size, 2)
    center = rng.uniform(0.4, 0.9)
    return center + 0.05 * rng.standard_normal(n), center + 0.05 * rng.standard_normal(m)


def _variance(scores: Array) -> float:
    return float(scores.var(ddof=1) / len(scores))


def _errors_apart(one: Array, other: Array) -> float:
    return float((one.mean() - other.mean()) / (_variance(one) + _variance(other)) ** 0.5)


def _spread_of_runs(one: Array, other: Array) -> float:
    spread = (one.var(ddof=1) + other.var(ddof=1)) ** 0.5
    return float((one.mean() - other.mean()) / spread)


def _by_all_seeds(one: Array, other: Array) -> float:
    variance = one.var(ddof=0) / len(one) + other.var(ddof=0) / len(other)
    return float((one.mean() - other.mean()) / variance**0.5)


def _errors_added(one: Array, other: Array) -> float:
    return float((one.mean() - other.mean()) / (_variance(one) ** 0.5 + _variance(other) ** 0.5))


def _first_alone(one: Array, other: Array) -> float:
    return float((one.mean() - other.mean()) / _variance(one) ** 0.5)


def _difference_alone(one: Array, other: Array) -> float:
    return float(one.mean() - other.mean())


# ---- tiles --------------------------------------------------------------------------------------


def _draw_tiling(rng: np.random.Generator, size: int) -> tuple[int, int]:
    return int(rng.integers(1, 4 * size + 2)), 2 ** int(rng.integers(0, 1 + min(4, size)))


def _tile_sizes(steps: int, largest: int) -> list[int]:
    return [min(i & -i, largest) for i in range(1, steps + 1)]


def _everything(steps: int, largest: int) -> list[int]:
    return list(range(1, steps + 1))


def _no_limit(steps: int, largest: int) -> list[int]:
    return [i & -i for i in range(1, steps + 1)]


def _powers_below(steps: int, largest: int) -> list[int]:
    return [min(1 << (i.bit_length() - 1), largest) for i in range(1, steps + 1)]


def _from_zero(steps: int, largest: int) -> list[int]:
    return [largest, *_tile_sizes(steps, largest)][:steps]


def _exponents(steps: int, largest: int) -> list[int]:
    return [size.bit_length() - 1 for size in _tile_sizes(steps, largest)]


# ---- one block ----------------------------------------------------------------------------------


def _draw_block(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    p = 2 ** min(4, (size + 1) // 2)
    return rng.standard_normal(p), rng.standard_normal(2 * p + int(rng.integers(0, 4)))


def _send_ahead(x: Array, k: Array) -> Array:
    return np.convolve(x, k)[len(x) : 2 * len(x)]


def _own_outputs(x: Array, k: Array) -> Array:
    return np.convolve(x, k)[: len(x)]


def _wrapped(x: Array, k: Array) -> Array:
    p = len(x)
    return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(k[:p]), p)


def _late(x: Array, k: Array) -> Array:
    return np.convolve(x, k)[len(x) + 1 : 2 * len(x) + 1]


def _short_kernel(x: Array, k: Array) -> Array:
    return np.convolve(x, np.append(k[: len(x)], np.zeros(len(x))))[len(x) : 2 * len(x)]


def _correlated(x: Array, k: Array) -> Array:
    return _send_ahead(x[::-1], k)


# ---- all of them --------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        name="side-unroll",
        reference=_unroll,
        draw=_draw_recurrence,
        hints=(
            "The kernel is the answer to a pulse: u[0] = 1, and 0 ever after. What is s[0]?",
            "s[0] = b. From then on nothing arrives, and each step multiplies the state by A.",
            "So tap 0 is c·b, tap 1 is c·Ab, tap 2 is c·AAb: never form a power, carry s along.",
        ),
        mistakes=(
            Mistake(
                _one_step_late,
                "That begins with lag 1. The pulse is in the state already at step 0: s[0] = b.",
            ),
            Mistake(
                _elementwise,
                "In NumPy A**τ raises each entry to a power. A step multiplies by the matrix A.",
            ),
            Mistake(_transposed, "The new state is A times the old one, not its transpose."),
            Mistake(
                _summed,
                "That is the answer to a constant input. The kernel is the answer to one pulse.",
            ),
            Mistake(_oldest_first, "A kernel is written by lag: lag 0 comes first."),
        ),
    ),
    Exercise(
        name="side-seeds",
        reference=_errors_apart,
        draw=_draw_scores,
        hints=(
            "First one row: its scores give their deviation, and that the error of their mean.",
            "The deviation of few runs divides by n - 1, and its square by n gives the mean's.",
            "Errors that have nothing to do with each other add as squares; take the root last.",
        ),
        mistakes=(
            Mistake(
                _spread_of_runs,
                "That is how far single runs scatter. A mean of n runs is known better: divide its "
                "variance by n.",
            ),
            Mistake(
                _by_all_seeds,
                "From a few runs, the deviation divides by n - 1: in NumPy, ddof=1.",
            ),
            Mistake(_errors_added, "Independent errors add as squares, not as they are."),
            Mistake(_first_alone, "Both means have an error, and the difference has both."),
            Mistake(
                _difference_alone,
                "That is the difference in points. By how many standard errors is it away from 0?",
            ),
        ),
    ),
    Exercise(
        name="side-tiles",
        reference=_tile_sizes,
        draw=_draw_tiling,
        hints=(
            "Write down the powers of two that divide 1, 2, 3, 4, 5, 6, 7, 8. Keep the largest.",
            "How often can you halve i before it is odd? In bits: how many zeros are at its end?",
            "A kernel has an end. Where the power is greater than `largest`, it is `largest`.",
        ),
        mistakes=(
            Mistake(
                _everything,
                "That sends all of the past again at every step, and costs as much as starting "
                "over. Most of it has been sent before.",
            ),
            Mistake(_no_limit, "No square is larger than `largest`: beyond it the kernel is 0."),
            Mistake(
                _powers_below,
                "That is the largest power of two up to i. Take the largest that divides i.",
            ),
            Mistake(_from_zero, "Before the first input there is nothing to send: start at i = 1."),
            Mistake(_exponents, "That is the exponent. The side of the square is 2 to its power."),
        ),
    ),
    Exercise(
        name="side-block",
        reference=_send_ahead,
        draw=_draw_block,
        hints=(
            "Output j of the next block is p + j steps after the first of these inputs. What is "
            "its lag to input s?",
            "Input s meets output j at lag p + j - s, from 1 to 2p - 1.",
            "The whole convolution of x and k has it all: which p of its values do you need?",
        ),
        mistakes=(
            Mistake(
                _own_outputs,
                "Those are the outputs of the block itself. They are over; send to the next block.",
            ),
            Mistake(
                _wrapped,
                "An FFT of p values wraps around: lags p and more land on others. Take 2p values.",
            ),
            Mistake(_late, "The first output to reach comes right after the last input, at lag 1."),
            Mistake(
                _short_kernel,
                "Lags from p to 2p - 1 are needed, too: the oldest input is that far away.",
            ),
            Mistake(_correlated, "x is in order of time: x[0] is the oldest, and farthest away."),
        ),
    ),
    Exercise(
        name="side-state",
        reference=(381, 16, 2, 2000, 1023),
        hints=(
            "For each ask: what must be kept so that the next outputs can be made, whatever comes?",
            "The tree: (K-1)(2^J-1). An oscillator counts two real numbers. An LSTM's unit has a "
            "cell and an output. A cache keeps two numbers a step.",
            "A kernel of 1,024 lags meets the newest input at lag 0; the others are in the past.",
        ),
        mistakes=(
            Mistake(
                (1000, 1000, 1000, 1000, 1000),
                "Only attention keeps all steps. The others keep what their kernel or their "
                "recurrence needs, however long the stream is.",
            ),
            Mistake(
                (1024, 1024, 1024, 1024, 1024),
                "Not every layer keeps its window. What does a recurrence hand to the next step?",
            ),
            Mistake(
                (8, 16, 2, 2000, 1023),
                "J + 1 numbers of the tree are read, but they can't be updated from themselves.",
            ),
            Mistake((381, 8, 2, 2000, 1023), "8 oscillators are complex: two numbers each."),
            Mistake(
                (381, 16, 1, 2000, 1023), "An LSTM hands on two vectors, its cell and its output."
            ),
            Mistake((381, 16, 2, 1000, 1023), "Attention keeps a key and a value for every step."),
            Mistake(
                (381, 16, 2, 2000, 1024), "Lag 0 meets the input that arrives: it is not kept."
            ),
        ),
    ),
    Exercise(
        name="side-pick",
        reference=("s4d", "longconv", "attention", "multires"),
        hints=(
            "Which of the jobs asks for what was *said*, not for when? No fixed kernel can do it.",
            "A single lag of thousands, and data in plenty: who has a number for every lag?",
            "Two are left, and both step at a fixed cost. Whose state can be as small as 64?",
        ),
        mistakes=(
            Mistake(
                ("multires", "longconv", "attention", "s4d"),
                "The tree's state is as long as its reach, thousands of numbers here. S4D's is "
                "the number of its oscillators, however slow they are.",
            ),
            Mistake(
                ("s4d", "s4d", "attention", "multires"),
                "A damped oscillator is smooth in the lag. To single out one lag of thousands, "
                "give each lag a number of its own.",
            ),
            Mistake(
                ("s4d", "longconv", "longconv", "multires"),
                "A kernel weighs by lag. Here the lag is not known, what was said decides.",
            ),
            Mistake(
                ("attention", "attention", "attention", "attention"),
                "Its cache grows with the stream, and so does the price of each step.",
            ),
            Mistake(
                ("s4d", "multires", "attention", "longconv"),
                "A free kernel costs thousands of numbers a channel, and the tree's octaves are "
                "tied to each other: these two want to change places.",
            ),
        ),
    ),
    Exercise(
        name="side-norms",
        reference={"batch-eval", "none", "fixed-alpha"},
        hints=(
            "Branches merge if each is a convolution times numbers that don't depend on the input.",
            "Where do mean and variance come from: are they stored, or taken from this input?",
            "Layer normalization takes them from the channels at every step, in evaluation too.",
        ),
        mistakes=(
            Mistake(
                {"batch-eval", "layer", "none", "fixed-alpha"},
                "Layer normalization divides by what it finds at this very step, in evaluation, "
                "too. The output is no convolution of the input: there is nothing to merge.",
            ),
            Mistake(
                {"batch-train", "batch-eval", "none", "fixed-alpha"},
                "In training, batch normalization takes its statistics from this batch.",
            ),
            Mistake(
                {"batch-train", "batch-eval", "layer", "none", "fixed-alpha"},
                "Two of them compute their statistics from the input, anew each time.",
            ),
            Mistake(
                {"batch-eval"},
                "Without any normalization the sum of convolutions is one all the more.",
            ),
            Mistake(
                {"batch-eval", "none"},
                "Whether alpha was learned or fixed doesn't matter: after training it is a number.",
            ),
            Mistake(
                {"batch-eval", "fixed-alpha"},
                "One more is linear: the sum of convolutions itself, with nothing in between.",
            ),
        ),
    ),
)
