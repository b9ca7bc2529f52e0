"""A wavelet is two filters, a low-pass and a high-pass, and two more that undo them.

`daubechies` builds the shortest orthogonal filters with p vanishing moments from first principles.
`Wavelet` holds the four filters of a bank, by PyWavelets' names and in its order, and can tell how
well they reconstruct. Taps are one-dimensional tensors throughout.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
from collections.abc import Sequence

import numpy as np
import pywt
import torch
from torch import Tensor

from mrbook.checks import check_count

Taps = Tensor | Sequence[float] | np.ndarray

_BANK = ("dec_lo", "dec_hi", "rec_lo", "rec_hi")


def daubechies(p: int, *, digits: int | None = 50) -> Tensor:
    """Scaling filter of Daubechies' orthogonal wavelet with p vanishing moments.

    On the unit circle the filter's squared magnitude must be ``2 cos(w/2)^(2p) Q(sin(w/2)^2)``,
    where ``Q(y) = sum_k C(p-1+k, k) y^k`` for ``k < p`` is the shortest polynomial that makes the
    filter orthogonal to its even shifts. Each root y of Q belongs to two roots z and 1/z of the
    squared magnitude, from ``y = (2 - z - 1/z) / 4``. Spectral factorization keeps one of each
    pair; keeping those inside the unit circle gives the filter of minimum phase, whose energy
    comes as early as possible.

    Parameters
    ----------
    p : int
        Number of vanishing moments, 1 to 38.
    digits : int or None
        Decimal digits of the arithmetic. 50 give every tap to the last bit of float64. None means
        float64 alone, which loses more than half of its digits by p = 38 in finding the roots of Q.

    Returns
    -------
    Tensor
        The taps, shape ``(2 * p,)``, float64, with sum sqrt(2). Equal to ``rec_lo`` of
        PyWavelets' ``db{p}``.

    Raises
    ------
    TypeError
        If p or digits is not an integer.
    ValueError
        If p is not in 1 to 38, or digits is less than 30.

    References
    ----------
    I. Daubechies, Ten Lectures on Wavelets, SIAM, 1992, chapter 6.

    Examples
    --------
    >>> daubechies(2)
    tensor([ 0.4830,  0.8365,  0.2241, -0.1294], dtype=torch.float64)
    """
    p = check_count(p, "p", 1, 38)
    if digits is not None:
        digits = check_count(digits, "digits", 30)
    return torch.tensor(_daubechies(p, digits), dtype=torch.float64)


@functools.cache
def _daubechies(p: int, digits: int | None) -> tuple[float, ...]:
    q = [math.comb(p - 1 + k, k) for k in reversed(range(p))]  # highest power first
    y = np.roots(q)
    with contextlib.ExitStack() as stack:
        if digits is not None and p > 1:
            import mpmath  # slow to import, and only needed here

            stack.enter_context(mpmath.workdps(digits))
            refined = mpmath.polyroots(q, maxsteps=100, extraprec=2 * digits, roots_init=list(y))
            y = np.array(refined, dtype=object)
        # From here the same lines serve float64 and mpmath's numbers.
        half_sum = 1 - 2 * y  # (z + 1/z) / 2
        half_difference = (half_sum * half_sum - 1) ** 0.5
        outside = half_sum + half_difference
        outside = np.where(np.abs(outside) > 1, outside, half_sum - half_difference)
        h = functools.reduce(np.convolve, [[1, 1]] * p + [np.array([1, -1 / z]) for z in outside])
        real = np.array([tap.real for tap in h])
        return tuple(float(tap) for tap in real * (2 / real.sum() ** 2) ** 0.5)


def quadrature_mirror(h: Taps) -> Tensor:
    """High-pass filter that goes with an orthogonal low-pass: reversed, every second sign changed.

    Parameters
    ----------
    h : Tensor or sequence of float
        Taps, shape ``(K,)``.

    Returns
    -------
    Tensor
        ``g[n] = (-1)^n h[K-1-n]``, shape ``(K,)``, as `pywt.qmf` has it. A floating-point tensor
        keeps its dtype, device and gradient; everything else becomes float64.

    Raises
    ------
    TypeError
        If h is complex or not numeric.
    ValueError
        If h is empty or not one-dimensional.

    Examples
    --------
    >>> quadrature_mirror([1.0, 2.0, 3.0, 4.0])
    tensor([ 4., -3.,  2., -1.], dtype=torch.float64)
    """
    h = _as_taps(h, "h")
    signs = torch.ones_like(h)
    signs[1::2] = -1
    return h.flip(0) * signs


class Wavelet:
    """Analysis and synthesis filters of a wavelet, in PyWavelets' order and orientation.

    Parameters
    ----------
    name : str
        One of PyWavelets' discrete wavelets ("haar", "db2", "sym5", "bior4.4", ...), in upper or
        lower case; or any name for a bank of your own.
    filter_bank : sequence of four filters, optional
        Your own taps ``(dec_lo, dec_hi, rec_lo, rec_hi)``, each of the same even length K: pad
        with zeros where needed. Floating-point tensors keep their dtype, device and gradient;
        everything else becomes float64.
    tolerance : float
        Largest reconstruction error (see `reconstruction_error`) allowed of your own taps.
        ``math.inf`` skips the check, as learned filters need. PyWavelets' wavelets are not checked:
        "dmey" reconstructs only to 4.5e-3.

    Attributes
    ----------
    dec_lo : Tensor
        Analysis low-pass by lag, shape ``(K,)``.
    dec_hi : Tensor
        Analysis high-pass by lag, shape ``(K,)``.
    rec_lo : Tensor
        Synthesis low-pass, shape ``(K,)``.
    rec_hi : Tensor
        Synthesis high-pass, shape ``(K,)``.

    Raises
    ------
    TypeError
        If name is not a string, or taps are complex or not numeric.
    ValueError
        If the name is unknown; or taps are empty, not one-dimensional, of odd or different lengths,
        not finite; or do not reconstruct, saying which condition fails and by how much.

    Examples
    --------
    >>> haar = Wavelet("haar")
    >>> haar.dec_hi
    tensor([-0.7071,  0.7071], dtype=torch.float64)
    >>> half = [0.5, 0.5]
    >>> mean = Wavelet("mean", (half, [-0.5, 0.5], [1, 1], [1, -1]))
    >>> mean.is_orthogonal, mean.vanishing_moments
    (False, 1)
    >>> Wavelet("half", (half, [-0.5, 0.5], half, [0.5, -0.5]))
    Traceback (most recent call last):
        ...
    ValueError: 'half' does not reconstruct: ... fails by 1.0e+00 ...
    """

    def __init__(
        self, name: str, filter_bank: Sequence[Taps] | None = None, *, tolerance: float = 1e-8
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {type(name).__name__}")
        if not tolerance >= 0:
            raise ValueError(f"tolerance must be a number from 0 to math.inf, got {tolerance}")
        if filter_bank is None:
            builtin = _pywt_wavelet(name)
            name, filter_bank, tolerance = builtin.name, builtin.filter_bank, math.inf
        if len(filter_bank) != 4:
            expected = ", ".join(_BANK)
            raise ValueError(f"filter_bank must be ({expected}), got {len(filter_bank)} filters")
        self.name = name
        self.dec_lo, self.dec_hi, self.rec_lo, self.rec_hi = map(_as_taps, filter_bank, _BANK)
        lengths = [len(taps) for taps in self.filter_bank]
        if len(set(lengths)) > 1 or lengths[0] % 2:
            raise ValueError(
                f"filters must have the same even length (pad them with zeros), got {lengths}"
            )
        if tolerance < math.inf:
            self._check(tolerance)

    @classmethod
    def from_scaling_filter(
        cls, rec_lo: Taps, name: str = "custom", *, tolerance: float = 1e-8
    ) -> Wavelet:
        """Orthogonal wavelet from its scaling filter alone; the other three filters follow.

        rec_lo has shape ``(K,)``, K even, and sum sqrt(2). What is raised, as for `Wavelet`.

        Examples
        --------
        >>> Wavelet.from_scaling_filter(daubechies(3), "my db3").vanishing_moments
        3
        """
        lo = _as_taps(rec_lo, "rec_lo")
        hi = quadrature_mirror(lo)
        return cls(name, (lo.flip(0), hi.flip(0), lo, hi), tolerance=tolerance)

    @property
    def filter_bank(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four filters ``(dec_lo, dec_hi, rec_lo, rec_hi)``."""
        return self.dec_lo, self.dec_hi, self.rec_lo, self.rec_hi

    @property
    def dec_len(self) -> int:
        """Number of taps K of each analysis filter."""
        return len(self.dec_lo)

    @property
    def rec_len(self) -> int:
        """Number of taps K of each synthesis filter."""
        return len(self.rec_lo)

    def orthogonality_error(self) -> float:
        """Distance from an orthogonal bank: the largest violation of its conditions.

        Both analysis filters have norm 1 and are orthogonal to their own and each other's even
        shifts, and each synthesis filter is its analysis filter reversed.
        """
        dec_lo, dec_hi, rec_lo, rec_hi = self._numpy()
        identity = _delta(len(dec_lo))[1::2]
        return _largest(
            np.correlate(dec_lo, dec_lo, "full")[1::2] - identity,
            np.correlate(dec_hi, dec_hi, "full")[1::2] - identity,
            np.correlate(dec_lo, dec_hi, "full")[1::2],
            rec_lo - dec_lo[::-1],
            rec_hi - dec_hi[::-1],
        )

    @property
    def is_orthogonal(self) -> bool:
        """Whether the taps are those of an orthogonal bank, to 1e-8.

        The taps decide, so that "dmey" (2.2e-3 off) is not, and "bior1.1", which is Haar, is.
        PyWavelets' attribute goes by family and says the opposite of both.
        """
        return self.orthogonality_error() <= 1e-8

    def reconstruction_error(self) -> float:
        """Distance from perfect reconstruction: the largest violation of its two conditions.

        No distortion: ``rec_lo * dec_lo + rec_hi * dec_hi`` (convolutions) is 2 at lag K - 1, the
        delay that `mrbook.dwt.idwt` takes off, and 0 elsewhere. No aliasing: the same sum with
        the sign of every second analysis tap changed is 0.
        """
        return _largest(*self._reconstruction_residuals())

    @property
    def vanishing_moments(self) -> int:
        """Number of vanishing moments of the analysis wavelet, counted on the taps of ``dec_hi``.

        With p of them, details of any polynomial of degree below p are zero. A moment counts
        as zero if what the taps miss of it is not above the error with which they reconstruct.
        ("dmey", cut from an infinite filter, has none in this sense.)
        """
        dec_hi = self._numpy()[1]
        # Powers of n are hopelessly ill-conditioned; polynomials orthonormal on 0..K-1 are not.
        grid = np.linspace(-1, 1, len(dec_hi))
        basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(grid, len(dec_hi) - 1))
        moments = np.abs(basis.T @ dec_hi)
        tolerance = min(max(1e-12, 10 * self.reconstruction_error()), 1e-6)
        nonzero = np.flatnonzero(~(moments <= tolerance * np.linalg.norm(dec_hi)))
        return int(nonzero[0]) if len(nonzero) else len(dec_hi)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Wavelet:
        """The same wavelet with its taps in another dtype or on another device.

        >>> Wavelet("db2").to(torch.float32).dec_lo
        tensor([-0.1294,  0.2241,  0.8365,  0.4830])
        """
        bank = [taps.to(dtype=dtype, device=device) for taps in self.filter_bank]
        return Wavelet(self.name, bank, tolerance=math.inf)

    def __repr__(self) -> str:
        return f"Wavelet({self.name!r}, {self.dec_len} taps)"

    def _numpy(self) -> list[np.ndarray]:
        return [taps.detach().cpu().double().numpy() for taps in self.filter_bank]

    def _reconstruction_residuals(self) -> tuple[np.ndarray, np.ndarray]:
        dec_lo, dec_hi, rec_lo, rec_hi = self._numpy()
        signs = (-1.0) ** np.arange(len(dec_lo))
        through = np.convolve(rec_lo, dec_lo) + np.convolve(rec_hi, dec_hi)
        alias = np.convolve(rec_lo, signs * dec_lo) + np.convolve(rec_hi, signs * dec_hi)
        return through - 2 * _delta(len(dec_lo)), alias

    def _check(self, tolerance: float) -> None:
        for name, taps in zip(_BANK, self._numpy(), strict=True):
            if not np.isfinite(taps).all():
                raise ValueError(f"{name} must have finite taps, got {taps.tolist()}")
        distortion, alias = self._reconstruction_residuals()
        failures = []
        if (error := _largest(distortion)) > tolerance:
            failures.append(f"the no-distortion condition fails by {error:.1e}")
            through = distortion + 2 * _delta(self.dec_len)
            lag = int(np.abs(through).argmax())
            if _largest(np.delete(through, lag)) <= tolerance:
                failures[0] += (
                    f" (the signal comes back times {through[lag] / 2:.6g}, late by {lag}, "
                    f"not times 1, late by {self.dec_len - 1})"
                )
        if (error := _largest(alias)) > tolerance:
            failures.append(f"the alias-cancellation condition fails by {error:.1e}")
        if failures:
            raise ValueError(
                f"{self.name!r} does not reconstruct: {' and '.join(failures)}, "
                f"with tolerance {tolerance:g}"
            )


