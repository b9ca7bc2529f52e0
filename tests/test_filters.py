import copy
import math
import pickle

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrbook.filters import Wavelet, as_wavelet, daubechies, quadrature_mirror

NAMES = pywt.wavelist(kind="discrete")
BIORTHOGONAL = [name for name in NAMES if name.startswith(("bior", "rbio"))]


def true_vanishing_moments(name: str) -> int:
    """Of the analysis wavelet, from the construction of each family."""
    family, order = name.rstrip("0123456789."), name.lstrip("abcdefghijklmnopqrstuvwxyz")
    if family in ("db", "sym"):
        return int(order)
    if family == "coif":
        return 2 * int(order)
    if family == "haar":
        return 1
    if family == "dmey":  # cut from an infinite filter: not even its sum is zero
        return 0
    # A spline pair Nr.Nd has Nr vanishing moments on one side and Nd on the other. The filters of
    # 5.5 have 9 and 11 taps and are symmetric about a tap, so their zeros come in pairs: 6 and 4.
    one, other = {"5.5": (6, 4)}.get(order) or map(int, order.split("."))
    return one if family == "bior" else other


class TestDaubechies:
    @pytest.mark.parametrize("p", range(1, 11))
    def test_equals_pywavelets(self, p):
        h = daubechies(p)
        assert h.shape == (2 * p,)
        assert h.dtype == torch.float64
        np.testing.assert_allclose(h, pywt.Wavelet(f"db{p}").rec_lo, rtol=0, atol=1e-15)

    def test_every_order_is_right_to_the_last_bit(self):
        for p in range(1, 39):
            truth = daubechies(p, digits=100)
            torch.testing.assert_close(daubechies(p), truth, rtol=0, atol=1e-16)

    @pytest.mark.parametrize("p", [1, 2, 7, 20, 38])
    def test_meets_its_defining_conditions(self, p):
        w = Wavelet.from_scaling_filter(daubechies(p), tolerance=2e-15)
        assert w.vanishing_moments == p
        assert w.rec_lo.sum().item() == pytest.approx(math.sqrt(2), abs=1e-14)

    @pytest.mark.parametrize("p", [3, 8])
    def test_minimum_phase(self, p):
        assert np.abs(np.roots(daubechies(p))).max() < 1.1  # p zeros at -1, blurred by rounding
        energy = daubechies(p).square().cumsum(0)
        other = torch.tensor(pywt.Wavelet(f"sym{p}").rec_lo).square().cumsum(0)
        assert (energy >= other - 1e-10).all()
        assert (energy >= daubechies(p).flip(0).square().cumsum(0) - 1e-10).all()

    def test_float64_alone_loses_digits(self):
        errors = [(daubechies(p, digits=None) - daubechies(p)).abs().max() for p in (4, 20, 38)]
        assert errors[0] < 1e-14
        assert 1e-14 < errors[1] < 1e-9
        assert 1e-9 < errors[2] < 1e-4

    def test_result_is_yours(self):
        daubechies(2).zero_()
        assert daubechies(2)[0] > 0.4

    @pytest.mark.parametrize("p", [0, -1, 39])
    def test_order_out_of_range(self, p):
        with pytest.raises(ValueError, match=rf"p must be from 1 to 38, got {p}"):
            daubechies(p)

    @pytest.mark.parametrize("arguments", [{"p": 2.0}, {"p": "db2"}, {"p": 2, "digits": 50.0}])
    def test_not_an_integer(self, arguments):
        with pytest.raises(TypeError, match=r"must be an integer"):
            daubechies(**arguments)

    def test_too_few_digits(self):
        with pytest.raises(ValueError, match="at least 30"):
            daubechies(2, digits=16)


