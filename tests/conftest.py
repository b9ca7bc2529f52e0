"""What several test modules share: the built book, and a small book to break."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

if "PYTEST_XDIST_WORKER" in os.environ:  # several tests at once, each on a core of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")

collect_ignore = ["triton_cases.py", "triton_compiled.py"]  # for test_triton, which runs them

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from bookbuild import BOOK_SOURCES, FINGERPRINT, fingerprint  # noqa: E402

# Chromium's own services call home; where there is no network that is noise in the console.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
PLACES = ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]

MakeBook = Callable[..., subprocess.CompletedProcess[str]]


def repository() -> str:
    """Return the address of the repository, as pyproject.toml decides it."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def tracked() -> list[Path]:
    """Return the files of the working tree that git does not ignore."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    return [ROOT / n for n in names if n and (ROOT / n).is_file()]


@pytest.fixture(scope="session")
def book_html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the pages: `make book`'s if they are up to date, else built without executing."""
    built = ROOT / "_build" / "html"
    mark = built / FINGERPRINT
    if mark.is_file() and mark.read_text().strip() == fingerprint(ROOT, BOOK_SOURCES):
        return built
    assert not os.environ.get("CI"), (
        "the book is not built, or its sources changed since: make book"
    )
    out = tmp_path_factory.mktemp("book")
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    build = [tool, "build", "-W", "-n", "--keep-going"]
    result = subprocess.run(
        [*build, "--path-output", str(out), str(ROOT)],
        env={**os.environ, "MRBOOK_EXECUTE": "off"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def executed(book_html: Path) -> bool:
    """Whether the built pages hold executed notebooks."""
    return (book_html / FINGERPRINT).read_text().strip() != "not executed"


@pytest.fixture
def make_book() -> MakeBook:
    """Return a function that runs `make book` in a small book, installing nothing."""

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        stamp = folder / "installed"
        stamp.touch()
        return subprocess.run(
            ["make", "book", f"INSTALLED={stamp}", f"VENV={sys.prefix}"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """Return a copy of the set-up with one page and one notebook, `chapters/one.ipynb`."""
    for name in ["Makefile", "_config.yml", "pyproject.toml", "requirements.txt"]:
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ["book/_ext", "book/_static", "mrbook"]:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n  - file: chapters/one\n"
    )
    (tmp_path / "book" / "intro.md").write_text("# A small book\n\nWith one notebook.\n")
    (tmp_path / "chapters").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the Chromium or Chrome that is on the path."""
    found = [shutil.which(name) for name in NAMES] + [p for p in PLACES if Path(p).is_file()]
    executable = next(filter(None, found), None)
    if executable is None:
        message = f"the page tests need Chromium or Chrome: one of {', '.join(NAMES)} on the path"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()
