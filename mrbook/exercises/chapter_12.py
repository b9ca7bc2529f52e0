"""Exercises of chapter 12, MRConv: branches that merge."""

from __future__ import annotations

import numpy as np

from mrbook.exercises.engine import Exercise, Mistake

Array = np.ndarray

# Fold one batch normalization

Folded = tuple[Array, float]


def _draw_norm(rng: np.random.Generator, size: int) -> tuple[Array, Array, float]:
    statistics = rng.standard_normal(4)
    statistics[3] = rng.uniform(0.05, 2)
    return rng.standard_normal(size), statistics, float(rng.uniform(0.01, 0.1))


def _fold(k: Array, norm: Array, eps: float) -> Folded:
    gamma, beta, mean, var = norm.tolist()
    scale = gamma / (var + eps) ** 0.5
    return scale * k, beta - scale * mean


def _no_bias(k: Array, norm: Array, eps: float) -> Folded:
    return _fold(k, norm, eps)[0], 0.0


def _beta_alone(k: Array, norm: Array, eps: float) -> Folded:
    return _fold(k, norm, eps)[0], float(norm[1])


def _no_epsilon(k: Array, norm: Array, eps: float) -> Folded:
    return _fold(k, norm, 0)


def _no_root(k: Array, norm: Array, eps: float) -> Folded:
    gamma, beta, mean, var = norm.tolist()
    scale = gamma / (var + eps)
    return scale * k, beta - scale * mean


def _epsilon_outside(k: Array, norm: Array, eps: float) -> Folded:
    gamma, beta, mean, var = norm.tolist()
    scale = gamma / (var**0.5 + eps)
    return scale * k, beta - scale * mean


def _mean_unscaled(k: Array, norm: Array, eps: float) -> Folded:
    return _fold(k, norm, eps)[0], float(norm[1] - norm[2])


def _mean_added(k: Array, norm: Array, eps: float) -> Folded:
    return _fold(k, norm * [1, 1, -1, 1], eps)


def _no_gamma(k: Array, norm: Array, eps: float) -> Folded:
    return _fold(k, np.append(1.0, norm[1:]), eps)


# Merge kernels of different lengths


