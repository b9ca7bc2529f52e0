"""MRConv as it is written: one convolution per branch, each normalized, and their weighted sum.

`mrconv_branches` is the definition, and all derivatives exist. It costs a convolution per branch.
`mrconv_merged` comes to the same answer with one, in training too.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count
from mrbook.longconv import causal_conv, mask_padding
from mrbook.mrconv.moments import branch_moments, spectral_conv
from mrbook.statistics import count_steps, sum_over_processes

__all__ = [
    "batch_moments",
    "branch_lengths",
    "merge_kernels",
    "mrconv_branches",
    "mrconv_merged",
    "start_weights",
]

_LONGEST = 2**24  # lags of a kernel that nobody asked for by its length


def branch_lengths(
    length: int | None = None, branches: int | None = None, l0: int = 16
) -> list[int]:
    """Lengths of the kernels, ``2^i l0`` for i = 0, ..., branches - 1.

    Parameters
    ----------
    length : int, optional
        Longest lag that should be reached: only the last kernel may be longer, and is clipped.
    branches : int, optional
        How many. Default: as many as it takes to reach `length`. Without `length` they end at
        2^24 lags.
    l0 : int
        Length of the first.

    Raises
    ------
    TypeError, ValueError
        If neither is given, l0 exceeds length, the last branches would all be clipped to it, or
        without `length` the last would have more than 2^24 lags.

    Examples
    --------
    >>> branch_lengths(1000)
    [16, 32, 64, 128, 256, 512, 1000]
    >>> branch_lengths(branches=3, l0=5)
    [5, 10, 20]
    >>> branch_lengths(1000, branches=8)
    Traceback (most recent call last):
        ...
    ValueError: branches must be from 1 to 7 for length=1000 and l0=16, got 8
    """
    if length is None:
        if branches is None:
            raise ValueError("give length, branches or both, got neither")
        l0 = check_count(l0, "l0", high=_LONGEST)
        most = (_LONGEST // l0).bit_length()
        return [l0 << i for i in range(check_count(branches, "branches", high=most))]
    length = check_count(length, "length")
    l0 = check_count(l0, "l0", high=length)
    most = (-(-length // l0) - 1).bit_length() + 1  # the first that reaches length
    branches = most if branches is None else check_count(branches, "branches")
    if branches > most:
        raise ValueError(
            f"branches must be from 1 to {most} for length={length} and l0={l0}, got {branches}"
        )
    return [min(l0 << i, length) for i in range(branches)]


def start_weights(branches: int, decay: float = 0.0) -> Tensor:
    """How alpha starts: ``alpha_i ∝ 2^(-decay i)`` with ``sum_i alpha_i² = 1``.

    Normalized branches with independent kernels are uncorrelated for white noise, so that the
    output starts with variance 1. Without decay the energy of the merged kernel is spread evenly
    over the octaves of lag; its size at lag τ goes like ``τ^(-1/2 - decay)``.

    Parameters
    ----------
    branches : int
        How many.
    decay : float
        Positive where longer kernels shall start with less.

    Returns
    -------
    Tensor
        Shape ``(branches,)``.

    Examples
    --------
    >>> start_weights(4)
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    exponent = -decay * torch.arange(branches)
    alpha = 2.0 ** (exponent - exponent.max())  # the largest is 1, whatever the decay
    return alpha / alpha.norm()


def mrconv_branches(
    u: Tensor,
    kernels: Sequence[Tensor],
    alpha: Tensor,
    normalize: Callable[[Tensor, int], Tensor],
    method: str = "auto",
) -> Tensor:
    """``y = sum_i alpha_i normalize(k_i * u, i)``, branch by branch.

    Parameters
    ----------
    u : Tensor
        Shape ``(batch, channels, length)``.
    kernels : sequence of Tensor
        By lag, each of shape ``(channels, m)`` with an m of its own.
    alpha : Tensor
        Weights, shape ``(channels, branches)``.
    normalize : callable
        From the output of a branch, of the shape of u, and its number to the same shape.
    method : str
        Of `mrbook.longconv.causal_conv`.

    Returns
    -------
    Tensor
        Shape of u.

    Examples
    --------
    >>> u, kernels = torch.randn(2, 3, 100), [torch.randn(3, 4), torch.randn(3, 8)]
    >>> y = mrconv_branches(u, kernels, torch.ones(3, 2), lambda z, i: F.batch_norm(
    ...     z, None, None, training=True))
    >>> y.shape
    torch.Size([2, 3, 100])
    """
    _check_branches(kernels, alpha, "alpha")
    outputs = (
        alpha[:, i, None] * normalize(causal_conv(u, k, method), i) for i, k in enumerate(kernels)
    )
    return sum(outputs, next(outputs))


