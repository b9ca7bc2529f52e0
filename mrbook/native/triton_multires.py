"""The kernel of MultiresConv on CUDA, in one launch and one for its gradients, in Triton.

The tree is a causal convolution, and its kernel is its answer to a unit impulse. Level by level
that takes dozens of launches that do next to nothing. But what enters level l, for an impulse, is

    a_l[n] = sum of c_1[k_1] c_2[k_2] ... c_l[k_l] over n = k_1 + 2 k_2 + ... + 2^(l-1) k_l

and can be had for each lag n alone from its binary digits. With n = r + 2^l m and 0 <= r < 2^l, all
that later levels may ask for are the K - 1 numbers ``v_l[j] = a_l[r + 2^l j]``, j < K - 1, and

    v_l[j] = sum_k c_l[k] v_{l-1}[b + 2 j - k],    b: the digit of 2^(l-1) in n.

For two taps that is one number, multiplied at each level by one tap or the other. So a thread goes
through the levels in registers, lag by lag, and speaks to no other; the way back is as long.
"""

from __future__ import annotations  # Triton's annotations stay text where there is no Triton

import contextlib
from collections.abc import Sequence
from typing import Any, no_type_check

import torch
from torch import Tensor
from torch.library import custom_op

from mrbook.native import gpu

with contextlib.suppress(ImportError):
    import triton
    import triton.language as tl

__all__ = ["kernel", "multires_kernel"]


# ---- kernels ------------------------------------------------------------------------------------


@gpu.jit
@no_type_check  # another language
def _tap(taps, bit, k: tl.constexpr, K: tl.constexpr):
    """The tap of lag k + bit, of a filter whose newest tap is at `taps`; 0 where there is none."""
    low, high = 0.0, 0.0
    if k >= 0 and k < K:
        low = tl.load(taps - k)
    if k + 1 >= 0 and k + 1 < K:
        high = tl.load(taps - k - 1)
    return tl.where(bit == 1, high, low)


@gpu.jit
@no_type_check  # another language
def _up(v, bit, taps, K: tl.constexpr):
    """From the numbers v of a level to those of the next one."""
    result = ()
    for j in tl.static_range(K - 1):
        new = v[0] * 0
        for i in tl.static_range(K - 1):
            new += v[i] * _tap(taps, bit, 2 * j - i, K)
        result += (new,)
    return result


@gpu.jit
@no_type_check  # another language
def _start(n, dtype: tl.constexpr, K: tl.constexpr):
    """The numbers of level 0: a unit impulse."""
    one = tl.where(n >= 0, 1.0, 0.0).to(dtype)
    v = (one,)
    for _ in tl.static_range(K - 2):
        v += (one * 0,)
    return v


