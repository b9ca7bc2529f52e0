"""The benchmark engine: same answer first, methods in turn, honest numbers."""

import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from mrbook import bench
from mrbook.bench import drawing, layers, longconv, multires, online, sampling
from mrbook.bench import dwt as suite
from mrbook.bench.engine import Case, Timing, check_equal, compare, peak_memory, run, table
from mrbook.models.layers import LAYERS, make_layer
from mrbook.mrconv import KERNELS


def test_methods_run_in_turn_and_warm_up_first() -> None:
    calls = []
    methods = {name: lambda name=name: calls.append(name) for name in ("a", "b", "c")}
    timings = compare(methods, repeats=4, warmup=2)
    assert calls == ["a", "b", "c"] * 6
    assert list(timings) == ["a", "b", "c"]
    assert all(len(timing.seconds) == 4 for timing in timings.values())
    assert all(second >= 0 for second in timings["b"].seconds)


def test_the_collector_rests_and_comes_back() -> None:
    seen = []
    compare({"a": lambda: seen.append(gc.isenabled())}, repeats=2, warmup=0)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        compare({"a": lambda: 1 / 0}, repeats=2)
    assert gc.isenabled()


def test_one_round_says_nothing() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 2, got 1"):
        compare({"a": lambda: None}, repeats=1)


def test_median_quartiles_and_ratio() -> None:
    ours, theirs = Timing((1.0, 2.0, 3.0, 4.0, 100.0)), Timing((2.0, 2.0, 9.0, 8.0, 50.0))
    assert ours.median == 3.0
    assert ours.quartiles == (2.0, 4.0)
    # Round by round 2, 1, 3, 2, 1/2: a slow round slows both and does not count double.
    assert theirs.ratio(ours) == 2.0
    assert ours.ratio(ours) == 1.0
    lines = table({"ours": ours, "theirs": theirs}).splitlines()
    assert lines[1].split()[-1] == "1.00" and lines[2].split()[-1] == "2.00"
    assert "3000.000 ms" in lines[1]


def test_results_must_agree() -> None:
    a, b = torch.tensor([1.0, -4.0]), torch.tensor([1.0, -3.0])
    assert check_equal({"a": [a, a], "b": [a, b], "c": (a.numpy(), a.numpy())}, 0.3) == {
        "b": 0.25,
        "c": 0.0,
    }
    with pytest.raises(ValueError, match=r"a and b differ by 2\.5e-01 > 1\.0e-01"):
        check_equal({"a": a, "b": b}, 0.1)
    with pytest.raises(ValueError, match="differ by nan"):
        check_equal({"a": a, "b": a * float("nan")}, 0.1)
    with pytest.raises(ValueError, match="a and b differ in shape"):
        check_equal({"a": a, "b": a[:1]}, 0.1)
    with pytest.raises(ValueError, match="differ by nan"):
        check_equal({"a": [a, a], "b": [a, a * float("nan")]}, 0.1)
    with pytest.raises(ValueError, match="a and b differ in shape"):
        check_equal({"a": [a, a], "b": [a]}, 0.1)
    assert check_equal({"a": a, "b": b}, None) == {}  # meant to differ, but not in shape
    with pytest.raises(ValueError, match="a and b differ in shape"):
        check_equal({"a": a, "b": a[:1]}, None)


def test_a_suite_is_checked_timed_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    one = torch.ones(3)
    cases = [Case("halves", {"mul": lambda: one * 0.5, "div": lambda: one / 2})]
    monkeypatch.setitem(sys.modules, "the_suite", SimpleNamespace(cases=lambda device: cases))
    monkeypatch.setitem(bench.SUITES, "halves", "the_suite")
    shown: list[str] = []
    result = run("halves", repeats=3, show=shown.append)
    assert (result["suite"], result["device"], result["repeats"]) == ("halves", "cpu", 3)
    (case,) = result["cases"]
    assert case["title"] == "halves" and case["differences"] == {"div": 0.0}
    assert list(case["methods"]) == ["mul", "div"]
    assert case["methods"]["mul"]["ratio"] == 1.0
    low, high = case["methods"]["div"]["quartiles"]
    assert 0 < low <= case["methods"]["div"]["median"] <= high
    assert shown[0].startswith("halves\nmethod")

    cases.append(Case("wrong", {"a": lambda: one, "b": lambda: 2 * one}))
    with pytest.raises(ValueError, match="a and b differ by"):
        run("halves", repeats=3, show=shown.append)
    cases[1:] = [Case("others", {"a": lambda: one, "b": lambda: 2 * one}, tolerance=None)]
    others = run("halves", repeats=3, show=shown.append)["cases"][1]
    assert others["differences"] == {} and list(others["methods"]) == ["a", "b"]
    with pytest.raises(ValueError, match=r"suite must be one of .*halves, got 'thirds'"):
        run("thirds")


