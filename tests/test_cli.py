"""``python -m mrbook``: what it prints, what it returns, what it keeps."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ROOT

import mrbook
from mrbook import bench, recipes, records
from mrbook.__main__ import main
from mrbook.bench.engine import Case
from mrbook.commands.train import _recipe
from mrbook.recipes import Recipe
from mrbook.report import results_page, score_text
from mrbook.tasks import Batch, ImageTask
from mrbook.train import fit

Output = pytest.CaptureFixture[str]


@pytest.fixture
def small_suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make a tiny suite the only one, and `tmp_path` the place of the records."""
    case = Case("ones", {"ones": lambda: torch.ones(3), "full": lambda: torch.full((3,), 1.0)})
    module = SimpleNamespace(cases=lambda device: [case])
    monkeypatch.setitem(sys.modules, "the_suite", module)
    monkeypatch.setattr(bench, "SUITES", {"small": "the_suite"})
    monkeypatch.setattr(records, "_FOLDER", tmp_path)
    return tmp_path


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "mrbook", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"mrbook {mrbook.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_without_a_command_it_says_which_there_are(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "bench" in capsys.readouterr().err


def test_doctor_says_what_is_here(capsys: Output) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for expected in (mrbook.__version__, torch.__version__, "PyWavelets", "threads", "compiler"):
        assert expected in out


def test_doctor_says_what_is_missing(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    missing = out[out.index("\nmissing") :]
    assert 'pip install "mrbook[bench]"' in missing
    assert 'pip install "mrbook[interactive]"' in missing
    assert "C++ compiler" in missing
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    main(["doctor"])
    assert "nothing is missing" in capsys.readouterr().out


def test_bench_prints_a_table_and_keeps_nothing(small_suite: Path, capsys: Output) -> None:
    assert main(["bench", "small", "--repeats", "3"]) == 0
    out = capsys.readouterr().out
    assert "threads, torch" in out and "ones\nmethod" in out
    assert list(small_suite.iterdir()) == []


def test_bench_without_a_name_runs_all(small_suite: Path, capsys: Output) -> None:
    assert main(["bench", "--repeats", "3"]) == 0
    assert "ones\nmethod" in capsys.readouterr().out


def test_bench_keeps_a_record_in_place_of_the_last(small_suite: Path, capsys: Output) -> None:
    threads = torch.get_num_threads()
    try:
        for repeats in ("3", "4"):
            arguments = ["bench", "small", "--repeats", repeats, "--threads", "1", "--record"]
            assert main(arguments) == 0
    finally:
        torch.set_num_threads(threads)
    assert "recorded in" in capsys.readouterr().out
    (record,) = records.load_records("bench").values()
    assert record["name"] == "small-cpu"
    assert record["environment"]["threads"] == 1
    payload = record["payload"]
    assert payload["command"] == (
        "python -m mrbook bench small --repeats 4 --device cpu --threads 1"
    )
    assert payload["repeats"] == 4
    assert set(payload["cases"][0]["methods"]) == {"ones", "full"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "nonsense"], "suite must be one of small, got 'nonsense'"),
        (["bench", "small", "--repeats", "1"], "repeats must be at least 2"),
    ],
)
def test_bench_fails_with_one_line(
    arguments: list[str], message: str, small_suite: Path, capsys: Output
) -> None:
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("mrbook bench: ") and message in err and err.count("\n") == 1


