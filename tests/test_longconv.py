"""causal_conv: every method against the definition, derivatives, precision, bad input."""

import functools
import itertools
import warnings

import numpy as np
import pytest
import torch
from contract import assert_close, have_native
from torch import Tensor

from mrbook import native
from mrbook.longconv import (
    METHODS,
    causal_conv,
    causal_conv_method,
    check_input,
    fast_fft_length,
    mask_padding,
)

LENGTHS = [(1, 1), (1, 7), (7, 1), (2, 2), (16, 16), (37, 5), (50, 130), (129, 128), (700, 333)]


# Triton's form serves no float64: see triton_cases.
@pytest.fixture(params=[*(name for name in METHODS if name != "triton"), "auto"])
def method(request: pytest.FixtureRequest) -> str:
    if request.param == "fused" and not have_native():
        pytest.skip("needs a C++ compiler")
    return request.param


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def definition(u: Tensor, k: Tensor) -> Tensor:
    """Channel by channel in NumPy."""
    y = np.zeros(u.shape)
    for b, c in itertools.product(range(len(u)), range(u.shape[1])):
        y[b, c] = np.convolve(u[b, c].double(), k[c].double())[: u.shape[-1]]
    return torch.from_numpy(y)


@pytest.mark.parametrize(("length", "taps"), LENGTHS)
def test_equals_the_definition(method: str, length: int, taps: int) -> None:
    u, k = randn(2, 3, length), randn(3, taps)
    assert_close(causal_conv(u, k, method), definition(u, k), 1e-13)
    y = causal_conv(u.float(), k.float(), method)
    assert y.dtype == torch.float32
    assert_close(y.double(), definition(u, k), 1e-5)


def test_leading_dimensions(method: str) -> None:
    u, k = randn(2, 3, 20), randn(3, 6)
    expected = definition(u, k)
    assert_close(causal_conv(u[0], k, method), expected[0])
    assert_close(causal_conv(u[1, 2], k[2], method), expected[1, 2])
    assert_close(causal_conv(u[:, None], k, method), expected[:, None])
    assert_close(causal_conv(u, k[1], method), definition(u, k[1].expand(3, 6)))
    assert_close(
        causal_conv(u, torch.stack([k, 2 * k]), method), expected * torch.tensor([[[1.0]], [[2]]])
    )


def test_any_strides(method: str) -> None:
    u, k = randn(2, 3, 40), randn(3, 12)
    assert_close(causal_conv(u[..., ::2], k[:, ::3], method), definition(u[..., ::2], k[:, ::3]))
    turned = u.transpose(1, 2).contiguous().transpose(1, 2)
    assert_close(causal_conv(turned, k.flip(1), method), definition(u, k.flip(1)))


def test_first_and_second_derivatives(method: str) -> None:
    for length, taps in ((1, 1), (4, 2), (2, 4)):
        u, k = randn(2, 1, length).requires_grad_(), randn(1, taps).requires_grad_()
        assert torch.autograd.gradcheck(lambda u, k: causal_conv(u, k, method), (u, k))
        assert torch.autograd.gradgradcheck(lambda u, k: causal_conv(u, k, method), (u, k))


@pytest.mark.parametrize(("length", "taps"), [(700, 333), (300, 700), (40, 1)])
def test_gradients_of_long_kernels_equal_those_of_the_definition(
    method: str, length: int, taps: int
) -> None:
    results = []
    for which in ("direct", method):
        u, k = randn(2, 3, length).requires_grad_(), randn(3, taps).requires_grad_()
        y = causal_conv(u, k, which)
        results.append(torch.autograd.grad(y, (u, k), randn(2, 3, length)))
    for expected, actual in zip(*results, strict=True):
        assert_close(actual, expected)


def test_nothing_wraps_around(method: str) -> None:
    for length in (7, 64, 100):
        u = torch.zeros(1, 1, length, dtype=torch.float64)
        u[..., -1] = 1e6
        y = causal_conv(u, torch.ones(1, 2 * length, dtype=torch.float64), method)
        assert y[..., :-1].abs().max() < 1e-7
        assert y[..., -1] == pytest.approx(1e6)


def test_the_future_has_no_gradient(method: str) -> None:
    u, k = randn(1, 2, 40).requires_grad_(), randn(2, 40)
    (gradient,) = torch.autograd.grad(causal_conv(u, k, method)[..., 17].sum(), u)
    limit = 1e-13 if causal_conv_method(u, k) == "fft" or method == "fft" else 0
    assert gradient[..., 18:].abs().max() <= limit * gradient.abs().max()
    assert gradient[..., :18].abs().min() > 0


def test_low_precision_and_autocast_compute_in_float32(method: str) -> None:
    u, k = randn(2, 3, 300, dtype=torch.bfloat16), randn(3, 300, dtype=torch.float32)
    exact = definition(u.float(), k)
    y = causal_conv(u, k, method)
    assert y.dtype == torch.bfloat16
    assert_close(y.double(), exact, 4e-3)  # half a unit in the last place of bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = causal_conv(u.float(), k, method)
    assert y.dtype == torch.float32
    assert_close(y.double(), exact, 1e-5)
    assert_close(causal_conv(u.half(), k.half(), method).double(), exact, 2e-3)


