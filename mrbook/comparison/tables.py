"""The comparison as text, for the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrbook.comparison.rows import Row, find_experiment, load_rows, load_speed
from mrbook.comparison.speed import SPEED
from mrbook.comparison.variants import LAYER_ROWS, VARIANTS

__all__ = ["text_table"]

_NONE = "not run yet"


def text_table(name: str, folder: str | Path | None = None) -> str:
    """An experiment's rows: mean and standard error over seeds, or "not run yet".

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`, or "speed".
    folder : str or Path, optional
        As given to `mrbook.records.load_records`.

    Returns
    -------
    str
        A title, and a line for each row.

    Raises
    ------
    ValueError
        If there is no such experiment.
    """
    if name == SPEED:
        found = load_speed(folder)
        title = "Speed and memory, relative to the first"
        cells = {row: _cost(found.get(row)) for row in LAYER_ROWS}
    else:
        experiment = find_experiment(name)
        rows = load_rows(name, folder)
        title = f"{experiment.title} ({experiment.score})"
        cells = {row: _score(rows.get(row)) for row in experiment.rows}
    labels = {row: VARIANTS[row].label for row in cells}
    for row in cells:
        if (of := VARIANTS[row].of) is not None:
            labels[row] = f"  {VARIANTS[of].label}: {labels[row]}"
    width = max(map(len, labels.values()))
    return "\n".join([title, *(f"{labels[row]:{width}}  {cells[row]}" for row in cells)])


def _score(row: Row | None) -> str:
    if row is None:
        return _NONE
    tests = [
        f"{f'{test}: ' if len(row.scores) > 1 else ''}{row.mean(test):.3f} ± "
        f"{row.standard_error(test):.3f}"
        for test in row.scores
    ]
    seeds = f"n = {row.n()}" + (f", {row.diverged} diverged" if row.diverged else "")
    rest = f"{seeds}, {row.parameters:,} parameters, width {row.width}, rate {row.lr:g}"
    return f"{', '.join(tests)}; {rest}, {row.seconds:.1f} s"


def _cost(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return _NONE
    parts = []
    for what in ("train", "infer"):
        memory = row[what]["peak_memory"]
        size = "-" if memory is None else f"{memory / 2**20:.0f} MiB"
        median = 1e3 * row[what]["median"]
        parts.append(f"{what} {median:.0f} ms, ratio {row[what]['ratio']:.2f}, {size}")
    return "; ".join(parts)
