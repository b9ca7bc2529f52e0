"""Training: the loop, its checkpoints, its way back, and many processes."""

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from mrbook.baselines import S4D
from mrbook.recipes import RECIPES, Recipe, find_recipe
from mrbook.records import environment
from mrbook.tasks import ImageTask, Rules, Task, long_listops
from mrbook.train import (
    CheckpointError,
    DivergedError,
    MilestoneError,
    Run,
    cosine_with_warmup,
    evaluate,
    fit,
    parameter_groups,
    read_checkpoint,
)
from mrbook.train.augment import flip, shift
from mrbook.train.checkpoint import load_checkpoint, save_checkpoint
from mrbook.train.processes import share
from mrbook.train.step import _compiles

SMALL = Recipe(
    name="small",
    preset="cpu",
    source="this test",
    task="shapes",
    task_options={"size": 8, "channels": 1, "train": 50, "valid": 20, "test": 20},
    model={"width": 8, "layers": 2, "dropout": 0.2},
    epochs=3,
    batch_size=10,
    lr=0.01,
    weight_decay=0.01,
    warmup_epochs=0.5,
    augment=("flip",),
)


def built(recipe: Recipe = SMALL, seed: int = 0) -> tuple[nn.Module, Task]:
    task = recipe.build_task()
    torch.manual_seed(seed)
    return recipe.build_model(task), task


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# ---- the schedule -------------------------------------------------------------------------------


def test_schedule_is_torchs_cosine_after_a_linear_warmup() -> None:
    total, warmup = 20, 5
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - warmup)
    expected = [step / warmup for step in range(warmup)]
    for _ in range(total - warmup):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    actual = [cosine_with_warmup(step, total, warmup) for step in range(total)]
    assert actual == pytest.approx(expected, abs=1e-12)
    for step, warm in ((-1, 0), (20, 0), (0, 21), (0, -1)):
        with pytest.raises(ValueError, match="must be from 0"):
            cosine_with_warmup(step, total, warm)


# ---- the loop -----------------------------------------------------------------------------------


def test_a_run_learns_and_tells_what_happened() -> None:
    recipe = SMALL.but(
        epochs=15, augment=(), model={"dropout": 0.0}, task_options={"plain": True, "train": 200}
    )
    model, task = built(recipe)
    told: list[dict] = []
    run = fit(model, task, recipe, device="cpu", progress=False, on_epoch=told.append)
    assert told == run.curve
    assert [entry["epoch"] for entry in run.curve] == list(range(1, 16))
    assert run.curve[-1]["train_loss"] < 0.75 * run.curve[0]["train_loss"]
    assert run.best["valid_score"] == max(entry["valid_score"] for entry in run.curve)
    assert not model.training
    # The model is left with the best weights, whose scores are those reported.
    for split, loss, score in (
        ("valid", run.best["valid_loss"], run.best["valid_score"]),
        ("test", run.test["loss"], run.test["score"]),
    ):
        assert evaluate(model, task, split, 7) == pytest.approx((loss, score), abs=1e-6)
    seconds = [entry["seconds"] for entry in run.curve]
    assert 0 < seconds[0] <= seconds[-1] <= run.seconds + 0.01
    assert run.parameters == sum(p.numel() for p in model.parameters())
    assert run.memory > 1 << 20 and run.examples_per_second > 0
    payload = json.loads(json.dumps(run.payload("a command"), allow_nan=False))
    assert payload["recipe"]["lr"] == 0.01 and payload["data"]["mark"] == run.mark
    assert payload["test"] == run.test and len(payload["curve"]) == 15


