"""Pathfinder and Path-X of the Long Range Arena, from their published images.

References
----------
D. Linsley, J. Kim, V. Veerabadran, C. Windolf, T. Serre, "Learning long-range spatial dependencies
with horizontal gated recurrent units", NeurIPS 2018, arXiv:1805.08315.
Y. Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", ICLR 2021,
arXiv:2011.04006.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrbook.tasks.base import SPLIT_SEED, fixed_order
from mrbook.tasks.cache import digest, kept_arrays, progress_bar
from mrbook.tasks.images import ImageTask
from mrbook.tasks.lra import ARCHIVE, describe, locate, state
from mrbook.tasks.paths import CLASSES

__all__ = ["FOLDERS", "lra_pathfinder"]

Array = NDArray[Any]

#: Folder of each difficulty, of 6, 9 and 14 dashes in a path.
FOLDERS = {
    "easy": "curv_baseline",
    "intermediate": "curv_contour_length_9",
    "hard": "curv_contour_length_14",
}
_SIZES = (32, 64, 128, 256)
_NAMES = {32: "lra-pathfinder", 128: "lra-pathx"}
_PUBLISHED = 200_000  # images of each size and difficulty
_VERSION = 1  # of what is kept


def lra_pathfinder(
    *, size: int = 32, difficulty: str = "hard", folder: str | Path | None = None
) -> ImageTask:
    """Pathfinder of the Long Range Arena: does one dashed path join the two discs?

    Parameters
    ----------
    size : {32, 64, 128, 256}
        Height and width in pixels: Pathfinder is 32, Path-X is 128, 16,384 steps.
    difficulty : {"hard", "intermediate", "easy"}
        Published numbers are about the hard images.
    folder : str or Path, optional
        Where ``curv_contour_length_14`` and the like are, or a folder with ``pathfinder32`` as the
        archive has it. Default: `data_folder`.

    Returns
    -------
    ImageTask
        Eight tenths of the images train, one validates, one tests, cut from `fixed_order`; empty
        files are left out, of which the published easy images have one. What was read is kept in
        `data_folder`. The files are taken for the official ones where there are as many as
        published.

    Raises
    ------
    FileNotFoundError
        If the images are not there. `mrbook.tasks.sequential_paths` draws others.
    ValueError
        If there is no such size or difficulty, or a file is not what it should be.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(map(str, _SIZES))}, got {size!r}")
    if difficulty not in FOLDERS:
        raise ValueError(f"difficulty must be one of {', '.join(FOLDERS)}, got {difficulty!r}")
    branch = FOLDERS[difficulty]
    place = locate(folder, f"pathfinder{size}", f"{branch}/metadata", ARCHIVE) / branch
    lists = sorted((place / "metadata").glob("*.npy"), key=lambda path: (len(path.stem), path.stem))
    recipe = {
        "version": _VERSION,
        "size": size,
        "difficulty": difficulty,
        "files": state(lists),
    }
    kept = kept_arrays(
        f"Pathfinder {size}",
        f"lra-pathfinder{size}",
        recipe,
        lambda: _read(place, lists, size),
        compress=True,
    )
    images, labels = torch.from_numpy(kept["images"]), torch.from_numpy(kept["labels"])
    count = len(labels)
    sizes = [count - 2 * (count // 10), count // 10, count // 10]
    parts = zip(images.split(sizes), labels.split(sizes), strict=True)
    data = dict(zip(("train", "valid", "test"), parts, strict=True))
    fingerprint = describe(
        f"Pathfinder {size}, {difficulty}",
        digest(kept["images"], kept["labels"]),
        {"images": count + int(kept["empty"])},
        {"images": _PUBLISHED},
        split_seed=SPLIT_SEED,
    )
    name = _NAMES.get(size, f"lra-pathfinder{size}")
    return ImageTask(name, data, CLASSES, [0.5], [0.5], fingerprint)


def _read(place: Path, lists: list[Path], size: int) -> dict[str, Array]:
    """All images that the lists name, in the order that splits are cut from."""
    named = [entry for path in lists for entry in _entries(place, path)]
    present = [(file, label) for file, label in named if file.stat().st_size > 0]
    if len(present) < 10:
        raise ValueError(f"{place} holds {len(present)} images, and three splits need 10")
    images = np.empty((len(present), 1, size, size), np.uint8)
    labels = np.empty(len(present), np.int64)
    with progress_bar(len(present), f"Pathfinder {size}", leave=False, delay=2) as bar:
        for number, source in enumerate(fixed_order(len(present)).tolist()):
            file, labels[number] = present[source]
            images[number, 0] = _pixels(file, size)
            bar.update()
    return {"images": images, "labels": labels, "empty": np.array(len(named) - len(present))}


def _entries(place: Path, path: Path) -> list[tuple[Path, int]]:
    """Files and labels of one list: a line names folder, file, number, label, and more."""
    entries = []
    for row, line in enumerate(path.read_text().splitlines(), 1):
        fields = line.split()
        if len(fields) < 4 or fields[3] not in ("0", "1"):
            raise ValueError(
                f"line {row} of {path} must be folder, file, number and label 0 or 1, not {line!r}"
            )
        entries.append((place / fields[0] / fields[1], int(fields[3])))
    return entries


def _pixels(file: Path, size: int) -> Array:
    from PIL import Image

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L"))
    except OSError as error:
        raise ValueError(f"{file} can't be read as an image: {error}") from error
    if pixels.shape != (size, size):
        raise ValueError(f"{file} must have {size} x {size} pixels, not {pixels.shape}")
    return pixels
