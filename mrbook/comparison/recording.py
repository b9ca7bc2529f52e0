"""Rows of the comparison, made into records by one command; those that are there are skipped."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mrbook.comparison.experiments import TUNING_SEED, Experiment
from mrbook.comparison.lags import lag_bins
from mrbook.comparison.plan import EXPERIMENTS
from mrbook.comparison.rows import (
    KIND,
    find_experiment,
    load_rows,
    load_speed,
    row_of,
    settings_of,
)
from mrbook.comparison.speed import SPEED, measure_speed
from mrbook.comparison.variants import VARIANTS, Variant
from mrbook.records import check_place, environment, write_record

__all__ = ["make_row", "record_rows"]

_DIGITS = 4


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
        **settings_of(experiment, variant, width),
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
        path = write_record(KIND, name, command | dict(payload), folder, overwrite=True, here=here)
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
            done[variant.name] = row_of(variant, payload)
    if SPEED in names and (again or not load_speed(folder)):
        keep(SPEED, SPEED, measure_speed())
    return written


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _text(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{test} {score:.4f}" for test, score in scores.items())
