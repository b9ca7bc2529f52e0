"""Published scores: whole tables that agree with each other and with the bibliography."""

import re
import statistics

import pytest
from conftest import ROOT

from mrbook.published import DRAWING, LISTOPS, LRA, LRA_TASKS, SCIFAR, TIED, LRAScores, Score


def by_model(rows: tuple[Score, ...] | tuple[LRAScores, ...]) -> dict:
    found = {row.model: row for row in rows}
    assert len(found) == len(rows), "a model stands twice"
    return found


@pytest.mark.parametrize("table", [SCIFAR, LISTOPS, DRAWING, LRA])
def test_every_row_is_cited_from_the_bibliography(table: tuple) -> None:
    known = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.M))
    for row in table:
        assert row.key in known
        assert getattr(row, "source", row.key) in known


@pytest.mark.parametrize(
    ("table", "count", "low", "high"),
    [(SCIFAR, 15, 60, 95), (LISTOPS, 23, 15, 63), (DRAWING, 9, 2.7, 3.2)],
)
def test_figures_are_numbers(table: tuple[Score, ...], count: int, low: float, high: float) -> None:
    assert len(by_model(table)) == count
    for row in table:
        assert re.fullmatch(r"\d+\.\d+", row.printed) and low < row.value < high
        assert re.fullmatch(r"(\d+(\.\d)? M)?", row.parameters)


def test_averages_of_the_long_range_arena_are_those_of_its_columns() -> None:
    for row in LRA:
        values = list(row.values.values())
        if row.model == "Transformer":
            values.append(50.0)  # Path-X: at chance
        if not row.average:
            assert len(values) < len(LRA_TASKS)
            continue
        assert len(values) == len(LRA_TASKS)
        digits = len(row.average.split(".")[1])
        # half a unit of the last digit, and of those of the columns
        assert abs(statistics.mean(values) - float(row.average)) <= 0.5 * 10**-digits + 0.005


def test_tables_agree_where_they_overlap() -> None:
    """ListOps stands in both talks; only S4D has two figures there, of two of its variants."""
    arena, listops = by_model(LRA), by_model(LISTOPS)
    names = {"S4-LegS": "S4", "Transformer": "Transformer"}
    for model in ("Transformer", "S4-LegS", "Liquid-S4", "S5", "SGConv", "MRConv"):
        assert arena[model].values["ListOps"] == listops[names.get(model, model)].value
    assert TIED["scifar"][0] == by_model(SCIFAR)["MultiresNet"].printed
    assert TIED["listops"][0] == listops["MultiresNet"].printed
