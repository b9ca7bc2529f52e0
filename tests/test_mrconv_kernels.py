"""Kernels of MRConv: against NumPy's FFT and PyTorch's dilation; energy, sizes and bad input."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contract import assert_close
from torch import nn

from mrbook.longconv import causal_conv
from mrbook.mrconv import (
    KERNELS,
    DenseKernel,
    DilatedKernel,
    FourierKernel,
    Kernel,
    MRConv,
    SparseKernel,
    SumKernel,
    make_kernel,
)

DOUBLE = {"dtype": torch.float64}


def numbers(kernel: nn.Module) -> int:
    """Parameters per channel, counted."""
    return sum(p.numel() for p in kernel.parameters()) // kernel.channels


@pytest.mark.parametrize("kind", KERNELS)
class TestEveryKind:
    @pytest.mark.parametrize("length", [2, 3, 16, 17, 100])
    def test_starts_with_unit_energy_in_every_channel(self, kind: str, length: int) -> None:
        k = make_kernel(kind, 5, length, taps=min(length, 8), **DOUBLE).materialize()
        assert k.shape == (5, length) and k.dtype == torch.float64
        assert_close(k.square().sum(1), torch.ones(5, **DOUBLE), 1e-12)

    def test_keeps_the_variance_of_white_noise_at_every_length(self, kind: str) -> None:
        torch.manual_seed(0)
        u = torch.randn(1, 64, 8192)
        for length in (8, 64, 512):
            k = make_kernel(kind, 64, length, taps=8).materialize().detach()
            variance = causal_conv(u, k)[..., length - 1 :].var()
            # The estimate scatters by at most about sqrt(2 length / (64 * 8192)).
            assert variance == pytest.approx(1, abs=0.1)

    def test_starts_in_a_random_direction(self, kind: str) -> None:
        torch.manual_seed(0)
        kernel = make_kernel(kind, 4000, 40, taps=9)
        for parameter in kernel.parameters():
            share = parameter.detach().square().mean(0) * parameter.shape[1]  # of each number
            share *= len(list(kernel.parameters()))  # parts of a sum have the same energy
            assert ((0.9 < share) & (share < 1.1)).all()
            assert parameter.detach().mean(0).abs().max() < 0.05

    def test_has_about_the_same_parameters_at_every_resolution(self, kind: str) -> None:
        layer = MRConv(3, length=500, l0=9, kernel=kind)
        counts = [kernel.count for kernel in layer.kernels]
        assert counts == [numbers(kernel) for kernel in layer.kernels]
        lengths = [9, 18, 36, 72, 144, 288, 500]
        assert [kernel.length for kernel in layer.kernels] == lengths
        assert counts == (lengths if kind == "dense" else 7 * [9])

    def test_is_padded_or_cut_to_the_length_wanted(self, kind: str) -> None:
        kernel = make_kernel(kind, 2, 20, taps=5)
        k = kernel.materialize()
        assert k.shape == (2, 20)
        for length in (1, 7, 20, 33):
            expected = F.pad(k, (0, max(0, length - 20)))[:, :length]
            assert torch.equal(kernel.materialize(length), expected)
        with pytest.raises(ValueError, match="length must be at least 1, got 0"):
            kernel.materialize(0)

    def test_is_linear_in_its_parameters(self, kind: str) -> None:
        kernel = make_kernel(kind, 2, 20, taps=5, **DOUBLE)
        k = kernel.materialize().clone()
        with torch.no_grad():
            for parameter in kernel.parameters():
                parameter *= -3
        assert_close(kernel.materialize(), -3 * k, 1e-14)

    def test_round_trip(self, kind: str) -> None:
        kernel, other = (make_kernel(kind, 3, 30, taps=6, seed=seed) for seed in (0, 1))
        assert not torch.equal(other.materialize(), kernel.materialize())
        other.load_state_dict(kernel.state_dict())
        assert torch.equal(other.materialize(), kernel.materialize())

    def test_device_and_dtype(self, kind: str) -> None:
        kernel = make_kernel(kind, 3, 30, taps=6, device="meta")
        assert all(x.is_meta for x in (*kernel.parameters(), *kernel.buffers()))
        kernel = make_kernel(kind, 3, 30, taps=6, dtype=torch.bfloat16)
        assert {p.dtype for p in kernel.parameters()} == {torch.bfloat16}
        k = kernel.materialize()
        assert k.dtype == torch.float32
        assert_close(k.square().sum(1), torch.ones(3), 0.02)


# ---- dilated ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "taps", "stride"), [(12, 4, 3), (13, 4, 3), (5, 5, 1)])
def test_dilated_is_pytorchs_dilation(length: int, taps: int, stride: int) -> None:
    kernel, u = DilatedKernel(3, length, taps, **DOUBLE), torch.randn(2, 3, 40, **DOUBLE)
    assert kernel.stride == stride
    past = F.pad(u, ((taps - 1) * stride, 0))
    expected = F.conv1d(past, kernel.weight.flip(1)[:, None], dilation=stride, groups=3)
    assert_close(causal_conv(u, kernel.materialize()), expected, 1e-12)


# ---- Fourier ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3, 4, 9, 10])
def test_fourier_is_the_inverse_transform_of_padded_coefficients(length: int) -> None:
    for modes in range(1, length // 2 + 2):
        kernel = FourierKernel(2, length, modes, **DOUBLE)
        assert kernel.count == numbers(kernel) == min(2 * modes - 1, length)
        weight = kernel.weight.detach().numpy()
        spectrum = np.zeros((2, length // 2 + 1), dtype=complex)  # the padding
        spectrum[:, 0] = weight[:, 0]
        tau = np.arange(length)
        k = weight[:, :1] / math.sqrt(length) + 0 * tau
        for j in range(1, modes):
            alone = 2 * j == length  # Nyquist's frequency is its own mirror image
            a, b = weight[:, 2 * j - 1], 0 if alone else weight[:, 2 * j]
            spectrum[:, j] = a if alone else (a - 1j * b) / math.sqrt(2)
            scale = math.sqrt((1 if alone else 2) / length)
            angle = 2 * math.pi * j * tau / length
            k += scale * (np.outer(a, np.cos(angle)) + np.outer(b + 0 * a, np.sin(angle)))
        for expected in (k, math.sqrt(length) * np.fft.irfft(spectrum, length)):
            assert_close(kernel.materialize(), torch.from_numpy(expected), 1e-13)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_all_frequencies_span_all_kernels(length: int) -> None:
    kernel = FourierKernel(1, length, length // 2 + 1, **DOUBLE)

    def materialized(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(kernel, {"weight": weight[None]}, ())[0]

    kernel.forward = kernel.materialize
    basis = torch.autograd.functional.jacobian(materialized, torch.zeros(kernel.count, **DOUBLE))
    assert_close(basis.T @ basis, torch.eye(length, **DOUBLE), 1e-14)


# ---- sparse -------------------------------------------------------------------------------------


def test_sparse_lags_are_drawn_once() -> None:
    kernel = SparseKernel(200, length=30, taps=4, seed=1)
    assert kernel.lags.shape == (200, 4) and kernel.lags.dtype == torch.int64
    assert (kernel.lags.diff() > 0).all()
    assert kernel.lags.unique().tolist() == list(range(30))  # of all channels together
    k = kernel.materialize()
    assert torch.equal(k.gather(1, kernel.lags), kernel.weight)
    assert (k != 0).sum() == 800
    torch.manual_seed(5)
    same, other = (SparseKernel(200, length=30, taps=4, seed=seed) for seed in (1, 2))
    assert torch.equal(same.lags, kernel.lags) and not torch.equal(other.lags, kernel.lags)
    torch.manual_seed(5)
    first = SparseKernel(200, length=30, taps=4).lags
    torch.manual_seed(5)
    assert torch.equal(SparseKernel(200, length=30, taps=4).lags, first)
    assert "lags" in kernel.state_dict() and "lags" not in dict(kernel.named_parameters())


def test_sparse_lags_may_be_given() -> None:
    kernel = SparseKernel(2, length=9, lags=torch.tensor([8, 0], dtype=torch.int32))
    assert kernel.lags.tolist() == [[0, 8], [0, 8]]
    assert SparseKernel(2, length=9, lags=torch.tensor([[8], [3]])).lags.tolist() == [[8], [3]]


@pytest.mark.parametrize(
    ("lags", "error", "message"),
    [
        (torch.tensor([0, 9]), ValueError, "lags must be from 0 to 8, got 0 to 9"),
        (torch.tensor([-1, 2]), ValueError, "lags must be from 0 to 8, got -1 to 2"),
        (torch.tensor([3, 3]), ValueError, "lags must not repeat within a channel"),
        (torch.tensor([0.0]), TypeError, r"lags must be a tensor of int64 or int32, got torch.fl"),
        ([0], TypeError, "lags must be a tensor of int64 or int32, got list"),
        (torch.zeros(3, 1).long(), ValueError, r"shape \(taps,\) or \(2, taps\), got \(3, 1\)"),
        (torch.zeros(0).long(), ValueError, r"shape \(taps,\) or \(2, taps\), got \(2, 0\)"),
    ],
)
def test_bad_lags_are_named(lags: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SparseKernel(2, length=9, lags=lags)


def test_a_state_with_lags_beyond_the_kernel_is_refused() -> None:
    model = nn.ModuleDict({"k": SparseKernel(2, length=9, taps=3, seed=0)})
    state = SparseKernel(2, length=90, lags=torch.tensor([0, 50, 70])).state_dict()
    with pytest.raises(ValueError, match=r"k\.lags must be from 0 to 8, got 0 to 70"):
        model.load_state_dict({f"k.{name}": value for name, value in state.items()})


# ---- sums, and by name --------------------------------------------------------------------------


def test_a_sum_is_one() -> None:
    parts = DilatedKernel(3, 20, 4), SparseKernel(3, 33, 5)
    kernel = SumKernel(parts)
    assert (kernel.length, kernel.count) == (33, 9)
    k = parts[0].materialize(33) + parts[1].materialize(33)
    assert torch.equal(kernel.materialize(), k)
    assert_close(k.square().sum(1), torch.ones(3), 1e-6)
    with pytest.raises(ValueError, match=r"the same channels, got \[3, 4\]"):
        SumKernel([DenseKernel(3, 5), DenseKernel(4, 5)])
    with pytest.raises(ValueError, match=r"the same channels, got \[\]"):
        SumKernel([])
    with pytest.raises(TypeError, match="parts must be kernels, got Linear"):
        SumKernel([DenseKernel(3, 5), nn.Linear(3, 5)])


def test_kernels_by_name() -> None:
    for taps, (smooth, single) in {2: (1, 1), 3: (1, 2), 8: (3, 5), 9: (3, 6)}.items():
        parts = list(make_kernel("fourier+sparse", 3, 40, taps).parts)
        assert [type(part) for part in parts] == [FourierKernel, SparseKernel]
        assert [part.count for part in parts] == [smooth, single]
    kinds = {kind: type(make_kernel(kind, 3, 40, 5)) for kind in KERNELS[:-1]}
    classes = DenseKernel, DilatedKernel, FourierKernel, SparseKernel
    assert kinds == dict(zip(KERNELS[:-1], classes, strict=True))
    assert make_kernel("fourier", 3, 40, taps=16).count == 15
    with pytest.raises(ValueError, match=r"kind must be one of dense, dilated, .* got 'wave'"):
        make_kernel("wave", 3, 40, 5)
    for kind, low in zip(KERNELS[1:], (1, 1, 1, 2), strict=True):
        with pytest.raises(ValueError, match=f"taps must be at least {low}, got {low - 1}"):
            make_kernel(kind, 3, 40, low - 1)
        with pytest.raises(ValueError, match="taps must be from 1 to 40, got 41"):
            make_kernel(kind, 3, 40, 41)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="modes must be from 1 to 6, got 7"):
        FourierKernel(3, length=10, modes=7)
    with pytest.raises(ValueError, match="modes must be from 1 to 6, got 7"):
        FourierKernel(3, length=11, modes=7)
    with pytest.raises(ValueError, match="taps must be from 1 to 10, got 11"):
        DilatedKernel(3, length=10, taps=11)
    with pytest.raises(ValueError, match="give either taps or lags, got taps=None and lags=None"):
        SparseKernel(3, length=10)
    with pytest.raises(TypeError, match="seed must be an integer, got 'zero'"):
        SparseKernel(3, length=10, taps=2, seed="zero")
    for make, (channels, length) in itertools.product(
        (DenseKernel, lambda *sizes: FourierKernel(*sizes, modes=1)), ((0, 5), (3, 0))
    ):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            make(channels, length)
    with pytest.raises(NotImplementedError):
        Kernel(3, 4, 5).materialize()