def as_wavelet(wavelet: Wavelet | str) -> Wavelet:
    """The wavelet itself, or the one of PyWavelets' with this name.

    Names are looked up in a table built at import, so this costs nothing in a loop and works inside
    ``torch.compile(fullgraph=True)``. Wavelets by name are shared: do not write into their taps.
    Anything else raises TypeError, an unknown name ValueError.

    Examples
    --------
    >>> as_wavelet("db2")
    Wavelet('db2', 4 taps)
    >>> as_wavelet("db39")
    Traceback (most recent call last):
        ...
    ValueError: unknown wavelet 'db39'; nearest names: ...
    """
    if isinstance(wavelet, Wavelet):
        return wavelet
    if not isinstance(wavelet, str):
        raise TypeError(f"wavelet must be a Wavelet or a name, got {type(wavelet).__name__}")
    name = wavelet.lower()
    return _NAMED[name] if name in _NAMED else Wavelet(name)


def _pywt_wavelet(name: str) -> pywt.Wavelet:
    known = pywt.wavelist(kind="discrete")
    if name.lower() in known:
        return pywt.Wavelet(name)
    continuous = tuple(c.rstrip("0123456789") for c in pywt.wavelist(kind="continuous"))
    if name.lower().startswith(continuous):
        raise ValueError(f"{name!r} is a continuous wavelet: it has no filters")
    near = difflib.get_close_matches(name.lower(), known, cutoff=0.5)
    hint = (
        f"nearest names: {', '.join(near)}" if near else "pywt.wavelist(kind='discrete') lists all"
    )
    raise ValueError(f"unknown wavelet {name!r}; {hint}")


def _as_taps(taps: Taps, name: str) -> Tensor:
    if not isinstance(taps, Tensor):
        try:
            array = np.array(taps)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name} must be a tensor or a sequence of numbers: {error}") from None
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} must be real numbers, got {array.dtype}")
        taps = torch.from_numpy(array.astype(np.float64))
    if taps.is_complex():
        raise TypeError(f"{name} must be real, got {taps.dtype}")
    if taps.ndim != 1 or len(taps) == 0:
        raise ValueError(f"{name} must have shape (K,) with K > 0, got {tuple(taps.shape)}")
    return taps if taps.is_floating_point() else taps.double()


def _delta(length: int) -> np.ndarray:
    """1 at lag ``length - 1`` of a convolution of two filters of this length, 0 elsewhere."""
    delta = np.zeros(2 * length - 1)
    delta[length - 1] = 1
    return delta


def _largest(*arrays: np.ndarray) -> float:
    return float(np.max([np.abs(array).max() for array in arrays]))  # NaN stays NaN


_NAMED = {name: Wavelet(name) for name in pywt.wavelist(kind="discrete")}
