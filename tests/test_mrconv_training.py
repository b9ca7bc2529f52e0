"""MRConv in training: one convolution with the statistics of branches that nobody computes."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from contract import assert_close
from test_mrconv_layer import randn, scatter
from torch import Tensor, nn

from mrbook.bench.engine import check_equal
from mrbook.bench.mrconv import cases
from mrbook.longconv import METHODS, direct_conv
from mrbook.mrconv import (
    MRConv,
    branch_moments,
    merge_kernels,
    mrconv_branches,
    mrconv_merged,
    spectral_conv,
)

SIZES = [
    {"length": 20, "l0": 3},
    {"length": 64, "l0": 1},
    {"length": 5, "l0": 5},
    {"branches": 3, "l0": 2},
    {"length": 20, "l0": 4, "kernel": "fourier+sparse"},
    {"length": 20, "l0": 3, "bidirectional": True},
]


def gradients(method: nn.Module, layer: MRConv, u: Tensor, *args: Tensor | None) -> list[Tensor]:
    """The output, and the gradients for the input and all parameters."""
    u = u.detach().requires_grad_()
    y, g = method(u, *args), randn(*u.shape, seed=99).to(u.dtype)
    return [y, *torch.autograd.grad(y, [u, *layer.parameters()], g)]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("options", SIZES, ids=str)
def test_merged_equals_the_branches(options: dict, ragged: bool) -> None:
    torch.manual_seed(0)
    layer = scatter(MRConv(3, dtype=torch.float64, **options))
    for length in (2, 7, 20, 33):
        u = randn(4, 3, length) + 0.5
        lengths = torch.tensor([length, 1, 0, length // 2]) if ragged else None
        merged = gradients(layer, layer, u, lengths)
        branches = gradients(layer.by_branches, layer, u, lengths)
        for actual, expected in zip(merged, branches, strict=True):
            assert_close(actual, expected, 1e-10)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("taps", [[1], [1, 2, 4], [3, 3, 7], [5, 11, 16], [33]], ids=str)
def test_moments_are_those_of_the_branches(length: int, taps: list[int]) -> None:
    u = randn(2, 3, length).requires_grad_()
    kernels = [randn(3, min(m, length), seed=m).requires_grad_() for m in taps]
    *moments, spectrum = branch_moments(u, kernels)
    outputs = [direct_conv(u, k) for k in kernels]
    expected = [
        torch.stack([z.sum((0, 2)) for z in outputs], 1),
        torch.stack([z.square().sum((0, 2)) for z in outputs], 1),
        outputs[-1],
    ]
    actual = [*moments, spectral_conv(u, spectrum, kernels[-1])]
    cotangents = [torch.randn_like(x) for x in actual]
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, 1e-11)
    inputs = [u, *kernels]
    for a, e in zip(
        torch.autograd.grad(actual, inputs, cotangents),
        torch.autograd.grad(expected, inputs, cotangents),
        strict=True,
    ):
        assert_close(a, e, 1e-11)
    assert not spectrum.requires_grad


def as_function(layer: MRConv, lengths: Tensor | None) -> Callable[..., Tensor]:
    names = [name for name, _ in layer.named_parameters()]

    def run(u: Tensor, *values: Tensor) -> Tensor:
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, state, (u, lengths))

    return run


def test_gradients_and_no_second_ones() -> None:
    torch.manual_seed(0)
    for bidirectional in (False, True):
        layer = scatter(
            MRConv(2, length=11, l0=2, bidirectional=bidirectional, dtype=torch.float64)
        )
        u = randn(3, 2, 11).requires_grad_()
        for lengths in (None, torch.tensor([11, 4, 0])):
            assert torch.autograd.gradcheck(
                as_function(layer, lengths), (u, *layer.parameters()), fast_mode=True
            )
        (du,) = torch.autograd.grad(layer(u).square().sum(), u, create_graph=True)
        with pytest.raises(NotImplementedError, match=r"second derivative.*layer\.by_branches"):
            du.sum().backward()
        y = layer.by_branches(u)
        (du,) = torch.autograd.grad(y.square().sum(), u, create_graph=True)
        du.square().sum().backward()
        assert all(p.grad.isfinite().all() for p in layer.parameters())
    k = randn(2, 4).requires_grad_()
    sums, energies, spectrum = branch_moments(u, [k])
    for y in (sums, energies, spectral_conv(u, spectrum, k)):  # even of what is linear in u
        (du,) = torch.autograd.grad(y.sum(), u, create_graph=True, retain_graph=True)
        with pytest.raises(NotImplementedError, match="second derivative"):
            du.square().sum().backward()


def test_batch_statistics_see_the_future_and_evaluation_does_not() -> None:
    torch.manual_seed(0)
    layer, u = MRConv(2, length=20, l0=3, dtype=torch.float64), randn(3, 2, 30).requires_grad_()
    for mode in (True, False):
        layer.train(mode)
        layer.method = "direct"
        (gradient,) = torch.autograd.grad(layer(u)[1, 0, 10], u)
        future = gradient[:, 0, 11:]
        assert bool(future.any()) == mode
        assert bool(gradient[0].any()) == mode  # other sequences
        assert not gradient[:, 1].any()  # other channels: never


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_is_never_counted(bidirectional: bool) -> None:
    torch.manual_seed(0)
    layer = MRConv(3, length=16, l0=2, bidirectional=bidirectional, dtype=torch.float64)
    lengths, u = torch.tensor([12, 5, 0, 1]), randn(4, 3, 12)
    results = []
    for fill, longer in ((0.0, 0), (float("nan"), 0), (1e30, 0), (7.0, 9)):
        copied, padded = copy.deepcopy(layer), torch.full((4, 3, 12 + longer), fill).double()
        for i, n in enumerate(lengths):
            padded[i, :, :n] = u[i, :, :n]
        y, du, *others = gradients(copied, copied, padded, lengths)
        for i, n in enumerate(lengths):
            assert not y[i, :, n:].any() and not du[i, :, n:].any()
        buffers = [copied.running_mean, copied.running_var]
        results.append([y[..., :12], *buffers, *(others if not longer else [])])
    for other in results[1:3]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))
    for a, b in zip(results[3], results[0], strict=False):
        assert_close(a, b, 1e-10)
    with pytest.raises(ValueError, match="lengths must leave at least 2 time steps, got 1"):
        layer(u, torch.tensor([0, 1, 0, 0]))
    with pytest.raises(ValueError, match="u must have at least 2 time steps, got 1"):
        layer(u[:1, :, :1])
    assert layer.num_batches_tracked == 0


def test_running_statistics_follow_only_in_training() -> None:
    layer, u = MRConv(3, length=16, l0=2), torch.randn(2, 3, 40) + 1
    states = [copy.deepcopy(layer.state_dict())]
    for call in (layer.by_branches, layer.eval(), layer.train()):
        call(u)
        states.append(copy.deepcopy(layer.state_dict()))
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(states[0][key], states[1][key])
        assert not torch.equal(states[0][key], states[3][key])


def test_frozen_input_or_parameters_cost_no_gradient() -> None:
    layer, u = MRConv(3, length=16, l0=2), torch.randn(2, 3, 40)
    layer(u).sum().backward()
    assert u.grad is None and all(p.grad is not None for p in layer.parameters())
    layer.requires_grad_(False)
    assert not layer(u).requires_grad
    layer(u.requires_grad_()).square().sum().backward()
    assert u.grad is not None


@pytest.mark.parametrize(
    ("mean", "bound"), [(0.0, 2e-6), (1.0, 2e-6), (10.0, 5e-5), (1000.0, 5e-4)]
)
def test_float32_stays_close_with_any_offset_of_the_input(mean: float, bound: float) -> None:
    """The variance is a difference, of energies that an offset blows up; see `mrconv_merged`."""
    torch.manual_seed(0)
    layer, u = MRConv(8, length=2048, l0=16), torch.randn(2, 8, 2048) + mean
    exact = copy.deepcopy(layer).double()
    merged = gradients(layer, layer, u)
    branches = gradients(exact.by_branches, exact, u.double())
    for actual, expected in zip(merged, branches, strict=True):
        assert_close(actual.double(), expected, bound)


def test_autocast_and_short_inputs_are_computed_in_float32() -> None:
    torch.manual_seed(0)
    layer, u = MRConv(3, length=16, l0=2), torch.randn(2, 3, 40)
    expected = layer(u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(u), expected)
        assert torch.equal(layer(u.bfloat16()), layer(u.bfloat16().float()).bfloat16())


@pytest.mark.filterwarnings("ignore")  # the compiler's own, about its insides
@pytest.mark.parametrize("ragged", [False, True])
def test_training_compiles_whole(ragged: bool) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    layer, u = MRConv(3, length=16, l0=4, dtype=torch.float64), randn(3, 3, 20)
    lengths, other = torch.tensor([20, 3, 11]) if ragged else None, copy.deepcopy(layer)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for actual, expected in zip(
        gradients(compiled, layer, u, lengths), gradients(other, other, u, lengths), strict=True
    ):
        assert_close(actual, expected)
    assert_close(layer.running_var, other.running_var)


# ---- many processes -----------------------------------------------------------------------------

SCRIPT = """
import sys, torch
from torch import distributed
from mrbook.mrconv import MRConv
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
store = f"file://{folder}/store"
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
data = torch.load(f"{folder}/data.pt", weights_only=True)
layer = MRConv(3, length=16, l0=2, dtype=torch.float64)
layer.load_state_dict(data["state"])
part = slice(0, 2) if rank == 0 else slice(2, 5)
result = {}
for ragged in (False, True):
    for form in ("forward", "by_branches"):
        u = data["u"][part].requires_grad_()
        lengths = data["lengths"][part] if ragged else None
        y = getattr(layer, form)(u, lengths)
        gradients = torch.autograd.grad(y, [u, *layer.parameters()], data["g"][part])
        result[f"{form} {ragged}"] = [y.detach(), *gradients]