def test_the_loop_is_plain_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SMALL.but(epochs=2, augment=(), model={"dropout": 0.0}, clip=0.5)
    model, task = built(recipe)
    model, other = model.double(), copy.deepcopy(model).double()
    plans: list[list[Tensor]] = []
    plan, take = task.plan, task.take

    def watched(split: str, size: int, generator: torch.Generator | None = None) -> list[Tensor]:
        made = plan(split, size, generator)
        if split == "train":
            plans.append(made)
        return made

    def double(split: str, index: Tensor, device: torch.device) -> object:
        batch = take(split, index, device)
        return batch._replace(inputs=batch.inputs.double())

    monkeypatch.setattr(task, "plan", watched)
    monkeypatch.setattr(task, "take", double)
    fit(model, task, recipe, device="cpu", progress=False, folder=None)
    assert len(plans) == 2
    assert sorted(torch.cat(plans[0]).tolist()) == list(range(50))
    assert torch.cat(plans[0]).tolist() != torch.cat(plans[1]).tolist()
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.01, weight_decay=0.01)
    states, step = [], 0
    for epoch in plans:
        for index in epoch:
            optimizer.param_groups[0]["lr"] = 0.01 * cosine_with_warmup(step, 10, 2)
            batch = double("train", index, torch.device("cpu"))
            loss = nn.functional.cross_entropy(other(batch.inputs), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(other.parameters(), 0.5)
            optimizer.step()
            step += 1
        states.append(weights(other).clone())
    assert min(float((weights(model) - state).abs().max()) for state in states) < 1e-12


def test_parameters_may_ask_for_their_own_learning_rate() -> None:
    class Special(nn.Linear):
        optimizer_options = {"bias": {"lr": 0.001, "weight_decay": 0.0}}  # noqa: RUF012

    model = nn.Sequential(nn.Linear(2, 2), Special(2, 3))
    model.append(model[0])  # shared: counted once
    groups = parameter_groups(model, 0.01, 0.1)
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (0.01, 0.1, 3),
        (0.001, 0.0, 1),
    ]
    assert groups[1]["params"][0] is model[1].bias
    assert parameter_groups(model, 1e-4, 0.1)[1]["lr"] == 1e-4
    slow = parameter_groups(S4D(2), 0.01, 0.1)[0]
    assert (slow["lr"], slow["weight_decay"], len(slow["params"])) == (0.001, 0.0, 3)


def test_only_what_has_one_length_is_compiled() -> None:
    cuda, texts = torch.device("cuda"), Mock(Task, vocabulary=("a", "b"))
    pictures = Mock(Task, vocabulary=None)
    assert _compiles(pictures, cuda)
    assert not _compiles(texts, cuda) and not _compiles(pictures, torch.device("cpu"))


def test_tokens_are_trained_with_their_lengths() -> None:
    rules = Rules(max_depth=3, max_args=3, min_length=4, max_length=20)
    task = long_listops(train=60, valid=20, test=20, rules=rules)
    recipe = find_recipe("multires-listops", "paper").but(
        epochs=2, batch_size=20, model={"width": 8, "layers": 1, "length": 20}
    )
    torch.manual_seed(0)
    model = recipe.build_model(task)
    run = fit(model, task, recipe, device="cpu", progress=False)
    assert len(run.curve) == 2 and 0 <= run.test["score"] <= 1
    # a score doesn't depend on what an example is padded with
    assert evaluate(model, task, "test", 20) == pytest.approx(evaluate(model, task, "test", 1))


def test_bad_arguments() -> None:
    model, task = built()
    with pytest.raises(ValueError, match="folder must be given"):
        fit(model, task, SMALL, resume=True)
    with pytest.raises(ValueError, match="checkpoint_seconds must not be negative, got -1"):
        fit(model, task, SMALL, checkpoint_seconds=-1)
    with pytest.raises(ValueError, match="augment must be of flip, shift, got 'cut'"):
        fit(model, task, SMALL.but(augment=("cut",)), device="cpu")
    with pytest.raises(ValueError, match="task must be one of"):
        SMALL.but(task="chess")
    with pytest.raises(ValueError, match="recipe must be one of"):
        find_recipe("nothing", "cpu")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": 3}, TypeError, "name must be a string, got 3"),
        ({"preset": None}, TypeError, "preset must be a string, got None"),
        ({"lr": 0}, ValueError, "lr must be above 0 and finite, got 0"),
        ({"lr": "0.1"}, TypeError, "lr must be a number, got '0.1'"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be at least 0 and finite, got -1"),
        ({"warmup_epochs": 4}, ValueError, "warmup_epochs must be at least 0 and at most 3, got 4"),
        ({"clip": 0}, ValueError, "clip must be above 0 and finite, got 0"),
        ({"betas": 0.9}, ValueError, r"betas must be two numbers, got 0\.9"),
        ({"betas": (0.9,)}, ValueError, r"betas must be two numbers, got \(0\.9,\)"),
        ({"betas": (0.9, 1)}, ValueError, r"betas\[1\] must be at least 0 and below 1, got 1"),
        ({"augment": "flip"}, TypeError, "augment must be a sequence of strings, got 'flip'"),
        ({"subset": {"valid": 0}}, ValueError, r"subset\['valid'\] must be at least 1, got 0"),
        ({"subset": {"dev": 9}}, ValueError, "subset must be of train, valid, test, got 'dev'"),
        ({"milestones": {4: 0.5}}, ValueError, "epoch of milestones must be from 1 to 3, got 4"),
        ({"milestones": {1: 1}}, ValueError, r"milestones\[1\] must be above 0 and below 1, got 1"),
    ],
)
def test_a_recipe_looks_at_its_values(changes: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        SMALL.but(**changes)


def test_milestones_of_bits_and_of_shorter_runs() -> None:
    drawing = find_recipe("multires-drawing", "paper")
    assert drawing.but(milestones={1: 7.5}).milestones == {1: 7.5}  # bits, not a share
    recipe = SMALL.but(milestones={1: 0.2, 3: 0.5})
    assert recipe.but(epochs=2).milestones == {1: 0.2} and recipe.but(epochs=5) == recipe.but(
        epochs=5, milestones=recipe.milestones
    )
    assert Recipe(**recipe.as_dict() | {"milestones": {}}).as_dict()["betas"] == [0.9, 0.999]


# ---- augmentation -------------------------------------------------------------------------------


def test_augmentations_move_whole_images() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 6, 5)
    flipped = flip(images)
    same = (flipped == images).flatten(1).all(1)
    assert 16 < int(same.sum()) < 48
    assert torch.equal(flipped[~same], images[~same].flip(-1))
    moved = shift(images, most=2)
    assert moved.shape == images.shape and moved.dtype == images.dtype
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    seen = set()
    for i in range(64):
        places = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if torch.equal(moved[i], padded[i, :, r : r + 6, c : c + 5])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15