def _draw_kernels(rng: np.random.Generator, size: int) -> tuple[list[Array], Array]:
    branches, l0 = 1 + min(3, size // 2), int(rng.integers(1, 2 + size))
    kernels = [rng.standard_normal(l0 << i) for i in range(branches)]
    return kernels, rng.standard_normal(branches)


def _merge(kernels: list[Array], weights: Array) -> Array:
    merged = np.zeros(len(kernels[-1]))
    for k, weight in zip(kernels, weights, strict=True):
        merged[: len(k)] += weight * k
    return merged


def _old_end(kernels: list[Array], weights: Array) -> Array:
    merged = np.zeros(len(kernels[-1]))
    for k, weight in zip(kernels, weights, strict=True):
        merged[len(merged) - len(k) :] += weight * k
    return merged


def _unweighted(kernels: list[Array], weights: Array) -> Array:
    return _merge(kernels, np.ones(len(kernels)))


def _in_a_row(kernels: list[Array], weights: Array) -> Array:
    merged = np.ones(1)
    for k, weight in zip(kernels, weights, strict=True):
        merged = np.convolve(merged, weight * k)
    return merged


def _each_its_octave(kernels: list[Array], weights: Array) -> Array:
    merged, done = np.zeros(len(kernels[-1])), 0
    for k, weight in zip(kernels, weights, strict=True):
        merged[done : len(k)] = weight * k[done:]
        done = len(k)
    return merged


def _cut(kernels: list[Array], weights: Array) -> Array:
    return _merge(kernels, weights)[: len(kernels[0])]


def _mean_of_branches(kernels: list[Array], weights: Array) -> Array:
    return _merge(kernels, weights) / len(kernels)


# The weights of a decay


def _draw_decay(rng: np.random.Generator, size: int) -> tuple[float, int]:
    return float(rng.uniform(0.5, 2)), 1 + size


def _alphas(decay: float, branches: int) -> Array:
    return 2.0 ** ((0.5 - decay) * np.arange(branches))


def _the_decay_itself(decay: float, branches: int) -> Array:
    return 2.0 ** (-decay * np.arange(branches))


def _too_steep(decay: float, branches: int) -> Array:
    return 2.0 ** (-(decay + 0.5) * np.arange(branches))


def _by_number(decay: float, branches: int) -> Array:
    return np.arange(1.0, branches + 1) ** -decay


def _energy_law(decay: float, branches: int) -> Array:
    return 2.0 ** ((1 - 2 * decay) * np.arange(branches))


def _growing(decay: float, branches: int) -> Array:
    return 2.0 ** ((decay - 0.5) * np.arange(branches))


def _from_one(decay: float, branches: int) -> Array:
    return 2.0 ** ((0.5 - decay) * np.arange(1, branches + 1))


def _normalized(decay: float, branches: int) -> Array:
    alpha = _alphas(decay, branches)
    return alpha / np.sqrt((alpha**2).sum())


# Variance over time


def _draw_start(rng: np.random.Generator, size: int) -> tuple[Array, int]:
    taps = int(rng.integers(1, 2 + size))
    return rng.standard_normal(taps), taps + int(rng.integers(0, 1 + size))


def _mean_power(k: Array, length: int) -> float:
    still_met = length - np.arange(len(k))
    return float(k**2 @ still_met / length)


def _whole_energy(k: Array, length: int) -> float:
    return float(k @ k)


def _half(k: Array, length: int) -> float:
    return float(k @ k) / 2


def _one_off(k: Array, length: int) -> float:
    return float(k**2 @ (length - 1 - np.arange(len(k))) / length)


def _old_taps_most(k: Array, length: int) -> float:
    return _mean_power(k[::-1], length)


def _taps_not_squared(k: Array, length: int) -> float:
    return float(k @ (length - np.arange(len(k))) / length)


def _sum_over_time(k: Array, length: int) -> float:
    return length * _mean_power(k, length)


def _start_dropped(k: Array, length: int) -> float:
    return float(k @ k) * (length - len(k) + 1) / length


EXERCISES = (
    Exercise(
        name="mrconv-fold",
        reference=_fold,
        draw=_draw_norm,
        shrink=False,  # a variance is positive
        hints=(
            "Write out what happens to an output v of the convolution in evaluation mode: "
            "gamma (v - mean) / sqrt(var + eps) + beta. What multiplies v? What is left?",
            "Whatever multiplies v can multiply every tap. What is left doesn't depend on the "
            "input: it is the bias.",
        ),
        mistakes=(
            Mistake(
                _no_bias,
                "The kernel is right. But batch normalization shifts, too: it subtracts the mean "
                "and adds beta, and that becomes a bias.",
            ),
            Mistake(_beta_alone, "The mean is subtracted, too: scaled, it goes into the bias."),
            Mistake(_no_epsilon, "The epsilon is missing: it is added to the variance."),
            Mistake(_no_root, "It divides by the standard deviation: take the root."),
            Mistake(_epsilon_outside, "The epsilon is added to the variance, inside the root."),
            Mistake(
                _mean_unscaled,
                "The mean is subtracted before the scaling: it must be scaled like the kernel.",
            ),
            Mistake(_mean_added, "The mean is subtracted, not added."),
            Mistake(_no_gamma, "After dividing, batch normalization multiplies by gamma."),
        ),
    ),
    Exercise(
        name="mrconv-merge",
        reference=_merge,
        draw=_draw_kernels,
        hints=(
            "Kernels are by lag: entry 0 of each meets the newest sample. Which entries of two "
            "kernels meet the same sample?",
            "A short kernel is a long one that is zero from its end on. Fill it up, then add.",
        ),
        mistakes=(
            Mistake(
                _old_end,
                "That lines up the oldest lags. All kernels begin at lag 0: zeros go to the end.",
            ),
            Mistake(_unweighted, "Each kernel is weighted before it is added."),
            Mistake(
                _in_a_row,
                "That runs one branch after the other. Branches stand side by side: they add.",
            ),
            Mistake(
                _each_its_octave,
                "A long kernel doesn't begin where the short one ends: it covers the near lags, "
                "too, and there they add up.",
            ),
            Mistake(_cut, "The merged kernel is as long as the longest one."),
            Mistake(_mean_of_branches, "A weighted sum is asked for, not a mean."),
        ),
    ),
    Exercise(
        name="mrconv-scale",
        reference=(1.0, 10.0),
        hints=(
            "In training the batch gives the statistics. What becomes of the standard deviation "
            "of k * u when k is ten times as large?",
            "In evaluation the statistics are stored numbers. Do they know about the change?",
        ),
        mistakes=(
            Mistake(
                (10.0, 10.0),
                "In training, the batch's own standard deviation grows tenfold as well.",
            ),
            Mistake(
                (1.0, 1.0),
                "In evaluation nobody has told the running statistics: they are stored numbers.",
            ),
            Mistake((10.0, 1.0), "It is the other way round."),
            Mistake(
                (1.0, 0.1),
                "The stored standard deviation is the old one: the output is divided by what it "
                "was divided by before.",
            ),
            Mistake((0.1, 10.0), "The kernel grows and the standard deviation with it: no more."),
        ),
        rtol=1e-3,
    ),
    Exercise(
        name="mrconv-alpha",
        reference=_alphas,
        draw=_draw_decay,
        hints=(
            "How tall is a tap of branch i when the kernel has unit energy and 2^i l0 taps?",
            "A lag of about 2^i l0 should have the size (2^i l0)^(-decay). What must alpha_i add "
            "to the height that the kernel has on its own?",
            "Check: for a decay of 1/2, all alphas are the same.",
        ),
        mistakes=(
            Mistake(
                _the_decay_itself,
                "A longer kernel of unit energy has lower taps already: its height alone falls "
                "like τ^(-1/2).",
            ),
            Mistake(_too_steep, "The kernels bring τ^(-1/2) along: alpha has less to do."),
            Mistake(_by_number, "Lengths double from branch to branch: powers of two, not of i."),
            Mistake(_energy_law, "That is the law of the energies: taps go like their roots."),
            Mistake(_growing, "The sign of the exponent: a faster decay needs smaller weights."),
            Mistake(_from_one, "The first branch has i = 0, so that alpha_0 = 1."),
            Mistake(_normalized, "Here alpha_0 is 1, whatever the sum of squares."),
        ),
    ),
    Exercise(
        name="mrconv-future",
        reference={"past", "future", "others"},
        hints=(
            "What does the convolution reach? And what are mean and variance taken over?",
            "Batch normalization has statistics of each channel by itself. In training it uses "
            "those of this batch.",
        ),
        mistakes=(
            Mistake(
                {"past"},
                "The convolution is causal, but mean and variance are taken over all of the batch.",
            ),
            Mistake(
                {"past", "others"},
                "Mean and variance are over time, too, and that includes later steps.",
            ),
            Mistake(
                {"past", "future"},
                "Mean and variance are over all sequences of the batch.",
            ),
            Mistake(
                {"past", "future", "others", "channels"},
                "Each channel has its own statistics; it is layer normalization that mixes them.",
            ),
            Mistake(
                {"past", "future", "others", "before"},
                "Running statistics are only written in training. They are read in evaluation.",
            ),
            Mistake(
                {"past", "future", "others", "channels", "before"},
                "Two of these are wrong: statistics are per channel, and those of earlier batches "
                "aren't used in training.",
            ),
            Mistake(
                {"past", "before"},
                "That is evaluation: it uses stored statistics. In training they are the batch's.",
            ),
        ),
    ),
    Exercise(
        name="mrconv-power",
        reference=_mean_power,
        draw=_draw_start,
        hints=(
            "At time t only the lags up to t have met anything. So which taps have a part in the "
            "variance of v[t]?",
            "White noise: the variance of v[t] is the sum of the squares of these taps. Now "
            "average over t, and count: on how many of the steps has lag τ met a sample?",
        ),
        mistakes=(
            Mistake(
                _whole_energy,
                "That is the variance once all taps have met a sample. At the start they haven't.",
            ),
            Mistake(
                _half,
                "A half is what a kernel as long as the input comes to, roughly. A shorter one "
                "loses less.",
            ),
            Mistake(_one_off, "Lag 0 meets a sample on every step: it counts fully."),
            Mistake(
                _old_taps_most,
                "The other way round: it is the long lags that have to wait.",
            ),
            Mistake(_taps_not_squared, "Variances add up by the squares of the taps."),
            Mistake(_sum_over_time, "That is the sum over time: divide by the length."),
            Mistake(
                _start_dropped,
                "That counts the steps where all taps have met a sample. Before, some have.",
            ),
        ),
    ),
    Exercise(
        name="mrconv-unmerge",
        reference=56,
        hints=(
            "How many unknown taps do the branches have? And how many equations does the merged "
            "kernel give for them?",
            "You know the merged kernel at 64 lags, and each is one linear equation.",
        ),
        mistakes=(
            Mistake(
                0,
                "From the longest kernel only the far half is known for certain. In the near half "
                "it is added to the others, and nothing says which part is whose.",
            ),
            Mistake(120, "Those are all the taps. The merged kernel says something about them."),
            Mistake(64, "That is what is known: one equation at each lag."),
            Mistake(
                32,
                "From lag 32 on the last branch is alone, and known. Below, count what is unknown.",
            ),
            Mistake(
                24,
                "Those are the taps of the two shortest. Of the other two, neither is known below "
                "lag 32.",
            ),
            Mistake(8, "That is the shortest kernel. Three of the four could be chosen freely."),
            Mistake(88, "Below lag 32 there are 88 taps, but 32 equations as well."),
        ),
    ),
)