@gpu.jit
@no_type_check  # another language
def _readout(m, i: tl.constexpr, high, w, kept, K: tl.constexpr):
    """The weight in the output that v[i] has, for lags in block m of the level."""
    total = (m * 0).to(w.dtype.element_ty)
    for k in tl.static_range(K):
        twice = m - i - k
        real = (twice >= 0) & (twice % 2 == 0) & (twice < 2 * kept)
        total += tl.load(high - k) * tl.load(w + tl.maximum(twice, 0) // 2, real, other=0.0)
    return total


@gpu.jit
@no_type_check  # another language
def _tree_forward(
    h0,
    h1,
    w,
    kept,
    out,
    length,
    depth,
    weights,
    details,
    next_row,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[c, n]: the kernel of channel c at lag n.

    kept: details of each level, finest first, `details` in all; next_row: K, or 0 for one filter.
    """
    blocks = tl.cdiv(length, BLOCK)
    channel = tl.program_id(0) // blocks
    n = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    filters = channel * tl.where(next_row > 0, next_row * depth, K)
    low, high, w = h0 + filters + K - 1, h1 + filters + K - 1, w + channel * weights
    v = _start(n, w.dtype.element_ty, K)
    y = tl.where(n == 0, tl.load(w + weights - 1), 0.0)
    first = 1 + details  # where the weights of a level begin: the finest has the last
    for level in range(depth):
        here, m = tl.load(kept + level), n >> level
        first -= here
        for i in tl.static_range(K - 1):
            y += v[i] * _readout(m, i, high, w + first, here, K)
        v = _up(v, m & 1, low, K)
        low += next_row
        high += next_row
    for i in tl.static_range(K - 1):
        y += tl.where((n >> depth) == i, v[i] * tl.load(w), 0.0)
    tl.store(out + channel.to(tl.int64) * length + n, y, n < length)


@gpu.jit
@no_type_check  # another language
def _tree_backward(
    g,
    h0,
    h1,
    w,
    kept,
    dh0,
    dh1,
    dw,
    length,
    depth,
    weights,
    rows,
    next_row,
    K: tl.constexpr,
    FILTERS: tl.constexpr,
    WEIGHTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of one channel's filters and weights from those of its kernel, g.

    From the coarsest level down, lam[i] is the derivative by v[i]; v itself is computed anew at
    each level, which costs less than to keep it. Sums over lags are gathered in registers, FILTERS
    and WEIGHTS wide.
    """
    channel = tl.program_id(0)
    h0, h1, w = h0 + channel * rows, h1 + channel * rows, w + channel * weights
    f, x = tl.arange(0, FILTERS), tl.arange(0, WEIGHTS)
    d0, d1 = tl.zeros([FILTERS], g.dtype.element_ty), tl.zeros([FILTERS], g.dtype.element_ty)
    d = tl.zeros([WEIGHTS], g.dtype.element_ty)
    for begin in range(0, length, BLOCK):
        n = begin + tl.arange(0, BLOCK)
        gn = tl.load(g + channel.to(tl.int64) * length + n, n < length, other=0.0)
        d += tl.where(x == weights - 1, tl.sum(tl.where(n == 0, gn, 0.0), axis=0), 0.0)
        v = _start(n, g.dtype.element_ty, K)
        for level in range(depth):
            v = _up(v, (n >> level) & 1, h0 + level * next_row + K - 1, K)
        lam = ()
        for i in tl.static_range(K - 1):
            reached = tl.where((n >> depth) == i, gn, 0.0)
            d += tl.where(x == 0, tl.sum(reached * v[i], axis=0), 0.0)
            lam += (reached * tl.load(w),)
        first = weights * 0 + 1  # where the weights of a level begin: the coarsest has the first
        for back in range(depth):
            level = depth - 1 - back
            v = _start(n, g.dtype.element_ty, K)
            for below in range(level):
                v = _up(v, (n >> below) & 1, h0 + below * next_row + K - 1, K)
            here, m, bit = tl.load(kept + level), n >> level, (n >> level) & 1
            newest = level * next_row + K - 1
            # The readout's tap a is the sum of h1[k] w[i] over a = k + 2 i.
            for a in range(0, tl.where(here > 0, 2 * here + K - 2, 0)):
                met = gn * 0
                for i in tl.static_range(K - 1):
                    met += tl.where(m - i == a, v[i], 0.0)
                dq = tl.sum(gn * met, axis=0)
                for k in tl.static_range(K):
                    real = (a >= k) & ((a - k) % 2 == 0) & (a - k < 2 * here)
                    at = first + tl.where(real, (a - k) // 2, 0)
                    part = tl.where(real, dq, 0.0)
                    d += tl.where(x == at, part * tl.load(h1 + newest - k), 0.0)
                    d1 += tl.where(f == newest - k, part * tl.load(w + at), 0.0)
            for k in tl.static_range(K):
                dc = gn * 0
                for j in tl.static_range(K - 1):
                    if 2 * j - k >= 0 and 2 * j - k < K - 1:
                        dc += tl.where(bit == 0, lam[j] * v[2 * j - k], 0.0)
                    if 2 * j + 1 - k >= 0 and 2 * j + 1 - k < K - 1:
                        dc += tl.where(bit == 1, lam[j] * v[2 * j + 1 - k], 0.0)
                d0 += tl.where(f == newest - k, tl.sum(dc, axis=0), 0.0)
            before = ()
            for i in tl.static_range(K - 1):
                value = gn * _readout(m, i, h1 + newest, w + first, here, K)
                for j in tl.static_range(K - 1):
                    value += lam[j] * _tap(h0 + newest, bit, 2 * j - i, K)
                before += (value,)
            lam = before
            first += here
    tl.store(dh0 + channel * rows + f, d0, f < rows)
    tl.store(dh1 + channel * rows + f, d1, f < rows)
    tl.store(dw + channel * weights + x, d, x < weights)


# ---- operators ----------------------------------------------------------------------------------


def _block(length: int, most: int) -> int:
    return min(16 if gpu.interpreted() else most, triton.next_power_of_2(length))


def _next_row(h0: Tensor) -> int:
    return h0.shape[2] if h0.shape[1] > 1 else 0


def _finest_first(kept: Sequence[int], device: torch.device) -> Tensor:
    """Filled on the device: a CUDA graph has no place for a copy from the host, nor for a tensor
    of its memory that is kept elsewhere."""
    details = torch.ones(len(kept), dtype=torch.int32, device=device)
    for level, count in enumerate(reversed(kept)):
        if count != 1:  # of the uniform memory alone
            details[level].fill_(count)
    return details


@custom_op("mrbook::triton_multires_kernel", mutates_args=(), device_types=("cpu", "cuda"))
def kernel(h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int], length: int) -> Tensor:
    """`mrbook.multires.multires_kernel` in one launch, shape (channels, length)."""
    h0, h1, w = h0.contiguous(), h1.contiguous(), w.contiguous()
    out = w.new_empty(len(w), length)
    block = _block(length, 256)
    with torch.cuda.device_of(w):
        _tree_forward[(triton.cdiv(length, block) * len(w),)](
            h0,
            h1,
            w,
            _finest_first(kept, w.device),
            out,
            length,
            len(kept),
            w.shape[1],
            sum(kept),
            _next_row(h0),
            K=h0.shape[2],
            BLOCK=block,
            num_warps=4,
            enable_fp_fusion=True,
        )
    return out


@kernel.register_fake
def _(h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int], length: int) -> Tensor:
    return w.new_empty(len(w), length)


@custom_op("mrbook::triton_multires_kernel_backward", mutates_args=(), device_types=("cpu", "cuda"))
def kernel_backward(
    g: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `kernel` for h0, h1 and w."""
    g, h0, h1, w = (tensor.contiguous() for tensor in (g, h0, h1, w))
    dh0, dh1, dw = (torch.empty_like(tensor) for tensor in (h0, h1, w))
    with torch.cuda.device_of(w):
        _tree_backward[(len(w),)](
            g,
            h0,
            h1,
            w,
            _finest_first(kept, w.device),
            dh0,
            dh1,
            dw,
            g.shape[1],
            len(kept),
            w.shape[1],
            h0[0].numel(),
            _next_row(h0),
            K=h0.shape[2],
            FILTERS=triton.next_power_of_2(h0[0].numel()),
            WEIGHTS=triton.next_power_of_2(w.shape[1]),
            BLOCK=_block(g.shape[1], 512),
            num_warps=8,
            enable_fp_fusion=True,
        )
    return dh0, dh1, dw


@kernel_backward.register_fake
def _(
    g: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    like = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (h0, h1, w)]
    return like[0], like[1], like[2]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.kept, _ = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return *kernel_backward(g, *ctx.saved_tensors, ctx.kept), None, None


def _no_second_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise NotImplementedError(
        "the Triton form of MultiresConv has no second derivative: "
        'choose method="tree" or method="kernel", which have'
    )


kernel.register_autograd(_gradients, setup_context=_save)
kernel_backward.register_autograd(
    _no_second_derivative, setup_context=lambda ctx, inputs, output: None
)


# ---- what layers call ---------------------------------------------------------------------------


def multires_kernel(length: int, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]) -> Tensor:
    """`mrbook.multires.multires_kernel` in one launch, float32; no second derivative.

    Raises
    ------
    ValueError
        If the filters have more than `gpu.MOST_TAPS` taps, or Triton kernels don't serve them.
    """
    gpu.require(w)
    if h0.shape[2] > gpu.MOST_TAPS:
        raise ValueError(
            f'method="triton" serves filters of at most {gpu.MOST_TAPS} taps, got {h0.shape[2]}'
        )
    return kernel(h0, h1, w, kept, length)
