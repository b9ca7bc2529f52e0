"""What is measured on a GPU, dry: every piece runs, is recorded, and tells what is wrong."""

import argparse
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mrbook.bench import device, exactness, gpu, network, runs
from mrbook.bench.estimate import CARDS, estimate
from mrbook.commands.train import _recipe, _run_name, add_arguments
from mrbook.models.layers import LAYERS
from mrbook.native import gpu as native_gpu
from mrbook.native import triton_conv, triton_kernels, triton_multires  # noqa: F401  # all are read
from mrbook.recipes import find_recipe
from mrbook.tasks.cifar import FOLDER

Output = pytest.CaptureFixture[str]


def test_every_piece_runs_dry_and_leaves_a_record(tmp_path: Path, capsys: Output) -> None:
    assert gpu.main(["--dry", "--out", str(tmp_path)]) == 0
    assert all(gpu._complete(tmp_path, name) for name in gpu.PIECES)
    out = capsys.readouterr().out
    records = {p.stem: json.loads(p.read_text())["payload"] for p in tmp_path.glob("gpu/*.json")}
    assert set(records) == set(gpu.PIECES)
    assert all(record["dry"] and record["device"] == "cpu" for record in records.values())
    assert records["check"]["wrong"] == 0 and len(records["check"]["rows"]) >= 4 * len(LAYERS)
    for case in records["speed"]["cases"]:
        assert case["floor"]["both"] == 2.5 * case["seconds"]["copy"]["forward"]
        assert {"fft", "conv1d tree", "copy"} <= set(case["seconds"])
    (form,) = records["step"]["forms"]
    assert sum(form["shares"].values()) == pytest.approx(1)
    assert form["seconds_an_epoch"] == pytest.approx(45_000 / form["images_per_second"])
    assert set(records["drawing"]["images_per_second"]) == {"graph", "steps", "run again"}
    assert all(f"==== {name} on cpu" in out for name in gpu.PIECES)


