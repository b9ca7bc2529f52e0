"""The page of results: what was published, what records say, and nothing else."""

import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from mrbook import report
from mrbook.recipes import RECIPES, find_recipe
from mrbook.records import load_records, write_record
from mrbook.report import duration, results_page, score_text, write_report
from mrbook.train import Run

OFFICIAL = {"data": "CIFAR-10", "official": True, "mark": None}
Table = list[list[str]]


def record(
    name: str = "multires-scifar",
    *,
    seed: int = 0,
    test: float | None = 0.9,
    data: dict[str, Any] = OFFICIAL,
    score: str = "accuracy",
    **changes: Any,
) -> dict[str, Any]:
    """Return a record as the command line writes it, without its environment."""
    recipe = find_recipe(name, "paper").but(**changes)
    code = [{"commit": "0123abc", "dirty": False}]
    run = Run(recipe, seed, score, 1_365_514, "a GPU", data, code)
    run.best = {"epoch": 3, "valid_score": 0.8}
    run.test = {} if test is None else {"loss": 0.1, "score": test}
    run.seconds = 3600.0 * (seed + 1)
    return {"payload": run.payload("a command")}


def tables(page: str, title: str) -> list[Table]:
    """Return the tables of a section as rows of cells."""
    section = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert section, f"no section {title}"
    found = []
    for body in re.findall(r":::\{list-table\}\n.*?\n\n(.*?)\n:::", section[1], re.S):
        rows = re.split(r"^\* - ?", body, flags=re.M)[1:]
        found.append([re.split(r"\n  - ?", row.rstrip("\n")) for row in rows])
    return found


def ours(page: str, title: str) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in tables(page, title)[-1][1:]}


# ---- the page -----------------------------------------------------------------------------------


def test_the_page_of_the_book_is_that_of_its_records(tmp_path: Path) -> None:
    out = write_report(out=tmp_path / "results.md")
    committed = (ROOT / "book" / "results.md").read_text(encoding="utf-8")
    assert out.read_text(encoding="utf-8") == committed, "run python -m mrbook report"


@pytest.mark.parametrize("records", [{}, {"a": record()}], ids=["none", "one"])
def test_every_row_is_complete(records: dict[str, Any]) -> None:
    page = results_page(records)
    titles = re.findall(r"^## (.+)$", page, re.M)
    assert titles[:4] == [
        "Sequential CIFAR-10",
        "Long ListOps",
        "Tied against untied filters",
        "Drawing CIFAR-10 pixel by pixel",
    ]
    for title in titles:
        for table in tables(page, title):
            assert len(table) > 1 and {len(row) for row in table} == {len(table[0])}
    assert page.count(":::{list-table}") == sum(len(tables(page, title)) for title in titles)


def test_without_records_nothing_was_run() -> None:
    page = results_page({})
    for title, prefix in (
        ("Sequential CIFAR-10", "multires-scifar"),
        ("Long ListOps", "multires-listops"),
        ("Drawing CIFAR-10 pixel by pixel", "multires-drawing"),
    ):
        rows = ours(page, title)
        assert f"{prefix}, paper" in rows
        assert all(cells[0] == "not run yet" for cells in rows.values())
    tied = tables(page, "Tied against untied filters")[0]
    assert [row[-1] for row in tied[1:]] == ["not run yet"] * 4
    assert all(cells[0] == "not run yet" for cells in ours(page, "Other runs").values())


def test_every_recipe_has_its_row_in_one_table() -> None:
    page = results_page({})
    labels = [
        row[0] for title in re.findall(r"^## (.+)$", page, re.M) for row in tables(page, title)[-1]
    ]
    for name, preset in RECIPES:
        start = f"{name}, {preset}"
        assert sum(x == start or x.startswith(f"{start} (") for x in labels) == 1, start


def test_a_variant_does_not_stand_for_the_recipe() -> None:
    rows = ours(results_page({"a": record(lr=0.001)}), "Sequential CIFAR-10")
    assert rows["multires-scifar, paper (lr 0.001)"][0] == "90.00 %"
    assert rows["multires-scifar, paper"][0] == "not run yet"