# ---- what may go wrong --------------------------------------------------------------------------


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    model, task = built()

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            self.calls += model.training
            return x * math.nan if model.training and self.calls == 8 else x

    model.blocks.append(Breaks())
    with pytest.raises(DivergedError, match="loss is nan at step 7 with learning rate") as caught:
        fit(model, task, SMALL, device="cpu", folder=tmp_path, progress=False)
    assert str(tmp_path / "last.pt") in str(caught.value)
    kept = read_checkpoint(tmp_path / "last.pt")
    assert kept["step"] == 5 and all(p.isfinite().all() for p in kept["model"].values())


def test_a_loss_that_grows_stops_the_run() -> None:
    recipe = SMALL.but(lr=1e4, warmup_epochs=0, epochs=10, weight_decay=0.0)
    model, task = built(recipe)
    with pytest.raises(DivergedError, match="there is no checkpoint"):
        fit(model, task, recipe, device="cpu", progress=False)


def test_a_missed_milestone_stops_the_run() -> None:
    recipe = SMALL.but(milestones={2: 0.99})
    model, task = built(recipe)
    with pytest.raises(MilestoneError, match=r"after 2 epochs .* 0.99 is expected"):
        fit(model, task, recipe, device="cpu", progress=False)
    model, task = built(recipe)
    run = fit(model, task, recipe, device="cpu", progress=False, milestones=False)
    assert len(run.curve) == 3


# ---- checkpoints --------------------------------------------------------------------------------


def test_checkpoints_are_whole_and_the_one_before_is_kept(tmp_path: Path) -> None:
    run = {"seed": 1}
    assert load_checkpoint(tmp_path, run) == (None, [])
    for step in (1, 2):
        save_checkpoint(tmp_path, {"run": run, "step": step, "x": torch.arange(1000)})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last-before.pt", "last.pt"]
    state, refused = load_checkpoint(tmp_path, run)
    assert state is not None and state["step"] == 2 and not refused
    raw = (tmp_path / "last.pt").read_bytes()
    flipped = bytearray(raw)
    at = raw.index(torch.arange(100, 110).numpy().tobytes())
    flipped[at] ^= 1
    for broken in (raw[: len(raw) // 2], b"", b"hello", bytes(flipped)):
        (tmp_path / "last.pt").write_bytes(broken)
        state, refused = load_checkpoint(tmp_path, run)
        assert state is not None and state["step"] == 1
        assert len(refused) == 1 and "last.pt is" in refused[0]
    torch.save({"weights": torch.zeros(3)}, tmp_path / "last.pt")
    assert load_checkpoint(tmp_path, run)[1] == [
        f"{tmp_path / 'last.pt'} is not a checkpoint of mrbook"
    ]
    torch.save(Path("evil"), tmp_path / "last.pt")  # would import a class
    assert "truncated or no checkpoint" in load_checkpoint(tmp_path, run)[1][0]
    with pytest.raises(CheckpointError, match="of another run: seed is 1, not 2"):
        load_checkpoint(tmp_path, {"seed": 2})
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.pt")


def test_others_may_read_a_checkpoint(tmp_path: Path) -> None:
    for _ in range(2):
        assert save_checkpoint(tmp_path, {"step": 1}).stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "last-before.pt").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(tmp_path, {"step": 2, "bad": lambda: 0})
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 1


def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(tmp_path: Path) -> None:
    model, task = built()
    fit(model, task, SMALL, device="cpu", folder=tmp_path, progress=False)
    whole = weights(model)
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:2000])
    again, task = built()
    with pytest.warns(UserWarning, match=r"truncated .* going on from the checkpoint before"):
        fit(again, task, SMALL, device="cpu", folder=tmp_path, resume=True, progress=False)
    assert torch.equal(weights(again), whole)


