"""The transform against PyWavelets, its gradients, its properties, and bad input."""

import math
import shutil
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from mrbook import filterbank
from mrbook.dwt import MODES, dwt, dwt_coeff_len, dwt_max_level, idwt, wavedec, waverec
from mrbook.filters import Wavelet, as_wavelet

WAVELETS = pywt.wavelist(kind="discrete")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]
SHORT, LONG = 13, 300  # LONG, and the half of it, are computed in blocks


def rng(*seed: object) -> np.random.Generator:
    return np.random.default_rng(sum(map(ord, repr(seed))))


def largest(values: list[np.ndarray]) -> float:
    return max(float(np.abs(a).max()) for a in values)


def worst(ours: Sequence[Tensor], theirs: list[np.ndarray], scale: float = 0.0) -> float:
    """Largest difference, relative to the largest of their values or to `scale`."""
    assert [tuple(t.shape) for t in ours] == [a.shape for a in theirs]
    differences = [t.numpy() - a for t, a in zip(ours, theirs, strict=True)]
    return largest(differences) / max(largest(theirs), scale)


def too_short(length: int, mode: str) -> bool:
    return length == 1 and mode in ("reflect", "antireflect")


def without_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filterbank, "_blocks_pay", lambda x, bank: False)


# ------------------------------------------------------------------------------ against PyWavelets


@pytest.mark.parametrize("mode", MODES)
def test_one_level_is_that_of_pywavelets(mode: str) -> None:
    draw = rng(mode)
    for name in WAVELETS:
        reference = pywt.Wavelet(name)
        for length in range(1, 68):
            x = draw.standard_normal((2, length))
            if too_short(length, mode):
                with pytest.raises(ValueError, match="at least 2 samples"):
                    dwt(torch.from_numpy(x), name, mode)
                continue
            bands = pywt.dwt(x, reference, mode)
            error = worst(dwt(torch.from_numpy(x), name, mode), list(bands))
            assert error < 1e-12, (name, length)
            # The inverse of any coefficients, not only of those that a signal has.
            cA, cD = draw.standard_normal((2, *bands[0].shape))
            y = idwt(torch.from_numpy(cA), torch.from_numpy(cD), name, mode)
            assert worst([y], [pywt.idwt(cA, cD, reference, mode)]) < 1e-12, (name, length)


@pytest.mark.parametrize("mode", MODES)
def test_blocks_give_what_pywavelets_gives(mode: str) -> None:
    draw = rng(mode)
    for name in WAVELETS:
        taps = as_wavelet(name).dec_len
        shortest = max(128, 4 * taps)
        for length in (shortest, int(draw.integers(shortest, 1500))):
            x = draw.standard_normal((3, length))
            data = torch.from_numpy(x)
            assert filterbank._blocks_pay(data, torch.empty(2, taps))
            assert not filterbank._blocks_pay(data[:, : shortest - 1], torch.empty(2, taps))
            bands = pywt.dwt(x, name, mode)
            assert worst(dwt(data, name, mode), list(bands)) < 1e-12, (name, length)
            cA, cD = draw.standard_normal((2, 3, length))
            y = idwt(torch.from_numpy(cA), torch.from_numpy(cD), name, mode)
            assert worst([y], [pywt.idwt(cA, cD, name, mode)]) < 1e-12, (name, length)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-5)])
