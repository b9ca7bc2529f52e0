"""A long causal convolution on CUDA: block-Toeplitz matrix products on tensor cores, in Triton.

With time cut into blocks, ``y[t] = sum_s f[t - s] u[s]`` is a product of matrices: a row is one
block of one sequence, and the matrix of a block lag, ``T[s, t] = f[lag + t - s]``, is the same for
all of them. So the rows of a tile are blocks of many sequences, and each tile of T, made from a few
kilobytes of taps, serves them all. Sums are in float32, whatever the inputs are.

Under ``TRITON_INTERPRET=1`` the kernels run on the CPU; that is how they are tested.
"""

from __future__ import annotations  # Triton's annotations stay text where there is no Triton

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from mrbook.native import gpu
from mrbook.native import triton_kernels as kernels

with contextlib.suppress(ImportError):
    import triton

__all__ = ["causal_conv", "causal_conv_gelu", "conv", "correlate"]

# Zeros on both sides of the taps, at least as wide as two tiles: tiles of T need no mask.
_MARGIN = 256
# Copies of the taps, each shifted by one: wherever a row of T begins, one of them has it aligned to
# 16 bytes, so that T comes by wide asynchronous copies and not number by number.
_COPIES = 8
_SPREAD = 1024


# ---- launches -----------------------------------------------------------------------------------


def _precision(dtype: torch.dtype) -> str:
    """How products of float32 are formed, as ``torch.set_float32_matmul_precision`` says."""
    names = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}
    return names[torch.get_float32_matmul_precision()] if dtype == torch.float32 else "ieee"