def test_what_is_wrong_and_what_fails_is_told(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(device: str, dry: bool) -> Iterator[dict]:
        yield {"first": 1}
        raise RuntimeError("out of memory")

    monkeypatch.setitem(gpu.PIECES, "speed", broken)
    monkeypatch.setattr(exactness, "relative_error", lambda *_: float("nan"))
    assert gpu.main(["speed", "check", "--dry", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "out of memory" in captured.err
    assert "WRONG multires, output" in captured.out and "0 right" in captured.out
    payloads = {p.stem: json.loads(p.read_text())["payload"] for p in tmp_path.glob("gpu/*.json")}
    # What was known before it failed is kept, and so is what is wrong.
    assert (payloads["speed"]["first"], payloads["speed"]["complete"]) == (1, False)
    rows = payloads["check"]["rows"]
    assert {(row["right"], row["error"]) for row in rows} == {(False, None)}
    # Without names it is done again alone.
    monkeypatch.setattr(gpu, "PIECES", {name: gpu.PIECES[name] for name in ("speed", "check")})
    assert gpu.main(["--dry", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "==== speed" in out and "==== check" not in out


def test_a_part_that_fails_stands_in_no_others_way(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("an illegal memory access")

    make, monkey = exactness.make_layer, monkeypatch
    monkey.setattr(exactness, "make_layer", lambda n, *a: refuse() if n == "s4d" else make(n, *a))
    monkey.setattr(gpu, "conv1d_tree", refuse)
    monkey.setattr(network, "_profile", refuse)
    *_, rows = (payload["rows"] for payload in exactness.check("cpu", True))
    wrong = [row["what"] for row in rows if not row["right"]]
    assert wrong == 2 * ["s4d, all of it"] and "wavenet, output" in {row["what"] for row in rows}
    *_, last = gpu.speed("cpu", True)
    assert last["wrong"] == 2 and set(last["cases"][1]["seconds"]) == {"fft", "copy"}
    assert last["cases"][0]["failed"] == {"conv1d tree": "RuntimeError: an illegal memory access"}
    *_, last = network.step("cpu", True)
    assert last["wrong"] == 1 and "illegal" in last["forms"][0]["failed"]
    assert capsys.readouterr().err.count("Traceback") == 5


def test_kernels_belong_to_their_kind() -> None:
    kernels = [getattr(triton_kernels, name) for name in triton_kernels.__all__]
    kernels += [triton_multires._tree_forward, triton_multires._tree_backward]
    for kernel in kernels:
        name = getattr(kernel, "base_fn", kernel).__name__  # as a profile has it
        assert network._kind(name) == "layer", name
    assert network._kind("nvjet_tst_128x256") == "matrix products"
    assert network._kind("vectorized_elementwise") == "other"


def test_the_forms_of_a_step_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []

    def preferred(*_: object) -> bool:
        return native_gpu._asked()

    monkeypatch.setattr(native_gpu, "preferred", preferred)
    monkeypatch.setenv("MRBOOK_TRITON", "on")
    monkeypatch.setattr(torch, "compile", lambda n, **options: seen.append(("all", options)) or n)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda m: seen.append((type(m).__name__,)))
    recipe, most = find_recipe("multires-scifar", "paper"), {"product_operations_per_second": 1.0}
    triton = {}
    for name in network.FORMS:
        entry = network._step_form(recipe, 2, name, most, "cpu", True)
        triton[name] = entry["triton"]
        assert entry["seconds_of_the_first_step"] > 0
    assert seen == [
        ("Block",),
        ("Block",),
        ("all", {}),
        ("all", {}),
        ("all", {"mode": "reduce-overhead"}),
    ]
    assert [name for name, used in triton.items() if not used] == ["compiled, without Triton"]


def test_a_profile_counts_nothing_twice() -> None:
    def advance() -> None:
        with torch.profiler.record_function("adam, and all within"):
            torch.ones(64, 64) @ torch.ones(64, 64)

    shares, busy = network._profile(advance, "cpu", 1)
    assert shares["optimizer"] == 0 and shares["matrix products"] > 0 and busy > 0


def test_without_triton_nobody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRBOOK_TRITON", "on")
    with network._without_triton():
        assert not native_gpu._asked()
    assert native_gpu._asked()


# ---- in the time that there is ------------------------------------------------------------------


@pytest.mark.parametrize(
    "here", [signal.SIG_IGN, signal.default_int_handler], ids=["in the background", "in front"]
)
def test_a_process_is_stopped_in_time(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the program itself was started in the background, and ignores Ctrl-C."""
    ready = tmp_path / "ready"

    class Popen(subprocess.Popen):
        """Its time is up as soon as the program is ready, however slow the machine is."""

        def wait(self, timeout: float | None = None) -> int:
            if timeout is None or self.poll() is not None or not self.waiting:
                return super().wait(timeout)
            while not ready.exists():
                time.sleep(0.01)
            self.waiting = False
            raise subprocess.TimeoutExpired(self.args, timeout)

        waiting = True

    monkeypatch.setattr(runs.subprocess, "Popen", Popen)
    saving = (
        "import pathlib, sys, time\n"
        "try: pathlib.Path(sys.argv[1]).touch(); time.sleep(600)\n"
        "except KeyboardInterrupt: pathlib.Path(sys.argv[2]).touch()\n"
    )
    deaf = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)\n"
    )
    for code, grace in ((saving, 60.0), (deaf, 0.5)):
        monkeypatch.setattr(runs, "GRACE", grace)
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-c", code, str(ready), str(tmp_path / "saved")]
        before = signal.signal(signal.SIGINT, here)
        try:
            assert runs.run_for(command, 300) is None
            assert signal.getsignal(signal.SIGINT) is here
        finally:
            signal.signal(signal.SIGINT, before)
    assert (tmp_path / "saved").exists()
    assert runs.run_for([sys.executable, "-c", ""], math.inf) == 0


def test_a_piece_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mrbook.bench.gpu", "drawing", "--dry"]
    assert runs.run_for([*command, "--out", str(tmp_path)], math.inf) == 0
    assert gpu._complete(tmp_path, "drawing") and not gpu._complete(tmp_path, "check")


def test_the_pieces_share_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_for(command: list[str], seconds: float) -> int:
        asked.append((command[3], command[-2:], seconds))
        return int(command[3] == "speed")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "run_for", run_for)
    monkeypatch.setattr(gpu, "train", lambda out, seconds: asked.append(("train", out)) or True)
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu/step.json").write_text('{"payload": {"complete": true}}')
    assert gpu.main(["--out", str(tmp_path), "--minutes", "5"]) == 1
    assert [name for name, *_ in asked] == ["check", "speed", "drawing", "train"]
    assert all(290 < seconds <= 300 and end == ["--minutes", "0"] for _, end, seconds in asked[:3])
    asked.clear()
    assert gpu.main(["step", "--out", str(tmp_path)]) == 0 and asked[0][0] == "step"
    asked.clear()
    assert gpu.main(["step", "--out", str(tmp_path), "--minutes", "1"]) == 0 and not asked


def test_training_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def run_for(command: list[str], seconds: float) -> int | None:
        """One run fails, one is done at once, one takes long."""
        ran.append(command[4])
        if command[4] == "good":
            (tmp_path / "train").mkdir()
            (tmp_path / "train" / "good-fast-seed0.json").touch()
        return {"bad": 1, "good": 0, "long": None}[command[4]]

    monkeypatch.setattr(runs, "run_for", run_for)
    monkeypatch.setattr(runs, "_missing", lambda *_: None)
    chosen = [(name, "fast") for name in ("bad", "good", "long", "never")]
    assert not runs.train(tmp_path, 1e3, chosen)
    assert ran == ["bad", "good", "long"] and "long-fast: its time is up" in capsys.readouterr().out
    assert runs.train(tmp_path, 1e3, chosen[1:])  # that it isn't at the end is no failure
    assert ran[3:] == ["long"] and "good-fast is done" in capsys.readouterr().out
    assert runs.train(tmp_path, runs.LEAST - 1, chosen) and len(ran) == 4


def test_the_runs_are_recipes_and_their_commands_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(runs, "run_for", lambda command, _: commands.append(list(command)) or 0)
    monkeypatch.setenv("MRBOOK_DATA", str(tmp_path))
    assert not runs.train(tmp_path, math.inf)  # without the data only what is made is trained on
    assert [command[4] for command in commands] == ["multires-listops"]
    commands.clear()
    (tmp_path / FOLDER).mkdir()
    assert runs.train(tmp_path, math.inf)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert len(commands) == len(runs.RUNS)
    for command, (name, preset) in zip(commands, runs.RUNS, strict=True):
        assert command[:4] == [sys.executable, "-m", "mrbook", "train"]
        options = parser.parse_args(command[4:])
        assert options.resume and Path(options.records) == tmp_path
        # The name under which it looks for the record.
        assert _run_name(_recipe(options, "cuda"), options) == f"{name}-{preset}-seed0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["thing", "--dry"], "piece must be one of check, speed"), ([], "--dry runs on the CPU")],
)
def test_bad_commands(arguments: list[str], message: str, capsys: Output) -> None:
    if not arguments and torch.cuda.is_available():
        pytest.skip("there is CUDA")
    with pytest.raises(SystemExit):
        gpu.main(arguments)
    assert message in capsys.readouterr().err


def test_errors_are_relative_and_nan_never_passes() -> None:
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    assert device.relative_error(b, a) == pytest.approx(0.1)
    assert not device.relative_error(a * float("nan"), a) <= 1e9
    assert device.relative_error(torch.ones(2), torch.zeros(2)) == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match="shapes differ"):
        device.relative_error(a, a[:1])


def test_products_are_counted_as_torch_counts_them() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from mrbook.models import SequenceClassifier

    model = SequenceClassifier(10, channels=3, width=8, layers=2, length=16)
    with FlopCounterMode(display=False) as counter:
        model.features(torch.zeros(2, 3, 16))
    counted = counter.get_flop_counts()["Global"]
    products = sum(n for op, n in counted.items() if "mm" in str(op))
    assert network._product_operations(model, 2 * 16) == products


def test_the_counts_are_in_order() -> None:
    for card in CARDS:
        for backward in (False, True):
            floor, *others = estimate(card=card, backward=backward)
            assert floor.seconds == floor.bytes / CARDS[card].memory
            assert all(count.ratio >= 1 for count in others)
            assert all(count.operations > 0 for count in others)
    # The floor: 50 x 256 x 1024 numbers of two bytes, read once and written once.
    assert estimate()[0].bytes == 2 * 2 * 50 * 256 * 1024
    by_name = {count.name: count for count in estimate(length=2048)}
    half = {count.name: count for count in estimate(length=1024)}
    ratio = by_name["block-Toeplitz"].operations / half["block-Toeplitz"].operations
    assert 3.5 < ratio < 4  # quadratic, but for the tile on the diagonal