def test_many_levels_are_those_of_pywavelets(dtype: torch.dtype, tolerance: float) -> None:
    draw = rng("levels")
    for _ in range(400):
        name, mode = draw.choice(WAVELETS), draw.choice(MODES)
        length = int(2 ** draw.uniform(1, 11))
        level = int(draw.integers(0, 8))
        x = torch.from_numpy(draw.standard_normal((2, length))).to(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                theirs = pywt.wavedec(x.numpy(), name, mode, level)
            except ValueError:
                # PyWavelets refuses a single sample, too; it may come up only at a deeper level.
                assert mode in ("reflect", "antireflect")
                continue
            ours = wavedec(x, name, mode, level)
        assert all(c.dtype == dtype for c in ours)
        assert worst(ours, theirs) < tolerance, (name, mode, length, level)
        again = waverec(ours, name, mode)
        # A few samples that go straight on far beyond the ends have far larger coefficients.
        error = worst([again], [pywt.waverec(theirs, name, mode)], largest(theirs))
        assert error < tolerance, (name, mode, length, level)
        assert again.dtype == dtype


def test_default_level_and_mode_are_those_of_pywavelets() -> None:
    x = rng().standard_normal(777)
    theirs = pywt.wavedec(x, "sym5")
    assert worst(wavedec(torch.from_numpy(x), "sym5"), theirs) < 1e-12
    assert worst([waverec(wavedec(torch.from_numpy(x), "sym5"), "sym5")], [np.append(x, 0)]) > 0
    assert worst(dwt(torch.from_numpy(x), "sym5"), list(pywt.dwt(x, "sym5"))) < 1e-12


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("mode", ["symmetric", "periodization"])
def test_none_stands_for_zeros(mode: str, kept: int) -> None:
    bands = list(rng().standard_normal((2, 9)))
    bands[1 - kept] = None
    ours = [None if b is None else torch.from_numpy(b) for b in bands]
    theirs = pywt.idwt(*bands, "db3", mode)
    assert worst([idwt(*ours, "db3", mode)], [theirs]) < 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_lengths_are_those_of_pywavelets(mode: str) -> None:
    for taps in (2, 4, 10, 38, 102):
        for length in (*range(1, 130), 1000, 4097):
            assert dwt_coeff_len(length, taps, mode) == pywt.dwt_coeff_len(length, taps, mode)
            assert dwt_max_level(length, taps) == pywt.dwt_max_level(length, taps)
    assert dwt_coeff_len(50, "db4", mode) == pywt.dwt_coeff_len(50, pywt.Wavelet("db4"), mode)
    assert dwt_max_level(1000, as_wavelet("sym5")) == pywt.dwt_max_level(1000, "sym5")


# -------------------------------------------------------------------------- shapes, dtypes, devices


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", [SHORT, LONG])
def test_any_leading_axes_and_any_strides(length: int, device: str) -> None:
    x = torch.from_numpy(rng().standard_normal((length, 3, 2))).to(device)
    coeffs = wavedec(x.permute(1, 2, 0), "db2", level=2)
    alone = wavedec(x[:, 2, 1], "db2", level=2)
    for c, one in zip(coeffs, alone, strict=True):
        assert c.shape == (3, 2, one.shape[-1])
        assert c.device.type == device
        torch.testing.assert_close(c[2, 1], one, rtol=0, atol=1e-13)
    y = waverec(coeffs, "db2", length=length)
    torch.testing.assert_close(y, x.permute(1, 2, 0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_an_empty_batch_stays_empty(length: int) -> None:
    cA, cD = dwt(torch.zeros(0, length), "db2")
    assert cA.shape == cD.shape == (0, dwt_coeff_len(length, 4, "symmetric"))
    assert idwt(cA, cD, "db2", length=length).shape == (0, length)


@pytest.mark.parametrize("mode", MODES)
def test_length_gives_odd_lengths_back_exactly(mode: str) -> None:
    for length in range(2, 70):
        x = torch.from_numpy(rng(length).standard_normal(length))
        level = dwt_max_level(length, 6)
        y = waverec(wavedec(x, "db3", mode), "db3", mode, length=length)
        torch.testing.assert_close(y, x, rtol=0, atol=1e-10)
        natural = waverec(wavedec(x, "db3", mode), "db3", mode)
        assert natural.shape[-1] == (length + length % 2 if level else length)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("shape", [(SHORT,), (LONG,), (512,), (2, LONG), (2, 3, 512)])
def test_results_can_be_changed_in_place(shape: tuple[int, ...], grad: bool) -> None:
    x = torch.ones(shape, requires_grad=grad)
    coeffs = wavedec(x, "haar", level=2)
    assert all(c.is_contiguous() for c in coeffs)
    before = coeffs[-2].clone()
    coeffs[-1][..., :3] = 5
    coeffs[0].mul_(2)
    assert torch.equal(coeffs[-2], before), "the bands share memory"
    y = waverec(coeffs, "haar")
    y[..., 0] = 0
    y.mul_(2)
    assert y.requires_grad == grad
    if grad:
        y.sum().backward()
        assert x.grad is not None and x.grad.abs().max() > 0


@pytest.mark.parametrize("length", [40, 600])
def test_autocast_changes_nothing(length: int) -> None:
    x = torch.from_numpy(rng().standard_normal(length)).float().requires_grad_()
    plain = wavedec(x, "db3")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coeffs = wavedec(x, "db3")
        y = waverec(coeffs, "db3", length=length)
    assert all(torch.equal(a, b) for a, b in zip(coeffs, plain, strict=True))
    torch.testing.assert_close(y, x, rtol=0, atol=1e-5)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, torch.ones(length), rtol=0, atol=1e-5)


# ---------------------------------------------------------------------------------------- gradients


def bank_of(*taps: Tensor) -> Wavelet:
    return Wavelet("taps", taps, tolerance=math.inf)


def there_and_back(mode: str) -> Callable[..., tuple[Tensor, ...]]:
    """Signal and taps to some of the coefficients, and some of the signal from others."""

    def transform(x: Tensor, *taps: Tensor) -> tuple[Tensor, ...]:
        cA, cD = dwt(x, bank_of(*taps), mode)
        y = idwt(cA.tanh(), cD.tanh(), bank_of(*taps), mode)
        step = 1 + x.shape[-1] // 16
        return cA[..., ::step], cD[..., 1::step], y[..., ::step]

    return transform


@pytest.mark.parametrize("length", [SHORT, 256])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_data_and_filters(mode: str, length: int) -> None:
    x = torch.from_numpy(rng(mode).standard_normal((1, length))).requires_grad_()
    taps = [t.clone().requires_grad_() for t in as_wavelet("bior2.2").filter_bank]
    assert gradcheck(there_and_back(mode), (x, *taps))
    if length == SHORT:
        assert gradgradcheck(there_and_back(mode), (x, *taps))


def test_second_derivatives_in_blocks() -> None:
    x = torch.from_numpy(rng().standard_normal((1, 256))).requires_grad_()
    taps = [t.clone().requires_grad_() for t in as_wavelet("db2").filter_bank]
    assert gradgradcheck(there_and_back("smooth"), (x, *taps))


@pytest.mark.parametrize("mode", MODES)
def test_blocks_have_the_gradients_of_the_readable_form(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.from_numpy(rng(mode).standard_normal((2, 301))).requires_grad_()
    taps = [t.clone().requires_grad_() for t in as_wavelet("sym6").filter_bank]

    def gradients() -> tuple[Tensor, ...]:
        coeffs = wavedec(x, bank_of(*taps), mode, level=3)
        y = waverec([c.sin() for c in coeffs], bank_of(*taps), mode, length=301)
        first = torch.autograd.grad(y.square().sum(), (x, *taps), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, *taps))
        return *first, *second

    blocks = gradients()
    without_blocks(monkeypatch)
    for ours, readable in zip(blocks, gradients(), strict=True):
        torch.testing.assert_close(ours, readable, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["haar", "db12", "db13", "coif17"])
@pytest.mark.parametrize("mode", ["symmetric", "periodization"])
def test_blocks_of_any_length(mode: str, name: str) -> None:
    """Wherever the last block ends: both maps are the readable ones, and transposed."""
    bank = torch.stack(as_wavelet(name).filter_bank[:2])
    shortest = max(128, 4 * bank.shape[-1])
    for length in range(shortest, shortest + 130, 3):
        x = torch.from_numpy(rng(length).standard_normal(length))
        bands = filterbank._analyze(x, bank, mode)
        blocks = filterbank._analyze_blocks(x, bank, mode)
        torch.testing.assert_close(blocks, bands, rtol=0, atol=1e-12)
        cA, cD = torch.from_numpy(rng(length).standard_normal((2, *bands[0].shape)))
        y = filterbank._transpose_blocks(cA, cD, bank, mode, length)
        torch.testing.assert_close((y * x).sum(), (cA * bands[0] + cD * bands[1]).sum())
        readable = filterbank._transpose(cA, cD, bank, mode, length)
        torch.testing.assert_close(y, readable, rtol=0, atol=1e-12)


def test_only_what_is_used_needs_a_gradient() -> None:
    x = torch.randn(LONG, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(dwt(x, "db2")[0].sum(), x)
    lo = as_wavelet("db2").dec_lo
    # Mode "symmetric" counts the first sample in the coefficients 0 and 1, mirrored in the first.
    torch.testing.assert_close(grad[0], lo.sum() - lo[0] + 0 * lo[1])
    taps = as_wavelet("db2").dec_lo.clone().requires_grad_()
    wavelet = bank_of(taps, *as_wavelet("db2").filter_bank[1:])
    (grad,) = torch.autograd.grad(dwt(x.detach(), wavelet)[0].sum(), taps)
    assert grad.shape == (4,)
    (grad,) = torch.autograd.grad(idwt(None, x, "db2").sum(), x)
    assert grad.shape == x.shape


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("length", [SHORT, LONG])
def test_function_transforms(length: int) -> None:
    x = torch.from_numpy(rng().standard_normal((3, length)))

    def both(x: Tensor) -> Tensor:
        return torch.cat([*dwt(x, "db2"), idwt(x, x.square(), "db2")], -1)

    torch.testing.assert_close(torch.func.vmap(both)(x), both(x))
    jacobian = torch.func.jacrev(both)(x[0])
    one_by_one = torch.autograd.functional.jacobian(both, x[0])
    torch.testing.assert_close(jacobian, one_by_one)


# ---------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize("mode", MODES)
def test_compiles_in_one_graph(mode: str) -> None:
    wavelet = Wavelet("bior2.2")

    def transform(x: Tensor) -> tuple[Tensor, ...]:
        coeffs = wavedec(x, "db2", mode, level=2)
        y = waverec(coeffs, "db2", mode, length=x.shape[-1])
        return *coeffs, y, *dwt(x, wavelet, mode)

    torch.compiler.reset()
    compiled = torch.compile(transform, fullgraph=True, backend="aot_eager")
    x = torch.from_numpy(rng(mode).standard_normal((2, LONG))).requires_grad_()
    ours, plain = compiled(x), transform(x)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    cotangents = [torch.randn_like(a) for a in plain]
    (compiled_grad,) = torch.autograd.grad(ours, x, cotangents)
    (grad,) = torch.autograd.grad(plain, x, cotangents)
    torch.testing.assert_close(compiled_grad, grad, rtol=0, atol=1e-11)


def test_compiles_for_any_length_and_beyond_the_useful_level() -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda x: wavedec(x, "haar", level=6), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for length in (17, 18, 40):
        x = torch.from_numpy(rng().standard_normal(length))
        with pytest.warns(UserWarning, match="useful maximum"):
            plain = wavedec(x, "haar", level=6)
        for a, b in zip(compiled(x), plain, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))), reason="no C++ compiler"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own
def test_compiles_with_inductor() -> None:
    torch.compiler.reset()
    x = torch.from_numpy(rng().standard_normal((2, 40))).float()
    compiled = torch.compile(lambda x: idwt(*dwt(x, "db2"), "db2"), fullgraph=True)
    torch.testing.assert_close(compiled(x), x, rtol=0, atol=1e-5)


# --------------------------------------------------------------------------------------- properties

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
NAMES = st.sampled_from(WAVELETS)
VALUES = st.floats(-1e3, 1e3)


def signals(lengths: st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    return lengths.flatmap(lambda n: arrays(np.float64, n, elements=VALUES))


@st.composite
def cyclic(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A level, and a signal whose length is a multiple of 2^level."""
    level = draw(st.integers(1, 4))
    x = draw(signals(st.integers(1, 12).map(lambda blocks: blocks << level)))
    return torch.from_numpy(x), level


def decompose(x: Tensor, name: str, mode: str, level: int) -> list[Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return wavedec(x, name, mode, level)


@EXAMPLES
@given(signals(st.integers(2, 200)), NAMES, st.sampled_from(MODES), st.integers(0, 3))
def test_perfect_reconstruction(x: np.ndarray, name: str, mode: str, level: int) -> None:
    data = torch.from_numpy(x)
    coeffs = decompose(data, name, mode, level)
    y = waverec(coeffs, name, mode, length=len(x))
    taps, error = as_wavelet(name).dec_len, as_wavelet(name).reconstruction_error()
    scale = max(1.0, level) * largest([c.numpy() for c in coeffs])
    assert y.shape == data.shape
    assert (y - data).abs().max() <= (1e-11 + 2 * taps * error) * scale


@EXAMPLES
@given(cyclic(), NAMES.filter(lambda name: as_wavelet(name).is_orthogonal))
def test_orthogonal_wavelets_keep_the_energy(signal: tuple[Tensor, int], name: str) -> None:
    x, level = signal
    coeffs = decompose(x, name, "periodization", level)
    energy = sum(float(c.square().sum()) for c in coeffs)
    wavelet = as_wavelet(name)
    tolerance = 1e-12 + 4 * wavelet.dec_len * wavelet.orthogonality_error()
    assert energy == pytest.approx(float(x.square().sum()), rel=level * tolerance)


@EXAMPLES
@given(cyclic(), NAMES, st.integers(-5, 5))
def test_a_shift_by_two_to_the_level_shifts_the_coefficients(
    signal: tuple[Tensor, int], name: str, steps: int
) -> None:
    x, level = signal
    coeffs = decompose(x, name, "periodization", level)
    shifted = decompose(x.roll(steps << level), name, "periodization", level)
    for i, (c, s) in enumerate(zip(coeffs, shifted, strict=True)):
        expected = c.roll(steps << max(i - 1, 0))
        torch.testing.assert_close(s, expected, rtol=0, atol=1e-9)


@EXAMPLES
@given(
    st.integers(1, 160).flatmap(lambda n: arrays(np.float64, (2, n), elements=VALUES)),
    NAMES,
    st.sampled_from(MODES),
    st.floats(-10, 10),
)
def test_linearity(pair: np.ndarray, name: str, mode: str, factor: float) -> None:
    if too_short(pair.shape[-1], mode):
        return
    x, y = torch.from_numpy(pair)
    of_x, of_y, of_sum = (dwt(z, name, mode) for z in (x, y, x + factor * y))
    for a, b, c in zip(of_x, of_y, of_sum, strict=True):
        scale = float(a.abs().max() + abs(factor) * b.abs().max())
        # "antireflect" adds and takes away the largest sample as often as it turns.
        scale += (1 + abs(factor)) * largest([pair]) * as_wavelet(name).dec_len
        torch.testing.assert_close(c, a + factor * b, rtol=0, atol=1e-13 * scale)


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("length", [40, LONG, LONG + 1])
@pytest.mark.parametrize("mode", MODES)
def test_nan_and_infinity_go_where_they_go_in_pywavelets(
    mode: str, length: int, value: float
) -> None:
    for position in (0, 1, length // 2, length - 2, length - 1):
        x = rng(length).standard_normal(length)
        x[position] = value
        data = torch.from_numpy(x)
        with np.errstate(invalid="ignore"):
            theirs = pywt.wavedec(x, "db3", mode, 2)
            back = pywt.waverec(theirs, "db3", mode)
        ours = wavedec(data, "db3", mode, 2)
        assert data.isfinite().sum() == length - 1, "the input was changed"
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b, atol=1e-12)
        coeffs = [torch.from_numpy(c) for c in theirs]
        np.testing.assert_allclose(waverec(coeffs, "db3", mode).numpy(), back, atol=1e-10)


@pytest.mark.parametrize("transform", [dwt, wavedec])
def test_an_unknown_mode_lists_the_nine(transform: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="'mirror'") as error:
        transform(torch.ones(9), "db2", "mirror")
    assert all(mode in str(error.value) for mode in MODES)
    assert set(MODES) == set(pywt.Modes.modes)


def test_inverse_and_lengths_refuse_an_unknown_mode() -> None:
    c = torch.ones(5)
    for call in (
        lambda: idwt(c, c, "db2", "mirror"),
        lambda: waverec([c, c], "db2", "mirror"),
        lambda: waverec([c], "db2", "mirror"),
        lambda: dwt_coeff_len(5, 4, "mirror"),
    ):
        with pytest.raises(ValueError, match=r"mode must be one of zero, .*got 'mirror'"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: dwt(x, w),
        lambda x, w: idwt(x, x, w),
        lambda x, w: wavedec(x, w),
        lambda x, w: waverec([x, x], w),
    ],
)
def test_an_unknown_wavelet_suggests_names(call: Callable[[Tensor, str], object]) -> None:
    with pytest.raises(ValueError, match=r"'db39'.*db3"):
        call(torch.ones(9), "db39")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: dwt(x, "haar"),
        lambda x: idwt(x, None, "haar"),
        lambda x: idwt(None, x, "haar"),
        lambda x: idwt(torch.ones(4), x, "haar"),
        lambda x: wavedec(x, "haar"),
        lambda x: waverec([x], "haar"),
        lambda x: waverec([torch.ones(4), x], "haar"),
    ],
)
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (torch.ones(4, dtype=torch.int64), TypeError, "must be float32 or float64, got torch.int"),
        (torch.ones(4, dtype=torch.bool), TypeError, "must be float32 or float64, got torch.bool"),
        (torch.ones(4, dtype=torch.complex64), TypeError, "float64, got torch.complex64"),
        (torch.ones(4, dtype=torch.float16), TypeError, "float64, got torch.float16"),
        (np.ones(4), TypeError, "must be a tensor, got ndarray"),
        (torch.ones(3, 0), ValueError, r"empty along the last axis, got shape \(3, 0\)"),
        (torch.tensor(1.0), ValueError, "at least one axis"),
    ],
)
def test_what_is_no_signal(
    call: Callable[[object], object], data: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(data)


def test_levels_beyond_the_useful_maximum_warn_with_the_number() -> None:
    x = torch.ones(64)
    with pytest.warns(UserWarning, match="level 5 .* useful maximum, which is 4 for length 64"):
        assert len(wavedec(x, "db2", level=5)) == 6
    assert len(wavedec(x, "db2", level=4)) == 5  # no warning, or the test fails
    assert len(wavedec(x, "db2", level=0)) == 1


@pytest.mark.parametrize(
    ("level", "error", "message"),
    [
        (-1, ValueError, "level must be at least 0, got -1"),
        (2.0, TypeError, "level must be an integer, got 2.0"),
        (True, TypeError, "level must be an integer, got True"),
    ],
)
def test_bad_levels(level: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wavedec(torch.ones(64), "db2", level=level)


def test_coefficients_that_do_not_belong_together() -> None:
    def ones(*lengths: int) -> list[Tensor]:
        return [torch.ones(n) for n in lengths]

    for coeffs, message in [
        (ones(6, 6, 8), r"coeffs\[2\] must have shape \(10,\) or one less at the end, got .*\(8,"),
        (ones(6, 7), r"coeffs\[1\] must have shape \(6,\), got shape \(7,\)"),
        (ones(7, 6), r"coeffs\[1\] must have shape \(7,\), got shape \(6,\)"),
        ([torch.ones(6), torch.ones(2, 6)], r"coeffs\[1\] must have shape \(6,\), got .*\(2, 6\)"),
        ([], "at least one tensor"),
        (ones(2, 2), "at least 3 coefficients for filters of 6 taps, got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            waverec(coeffs, "db3" if len(coeffs) and coeffs[0].numel() == 2 else "db2")
    with pytest.raises(ValueError, match=r"same shape, got shape \(6,\) and shape \(7,\)"):
        idwt(*ones(6, 7), "db2")
    with pytest.raises(ValueError, match="got None for both"):
        idwt(None, None, "db2")
    with pytest.raises(TypeError, match="same dtype"):
        idwt(torch.ones(6), torch.ones(6, dtype=torch.float64), "db2")
    with pytest.raises(TypeError, match=r"coeffs\[1\] must be a tensor, got NoneType"):
        waverec([torch.ones(6), None], "db2")
    with pytest.raises(TypeError, match="coeffs must be a list of tensors, got Tensor"):
        waverec(torch.ones(2, 6), "db2")


@pytest.mark.parametrize(("mode", "longest"), [("symmetric", 10), ("periodization", 12)])
def test_lengths_that_no_signal_had(mode: str, longest: int) -> None:
    c = torch.ones(6)
    for length in (longest - 1, longest):
        assert idwt(c, c, "db2", mode, length=length).shape == (length,)
    for length in (0, longest - 2, longest + 1):
        with pytest.raises(
            ValueError, match=f"length must be {longest - 1} or {longest} .* got {length}"
        ):
            idwt(c, c, "db2", mode, length=length)
        with pytest.raises(ValueError, match=f"got {length}"):
            waverec([c, c], "db2", mode, length=length)
    with pytest.raises(ValueError, match="length must be 6, as coeffs holds one tensor, got 5"):
        waverec([c], "db2", mode, length=5)
    assert waverec([c], "db2", mode, length=6) is c


def test_bad_lengths() -> None:
    with pytest.raises(ValueError, match="filter_len must be at least 2, got 1"):
        dwt_max_level(100, 1)
    with pytest.raises(ValueError, match="data_len=0"):
        dwt_coeff_len(0, 4, "zero")
