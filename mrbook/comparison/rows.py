"""Rows as records: made by one command, skipped where they are there, read by one function.

A row is one layer on one experiment: its learning rate is chosen, then it is run with every seed.
Each row is one record, so that an interrupted series goes on with the next row.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrbook.comparison.experiments import TUNING_SEED, Experiment, Result
from mrbook.comparison.lags import lag_bins
from mrbook.comparison.plan import EXPERIMENTS
from mrbook.comparison.speed import SPEED, measure_speed
from mrbook.comparison.variants import VARIANTS, Variant
from mrbook.records import check_place, environment, load_records, write_record

__all__ = [
    "Row",
    "Separation",
    "find_experiment",
    "load_rows",
    "load_speed",
    "make_row",
    "record_rows",
    "rerun",
    "separation",
]

_KIND = "compare"
_DIGITS = 4


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


def make_row(
    experiment: Experiment,
    variant: Variant,
    lr: float | None = None,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Choose a learning rate and run all seeds.

    Parameters
    ----------
    experiment : Experiment
        What to do.
    variant : Variant
        With which layer.
    lr : float, optional
        Learning rate, in place of a choice.
    show : callable
        What to do with a line of text for each run.

    Returns
    -------
    dict
        What a record keeps: settings, parameters, width, the choice (``tuning``: each rate's scores
        on validation data; empty where the rate was given), ``lr``, the ``runs`` (one that diverged
        has ``"diverged": true``), and of the first run's first layer the ``profiles`` of lags over
        training, in bins with the edges ``lags``.
    """
    width = experiment.width(variant)
    sign = 1 if experiment.higher_is_better else -1
    tuning = []
    if lr is None:
        found = {}
        for rate in experiment.rates:
            result = experiment.run(variant, TUNING_SEED, rate, test=False)
            found[rate] = result.valid
            score = sign * result.valid[0]
            tuning.append({"lr": rate, "valid": _rounded(score)})
            show(f"{experiment.name} {variant.name}: rate {rate:g}, validation {score:.4f}")
        lr = max(found, key=lambda rate: found[rate])
    runs, profiles, lags = [], [], []
    for seed in range(experiment.seeds):
        result = experiment.run(variant, seed, lr, profile=seed == 0)
        runs.append(
            {
                "seed": seed,
                "valid": _rounded(sign * result.valid[0]),
                "scores": {test: _rounded(score) for test, score in result.scores.items()},
                "seconds": round(result.seconds, 2),
                **({"diverged": True} if result.diverged else {}),
            }
        )
        profiles += [[_rounded(value) for value in profile] for profile in result.profiles]
        lags = lag_bins(result.length)
        show(f"{experiment.name} {variant.name}: seed {seed}, {_text(result.scores)}")
    return {
        **_settings(experiment, variant, width),
        "score": experiment.score,
        "parameters": experiment.parameters(variant),
        "tuning": tuning,
        "lr": lr,
        "runs": runs,
        "lags": lags,
        "profiles": profiles,
    }


def record_rows(
    names: Iterable[str] | None = None,
    folder: str | Path | None = None,
    *,
    again: bool = False,
    show: Callable[[str], None] = print,
) -> int:
    """Make all rows that are not recorded yet, in order, and the speed of all layers.

    A row counts as recorded where its record has the settings that the package has now. What the
    code of a layer does is no setting: after a change of it, say `again`.

    Parameters
    ----------
    names : iterable of str, optional
        Experiments, or "speed". Default: all.
    folder : str or Path, optional
        As given to `mrbook.records.write_record`.
    again : bool
        Make rows that are recorded again.
    show : callable
        What to do with a line of text for each run.

    Returns
    -------
    int
        How many records were written.

    Raises
    ------
    DirtyTreeError
        If records would lie in the checkout's own folder and the tree is dirty.
    TypeError
        If names is one string.
    ValueError
        If there is no such experiment.
    """
    if isinstance(names, str):
        raise TypeError(f"names must be a list of experiments, got the string {names!r}")
    names = [*EXPERIMENTS, SPEED] if names is None else list(names)
    experiments = {name: find_experiment(name) for name in names if name != SPEED}
    here = environment()
    check_place(folder, here=here)
    written = 0

    def keep(name: str, what: str, payload: Mapping[str, Any]) -> None:
        nonlocal written
        command = {"command": f"python -m mrbook compare {what} --record"}
        path = write_record(_KIND, name, command | dict(payload), folder, overwrite=True, here=here)
        written += 1
        show(f"recorded in {path}")

    for name, experiment in experiments.items():
        done = load_rows(name, folder)
        for variant in map(VARIANTS.__getitem__, experiment.rows):
            if not again and variant.name in done:
                continue
            base = done.get(variant.of or "")
            payload = make_row(experiment, variant, None if base is None else base.lr, show)
            keep(f"{name}-{variant.name}", name, payload)
            done[variant.name] = _row(variant, payload)
    if SPEED in names and (again or not load_speed(folder)):
        keep(SPEED, SPEED, measure_speed())
    return written


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
    records = load_records(_KIND, folder)
    rows = {}
    for variant in map(VARIANTS.__getitem__, what.rows):
        record = records.get(f"{experiment}-{variant.name}")
        if record is None:
            continue
        payload = record["payload"]
        now = _plain(_settings(what, variant, payload["width"]))
        if now == {name: payload.get(name) for name in now}:
            rows[variant.name] = _row(variant, payload)
    return rows


def load_speed(folder: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """What `measure_speed` found, by the variant's name; empty if it isn't recorded yet."""
    record = load_records(_KIND, folder).get(SPEED)
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


def _settings(experiment: Experiment, variant: Variant, width: int) -> dict[str, Any]:
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


def _row(variant: Variant, payload: Mapping[str, Any]) -> Row:
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


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _text(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{test} {score:.4f}" for test, score in scores.items())
