"""Pathfinder, drawn here: does one dashed path join the two discs?

Two long paths of dashes start near each other in the middle and wind apart; short ones distract.
A disc marks the start of one long path, another the end of the same path or of the other one. The
sizes are those that the Long Range Arena states for its images. Nothing but following a path
tells the two classes apart: what is drawn is decided before it is known which ends are marked.

References
----------
D. Linsley, J. Kim, V. Veerabadran, C. Windolf, T. Serre, "Learning long-range spatial dependencies
with horizontal gated recurrent units", NeurIPS 2018, arXiv:1805.08315.
Y. Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", ICLR 2021,
arXiv:2011.04006.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.base import SPLITS
from mrbook.tasks.cache import digest, kept_arrays, progress_bar
from mrbook.tasks.images import ImageTask

__all__ = ["CLASSES", "MARK", "draw_paths", "sequential_paths"]

Array = NDArray[Any]

CLASSES = ("apart", "joined")
MARK = "paths drawn here, not the published images of Pathfinder"

_VERSION = 1  # of the generator: another one draws other images
_BLOCK = 1000  # images begun at once, from one random stream
_WORTH_KEEPING = 10_000  # images
_CHOICES = 24  # directions or places among which the next dash is chosen
_DARING = 0.05  # weight of a direction that ends within three dashes, beside that of an open one
_SAMPLES = 10  # places at which a line is looked at for room


class _Style(NamedTuple):
    """Lengths in pixels."""

    dash: int  # length of a dash
    thickness: float
    margin: int  # half of the gap between dashes
    apart: int  # between the starts of the long paths
    radius: float  # of a disc
    straight: float  # turns are at most a right angle divided by this
    distractors: int  # dashes in all of them together


_STYLES = {
    32: _Style(2, 0.5, 1, 7, 1.5, 1.0, 20),
    64: _Style(4, 1.0, 1, 12, 2.5, 1.2, 22),
    128: _Style(5, 1.5, 2, 20, 3.0, 1.8, 35),
}


def draw_paths(
    count: int, size: int = 32, dashes: int = 14, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw images of Pathfinder.

    Parameters
    ----------
    count : int
        Number of images.
    size : {32, 64, 128}
        Height and width in pixels.
    dashes : int
        Dashes of a long path, 3 to 14: 6, 9 and 14 are the three difficulties of the benchmark.
        A short path has a third of them.
    seed : int
        The same seed gives the same images; of more images, these are the first.

    Returns
    -------
    images : Tensor
        uint8 of shape ``(count, 1, size, size)``.
    labels : Tensor
        int64 of shape ``(count,)``: 1 where one path joins the discs.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> images, labels = draw_paths(4, dashes=6)
    >>> images.shape, labels.shape
    (torch.Size([4, 1, 32, 32]), torch.Size([4]))
    """
    check_count(count, "count")
    check_count(dashes, "dashes", 3, 14)
    check_count(seed, "seed", 0)
    if size not in _STYLES:
        raise ValueError(f"size must be one of {', '.join(map(str, _STYLES))}, got {size!r}")
    images = np.empty((count, 1, size, size), np.uint8)
    labels = np.empty(count, np.int64)
    done = block = 0
    with progress_bar(count, "Pathfinder", leave=False, delay=2) as bar:
        while done < count:
            rng = np.random.default_rng([seed, size, dashes, block])
            drawn, joined = _images(size, dashes, rng)
            part = min(len(drawn), count - done)
            images[done : done + part, 0], labels[done : done + part] = drawn[:part], joined[:part]
            done, block = done + part, block + 1
            bar.update(part)
    return torch.from_numpy(images), torch.from_numpy(labels)


