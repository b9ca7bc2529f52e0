"""The folder where data are kept, downloads into it, and what a reader is told about them."""

import html
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["DataWarning", "banner", "data_folder", "download", "on_a_page", "progress_bar"]

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

        return tqdm(total=total, desc=label, disable=on_a_page(), **options)


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
