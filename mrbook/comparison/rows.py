"""Rows of the comparison, read from their records.

A row is one layer on one experiment: its learning rate is chosen, then it is run with every seed.
Each row is one record.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrbook.comparison.experiments import Experiment, Result
from mrbook.comparison.plan import EXPERIMENTS
from mrbook.comparison.speed import SPEED
from mrbook.comparison.variants import VARIANTS, Variant
from mrbook.records import load_records

__all__ = [
    "KIND",
    "Row",
    "Separation",
    "find_experiment",
    "load_rows",
    "load_speed",
    "rerun",
    "row_of",
    "separation",
    "settings_of",
]

#: Of the records.
KIND = "compare"


@dataclass(frozen=True)
class Row:
    """A layer on an experiment, over seeds.

    Attributes
    ----------
    variant : Variant
        Which layer.
    scores : dict from str to tuple of float
        By what was tested ("test", or the length) one score for each seed.
    parameters, width : int
        Of the network.
    lr : float
        Learning rate that was chosen.
    seconds : float
        Mean wall-clock time of the runs that did not diverge, NaN if all did.
    payload : mapping
        All that the record holds.
    diverged : int
        How many runs diverged: their scores are those of a guess.
    """

    variant: Variant
    scores: dict[str, tuple[float, ...]]
    parameters: int
    width: int
    lr: float
    seconds: float
    payload: Mapping[str, Any]
    diverged: int = 0

    def values(self, test: str | None = None) -> tuple[float, ...]:
        """Scores of one test, one for each seed. Default: the first test.

        Raises
        ------
        ValueError
            If there is no such test; says which there are.
        """
        test = next(iter(self.scores)) if test is None else test
        if test not in self.scores:
            raise ValueError(f"test must be one of {', '.join(self.scores)}, got {test!r}")
        return self.scores[test]

    def n(self) -> int:
        """Number of seeds."""
        return len(self.values())

    def mean(self, test: str | None = None) -> float:
        """Mean over seeds."""
        return statistics.mean(self.values(test))

    def standard_error(self, test: str | None = None) -> float:
        """Standard error of the mean: the deviation from seed to seed over the root of n.

        NaN with one seed, which tells nothing about it.
        """
        values = self.values(test)
        return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Separation:
    """The best and the worst of several rows.

    Attributes
    ----------
    best, worst : Row
        By their means.
    difference : float
        Of the means, positive.
    standard_error : float
        Of the difference: root of the sum of the squares of theirs; NaN where one has one seed.
    """

    best: Row
    worst: Row
    difference: float
    standard_error: float


def find_experiment(name: str) -> Experiment:
    """Look an experiment up.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.

    Raises
    ------
    ValueError
        If there is none; says which there are.

    Examples
    --------
    >>> find_experiment("echo").title
    'Probe: an echo at lag 500'
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got {name!r}")
    return EXPERIMENTS[name]


def load_rows(experiment: str, folder: str | Path | None = None) -> dict[str, Row]:
    """Rows of an experiment that are recorded, with the settings that the package has now.

    Parameters
    ----------
    experiment : str
        A key of `EXPERIMENTS`.
    folder : str or Path, optional
        As given to `mrbook.records.load_records`.

    Returns
    -------
    dict from str to Row
        By the variant's name, in the order of the experiment; those missing are left out.

    Raises
    ------
    ValueError
        If there is no such experiment.
    """
    what = find_experiment(experiment)
    records = load_records(KIND, folder)
    rows = {}
    for variant in map(VARIANTS.__getitem__, what.rows):
        record = records.get(f"{experiment}-{variant.name}")
        if record is None:
            continue
        payload = record["payload"]
        now = _plain(settings_of(what, variant, payload["width"]))
        if now == {name: payload.get(name) for name in now}:
            rows[variant.name] = row_of(variant, payload)
    return rows


def load_speed(folder: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """What `measure_speed` found, by the variant's name; empty if it isn't recorded yet."""
    record = load_records(KIND, folder).get(SPEED)
    return {} if record is None else record["payload"]["rows"]


def rerun(
    experiment: str, variant: str, seed: int = 0, folder: str | Path | None = None
) -> tuple[Row, Result]:
    """Run one seed of a recorded row again, with the learning rate that was chosen then.

    Parameters
    ----------
    experiment, variant : str
        A key of `EXPERIMENTS`, and one of its rows.
    seed : int
        Which run.
    folder : str or Path, optional
        As given to `mrbook.records.load_records`.

    Returns
    -------
    (Row, Result)
        What is recorded, and the new run with its trained network.

    Raises
    ------
    ValueError
        If the row is not recorded; says which are.
    """
    rows = load_rows(experiment, folder)
    if variant not in rows:
        raise ValueError(f"variant must be one of {', '.join(rows) or 'none yet'}, got {variant!r}")
    row = rows[variant]
    return row, find_experiment(experiment).run(row.variant, seed, row.lr, profile=True)


def separation(rows: Iterable[Row], *, higher_is_better: bool = True) -> Separation:
    """How far the best of several rows is from the worst.

    Parameters
    ----------
    rows : iterable of Row
        At least two.
    higher_is_better : bool
        Which of two scores is the better one.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    ranked = sorted(rows, key=Row.mean, reverse=not higher_is_better)
    if len(ranked) < 2:
        raise ValueError(f"rows must be at least two, got {len(ranked)}")
    worst, best = ranked[0], ranked[-1]
    difference = abs(best.mean() - worst.mean())
    error = math.hypot(best.standard_error(), worst.standard_error())
    return Separation(best, worst, difference, error)


# ---- details ------------------------------------------------------------------------------------


def settings_of(experiment: Experiment, variant: Variant, width: int) -> dict[str, Any]:
    """What tells whether a record is of the row as it is now."""
    return {
        "experiment": experiment.name,
        "variant": {
            "name": variant.name,
            "layer": variant.layer,
            "options": dict(variant.options),
            "of": variant.of,
            "width": variant.width,
        },
        "budget": experiment.budget,
        "rates": list(experiment.rates),
        "seeds": experiment.seeds,
        "settings": experiment.settings(),
        "width": width,
    }


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(tree))


def row_of(variant: Variant, payload: Mapping[str, Any]) -> Row:
    runs = payload["runs"]
    scores = {test: tuple(run["scores"][test] for run in runs) for test in runs[0]["scores"]}
    seconds = [run["seconds"] for run in runs if not run.get("diverged")]
    return Row(
        variant,
        scores,
        payload["parameters"],
        payload["width"],
        payload["lr"],
        statistics.mean(seconds) if seconds else math.nan,
        payload,
        len(runs) - len(seconds),
    )
