"""One level of the wavelet transform: filter, keep every second sample, and back.

`analyze` and `synthesize` are the readable form; each coefficient is the scalar product of the taps
with the K samples that it sees. For long signals on a CPU they hand over to the second half of this
file, which computes the same in blocks and knows its own gradient.

There, P coefficients come at once from the K + 2(P - 1) samples that they see, times a matrix whose
rows are the taps, each row two samples further on: more multiplications, most of them by zero, but
of the kind a processor is fastest at. One level is linear in the signal, so its gradient is the
transposed map: synthesis with the analysis filters, in blocks as well.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mrbook.boundary import extend

Bands = tuple[Tensor, Tensor]


def analyze(x: Tensor, bank: Tensor, mode: str) -> Bands:
    """Approximation and detail of a signal.

    Parameters
    ----------
    x : Tensor, shape (..., L)
        The signal.
    bank : Tensor, shape (2, K)
        Taps of the analysis filters, low-pass and high-pass, with dtype and device of `x`.
    mode : str
        How the signal goes on beyond its ends; see `mrbook.boundary.extend`.

    Returns
    -------
    cA, cD : Tensor, shape (..., M)
        The coefficients.

    Examples
    --------
    >>> haar = torch.tensor([[0.5, 0.5], [-0.5, 0.5]])
    >>> analyze(torch.tensor([3.0, 1.0, 0.0, 4.0]), haar, "zero")
    (tensor([2., 2.]), tensor([ 1., -2.]))
    """
    if _blocks_pay(x, bank):
        return _Analysis.apply(x, bank, mode)
    return _analyze(x, bank, mode)


def synthesize(cA: Tensor, cD: Tensor, bank: Tensor, mode: str) -> Tensor:
    """The signal that has these coefficients.

    Parameters
    ----------
    cA, cD : Tensor, shape (..., M)
        Approximation and detail.
    bank : Tensor, shape (2, K)
        Taps of the synthesis filters, low-pass and high-pass, with dtype and device of `cA`.
    mode : str
        Only "periodization" differs from the others.

    Returns
    -------
    Tensor, shape (..., 2M - K + 2), in mode "periodization" (..., 2M)
        The signal, where all coefficients that touch a sample are known.

    Examples
    --------
    >>> haar = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> synthesize(torch.tensor([2.0, 2.0]), torch.tensor([1.0, -2.0]), haar, "zero")
    tensor([3., 1., 0., 4.])
    """
    if _blocks_pay(cA, bank):
        # Synthesis is the transpose of the analysis with reversed filters: the same blocks serve.
        cyclic = mode == "periodization"
        length = 2 * cA.shape[-1] - (0 if cyclic else bank.shape[-1] - 2)
        mode = mode if cyclic else "zero"
        return _Transpose.apply(cA, cD, bank.flip(-1), mode, length).clone()
    return _synthesize(cA, cD, bank, mode)


def _in_full_precision(function: Any) -> Any:
    """Keep autocast out: coefficients in half precision don't reconstruct."""

    @functools.wraps(function)
    def wrapped(x: Tensor, *args: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return function(x, *args)

    return wrapped


@_in_full_precision
def _analyze(x: Tensor, bank: Tensor, mode: str) -> Bands:
    taps = bank.shape[-1]
    x = extend(x, *_reach(x.shape[-1], taps, mode), mode)
    frames = x.unfold(-1, taps, 2)  # (..., M, K): what each coefficient sees, oldest first
    low, high = bank.flip(-1)
    return frames @ low, frames @ high


@_in_full_precision
def _synthesize(cA: Tensor, cD: Tensor, bank: Tensor, mode: str) -> Tensor:
    # x[t] = sum_n cA[n] rec_lo[t + K - 2 - 2n] + cD[n] rec_hi[t + K - 2 - 2n]
    taps = bank.shape[-1]
    half = taps // 2
    coeffs = torch.stack((cA, cD), -2)  # (..., 2, M)
    if mode == "periodization":
        coeffs = extend(coeffs, taps // 4, half - 1 - taps // 4, "periodic")
    frames = coeffs.unfold(-1, half, 1).transpose(-3, -2).flatten(-2)  # (..., pairs, K)
    weight = bank.reshape(2, half, 2).flip(1).reshape(taps, 2)  # to an even and an odd sample
    x = (frames @ weight).flatten(-2)
    return x.roll(-1, -1) if mode == "periodization" and taps % 4 == 0 else x


def _reach(length: int, taps: int, mode: str) -> tuple[int, int]:
    """How many samples before and after a signal its coefficients see."""
    if mode == "periodization":
        return taps // 2 - 1, taps // 2 - 1 + length % 2
    return taps - 2, taps - 2 + length % 2


# --------------------------------------------------------------------------------- in blocks


def _blocks_pay(x: Tensor, bank: Tensor) -> bool:
    # A compiler sees through the readable form; elsewhere a check for NaN would wait for the GPU.
    long = x.shape[-1] >= max(128, 4 * bank.shape[-1])
    return long and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _block_length(taps: int) -> int:
    return 16 if taps <= 24 else 32  # measured; the exact value matters little


class _Analysis(torch.autograd.Function):
    """`_analyze` in blocks. With `_Transpose` a pair: each is the other's derivative."""

    @staticmethod
    def forward(x: Tensor, bank: Tensor, mode: str) -> Bands:
        # A block's zeros would spread NaN and infinity to all of its coefficients.
        if math.isfinite(x.sum()):
            return _analyze_blocks(x, bank, mode)
        return _analyze(x, bank, mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Bands) -> None:
        x, bank, ctx.mode = inputs
        ctx.length = x.shape[-1]
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, bank)

    @staticmethod
    def backward(ctx: Any, cA: Tensor, cD: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, bank = ctx.saved_tensors
        grad_x = grad_bank = None
        if ctx.needs_input_grad[0]:
            grad_x = _Transpose.apply(cA, cD, bank, ctx.mode, ctx.length)
        if ctx.needs_input_grad[1]:
            grad_bank = _correlate(x, cA, cD, bank, ctx.mode)
        return grad_x, grad_bank, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Bands, tuple[int, int]]:
        return torch.vmap(_analyze, in_dims)(*args), (0, 0)


class _Transpose(torch.autograd.Function):
    """The transpose of `_analyze`: coefficients (..., M) to a signal of `length` samples."""

    @staticmethod
    def forward(cA: Tensor, cD: Tensor, bank: Tensor, mode: str, length: int) -> Tensor:
        if math.isfinite(cA.sum() + cD.sum()):
            return _transpose_blocks(cA, cD, bank, mode, length)
        return _transpose(cA, cD, bank, mode, length)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        cA, cD, bank, ctx.mode, _ = inputs
        keep = ctx.needs_input_grad[2]
        ctx.save_for_backward(cA if keep else None, cD if keep else None, bank)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> tuple[Tensor | None, ...]:
        cA, cD, bank = ctx.saved_tensors
        grad_cA = grad_cD = grad_bank = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            grad_cA, grad_cD = _Analysis.apply(x, bank, ctx.mode)
        if ctx.needs_input_grad[2]:
            grad_bank = _correlate(x, cA, cD, bank, ctx.mode)
        return grad_cA, grad_cD, grad_bank, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        return torch.vmap(_transpose, in_dims)(*args), 0


def _transpose(cA: Tensor, cD: Tensor, bank: Tensor, mode: str, length: int) -> Tensor:
    """What `_transpose_blocks` computes, by differentiating the readable form."""
    x = cA.new_zeros((*cA.shape[:-1], length))
    (x,) = torch.func.vjp(lambda x: _analyze(x, bank, mode), x)[1]((cA, cD))
    return x


@_in_full_precision
def _correlate(x: Tensor, cA: Tensor, cD: Tensor, bank: Tensor, mode: str) -> Tensor:
    """The gradient of ``(cA * yA + cD * yD).sum()``, where ``yA, yD = _analyze(x, bank, mode)``,
    with respect to the bank (2, K).
    """
    taps = bank.shape[-1]
    frames = extend(x, *_reach(x.shape[-1], taps, mode), mode).unfold(-1, taps, 2)
    bands = torch.stack((cA, cD)).flatten(1)  # (2, all coefficients)
    return (bands @ frames.reshape(-1, taps)).flip(-1)


@_in_full_precision
def _analyze_blocks(x: Tensor, bank: Tensor, mode: str) -> Bands:
    length, taps = x.shape[-1], bank.shape[-1]
    left, right = _reach(length, taps, mode)
    count = (left + length + right - taps) // 2 + 1
    block = _block_length(taps)
    blocks = -(-count // block)
    ends = torch.cat((x[..., :taps], x[..., length - taps - length % 2 :]), -1)
    before, after = (ends @ matrix.to(x) for matrix in _beyond(taps, length % 2, mode))
    frames = x.new_empty((*x.shape[:-1], blocks, 2 * block + taps - 2))
    _fill(frames, before, x, after, 2 * block)
    frames = frames.flatten(0, -2)
    bands = []
    for rows in _banded(bank.flip(-1), block, 2):  # (block, samples): low-pass, high-pass
        band = (frames @ rows.mT).view(*x.shape[:-1], blocks * block)
        # A result can be changed in place only if its memory is its own.
        bands.append(band[..., :count].clone())
    return bands[0], bands[1]


@_in_full_precision
def _transpose_blocks(cA: Tensor, cD: Tensor, bank: Tensor, mode: str, length: int) -> Tensor:
    count, taps = cA.shape[-1], bank.shape[-1]
    half = taps // 2
    left, right = _reach(length, taps, mode)
    block = _block_length(taps)
    blocks = -(-(count + half - 1) // block)
    frames = cA.new_empty((*cA.shape[:-1], blocks, 2, block + half - 1))
    nothing = cA.new_zeros((*cA.shape[:-1], half - 1))
    _fill(frames[..., 0, :], nothing, cA, nothing, block)
    _fill(frames[..., 1, :], nothing, cD, nothing, block)
    # Sample 2m + e of the extended signal is sum_i c[m + i] taps[2i + 1 - e].
    phases = bank.reshape(2, half, 2).flip(-1).mT  # (band, e, i)
    weight = _banded(phases, block, 1).permute(0, 3, 2, 1).reshape(-1, 2 * block)
    extended = frames.flatten(-2).flatten(0, -2) @ weight
    extended = extended.view(*cA.shape[:-1], 2 * block * blocks)
    # What falls on samples beyond the ends belongs to the samples they were made from.
    before, after = (matrix.to(cA) for matrix in _beyond(taps, length % 2, mode))
    outside = extended[..., :left] @ before.mT
    outside += extended[..., left + length : left + length + right] @ after.mT
    x = extended[..., left : left + length]
    x[..., :taps] += outside[..., :taps]
    x[..., length - taps - length % 2 :] += outside[..., taps:]
    return x


def _fill(frames: Tensor, before: Tensor, x: Tensor, after: Tensor, step: int) -> None:
    """Cut before + x + after, and zeros behind, into overlapping frames (..., count, width),
    each `step` samples further on: without ever joining them, which would cost another copy.
    """
    count, width = frames.shape[-2:]
    left, length = before.shape[-1], x.shape[-1]
    first = -(-left // step)  # frames that begin before x
    last = (left + length - width) // step + 1  # frames that end within x
    if first:
        head = torch.cat((before, x[..., : (first - 1) * step + width - left]), -1)
        frames[..., :first, :] = head.unfold(-1, width, step)
    if first < last:
        inner = x[..., first * step - left : (last - 1) * step + width - left]
        frames[..., first:last, :] = inner.unfold(-1, width, step)
    if last < count:
        tail = torch.cat((x[..., last * step - left :], after), -1)
        tail = pad(tail, (0, (count - 1 - last) * step + width - tail.shape[-1]))
        frames[..., last:, :] = tail.unfold(-1, width, step)


def _banded(rows: Tensor, count: int, step: int) -> Tensor:
    """(..., K) to (..., count, K + step (count - 1)): each row `step` further right."""
    width = rows.shape[-1] + step * (count - 1)
    # Rows too long by `step`, read with the right width, slide by `step` each.
    rows = pad(rows, (0, step * count))
    repeated = rows.repeat(*[1] * (rows.ndim - 1), count)
    return repeated[..., : count * width].unflatten(-1, (count, width))


@functools.cache
def _beyond(taps: int, odd: int, mode: str) -> Bands:
    """What lies before and after a signal, as matrices to multiply its two ends with."""
    left, right = _reach(odd, taps, mode)
    ends = 2 * taps + odd
    extended = extend(torch.eye(ends, dtype=torch.float64), left, right, mode)
    return extended[:, :left], extended[:, left + ends :]