def test_compiles_whole_at_any_length(method: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda u, k: causal_conv(u, k, method), fullgraph=True, backend="aot_eager"
    )
    for length in (20, 30, 47):
        u, k = randn(2, 3, length).requires_grad_(), randn(3, length).requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = compiled(u, k)
        assert_close(y, causal_conv(u, k, method))
        for actual, expected in zip(
            torch.autograd.grad(y.sum(), (u, k)),
            torch.autograd.grad(causal_conv(u, k, method).sum(), (u, k)),
            strict=True,
        ):
            assert_close(actual, expected)


def test_auto_takes_what_the_rule_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, (length, taps) in itertools.product(
        (True, False), [(4, 4), (4096, 4096), (4096, 8), (4096, 60), (10, 4096)]
    ):
        monkeypatch.setattr(native, "available", lambda *_, answer=available: answer)
        u, k = torch.zeros(1, 2, length), torch.zeros(2, taps)
        called: list[str] = []

        def note(u: Tensor, k: Tensor, name: str, called: list[str] = called) -> Tensor:
            called.append(name)
            return u

        for name in METHODS:
            monkeypatch.setitem(METHODS, name, functools.partial(note, name=name))
        causal_conv(u, k)
        assert called == [causal_conv_method(u, k)]
        assert available or called != ["fused"]
    rule = {
        (available, taps): causal_conv_method(torch.zeros(1, 4096), torch.zeros(1, taps))
        for available in (True, False)
        for taps in (4, 64, 4096)
        if not monkeypatch.setattr(native, "available", lambda *_, answer=available: answer)
    }
    assert rule == {
        (True, 4): "fused",
        (True, 64): "fused",
        (True, 4096): "fft",
        (False, 4): "direct",
        (False, 64): "fft",
        (False, 4096): "fft",
    }


@pytest.mark.parametrize(
    ("u", "k", "error", "message"),
    [
        (torch.zeros(2, 3, 0), torch.zeros(3, 1), ValueError, "u must have a length of at least 1"),
        (torch.zeros(2, 3, 4), torch.zeros(3, 0), ValueError, "k must have a length of at least 1"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 4), ValueError, "leading dimensions"),
        (torch.zeros(3, 4), torch.zeros(2, 3, 4), ValueError, "leading dimensions"),
        (torch.zeros(3, 4), torch.zeros(3, 4).double(), ValueError, "same dtype"),
        (torch.zeros(3, 4), torch.zeros(3, 4, device="meta"), ValueError, "same device"),
        (torch.zeros(3, 4).long(), torch.zeros(3, 4), TypeError, "u must be a floating-point"),
        (torch.zeros(3, 4), [1.0], TypeError, "k must be a floating-point tensor, got list"),
    ],
)
def test_bad_arguments(u: Tensor, k: Tensor, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        causal_conv(u, k)


def test_bad_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    u, k = torch.zeros(3, 4), torch.zeros(3, 4)
    message = "method must be auto, direct, fft, fused, triton, got 'slow'"
    with pytest.raises(ValueError, match=message):
        causal_conv(u, k, "slow")
    monkeypatch.setattr(native, "available", lambda *_: False)
    with pytest.raises(ValueError, match="C\\+\\+ compiler"):
        causal_conv(u, k, "fused")


def test_fft_lengths_are_the_next_ones_with_small_factors() -> None:
    small = sorted(f * 2**a for f in (1, 3, 5, 9, 15) for a in range(14))
    for n in range(1, 5000):
        assert fast_fft_length(n) == next(m for m in small if m >= n)


def test_mask_padding_replaces_anything_and_stops_the_gradient() -> None:
    u = torch.full((3, 2, 4), float("nan"), requires_grad=True)
    y = mask_padding(u, torch.tensor([0, 2, 4]), value=-1.0)
    assert y.isnan().sum(-1).tolist() == [[0, 0], [2, 2], [4, 4]]
    assert (y[1, :, 2:] == -1).all()
    y.sum().backward()
    assert u.grad.sum(-1).tolist() == [[0, 0], [2, 2], [4, 4]]
    assert torch.equal(
        mask_padding(u, torch.tensor([0, 2, 4]).int()).isnan(), u.isnan() & ~(y == -1)
    )


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 2], TypeError, "lengths must be a tensor of int64 or int32, got list"),
        (torch.tensor([1.0, 2.0]), TypeError, "got torch.float32"),
        (torch.tensor([1]), ValueError, r"lengths must have shape \(2,\), got \(1,\)"),
        (torch.tensor([1, 5]), ValueError, "lengths must be from 0 to 4, got 1 to 5"),
        (torch.tensor([-1, 4]), ValueError, "lengths must be from 0 to 4, got -1 to 4"),
    ],
)
def test_bad_lengths(lengths: Tensor, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        mask_padding(torch.zeros(2, 3, 4), lengths)


def test_check_input_lets_good_inputs_through() -> None:
    parameter = torch.zeros(3)
    check_input(torch.zeros(2, 3, 5), parameter, ("batch", 3, "length"))
    check_input(torch.zeros(0, 3).bfloat16(), parameter, ("batch", 3))
    with pytest.raises(ValueError, match="u must have a length of at least 1"):
        check_input(torch.zeros(2, 3, 0), parameter, ("batch", 3, "length"))


def test_check_input_wants_a_tensor() -> None:
    for u, kind in ((np.zeros((2, 3, 5)), "ndarray"), ([[[0.0]]], "list"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^x must be a tensor, got {kind}$"):
            check_input(u, torch.zeros(3), ("batch", 3, "length"), "x")  # type: ignore[arg-type]
