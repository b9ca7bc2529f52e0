"""``python -m mrbook``: what it prints, what it returns, what it keeps."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mrbook
from mrbook import bench, records
from mrbook.__main__ import main
from mrbook.bench.engine import Case

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
