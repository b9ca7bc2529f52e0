"""What Jupyter Book needs beside its own options to build this book.

* Notebooks run again when the package, a record or the data change, not only when a cell does.
* The fused kernels are compiled before the first notebook runs.
* Figures are drawn as frames that need no kernel (``MRBOOK_STATIC``).
* MathJax comes from an installed package, so pages need no network.
* Inline scripts that Sphinx emits twice are kept once.
* The finished book carries a fingerprint of its sources, so tests know a stale one.

With ``MRBOOK_EXECUTE=off`` in the environment no notebook is executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from sphinx.util import logging

#: The parts of MathJax that a page may ask for: the start file, fonts, TeX extensions, menus.
MATHJAX_PARTS = ["tex-chtml.js", "output/chtml", "input/tex/extensions", "a11y", "ui"]

#: Whatever can change an executed notebook's output beside its own cells.
EXECUTION_SOURCES = ["mrbook", "book/records", "requirements.txt"]

#: Whatever can change a page.
BOOK_SOURCES = [*EXECUTION_SOURCES, "book", "chapters", "_config.yml", "_toc.yml"]

FINGERPRINT = "sources.sha256"


def fingerprint(root: Path, names: list[str]) -> str:
    """Return a hash over the named files and folders below ``root``.

    Parameters
    ----------
    root : Path
        Folder that the names are relative to.
    names : list of str
        Files, or folders that are walked; names that do not exist count as absent.

    Returns
    -------
    str
        Hexadecimal digest over every file's name and bytes; byte code is left out.
    """
    digest = hashlib.sha256()
    files = {
        p for n in names for p in ([root / n] if (root / n).is_file() else (root / n).rglob("*"))
    }
    for path in sorted(p for p in files if p.is_file()):
        if "__pycache__" in path.parts or ".ipynb_checkpoints" in path.parts:
            continue
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_mathjax() -> Path:
    """Return the folder of the installed MathJax files."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the book needs sphinx-mathjax-offline: pip install -r requirements.txt"
        )
    return Path(spec.origin).parent / "static" / "mathjax"


def prepare(app: Any, config: Any) -> None:
    """Point Sphinx to the local MathJax and to a notebook cache of this state of the package."""
    config.mathjax_path = "mathjax/tex-chtml.js"
    from mrbook.tasks import data_folder

    state = fingerprint(Path(app.srcdir), EXECUTION_SOURCES)[:12]
    if (data_folder() / "cifar-10-batches-py").is_dir():
        state += "-cifar"  # without it drawn shapes stand in
    config.nb_execution_cache_path = str(Path(app.outdir).parent / ".jupyter_cache" / state)
    if os.environ.get("MRBOOK_EXECUTE") == "off":
        config.nb_execution_mode = "off"
    else:
        build_kernels()


def build_kernels() -> None:
    """Compile the fused kernels before a notebook does, whose page would show the messages."""
    from mrbook import native

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not native.available():
            os.environ["MRBOOK_NATIVE"] = "off"  # the notebooks' kernels inherit it
    for warning in caught:
        logging.getLogger(__name__).info("%s", warning.message)


def finish(app: Any, error: Exception | None) -> None:
    """Copy MathJax beside the pages and write the fingerprint of the sources."""
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    for part in MATHJAX_PARTS:
        source = find_mathjax() / part
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target / part)
    executed = app.config.nb_execution_mode != "off"
    mark = fingerprint(Path(app.srcdir), BOOK_SOURCES) if executed else "not executed"
    (Path(app.outdir) / FINGERPRINT).write_text(mark + "\n")


def drop_repeated_scripts(
    app: Any, pagename: str, template: str, context: Any, doctree: Any
) -> None:
    """Keep one of each inline script: a ``const`` declared twice is an error in the browser."""
    seen: set[str] = set()
    kept = []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if not body or body not in seen:
            kept.append(script)
        if body:
            seen.add(body)
    context["script_files"][:] = kept


def setup(app: Any) -> dict[str, bool | str]:
    """Register with Sphinx."""
    os.environ.setdefault("MRBOOK_STATIC", "1")  # the kernels that the build starts inherit it
    app.connect("config-inited", prepare)
    app.connect("build-finished", finish)
    app.connect("html-page-context", drop_repeated_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
