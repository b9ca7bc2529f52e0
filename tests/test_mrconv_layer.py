"""MRConv: the contract, merged against branch by branch, fusing, and bad input."""

import copy
import itertools
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from contract import Layer, LayerContract, assert_close
from torch import Tensor, nn

from mrbook.longconv import direct_conv
from mrbook.mrconv import KERNELS, FusedConv, MRConv, branch_lengths
from mrbook.train import parameter_groups


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scatter(layer: MRConv) -> MRConv:
    """Give the weights and the running statistics values that nothing starts with."""
    with torch.no_grad():
        layer.alpha.normal_()
        layer.beta.normal_()
        if layer.norm == "batch":
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            layer.num_batches_tracked += 1
    return layer


def variant(method: str, norm: str | None = "batch", inductor: bool = False, **options) -> Layer:
    options = {"length": 20, "l0": 3, **options}

    def make() -> MRConv:
        layer = scatter(MRConv(3, norm=norm, **options))
        layer.method = method
        return layer

    linear = norm != "layer"
    return Layer(
        make,
        channels=3,
        exact=method in ("direct", "fused"),
        needs_native=method == "fused",
        linear=linear,
        steps=linear,
        inductor=inductor,
    )


def fused() -> FusedConv:
    layer = scatter(MRConv(3, length=20, l0=3)).eval().fuse()[0]
    layer.method = "direct"
    return layer


class TestContract(LayerContract):
    cases: ClassVar = {
        "dense-direct": variant("direct", inductor=True),
        "dense-fft-60": variant("fft", length=60),
        "dilated-fused": variant("fused", kernel="dilated"),
        "fourier-direct": variant("direct", kernel="fourier", l0=5, branches=2),
        "sparse-auto": variant("auto", kernel="sparse"),
        "both-plain": variant("direct", None, kernel="fourier+sparse"),
        "layer-norm": variant("direct", "layer"),
        "merged": Layer(fused, channels=3),
    }


# ---- built as the formula says ------------------------------------------------------------------


