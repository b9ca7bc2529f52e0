"""What is measured on a GPU, dry: every piece runs, is recorded, and tells what is wrong."""

import json
from pathlib import Path

import pytest
import torch

from mrbook.bench import device, gpu, network
from mrbook.bench.estimate import CARDS, estimate
from mrbook.native import triton_conv  # noqa: F401  # as where its documentation is read

Output = pytest.CaptureFixture[str]


def test_every_piece_runs_dry_and_leaves_a_record(tmp_path: Path, capsys: Output) -> None:
    assert gpu.main(["--dry", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    records = {p.stem: json.loads(p.read_text())["payload"] for p in tmp_path.glob("gpu/*.json")}
    assert set(records) == set(gpu.PIECES)
    assert all(record["dry"] and record["device"] == "cpu" for record in records.values())
    assert records["check"]["wrong"] == 0 and len(records["check"]["rows"]) >= 4 * len(gpu.LAYERS)
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
    def broken(device: str, dry: bool) -> dict:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(gpu.PIECES, "speed", broken)
    monkeypatch.setattr(gpu, "relative_error", lambda *_: float("nan"))
    assert gpu.main(["speed", "check", "--dry", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "out of memory" in captured.err
    assert "WRONG multires, output" in captured.out and "0 right" in captured.out
    (path,) = tmp_path.glob("gpu/*.json")  # what is wrong is kept, too
    rows = json.loads(path.read_text())["payload"]["rows"]
    assert path.stem == "check" and {(row["right"], row["error"]) for row in rows} == {
        (False, None)
    }


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
