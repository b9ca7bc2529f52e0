"""SGConv and LongConv: the contract, their kernels against NumPy, and how they start and learn."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import LayerContract, assert_close, convolution, steps
from torch import Tensor

from mrbook.baselines import LongConv, SGConv
from mrbook.train import parameter_groups

DOUBLE = torch.float64


class TestContract(LayerContract):
    cases: ClassVar = {
        "sgconv-direct-short": convolution(
            SGConv, "direct", inductor=True, length=12, kernel_dim=4
        ),
        "sgconv-fft": convolution(SGConv, "fft", length=50, kernel_dim=3, alpha=0.8),
        "sgconv-fused-1": convolution(SGConv, "fused", length=50, kernel_dim=1),
        "sgconv-auto-whole": convolution(SGConv, "auto", length=50, kernel_dim=64),
        "longconv-direct": convolution(LongConv, "direct", inductor=True, length=50),
        "longconv-fft-smooth": convolution(
            LongConv, "fft", length=50, lam=1e-4, smooth=2, init="random"
        ),
        "longconv-fused-short": convolution(LongConv, "fused", length=10, lam=0),
        "longconv-auto-1": convolution(LongConv, "auto", length=1),
    }


def scattered(layer: SGConv | LongConv, scale: float) -> SGConv | LongConv:
    """The layer in float64 with parameters that are no start."""
    generator = torch.Generator().manual_seed(1)
    layer = layer.double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return layer


# ---- SGConv -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "kernel_dim"), [(1, 1), (5, 8), (33, 8), (64, 8), (50, 1)])
def test_sgconv_is_the_published_kernel(length: int, kernel_dim: int) -> None:
    layer = scattered(SGConv(2, length=length, kernel_dim=kernel_dim, alpha=0.7), 1.0)
    scales = 1
    while kernel_dim * 2 ** (scales - 1) < length:
        scales += 1
    assert layer.w.shape == (2, scales, kernel_dim)
    reach = kernel_dim * 2 ** (scales - 1)
    assert layer.kernel_length == reach
    expected = np.zeros((2, 2 * reach))
    for channel in range(2):
        kernel: list[float] = []
        for i in range(scales):
            stretch = 2 ** max(i - 1, 0)
            points = layer.w[channel, i].detach().numpy()
            for t in range(stretch * kernel_dim):
                place = (t + 0.5) / stretch - 0.5  # between the points, each in its cell's middle
                kernel.append(0.7**i * np.interp(place, np.arange(kernel_dim), points))
        assert len(kernel) == reach
        expected[channel, :reach] = np.array(kernel) / layer.norm[channel].item()
        expected[channel, 0] += layer.D[channel].item()
    for lags in (1, reach, 2 * reach):
        assert_close(layer.kernel(lags), torch.from_numpy(expected[:, :lags]), 1e-12)


def test_sgconv_starts_with_kernels_of_unit_energy() -> None:
    torch.manual_seed(0)
    layer = SGConv(500, length=1000)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "w": (500, 6, 32),
        "D": (500,),
    }
    for values in (layer.w.detach(), layer.D.detach()):
        assert values.mean() == pytest.approx(0, abs=0.1)
        assert values.var() == pytest.approx(1, rel=0.15)
    k = layer.kernel(1024)
    k[:, 0] -= layer.D
    assert_close(k.square().sum(1), torch.ones(500), 1e-5)
    # octave by octave the envelope halves: it falls like 1 / lag
    size = k.square().mean(0).sqrt()
    octaves = torch.stack([size[2**i : 2 ** (i + 1)].mean() for i in range(6, 10)])
    torch.testing.assert_close(octaves[1:] / octaves[:-1], torch.full((3,), 0.5), atol=0.03, rtol=0)


def test_sgconv_keeps_the_norm_of_its_start() -> None:
    layer = SGConv(3, length=100, kernel_dim=4)
    other = SGConv(3, length=100, kernel_dim=4)
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        layer.D.zero_()
        before = layer.kernel(100)
        layer.w *= 3
        assert_close(layer.kernel(100), 3 * before, 1e-6)
    assert torch.equal(other.norm, layer.norm)


# ---- LongConv -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "smooth"), [(1, 0), (20, 0), (20, 3), (4, 3)])
def test_longconv_is_the_published_kernel(length: int, smooth: int) -> None:
    layer = scattered(LongConv(2, length=length, lam=0.2, smooth=smooth), 0.3)
    expected = np.zeros((2, 2 * length))
    for channel in range(2):
        padded = np.pad(layer.weight[channel].detach().numpy(), smooth)
        for lag in range(length):
            mean = padded[lag : lag + 2 * smooth + 1].mean()
            expected[channel, lag] = np.sign(mean) * max(abs(mean) - 0.2, 0)
        expected[channel, 0] += layer.D[channel].item()
    assert (expected[:, :length] == 0).any() or length < 20
    assert layer.kernel_length == length
    for lags in (1, length, 2 * length):
        assert_close(layer.kernel(lags), torch.from_numpy(expected[:, :lags]), 1e-12)


def test_longconv_starts_as_published() -> None:
    torch.manual_seed(0)
    runs = torch.stack([LongConv(6, length=40).weight.detach() for _ in range(2000)])
    expected = torch.tensor(
        [[0.02 * math.exp(-(j / 40) * 3 ** (i / 6)) for j in range(40)] for i in range(6)]
    )
    torch.testing.assert_close(runs.std(0), expected, rtol=0.08, atol=0)
    assert (runs.mean(0).abs() < 0.1 * expected).all()
    weight = LongConv(50, length=1000, init="random").weight.detach()
    assert weight.std() == pytest.approx(0.002, rel=0.02)
    assert weight.mean() == pytest.approx(0, abs=1e-4)
    assert LongConv(1, length=5).weight.isfinite().all()


def test_weights_of_longconv_within_the_threshold_stay() -> None:
    torch.manual_seed(0)
    layer = LongConv(50, length=1000, init="random").eval()
    layer.kernel(1000).square().sum().backward()
    still = layer.weight.grad == 0
    assert still.equal(layer.weight.abs() <= 0.003)
    assert still.float().mean() == pytest.approx(6 / 7, abs=0.02)


def test_dropout_of_longconv() -> None:
    torch.manual_seed(0)
    layer, u = LongConv(20, length=500, lam=0), torch.zeros(1, 20, 500)
    u[..., 0] = 1  # the answer is the kernel
    whole = layer.eval().kernel(500).detach()
    layer.train()
    first, second = (layer(u)[0].detach() for _ in range(2))
    assert not first.equal(second)
    layer.method = "direct"
    with torch.no_grad():
        layer.D.zero_()
        whole[:, 0] = layer.eval().kernel(1)[:, 0]
        k = layer.train()(u)[0]
    dropped = k == 0
    assert dropped.float().mean() == pytest.approx(0.2, abs=0.02)
    assert_close(k[~dropped], whole[~dropped] / 0.8, 1e-6)


def test_longconv_has_no_kernel_while_it_drops() -> None:
    layer = LongConv(2, length=5)
    with pytest.raises(RuntimeError, match=r"kernel works in evaluation mode only.*\.eval\(\)"):
        layer.kernel(5)
    u, state = torch.zeros(1, 2), layer.initial_state(1)
    with pytest.raises(RuntimeError, match=r"step works in evaluation mode only.*\.eval\(\)"):
        layer.step(u, state)
    for able in (layer.eval(), LongConv(2, length=5, kernel_dropout=0.0).train()):
        assert able.kernel(5).shape == (2, 5)
        assert able.step(u, state)[0].shape == (1, 2)
    layer = LongConv(2, length=5, kernel_dropout=0.5, lam=0).train()
    with torch.no_grad():
        layer.weight.zero_()
        u = torch.randn(1, 2, 7)
        assert_close(layer(u), layer.D[:, None] * u, 1e-6)  # D is never dropped


# ---- both ---------------------------------------------------------------------------------------


def count(layer: torch.nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters())


def test_numbers_of_parameters() -> None:
    assert count(SGConv(7, length=1000, kernel_dim=16)) == 7 * (7 * 16 + 1)
    assert count(LongConv(7, length=1000)) == 7 * 1001


def test_recipes_reach_the_optimizer() -> None:
    def options(layer: torch.nn.Module) -> dict[str, tuple[float, float]]:
        names = {p: name for name, p in layer.named_parameters()}
        groups = parameter_groups(layer, lr=0.01, weight_decay=0.05)
        return {names[p]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}

    assert options(SGConv(2, length=9)) == {"w": (0.001, 0.05), "D": (0.01, 0.05)}
    assert options(LongConv(2, length=9)) == {"weight": (0.001, 0.0), "D": (0.01, 0.05)}


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("make", [SGConv, LongConv])
class TestBoth:
    def test_parameters_take_device_and_dtype(self, make: type[SGConv] | type[LongConv]) -> None:
        layer = make(4, length=20, device="meta")
        assert all(x.is_meta for x in layer.state_dict().values())
        layer = make(4, length=20, dtype=torch.bfloat16).eval()
        assert all(x.dtype == torch.bfloat16 for x in layer.state_dict().values())
        u = randn(2, 4, 30).bfloat16()
        assert layer(u).dtype == torch.bfloat16
        exact = layer.double()(u.double())
        assert_close(layer.bfloat16()(u).double(), exact, 1e-2)
        with torch.no_grad():
            stepped = steps(layer, u)
        assert stepped.dtype == torch.bfloat16
        assert_close(stepped.double(), exact, 1e-2)

    @torch.no_grad()
    def test_autocast_and_short_inputs_are_computed_in_float32(
        self, make: type[SGConv] | type[LongConv]
    ) -> None:
        layer, u = make(4, length=20).eval(), randn(2, 4, 30)
        expected = layer(u)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(u), expected)
            assert layer.kernel(9).dtype == torch.float32
        short = u.bfloat16()
        assert torch.equal(layer(short), layer(short.float()).bfloat16())

    def test_bad_sizes_are_named(self, make: type[SGConv] | type[LongConv]) -> None:
        with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
            make(0, length=5)
        with pytest.raises(TypeError, match="length must be an integer, got None"):
            make(3, length=None)
        layer = make(3, length=5)
        with pytest.raises(ValueError, match=r"u must have shape \(batch, 3, length\)"):
            layer(torch.zeros(1, 4, 5))
        with pytest.raises(ValueError, match="lengths must be from 0 to 5"):
            layer(torch.zeros(1, 3, 5), lengths=torch.tensor([6]))
        with pytest.raises(ValueError, match="length must be at least 1, got 0"):
            layer.eval().kernel(0)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="kernel_dim must be at least 1, got 0"):
        SGConv(3, length=5, kernel_dim=0)
    for alpha in (0, 1.5, -1, math.nan):
        with pytest.raises(ValueError, match="alpha must be above 0 and at most 1, got"):
            SGConv(3, length=5, alpha=alpha)
    with pytest.raises(TypeError, match="alpha must be a number, got None"):
        SGConv(3, length=5, alpha=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"lam must be a number, got '0.003'"):
        LongConv(3, length=5, lam="0.003")  # type: ignore[arg-type]
    for lam in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="lam must be at least 0 and finite, got"):
            LongConv(3, length=5, lam=lam)
    with pytest.raises(ValueError, match="smooth must be at least 0, got -1"):
        LongConv(3, length=5, smooth=-1)
    with pytest.raises(ValueError, match="init must be one of decay, random, got 'ones'"):
        LongConv(3, length=5, init="ones")
    for dropout in (-0.1, 1, math.nan):
        with pytest.raises(ValueError, match="kernel_dropout must be at least 0 and below 1, got"):
            LongConv(3, length=5, kernel_dropout=dropout)
