"""What the project promises about itself: one address, clean notebooks, imports that go one way."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT, repository, tracked

CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))

#: A module imports only what stands above it.
LAYERS = """
    checks cache filters boundary filterbank dwt scaling memory native longconv statistics rings
    online convolution multires mrconv baselines likelihood models tasks recipes records train
    pretrained bench comparison published report figures explore exercises commands __main__
""".split()

TEACHING = {"figures", "explore", "exercises"}


def test_the_address_of_the_repository_is_the_same_everywhere() -> None:
    address = repository()
    owner, name = address.rsplit("/", 2)[-2:]
    mention = re.compile(rf"github\.com[/:]([\w.-]+)/{name}\b")
    places = {"pyproject.toml": {owner}}
    for path in tracked():
        if path.suffix in {".md", ".yml", ".toml", ".cff", ".ipynb", ".py"}:
            found = set(mention.findall(path.read_text(encoding="utf-8")))
            if found:
                places[path.relative_to(ROOT).as_posix()] = found
    assert {"_config.yml", "README.md", "CITATION.cff", "book/setup.md"} <= places.keys()
    wrong = {place: found for place, found in places.items() if found != {owner}}
    assert not wrong, f"pyproject.toml says {address}, these say otherwise: {wrong}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
class TestNotebook:
    def test_is_stripped(self, path: Path) -> None:
        notebook = nbformat.read(path, 4)
        nbformat.validate(notebook)
        code = [c for c in notebook.cells if c.cell_type == "code"]
        assert code
        assert all(c.execution_count is None and not c.outputs for c in code)

    def test_opens_with_a_title_and_the_hidden_install_cell(self, path: Path) -> None:
        title, install = nbformat.read(path, 4).cells[:2]
        number = int(path.stem.split("-")[0])
        assert title.cell_type == "markdown" and title.source.startswith(f"# {number} · ")
        assert install.metadata["tags"] == ["remove-cell"]
        assert install.source == (
            "try:\n"
            "    import mrbook\n"
            "except ImportError:\n"
            f'    %pip install -q "mrbook @ git+{repository()}"'
        )

    def test_has_four_exercises_that_check_themselves(self, path: Path) -> None:
        cells = nbformat.read(path, 4).cells
        statements = sum(
            c.source.count(":::{exercise}") for c in cells if c.cell_type == "markdown"
        )
        solutions = [c for c in cells if "solution" in c.metadata.get("tags", [])]
        assert statements >= 4
        assert len(solutions) == statements
        for cell in solutions:
            assert "hide-cell" in cell.metadata["tags"]
            assert cell.metadata["cellView"] == "form" and cell.source.startswith(
                "# @title Solution: "
            )
            assert cell.metadata["jupyter"] == {"source_hidden": True}


def test_the_map_says_what_is_written() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    built = {c["file"] for part in toc["parts"] for c in part["chapters"]}
    assert {f"chapters/{p.stem}" for p in CHAPTERS} == {f for f in built if "chapters/" in f}
    rows = re.findall(r"\* - (\d+)\n  - (.+)\n  - (.+)", (ROOT / "book" / "intro.md").read_text())
    assert [int(number) for number, _, _ in rows] == list(range(16))
    for number, title, state in rows:
        written = [f for f in built if f.startswith(f"chapters/{int(number):02d}-")]
        assert state == ("written" if written else "planned"), title
        assert ("{doc}" in title) == bool(written), title
        if written:
            assert f"</{written[0]}>" in title


def imported_modules(path: Path) -> set[str]:
    """Return the modules of the package that a file imports at any depth, without `mrbook.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "mrbook":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("mrbook."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("mrbook.")}
    return found


def test_imports_go_one_way() -> None:
    for path in sorted((ROOT / "mrbook").rglob("*.py")):
        own = path.relative_to(ROOT / "mrbook").parts[0].removesuffix(".py")
        if own == "__init__":
            assert not imported_modules(path)
            continue
        assert own in LAYERS, f"{path.name} has no place in the order of imports"
        allowed = set(LAYERS[: LAYERS.index(own)]) | {own, "__version__"}
        if own not in TEACHING:
            allowed -= TEACHING
        assert imported_modules(path) <= allowed, path.name


def test_contributors_are_told_the_same_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = text.split("imports only modules before it in this list:")[1].split(". ")[0]
    assert re.findall(r"`(\w+)`", told) == LAYERS


def test_importing_the_package_is_light() -> None:
    """`import mrbook` and its numerical modules load nothing heavy beside torch."""
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import mrbook.dwt, mrbook.scaling, mrbook.memory, mrbook.models, mrbook.tasks\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"matplotlib", "mpmath", "scipy", "IPython", "ipywidgets", "ptwt", "sympy"}
    new = set(out.stdout.split())
    assert "mrbook.multires" in new and not new & {*heavy, "torch._dynamo"}


def test_nothing_mentions_a_machine() -> None:
    """No absolute path of a developer's machine and no left-over mark in the project's text."""
    marks = re.compile(
        "|".join(["/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/", "TO" + "DO", "FIX" + "ME"])
    )
    text = {".py", ".md", ".yml", ".toml", ".cff", ".ipynb", ".cpp", ".css", ".txt", ""}
    found = {
        path.relative_to(ROOT).as_posix(): marks.findall(path.read_text(encoding="utf-8"))
        for path in tracked()
        if path.suffix in text and marks.search(path.read_text(encoding="utf-8"))
    }
    assert not found
