"""The build: no stale output, no failure that heals itself, an install that serves a notebook."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from functools import partial
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, MakeBook, repository, tracked


def write_notebook(folder: Path, *cells: str) -> None:
    """Write ``chapters/one.ipynb`` with a title and the given code cells."""
    notebook = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        }
    )
    notebook.cells.append(nbformat.v4.new_markdown_cell("# One"))
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(notebook, folder / "chapters" / "one.ipynb")


def page(folder: Path) -> str:
    return (folder / "_build" / "html" / "chapters" / "one.html").read_text()


def test_an_edit_of_the_package_reaches_the_page(small_book: Path, make_book: MakeBook) -> None:
    write_notebook(small_book, "import mrbook\n\nprint('this is', mrbook.__version__, 'now')")
    source = small_book / "mrbook" / "__init__.py"
    source.write_text('__version__ = "one"\n')
    result = make_book(small_book)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "this is one now" in page(small_book)
    assert "file://" in result.stdout and "_build/html/index.html" in result.stdout
    source.write_text('__version__ = "two"\n')
    result = make_book(small_book)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "this is two now" in page(small_book)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\n\nwarnings.warn('not so loud')", "stderr"),
    ],
)
def test_a_bad_notebook_fails_every_build(
    small_book: Path, make_book: MakeBook, bad: str, says: str
) -> None:
    write_notebook(small_book, bad)
    for _ in range(2):
        result = make_book(small_book)
        assert result.returncode != 0
        assert says in result.stdout + result.stderr


def test_a_page_shows_nothing_of_the_compiler(
    small_book: Path, make_book: MakeBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty cache, and with a compiler that fails."""
    write_notebook(small_book, "from mrbook import native\n\nprint('fused:', native.available())")
    monkeypatch.setenv("MRBOOK_CACHE", str(small_book / "cache"))
    result = make_book(small_book)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "fused: True" in page(small_book)
    monkeypatch.setenv("MRBOOK_CACHE", str(small_book / "another"))
    monkeypatch.setenv("CXX", "false")
    (small_book / "mrbook" / "__init__.py").write_text(
        "# changed, so that the notebook runs again\n"
    )
    result = make_book(small_book)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "fused: False" in page(small_book)


def test_a_broken_reference_fails_every_build(small_book: Path, make_book: MakeBook) -> None:
    write_notebook(small_book, "1 + 1")
    (small_book / "book" / "intro.md").write_text("# A small book\n\n{doc}`nowhere`\n")
    for _ in range(2):
        result = make_book(small_book)
        assert result.returncode != 0
        assert "nowhere" in result.stdout + result.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    result = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_is_pure_typed_and_holds_the_package_alone(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry = next(n for n in names if n.endswith("entry_points.txt"))
        assert "mrbook = mrbook.__main__:main" in archive.read(entry).decode()
    assert "mrbook/py.typed" in names
    assert {n.split("/")[0].split("-")[0] for n in names} == {"mrbook"}
    ours = [p for p in (ROOT / "mrbook").rglob("*") if p.suffix in {".py", ".cpp", ".h", ".pt"}]
    assert {p.relative_to(ROOT).as_posix() for p in ours} <= set(names)


def test_a_notebook_installs_the_package_and_runs(tmp_path: Path) -> None:
    """As in Colab: torch, numpy and widgets are there, the unchanged install cell adds mrbook."""
    source = tmp_path / "source"  # the working tree as a repository of its own
    for path in tracked():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    who = ["-c", "user.name=reader", "-c", "user.email=reader@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=source, check=True, capture_output=True)

    venv.create(tmp_path / "fresh", with_pip=True)
    python = str(tmp_path / "fresh" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pins = (ROOT / "requirements.txt").read_text().split()
    there = [p for p in pins if p.split("==")[0] in ("torch", "numpy", "ipykernel", "ipywidgets")]
    assert len(there) == 4
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    run([python, "-m", "pip", "install", "-q", "nbclient", *there], check=True)
    assert "No module named 'mrbook'" in run([python, "-c", "import mrbook"]).stderr

    code = (
        "import sys, nbclient, nbformat\n"
        "notebook = nbformat.read(sys.argv[1], 4)\n"
        "nbclient.NotebookClient(notebook, kernel_name='python3', timeout=300).execute()\n"
    )
    result = run(
        [python, "-c", code, str(ROOT / "chapters" / "00-filters.ipynb")],
        env={
            **{k: v for k, v in os.environ.items() if k not in ("MRBOOK_STATIC", "PYTHONPATH")},
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{source.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": repository(),
        },
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    where = run([python, "-c", "import mrbook, pathlib; print(pathlib.Path(mrbook.__file__))"])
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / "fresh")