def written_out(layer: MRConv) -> nn.Module:
    """The layer as the paper's formula, with PyTorch's own modules."""

    class Formula(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(
                nn.BatchNorm1d(layer.channels, dtype=torch.float64) for _ in layer.kernels
            )
            for i, norm in enumerate(self.norms):
                norm.load_state_dict(
                    {
                        "weight": layer.alpha.detach()[:, i],  # alpha and gamma are one number
                        "bias": layer.beta.detach() / len(self.norms),
                        "running_mean": layer.running_mean[:, i],
                        "running_var": layer.running_var[:, i],
                        "num_batches_tracked": layer.num_batches_tracked,
                    }
                )

        def forward(self, u: Tensor) -> Tensor:
            kernels = [kernel.materialize() for kernel in layer.kernels]
            past = [F.pad(u, (k.shape[1] - 1, 0)) for k in kernels]
            return sum(
                norm(F.conv1d(p, k.flip(1)[:, None], groups=layer.channels))
                for norm, p, k in zip(self.norms, past, kernels, strict=True)
            )

    return Formula()


def test_is_the_formula_in_training_and_after_it() -> None:
    torch.manual_seed(0)
    layer = scatter(MRConv(4, length=40, l0=3, dtype=torch.float64))
    formula = written_out(layer)
    assert len(formula.norms) == 5
    for step in range(3):
        u = 3 * randn(5, 4, 30 + step, seed=step) + 2
        assert_close(layer(u), formula(u), 1e-11)
    layer.eval(), formula.eval()
    assert_close(layer(u), formula(u), 1e-11)
    for i, norm in enumerate(formula.norms):
        assert_close(layer.running_mean[:, i], norm.running_mean, 1e-11)
        assert_close(layer.running_var[:, i], norm.running_var, 1e-11)
    assert layer.num_batches_tracked == norm.num_batches_tracked == 4


def test_without_statistics_evaluation_takes_mean_0_and_variance_1() -> None:
    layer = MRConv(4, length=40, dtype=torch.float64).eval()
    u = randn(2, 4, 50)
    with torch.no_grad():
        expected = sum(
            layer.alpha[:, i, None] * direct_conv(u, k.materialize())
            for i, k in enumerate(layer.kernels)
        )
    assert_close(layer(u), expected / (1 + 1e-5) ** 0.5, 1e-12)


def test_layer_norm_is_over_the_channels_of_a_step() -> None:
    torch.manual_seed(0)
    layer = scatter(MRConv(4, length=12, l0=6, norm="layer", dtype=torch.float64))
    u = randn(2, 4, 20)
    for mode in (True, False):
        layer.train(mode)
        expected = layer.beta[:, None]
        for i, kernel in enumerate(layer.kernels):
            z = direct_conv(u, kernel.materialize())
            z = (z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            expected = expected + layer.alpha[:, i, None] * z
        assert_close(layer(u), expected, 1e-12)
    assert not any("running" in name for name in layer.state_dict())


@pytest.mark.parametrize("norm", ["batch", None])
def test_looks_both_ways(norm: str | None) -> None:
    torch.manual_seed(0)
    options = {"length": 20, "l0": 3, "norm": norm, "dtype": torch.float64}
    layer = scatter(MRConv(4, bidirectional=True, **options)).eval()
    n = layer.branches
    assert layer.alpha.shape == (4, 2 * n) and len(layer.kernels) == 2 * n
    ways = []
    for part in (slice(n), slice(n, None)):
        way = MRConv(4, **options).eval()
        state = {"alpha": layer.alpha[:, part], "beta": layer.beta / 2}
        for i, kernel in enumerate(list(layer.kernels)[part]):
            state[f"kernels.{i}.weight"] = kernel.weight
        if norm == "batch":
            state |= {x: getattr(layer, x)[:, part] for x in ("running_mean", "running_var")}
            state["num_batches_tracked"] = torch.tensor(1)
        way.load_state_dict(state)
        ways.append(way)
    u, lengths = randn(3, 4, 30), torch.tensor([30, 8, 0])
    assert_close(layer(u), ways[0](u) + ways[1](u.flip(-1)).flip(-1), 1e-12)
    assert_close(layer(u), layer.by_branches(u), 1e-12)
    y = layer(u, lengths)
    assert_close(y, layer.by_branches(u, lengths), 1e-12)
    assert_close(y[1, :, :8], layer(u[1:2, :, :8])[0], 1e-12)
    assert not y[1, :, 8:].any() and not y[2].any()
    for call in (lambda: layer.kernel(5), lambda: layer.bias, layer.fuse):
        with pytest.raises(RuntimeError, match="this one is bidirectional"):
            call()
    for call in (lambda: layer.initial_state(1), lambda: layer.step(u[..., 0], ())):
        with pytest.raises(RuntimeError, match="a step is of causal layers, and this one is bid"):
            call()


# ---- the start ----------------------------------------------------------------------------------


def test_lengths_of_branches() -> None:
    assert branch_lengths(1024, l0=8) == [8, 16, 32, 64, 128, 256, 512, 1024]
    assert branch_lengths(1025, l0=8)[-2:] == [1024, 1025]
    assert branch_lengths(1024, branches=2, l0=8) == [8, 16]
    assert branch_lengths(7, l0=7) == [7] and branch_lengths(8, l0=7) == [7, 8]
    assert branch_lengths(1, l0=1) == [1]
    for length, l0 in ((20, 3), (64, 1), (100, 100)):
        most = len(branch_lengths(length, l0=l0))
        assert branch_lengths(length, most, l0) == branch_lengths(length, l0=l0)
        message = f"branches must be from 1 to {most} for length={length} and l0={l0}"
        with pytest.raises(ValueError, match=message):
            branch_lengths(length, most + 1, l0)
    with pytest.raises(ValueError, match="l0 must be from 1 to 10, got 11"):
        branch_lengths(10, l0=11)
    with pytest.raises(ValueError, match="give length, branches or both, got neither"):
        branch_lengths()


@pytest.mark.parametrize("kernel", KERNELS)
def test_starts_with_outputs_of_variance_one(kernel: str) -> None:
    torch.manual_seed(0)
    layer, u = MRConv(256, length=256, l0=8, kernel=kernel), torch.randn(2, 256, 2048)
    with torch.no_grad():
        assert layer(u).var() == pytest.approx(1, abs=0.06)
        layer = MRConv(256, length=256, l0=8, kernel=kernel, norm=None)
        assert layer(u)[..., 256:].var() == pytest.approx(1, abs=0.06)
        layer = MRConv(256, length=256, l0=8, kernel=kernel, bidirectional=True)
        assert layer(u).var() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("decay", [-500.0, 500.0])
def test_a_steep_start_of_alpha_stays_finite(decay: float) -> None:
    alpha = MRConv(2, length=20, l0=5, decay=decay).alpha
    assert alpha.tolist() == [[0.0, 0.0, 1.0] if decay < 0 else [1.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_the_start_of_alpha_sets_the_decay_of_the_kernel(decay: float) -> None:
    torch.manual_seed(0)
    layer = MRConv(2000, length=4096, l0=1, decay=decay).eval()
    i = torch.arange(13)
    alpha = layer.alpha.detach()
    assert_close(alpha.square().sum(1), torch.ones(2000), 1e-6)
    assert_close(alpha, alpha[:, :1] * 2.0 ** (-decay * i), 1e-6)
    size = layer.kernel(4096).detach().square().mean(0).sqrt()
    octaves = torch.stack([size[2**j : 2 ** (j + 1)].mean().log2() for j in range(2, 10)])
    slopes = octaves.diff()
    assert slopes.mean() == pytest.approx(-0.5 - decay, abs=0.08)


def test_parameter_groups() -> None:
    layer = MRConv(3, length=40, kernel="fourier+sparse", l0=10, kernel_lr=1e-4)
    groups = parameter_groups(nn.Sequential(nn.Linear(3, 3), layer), lr=0.01, weight_decay=0.1)
    found = {(g["lr"], g["weight_decay"]): len(g["params"]) for g in groups}
    assert found == {(0.01, 0.1): 2, (0.01, 0.0): 2, (1e-4, 0.0): 6}
    names = {name for name, _ in layer.named_parameters()}
    assert names == {"alpha", "beta"} | {
        f"kernels.{i}.parts.{j}.weight" for i in range(3) for j in range(2)
    }
    assert sum(p.numel() for p in layer.parameters()) == 3 * (3 * 10 + 3 + 1)
    slow = parameter_groups(MRConv(3, length=40), lr=0.01, weight_decay=0.1)
    assert [(g["lr"], g["weight_decay"]) for g in slow] == [(0.01, 0.0), (0.001, 0.0)]
    fixed = MRConv(3, length=40, learn_alpha=False)
    assert sum(len(g["params"]) for g in parameter_groups(fixed, 0.01, 0.1)) == 4


# ---- fusing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_fuses_into_one_convolution(kernel: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = MRConv(4, length=300, l0=5, kernel=kernel, dtype=dtype)
    for seed in range(3):
        layer((2 * randn(3, 4, 400, seed=seed) + 1).to(dtype))
    scatter(layer.eval())
    before = copy.deepcopy(layer.state_dict())
    fused, error = layer.fuse()
    u = randn(2, 4, 1000, seed=7).to(dtype)
    assert_close(fused(u), layer.by_branches(u), tolerance)
    assert 0 < error < tolerance
    assert isinstance(fused, FusedConv) and not fused.training
    assert sum(p.numel() for p in fused.parameters()) == 4 * 300 + 4
    assert {p.dtype for p in fused.parameters()} == {dtype}
    assert not {p.data_ptr() for p in fused.parameters()} & {p.data_ptr() for p in before.values()}
    with torch.no_grad():
        fused.weight.zero_()
    assert all(torch.equal(layer.state_dict()[key], value) for key, value in before.items())


def test_the_error_is_measured_against_the_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = scatter(MRConv(4, length=30, l0=5)).eval()
    by_branches = layer.by_branches
    monkeypatch.setattr(layer, "by_branches", lambda u: by_branches(u) + 1)
    _, error = layer.fuse()
    assert error > 0.01


def test_branches_that_count_nothing_fuse_without_error() -> None:
    layer = MRConv(3, length=20, norm=None).eval()
    nn.init.zeros_(layer.alpha)
    assert layer.fuse()[1] == 0


def test_a_fused_kernel_may_be_cut_or_padded() -> None:
    layer = scatter(MRConv(4, length=30, l0=5, dtype=torch.float64)).eval()
    for length in (7, 30, 50):
        fused, error = layer.fuse(length)
        assert error < 1e-12
        assert torch.equal(fused.kernel(60)[:, :length], layer.kernel(length))
        assert fused.weight.shape == (4, length)


def test_fusing_is_refused_where_it_is_wrong() -> None:
    layer, u = MRConv(3, length=20), torch.randn(2, 3, 30)
    with pytest.raises(RuntimeError, match=r"fuse works in evaluation mode only.* call \.eval\(\)"):
        layer.fuse()
    layer.eval()
    layer(u)
    with pytest.raises(RuntimeError, match="these were never updated: train the layer or load"):
        layer.fuse()
    layer.train()
    layer(u)
    fused, _ = layer.eval().fuse()
    with pytest.raises(RuntimeError, match="this layer is fused already"):
        fused.fuse()
    with pytest.raises(RuntimeError, match="layer normalization is not linear"):
        MRConv(3, length=20, norm="layer").eval().fuse()
    plain = MRConv(3, length=20, norm=None)
    with pytest.raises(RuntimeError, match=r"call \.eval\(\) first"):
        plain.fuse()
    assert plain.eval().fuse()[1] < 1e-6


def test_states_of_fused_layers_and_branches_are_not_mixed_up() -> None:
    layer = scatter(MRConv(3, length=20)).eval()
    fused, _ = layer.fuse()
    other = FusedConv(3, 20)
    other.load_state_dict(fused.state_dict())
    assert torch.equal(other(torch.ones(1, 3, 9)), fused(torch.ones(1, 3, 9)))
    for strict, wrap in itertools.product((True, False), (False, True)):
        pair = [nn.Sequential(layer), nn.Sequential(fused)] if wrap else [layer, fused]
        with pytest.raises(RuntimeError, match="is of a fused layer, whose branches can't be had"):
            pair[0].load_state_dict(pair[1].state_dict(), strict=strict)
        with pytest.raises(RuntimeError, match=r"is of an MRConv, not of a fused layer"):
            pair[1].load_state_dict(pair[0].state_dict(), strict=strict)


def test_a_fused_layer_is_exported() -> None:
    torch.manual_seed(0)
    fused, _ = scatter(MRConv(3, length=20)).eval().fuse()
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim("length", min=21)}
    fused.method = "direct"
    program = torch.export.export(fused, (torch.randn(2, 3, 30),), dynamic_shapes=(dynamic,))
    for shape in ((2, 3, 30), (1, 3, 21), (5, 3, 80)):
        u = torch.randn(shape)
        assert torch.equal(program.module()(u), fused(u))
    fused.method = "fft"
    u = torch.randn(2, 3, 30)
    assert_close(torch.export.export(fused, (u,)).module()(u), fused(u), 1e-6)


def test_onnx_gets_a_depthwise_convolution(tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    fused, _ = scatter(MRConv(3, length=20)).eval().fuse()
    fused.method = "direct"
    dynamic, path = ({0: "batch", 2: "length"},), str(tmp_path / "fused.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its insides
        u = torch.randn(2, 3, 30)
        torch.onnx.export(fused, (u,), path, dynamo=True, dynamic_shapes=dynamic, verbose=False)
    (conv,) = [node for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    assert {a.name: a.i for a in conv.attribute}["group"] == 3
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for u in (torch.randn(1, 3, 7), torch.randn(4, 3, 80)):
        (y,) = session.run(None, {session.get_inputs()[0].name: u.numpy()})
        assert_close(torch.from_numpy(y), fused(u), 1e-6)


# ---- bad input ----------------------------------------------------------------------------------


def test_linear_answers_are_refused_where_the_layer_is_not_linear() -> None:
    layer, u = MRConv(3, length=20), torch.zeros(1, 3)
    calls = {
        "kernel": lambda: layer.kernel(5),
        "bias": lambda: layer.bias,
        "fuse": lambda: layer.fuse(),
        "a step": lambda: layer.step(u, ()),
    }
    for name, call in calls.items():
        with pytest.raises(
            RuntimeError, match=rf"{name} works in evaluation mode.*\.eval\(\) first"
        ):
            call()
    with pytest.raises(RuntimeError, match="a step works in evaluation mode"):
        layer.initial_state(1)
    state = layer.eval().initial_state(1)
    layer.step(u, state)
    layer.train()
    with pytest.raises(RuntimeError, match="a step works in evaluation mode"):
        layer.step(u, state)
    layer = MRConv(3, length=20, norm="layer").eval()
    for name, call in calls.items():
        with pytest.raises(RuntimeError, match=f"{name} is of linear layers, and layer norm"):
            call()
    layer = MRConv(3, length=20, norm=None)
    assert layer.training and layer.kernel(5).shape == (3, 5) and layer.bias is not None
    with pytest.raises(AttributeError, match="bias follows from beta"):
        layer.bias = 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "wave"}, "kernel must be one of dense, dilated"),
        ({"norm": "group"}, 'norm must be "batch", "layer" or None, got \'group\''),
        ({"l0": 21}, "l0 must be from 1 to 20, got 21"),
        ({"branches": 3}, "branches must be from 1 to 2 for length=20 and l0=16, got 3"),
        ({"taps": 4}, "taps goes with kernels that are not dense, got 4"),
        ({"kernel": "sparse", "taps": 17}, "taps must be from 1 to 16, got 17"),
        ({"kernel": "fourier+sparse", "l0": 1}, "taps must be at least 2, got 1"),
        ({"kernel_lr": 0.0}, "kernel_lr must be above 0 and finite, got 0.0"),
        ({"eps": -1.0}, "eps must be above 0 and finite, got -1.0"),
        ({"momentum": float("nan")}, "momentum must be above 0 and at most 1, got nan"),
        ({"momentum": 1.5}, "momentum must be above 0 and at most 1, got 1.5"),
        ({"decay": float("inf")}, "decay must be finite, got inf"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MRConv(3, **{"length": 20, **options})


def test_options_of_another_type_are_named() -> None:
    for name in ("bidirectional", "learn_alpha"):
        with pytest.raises(TypeError, match=f"{name} must be True or False, got 2"):
            MRConv(3, length=20, **{name: 2})
    with pytest.raises(TypeError, match=r"seed must be an integer, got 1\.5"):
        MRConv(3, length=20, seed=1.5)
    for name in ("decay", "eps", "momentum", "kernel_lr"):
        with pytest.raises(TypeError, match=f"{name} must be a number, got '0.1'"):
            MRConv(3, length=20, **{name: "0.1"})


def test_no_kernel_is_longer_than_memory_allows() -> None:
    assert branch_lengths(branches=21)[-1] == branch_lengths(branches=1, l0=2**24)[0] == 2**24
    with pytest.raises(ValueError, match="branches must be from 1 to 21, got 60"):
        MRConv(3, branches=60)
    with pytest.raises(ValueError, match="branches must be from 1 to 23, got 24"):
        branch_lengths(branches=24, l0=3)
    with pytest.raises(ValueError, match="l0 must be from 1 to 16777216, got 16777217"):
        branch_lengths(branches=1, l0=2**24 + 1)


def test_bad_input_is_named() -> None:
    for layer in (MRConv(3, length=20), MRConv(3, length=20).eval()):
        with pytest.raises(ValueError, match=r"u must have shape \(batch, 3, length\)"):
            layer(torch.zeros(1, 4, 5))
        with pytest.raises(ValueError, match=r"u must go with parameters of torch\.float32"):
            layer(torch.zeros(1, 3, 5).double())
        with pytest.raises(ValueError, match="lengths must be from 0 to 5"):
            layer(torch.zeros(1, 3, 5), lengths=torch.tensor([6]))


def test_device_and_dtype() -> None:
    layer = MRConv(3, length=20, kernel="fourier+sparse", device="meta")
    assert all(x.is_meta for x in (*layer.parameters(), *layer.buffers()))
    layer, u = MRConv(3, length=20, dtype=torch.bfloat16), torch.randn(2, 3, 30).bfloat16()
    assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}
    for mode in (True, False):
        layer.train(mode)
        assert layer(u).dtype == torch.bfloat16
        assert_close(layer(u).float(), layer.float()(u.float()), 0.02)
        layer.bfloat16()
    fused, error = layer.fuse()
    assert fused.weight.dtype == torch.bfloat16 and error < 0.05
