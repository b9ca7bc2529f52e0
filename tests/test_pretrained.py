"""Weights that come with the package: made from a record, whole, and as good as the record says."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from torch import nn

from mrbook import pretrained as module
from mrbook.__main__ import main
from mrbook.likelihood import from_levels
from mrbook.models import PixelModel, SequenceClassifier
from mrbook.pretrained import available, pretrained, publish, record_of
from mrbook.recipes import Recipe, find_recipe
from mrbook.records import load_records, write_record
from mrbook.tasks import ImageTask, Task
from mrbook.train import CheckpointError, fit, read_checkpoint
from mrbook.train.objectives import objective_of

LIMIT = 16 << 20


@torch.no_grad()
def scores(model: nn.Module, task: Task, count: int) -> torch.Tensor:
    """Scores of the first test examples, one by one."""
    objective = objective_of(model)
    index = torch.arange(min(count, task.size("test")))
    found = []
    for part in index.split(25):
        batch = task.take("test", part)
        found.append(objective.judge(objective.predict(model, batch, batch.lengths), batch)[1])
    return torch.cat(found)


def far_from(record: dict[str, Any], found: torch.Tensor) -> float:
    """How many standard errors the mean of some scores is away from the record's."""
    expected, n = record["payload"]["test"]["score"], len(found)
    # never less than that of two more examples, which are right or wrong
    spread = max(float(found.double().std()), math.sqrt(2 / n)) / math.sqrt(n)
    return abs(float(found.double().mean()) - expected) / spread


# ---- what is shipped ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::mrbook.tasks.cache.DataWarning")  # a copy will do
@pytest.mark.parametrize("name", available() or [pytest.param("", marks=pytest.mark.skip("none"))])
def test_shipped_weights_are_as_good_as_their_record_says(name: str) -> None:
    path = module._FOLDER / f"{name}.pt"
    assert path.stat().st_size <= LIMIT
    record = record_of(name)
    assert record == load_records("train", ROOT / "book" / "records")[name]
    assert record["environment"]["commit"] and record["payload"]["test"]
    assert not any(code["dirty"] for code in record["payload"]["code"])
    model = pretrained(name)
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == record["payload"]["parameters"]
    recipe = find_recipe(record["payload"]["recipe"]["name"], record["payload"]["recipe"]["preset"])
    task = recipe.build_task()
    if json.loads(json.dumps(task.fingerprint)) != record["payload"]["data"]:
        pytest.skip("the data it was trained on are not here")
    assert far_from(record, scores(model, task, 100)) < 4