def test_seeds_become_mean_and_spread() -> None:
    scores = [0.93, 0.94, 0.91]
    records = {f"r{seed}": record(seed=seed, test=x) for seed, x in enumerate(scores)}
    cells = ours(results_page(records), "Sequential CIFAR-10")["multires-scifar, paper"]
    mean, spread = 100 * statistics.mean(scores), 100 * statistics.stdev(scores)
    assert cells == [
        f"{mean:.2f} ± {spread:.2f} %",
        "3",
        "1,365,514",
        "250 epochs, 2 h 0 min, a GPU",
    ]
    tied = tables(results_page(records), "Tied against untied filters")[0]
    assert tied[1][-1] == f"{mean:.2f} ± {spread:.2f} %: multires-scifar, paper, n = 3"
    assert tied[2][-1] == "not run yet"


def test_untied_runs_are_told_apart() -> None:
    untied = record(model={"layer_options": {"kernel_size": 2, "tie_levels": False}}, test=0.5)
    page = results_page({"a": record(), "b": untied})
    assert ours(page, "Sequential CIFAR-10").keys() >= {
        "multires-scifar, paper",
        "multires-scifar, paper (tie levels False)",
    }
    table = tables(page, "Tied against untied filters")[0]
    assert table[1][-1].startswith("90.00 %:") and table[2][-1].startswith("50.00 %:")
    s4d = record(model={"layer": "s4d", "layer_options": {}}, test=0.4)
    table = tables(results_page({"a": s4d}), "Tied against untied filters")[0]
    assert table[1][-1] == table[2][-1] == "not run yet"


def test_rows_of_33_pixels_stand_with_the_task_but_not_beside_published_figures() -> None:
    wide = find_recipe("multires-scifar-width33", "cpu")
    assert wide == find_recipe("multires-scifar", "cpu").but(
        name=wide.name, source=wide.source, task="scifar-33"
    )
    data = {**OFFICIAL, "image": [3, 32, 33]}
    payload = record(test=0.4, data=data)["payload"] | {"recipe": wide.as_dict()}
    page = results_page({"a": {"payload": payload}})
    label = "multires-scifar-width33, cpu (train 5,000, valid 1,000, test 2,000)"
    assert ours(page, "Sequential CIFAR-10")[label][0] == "40.00 %"
    tied = tables(page, "Tied against untied filters")[0]
    assert [row[-1] for row in tied[1:]] == ["not run yet"] * 4


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"lr": 0.001}, "multires-scifar, paper (lr 0.001)"),
        ({"epochs": 7}, "multires-scifar, paper (epochs 7)"),
        ({"subset": {"train": 5000}}, "multires-scifar, paper (train 5,000)"),
        ({"model": {"width": 8}}, "multires-scifar, paper (width 8)"),
        ({"source": "elsewhere", "milestones": {1: 0.2}}, "multires-scifar, paper"),
    ],
)
def test_what_was_changed_stands_beside_the_name(change: dict[str, Any], label: str) -> None:
    page = results_page({"a": record(test=0.1), "b": record(seed=1, test=0.3, **change)})
    rows = ours(page, "Sequential CIFAR-10")
    if label == "multires-scifar, paper":
        assert rows[label][0].startswith("20.00 ± ")
    else:
        assert rows["multires-scifar, paper"][0] == "10.00 %"
        assert rows[label][0] == "30.00 %"


def test_other_data_are_marked_beside_the_score() -> None:
    mark = "a copy of CIFAR-10 with other bytes (12345678)"
    copy = record(data={"data": "CIFAR-10", "official": False, "mark": mark})
    page = results_page({"a": copy})
    assert ours(page, "Sequential CIFAR-10")["multires-scifar, paper"][0] == f"90.00 % ({mark})"
    assert f"90.00 % ({mark}): " in tables(page, "Tied against untied filters")[0][1][-1]
    both = results_page({"a": copy, "b": record(seed=1)})
    assert "±" not in str(ours(both, "Sequential CIFAR-10"))


