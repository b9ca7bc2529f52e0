import math

import numpy as np
import pytest
import pywt
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrbook.filters import Wavelet, daubechies
from mrbook.scaling import cascade, dyadic

NAMES = [name for name in pywt.wavelist(kind="discrete") if name != "dmey"]
SIDES = ("synthesis", "analysis")
# Their scaling functions are too rough to have values at points.
ROUGH = {
    *((name, "analysis") for name in ("bior2.2", "bior3.1", "bior3.3")),
    *((name, "synthesis") for name in ("rbio2.2", "rbio3.1", "rbio3.3")),
}
SMOOTH = [(name, side) for name in NAMES for side in SIDES if (name, side) not in ROUGH]


def assert_close(actual, expected, atol=1e-13):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=0, atol=atol)


class TestClosedForms:
    @pytest.mark.parametrize("level", [0, 1, 5])
    def test_haar(self, level):
        x, phi, psi = dyadic("haar", level)
        assert_close(x, torch.arange(2**level + 1, dtype=torch.float64) / 2**level)
        assert_close(phi, (x < 1).double())
        assert_close(psi, torch.where(x < 0.5, 1.0, -1.0).double() * (x < 1))
        if level > 0:  # a box is all that the cascade starts with
            for ours, exact in zip(cascade("haar", level), (x, phi, psi), strict=True):
                assert_close(ours, exact)

    def test_db2_at_integers_and_halves(self):
        x, phi, psi = dyadic("db2", level=1)
        r = math.sqrt(3)
        expected = [0, (2 + r) / 4, (1 + r) / 2, 0, (1 - r) / 2, (2 - r) / 4, 0]
        assert x.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
        assert_close(phi, torch.tensor(expected, dtype=torch.float64), atol=2e-15)
        # psi(1) = sqrt(2) (g[0] phi(2) + g[1] phi(1)), and so on, with g = rec_hi.
        expected = [0, (1 - r) / 2, r, -(1 + r) / 2, 0]
        assert_close(psi[[0, 2, 3, 4, 6]], torch.tensor(expected, dtype=torch.float64), atol=2e-15)

    def test_hat_and_quadratic_spline(self):
        # The synthesis scaling functions of bior2.x and bior3.x are B-splines.
        x, phi, _ = dyadic("bior2.4", level=6)
        assert_close(phi, (1 - (x - 4).abs()).clamp(min=0))
        x, phi, _ = dyadic("bior3.1", level=6)
        t = (x - 1.5).abs()
        assert_close(phi, torch.where(t < 0.5, 0.75 - t**2, (1.5 - t) ** 2 / 2))

    def test_padded_box(self):
        x, phi, _ = dyadic("bior1.3", level=4)
        assert_close(phi, ((x >= 2) & (x < 3)).double())