def test_bench_says_how_to_get_ptwt(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ptwt", None)
    assert main(["bench", "dwt"]) == 1
    assert 'ptwt is missing: pip install "mrbook[bench]"' in capsys.readouterr().err


# ---- train --------------------------------------------------------------------------------------

TINY = Recipe(
    name="tiny",
    preset="cpu",
    source="this test",
    task="shapes",
    task_options={"size": 8, "channels": 1, "train": 40, "valid": 10, "test": 10},
    model={"width": 8, "layers": 1, "dropout": 0.1},
    epochs=2,
    batch_size=10,
    lr=0.01,
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make "tiny" a recipe and `tmp_path` the current folder."""
    monkeypatch.setitem(recipes.RECIPES, ("tiny", "cpu"), TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*arguments: str) -> int:
    return main(["train", "tiny", "--device", "cpu", *arguments])


def kept(folder: Path | str, name: str) -> dict[str, Any]:
    return records.load_records("train", folder)[name]["payload"]


def timeless(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in payload["curve"]]


def test_train_is_fit_and_keeps_a_record(tiny: Path, capsys: Output) -> None:
    assert train("--seed", "3", "--records", "kept") == 0
    torch.manual_seed(3)
    task = TINY.build_task()
    expected = fit(TINY.build_model(task), task, TINY, device="cpu", seed=3, progress=False)
    payload = kept("kept", "tiny-cpu-seed3")
    assert payload["command"] == "python -m mrbook train tiny --preset cpu --device cpu --seed 3"
    assert payload["recipe"] == json.loads(json.dumps(TINY.as_dict()))
    assert payload["test"] == expected.test and payload["seed"] == 3
    assert timeless(payload) == timeless({"curve": expected.curve})
    out = capsys.readouterr().out
    test = score_text("accuracy", [expected.test["score"]])
    assert f"test {test} (drawn shapes, not CIFAR-10)" in out
    assert "epoch 1: loss" in out and "epoch 2: loss" in out
    folder = tiny / "runs" / "tiny-cpu-seed3"
    assert (folder / "best.pt").is_file() and "runs/tiny-cpu-seed3/best.pt" in out
    assert str(tiny) not in json.dumps(payload), "no paths of this machine"


def test_train_without_record_keeps_none(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_FOLDER", tiny / "book" / "records")
    assert train() == 0
    assert sorted(path.name for path in tiny.iterdir()) == ["runs"]


def test_overrides_make_another_recipe_of_another_name(tiny: Path) -> None:
    arguments = ("--epochs", "1", "--batch-size", "20", "--lr", "0.001")
    assert train(*arguments, "--no-test", "--no-compile", "--no-milestones", "--records", ".") == 0
    payload = kept(".", "tiny-cpu-epochs1-batch20-lr0.001-seed0")
    recipe = payload["recipe"]
    assert (recipe["epochs"], recipe["batch_size"], recipe["lr"]) == (1, 20, 0.001)
    assert payload["test"] == {} and len(payload["curve"]) == 1
    assert payload["command"] == (
        "python -m mrbook train tiny --preset cpu --device cpu --seed 0 --epochs 1 "
        "--batch-size 20 --lr 0.001 --no-compile --no-milestones --no-test"
    )
    assert (tiny / "runs" / "tiny-cpu-epochs1-batch20-lr0.001-seed0" / "last.pt").is_file()


def test_a_run_is_not_written_over(tiny: Path, capsys: Output) -> None:
    assert train() == 0
    assert train() == 1
    err = capsys.readouterr().err
    assert err.startswith("mrbook train: runs/tiny-cpu-seed0 holds a run: --resume goes on")
    assert train("--folder", "elsewhere") == 0
    assert (tiny / "elsewhere" / "last.pt").is_file()


def test_an_interrupted_run_goes_on(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert train("--folder", "whole", "--records", "whole") == 0
    take, taken = ImageTask._take, []

    def interrupting(self: ImageTask, split: str, *rest: Any) -> Batch:
        taken.append(split)
        if split == "train" and taken.count("train") == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return take(self, split, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ImageTask, "_take", interrupting)
        assert train() == 130
    assert capsys.readouterr().err == "mrbook train: stopped after step 6; --resume goes on\n"
    assert train("--resume", "--records", "on") == 0
    expected, got = kept("whole", "tiny-cpu-seed0"), kept("on", "tiny-cpu-seed0")
    assert timeless(got) == timeless(expected) and got["test"] == expected["test"]


def test_ctrl_c_before_there_is_anything_to_go_on_with(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recipe, "build_task", interrupted)
    assert train() == 130
    assert capsys.readouterr().err == "mrbook train: stopped\n"


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ["train", "nothing"], "recipe must be one of "),
        ({}, ["train", "tiny", "--preset", "paper"], "preset of tiny must be one of cpu"),
        ({}, ["train", "tiny", "--device", "nonsense"], "device 'nonsense' can't be used here"),
        ({}, ["train", "tiny", "--epochs", "0"], "epochs must be"),
        ({}, ["train", "tiny", "--seed", "-1"], "seed must be"),
        ({"lr": 1e4, "epochs": 20}, ["train", "tiny"], "the loss is "),
        ({"milestones": {1: 0.99}}, ["train", "tiny"], "after 1 epochs the validation accuracy"),
    ],
)
def test_train_fails_with_one_line(
    changes: dict[str, Any],
    arguments: list[str],
    message: str,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    monkeypatch.setitem(recipes.RECIPES, ("tiny", "cpu"), TINY.but(**changes))
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("mrbook train: ") and message in err and err.count("\n") == 1


def test_a_foreign_checkpoint_is_refused_with_one_line(tiny: Path, capsys: Output) -> None:
    assert train("--folder", "there") == 0
    capsys.readouterr()
    assert train("--folder", "there", "--seed", "1", "--resume") == 1
    err = capsys.readouterr().err
    assert "of another run: seed is 0, not 1" in err and err.count("\n") == 1


def test_a_dirty_tree_is_refused_before_anything_is_done(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, small_suite: Path, capsys: Output
) -> None:
    monkeypatch.setattr(records, "_FOLDER", ROOT / "book" / "records")
    here = {**records.environment(), "dirty": True}
    monkeypatch.setattr(records, "environment", lambda: here)
    monkeypatch.setattr(Recipe, "build_task", lambda self: pytest.fail("it began"))
    for arguments in (["train", "tiny", "--record"], ["bench", "small", "--record"]):
        assert main(arguments) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith(f"mrbook {arguments[0]}: a record must name the commit")
        assert "ones\nmethod" not in captured.out


def test_a_run_begun_with_uncommitted_changes_gets_no_record(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    here = {**records.environment(), "commit": "c" * 40}
    monkeypatch.setattr(records, "_FOLDER", ROOT / "book" / "records")
    monkeypatch.setattr(records, "environment", lambda: {**here, "dirty": True})
    assert train() == 0
    capsys.readouterr()
    monkeypatch.setattr(records, "environment", lambda: {**here, "dirty": False})
    with monkeypatch.context() as patch:
        patch.setattr(Recipe, "build_task", lambda self: pytest.fail("it began"))
        assert train("--resume", "--record") == 1
    assert capsys.readouterr().err == (
        "mrbook train: a record must name the commits it was made with: runs/tiny-cpu-seed0 holds "
        "a run that was trained with changes which are in none\n"
    )
    assert train("--resume", "--records", "kept") == 0  # elsewhere it may, and says so
    code = kept("kept", "tiny-cpu-seed0")["code"]
    assert code == [{"commit": "c" * 40, "dirty": dirty} for dirty in (True, False)]


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("nonsense", "Expected one of cpu"),
        ("meta:x", "Invalid device string"),
        ("cuda", "2 processes need a GPU each, there are 1"),
        ("cuda:0", "2 processes need a GPU each, there are 1"),
    ],
)
def test_of_several_processes_one_says_what_is_wrong_with_the_device(
    device: str, reason: str, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """As torchrun starts them; they stop before they look for each other."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    for number in ("0", "1"):
        monkeypatch.setenv("RANK", number)
        monkeypatch.setenv("LOCAL_RANK", number)
        assert main(["train", "tiny", "--device", device]) == 1
        err = capsys.readouterr().err
        if number == "0":
            assert err.startswith(f"mrbook train: device {device!r} can't be used here: {reason}")
        assert err.count("\n") == (1 if number == "0" else 0)
    assert list(tiny.iterdir()) == []


@pytest.mark.parametrize(
    ("presets", "device", "expected"),
    [
        (("paper", "cpu", "fast"), "cpu", "cpu"),
        (("paper", "cpu", "fast"), "mps", "cpu"),
        (("paper", "cpu", "fast"), "cuda:1", "fast"),
        (("paper", "cpu"), "cuda", "paper"),
    ],
)
def test_the_preset_suits_the_device(
    presets: tuple[str, ...], device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for preset in presets:
        monkeypatch.setitem(recipes.RECIPES, ("tiny", preset), TINY.but(preset=preset))
    options = SimpleNamespace(recipe="tiny", preset=None, epochs=None, batch_size=None, lr=None)
    assert _recipe(options, device).preset == expected


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    script = tmp_path / "tiny.py"
    script.write_text(
        "import sys\n"
        "from mrbook.__main__ import main\n"
        "from mrbook.recipes import RECIPES, Recipe\n"
        f"RECIPES['tiny', 'cpu'] = Recipe(**{TINY.as_dict()!r})\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), "train", "tiny", "--records", "kept"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MRBOOK_DATA": str(tmp_path)}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("weights in runs/tiny-cpu-seed0/best.pt") == 1
    payload = kept(tmp_path / "kept", "tiny-cpu-seed0")
    assert payload["command"] == (
        "torchrun --nproc-per-node 2 -m mrbook train tiny --preset cpu --device cpu --seed 0"
    )
    assert len(payload["curve"]) == 2 and payload["test"]


# ---- report -------------------------------------------------------------------------------------


def test_report_writes_the_page(tmp_path: Path, capsys: Output) -> None:
    page = tmp_path / "page.md"
    assert main(["report", "--records", str(tmp_path), "--out", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == results_page({})
    assert capsys.readouterr().out == f"written to {page}\n"
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "broken.json").write_text("{")
    assert main(["report", "--records", str(tmp_path), "--out", str(page)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("mrbook report: ") and "is not JSON" in err and err.count("\n") == 1
