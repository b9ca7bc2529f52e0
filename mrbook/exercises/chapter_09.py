"""Exercises of chapter 9, MultiresNet on sequential CIFAR-10."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake

# Mean over the real time steps


def _draw_batch(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    lengths = rng.integers(1, size + 1, 3)
    x = rng.standard_normal((3, size + 2, 2))
    for i, length in enumerate(lengths):
        x[i, length:] = np.nan if i == 0 else 1e6
    return torch.from_numpy(x), torch.from_numpy(lengths)


def _steps(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1])[:, None]


def _total(x: Tensor, lengths: Tensor) -> Tensor:
    padding = _steps(x) >= lengths[:, None, None]
    return x.masked_fill(padding, 0).sum(1)


def _pool(x: Tensor, lengths: Tensor) -> Tensor:
    return _total(x, lengths) / lengths[:, None]


def _padded_length(x: Tensor, lengths: Tensor) -> Tensor:
    return _total(x, lengths) / x.shape[1]


def _all_steps(x: Tensor, lengths: Tensor) -> Tensor:
    return x.mean(1)


def _times_mask(x: Tensor, lengths: Tensor) -> Tensor:
    real = _steps(x) < lengths[:, None, None]
    return (x * real).sum(1) / lengths[:, None]


def _one_too_many(x: Tensor, lengths: Tensor) -> Tensor:
    return _total(x, lengths + 1) / lengths[:, None]


def _one_too_few(x: Tensor, lengths: Tensor) -> Tensor:
    return _total(x, lengths - 1) / lengths[:, None]


def _last(x: Tensor, lengths: Tensor) -> Tensor:
    return x[torch.arange(len(x)), lengths - 1]


def _sum(x: Tensor, lengths: Tensor) -> Tensor:
    return _total(x, lengths)


def _common_length(x: Tensor, lengths: Tensor) -> Tensor:
    return _total(x, lengths) / lengths.max()


# The learning rate


def _draw_step(rng: np.random.Generator, size: int) -> tuple[int, int, int, int, float]:
    per_epoch, epochs = int(rng.integers(2, 5 + size)), int(rng.integers(2, 5 + size))
    warmup = int(rng.integers(0, epochs))
    step = int(rng.integers(0, per_epoch * epochs))
    return step, per_epoch, epochs, warmup, float(rng.uniform(0.001, 0.1))


def _schedule(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    total, grows = per_epoch * epochs, per_epoch * warmup
    if step < grows:
        return top * step / grows
    return top * math.cos(math.pi / 2 * (step - grows) / (total - grows)) ** 2


def _per_epoch(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    return _schedule(step // per_epoch, 1, epochs, warmup, top)


def _no_warmup(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    return _schedule(step, per_epoch, epochs, 0, top)


def _warmup_in_steps(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    total = per_epoch * epochs
    if step < warmup:
        return top * step / warmup
    return top * math.cos(math.pi / 2 * (step - warmup) / (total - warmup)) ** 2


def _too_long(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    if step < per_epoch * warmup:
        return _schedule(step, per_epoch, epochs, warmup, top)
    return _schedule(step - per_epoch * warmup, per_epoch, epochs, 0, top)


def _begins_late(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    if step < per_epoch * warmup:
        return _schedule(step, per_epoch, epochs, warmup, top)
    return _schedule(step, per_epoch, epochs, 0, top)


def _quarter_wave(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    total, grows = per_epoch * epochs, per_epoch * warmup
    if step < grows:
        return top * step / grows
    return top * math.cos(math.pi / 2 * (step - grows) / (total - grows))


def _share(step: int, per_epoch: int, epochs: int, warmup: int, top: float) -> float:
    return _schedule(step, per_epoch, epochs, warmup, 1.0)


# Where the parameters are


def _draw_sizes(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    return tuple(int(rng.integers(2, 5 + size)) for _ in range(4))  # type: ignore[return-value]


def _count(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    time = width * (2 * taps + depth + 2)
    rest = 2 * width * (width + 1) + 2 * width  # a linear map with its bias, and the norm
    return layers * time, layers * (time + rest)


def _one_filter(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    less = layers * width * taps
    time, all_of_it = _count(width, layers, taps, depth)
    return time - less, all_of_it - less


def _untied(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    more = layers * width * 2 * taps * (depth - 1)
    time, all_of_it = _count(width, layers, taps, depth)
    return time + more, all_of_it + more


def _no_readout(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    less = layers * width * (depth + 2)
    time, all_of_it = _count(width, layers, taps, depth)
    return time - less, all_of_it - less


def _no_skip(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    time, all_of_it = _count(width, layers, taps, depth)
    return time - layers * width, all_of_it - layers * width


def _square(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    time, all_of_it = _count(width, layers, taps, depth)
    return time, all_of_it - layers * (width * width + width)


def _no_bias_or_norm(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    time, all_of_it = _count(width, layers, taps, depth)
    return time, all_of_it - layers * 2 * width


def _neither(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    time, all_of_it = _count(width, layers, taps, depth)
    return time, all_of_it - layers * 4 * width


def _one_layer(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    return _count(width, 1, taps, depth)


def _the_rest(width: int, layers: int, taps: int, depth: int) -> tuple[int, int]:
    time, all_of_it = _count(width, layers, taps, depth)
    return time, all_of_it - time


# Running statistics


def _draw_running(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(rng.standard_normal((2, 1 + size, 3)))
    return x, torch.from_numpy(rng.standard_normal(3))


def _running(x: Tensor, running: Tensor) -> Tensor:
    return torch.lerp(running, x.mean((0, 1)), 0.1)


def _reversed(x: Tensor, running: Tensor) -> Tensor:
    return torch.lerp(running, x.mean((0, 1)), 0.9)


def _replaced(x: Tensor, running: Tensor) -> Tensor:
    return x.mean((0, 1))


def _over_time(x: Tensor, running: Tensor) -> Tensor:
    return torch.lerp(running.expand(len(x), -1), x.mean(1), 0.1)


def _over_batch(x: Tensor, running: Tensor) -> Tensor:
    return torch.lerp(running.expand(x.shape[1], -1), x.mean(0), 0.1)


def _over_channels(x: Tensor, running: Tensor) -> Tensor:
    return torch.lerp(running, x.mean(), 0.1)


def _added(x: Tensor, running: Tensor) -> Tensor:
    return running + 0.1 * x.mean((0, 1))


# Is it real?


def _draw_scores(rng: np.random.Generator, size: int) -> tuple[float, float, int]:
    one, other = rng.uniform(0.1, 0.95, 2)
    return float(one), float(other), int(rng.integers(10, 10 ** min(4, 2 + size // 3)))


def _variance(accuracy: float, images: int) -> float:
    return accuracy * (1 - accuracy) / images


def _errors(one: float, other: float, images: int) -> float:
    return (one - other) / math.sqrt(_variance(one, images) + _variance(other, images))


def _one_error(one: float, other: float, images: int) -> float:
    return (one - other) / math.sqrt(_variance(one, images))


def _no_root(one: float, other: float, images: int) -> float:
    return (one - other) / (_variance(one, images) + _variance(other, images))


def _no_size(one: float, other: float, images: int) -> float:
    return _errors(one, other, 1)


def _errors_added(one: float, other: float, images: int) -> float:
    added = math.sqrt(_variance(one, images)) + math.sqrt(_variance(other, images))
    return (one - other) / added


def _swapped(one: float, other: float, images: int) -> float:
    return _errors(other, one, images)


def _difference(one: float, other: float, images: int) -> float:
    return one - other


EXERCISES = (
    Exercise(
        name="scifar-lag",
        reference=33,
        hints=(
            "The network reads a row from left to right. How many steps ago was the pixel above?",
            "One more step into the past goes one pixel to the left.",
        ),
        mistakes=(
            Mistake(31, "That is the pixel above and to the right: it comes later, so less far."),
            Mistake(32, "That is the pixel right above."),
            Mistake(1, "That is the pixel to the left, in the same row."),
            Mistake(34, "That one is above and two to the left."),
            Mistake(-33, "Lags count into the past: they are not negative."),
            Mistake(99, "A step takes one pixel with its three colors, not one number."),
        ),
    ),
    Exercise(
        name="scifar-pool",
        reference=_pool,
        draw=_draw_batch,
        shrink=False,  # NaN has no simpler value
        hints=(
            "torch.arange(length) < lengths[:, None] says which steps are real.",
            "NaN times 0 is NaN. Replace what is padding instead: torch.where, or masked_fill.",
            "Then sum over time, and divide each sum by its own length.",
        ),
        mistakes=(
            Mistake(
                _padded_length,
                "That divides by the padded length: a short sequence gets a small mean.",
            ),
            Mistake(_all_steps, "Padding is no data: the mean must not see it."),
            Mistake(_times_mask, "NaN times 0 is NaN: replace the padding, don't multiply it."),
            Mistake(_one_too_many, "One step too many: the first padded step has index n."),
            Mistake(_one_too_few, "One step is missing: the last real one has index n - 1."),
            Mistake(_last, "That is the last real step alone. The mean takes all of them."),
            Mistake(_sum, "That is the sum: divide each one by its length."),
            Mistake(_common_length, "Each sequence has a length of its own to divide by."),
        ),
    ),
    Exercise(
        name="scifar-schedule",
        reference=_schedule,
        draw=_draw_step,
        hints=(
            "Turn everything into steps first: how many are there in all, and in the warm-up?",
            "After the warm-up, let a share s run from 0 to 1. The factor (1 + cos(π s)) / 2 goes "
            "from 1 to 0.",
        ),
        mistakes=(
            Mistake(
                _per_epoch,
                "That moves once an epoch. The schedule moves at every step.",
            ),
            Mistake(
                _warmup_in_steps, "The warm-up is given in epochs: an epoch has per_epoch steps."
            ),
            Mistake(_no_warmup, "The warm-up is missing: first the rate grows from 0."),
            Mistake(
                _begins_late,
                "The rate jumps where the warm-up ends. The cosine begins there, at its top.",
            ),
            Mistake(
                _too_long,
                "The cosine has only the steps after the warm-up: so it never gets down to 0.",
            ),
            Mistake(
                _quarter_wave,
                "That is a quarter of a wave, steep at the end. Half a wave, raised and halved, is "
                "flat at both.",
            ),
            Mistake(_share, "That is the share of the top: multiply by it."),
        ),
    ),
    Exercise(
        name="scifar-parameters",
        reference=_count,
        draw=_draw_sizes,
        hints=(
            "Per channel, the sequence layer has two filters and the weights w. How many weights?",
            "The linear map goes from D to 2D channels and has a bias; LayerNorm has a scale and "
            "a shift for each channel.",
        ),
        mistakes=(
            Mistake(_one_filter, "There are two filters, h0 and h1."),
            Mistake(_untied, "All levels share the two filters: count them once."),
            Mistake(_no_readout, "The readout weights w belong to the sequence layer, too."),
            Mistake(_no_skip, "There are J + 2 weights: one is for the input itself."),
            Mistake(_square, "GLU halves the channels, so the map before it goes from D to 2D."),
            Mistake(
                _no_bias_or_norm,
                "2D numbers a block are missing: the linear map has a bias of 2D numbers, and "
                "LayerNorm a scale and a shift for each channel.",
            ),
            Mistake(
                _neither,
                "The bias of the linear map is missing, and the scale and the shift of LayerNorm.",
            ),
            Mistake(_one_layer, "That is one block. There are several."),
            Mistake(_the_rest, "The second number counts all of the blocks, time mixing included."),
        ),
    ),
    Exercise(
        name="scifar-linear",
        reference={"halfway", "pixels"},
        hints=(
            "Convolutions, linear maps, sums and means are affine. What is affine after affine?",
            "Causal kernels are cut off at the end of the sequence: the first pixel is seen by "
            "all steps, the last one by a single step.",
        ),
        mistakes=(
            Mistake(
                {"halfway", "pixels", "same", "shuffle"},
                "Two of these are wrong: something is lost, but not everything.",
            ),
            Mistake(
                {"same"},
                "Much changes: without a nonlinearity, ten layers are one affine map.",
            ),
            Mistake(
                {"halfway", "pixels", "shuffle"},
                "Causal kernels end at the last step, so an early pixel counts differently from a "
                "late one: the order still matters.",
            ),
            Mistake({"halfway"}, "One is missing: what is an affine map of 3,072 numbers called?"),
            Mistake({"pixels"}, "One is missing: an affine map keeps means."),
            Mistake(set(), "Some are true: what does superposition say about a mean?"),
            Mistake({"shuffle"}, "The order still matters. But what kind of map is left?"),
        ),
    ),
    Exercise(
        name="scifar-running",
        reference=_running,
        draw=_draw_running,
        hints=(
            "Batch normalization has one mean for each channel. Which axes does it average over?",
            "PyTorch's momentum is the share of the new value.",
        ),
        mistakes=(
            Mistake(_reversed, "PyTorch's momentum is the weight of the new mean, not of the old."),
            Mistake(_replaced, "The running mean follows slowly: nine tenths of it stay."),
            Mistake(_over_time, "That is a mean for each sequence: average over the batch, too."),
            Mistake(_over_batch, "That is a mean for each time step: average over time, too."),
            Mistake(_over_channels, "Each channel has a mean of its own."),
            Mistake(_added, "The old value is scaled by nine tenths, or it would grow and grow."),
        ),
    ),
    Exercise(
        name="scifar-difference",
        reference=_errors,
        draw=_draw_scores,
        hints=(
            "An accuracy A on n images has the variance A(1 - A) / n.",
            "Variances of independent numbers add up, also for a difference. The root comes last.",
        ),
        mistakes=(
            Mistake(_one_error, "Both accuracies are uncertain: add the two variances."),
            Mistake(_no_root, "A standard error is the root of a variance."),
            Mistake(_no_size, "More images, smaller error: their number is missing."),
            Mistake(_errors_added, "Add the variances, not the errors, then take the root."),
            Mistake(_swapped, "The sign is flipped: the first minus the second."),
            Mistake(_difference, "That is the difference. Divide it by its standard error."),
        ),
    ),
)
