"""Pathfinder drawn here: its geometry, measured on what is drawn, and its two classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrbook.tasks import draw_paths, paths, sequential_paths

SIZES = [(32, 14), (32, 6), (64, 9), (128, 14)]


@pytest.fixture(scope="module", params=SIZES, ids=lambda p: f"{p[0]}-{p[1]}")
def block(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return one block of images with all strokes that were drawn: what, where, how thick."""
    size, dashes = request.param
    drawn: list[tuple[np.ndarray, np.ndarray, float]] = []
    paint = paths._Canvas.paint

    def record(canvas: Any, rows: np.ndarray, stroke: np.ndarray, radius: float) -> None:
        drawn.append((rows.copy(), stroke - canvas.room, radius))
        paint(canvas, rows, stroke, radius)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths._Canvas, "paint", record)
        images, labels = paths._images(size, dashes, np.random.default_rng(1))
    style = paths._STYLES[size]
    long = np.stack([stroke for _, stroke, _ in drawn[: 2 * dashes]])
    return {
        "size": size,
        "dashes": dashes,
        "style": style,
        "images": images,
        "labels": labels,
        "long": long.reshape(2, dashes, *long.shape[1:]),
        "short": [part for part in drawn[2 * dashes : -2] if len(part[0])],
        "discs": [stroke[0] for _, stroke, _ in drawn[-2:]],
    }


def along(strokes: np.ndarray) -> np.ndarray:
    """Return points of strokes (..., 2, count, 2), nine of each, as (points, count, 2)."""
    tail, head = strokes[..., 0, :, :], strokes[..., 1, :, :]
    points = np.stack([tail + s * (head - tail) for s in np.linspace(0, 1, 9)])
    return points.reshape(-1, *points.shape[-2:])


