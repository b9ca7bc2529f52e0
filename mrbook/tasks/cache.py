"""The folder where data are kept, downloads into it, and what a reader is told about them."""

import hashlib
import html
import json
import logging
import os
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DataWarning",
    "banner",
    "data_folder",
    "digest",
    "download",
    "kept_arrays",
    "on_a_page",
    "progress_bar",
]

Arrays = dict[str, NDArray[Any]]

CHUNK = 1 << 16
TIMEOUT = (10.0, 30.0)  # seconds to connect, and without a byte
PATIENCE = 10.0  # seconds before a source's speed is judged
SPEED = 250_000  # bytes per second; below it the next source is tried first


class DataWarning(UserWarning):
    """The data are not the ones that published numbers are about."""


class _TooSlow(OSError):
    pass


def data_folder() -> Path:
    """Folder of the data: ``MRBOOK_DATA``, or ``mrbook`` in the user's cache.

    Returns
    -------
    Path
        It may not exist yet.
    """
    if chosen := os.environ.get("MRBOOK_DATA"):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("mrbook"))


def on_a_page() -> bool:
    """Whether the book is being built: nobody is there to answer or to wait for a download."""
    return bool(os.environ.get("MRBOOK_STATIC"))


def banner(text: str, category: type[Warning] | None = None) -> None:
    """Tell the reader something that must not be missed: a box in a notebook, else plain text.

    Parameters
    ----------
    text : str
        One paragraph.
    category : type of Warning, optional
        Outside a notebook, a warning of this kind instead of printed text.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from IPython.display import HTML, display

        style = "border-left: 4px solid #D55E00; padding: 0.5em 1em; margin: 0.5em 0"
        display(HTML(f'<div role="note" style="{style}">{html.escape(text)}</div>'))
    elif category is not None:
        warnings.warn(text, category, stacklevel=3)
    else:
        print(text)


def progress_bar(total: int, label: str, **options: Any) -> Any:
    """A tqdm bar, as a widget where there are widgets; silent while the book is built.

    Parameters
    ----------
    total : int
        Where it ends.
    label : str
        What stands before it.
    **options
        As tqdm takes them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets gets a bar of text
        from tqdm.auto import tqdm

        hidden = options.pop("disable", False) or on_a_page()
        return tqdm(total=total, desc=label, disable=hidden, **options)


class _Progress:
    """The progress bar as pooch wants it; ends a download that crawls."""

    def __init__(self, label: str, slowest: float) -> None:
        self.label = label
        self.slowest = slowest
        self.total = 0
        self.done = 0
        self.bar: Any = None
        self.began = time.monotonic()

    def update(self, count: int) -> None:
        if self.bar is None:
            self.began = time.monotonic()
            self.bar = progress_bar(self.total, self.label, unit="B", unit_scale=True)
        self.done += count
        self.bar.update(min(count, self.total - self.bar.n) if self.total else count)
        waited = time.monotonic() - self.began
        if waited > PATIENCE and self.done < self.slowest * waited:
            raise _TooSlow(f"{self.done / waited / 1000:.0f} kB/s")

    def reset(self) -> None:
        if self.bar is not None:
            self.bar.reset()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def download(urls: Sequence[str], name: str, md5: str, folder: Path | None = None) -> Path:
    """Fetch a file from the first source that gives it whole, with a progress bar.

    A source that fails, stalls, crawls (below 250 kB/s) or gives other bytes is left for the next.
    If only crawling ones answer, they are asked again and waited for.

    Parameters
    ----------
    urls : sequence of str
        Sources of the same file.
    name : str
        Its name in `folder`.
    md5 : str
        Its md5 checksum. A file that is there already and has it is not fetched again.
    folder : Path, optional
        Default: `data_folder()`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        If no source gives it; says what was wrong with each.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    folder = data_folder() if folder is None else folder
    failures: list[str] = []
    slow: list[str] = []
    for round_urls, slowest in ((urls, SPEED), (slow, 0)):
        for url in list(round_urls):
            host = url.split("/")[2]
            progress = _Progress(f"{name} from {host}", slowest)
            fetch = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK, timeout=TIMEOUT)
            try:
                return Path(pooch.retrieve(url, f"md5:{md5}", name, folder, downloader=fetch))
            except _TooSlow as error:
                failures.append(f"{host}: only {error}")
                slow.append(url)
            except ValueError:  # of pooch, when the checksum differs
                failures.append(f"{host}: other bytes than expected (md5 {md5})")
            except OSError as error:  # connections, HTTP errors, a full disk
                text = str(error)  # of a failed connection it is a paragraph
                failures.append(f"{host}: {text if len(text) < 100 else type(error).__name__}")
            finally:
                progress.close()
    raise OSError(f"{name} can't be downloaded. " + "; ".join(failures))


def digest(*arrays: NDArray[Any]) -> str:
    """Sixteen hexadecimal digits that tell one copy of data from another.

    Examples
    --------
    >>> digest(np.arange(3, dtype=np.uint8))
    'ae4b3280e56e2faf'
    """
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()[:16]


def kept_arrays(
    title: str,
    name: str,
    recipe: Mapping[str, Any],
    make: Callable[[], Arrays],
    *,
    compress: bool = False,
) -> Arrays:
    """Arrays from the data folder; they are made and kept where they aren't there.

    Parameters
    ----------
    title : str
        What messages call them.
    name : str
        How the file's name begins.
    recipe : mapping
        Whatever the arrays depend on, as JSON can write it.
    make : callable
        Makes them.
    compress : bool
        Spend time to save space.

    Returns
    -------
    dict of str to ndarray
        A damaged file is made anew. Where none can be written the reader is told, and no more.
    """
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    path = data_folder() / f"{name}-{key[:12]}.npz"
    arrays = _load(path)
    if arrays is None:
        arrays = make()
        try:
            _save(path, arrays, np.savez_compressed if compress else np.savez)
        except OSError as error:
            banner(f"{title} can't be kept in {path.parent} and is made anew each time: {error}")
    return arrays


def _load(path: Path) -> Arrays | None:
    """The arrays of a file, or None if it is not there or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return dict(stored)  # reads all, and the checksum of each
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _save(path: Path, arrays: Arrays, write: Callable[..., None]) -> None:
    """Write the arrays, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file, **arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