class TestCascade:
    @pytest.mark.parametrize("level", [1, 2, 5])
    @pytest.mark.parametrize("name", ["haar", "db2", "db7", "sym5", "coif3"])
    def test_equals_wavefun(self, name, level):
        # PyWavelets puts one 0 in front of the steps.
        theirs_phi, theirs_psi, theirs_x = pywt.Wavelet(name).wavefun(level)
        x, phi, psi = cascade(name, level)
        assert_close(x, theirs_x[: len(x)])
        assert_close(phi[:-1], theirs_phi[1 : len(x)])
        assert_close(psi[:-1], theirs_psi[1 : len(x)])

    @pytest.mark.parametrize(
        ("name", "sign"),  # PyWavelets' wavefun changes the sign of psi for some
        [("bior1.3", 1), ("bior5.5", 1), ("bior2.2", -1), ("bior4.4", -1), ("rbio3.3", -1)],
    )
    def test_equals_wavefun_of_biorthogonal_wavelets(self, name, sign):
        *theirs, theirs_x = pywt.Wavelet(name).wavefun(5)  # all without the last point
        for side, theirs_phi, theirs_psi in (("analysis", *theirs[:2]), ("synthesis", *theirs[2:])):
            x, phi, psi = cascade(name, 5, side=side)
            assert_close(x[:-1], theirs_x)
            assert_close(phi[:-2], theirs_phi[1:])
            assert_close(psi[:-2], sign * theirs_psi[1:])

    def test_first_frames(self):
        x, phi, psi = cascade("db2", iterations=0)
        assert x.tolist() == [0, 1, 2, 3]
        assert phi.tolist() == [1, 0, 0, 0]
        assert psi.tolist() == [0, 0, 0, 0]
        x, phi, psi = cascade("db2", iterations=1)
        assert_close(phi[:4], math.sqrt(2) * Wavelet("db2").rec_lo)
        assert_close(psi[:4], math.sqrt(2) * Wavelet("db2").rec_hi)
        assert x.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]

    @pytest.mark.parametrize("name", ["haar", "db2", "db10", "sym6", "coif2"])
    @pytest.mark.parametrize("iterations", [1, 2, 5])
    def test_integer_shifts_are_orthonormal_in_every_frame(self, name, iterations):
        x, phi, psi = cascade(name, iterations)
        unit = 2**iterations
        for shift in range(Wavelet(name).rec_len - 1):
            left, right = slice(shift * unit, None), slice(0, len(x) - shift * unit)
            expected = 1.0 if shift == 0 else 0.0
            assert (phi[left] @ phi[right]).item() / unit == pytest.approx(expected, abs=1e-10)
            assert (psi[left] @ psi[right]).item() / unit == pytest.approx(expected, abs=1e-10)
            assert (phi[left] @ psi[right]).item() / unit == pytest.approx(0, abs=1e-10)

    @pytest.mark.parametrize("name", ["bior2.2", "bior3.1", "bior6.8", "rbio1.5"])
    def test_both_sides_are_biorthogonal_in_every_frame(self, name):
        _, phi, psi = cascade(name, 4)
        _, dual_phi, dual_psi = cascade(name, 4, side="analysis")
        for shift in range(-2, 3):
            moved = torch.nn.functional.pad(phi, (64, 64)).roll(16 * shift)[64:-64]
            assert (moved @ dual_phi).item() / 16 == pytest.approx(float(shift == 0), abs=1e-11)
            assert (moved @ dual_psi).item() / 16 == pytest.approx(0, abs=1e-11)
        assert (psi @ dual_psi).item() / 16 == pytest.approx(1, abs=1e-11)

    @pytest.mark.parametrize(("name", "rate"), [("db2", 0.55), ("db4", 0.3), ("bior2.2", 0.3)])
    def test_converges_to_the_exact_values(self, name, rate):
        errors = []
        for iterations in (6, 8, 10):
            exact = dyadic(name, iterations)[1]
            errors.append((cascade(name, iterations)[1] - exact).abs().max())
        assert errors[1] < rate * errors[0]
        assert errors[2] < rate * errors[1]