def _spread_taps(k: Tensor, dtype: torch.dtype, reverse: bool) -> tuple[Tensor, int]:
    """Shifted copies of the taps by lag in `dtype`, and where a block lag of 0 begins in them."""
    channels, taps = k.shape
    base = _MARGIN + (-(-(taps - 1) // 16) * 16 if reverse else 0)
    width = -(-(base + (1 if reverse else taps) + _MARGIN) // 16) * 16
    out = torch.empty(channels, _COPIES, width, dtype=dtype, device=k.device)
    block = 64 if gpu.interpreted() else _SPREAD
    kernels.spread[(triton.cdiv(width, block) * channels,)](
        k,
        out,
        taps,
        width,
        base + _COPIES - 1,
        -1 if reverse else 1,
        *k.stride(),
        COPIES=_COPIES,
        BLOCK=block,
        num_warps=4,
        enable_fp_fusion=True,
    )
    return out, base


def _tiles(batch: int, length: int, meta: dict[str, int]) -> int:
    return -(-batch * -(-length // meta["BLOCK"]) // meta["ROWS"])


def _launch(
    u: Tensor, k: Tensor, length: int, reverse: bool, gelu: bool, keep: bool
) -> tuple[Tensor, Tensor]:
    gpu.require(u)
    batch, channels, n = u.shape
    taps = k.shape[1]
    y = u.new_empty((batch, channels, length) if keep else 0)
    active = u.new_empty((batch, channels, length) if gelu else 0)
    if batch == 0:
        return y, active
    with torch.cuda.device_of(u):
        f, base = _spread_taps(k, u.dtype, reverse)
        kernels.convolve[lambda meta: (_tiles(batch, length, meta) * channels,)](
            u,
            f,
            y,
            active,
            batch,
            n,
            length,
            0 if reverse else taps - 1,
            taps - 1 if reverse else 0,
            f.shape[2],
            base,
            *u.stride(),
            channels * length,
            length,
            gpu.magnitudes(batch, n, length, taps, reverse),
            GELU=gelu,
            KEEP=keep,
            PRECISION=_precision(u.dtype),
            WIDEN=gpu.interpreted(),
            COPIES=_COPIES,
            enable_fp_fusion=True,
        )
    return y, active


# ---- operators ----------------------------------------------------------------------------------


@custom_op("mrbook::triton_conv", mutates_args=(), device_types=("cpu", "cuda"))
def conv(u: Tensor, k: Tensor, length: int, reverse: bool) -> Tensor:
    """``y[t] = sum_s k[s] u[t - s]`` (``u[t + s]`` if reverse) for t below `length`.

    u has shape (batch, channels, n), any strides and a dtype of `gpu.CROSSOVER`; k has shape
    (channels, m) and is rounded to the dtype of u. u is 0 outside of its n samples.
    """
    return _launch(u, k, length, reverse, gelu=False, keep=True)[0]


@conv.register_fake
def _(u: Tensor, k: Tensor, length: int, reverse: bool) -> Tensor:
    return u.new_empty(u.shape[0], u.shape[1], length)


@custom_op("mrbook::triton_correlate", mutates_args=(), device_types=("cpu", "cuda"))
def correlate(late: Tensor, early: Tensor, taps: int) -> Tensor:
    """``sum over batch and t of late[t] early[t - lag]`` for lags below `taps`, in float32.

    late and early have shapes (batch, channels, n) and (batch, channels, m) and one dtype.
    """
    gpu.require(late)
    batch, channels, n = late.shape
    out = torch.empty(channels, 2, taps, dtype=torch.float32, device=late.device)
    if batch == 0:
        return out[:, 0].zero_()
    with torch.cuda.device_of(late):
        kernels.correlate[lambda meta: ((triton.cdiv(taps, meta["BLOCK"]) + 1) * channels,)](
            late,
            early,
            out,
            batch,
            n,
            early.shape[2],
            taps,
            *late.stride(),
            *early.stride(),
            gpu.magnitudes(batch, n, early.shape[2], taps),
            PRECISION=_precision(late.dtype),
            WIDEN=gpu.interpreted(),
            enable_fp_fusion=True,
        )
    return out.sum(1)


@correlate.register_fake
def _(late: Tensor, early: Tensor, taps: int) -> Tensor:
    return late.new_empty(late.shape[1], taps, dtype=torch.float32)


@custom_op("mrbook::triton_conv_gelu", mutates_args=(), device_types=("cpu", "cuda"))
def conv_gelu(u: Tensor, k: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """The GELU of a causal convolution, and the convolution itself if it is kept, else nothing."""
    y, active = _launch(u, k, u.shape[2], reverse=False, gelu=True, keep=keep)
    return active, y


@conv_gelu.register_fake
def _(u: Tensor, k: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), u.new_empty(u.shape if keep else 0)


# Each gradient is one of the operators again, so derivatives of every order follow.


def _save_conv(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, k, _, ctx.reverse = inputs
    ctx.save_for_backward(u, k)


def _conv_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    return *_gradients(ctx, g, ctx.reverse), None, None


def _gradients(ctx: Any, g: Tensor, reverse: bool) -> tuple[Tensor | None, Tensor | None]:
    u, k = ctx.saved_tensors[:2]
    du = dk = None
    if ctx.needs_input_grad[0]:
        du = conv(g, k, u.shape[2], not reverse)
    if ctx.needs_input_grad[1]:
        late, early = (u, g) if reverse else (g, u)
        dk = correlate(late, early, k.shape[1]).to(k.dtype)
    return du, dk


def _save_correlate(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _correlate_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    late, early = ctx.saved_tensors
    d_late = conv(early, g, late.shape[2], False) if ctx.needs_input_grad[0] else None
    d_early = conv(late, g, early.shape[2], True) if ctx.needs_input_grad[1] else None
    return d_late, d_early, None


def _save_gelu(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:2], output[1])


def _gelu_backward(ctx: Any, g: Tensor, _: Any) -> tuple[Tensor | None, Tensor | None, None]:
    u, k, y = ctx.saved_tensors
    if torch.is_grad_enabled():  # for a second derivative y must be known to depend on u and k
        y = conv(u, k, u.shape[2], False)
    return *_gradients(ctx, torch.ops.aten.gelu_backward(g, y), False), None


conv.register_autograd(_conv_backward, setup_context=_save_conv)
correlate.register_autograd(_correlate_backward, setup_context=_save_correlate)
conv_gelu.register_autograd(_gelu_backward, setup_context=_save_gelu)


# ---- what layers call ---------------------------------------------------------------------------


def causal_conv(u: Tensor, k: Tensor) -> Tensor:
    """Causal convolution: u ``(batch, channels, length)``, k ``(channels, m)``.

    u may be of float32, float16 or bfloat16 and have any strides, though it is read fastest where
    time lies side by side. k is rounded to the dtype of u; sums are in float32. Products of float32
    are exact unless ``torch.set_float32_matmul_precision`` allows less. All derivatives exist.

    Raises
    ------
    ValueError
        If u is of another dtype or not on CUDA, or Triton is missing.
    """
    gpu.require(u)
    return conv(u, k, u.shape[2], False)


def causal_conv_gelu(u: Tensor, k: Tensor) -> Tensor:
    """``gelu(causal_conv(u, k))`` without reading the convolution back from memory.

    Where gradients are recorded the convolution itself is written too, for the backward pass.
    """
    gpu.require(u)
    keep = torch.is_grad_enabled() and (u.requires_grad or k.requires_grad)
    return conv_gelu(u, k, keep)[0]