class TestQuadratureMirror:
    @pytest.mark.parametrize("length", [1, 2, 5, 8])
    def test_equals_pywavelets(self, length):
        h = np.random.default_rng(length).standard_normal(length)
        np.testing.assert_array_equal(quadrature_mirror(h), pywt.qmf(h))

    def test_keeps_dtype_and_gradient(self):
        h = torch.randn(6, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(quadrature_mirror, h)
        assert quadrature_mirror(torch.ones(4)).dtype == torch.float32

    @pytest.mark.parametrize(
        ("h", "error"),
        [
            ([], ValueError),
            ([[1.0, 2.0]], ValueError),
            (1.0, ValueError),
            ([1j, 2.0], TypeError),
            (torch.ones(2, dtype=torch.complex64), TypeError),
            (["a", "b"], TypeError),
            ([[1.0], [1.0, 2.0]], TypeError),
            ([torch.ones((), requires_grad=True), 1.0], TypeError),
        ],
    )
    def test_bad_taps(self, h, error):
        with pytest.raises(error, match="h must"):
            quadrature_mirror(h)


class TestByName:
    def test_there_are_all(self):
        assert len(NAMES) >= 106

    @pytest.mark.parametrize("name", NAMES)
    def test_taps(self, name):
        w, theirs = Wavelet(name), pywt.Wavelet(name)
        assert w.name == name
        assert (w.dec_len, w.rec_len) == (theirs.dec_len, theirs.rec_len)
        for ours, reference in zip(w.filter_bank, theirs.filter_bank, strict=True):
            assert ours.dtype == torch.float64
            assert ours.tolist() == reference

    @pytest.mark.parametrize("name", NAMES)
    def test_orthogonality(self, name):
        # PyWavelets goes by family; the taps know better about three wavelets.
        expected = {"bior1.1": True, "rbio1.1": True, "dmey": False}
        w = Wavelet(name)
        assert w.is_orthogonal == expected.get(name, pywt.Wavelet(name).orthogonal)
        assert w.is_orthogonal == (w.orthogonality_error() < 1e-8)

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (lambda a, b, c, d: (a, a, c, c), 1.0),  # two filters that are not orthogonal
            (lambda a, b, c, d: (2 * a, b, 2 * c, d), 3.0),  # of norm 2
            (lambda a, b, c, d: (a, 2 * b, c, 2 * d), 3.0),
            (lambda a, b, c, d: (a, b, -c, d), math.sqrt(2)),  # analysis is not undone
            (lambda a, b, c, d: (a, b, c, -d), math.sqrt(2)),
            (lambda a, b, c, d: (a, b, c, math.nan * d), math.nan),
        ],
    )
    def test_each_condition_of_orthogonality_counts(self, change, error):
        w = Wavelet("changed", change(*Wavelet("haar").filter_bank), tolerance=math.inf)
        assert w.orthogonality_error() == pytest.approx(error, nan_ok=True)
        assert not w.is_orthogonal

    def test_orthogonality_error_of_dmey(self):
        assert Wavelet("dmey").orthogonality_error() == pytest.approx(2.245e-3, rel=1e-3)

    @pytest.mark.parametrize("name", NAMES)
    def test_reconstruction_error_is_that_of_a_round_trip(self, name):
        x = np.random.default_rng(0).uniform(-1, 1, 256)
        for mode in ("periodization", "symmetric"):
            round_trip = pywt.idwt(*pywt.dwt(x, name, mode), name, mode)
            error = np.abs(round_trip - x).max()
            # The largest coefficient is one of at most 2 (2 K - 1), each halved.
            bound = Wavelet(name).reconstruction_error() * (2 * Wavelet(name).dec_len - 1)
            assert error <= bound + 1e-14
            assert error >= Wavelet(name).reconstruction_error() / 100 - 1e-14

    def test_reconstruction_errors_known(self):
        assert Wavelet("dmey").reconstruction_error() == pytest.approx(4.49e-3, rel=1e-3)
        assert Wavelet("sym20").reconstruction_error() > 1e-12
        assert Wavelet("db20").reconstruction_error() < 1e-15

    @pytest.mark.parametrize("name", NAMES)
    def test_vanishing_moments(self, name):
        assert Wavelet(name).vanishing_moments == true_vanishing_moments(name)

    @pytest.mark.parametrize("name", ["haar", "db3", "sym4", "coif2", *BIORTHOGONAL])
    def test_vanishing_moments_annihilate_polynomials(self, name):
        p, n = Wavelet(name).vanishing_moments, np.linspace(-1, 1, 64)
        for degree in range(p + 1):
            _, detail = pywt.dwt(n**degree, name)
            inside = np.abs(detail[10:-10]).max()
            assert (inside < 1e-10) == (degree < p)

    def test_pywavelets_attribute_is_wrong_for_some(self):
        wrong = {
            n for n in NAMES if pywt.Wavelet(n).vanishing_moments_psi != true_vanishing_moments(n)
        }
        assert {"rbio1.3", "rbio2.8", "rbio3.1", "rbio6.8", "bior5.5"} <= wrong
        assert not any(name.startswith(("db", "sym", "coif", "haar")) for name in wrong)

    def test_case_does_not_matter(self):
        assert Wavelet("DB2").name == as_wavelet("Db2").name == "db2"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("db39", r"unknown wavelet 'db39'; nearest names: .*db38"),
            ("bior2.3", r"nearest names: .*bior2\.[268]"),
            ("xyz", r"unknown wavelet 'xyz'; pywt.wavelist"),
            ("morl", "'morl' is a continuous wavelet"),
            ("cmor1.5-1.0", "continuous wavelet"),
        ],
    )
    def test_unknown_names(self, name, words):
        for make in (Wavelet, as_wavelet):
            with pytest.raises(ValueError, match=words):
                make(name)

    def test_name_must_be_a_string(self):
        with pytest.raises(TypeError, match="name must be a string, got int"):
            Wavelet(2)
        with pytest.raises(TypeError, match="wavelet must be a Wavelet or a name, got int"):
            as_wavelet(2)