def test_a_stand_in_is_in_no_benchmark() -> None:
    mark = "drawn shapes, not CIFAR-10"
    data = {"data": "shapes", "official": False, "mark": mark, "stands_for": "CIFAR-10"}
    page = results_page({"a": record(data=data)})
    cells = ours(page, "Sequential CIFAR-10")["multires-scifar, paper"]
    assert cells[0] == "not run yet"
    assert ours(page, "Other runs")["multires-scifar, paper"][0] == f"90.00 % ({mark})"
    del data["stands_for"]
    page = results_page({"a": record(task="shapes", data=data)})
    assert ours(page, "Other runs")["multires-scifar, paper (task shapes)"]


def test_short_lists_are_no_long_listops() -> None:
    rules = {"rules": {"max_depth": 3}}
    easy = record("multires-listops", task_options=rules, test=0.99)
    page = results_page({"a": easy})
    assert "99.00 %" not in str(tables(page, "Long ListOps"))
    assert "99.00 %" not in str(tables(page, "Tied against untied filters"))
    assert "99.00 %" in str(tables(page, "Other runs"))


def test_a_run_without_test_data_says_so() -> None:
    page = results_page({"a": record(test=None)})
    cells = ours(page, "Sequential CIFAR-10")["multires-scifar, paper"]
    assert cells[0] == "80.00 % on validation data"


def test_bits_are_bits() -> None:
    page = results_page({"a": record("multires-drawing", test=2.9, score="bits_per_dim")})
    cells = ours(page, "Drawing CIFAR-10 pixel by pixel")["multires-drawing, paper"]
    assert cells[0] == "2.900 bits/dim"


def test_one_seed_counts_once() -> None:
    with pytest.raises(ValueError, match=r"must have different seeds, got \[0, 0\]"):
        results_page({"a": record(), "b": record(test=0.1)})


# ---- published figures --------------------------------------------------------------------------


def test_every_published_figure_is_cited_from_the_bibliography() -> None:
    known = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.M))
    page = results_page({})
    assert set(re.findall(r"\{cite\}`(\w+)`", page)) <= known
    for title in ("Sequential CIFAR-10", "Long ListOps", "Drawing CIFAR-10 pixel by pixel"):
        for name, _, value in tables(page, title)[0][1:]:
            assert "{cite}" in name and re.fullmatch(r"\d+\.\d+ (%|bits/dim)", value)


@pytest.mark.parametrize(
    ("title", "count", "best"),
    [
        ("Sequential CIFAR-10", 15, "MultiresNet {cite}`shi2023multires`: 93.15 %"),
        ("Long ListOps", 23, "MultiresNet {cite}`shi2023multires`: 62.75 %"),
        (
            "Drawing CIFAR-10 pixel by pixel",
            9,
            "MultiresNet {cite}`shi2023multires`: 2.84 bits/dim",
        ),
    ],
)
def test_published_tables_are_whole(title: str, count: int, best: str) -> None:
    rows = tables(results_page({}), title)[0][1:]
    assert len(rows) == count
    assert best in [f"{name}: {value}" for name, _, value in rows]


# ---- texts and files ----------------------------------------------------------------------------


def test_scores_and_times() -> None:
    assert score_text("accuracy", [0.123456]) == "12.35 %"
    assert score_text("bits_per_dim", [2.0, 3.0]) == "2.500 ± 0.707 bits/dim"
    assert [duration(x) for x in (0.04, 59.94, 60, 3599.4, 3600, 90061)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "25 h 1 min",
    ]
    with pytest.raises(ValueError, match="score must be one of accuracy, bits_per_dim, got 'f1'"):
        score_text("f1", [1.0])


def test_the_report_reads_the_records_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record("train", "multires-scifar-paper-seed0", record()["payload"], tmp_path)
    path = write_report(tmp_path, tmp_path / "page.md")
    assert path.read_text(encoding="utf-8") == results_page(load_records("train", tmp_path))
    assert "90.00 %" in path.read_text(encoding="utf-8")
    monkeypatch.setattr(report, "_PAGE", tmp_path / "no" / "results.md")
    with pytest.raises(FileNotFoundError, match="out must be given"):
        write_report(tmp_path)
