"""The comparison: equal parameters, one rate for all, rows as records that are skipped and read."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mrbook.__main__ import main
from mrbook.comparison import (
    ABLATIONS,
    EXPERIMENTS,
    LAYER_ROWS,
    SPEED,
    VARIANTS,
    Experiment,
    Probe,
    Row,
    Training,
    Variant,
    find_experiment,
    lag_bins,
    lag_profile,
    load_rows,
    load_speed,
    match_width,
    measure_speed,
    record_rows,
    recording,
    rerun,
    separation,
    text_table,
)
from mrbook.comparison import rows as rows_module
from mrbook.comparison.experiments import TUNING_SEED, _same_rate
from mrbook.models import LAYERS, make_layer
from mrbook.recipes import Recipe
from mrbook.train import parameter_groups


def tiny_probe(**changes: Any) -> Probe:
    probe = EXPERIMENTS["five-minus-six"]
    assert isinstance(probe, Probe)
    sizes = {"length": 32, "examples": 4, "batch": 2, "steps": 3, "budget": 120}
    return dataclasses.replace(probe, **{"rates": (0.01, 0.03), "seeds": 2} | sizes | changes)


def tiny_training(**changes: Any) -> Training:
    training = EXPERIMENTS["recall"]
    assert isinstance(training, Training)
    data = {"length": 32, "hold": 2, "train": 24, "valid": 8, "test": 16}
    recipe = training.recipe.but(task_options=data, model={"length": 32}, epochs=2, batch_size=8)
    changes = {"rates": (0.01, 0.03), "seeds": 2, "budget": 900, "recipe": recipe} | changes
    return dataclasses.replace(training, **changes)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, Experiment]:
    """One small experiment of each kind, in place of all."""
    few = ("multires", "s4d", "multires-k4")
    experiments: dict[str, Experiment] = {
        "five-minus-six": tiny_probe(rows=few),
        "recall": tiny_training(rows=few, lengths=(32, 48)),
    }
    for module in (rows_module, recording):
        monkeypatch.setattr(module, "EXPERIMENTS", experiments)
    return experiments


# ---- rows ---------------------------------------------------------------------------------------


def test_every_layer_has_a_row() -> None:
    assert {row.layer for row in LAYER_ROWS.values()} == set(LAYERS)
    assert not LAYER_ROWS.keys() & ABLATIONS.keys()
    for row in ABLATIONS.values():
        base = LAYER_ROWS[row.of or ""]
        assert row.layer == base.layer and (row.options, row.width) != (base.options, base.width)


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda e: e.name)
def test_experiments_name_rows_after_what_they_vary(experiment: Experiment) -> None:
    assert EXPERIMENTS[experiment.name] is experiment
    assert set(LAYER_ROWS) <= set(experiment.rows)
    for number, name in enumerate(experiment.rows):
        of = VARIANTS[name].of
        assert of is None or of in experiment.rows[:number]
    assert experiment.seeds >= 3 and TUNING_SEED not in range(experiment.seeds)
    if isinstance(experiment, Probe):
        assert experiment.seeds >= 5


@pytest.mark.parametrize("name", VARIANTS)
def test_networks_have_about_equal_parameters(name: str) -> None:
    variant = VARIANTS[name]
    for experiment in map(EXPERIMENTS.__getitem__, ("recall", "shapes", "echo")):
        if name not in experiment.rows:
            continue
        count = experiment.parameters(variant)
        if variant.width is not None:
            assert experiment.width(variant) == variant.width
        elif "dense" not in name and variant.layer not in ("longconv", "wavenet", "attention"):
            assert abs(count / experiment.budget - 1) < 0.12, (experiment.name, count)
        else:  # a channel more is many parameters more
            assert abs(count / experiment.budget - 1) < 0.5, (experiment.name, count)


def test_the_width_is_the_nearest_one() -> None:
    assert match_width(lambda w: w * w, 90) == 9
    assert match_width(lambda w: w * w, 91) == 10
    assert match_width(lambda w: 1000 * w, 1) == 1

    def even(width: int) -> int:
        if width % 2:
            raise ValueError("width must be even")
        return width

    assert match_width(even, 7) == 6
    with pytest.raises(ValueError, match="width must be even"):
        match_width(lambda width: even(1), 7)


def test_all_parameters_learn_at_one_rate() -> None:
    for name in LAYERS:
        layer = make_layer(name, 4, 64)
        _same_rate(layer)
        assert {group["lr"] for group in parameter_groups(layer, 0.5, 0.1)} == {0.5}
    s4d = make_layer("s4d", 4, 64)
    _same_rate(s4d)
    groups = parameter_groups(s4d, 0.5, 0.1)
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}  # other wishes are kept
    assert len(parameter_groups(make_layer("s4d", 4, 64), 0.5, 0.1)) == 2
    assert {g["lr"] for g in parameter_groups(make_layer("s4d", 4, 64), 0.5, 0.1)} == {0.5, 0.001}


# ---- lags ---------------------------------------------------------------------------------------


def test_bins_are_two_to_an_octave() -> None:
    assert lag_bins(1) == [0, 1] and lag_bins(2) == [0, 1, 2] and lag_bins(3) == [0, 1, 2, 3]
    edges = lag_bins(1024)
    assert edges[-3:] == [512, 768, 1024] and len(edges) == len(set(edges)) == 21
    assert edges == sorted(edges)


@pytest.mark.parametrize("name", ["multires", "s4d", "mrconv", "sgconv", "longconv"])
def test_the_profile_of_a_convolution_is_that_of_its_kernel(name: str) -> None:
    torch.manual_seed(0)
    layer = make_layer(name, 3, 64)
    profile = lag_profile(layer, torch.randn(2, 3, 64))
    assert layer.training
    kernel = layer.eval().kernel(64).detach()  # type: ignore[operator]
    for i, (low, high) in enumerate(pairwise(lag_bins(64))):
        expected = float(kernel[:, low:high].square().mean().sqrt())
        assert profile[i] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_profile_of_another_layer_is_its_jacobian() -> None:
    class Mix(nn.Module):
        def __init__(self, matrix: torch.Tensor) -> None:
            super().__init__()
            self.matrix = matrix

        def forward(self, u: torch.Tensor) -> torch.Tensor:
            return self.matrix @ u.roll(2, -1)

    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    profile = lag_profile(Mix(matrix), torch.randn(4000, 3, 8))
    expected = float(matrix.square().sum(0).mean().sqrt())
    assert profile[2] == pytest.approx(expected, rel=0.05)
    assert profile[:2] == [0, 0] and not any(profile[3:])


# ---- runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", [tiny_probe(), tiny_training()], ids=["probe", "training"])
@pytest.mark.parametrize("name", ["multires", "attention"])
def test_a_run_follows_from_its_seed(experiment: Experiment, name: str) -> None:
    first = experiment.run(VARIANTS[name], 0, 0.01, profile=True)
    torch.rand(3)  # whatever was drawn before
    again = experiment.run(VARIANTS[name], 0, 0.01)
    other = experiment.run(VARIANTS[name], 1, 0.01, test=False)
    assert (first.scores, first.valid) == (again.scores, again.valid)  # looking changed nothing
    assert other.valid != first.valid and other.scores == {}
    assert not first.network.training and again.profiles == []
    assert all(len(p) == len(lag_bins(first.length)) - 1 for p in first.profiles)
    assert len(first.profiles) == (3 if isinstance(experiment, Training) else 1)


def test_what_diverges_counts_as_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    result = tiny_probe().run(VARIANTS["multires"], 0, 1e30)
    assert result.scores == {"test": 1.0} and result.valid == (-1.0,) and result.diverged
    assert not tiny_probe().run(VARIANTS["multires"], 0, 0.01).diverged
    training = tiny_training(lengths=(32, 48))
    monkeypatch.setattr("mrbook.train.loop._DIVERGED", 0.0)
    result = training.run(VARIANTS["multires"], 0, 0.01)
    assert result.scores == {"32": 1 / 8, "48": 1 / 8} and result.valid == (1 / 8, -math.inf)
    assert result.diverged and result.seconds > 0


# ---- records ------------------------------------------------------------------------------------


def test_rows_are_recorded_once_and_read(tiny: dict[str, Experiment], tmp_path: Path) -> None:
    said: list[str] = []
    assert record_rows(["five-minus-six", "recall"], tmp_path, show=said.append) == 6
    lines = [line for line in said if "recall s4d" in line]
    assert [line.split(":")[1][:7] for line in lines] == [
        " rate 0",
        " rate 0",
        " seed 0",
        " seed 1",
    ]
    assert sum("rate" in line and "k4" in line for line in said) == 0  # the rate of its base
    assert record_rows(["five-minus-six", "recall"], tmp_path, show=said.append) == 0

    probes = load_rows("five-minus-six", tmp_path)
    assert all(run["valid"] > 0 for row in probes.values() for run in row.payload["runs"])
    rows = load_rows("recall", tmp_path)
    assert list(rows) == ["multires", "s4d", "multires-k4"]
    row = rows["multires"]
    assert row.scores.keys() == {"32", "48"} and row.n() == 2 and len(row.values("48")) == 2
    a, b = row.values()
    assert row.mean() == (a + b) / 2 == row.mean("32")
    assert row.standard_error() == pytest.approx(abs(a - b) / 2)
    assert row.parameters == tiny["recall"].parameters(row.variant)
    assert rows["multires-k4"].lr == row.lr and rows["multires-k4"].payload["tuning"] == []
    valid = {entry["lr"]: entry["valid"] for entry in row.payload["tuning"]}
    assert valid[row.lr] == max(valid.values()) and len(valid) == 2
    payload = row.payload
    assert len(payload["profiles"]) == 3 and len(payload["profiles"][0]) == len(payload["lags"]) - 1
    sizes = [path.stat().st_size for path in (tmp_path / "compare").iterdir()]
    assert len(sizes) == 6 and max(sizes) < 8000


def test_an_interrupted_series_goes_on(
    tiny: dict[str, Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_row, made = recording.make_row, []

    def stop_at_the_second(experiment: Experiment, variant: Variant, *rest: Any) -> dict[str, Any]:
        made.append(variant.name)
        if made.count("s4d") == 1 and variant.name == "s4d":
            raise KeyboardInterrupt
        return make_row(experiment, variant, *rest)

    monkeypatch.setattr(recording, "make_row", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        record_rows(["five-minus-six"], tmp_path)
    assert list(load_rows("five-minus-six", tmp_path)) == ["multires"]
    assert record_rows(["five-minus-six"], tmp_path) == 2
    assert made == ["multires", "s4d", "s4d", "multires-k4"]
    assert record_rows(["five-minus-six"], tmp_path, again=True) == 3


def test_what_diverged_is_marked_and_takes_no_part_in_the_mean_time(
    tiny: dict[str, Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Probe.run

    def first_diverges(self: Probe, variant: Variant, seed: int, lr: float, **options: Any) -> Any:
        result = run(self, variant, seed, lr, **options)
        share = 0.001 if seed == 0 else 1
        return dataclasses.replace(result, diverged=seed == 0, seconds=share * 40)

    monkeypatch.setattr(Probe, "run", first_diverges)
    monkeypatch.setitem(tiny, "five-minus-six", tiny_probe(rows=("multires",)))
    record_rows(["five-minus-six"], tmp_path)
    row = load_rows("five-minus-six", tmp_path)["multires"]
    assert [run.get("diverged") for run in row.payload["runs"]] == [True, None]
    assert (row.diverged, row.seconds) == (1, 40)
    assert "n = 2, 1 diverged" in text_table("five-minus-six", tmp_path)


def test_a_row_of_other_settings_is_made_again(
    tiny: dict[str, Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_rows(["five-minus-six"], tmp_path)
    monkeypatch.setitem(tiny, "five-minus-six", tiny_probe(rows=("multires",), steps=4))
    assert load_rows("five-minus-six", tmp_path) == {}
    assert record_rows(["five-minus-six"], tmp_path) == 1


def test_one_run_of_a_row_gives_its_score_again(
    tiny: dict[str, Experiment], tmp_path: Path
) -> None:
    record_rows(["recall"], tmp_path)
    row, result = rerun("recall", "s4d", seed=1, folder=tmp_path)
    assert result.scores == pytest.approx({test: row.values(test)[1] for test in row.scores}, 1e-3)
    with pytest.raises(ValueError, match=r"variant must be one of multires, s4d, .* got 'lstm'"):
        rerun("recall", "lstm", folder=tmp_path)


def row_of(name: str, *scores: float) -> Row:
    return Row(VARIANTS[name], {"test": scores}, 1, 1, 0.1, 1.0, {})


def test_the_best_and_the_worst() -> None:
    rows = [row_of("s4d", 0.5, 0.7), row_of("lstm", 0.1, 0.2), row_of("multires", 0.9, 0.9)]
    far = separation(rows)
    assert (far.best.variant.name, far.worst.variant.name) == ("multires", "lstm")
    assert far.difference == pytest.approx(0.75) and far.standard_error == pytest.approx(0.05)
    assert separation(rows, higher_is_better=False).best.variant.name == "lstm"
    with pytest.raises(ValueError, match="rows must be at least two, got 1"):
        separation(rows[:1])


def test_one_seed_has_no_standard_error() -> None:
    one = row_of("s4d", 0.5)
    assert one.mean() == 0.5 and math.isnan(one.standard_error())
    assert math.isnan(separation([one, row_of("lstm", 0.1, 0.2)]).standard_error)


def test_bad_arguments_say_so(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"names must be a list .*, got the string 'recall'"):
        record_rows("recall", tmp_path)
    with pytest.raises(ValueError, match=r"^test must be one of test, got 'x'$"):
        row_of("s4d", 0.5).values("x")


@pytest.mark.parametrize("name", ["recall", "shapes"])
def test_recorded_layers_are_told_apart(name: str) -> None:
    found = load_rows(name)
    rows = [found[row] for row in LAYER_ROWS if row in found]
    if len(rows) < 2:
        pytest.skip("not recorded yet")
    apart = separation(rows)
    assert apart.difference >= 3 * apart.standard_error


def test_speed_is_a_ratio_to_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mrbook.comparison import speed

    few = {name: LAYER_ROWS[name] for name in ("multires", "attention")}
    monkeypatch.setattr(speed, "LAYER_ROWS", few)
    monkeypatch.setattr(speed, "EXPERIMENTS", {"recall": tiny_training()})
    found = measure_speed(repeats=2)
    assert list(found["rows"]) == list(few) and (found["batch"], found["length"]) == (8, 32)
    for row in found["rows"].values():
        assert row["train"]["ratio"] > 0 and row["infer"]["median"] > 0
    assert found["rows"]["multires"]["train"]["ratio"] == 1
    json.dumps(found)
    assert load_speed(tmp_path) == {}
    monkeypatch.setattr(recording, "measure_speed", lambda: found)
    assert record_rows([SPEED], tmp_path) == 1 and record_rows([SPEED], tmp_path) == 0
    assert load_speed(tmp_path) == found["rows"]
    assert "ratio 1.00" in text_table(SPEED, tmp_path)


# ---- the command --------------------------------------------------------------------------------


def test_the_command_records_and_shows(
    tiny: dict[str, Experiment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    try:
        assert main(["compare", "recall", "--records", str(tmp_path)]) == 0
        assert capsys.readouterr().out.count("not run yet") == 3
        assert main(["compare", "recall", "--record", "--records", str(tmp_path)]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[-4].startswith("Recall over 1,024 steps (accuracy)")
        assert shown[-3].startswith("MultiresConv ") and "n = 2" in shown[-3] and "±" in shown[-3]
        assert shown[-1].startswith("  MultiresConv: 4 taps")
        assert main(["compare", "nothing"]) == 1
        assert "experiment must be one of five-minus-six, recall" in capsys.readouterr().err
    finally:
        torch.set_num_threads(threads)


def test_unknown_experiments_say_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"experiment must be one of recall, shapes, .* got 'x'"):
        find_experiment("x")


def test_recipes_are_plain_values() -> None:
    for experiment in EXPERIMENTS.values():
        settings = experiment.settings()
        assert json.loads(json.dumps(settings)) == settings
        if isinstance(experiment, Training):
            assert isinstance(experiment.recipe, Recipe)