class _Canvas:
    """Several images at once, with room around them: what is drawn, and where no dash may go.

    Places are rows and columns, whole numbers at the centers of pixels. `rows` says for which
    images strokes are meant, one for each; a stroke is tail and head: ``(2, len(rows), 2)``.
    """

    def __init__(self, count: int, size: int, style: _Style) -> None:
        self.style = style
        self.room = math.ceil(max(style.dash / 2, style.radius) + 2 * style.margin) + 2
        self.inside = slice(self.room, self.room + size)
        side = size + 2 * self.room
        self.image = np.zeros((0, side, side), np.float32)
        # Bit 0: closed to every path. Bit 1 or 2: only to the others, by the newest dash of a path.
        self.taken = np.ones((count, side, side), np.uint8)
        within = slice(self.room + 1, self.room + size - 1)
        self.taken[:, within, within] = 0

    def keep(self, good: Array) -> None:
        """Leave out images before anything is drawn."""
        self.taken = self.taken[good]
        self.image = np.zeros(self.taken.shape, np.float32)

    def near(self, rows: Array, stroke: Array) -> tuple[tuple[Array, ...], Array]:
        """Pixels around each stroke, and their distances from it."""
        tail, head = stroke
        middle = np.rint((tail + head) / 2).astype(np.int64)[:, :, None]
        reach = np.arange(-self.room, self.room + 1)
        lines, columns = (middle[:, 0] + reach)[:, :, None], (middle[:, 1] + reach)[:, None]
        y, x = lines - tail[:, :1, None], columns - tail[:, 1:, None]
        dy, dx = np.moveaxis(head - tail, 1, 0)[..., None, None]
        along = np.clip((y * dy + x * dx) / np.maximum(dy * dy + dx * dx, 1e-9), 0, 1)
        square = (y - along * dy) ** 2 + (x - along * dx) ** 2
        return (rows[:, None, None], lines, columns), np.sqrt(square)

    def paint(self, rows: Array, stroke: Array, radius: float) -> None:
        """Draw strokes."""
        place, distance = self.near(rows, stroke)
        self.image[place] = np.maximum(self.image[place], np.clip(radius + 0.5 - distance, 0, 1))

    def take(self, rows: Array, stroke: Array, radius: float, bit: int = 0) -> None:
        """Keep others farther from strokes than the dashes of one path are from each other."""
        place, distance = self.near(rows, stroke)
        # Half a pixel more, as lines are looked at on whole pixels.
        close = distance <= radius + 2 * self.style.margin + 0.5
        self.taken[place] |= close.astype(np.uint8) << bit

    def settle(self, rows: Array, stroke: Array, bit: int) -> None:
        """Close to every path what was closed to the others."""
        place, _ = self.near(rows, stroke)
        taken = self.taken[place]
        self.taken[place] = (taken & ~np.uint8(1 << bit)) | (taken >> bit & 1)

    def look(self, rows: Array, tails: Array, ways: Array, bit: int) -> tuple[Array, Array]:
        """Which of several dashes have room, and how many have it for three in a line."""
        style = self.style
        far = 3 * style.dash + 4 * style.margin
        steps = np.linspace(0, 1, _SAMPLES)
        points = np.rint(tails + far * steps[:, None, None, None] * ways).astype(np.int64)
        np.clip(points, 0, self.taken.shape[-1] - 1, out=points)
        taken = self.taken[rows[:, None], points[..., 0], points[..., 1]]
        free = (taken & ~np.uint8(1 << bit)) == 0
        return free[steps * far < style.dash + 1].all(0), free.all(0)


def _toward(angle: Array) -> Array:
    return np.stack([np.sin(angle), np.cos(angle)], -1)