def batch_moments(z: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance (biased) of each channel over the real time steps of all sequences.

    Where several processes share a batch, over those of all of them.

    Parameters
    ----------
    z : Tensor
        Shape ``(batch, channels, length)``.
    lengths : Tensor, optional
        True lengths, integers of shape ``(batch,)``.

    Returns
    -------
    (Tensor, Tensor)
        Each of shape ``(channels,)``.

    Examples
    --------
    >>> mean, variance = batch_moments(torch.tensor([[[1.0, 3.0, 99.0]]]), torch.tensor([2]))
    >>> mean, variance
    (tensor([2.]), tensor([1.]))
    """
    count = count_steps(z, lengths)
    kept = z if lengths is None else mask_padding(z, lengths)
    mean = sum_over_processes(kept.sum((0, 2))) / count
    centered = z - mean[:, None]
    kept = centered if lengths is None else mask_padding(centered, lengths)
    return mean, sum_over_processes(kept.square().sum((0, 2))) / count


def merge_kernels(kernels: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The sum of convolutions is one: ``sum_i weights_i k_i``, shorter kernels padded with zeros.

    Parameters
    ----------
    kernels : sequence of Tensor
        By lag, each of shape ``(channels, m)``, none shorter than the one before.
    weights : Tensor
        Shape ``(channels, branches)``.

    Returns
    -------
    Tensor
        Shape ``(channels, m)`` with the m of the last.

    Examples
    --------
    >>> merge_kernels([torch.ones(1, 1), torch.ones(1, 3)], torch.tensor([[2.0, 5.0]]))
    tensor([[7., 5., 5.]])
    """
    _check_branches(kernels, weights, "weights")
    lengths = [k.shape[1] for k in kernels]
    if lengths != sorted(lengths):
        raise ValueError(f"kernels must be in order of length, shortest first, got {lengths}")
    merged = weights[:, :1] * kernels[0]
    for i, k in enumerate(kernels[1:], 1):
        merged = F.pad(merged, (0, k.shape[1] - merged.shape[1])) + weights[:, i, None] * k
    return merged


def mrconv_merged(
    u: Tensor,
    kernels: Sequence[Tensor],
    alpha: Tensor,
    count: Tensor,
    eps: float = 1e-5,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`mrconv_branches` with the batch's statistics, as one convolution.

    ``sum_i a_i (k_i * u - mean_i) = (sum_i a_i k_i) * u - sum_i a_i mean_i`` with
    ``a_i = alpha_i / sqrt(variance_i + eps)``: once `branch_moments` has found means and variances
    without the branches, nothing but the merged kernel meets the input.

    Parameters
    ----------
    u : Tensor
        Shape ``(batch, channels, length)``. Beyond the end of a sequence, or before its start, are
        zeros.
    kernels : sequence of Tensor
        By lag, each of shape ``(channels, m)``, m at most `length`, and none shorter than the one
        before.
    alpha : Tensor
        Weights, shape ``(channels, branches)``.
    count : Tensor
        Time steps of the batch, such zeros not counted: see `mrbook.statistics.count_steps`.
    eps : float
        Added to the variances.
    lengths : Tensor, optional
        Where the sequences of a ragged batch end, integers of shape ``(batch,)``. Default:
        together.

    Returns
    -------
    y : Tensor
        Shape of u. It has first derivatives only.
    mean, variance : Tensor
        Of the branches, biased, shape ``(channels, branches)``.

    Notes
    -----
    The variance is a difference: mean square less squared mean. In float32 it keeps fewer digits
    where the input has an offset. The relative error of y grows like ``(offset / deviation)²`` from
    1e-6 on, up to about 1e-7 times ``length / m`` of the shortest kernel, whatever the offset: a
    constant input, too, has a variance in its first m steps, which meet zeros from before the
    start. `mrconv_branches` loses nothing.

    Examples
    --------
    >>> u, kernels = torch.randn(2, 3, 100), [torch.randn(3, 4), torch.randn(3, 8)]
    >>> alpha = torch.ones(3, 2)
    >>> y, _, _ = mrconv_merged(u, kernels, alpha, torch.tensor(200))
    >>> expected = mrconv_branches(u, kernels, alpha, lambda z, i: F.batch_norm(
    ...     z, None, None, training=True))
    >>> torch.allclose(y, expected, atol=1e-4)
    True
    """
    _check_branches(kernels, alpha, "alpha")
    late = None if lengths is None else u.shape[-1] - lengths.to(u.device)
    u = u if late is None else _roll_each(u, late)  # now they do
    sums, energies, spectrum = branch_moments(u, list(kernels))
    totals = sum_over_processes(torch.stack([sums, energies]))
    mean, square = (totals / count).unbind()
    variance = (square - mean.square()).clamp_min(0)
    scale = alpha * (variance + eps).rsqrt()
    y = spectral_conv(u, spectrum, merge_kernels(kernels, scale))
    y = y if late is None else _roll_each(y, -late)
    return y - (scale * mean).sum(1)[:, None], mean, variance


def _roll_each(x: Tensor, by: Tensor) -> Tensor:
    """Move every sequence of a batch in time, what leaves at one end coming in at the other."""
    steps = torch.arange(x.shape[-1], device=x.device)
    index = (steps - by[:, None, None]) % x.shape[-1]
    return x.gather(-1, index.expand_as(x))


def _check_branches(kernels: Sequence[Tensor], weights: Tensor, name: str) -> None:
    """Raise a ValueError unless there are kernels, and a weight for each."""
    if not kernels:
        raise ValueError("kernels must be at least one, got none")
    if weights.ndim != 2 or weights.shape[1] != len(kernels):
        raise ValueError(
            f"{name} must have shape (channels, {len(kernels)}), a weight for each kernel, "
            f"got {tuple(weights.shape)}"
        )
