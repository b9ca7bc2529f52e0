"""The book's page of results: what was published beside what this project's records say.

Published figures come from `mrbook.published`, ours from records alone.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrbook.published import DRAWING, LISTOPS, SCIFAR, TIED, Score
from mrbook.recipes import RECIPES, Recipe
from mrbook.records import load_records

__all__ = ["duration", "results_page", "score_text", "write_report"]

_PAGE = Path(__file__).resolve().parents[1] / "book" / "results.md"
_NONE = "not run yet"

Payload = Mapping[str, Any]


def score_text(score: str, values: Sequence[float]) -> str:
    """Write a score: the mean, and where there are several values their standard deviation.

    Parameters
    ----------
    score : {"accuracy", "bits_per_dim"}
        What it is called.
    values : sequence of float
        One for each seed, at least one.

    Returns
    -------
    str
        Accuracies in percent, the others in bits per dimension.

    Raises
    ------
    ValueError
        If there is no such score.

    Examples
    --------
    >>> score_text("accuracy", [0.5, 0.51]), score_text("bits_per_dim", [2.84])
    ('50.50 ± 0.71 %', '2.840 bits/dim')
    """
    if score not in _UNITS:
        raise ValueError(f"score must be one of {', '.join(_UNITS)}, got {score!r}")
    unit, factor, digits = _UNITS[score]
    text = f"{factor * statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {factor * statistics.stdev(values):.{digits}f}"
    return f"{text} {unit}"


_UNITS = {"accuracy": ("%", 100, 2), "bits_per_dim": ("bits/dim", 1, 3)}


def duration(seconds: float) -> str:
    """Write a time in the units that suit it.

    Parameters
    ----------
    seconds : float
        The time.

    Examples
    --------
    >>> duration(4.31), duration(150), duration(7260)
    ('4.3 s', '2 min 30 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def write_report(records: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Write the page of results.

    Parameters
    ----------
    records : str or Path, optional
        Folder of the records, as given to `mrbook.records.load_records`.
    out : str or Path, optional
        The page. Default: ``book/results.md`` of the checkout that this package runs from.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError
        If `out` is not given and the package does not run from a checkout.
    ValueError
        If a record is none.
    """
    if out is None and not _PAGE.parent.is_dir():
        raise FileNotFoundError("out must be given where mrbook does not run from its checkout")
    path = Path(out or _PAGE)
    path.write_text(results_page(load_records("train", records)), encoding="utf-8")
    return path


def results_page(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of results, as MyST Markdown.

    Parameters
    ----------
    records : mapping
        Records of the kind "train" by name.

    Returns
    -------
    str
        For each benchmark of the talks the published figures, and ours: mean and standard
        deviation over seeds, or "not run yet". Every record is on the page.
    """
    payloads = [record["payload"] for record in records.values()]
    tables = [
        (_TITLES["scifar"], _SCIFAR, _published(SCIFAR, "Accuracy", "%"), _is_scifar),
        (_TITLES["listops"], _LISTOPS, _published(LISTOPS, "Accuracy", "%"), _is_listops),
        (_TITLES["drawing"], _PIXELS, _published(DRAWING, "Test", "bits/dim"), _is_pixels),
    ]
    parts = [_HEAD]
    for title, text, published, belongs in tables:
        ours = _groups(p for p in payloads if belongs(p["recipe"]) and not _stands_in(p))
        planned = [r for r in RECIPES.values() if belongs(r.as_dict())]
        parts += [f"## {title}", text, published, "### Ours", _our_table(ours, planned)]
        if belongs is _is_listops:
            parts += ["## Tied against untied filters", _TIES, _tie_table(payloads)]
    rest = [p for p in payloads if _stands_in(p) or not any(t[3](p["recipe"]) for t in tables)]
    planned = [r for r in RECIPES.values() if not any(t[3](r.as_dict()) for t in tables)]
    if rest or planned:
        parts += ["## Other runs", _OTHERS, _our_table(_groups(rest), planned)]
    return "\n\n".join(parts) + "\n"


# ---- ours ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Runs that differ in their seeds alone."""

    payloads: tuple[Payload, ...]

    @property
    def recipe(self) -> Mapping[str, Any]:
        return self.payloads[0]["recipe"]

    def score(self) -> str:
        """The score with all that must stand beside it."""
        first = self.payloads[0]
        if first["test"]:
            values, where = [p["test"]["score"] for p in self.payloads], ""
        else:
            values, where = [p["best"]["valid_score"] for p in self.payloads], " on validation data"
        mark = first["data"].get("mark")
        return score_text(first["score"], values) + where + (f" ({mark})" if mark else "")

    def cost(self) -> str:
        """Epochs and mean time of a run, and where."""
        seconds = statistics.mean(p["seconds"] for p in self.payloads)
        epochs, device = self.recipe["epochs"], self.payloads[0]["device"]
        return f"{epochs} epochs, {duration(seconds)}, {device}"


def _label(recipe: Mapping[str, Any]) -> str:
    """Recipe and preset, whatever was changed of it, and how much of the data is used."""
    usual, used = _leaves(_matters(_standard(recipe))), _leaves(_matters(recipe))
    notes = [
        f"{path[-1]} {used.get(path, 'none')}".replace("_", " ")
        for path in {**usual, **used}
        if usual.get(path) != used.get(path)
    ]
    notes += [f"{split} {size:,}" for split, size in recipe["subset"].items()]
    return f"{recipe['name']}, {recipe['preset']}" + (f" ({', '.join(notes)})" if notes else "")


def _standard(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe of the same name as the package has it now, as a record would keep it."""
    known = RECIPES.get((recipe["name"], recipe["preset"]))
    return recipe if known is None else _plain(known)


def _plain(recipe: Recipe) -> dict[str, Any]:
    return json.loads(json.dumps(recipe.as_dict()))


def _matters(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on, beside the amount of data, which is always told."""
    return {k: v for k, v in recipe.items() if k not in ("source", "milestones", "subset")}


def _leaves(tree: Mapping[str, Any], *path: str) -> dict[tuple[str, ...], Any]:
    """Values of nested mappings by their paths."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in tree.items():
        here = (*path, name)
        found |= _leaves(value, *here) if isinstance(value, Mapping) else {here: value}
    return found


def _groups(payloads: Iterable[Payload]) -> list[_Group]:
    groups: dict[str, list[Payload]] = {}
    for payload in payloads:
        same = [payload[name] for name in ("data", "device", "parameters")]
        recipe = _matters(payload["recipe"]), payload["recipe"]["subset"]
        key = json.dumps([recipe, same, bool(payload["test"])], sort_keys=True)
        groups.setdefault(key, []).append(payload)
    for members in groups.values():
        seeds = sorted(p["seed"] for p in members)
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"records of one recipe must have different seeds, got {seeds}")
    return [_Group(tuple(members)) for members in groups.values()]


def _our_table(groups: Sequence[_Group], planned: Sequence[Recipe]) -> str:
    rows = [["Run", "Score", "Seeds", "Parameters", "Cost of one run"]]
    for group in groups:
        rows.append(
            [
                _label(group.recipe),
                group.score(),
                str(len(group.payloads)),
                f"{group.payloads[0]['parameters']:,}",
                group.cost(),
            ]
        )
    run = {row[0] for row in rows}
    for recipe in map(_plain, planned):
        if _label(recipe) not in run:
            rows.append([_label(recipe), _NONE, "", "", f"{recipe['epochs']} epochs"])
    return _table(rows)


def _tie_table(payloads: Sequence[Payload]) -> str:
    rows = [["Task", "Filters", "Published {cite}`shi2023multires`", "Ours"]]
    for task, (tied, untied) in TIED.items():
        of_task = [p for p in payloads if _is_as_published(p["recipe"], task)]
        of_task = [p for p in of_task if not _stands_in(p)]
        for name, tie, published in (("tied", True, tied), ("untied", False, untied)):
            ours = _groups(p for p in of_task if _tie(p["recipe"]) is tie)
            cell = "; ".join(
                f"{g.score()}: {_label(g.recipe)}, n = {len(g.payloads)}" for g in ours
            )
            rows.append([_TITLES[task], name, f"{published} %", cell or _NONE])
    return _table(rows)


def _tie(recipe: Mapping[str, Any]) -> bool | None:
    """Whether the levels share their filters; None for layers that have no levels."""
    if recipe["model"].get("layer", "multires") != "multires":
        return None
    return recipe["model"].get("layer_options", {}).get("tie_levels", True)


def _is_scifar(recipe: Mapping[str, Any]) -> bool:
    return recipe["task"] in ("scifar", "scifar-33") and recipe["kind"] == "classifier"


def _is_listops(recipe: Mapping[str, Any]) -> bool:
    return recipe["task"] == "listops" and "rules" not in recipe["task_options"]  # not shorter ones


def _is_as_published(recipe: Mapping[str, Any], task: str) -> bool:
    """Whether a recipe is about the very sequences of a published table."""
    return recipe["task"] == task and (_is_scifar(recipe) or _is_listops(recipe))


def _is_pixels(recipe: Mapping[str, Any]) -> bool:
    return recipe["task"] == "cifar-pixels" and recipe["kind"] == "pixels"


def _stands_in(payload: Payload) -> bool:
    return "stands_for" in payload["data"]


# ---- published ----------------------------------------------------------------------------------


def _published(rows: Sequence[Score], score: str, unit: str) -> str:
    cells = [["Published", "Parameters", score]]
    cells += [
        [f"{row.model} {{cite}}`{row.key}`", row.parameters, f"{row.printed} {unit}"]
        for row in rows
    ]
    return _table(cells)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [":::{list-table}", ":header-rows: 1", ":class: compact", ""]
    for row in rows:
        for i, cell in enumerate(row):
            lines.append(f"{'*' if i == 0 else ' '} - {cell}".rstrip())
    return "\n".join([*lines, ":::"])


_TITLES = {
    "scifar": "Sequential CIFAR-10",
    "listops": "Long ListOps",
    "drawing": "Drawing CIFAR-10 pixel by pixel",
}

_HEAD = """\
# Results

What was published, and what this project's own runs gave. `python -m mrbook report` writes this
page from the records in `book/records/train`; no number of ours is typed by hand.
`python -m mrbook train RECIPE --record` makes a record.

A score of ours is the mean over seeds, ± the standard deviation from seed to seed where there
are several. It belongs to the weights that were best on validation data, and test data are read
once, at the end. The cost is wall-clock time, on machines that did other work as well. Where the
data are not the ones that published figures are about, words beside the score say so, and the two
can't be compared.

Published figures are as the talk on MultiresConv lists them {cite}`shi2023multires`, unless it
is said otherwise. Each name cites the method."""

_SCIFAR = """\
Images of ten classes in color, read as 1,024 pixels one after the other; accuracy on test data.
Others' listings of {cite}`cunningham2024mrconv` give the figure for MRConv. Our runs
called `width33` read rows of 33 pixels, the last one blank: 1,056 steps, which no published
figure is about."""

_LISTOPS = """\
Nested lists of up to 2,000 symbols, of which the value, a digit, is to be found; accuracy on
test data. The figure for MRConv is from its poster {cite}`cunningham2024mrconv`, that for Linformer
from the benchmark {cite}`tay2021long`: the talk repeats the row above it."""

_TIES = """\
The levels of MultiresConv share two filters. Untied, each level has its own."""

_PIXELS = """\
Each pixel is predicted from those before it; bits per dimension, of which there are three to a
pixel, on test data. Less is better. Rows above the last know that images have two dimensions,
attend to all pixels, or pool them."""

_OTHERS = """\
On drawn shapes, short lists and other data that no published figure is about."""
