"""Ten classes of drawn shapes: what there is to learn from when no data can be had.

A shape has a random place, size, angle and color on a shaded, noisy ground, lighter or darker than
it, so single pixels say little about the class: a linear classifier stays far below half right.
Plain shapes, white on black and upright, are there to be drawn by a small model.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.images import ImageTask

__all__ = ["CLASSES", "MARK", "draw_shapes", "sequential_shapes"]

Array = NDArray[Any]
MARK = "drawn shapes, not CIFAR-10"


# Signed distances, negative inside, of shapes of about unit radius around the origin.


def _box(u: Array, v: Array, width: float, height: float) -> Array:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _star(u: Array, v: Array) -> Array:
    inner, fifth = 0.42, math.pi / 5
    angle = np.abs((np.arctan2(v, u) + fifth) % (2 * fifth) - fifth)
    radius = np.hypot(u, v)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    across = np.array([inner * math.sin(fifth), 1 - inner * math.cos(fifth)], np.float32)
    across /= np.hypot(*across)
    return across[0] * (x - 1) + across[1] * y


_DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda u, v: np.hypot(u, v) - 0.9,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.75) - 0.22,
    "square": lambda u, v: _box(u, v, 0.78, 0.78),
    "frame": lambda u, v: np.abs(_box(u, v, 0.68, 0.68)) - 0.2,
    "triangle": lambda u, v: np.maximum(np.abs(u) * math.sqrt(0.75) + v / 2, -v) - 0.5,
    "cross": lambda u, v: np.minimum(_box(u, v, 1, 0.28), _box(u, v, 0.28, 1)),
    "star": _star,
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 1, 0.85 - np.hypot(u - 0.5, v)),
    "bar": lambda u, v: _box(u, v, 1.05, 0.25),
    "corner": lambda u, v: np.minimum(_box(u + 0.5, v, 0.28, 0.9), _box(u, v + 0.62, 0.78, 0.28)),
}
CLASSES = tuple(_DISTANCES)
_UPRIGHT = {"triangle": math.pi, "star": -math.pi / 2}  # the angle at which its point is on top


def draw_shapes(
    count: int, size: int = 32, channels: int = 3, seed: int = 0, *, plain: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw images of the ten classes, each as often as the others, in random order.

    Parameters
    ----------
    count : int
        Number of images.
    size : int
        Height and width in pixels, at least 8.
    channels : int
        3 for color, 1 for gray.
    seed : int
        The same seed gives the same images.
    plain : bool
        White on black, upright, about the same size and nearly in the middle.

    Returns
    -------
    images : Tensor
        uint8 of shape ``(count, channels, size, size)``.
    labels : Tensor
        int64 of shape ``(count,)``, numbers into `CLASSES`.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> images, labels = draw_shapes(20, size=16, channels=1)
    >>> images.shape, labels.bincount()
    (torch.Size([20, 1, 16, 16]), tensor([2, 2, 2, 2, 2, 2, 2, 2, 2, 2]))
    """
    check_count(count, "count")
    check_count(size, "size", 8)
    check_count(seed, "seed", 0)
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels!r}")
    rng = np.random.default_rng([seed, size, channels])
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    images = np.empty((count, channels, size, size), np.uint8)
    for first in range(0, count, 1000):
        here = slice(first, first + 1000)
        images[here] = _draw(labels[here], size, channels, rng, plain)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Array:
    return rng.uniform(low, high, shape).astype(np.float32)


def _draw(
    labels: NDArray[np.int64], size: int, channels: int, rng: np.random.Generator, plain: bool
) -> NDArray[np.uint8]:
    n = len(labels)
    if plain:
        radius, room = size * _uniform(rng, 0.32, 0.4, n), size / 16
        center = size / 2 + room * _uniform(rng, -1, 1, n, 2)
        angle = np.array([_UPRIGHT.get(name, 0) for name in CLASSES], np.float32)[labels]
        cover = _cover(labels, size, radius, center, angle)
        image = np.repeat(cover, channels, axis=1)
    else:
        radius = size * _uniform(rng, 0.22, 0.4, n)
        center = size / 2 + (size / 2 - radius)[:, None] * _uniform(rng, -1, 1, n, 2)
        angle = _uniform(rng, 0, 2 * math.pi, n)
        image = _paint(_cover(labels, size, radius, center, angle), channels, rng)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _cover(
    labels: NDArray[np.int64], size: int, radius: Array, center: Array, angle: Array
) -> Array:
    """How much of each pixel the shape covers, from the distance in pixels to its edge."""
    radius, angle = radius[:, None, None], angle[:, None, None]
    grid = np.arange(size, dtype=np.float32) + 0.5
    y = (grid[:, None] - center[:, 0, None, None]) / radius
    x = (grid[None, :] - center[:, 1, None, None]) / radius
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    distance = np.empty((len(labels), size, size), np.float32)
    for number, name in enumerate(CLASSES):
        chosen = labels == number
        distance[chosen] = _DISTANCES[name](u[chosen], v[chosen])
    return np.clip(0.5 - distance * radius, 0, 1)[:, None]


def _paint(cover: Array, channels: int, rng: np.random.Generator) -> Array:
    """Shapes of one color on a shaded ground of another, with noise."""
    n, size = len(cover), cover.shape[-1]
    ground = _uniform(rng, 0.1, 0.9, n, channels)
    color = _uniform(rng, 0, 1, n, channels)
    # One channel at least differs by 0.35 or more.
    loud = np.argmax(np.abs(color - ground), axis=1)[:, None]
    value = np.take_along_axis(ground, loud, 1)
    step = _uniform(rng, 0.35, 0.5, n, 1) * np.where(value < 0.5, 1, -1)
    np.put_along_axis(color, loud, value + step, 1)
    ramp = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    across = _uniform(rng, -0.3, 0.3, n, channels, 1, 1)
    down = _uniform(rng, -0.3, 0.3, n, channels, 1, 1)
    shade = across * ramp + down * ramp[:, None]
    image = (1 - cover) * (ground[:, :, None, None] + shade) + cover * color[:, :, None, None]
    image += 0.04 * rng.standard_normal(image.shape, dtype=np.float32)
    return image


def sequential_shapes(
    *,
    train: int = 9000,
    valid: int = 1000,
    test: int = 2000,
    size: int = 32,
    channels: int = 3,
    seed: int = 0,
    plain: bool = False,
) -> ImageTask:
    """Sequential shapes: the stand-in for sequential CIFAR-10, and small images to draw.

    Parameters
    ----------
    train, valid, test : int
        Number of images in each split.
    size, channels, seed, plain
        See `draw_shapes`; the splits share no image.

    Returns
    -------
    ImageTask
        Its values lie between -2 and 2; those of plain shapes on the grid of 256 levels from -1
        to 1 that a model draws on.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    for split, count in sizes.items():
        check_count(count, split)
    images, labels = draw_shapes(sum(sizes.values()), size, channels, seed, plain=plain)
    parts = zip(
        sizes, images.split([*sizes.values()]), labels.split([*sizes.values()]), strict=True
    )
    data = {split: (x, y) for split, x, y in parts}
    name = "plain-shapes" if plain else "shapes"
    fingerprint = {
        "data": name,
        "official": False,
        "mark": MARK,
        "image": [channels, size, size],
        "seed": seed,
    }
    mean, std = (0.5,) * channels, (0.5 if plain else 0.25,) * channels
    return ImageTask(name, data, CLASSES, mean, std, fingerprint)
