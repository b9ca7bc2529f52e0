"""Exercises of chapter 11, drawing images pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake

Array = np.ndarray


# Nats of an image to bits for each of its numbers


def _draw_image(rng: np.random.Generator, size: int) -> tuple[float, tuple[int, int, int]]:
    channels = int(rng.choice([1, 3]))
    height, width = (int(n) for n in rng.integers(2, 4 + 4 * size, 2))
    nats = channels * height * width * float(rng.uniform(0.5, 5))
    return nats, (channels, height, width)


def _bits(nats: float, shape: tuple[int, int, int]) -> float:
    return nats / (math.prod(shape) * math.log(2))


def _per_pixel(nats: float, shape: tuple[int, int, int]) -> float:
    return nats / (shape[1] * shape[2] * math.log(2))


def _still_nats(nats: float, shape: tuple[int, int, int]) -> float:
    return nats / math.prod(shape)


def _wrong_way(nats: float, shape: tuple[int, int, int]) -> float:
    return nats * math.log(2) / math.prod(shape)


def _bits_of_the_image(nats: float, shape: tuple[int, int, int]) -> float:
    return nats / math.log(2)


def _always_1024(nats: float, shape: tuple[int, int, int]) -> float:
    return nats / (1024 * math.log(2))


# The 256 bins of one logistic


def _draw_logistic(rng: np.random.Generator, size: int) -> tuple[float, float]:
    return float(rng.uniform(-1, 1)), float(np.exp(rng.uniform(-5, 0)))


def _sigmoid(z: Array) -> Array:
    return (1 + np.tanh(z / 2)) / 2


def _edges(half: float = 1 / 255) -> tuple[Array, Array]:
    x = 2 * np.arange(256) / 255 - 1
    return x - half, x + half


def _binned(mean: float, scale: float, low: Array, high: Array) -> Array:
    return _sigmoid((high - mean) / scale) - _sigmoid((low - mean) / scale)


def _bins(mean: float, scale: float) -> Array:
    low, high = _edges()
    low[0], high[-1] = -np.inf, np.inf
    return _binned(mean, scale, low, high)


def _no_tails(mean: float, scale: float) -> Array:
    return _binned(mean, scale, *_edges())


def _rescaled(mean: float, scale: float) -> Array:
    p = _no_tails(mean, scale)
    return p / p.sum()


def _upper_tail_only(mean: float, scale: float) -> Array:
    low, high = _edges()
    high[-1] = np.inf
    return _binned(mean, scale, low, high)


def _lower_tail_only(mean: float, scale: float) -> Array:
    low, high = _edges()
    low[0] = -np.inf
    return _binned(mean, scale, low, high)


def _too_wide(mean: float, scale: float) -> Array:
    low, high = _edges(2 / 255)
    low[0], high[-1] = -np.inf, np.inf
    return _binned(mean, scale, low, high)


def _to_the_right(mean: float, scale: float) -> Array:
    low, high = _edges()
    low, high = low + 1 / 255, high + 1 / 255
    low[0], high[-1] = -np.inf, np.inf
    return _binned(mean, scale, low, high)


def _density(mean: float, scale: float) -> Array:
    s = _sigmoid((2 * np.arange(256) / 255 - 1 - mean) / scale)
    return s * (1 - s) / scale * 2 / 255


# Means of three channels


def _draw_colors(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    values = 2 * rng.integers(0, 256, 3) / 255 - 1
    return rng.uniform(-1, 1, 3), rng.standard_normal(3), values


def _means(means: Array, c: Array, x: Array) -> Array:
    a, (red, green, _) = np.tanh(c), x
    return means + np.array([0, a[0] * red, a[1] * red + a[2] * green])


def _green_sees_blue(means: Array, c: Array, x: Array) -> Array:
    a, (red, green, blue) = np.tanh(c), x
    return means + np.array([0, a[0] * red + a[2] * blue, a[1] * red + a[2] * green])


def _unbounded(means: Array, c: Array, x: Array) -> Array:
    red, green, _ = x
    return means + np.array([0, c[0] * red, c[1] * red + c[2] * green])


def _sees_means(means: Array, c: Array, x: Array) -> Array:
    return _means(means, c, means)


def _sees_shifted_means(means: Array, c: Array, x: Array) -> Array:
    a = np.tanh(c)
    green = means[1] + a[0] * means[0]
    return np.array([means[0], green, means[2] + a[1] * means[0] + a[2] * green])


def _swapped(means: Array, c: Array, x: Array) -> Array:
    return _means(means, c[[0, 2, 1]], x)


def _a_chain(means: Array, c: Array, x: Array) -> Array:
    a, (red, green, _) = np.tanh(c), x
    return means + np.array([0, a[0] * red, a[2] * green])


def _sees_itself(means: Array, c: Array, x: Array) -> Array:
    return means + np.tanh(c) * x


# One pixel late


def _draw_batch(rng: np.random.Generator, size: int) -> tuple[Tensor]:
    shape = int(rng.integers(1, 4)), int(rng.choice([1, 3])), 1 + size
    return (torch.from_numpy(rng.standard_normal(shape)),)


def _shift(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[..., 1:] = x[..., :-1]
    return y


def _rolled(x: Tensor) -> Tensor:
    return x.roll(1, -1)


def _early(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[..., :-1] = x[..., 1:]
    return y


def _channels_shifted(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    return y


def _batch_shifted(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[1:] = x[:-1]
    return y


def _first_masked(x: Tensor) -> Tensor:
    y = x.clone()
    y[..., 0] = 0
    return y


def _last_masked(x: Tensor) -> Tensor:
    y = x.clone()
    y[..., -1] = 0
    return y


def _longer(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[..., :1]), x], -1)


# A leak, by gradients


def _draw_gradients(rng: np.random.Generator, size: int) -> tuple[Array]:
    length = 1 + size
    leak = rng.uniform(0, 1) * np.triu(rng.standard_normal((length, length)))
    return (np.tril(rng.standard_normal((length, length)), -1) + leak,)


def _leak(gradients: Array) -> float:
    return float(np.abs(np.triu(gradients)).max())


def _diagonal_forgiven(gradients: Array) -> float:
    return float(np.abs(np.triu(gradients, 1)).max())


def _the_past(gradients: Array) -> float:
    return float(np.abs(np.tril(gradients)).max())


def _before_alone(gradients: Array) -> float:
    return float(np.abs(np.tril(gradients, -1)).max())


def _signed(gradients: Array) -> float:
    return float(np.triu(gradients).max())


def _summed(gradients: Array) -> float:
    return float(np.triu(gradients).sum())


def _added_up(gradients: Array) -> float:
    return float(np.abs(np.triu(gradients)).sum())


def _diagonal_alone(gradients: Array) -> float:
    return float(np.abs(np.diagonal(gradients)).max())


def _averaged(gradients: Array) -> float:
    return float(np.abs(np.triu(gradients)).mean())


# Temperature


def _draw_uniform(rng: np.random.Generator, size: int) -> tuple[float, float, float, Array]:
    scale, temperature = float(np.exp(rng.uniform(-3, -1))), float(rng.uniform(0.2, 0.9))
    return float(rng.uniform(-0.9, 0.9)), scale, temperature, rng.uniform(0.001, 0.999, 20 + size)


def _drawn(mean: float, scale: float, u: Array) -> Array:
    return mean + scale * (np.log(u) - np.log1p(-u))


def _nearest(x: Array) -> Array:
    return np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.int64)


def _cooled(mean: float, scale: float, temperature: float, u: Array) -> Array:
    return _nearest(_drawn(mean, scale * temperature, u))


def _mean_cooled(mean: float, scale: float, temperature: float, u: Array) -> Array:
    return _nearest(temperature * _drawn(mean, scale, u))


def _warmed(mean: float, scale: float, temperature: float, u: Array) -> Array:
    return _nearest(_drawn(mean, scale / temperature, u))


def _log_scale_cooled(mean: float, scale: float, temperature: float, u: Array) -> Array:
    return _nearest(_drawn(mean, scale**temperature, u))


def _ignored(mean: float, scale: float, temperature: float, u: Array) -> Array:
    return _nearest(_drawn(mean, scale, u))


def _cut(mean: float, scale: float, temperature: float, u: Array) -> Array:
    levels = (_drawn(mean, scale * temperature, u) + 1) * 127.5
    return np.clip(np.floor(levels), 0, 255).astype(np.int64)


def _beyond(mean: float, scale: float, temperature: float, u: Array) -> Array:
    levels = (_drawn(mean, scale * temperature, u) + 1) * 127.5
    return np.round(levels).astype(np.int64)


def _normal(mean: float, scale: float, temperature: float, u: Array) -> Array:
    return _nearest(mean + scale * temperature * np.sqrt(2) * _erfinv(2 * u - 1))


def _erfinv(z: Array) -> Array:
    return torch.special.erfinv(torch.from_numpy(z)).numpy()


# Steps that equal the whole


def _draw_kernel(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    return 0.6 * rng.standard_normal(int(rng.integers(2, 5))), rng.standard_normal(4 + size)


def _late(k: Array, x: Array) -> Array:
    """What the whole network says: the kernel on the sequence one place late."""
    return np.convolve(np.pad(x, (1, 0))[:-1], k)[: len(x)]


def _generate(k: Array, e: Array) -> Array:
    x = np.zeros(len(e))
    for t in range(len(e)):
        x[t] = _late(k, x)[t] + e[t]
    return x


def _noise_fed(k: Array, e: Array) -> Array:
    return _late(k, e) + e


def _means_fed(k: Array, e: Array) -> Array:
    m = np.zeros(len(e))
    for t in range(len(e)):
        m[t] = _late(k, m)[t]
    return m + e


def _unshifted(k: Array, e: Array) -> Array:
    x = np.zeros(len(e))
    for t in range(len(e)):
        x[t] = k[1:] @ np.pad(x[:t], (len(k), 0))[: -len(k) : -1] + e[t]
    return x


def _turned(k: Array, e: Array) -> Array:
    return _generate(k[::-1], e)


def _one_back(k: Array, e: Array) -> Array:
    return _generate(k[:1], e)


def _without_noise(k: Array, e: Array) -> Array:
    x = _generate(k, e)
    return _late(k, x)


EXERCISES = (
    Exercise(
        name="drawing-bits",
        reference=_bits,
        draw=_draw_image,
        hints=(
            "How many numbers does the model have to tell for this image?",
            "One bit is ln 2 nats. So a cost of 10 nats, is it more or fewer than 10 bits?",
        ),
        mistakes=(
            Mistake(
                _per_pixel,
                "That is bits for each pixel. A dimension is one channel of one pixel: on CIFAR-10 "
                "divide by 3,072, not by 1,024.",
            ),
            Mistake(_still_nats, "These are nats still: divide by ln 2, too."),
            Mistake(_wrong_way, "A nat is more than a bit: divide by ln 2, don't multiply."),
            Mistake(_bits_of_the_image, "That is what the whole image costs: divide by its size."),
            Mistake(
                _always_1024,
                "1,024 is the number of pixels of one data set. Take the shape, channels included.",
            ),
        ),
    ),
    Exercise(
        name="drawing-bins",
        reference=_bins,
        draw=_draw_logistic,
        hints=(
            "Level v has the value 2v/255 - 1. How far is the next one? The edge lies halfway.",
            "The mass between two edges: a difference of the distribution function at both.",
            "What lies below the lowest edge must belong to some level, and what lies above the "
            "highest, too. An edge may be infinite.",
        ),
        mistakes=(
            Mistake(
                _no_tails,
                "This sums to less than one: what lies below level 0 and above level 255 belongs "
                "to nobody. Give it to them.",
            ),
            Mistake(
                _rescaled,
                "It sums to one, but dividing spreads the tails over all levels. They belong to "
                "levels 0 and 255.",
            ),
            Mistake(_upper_tail_only, "Level 0 lacks its tail."),
            Mistake(_lower_tail_only, "Level 255 lacks its tail."),
            Mistake(
                _too_wide,
                "Neighbors are 2/255 apart, so their edge is 1/255 from each. These bins overlap.",
            ),
            Mistake(
                _to_the_right, "A level stands in the middle of its bin, not at its left edge."
            ),
            Mistake(
                _density,
                "That is density times width, right only for wide logistics, and without tails. "
                "Take the difference of the distribution function at two edges.",
            ),
        ),
    ),
    Exercise(
        name="drawing-coupling",
        reference=_means,
        draw=_draw_colors,
        hints=(
            "In which order are the three drawn? What is known when green's turn comes?",
            "Red gets its mean as it is. Green adds one product, blue two.",
        ),
        mistakes=(
            Mistake(
                _green_sees_blue,
                "Green sees blue, and blue sees green: neither can be drawn first, and the "
                "probabilities no longer sum to one.",
            ),
            Mistake(_unbounded, "The coefficients go through tanh first."),
            Mistake(
                _sees_means,
                "Green depends on the value that red has, not on its mean: only the value is known "
                "to both the likelihood and the sampler.",
            ),
            Mistake(_sees_shifted_means, "Use the values of red and green, not their means."),
            Mistake(_swapped, "Two coefficients are exchanged: c[1] is red to blue, c[2] green."),
            Mistake(_a_chain, "Blue sees red, too, with c[1]."),
            Mistake(
                _sees_itself,
                "Each channel's mean depends on its own value here: that is asking for the answer.",
            ),
        ),
        shrink=False,
    ),
    Exercise(
        name="drawing-shift",
        reference=_shift,
        draw=_draw_batch,
        hints=(
            "What may the network have seen when it says what pixel 0 is?",
            "Column t of the result is column t-1 of x. The first column has nothing to take.",
        ),
        mistakes=(
            Mistake(
                _rolled,
                "A roll is a circle: the last pixel comes out in front, and all others see it.",
            ),
            Mistake(
                _early,
                "That is one pixel early: it would see the pixel after the one it predicts.",
            ),
            Mistake(_channels_shifted, "Shift along the pixels, the last axis, not the channels."),
            Mistake(_batch_shifted, "Shift along the pixels, the last axis, not the batch."),
            Mistake(
                _first_masked, "Only the first pixel is hidden. All others still see themselves."
            ),
            Mistake(_last_masked, "Hiding the last pixel shifts nothing."),
            Mistake(
                _longer, "The length must stay: the last pixel is predicted, but seen by nobody."
            ),
        ),
    ),
    Exercise(
        name="drawing-leak",
        reference=_leak,
        draw=_draw_gradients,
        hints=(
            "Row t is an output, column s an input. Which pairs are forbidden?",
            "Pixel t must not be known when it is predicted. So is s = t allowed?",
            "NumPy's triu keeps one triangle. Mind its diagonal, and mind signs.",
        ),
        mistakes=(
            Mistake(
                _diagonal_forgiven,
                "The diagonal is the worst leak of all: output t sees the very pixel it predicts.",
            ),
            Mistake(
                _the_past, "That triangle is the past. A leak is s ≥ t: column not before row."
            ),
            Mistake(_before_alone, "That is what the network is allowed to see."),
            Mistake(_signed, "A negative gradient is a leak as well: take absolute values."),
            Mistake(_summed, "In a sum, leaks of opposite signs cancel. Ask for the largest."),
            Mistake(_added_up, "The largest is asked for, not the sum."),
            Mistake(_diagonal_alone, "Pixels after t are forbidden, too."),
            Mistake(_averaged, "A mean hides one large leak among zeros. Ask for the largest."),
        ),
    ),
    Exercise(
        name="drawing-temperature",
        reference=_cooled,
        draw=_draw_uniform,
        hints=(
            "Where F is the logistic function, which z has F(z) = u?",
            "z = ln(u) - ln(1 - u) has scale 1. Stretch it, then move it. Which of the two does "
            "the temperature change?",
            "Round to the nearest level at the very end; what falls outside becomes 0 or 255.",
        ),
        mistakes=(
            Mistake(
                _mean_cooled,
                "The mean is scaled, too, and the picture turns gray. Only the scale is cooled.",
            ),
            Mistake(_warmed, "Below 1 the draws must come closer to the mean, not move away."),
            Mistake(
                _log_scale_cooled,
                "That multiplies the log-scale. Temperature multiplies the scale itself.",
            ),
            Mistake(_ignored, "The temperature has no effect here."),
            Mistake(_cut, "Round to the nearest level. Cutting off makes every picture darker."),
            Mistake(_beyond, "Some levels are outside 0 to 255: their mass belongs to the ends."),
            Mistake(_normal, "That is a normal distribution. The logistic has heavier tails."),
        ),
        shrink=False,
    ),
    Exercise(
        name="drawing-steps",
        reference=_generate,
        draw=_draw_kernel,
        hints=(
            "x[0] is e[0]: nothing came before. What is x[1]?",
            "k[0] meets x[t-1], k[1] meets x[t-2]. Before the start there are zeros.",
            "x[t] needs earlier x, so there is a loop over t.",
        ),
        mistakes=(
            Mistake(
                _noise_fed,
                "The network gets the noise instead of what has been drawn. Feed back x itself.",
            ),
            Mistake(_means_fed, "The network must see what was drawn, not what it had expected."),
            Mistake(
                _unshifted,
                "Tap 0 meets the pixel before, since the input is one pixel late. Here tap 1 does.",
            ),
            Mistake(_turned, "k is ordered by lag: k[0] meets the newest pixel."),
            Mistake(_one_back, "All taps count, not the first alone."),
            Mistake(_without_noise, "That is the last mean. x[t] is the mean plus e[t]."),
        ),
    ),
    Exercise(
        name="drawing-cold",
        reference={"variety"},
        hints=(
            "Temperature is an argument of the sampler. Which of these call the sampler?",
            "The bits of a test image are what the model says of it. Nothing is drawn for that.",
        ),
        mistakes=(
            Mistake(set(), "Something does: cold draws lie closer to the means."),
            Mistake(
                {"variety", "bits"},
                "Temperature changes what is drawn, not the model's likelihood: bits on test data "
                "are computed without drawing.",
            ),
            Mistake({"bits"}, "Test images aren't drawn. Look at what is."),
            Mistake({"variety", "cost"}, "A step computes as much as before."),
            Mistake({"variety", "weights"}, "Nothing is trained when you draw."),
            Mistake(
                {"variety", "bits", "weights"},
                "Neither the weights nor their likelihood depend on how you draw.",
            ),
            Mistake(
                {"variety", "bits", "cost", "weights"},
                "Only the draws change. The model and its likelihood stay.",
            ),
        ),
    ),
)