def test_ctrl_c_saves_and_resuming_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    model, task = built()
    expected = fit(model, task, SMALL, device="cpu", progress=False)
    other, task = built()
    take, taken = task.take, []

    def interrupting(split: str, index: Tensor, device: torch.device) -> object:
        taken.append(split)
        if taken.count("train") == 8 and split == "train":
            os.kill(os.getpid(), signal.SIGINT)
        return take(split, index, device)

    with monkeypatch.context() as patch:
        patch.setattr(task, "take", interrupting)
        with pytest.raises(KeyboardInterrupt, match="stopped after step 8"):
            fit(other, task, SMALL, device="cpu", folder=tmp_path, progress=False)
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 8
    assert signal.getsignal(signal.SIGINT) is before
    third, task = built(seed=5)  # its weights come from the checkpoint
    torch.manual_seed(99)
    run = fit(third, task, SMALL, device="cpu", folder=tmp_path, resume=True, progress=False)
    assert torch.equal(weights(third), weights(model))
    timeless = [{k: v for k, v in e.items() if k != "seconds"} for e in run.curve]
    assert timeless == [{k: v for k, v in e.items() if k != "seconds"} for e in expected.curve]
    with pytest.raises(CheckpointError, match="of another run"):
        fit(third, task, SMALL, device="cpu", folder=tmp_path, resume=True, seed=1)


def test_a_run_that_goes_on_names_all_the_code_it_was_trained_with(tmp_path: Path) -> None:
    one, two = {"commit": "1" * 40, "dirty": False}, {"commit": "2" * 40, "dirty": True}

    def stop(entry: dict) -> None:
        raise KeyboardInterrupt

    def go(here: dict | None, **options: Any) -> Run:
        model, task = built()
        options = {"folder": tmp_path, "progress": False, "device": "cpu", "here": here, **options}
        return fit(model, task, SMALL, **options)

    with pytest.raises(KeyboardInterrupt):
        go({**one, "cpu": "any"}, on_epoch=stop)
    for here, last in ((one, one), (two, two)):  # the same code again is no change
        with pytest.raises(KeyboardInterrupt):
            go(here, resume=True, on_epoch=stop)
        state = read_checkpoint(tmp_path / "last.pt")
        assert state["code"] == ([one] if last is one else [one, two])
    run = go(two, resume=True)
    assert run.code == [one, two] and run.payload("a command")["code"] == [one, two]
    here = environment()
    now = {"commit": here["commit"], "dirty": here["dirty"]}
    assert go(None, folder=None, resume=False).code == [now]


# ---- killed, and many processes -----------------------------------------------------------------

SCRIPT = """
import sys, time, warnings
import torch
from mrbook.models import SequenceClassifier
from mrbook.recipes import Recipe
from mrbook.tasks import ImageTask
from mrbook.train import fit, join
from mrbook.train.processes import rank
warnings.simplefilter("ignore")
torch.set_num_threads(1)
mode, folder, out = sys.argv[1:4]
options = set(sys.argv[4:])
recipe = Recipe(
    name="small", preset="cpu", source="this test", task="shapes",
    task_options={"size": 8, "channels": 1, "train": 45, "valid": 10, "test": 10},
    model={"width": 8, "layers": 2, "dropout": 0.0 if "exact" in options else 0.2,
           "norm": "batch" if "batch" in options else "layer"},
    epochs=4, batch_size=9 if "exact" in options else 3, lr=0.01,
    augment=() if "exact" in options else ("flip", "shift"),
)
task = recipe.build_task()
torch.manual_seed(0)
model = recipe.build_model(task)
if "exact" in options:
    model = model.double()
    take = task.take
    def double(split, index, device):
        batch = take(split, index, device)
        return batch._replace(inputs=batch.inputs.double())
    task.take = double
if "slow" in options:
    take = task.take
    def slowly(split, index, device):
        time.sleep(0.02)
        return take(split, index, device)
    task.take = slowly
with join("cpu"):
    fit(model, task, recipe, device="cpu", folder=folder, resume=mode == "resume",
        checkpoint_seconds=0.0, compile="compile" in options, progress=False)
    if rank() == 0:
        torch.save(model.state_dict(), out)
"""