def judge_of(task: ImageTask) -> Callable[[torch.Tensor], torch.Tensor]:
    """Train a small classifier in two dimensions: from bytes of images to classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(512, 10)),
        )
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    for batch in task.batches("train", 50, generator=torch.Generator().manual_seed(0)):
        loss = F.cross_entropy(net(batch.inputs.unflatten(-1, (16, 16))), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def judge(images: torch.Tensor) -> torch.Tensor:
        return net(from_levels(images)).argmax(1)

    return judge


def test_what_the_shipped_network_draws_is_recognized() -> None:
    name = "multires-drawing-cpu-seed0"
    if name not in available():
        pytest.skip("not shipped")
    model, task = pretrained(name), find_recipe("multires-drawing", "cpu").build_task()
    assert isinstance(model, PixelModel) and isinstance(task, ImageTask)
    judge = judge_of(task)
    real = judge(task.images("test")) == task.labels("test")
    assert float(real.double().mean()) >= 0.95
    labels = torch.arange(10).repeat(10)
    drawn = judge(model.draw(100, labels=labels, seed=1)) == labels
    assert float(drawn.double().mean()) >= 0.8


# ---- a small one, made here ---------------------------------------------------------------------

TINY = Recipe(
    name="tiny",
    preset="cpu",
    source="this test",
    task="shapes",
    task_options={"size": 8, "channels": 1, "plain": True, "train": 500, "valid": 50, "test": 200},
    model={"width": 16, "layers": 2},
    epochs=6,
    batch_size=10,
    lr=0.01,
)
DRAWING = find_recipe("multires-drawing", "cpu").but(
    task_options={"size": 8, "train": 100, "valid": 20, "test": 60},
    model={"width": 8, "layers": 1, "mixtures": 2},
    epochs=2,
)
NAME = "tiny-cpu-seed0"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with records and checkpoints of two runs."""
    folder = tmp_path_factory.mktemp("kept")
    for name, recipe in ((NAME, TINY), ("drawing", DRAWING)):
        task = recipe.build_task()
        torch.manual_seed(0)
        model = recipe.build_model(task)
        run = fit(model, task, recipe, device="cpu", folder=folder / name, progress=False)
        write_record("train", name, run.payload("a command"), folder / "records")
        torch.save(model.state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture
def place(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder that is not there yet the place of weights."""
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize(
    ("name", "recipe", "kind"), [(NAME, TINY, SequenceClassifier), ("drawing", DRAWING, PixelModel)]
)
def test_published_weights_come_back_with_their_record(
    kept: Path, place: Path, name: str, recipe: Recipe, kind: type[nn.Module]
) -> None:
    assert available() == []
    path = publish(name, kept / name / "best.pt", kept / "records")
    assert path == place / f"{name}.pt" and [p.name for p in place.iterdir()] == [path.name]
    assert path.stat().st_size < LIMIT / 16
    assert path.stat().st_mode & 0o777 == 0o644  # a package may be installed for all users
    assert available() == [name]
    assert record_of(name) == load_records("train", kept / "records")[name]
    before = torch.get_rng_state()
    model = pretrained(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(model) is kind and not model.training
    expected = torch.load(kept / f"{name}.pt", weights_only=True)  # fit leaves the best ones
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    task, record = recipe.build_task(), record_of(name)
    assert task.fingerprint == record["payload"]["data"]
    whole = scores(model, task, 10_000)
    assert float(whole.double().mean()) == pytest.approx(record["payload"]["test"]["score"])
    assert far_from(record, scores(model, task, 50)) < 4
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.neg_()
    assert far_from(record, whole := scores(model, task, 200)) > 4, whole.mean()


def test_publishing_again_replaces_the_file(kept: Path, place: Path) -> None:
    publish(NAME, kept / NAME / "best.pt", kept / "records")
    (place / f"{NAME}.pt").write_bytes(b"old")
    publish(NAME, kept / NAME / "best.pt", kept / "records")
    assert [p.name for p in place.iterdir()] == [f"{NAME}.pt"]
    pretrained(NAME)


def test_weights_of_another_run_are_refused(kept: Path, place: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    shutil.copytree(kept / "records", records)
    path = records / "train" / f"{NAME}.json"
    record = json.loads(path.read_text())
    record["payload"]["best"]["valid_loss"] *= 1 + 1e-12
    path.write_text(json.dumps(record))
    best = kept / NAME / "best.pt"
    with pytest.raises(CheckpointError, match="is of another run than the record tiny-cpu-seed0"):
        publish(NAME, best, records)
    with pytest.raises(CheckpointError, match="another run"):
        publish(NAME, kept / "drawing" / "best.pt", kept / "records")
    with pytest.raises(CheckpointError, match=r"last.pt must be the best.pt of a run"):
        publish(NAME, kept / NAME / "last.pt", kept / "records")
    with pytest.raises(ValueError, match=r"name must be one of drawing, tiny-.*, got 'none'"):
        publish("none", best, kept / "records")
    with pytest.raises(ValueError, match=r"name must be one of \(there are none yet\), got 'x'"):
        publish("x", best, tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint runs"):
        publish(NAME, records=kept / "records")
    assert available() == []


def test_too_many_bytes_are_refused(
    kept: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LIMIT", 1000)
    with pytest.raises(ValueError, match=r"at most 1,000 bytes of weights, got \d"):
        publish(NAME, kept / NAME / "best.pt", kept / "records")
    assert list(place.iterdir()) == []


def test_what_there_is_not(kept: Path, place: Path) -> None:
    for call in (pretrained, record_of):
        with pytest.raises(ValueError, match=r"one of \(there are none yet\), got 'nothing'"):
            call("nothing")
    publish(NAME, kept / NAME / "best.pt", kept / "records")
    with pytest.raises(ValueError, match=rf"name must be one of {NAME}, got '../{NAME}'"):
        pretrained(f"../{NAME}")
    (place / f"{NAME}.pt").write_bytes((place / f"{NAME}.pt").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="truncated"):
        pretrained(NAME)


def test_the_command_publishes(
    kept: Path,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["publish", NAME, "--records", str(kept / "records")]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"mrbook publish: there is no checkpoint runs/{NAME}/best.pt\n"
    )
    shutil.copytree(kept / NAME, tmp_path / "runs" / NAME)
    assert main(arguments) == 0
    path = place / f"{NAME}.pt"
    assert capsys.readouterr().out == f"{path.stat().st_size:,} bytes in {path}\n"
    path.unlink()
    assert main([*arguments, "--checkpoint", str(kept / NAME / "best.pt")]) == 0
    assert "record" in read_checkpoint(path)
