"""The functions behind the filters: scaling function phi and wavelet psi, on a dyadic grid.

Both follow from the taps by the two-scale relations

    phi(x) = sqrt(2) sum_n h[n] phi(2x - n)        psi(x) = sqrt(2) sum_n g[n] phi(2x - n)

with h and g the synthesis filters ``rec_lo`` and ``rec_hi`` (or the analysis filters reversed).
With K taps, both vanish outside [0, K - 1]. `cascade` starts from a box and applies the first
relation again and again; `dyadic` starts from the right values at the integers and is exact.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count
from mrbook.filters import Wavelet, as_wavelet


def cascade(
    wavelet: Wavelet | str, iterations: int = 8, *, side: str = "synthesis"
) -> tuple[Tensor, Tensor, Tensor]:
    """Scaling function and wavelet by the cascade algorithm.

    phi starts as a box, 1 on [0, 1), and goes ``iterations`` times through its two-scale relation;
    psi follows from the last phi but one by its own (before the first iteration it is 0). Both are
    step functions: a value holds from its grid point up to the next, so draw them with matplotlib's
    ``where="post"``. Iterations 0, 1, 2, ... are the frames of a moving picture. If the wavelet is
    orthogonal, so are the integer shifts of phi and psi, in every frame.

    Parameters
    ----------
    wavelet : Wavelet or str
        With filters of K taps.
    iterations : int
        How often the relation is applied, from 0.
    side : {"synthesis", "analysis"}
        Whose functions: of the synthesis filters, or of the analysis filters (their dual; for an
        orthogonal wavelet the same).

    Returns
    -------
    x, phi, psi : Tensor
        Each of shape ``((K - 1) * 2**iterations + 1,)`` in the dtype of the taps, on the grid of
        ``dyadic(wavelet, iterations)``. Differentiable with respect to the taps.

    Raises
    ------
    TypeError
        If iterations is not an integer.
    ValueError
        If iterations is negative, or the wavelet or side is unknown.

    References
    ----------
    I. Daubechies, Ten Lectures on Wavelets, SIAM, 1992, section 6.5.

    Examples
    --------
    >>> x, phi, psi = cascade("haar", iterations=2)
    >>> x
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    >>> phi.round(decimals=4)
    tensor([1., 1., 1., 1., 0.], dtype=torch.float64)
    >>> psi.round(decimals=4)
    tensor([ 1.,  1., -1., -1.,  0.], dtype=torch.float64)
    """
    h, g, _ = _two_scale_filters(wavelet, side)
    iterations = check_count(iterations, "iterations", 0)
    phi, psi = torch.zeros_like(h), torch.zeros_like(h)  # at the integers 0, ..., K - 1
    phi[0] = 1
    for level in range(iterations):
        phi, psi = _refine(phi, h, level), _refine(phi, g, level)
    return _grid(h, iterations), phi, psi


def dyadic(
    wavelet: Wavelet | str, level: int = 8, *, side: str = "synthesis"
) -> tuple[Tensor, Tensor, Tensor]:
    """Scaling function and wavelet at the dyadic points ``x = n / 2**level``, exact.

    At the integers the two-scale relation reads ``phi(k) = sqrt(2) sum_n h[2k - n] phi(n)``: the
    values are an eigenvector, with eigenvalue 1, of a matrix made of taps. Normalized to sum 1 (phi
    and its integer shifts add up to 1), they give the values at the halves, then the quarters, and
    so on. Where phi jumps, as Haar's does, the value is that from the right.

    Parameters
    ----------
    wavelet : Wavelet or str
        With filters of K taps.
    level : int
        The grid has ``2**level`` points per unit, from 0.
    side : {"synthesis", "analysis"}
        Whose functions: of the synthesis filters, or of the analysis filters (their dual; for an
        orthogonal wavelet the same).

    Returns
    -------
    x, phi, psi : Tensor
        Each of shape ``((K - 1) * 2**level + 1,)`` in the dtype of the taps. Differentiable with
        respect to the taps.

    Raises
    ------
    TypeError
        If level is not an integer.
    ValueError
        If level is negative, or the wavelet or side is unknown; or if phi has no values at points,
        because 1 is not a simple eigenvalue of the matrix or not its largest. Of PyWavelets'
        wavelets these are the synthesis sides of "rbio2.2", "rbio3.1" and "rbio3.3" and the
        analysis sides of "bior2.2", "bior3.1" and "bior3.3".

    References
    ----------
    G. Strang and T. Nguyen, Wavelets and Filter Banks, Wellesley-Cambridge, 1996, chapter 6.

    Examples
    --------
    >>> x, phi, psi = dyadic("db2", level=0)
    >>> x
    tensor([0., 1., 2., 3.], dtype=torch.float64)
    >>> phi[1], (1 + math.sqrt(3)) / 2
    (tensor(1.3660, dtype=torch.float64), 1.366...)
    """
    h, g, name = _two_scale_filters(wavelet, side)
    level = check_count(level, "level", 0)
    phi = _values_at_integers(h, f"the {side} side of {name!r}")
    for finer in range(level):
        phi = _refine(phi, h, finer)
    psi = _refine(phi, g, level)[::2]
    return _grid(h, level), phi, psi


def _refine(phi: Tensor, taps: Tensor, level: int) -> Tensor:
    """``sqrt(2) sum_n taps[n] phi(2x - n)`` one grid finer: from steps of 2^-level to half that.

    With ``x = m / 2**(level+1)``, phi is read at index ``m - n 2**level``: a convolution with the
    taps spread ``2**level`` apart.
    """
    spread = F.conv_transpose1d(phi[None, None], taps[None, None], dilation=2**level)
    return math.sqrt(2) * spread[0, 0]


def _values_at_integers(h: Tensor, whose: str) -> Tensor:
    """phi(0), ..., phi(K - 1) for a filter of K taps, with sum 1; 0 at the end of the support."""
    taken = h.detach().nonzero()[:, 0]
    if len(taken) < 2:
        raise ValueError(f"{whose} has fewer than two taps that are not 0: it has no function phi")
    first, last = int(taken[0]), int(taken[-1])  # phi lives on [first, last)
    k = torch.arange(last - first, device=h.device)
    index = 2 * k[:, None] - k + first + torch.tensor([0, 1], device=h.device)[:, None, None]
    inside = (index >= first) & (index <= last)
    # Two matrices: the values from the right at 0, 1, ..., and those from the left at 1, 2, ...
    matrices = math.sqrt(2) * torch.where(inside, h[index.clamp(first, last)], 0)
    matrix = matrices[0]

    # The values exist only where refining forgets everything but the eigenvector.
    sizes = torch.linalg.eigvals(matrices.detach().cpu().double()).abs()
    sizes = sizes.sort(dim=-1, descending=True)[0].amax(dim=0)
    if abs(sizes[0] - 1) > 0.01 or (len(sizes) > 1 and sizes[1] > 0.999):
        raise ValueError(
            f"{whose} has no continuous phi to evaluate: the two-scale relation at the integers "
            "must have the simple eigenvalue 1 and smaller ones, but the largest moduli are "
            f"{', '.join(f'{size:.4g}' for size in sizes[:3].tolist())}; `cascade` still works"
        )
    # (matrix - 1) phi = 0 and sum(phi) = 1, in least squares because taps are rounded.
    system = torch.cat([matrix - torch.eye(len(k)).to(matrix), torch.ones_like(matrix[:1])])
    right = torch.zeros_like(system[:, :1])
    right[-1] = 1
    phi = torch.linalg.lstsq(system, right).solution[:, 0]
    return F.pad(phi / phi.sum(), (first, len(h) - last))


def _two_scale_filters(wavelet: Wavelet | str, side: str) -> tuple[Tensor, Tensor, str]:
    wavelet = as_wavelet(wavelet)
    if side == "synthesis":
        return wavelet.rec_lo, wavelet.rec_hi, wavelet.name
    if side == "analysis":
        return wavelet.dec_lo.flip(0), wavelet.dec_hi.flip(0), wavelet.name
    raise ValueError(f"side must be 'synthesis' or 'analysis', got {side!r}")


def _grid(h: Tensor, level: int) -> Tensor:
    points = (len(h) - 1) * 2**level + 1
    return torch.arange(points, dtype=h.dtype, device=h.device) / 2**level