def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def launch(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("way", ["eager", "compile"])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, way: str) -> None:
    python = [sys.executable, str(script(tmp_path))]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    launch([*python, "new", str(whole), str(tmp_path / "a.pt"), way])
    with subprocess.Popen(
        [*python, "new", str(killed), str(tmp_path / "b.pt"), way, "slow"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not (killed / "best.pt").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        time.sleep(0.13)  # into the middle of an epoch of 15 steps
        process.send_signal(signal.SIGKILL)
    step = load_checkpoint(killed, read_checkpoint(killed / "best.pt")["run"])[0]["step"]
    assert 15 < step < 60 and step % 15
    launch([*python, "resume", str(killed), str(tmp_path / "b.pt"), way])
    a, b = (torch.load(tmp_path / f"{x}.pt", weights_only=True) for x in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_two_processes_give_the_weights_of_one(tmp_path: Path, norm: str) -> None:
    # 45 examples in batches of 9: 20 steps, whose parts are of 5 and 4 examples
    name = str(script(tmp_path))
    one, two = str(tmp_path / "one.pt"), str(tmp_path / "two.pt")
    launch([sys.executable, name, "new", str(tmp_path / "f"), one, "exact", norm])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch(
        [*torchrun, "--nproc-per-node", "2", name, "new", str(tmp_path / "g"), two, "exact", norm]
    )
    a, b = (torch.load(path, weights_only=True) for path in (one, two))
    for key, value in a.items():
        assert torch.allclose(b[key], value, rtol=0, atol=1e-10), key


def test_every_process_gets_its_share() -> None:
    index = torch.arange(7)
    parts = [share(index, rank, 3) for rank in range(3)]
    assert sorted(torch.cat([part for part, _ in parts]).tolist()) == list(range(7))
    assert [real for _, real in parts] == [3, 2, 2]
    part, real = share(index[:1], 2, 3)
    assert part.tolist() == [0] and real == 0


# ---- drawing, and the recipes -------------------------------------------------------------------


def test_a_model_of_pixels_is_trained_for_bits() -> None:
    recipe = find_recipe("multires-drawing", "cpu").but(
        task_options={"size": 8, "train": 60, "valid": 20, "test": 20},
        model={"width": 8, "layers": 1, "mixtures": 2},
        epochs=3,
        batch_size=20,
    )
    model, task = built(recipe)
    run = fit(model, task, recipe, device="cpu", progress=False)
    assert run.score == "bits_per_dim"
    assert run.best["valid_score"] == min(entry["valid_score"] for entry in run.curve)
    for entry in run.curve:  # the loss is the same in nats
        assert entry["valid_score"] == pytest.approx(entry["valid_loss"] / math.log(2), rel=1e-5)
    assert run.curve[-1]["valid_score"] < run.curve[0]["valid_score"]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: f"{r.name}-{r.preset}")
def test_every_recipe_is_plain_and_builds(recipe: Recipe) -> None:
    assert find_recipe(recipe.name, recipe.preset) is recipe
    json.dumps(recipe.as_dict(), allow_nan=False)
    assert recipe.but() == recipe and recipe.but(batch_size=1).model == recipe.model
    published = {("multires-scifar", "paper"): 1_365_514, ("multires-drawing", "paper"): 38_391_908}
    sizes = {
        "scifar": {"channels": 3, "length": 1024, "vocabulary": None},
        "scifar-33": {"channels": 3, "length": 1056, "vocabulary": None},
        "cifar-pixels": {"channels": 3, "length": 1024, "vocabulary": None},
        "plain-shapes": {"channels": 1, "length": 256, "vocabulary": None},
        "listops": {"channels": 1, "length": 2000, "vocabulary": tuple(range(18))},
    }[recipe.task]
    task = Mock(spec=ImageTask, classes=tuple("0123456789"), pair=False, **sizes)
    with torch.device("meta"):
        count = sum(p.numel() for p in recipe.build_model(task).parameters())
    assert count == published.get((recipe.name, recipe.preset), count)
    if recipe.preset == "cpu":
        assert count < 500_000