def test_the_transforms_agree() -> None:
    """What `mrbook bench dwt` times gives equal results, with the gradient, on a small signal."""
    forward, backward = suite.cases("cpu", batch=2, length=1000)
    for case, names in [
        (forward, ["mrbook", "ptwt", "PyWavelets"]),
        (backward, ["mrbook", "ptwt"]),
    ]:
        assert list(case.methods) == names
        results = {name: method() for name, method in case.methods.items()}
        check_equal(results, case.tolerance)
    assert backward.methods["mrbook"]().shape == (2, 1000)


def test_a_missing_ptwt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ptwt", None)
    with pytest.raises(ImportError, match=r'pip install "mrbook\[bench\]"'):
        next(suite.cases("cpu"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_peak_memory_counts_what_is_freed_again_and_what_is_returned() -> None:
    def work() -> torch.Tensor:
        torch.ones(1 << 23).sum()  # 32 MiB, freed again
        return torch.ones(1 << 22)  # 16 MiB

    for _ in range(2):  # the second time as the first, though memory was freed in between
        peak = peak_memory(work)
        assert peak is not None
        assert 31 < peak / 2**20 < 40
    nothing = peak_memory(lambda: None)
    assert nothing is not None
    assert nothing < 2**20


def test_a_case_may_ask_for_memory_and_for_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    case = Case("slow", {"a": lambda: calls.append(1) or torch.ones(1)}, memory=True, rounds=2)
    fake = SimpleNamespace(cases=lambda device: [case])
    monkeypatch.setitem(bench.SUITES, "fake", "fake_suite")
    monkeypatch.setitem(sys.modules, "fake_suite", fake)
    monkeypatch.setattr("mrbook.bench.engine.peak_memory", lambda method, device: 3 << 20)
    shown: list[str] = []
    result = run("fake", repeats=50, show=shown.append)
    assert "3.0 MiB" in shown[0]
    assert result["cases"][0]["methods"]["a"]["peak_memory"] == 3 << 20
    assert len(calls) == 1 + 2 + 2  # the check, two to warm up, two rounds


def test_every_layer_takes_a_whole_training_step() -> None:
    """Outputs differ, so nothing but this test sees what a method of this suite computes."""
    short, long = layers.cases("cpu", channels=4, sizes=((2, 20), (1, 50)))
    mrconv = {
        name: make_layer(layer, 4, 20, **options).kind
        for name, layer, options in layers.variants()
        if layer == "mrconv"
    }
    assert mrconv == {f"mrconv, {kind}": kind for kind in KERNELS}
    assert {*short.methods} == {*LAYERS, *mrconv} - {"mrconv"}
    assert (short.tolerance, short.memory) == (None, True)
    for case, shape in ((short, (2, 4, 20)), (long, (1, 4, 50))):
        results = {name: method() for name, method in case.methods.items()}
        assert check_equal(results, None) == {}
        for y, gradient in results.values():
            assert y.shape == shape and y.requires_grad and y.isfinite().all()
            assert gradient.isfinite().all() and (gradient != 0).any(-1).all()
    torch.manual_seed(0)
    x, g = (torch.randn(2, 4, 20) for _ in range(2))
    layer = LAYERS["multires"](4, length=20)  # the first that is made
    y = layer(x.requires_grad_())
    first = next(iter(short.methods.values()))()
    check_equal({"layer": [y, *torch.autograd.grad(y, x, g)], "bench": first}, 1e-6)


@pytest.mark.parametrize(
    "cases",
    [
        lambda: longconv.cases("cpu", batch=2, channels=2),
        lambda: multires.cases("cpu", batch=1, channels=2),
        lambda: online.cases("cpu", channels=2, sizes=((1, 20), (3, 200))),
        lambda: sampling.cases("cpu", layers=2, channels=3, length=16),
        lambda: drawing.cases("cpu", layers=2, width=4, tasks=((2, 6),)),
    ],
)
def test_the_methods_of_every_suite_agree(cases: Callable[[], Iterator[Case]]) -> None:
    for case in itertools.islice(cases(), 8):
        results = {name: method() for name, method in case.methods.items()}
        assert len(results) > 1
        check_equal(results, case.tolerance)
