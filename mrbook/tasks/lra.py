"""Where the published files of the Long Range Arena are, and whether all of them are there."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mrbook.tasks.cache import data_folder

__all__ = ["ARCHIVE", "describe", "locate", "state"]

#: Where the files of Retrieval and Pathfinder come from.
ARCHIVE = "lra_release.gz (7.7 GB) of https://github.com/google-research/long-range-arena"


def locate(folder: str | Path | None, name: str, holds: str, source: str) -> Path:
    """Find a folder of published files.

    Parameters
    ----------
    folder : str, Path or None
        The folder, or one that has it inside, at once or as the unpacked archive has it. Default:
        `data_folder`.
    name : str
        What the archive calls it.
    holds : str
        Something in it that tells it from others.
    source : str
        Where a reader gets it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If it is not there; says where it was expected and where it comes from.
    """
    root = data_folder() if folder is None else Path(folder).expanduser()
    release = Path("lra_release")
    for place in ("", name, release / name, release / release / name):
        if (root / place / holds).exists():
            return root / place
    raise FileNotFoundError(
        f"{root / name / holds} is not there. It comes with {source}, which is not fetched for "
        f"you: unpack it into {root}, or say with folder= or the environment variable MRBOOK_DATA "
        f"where it is"
    )


def state(files: Iterable[Path]) -> str:
    """Hexadecimal digits that change when files do: their places, sizes or times.

    Parameters
    ----------
    files : iterable of Path
        The files, in any order.
    """
    found = (("/".join(file.parts[-3:]), file.stat()) for file in files)
    lines = sorted(f"{name} {now.st_size} {now.st_mtime_ns}\n" for name, now in found)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def describe(
    data: str, digest: str, sizes: Mapping[str, int], published: Mapping[str, int], **more: Any
) -> dict[str, Any]:
    """Fingerprint of published files.

    No checksums of them are known, so they are taken for the official ones where there are as many
    examples as published.

    Parameters
    ----------
    data : str
        Name of the data.
    digest : str
        Digest of what was read.
    sizes, published : mapping
        Examples by split: those found and those published.
    **more
        Whatever else tells one copy from another.
    """
    official = dict(sizes) == dict(published)
    found, whole = sum(sizes.values()), sum(published.values())
    mark = None if official else f"{found:,} examples where {data} has {whole:,}"
    return {"data": data, "official": official, "mark": mark, "digest": digest, **more}