def _grow(
    canvas: _Canvas, starts: Array, dashes: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Let one or two paths wind where there is room, a dash of each in turn.

    Parameters
    ----------
    starts : ndarray
        Places to begin, to choose from, of shape ``(paths, count, choices, 2)``.

    Returns
    -------
    strokes : ndarray
        Tail and head of each dash, of shape ``(paths, dashes, 2, count, 2)``.
    rows : ndarray
        The images in which all paths found room.
    """
    style = canvas.style
    paths, count, choices, _ = starts.shape
    strokes = np.full((paths, dashes, 2, count, 2), np.nan)
    heading = np.empty((paths, count))
    rows = np.arange(count)
    for number in range(dashes):
        for path in range(paths):
            spread = (np.arange(choices) + rng.random((len(rows), 1))) / choices - 0.5
            if number == 0:
                angles = rng.permuted(spread, axis=1) * 2 * math.pi
                tails, ways = starts[path, rows], _toward(angles)
                weight = np.ones_like(angles)
            else:
                turn = spread * math.pi / style.straight
                before = heading[path, rows]
                angles = before[:, None] + turn
                pivot = strokes[path, number - 1, 1, rows] + style.margin * _toward(before)
                ways = _toward(angles)
                tails = pivot[:, None] + style.margin * ways
                weight = np.cos(style.straight * turn) ** 2
            possible, promising = canvas.look(rows, tails, ways, path + 1)
            weight *= possible * np.where(promising, 1, _DARING)
            total = np.cumsum(weight, axis=1)
            chosen = np.argmax(total > rng.random((len(rows), 1)) * total[:, -1:], axis=1)
            alive = np.flatnonzero(total[:, -1] > 0)
            rows, pick = rows[alive], (alive, chosen[alive])
            if number > 0:
                canvas.settle(rows, strokes[path, number - 1][:, rows], path + 1)
            heading[path, rows] = angles[pick]
            stroke = np.stack([tails[pick], tails[pick] + style.dash * ways[pick]])
            strokes[path, number][:, rows] = stroke
            canvas.take(rows, stroke, style.thickness / 2, path + 1)
    for path in range(paths):
        canvas.settle(rows, strokes[path, -1][:, rows], path + 1)
    return strokes, rows


def _images(size: int, dashes: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Those of `_BLOCK` images in which both long paths find room."""
    style = _STYLES[size]
    canvas = _Canvas(_BLOCK, size, style)
    first = canvas.room + rng.uniform(2 * style.apart, size - 1 - 2 * style.apart, (_BLOCK, 2))
    second = first + style.apart * _toward(rng.uniform(0, 2 * math.pi, _BLOCK))
    starts = np.repeat(np.stack([first, second])[:, :, None], _CHOICES, axis=2)
    strokes, good = _grow(canvas, starts, dashes, rng)
    good = good[_discs_are_clear(strokes[..., good, :], style)]
    canvas.keep(good)
    strokes, rows = strokes[..., good, :], np.arange(len(good))
    for stroke in (stroke for path in strokes for stroke in path):
        canvas.paint(rows, stroke, style.thickness / 2)
    tips = np.stack([strokes[:, 0, 0], strokes[:, -1, 1]])  # start and end, of each path
    for tip in (tip for path in tips for tip in path):
        canvas.take(rows, np.stack([tip, tip]), style.radius)
    _distract(canvas, size, dashes // 3, rng)
    marked = rng.integers(0, 2, (2, len(rows)))
    for ends, path in zip(tips, marked, strict=True):
        canvas.paint(rows, np.stack([ends[path, rows]] * 2), style.radius)
    drawn = np.rint(255 * canvas.image[:, canvas.inside, canvas.inside]).astype(np.uint8)
    return drawn, marked[0] == marked[1]


def _discs_are_clear(strokes: Array, style: _Style) -> Array:
    """Whether a disc at any tip would touch neither the other path nor another disc."""
    tails, heads = strokes[:, :, 0], strokes[:, :, 1]  # (2, dashes, count, 2)
    points = np.concatenate([tails, (tails + heads) / 2, heads], axis=1)
    starts, ends = tails[:, 0], heads[:, -1]
    gap = [
        np.linalg.norm(points[1 - path] - tip[path], axis=-1).min(0)
        for path in (0, 1)
        for tip in (starts, ends)
    ]
    between = np.linalg.norm(starts[:, None] - ends, axis=-1).min((0, 1))
    clear = np.min(gap, axis=0) >= style.radius + style.thickness / 2 + 1
    return clear & (between >= 2 * style.radius + 1)


def _distract(canvas: _Canvas, size: int, dashes: int, rng: np.random.Generator) -> None:
    """Draw short paths, as many as there is room for."""
    style, count = canvas.style, len(canvas.image)
    missing = np.full(count, style.distractors // dashes)
    for _ in range(2 * style.distractors // dashes):
        if not missing.any():
            break
        starts = canvas.room + rng.uniform(0, size, (1, count, _CHOICES, 2))
        before = canvas.taken.copy()
        strokes, rows = _grow(canvas, starts, dashes, rng)
        rows = rows[missing[rows] > 0]
        missing[rows] -= 1
        before[rows] = canvas.taken[rows]
        canvas.taken = before
        for stroke in strokes[0]:
            canvas.paint(rows, stroke[:, rows], style.thickness / 2)


def sequential_paths(
    *,
    train: int = 16_000,
    valid: int = 2_000,
    test: int = 2_000,
    size: int = 32,
    dashes: int = 14,
    seed: int = 0,
) -> ImageTask:
    """Pathfinder without its files: paths drawn here, read pixel by pixel.

    Parameters
    ----------
    train, valid, test : int
        Number of images in each split.
    size, dashes, seed : int
        See `draw_paths`; the splits share no image.

    Returns
    -------
    ImageTask
        From 10,000 images on they are kept in `data_folder`.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> task = sequential_paths(train=20, valid=5, test=5, dashes=6)
    >>> next(task.batches("train", 10)).inputs.shape
    torch.Size([10, 1, 1024])
    """
    sizes = {"train": train, "valid": valid, "test": test}
    for split, count in sizes.items():
        check_count(count, split)
    recipe = {
        "version": _VERSION,
        "seed": seed,
        "count": sum(sizes.values()),
        "size": size,
        "dashes": dashes,
    }

    def draw() -> dict[str, Array]:
        images, labels = draw_paths(recipe["count"], size, dashes, seed)
        return {"images": images.numpy(), "labels": labels.numpy()}

    if recipe["count"] < _WORTH_KEEPING:
        kept = draw()
    else:
        kept = kept_arrays("Pathfinder", "paths", recipe, draw, compress=True)
    images, labels = torch.from_numpy(kept["images"]), torch.from_numpy(kept["labels"])
    parts = zip(images.split([*sizes.values()]), labels.split([*sizes.values()]), strict=True)
    data = dict(zip(SPLITS, parts, strict=True))
    fingerprint = {
        "data": "paths",
        "official": False,
        "mark": MARK,
        "digest": digest(kept["images"], kept["labels"]),
        **recipe,
    }
    return ImageTask("paths", data, CLASSES, [0.5], [0.5], fingerprint)