def bank(name: str) -> list[list[float]]:
    return list(pywt.Wavelet(name).filter_bank)


class TestFromTaps:
    @pytest.mark.parametrize("name", [name for name in NAMES if name != "dmey"])
    def test_takes_every_bank_of_pywavelets(self, name):
        w = Wavelet("mine", bank(name))
        assert w.name == "mine"
        assert w.filter_bank[0].tolist() == bank(name)[0]

    @pytest.mark.parametrize("name", ["db2", "coif1", "sym8"])
    def test_from_scaling_filter(self, name):
        w = Wavelet.from_scaling_filter(pywt.Wavelet(name).rec_lo, "mine")
        assert w.name == "mine"
        assert w.is_orthogonal
        for ours, reference in zip(w.filter_bank, bank(name), strict=True):
            np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-16)

    @given(st.lists(st.floats(-math.pi, math.pi), min_size=1, max_size=6))
    @settings(max_examples=50, deadline=None)
    def test_any_lattice_of_rotations_is_orthogonal(self, angles):
        # Each rotation and delay keeps a two-channel bank orthogonal: Vaidyanathan's lattice.
        low, high = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        for i, angle in enumerate(angles):
            c, s = math.cos(angle), math.sin(angle)
            low, high = c * low + s * high, c * high - s * low
            if i < len(angles) - 1:
                low, high = np.append(low, [0, 0]), np.append([0, 0], high)
        w = Wavelet.from_scaling_filter(low)
        assert w.reconstruction_error() < 1e-13
        assert w.orthogonality_error() < 1e-13

    @pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
    def test_kinds_of_sequences(self, kind):
        w = Wavelet(
            "mine",
            kind([kind(taps) for taps in bank("bior2.2")])
            if kind in (list, tuple)
            else [kind(taps) for taps in bank("bior2.2")],
            tolerance=1e-6,
        )
        assert w.vanishing_moments == 2

    def test_reversed_numpy_views_and_integers(self):
        h = np.array(bank("db3")[0])[::-1]
        assert Wavelet.from_scaling_filter(h).vanishing_moments == 3
        lazy = Wavelet("lazy", ([1, 0], [0, 1], [0, 1], [1, 0]))
        assert lazy.dec_lo.dtype == torch.float64
        assert lazy.vanishing_moments == 0

    @pytest.mark.parametrize("name", ["db6", "sym4", "bior4.4", "rbio3.7"])
    def test_rounded_taps_keep_their_moments(self, name):
        rounded = [np.round(taps, 9) for taps in bank(name)]
        w = Wavelet("rounded", rounded)
        assert w.reconstruction_error() > 1e-11
        assert w.vanishing_moments == true_vanishing_moments(name)

    def test_gradient_reaches_the_taps(self):
        h = daubechies(3).requires_grad_()
        w = Wavelet.from_scaling_filter(h)
        (w.to(torch.float32).dec_hi * torch.arange(6)).sum().backward()
        signs = torch.tensor([-1.0, 1, -1, 1, -1, 1], dtype=torch.float64)
        torch.testing.assert_close(h.grad, torch.arange(6, dtype=torch.float64) * signs)
        assert w.orthogonality_error() < 1e-12  # measures work on taps that require gradients

    def test_floating_tensors_keep_their_dtype(self):
        w = Wavelet.from_scaling_filter(daubechies(2).float(), tolerance=1e-6)
        assert all(taps.dtype == torch.float32 for taps in w.filter_bank)

    def test_no_distortion_fails(self):
        taps = bank("db2")
        taps[2] = [t + 0.001 * (i == 0) for i, t in enumerate(taps[2])]
        with pytest.raises(ValueError, match=r"no-distortion condition fails by 8\.4e-04") as info:
            Wavelet("mine", taps)
        assert "'mine'" in str(info.value)
        assert "alias-cancellation condition fails by 8.4e-04" in str(info.value)

    def test_alias_cancellation_alone_fails(self):
        with pytest.raises(ValueError, match=r"alias-cancellation .* by 2\.0e\+00") as info:
            Wavelet("mine", ([1, 0], [1, 0], [0, 1], [0, 1]))
        assert "distortion" not in str(info.value)

    def test_wrong_scale_is_explained(self):
        with pytest.raises(
            ValueError, match=r"comes back times 2, late by 3, not times 1, late by 3"
        ):
            Wavelet.from_scaling_filter(daubechies(2) * math.sqrt(2))

    def test_wrong_delay_is_explained(self):
        taps = [np.append(t, [0, 0]) for t in bank("db2")]
        with pytest.raises(
            ValueError, match=r"comes back times 1, late by 3, not times 1, late by 5"
        ):
            Wavelet("late", taps)
        taps[2:] = [np.roll(t, 2) for t in taps[2:]]
        Wavelet("on time", taps)

    @pytest.mark.parametrize("error", [1e-6, 1e-4])
    def test_tolerance_is_what_decides(self, error):
        taps = bank("haar")
        taps[0] = [taps[0][0] + error, taps[0][1]]
        Wavelet("close", taps, tolerance=2 * error)
        Wavelet("learned", taps, tolerance=math.inf)
        with pytest.raises(ValueError, match=f"with tolerance {error / 10:g}"):
            Wavelet("off", taps, tolerance=error / 10)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_taps_not_finite(self, bad):
        with pytest.raises(ValueError, match="dec_lo must have finite taps"):
            Wavelet("mine", ([bad, 1], [1, 1], [1, 1], [1, 1]))

    @pytest.mark.parametrize(
        ("taps", "error", "words"),
        [
            ([[1.0, 1.0]] * 3, ValueError, r"filter_bank must be \(dec_lo.*got 3 filters"),
            ([[1.0, 1.0, 1.0]] * 4, ValueError, r"same even length .*\[3, 3, 3, 3\]"),
            ([[1.0, 1.0]] * 3 + [[1.0] * 4], ValueError, r"same even length .*\[2, 2, 2, 4\]"),
            ([[]] * 4, ValueError, r"dec_lo must have shape \(K,\)"),
            ([[1.0, 1.0]] * 3 + [[1j, 1.0]], TypeError, "rec_hi must be real"),
            ([[[1.0, 1.0]]] * 4, ValueError, "dec_lo must have shape"),
        ],
    )
    def test_malformed_banks(self, taps, error, words):
        with pytest.raises(error, match=words):
            Wavelet("mine", taps)

    @pytest.mark.parametrize("tolerance", [-1.0, math.nan])
    def test_bad_tolerance(self, tolerance):
        with pytest.raises(ValueError, match="tolerance must be"):
            Wavelet("mine", bank("db2"), tolerance=tolerance)