def closest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for each image how near two sets of points come."""
    return np.linalg.norm(a[:, None] - b, axis=-1).min((0, 1))


def test_two_long_paths_of_dashes(block: dict[str, Any]) -> None:
    style, long = block["style"], block["long"]
    count = len(block["images"])
    assert long.shape == (2, block["dashes"], 2, count, 2) and count >= 30
    assert np.allclose(np.linalg.norm(long[:, :, 1] - long[:, :, 0], axis=-1), style.dash)
    gaps = np.linalg.norm(long[:, 1:, 0] - long[:, :-1, 1], axis=-1)
    assert gaps.max() < 2 * style.margin + 1e-9 and gaps.min() > style.margin
    assert np.allclose(np.linalg.norm(long[0, 0, 0] - long[1, 0, 0], axis=-1), style.apart)
    assert long.min() > 0 and long.max() < block["size"] - 1


def test_paths_stay_farther_apart_than_dashes_of_one(block: dict[str, Any]) -> None:
    room = 2 * block["style"].margin
    first, second = along(block["long"][0]), along(block["long"][1])
    assert closest(first, second).min() > room
    # A path keeps away from its own past as well.
    for path in block["long"]:
        for number in range(2, block["dashes"]):
            past = along(path[: number - 1])
            assert closest(along(path[number]), past).min() > room
    long = np.concatenate([first, second])
    for rows, stroke, _ in block["short"]:
        assert closest(along(stroke), long[:, rows]).min() > room


def test_the_discs_say_the_label_and_touch_no_other_path(block: dict[str, Any]) -> None:
    style, long, labels = block["style"], block["long"], block["labels"]
    start, end = block["discs"]
    begins = [np.all(start == path[0, 0], axis=-1) for path in long]
    finishes = [np.all(end == path[-1, 1], axis=-1) for path in long]
    assert np.array_equal(begins[0], ~begins[1]) and np.array_equal(finishes[0], ~finishes[1])
    assert np.array_equal(labels, begins[0] == finishes[0])
    assert 0.25 < labels.mean() < 0.75
    assert np.linalg.norm(start - end, axis=-1).min() >= 2 * style.radius + 1
    for disc, own in ((start, begins), (end, finishes)):
        for path, mine in zip(long, own, strict=True):
            others = closest(disc[None, ~mine], along(path)[:, ~mine])
            assert others.min() > style.radius + style.thickness / 2
        for rows, stroke, _ in block["short"]:
            near = closest(disc[None, rows], along(stroke))
            assert near.min() > style.radius + style.thickness / 2


def test_short_paths_distract(block: dict[str, Any]) -> None:
    length = block["dashes"] // 3
    wanted = block["style"].distractors // length
    counts = np.zeros(len(block["images"]), int)
    for rows, _, _ in block["short"]:
        counts[rows] += 1
    assert np.all(counts % length == 0)
    short = counts // length
    assert short.max() == wanted and short.mean() > 0.5 * wanted


def test_the_image_is_its_strokes(block: dict[str, Any]) -> None:
    """Drawn once more, each pixel from its distance to every stroke."""
    size, style = block["size"], block["style"]
    grid = np.stack(np.mgrid[:size, :size], -1)

    def cover(tail: np.ndarray, head: np.ndarray, radius: float) -> np.ndarray:
        way = head - tail
        s = np.clip((grid - tail) @ way / max(way @ way, 1e-9), 0, 1)
        distance = np.linalg.norm(grid - tail - s[..., None] * way, axis=-1)
        return np.clip(radius + 0.5 - distance, 0, 1)

    for number in (0, 7):
        strokes = [stroke[:, number] for path in block["long"] for stroke in path]
        strokes += [s[:, list(r).index(number)] for r, s, _ in block["short"] if number in r]
        parts = [cover(*stroke, style.thickness / 2) for stroke in strokes]
        parts += [cover(disc[number], disc[number], style.radius) for disc in block["discs"]]
        expected = 255 * np.max(parts, axis=0)
        assert np.abs(block["images"][number] - expected).max() < 0.51


def test_the_place_of_the_discs_says_nothing() -> None:
    images, labels = draw_paths(600, dashes=9)
    assert images.shape == (600, 1, 32, 32) and images.dtype == torch.uint8
    assert labels.dtype == torch.int64 and 0.44 < labels.double().mean() < 0.56
    bright = images[:, 0] == 255  # the middle of a disc; a dash is never as bright
    weight = bright.double().flatten(1)
    place = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"), -1)
    center = weight @ place.view(-1, 2).double() / weight.sum(1, keepdim=True)
    offset = place.view(1, -1, 2) - center[:, None]
    spread = (weight[..., None] * offset**2).sum((1, 2)) / weight.sum(1)
    side, joined = spread > spread.median(), labels.bool()
    assert 0.42 < (side == joined).double().mean() < 0.58


def test_seeded_and_of_more_images_the_first() -> None:
    images, labels = draw_paths(7, dashes=6, seed=3)
    again, same = draw_paths(5, dashes=6, seed=3)
    assert torch.equal(images[:5], again) and torch.equal(labels[:5], same)
    assert not torch.equal(images, draw_paths(7, dashes=6, seed=4)[0])
    assert len(images.flatten(1).unique(dim=0)) == 7


def test_the_task_is_marked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRBOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(paths, "_WORTH_KEEPING", 40)
    few = sequential_paths(train=20, valid=5, test=5, dashes=6)
    assert few.name == "paths" and few.classes == ("apart", "joined")
    assert (few.channels, few.length, few.vocabulary) == (1, 1024, None)
    assert few.fingerprint["official"] is False and "drawn here" in few.fingerprint["mark"]
    assert not (tmp_path / "data").exists()
    batch = next(few.batches("train", 8))
    assert batch.inputs.min() == -1 and batch.inputs.max() == 1

    drawn = sequential_paths(train=30, valid=5, test=5, dashes=6)
    with monkeypatch.context() as patch:
        patch.setattr(paths, "draw_paths", pytest.fail)
        kept = sequential_paths(train=30, valid=5, test=5, dashes=6)
    assert kept.fingerprint == drawn.fingerprint
    assert torch.equal(kept.images("test"), drawn.images("test"))
    whole = torch.cat([drawn.images(split) for split in drawn.splits])
    assert torch.equal(whole, draw_paths(40, dashes=6)[0])
    longer = sequential_paths(train=30, valid=5, test=5, dashes=9)
    assert longer.fingerprint["digest"] != drawn.fingerprint["digest"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 1, "size": 48}, ValueError, "size must be one of 32, 64, 128, got 48"),
        ({"count": 1, "dashes": 15}, ValueError, "dashes must be from 3 to 14, got 15"),
        ({"count": 1, "seed": 0.5}, TypeError, "seed must be an integer"),
    ],
)
def test_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        draw_paths(**arguments)
