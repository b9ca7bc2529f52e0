"""HiPPO-LegS: the best polynomial of everything so far, in a fixed number of coefficients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mrbook.checks import check_count
from mrbook.memory.base import Stream


def hippo_legs(order: int) -> tuple[Tensor, Tensor]:
    """The matrices of HiPPO-LegS: ``dc/dt = (-A c + B f(t)) / t``.

    Parameters
    ----------
    order : int
        Number of Legendre coefficients.

    Returns
    -------
    A : Tensor, shape (order, order), float64
        ``sqrt((2n + 1)(2k + 1))`` below the diagonal, ``n + 1`` on it.
    B : Tensor, shape (order,), float64
        ``sqrt(2n + 1)``.

    Raises
    ------
    TypeError, ValueError
        If order is not an integer of at least 1.

    References
    ----------
    A. Gu, T. Dao, S. Ermon, A. Rudra, C. Ré, "HiPPO: Recurrent memory with optimal polynomial
    projections", NeurIPS 2020, theorem 2.

    Examples
    --------
    >>> A, B = hippo_legs(2)
    >>> A.tolist(), B.tolist()
    ([[1.0, 0.0], [1.732..., 2.0]], [1.0, 1.732...])
    """
    n = torch.arange(check_count(order, "order"), dtype=torch.float64)
    B = (2 * n + 1).sqrt()
    return torch.tril(torch.outer(B, B), -1) + torch.diag(n + 1), B


class LegendreMemory(Stream):
    """HiPPO-LegS on a grid: the polynomial of degree below `order` nearest to all values so far.

    HiPPO-LegS keeps the Legendre coefficients of a function on [0, t], every moment of the past
    weighing the same. Here the past is the samples at 0, ..., t, and Legendre's polynomials are
    those orthogonal on this grid (Gram's). The step from t to t + 1 is then exact, with no choice
    of discretization, and takes O(order) operations; for long histories it approaches the published
    ``c + (-A c + B x) / t`` (`hippo_legs`). Polynomials of degree below `order` are reproduced.

    Parameters
    ----------
    order : int
        How many coefficients to keep.

    Attributes
    ----------
    coefficients : Tensor, shape (..., order)
        Scaled as in HiPPO: the mean square of what is recalled is the sum of their squares.

    Raises
    ------
    TypeError, ValueError
        If order is not an integer of at least 1.

    References
    ----------
    A. Gu, T. Dao, S. Ermon, A. Rudra, C. Ré, "HiPPO: Recurrent memory with optimal polynomial
    projections", NeurIPS 2020.

    Examples
    --------
    >>> x = torch.arange(10.0) ** 2
    >>> LegendreMemory(3).extend(x).recall(4).round(decimals=3)
    tensor(16.)
    """

    coefficients: Tensor

    def __init__(self, order: int) -> None:
        self._order = check_count(order, "order")

    @property
    def size(self) -> int:
        """How many numbers are kept for each channel of each sequence."""
        return self._order

    def _write(self, x_t: Tensor) -> None:
        n, order = self.length, self._order
        if n == 0:
            self.coefficients = self._like.new_zeros((*self._shape, order))
        # The orthonormal polynomials of n points, with the row v of their values at the new point,
        # are made orthonormal again by the Cholesky factor of I + v^T v. It has a closed form:
        # with σ_k² = 1 + v_0² + ... + v_k² and the error e_k of predicting x from degrees below k,
        #     z_k <- (σ_(k-1) z_k + (v_k / σ_(k-1)) e_k) / σ_k.
        v = torch.tensor(_extrapolated(n, order), dtype=torch.float64)
        sigma = (1 + v.square().cumsum(0)).sqrt()
        before = torch.cat((sigma.new_ones(1), sigma))[: len(v)]
        z = self.coefficients[..., : len(v)] * math.sqrt(n)
        predicted = (z * v.to(z)).cumsum(-1)
        error = x_t[..., None] - torch.cat((torch.zeros_like(x_t)[..., None], predicted), -1)
        updated = (before / sigma).to(z) * z + (v / (before * sigma)).to(z) * error[..., :-1]
        if n < order:  # one more degree is possible: v is infinite there
            last = float(sigma[-1]) if n else 1.0
            new = [updated, error[..., -1:] / last, z.new_zeros((*self._shape, order - n - 1))]
            updated = torch.cat(new, -1)
        self.coefficients = updated / math.sqrt(n + 1)

    def _recall(self, first: int, last: int) -> Tensor:
        basis = _discrete_legendre(self.length, self._order)[first : last + 1].to(self.coefficients)
        z = self.coefficients[..., : basis.shape[-1]] * math.sqrt(self.length)
        return z @ basis.T


def _extrapolated(count: int, order: int) -> list[float]:
    """The orthonormal polynomials of the points 0, ..., count - 1, evaluated at the next point."""
    values: list[float] = []
    u = (count + 1) / 2  # the point, measured from the middle of the others
    before, beta = 0.0, 0.0
    value = 1 / math.sqrt(count) if count else 0.0
    for k in range(1, min(order, count) + 1):
        values.append(value)
        next_beta = k / 2 * math.sqrt((count**2 - k**2) / (4 * k**2 - 1))
        if next_beta:
            before, value = value, (u * value - beta * before) / next_beta
        beta = next_beta
    return values


def _discrete_legendre(count: int, order: int) -> Tensor:
    """The same polynomials at the points themselves, shape (count, min(order, count)).

    Each is the one before times the point, made orthogonal to all before; twice, for rounding.
    """
    points = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    basis = torch.zeros(count, min(order, count), dtype=torch.float64)
    basis[:, 0] = 1 / math.sqrt(count)
    for k in range(1, basis.shape[1]):
        q = points * basis[:, k - 1]
        for _ in range(2):
            q = q - basis[:, :k] @ (basis[:, :k].T @ q)
        basis[:, k] = q / q.norm()
    return basis