class TestAsWavelet:
    def test_is_cached_and_leaves_wavelets_alone(self):
        assert as_wavelet("db2") is as_wavelet("DB2")
        mine = Wavelet("db2")
        assert as_wavelet(mine) is mine

    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    def test_inside_compiled_code(self, backend):
        def f(x, wavelet):
            w = as_wavelet(wavelet).to(x.dtype)
            return x * w.dec_lo.sum() + w.rec_hi[0] * w.dec_len

        torch._dynamo.reset()
        compiled = torch.compile(f, backend=backend, fullgraph=True)
        x = torch.randn(3)
        for wavelet in ("db2", "sym5", Wavelet("bior2.2")):
            torch.testing.assert_close(compiled(x, wavelet), f(x, wavelet))

    def test_learned_filters_inside_compiled_code(self):
        def f(h):
            w = Wavelet.from_scaling_filter(h, tolerance=math.inf)
            return (w.dec_lo * w.rec_hi).sum()

        torch._dynamo.reset()
        h, again = (torch.randn(6, dtype=torch.float64).requires_grad_() for _ in range(2))
        again.data = h.data.clone()
        f(h).backward()
        torch.compile(f, backend="aot_eager", fullgraph=True)(again).backward()
        torch.testing.assert_close(again.grad, h.grad)

    def test_copies(self):
        w = Wavelet("db2")
        for same in (copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
            assert repr(same) == "Wavelet('db2', 4 taps)"
            assert torch.equal(same.dec_hi, w.dec_hi)

    def test_to_another_device(self):
        assert as_wavelet("db2").to(device="meta").dec_lo.device.type == "meta"