result["buffers"] = [layer.running_mean, layer.running_var]
torch.save(result, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_are_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = scatter(MRConv(3, length=16, l0=2, dtype=torch.float64))
    u, g, lengths = randn(5, 3, 20), randn(5, 3, 20, seed=1), torch.tensor([20, 1, 7, 0, 15])
    data = {"state": layer.state_dict(), "u": u, "g": g, "lengths": lengths}
    torch.save(data, tmp_path / "data.pt")
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    started = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for ragged in (False, True):
        for form in ("forward", "by_branches"):
            u = u.detach().requires_grad_()
            y = getattr(layer, form)(u, lengths if ragged else None)
            du, *others = torch.autograd.grad(y, [u, *layer.parameters()], g)
            a, b = first[f"{form} {ragged}"], second[f"{form} {ragged}"]
            assert_close(torch.cat([a[0], b[0]]), y)
            assert_close(torch.cat([a[1], b[1]]), du)
            for p, q, expected in zip(a[2:], b[2:], others, strict=True):
                assert_close(p + q, expected)
    for result in (first, second):
        assert_close(result["buffers"][0], layer.running_mean)
        assert_close(result["buffers"][1], layer.running_var)


# ---- bad input ----------------------------------------------------------------------------------


def test_kernels_and_weights_that_do_not_go_together() -> None:
    u, kernels, alpha = randn(2, 3, 9), [randn(3, 2), randn(3, 4)], torch.ones(3, 2).double()
    count = torch.tensor(18)
    for call in (
        lambda k, a: mrconv_branches(u, k, a, lambda z, i: z),
        lambda k, a: mrconv_merged(u, k, a, count),
        merge_kernels,
    ):
        with pytest.raises(ValueError, match="kernels must be at least one, got none"):
            call([], alpha)
        with pytest.raises(ValueError, match=r"must have shape \(channels, 2\).* got \(3, 3\)"):
            call(kernels, torch.ones(3, 3).double())
    for call in (lambda k, a: mrconv_merged(u, k, a, count), merge_kernels):
        with pytest.raises(ValueError, match=r"in order of length, shortest first, got \[4, 2\]"):
            call(kernels[::-1], alpha)
    for bad in ([], [randn(1, 2)], [randn(3, 10)]):
        with pytest.raises(ValueError, match=r"tensors of shape \(3, m\) with m up to 9, got \["):
            branch_moments(u, bad)


# ---- the benchmark ------------------------------------------------------------------------------


def test_the_methods_of_the_benchmark_agree() -> None:
    options = {"batch": 2, "channels": 3, "branches": 4, "small": (1, 2)}
    found = list(cases("cpu", lengths=(40,), **options))
    assert [case.title.split(":")[0] for case in found] == [
        "inference",
        "training",
        "FFT and direct",
    ]
    assert [len(case.methods) for case in found[:2]] == [4, 4]
    assert list(found[2].methods)[:2] == ["FFT", "direct"]
    for case in found:
        results = {name: method() for name, method in case.methods.items()}
        check_equal(results, case.tolerance)


def test_the_benchmark_convolves_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, case = cases("cpu", batch=2, channels=3, lengths=(40,), branches=4, small=(1, 2))
    taken: list[str] = []
    for name, method in METHODS.items():

        def spy(u: Tensor, k: Tensor, name: str = name, method: Callable = method) -> Tensor:
            taken.append(name)
            return method(u, k)

        monkeypatch.setitem(METHODS, name, spy)
    for run in case.methods.values():
        assert run().shape == (1, 2, 40)
    assert taken == ["fft", "direct", "fused"][: len(case.methods)]