class TestDyadic:
    @pytest.mark.parametrize(("name", "side"), SMOOTH)
    def test_two_scale_relations(self, name, side):
        # The definition, by itself: read phi at 2x - n from a table.
        w = Wavelet(name)
        h, g = (w.rec_lo, w.rec_hi) if side == "synthesis" else (w.dec_lo.flip(0), w.dec_hi.flip(0))
        x, phi, psi = (t.numpy() for t in dyadic(name, 2, side=side))
        table = dict(zip(x.tolist(), phi.tolist(), strict=True))
        for taps, left in ((h, phi), (g, psi)):
            right = [
                math.sqrt(2) * sum(t * table.get(2 * a - n, 0) for n, t in enumerate(taps.tolist()))
                for a in x
            ]
            np.testing.assert_allclose(left, right, rtol=0, atol=2e-11)

    @pytest.mark.parametrize(("name", "side"), SMOOTH)
    def test_partition_of_unity(self, name, side):
        _, phi, psi = dyadic(name, 3, side=side)
        assert_close(phi[:-1].reshape(-1, 8).sum(0), torch.ones(8, dtype=torch.float64), atol=1e-10)
        assert psi.sum().item() / 8 == pytest.approx(0, abs=1e-10)
        assert phi[-1] == 0

    @pytest.mark.parametrize("name", ["db3", "db8", "sym4", "coif2"])
    def test_shifts_add_up_to_polynomials(self, name):
        # With p vanishing moments, a polynomial c of degree < p makes sum_k c(k) phi(x - k) one.
        x, phi, _ = dyadic(name, 4)
        span = len(x) // 16
        for degree in range(Wavelet(name).vanishing_moments):
            total = torch.zeros(16 * (3 * span), dtype=torch.float64)
            for k in range(2 * span):
                total[16 * k : 16 * k + len(x)] += ((k - span) / span) ** degree * phi
            inside = total[16 * span : 32 * span]
            t = np.linspace(-1, 1, len(inside))
            fit = np.polynomial.Polynomial.fit(t, inside, degree)
            np.testing.assert_allclose(fit(t), inside, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("name", ["db3", "sym6", "coif3"])
    def test_nearly_orthonormal_shifts(self, name):
        _, phi, _ = dyadic(name, 8)
        for shift in range(3):
            product = phi[256 * shift :] @ phi[: len(phi) - 256 * shift] / 256
            assert product.item() == pytest.approx(float(shift == 0), abs=1e-3)

    @given(st.floats(-math.pi, math.pi))
    @example(0.0)
    @example(0.2)
    @example(math.pi / 3)
    @example(1.6)
    @example(-1.6)
    @example(math.pi)
    @settings(max_examples=60, deadline=None)
    def test_every_orthogonal_filter_of_four_taps(self, angle):
        # All of them in one angle (Pollen); db2 is pi / 3. The eigenvalues are known.
        c, s = math.cos(angle), math.sin(angle)
        h = np.array([1 - c + s, 1 + c + s, 1 + c - s, 1 - c - s]) / (2 * math.sqrt(2))
        w = Wavelet.from_scaling_filter(h)
        largest = max(abs(c), (1 - c + s) / 2, (1 - c - s) / 2)
        if largest > 0.9999 and h[0] != 0:  # else it is Haar, padded
            with pytest.raises(ValueError, match="no continuous phi"):
                dyadic(w, 3)
        elif largest < 0.998:
            _, phi, _ = dyadic(w, 3)
            assert phi[8].item() == pytest.approx((1 + s / (1 - c)) / 2, rel=1e-10, abs=1e-10)
            assert_close(
                phi[:-1].reshape(-1, 8).sum(0), torch.ones(8, dtype=torch.float64), atol=1e-9
            )

    def test_each_level_keeps_the_values_of_the_one_before(self):
        fine, coarse = dyadic("db3", 5), dyadic("db3", 3)
        for a, b in zip(fine, coarse, strict=True):
            assert_close(a[::4], b)

    def test_dmey_as_well_as_its_taps_allow(self):
        _, phi, _ = dyadic("dmey", 4)
        assert_close(
            phi[:-1].reshape(-1, 16).sum(0), torch.ones(16, dtype=torch.float64), atol=5e-3
        )
        assert dyadic("dmey", 0)[1].sum().item() == pytest.approx(1, abs=1e-14)

    @pytest.mark.parametrize(("name", "side"), sorted(ROUGH))
    def test_too_rough_for_values(self, name, side):
        with pytest.raises(ValueError, match=f"the {side} side of '{name}' has no continuous phi"):
            dyadic(name, side=side)
        _, phi, _ = cascade(name, 4, side=side)
        assert phi.isfinite().all()

    def test_eigenvalue_that_is_not_simple(self):
        stretched = Wavelet.from_scaling_filter(np.array([1, 0, 0, 1]) / math.sqrt(2))
        with pytest.raises(ValueError, match=r"largest moduli are 1, 1, 1"):
            dyadic(stretched)

    def test_taps_without_eigenvalue_one(self):
        w = Wavelet.from_scaling_filter(0.9 * daubechies(2), tolerance=math.inf)
        with pytest.raises(ValueError, match=r"largest moduli are 0\.9, 0\.6"):
            dyadic(w)

    @pytest.mark.parametrize("taps", [[1.0, 0.0], [0.0, 0.0]])
    def test_filter_of_one_tap(self, taps):
        with pytest.raises(ValueError, match="fewer than two taps"):
            dyadic(Wavelet.from_scaling_filter(taps, tolerance=math.inf))


class TestBoth:
    @pytest.mark.parametrize("function", [cascade, dyadic])
    def test_gradient_with_respect_to_taps(self, function):
        def values(h):
            return function(Wavelet.from_scaling_filter(h, tolerance=math.inf), 2)[1:]

        assert torch.autograd.gradcheck(values, daubechies(3).requires_grad_())

    @pytest.mark.parametrize("function", [cascade, dyadic])
    def test_float32(self, function):
        single = Wavelet("db3").to(torch.float32)
        for ours, exact in zip(function(single), function("db3"), strict=True):
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("function", [cascade, dyadic])
    def test_bad_arguments(self, function):
        with pytest.raises(ValueError, match="must be at least 0, got -1"):
            function("db2", -1)
        with pytest.raises(TypeError, match="must be an integer, got"):
            function("db2", 2.0)
        with pytest.raises(ValueError, match="side must be 'synthesis' or 'analysis', got 'left'"):
            function("db2", side="left")
        with pytest.raises(ValueError, match="unknown wavelet"):
            function("db0")
