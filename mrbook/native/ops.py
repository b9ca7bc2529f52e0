"""The fused kernels as operators of PyTorch, with their gradients, for autograd and torch.compile.

Tensors may have any strides; the operators make them contiguous. Gradients are computed in an order
that doesn't depend on the number of threads.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from mrbook import native

Gradients = tuple[Tensor, Tensor, Tensor, Tensor]


# ---- a long causal convolution ------------------------------------------------------------------


@custom_op("mrbook::causal_conv", mutates_args=(), device_types="cpu")
def causal_conv(u: Tensor, k: Tensor, length: int, reverse: bool) -> Tensor:
    """``y[t] = sum_s k[s] u[t - s]`` (``u[t + s]`` if reverse) for t below `length`.

    u has shape (batch, channels, n), k (batch or 1, channels, m); u is 0 outside of its n samples.
    """
    u, k = u.contiguous(), k.contiguous()
    batch, channels, n = u.shape
    y = u.new_empty(batch, channels, length)
    shape = [batch, channels, n, k.shape[-1], length, k.shape[0] == batch, reverse]
    native.call("causal_conv", [*map(int, shape), torch.get_num_threads()], u, k, y)
    return y


@causal_conv.register_fake
def _(u: Tensor, k: Tensor, length: int, reverse: bool) -> Tensor:
    return u.new_empty(u.shape[0], u.shape[1], length)


def _save_conv(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, k, _, ctx.reverse = inputs
    ctx.save_for_backward(u, k)


def _conv_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    # Each gradient is the same operator again, so derivatives of every order follow.
    u, k = ctx.saved_tensors
    du = dk = None
    if ctx.needs_input_grad[0]:
        du = causal_conv(g, k, u.shape[-1], not ctx.reverse)
    if ctx.needs_input_grad[1]:
        late, early = (u, g) if ctx.reverse else (g, u)
        dk = causal_conv(late, early, k.shape[-1], True).sum_to_size(k.shape)
    return du, dk, None, None


causal_conv.register_autograd(_conv_backward, setup_context=_save_conv)


# ---- MultiresConv -------------------------------------------------------------------------------


@custom_op("mrbook::multires", mutates_args=(), device_types="cpu")
def multires(x: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]) -> Tensor:
    """`mrbook.multires.multires_conv` in one pass, all levels of a sequence in cache."""
    x, h0, h1, w = (tensor.contiguous() for tensor in (x, h0, h1, w))
    y = torch.empty_like(x)
    native.call("multires_forward", _shape(x, h0, w, kept), x, h0, h1, w, y)
    return y


@multires.register_fake
def _(x: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@custom_op("mrbook::multires_backward", mutates_args=(), device_types="cpu")
def multires_backward(
    g: Tensor, x: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]
) -> Gradients:
    """Gradients of `multires` for x, h0, h1 and w."""
    g, x, h0, h1, w = (tensor.contiguous() for tensor in (g, x, h0, h1, w))
    gradients = tuple(torch.empty_like(tensor) for tensor in (x, h0, h1, w))
    native.call("multires_backward", _shape(x, h0, w, kept), g, x, h0, h1, w, *gradients)
    return gradients  # type: ignore[return-value]


@multires_backward.register_fake
def _(g: Tensor, x: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]) -> Gradients:
    like = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, h0, h1, w)]
    return like[0], like[1], like[2], like[3]


def _save_multires(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.kept = inputs
    ctx.save_for_backward(*tensors)


def _multires_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return *multires_backward(g, *ctx.saved_tensors, ctx.kept), None


def _no_second_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise NotImplementedError(
        "the fused form of MultiresConv has no second derivative: "
        'choose method="tree" or method="kernel", which have'
    )


multires.register_autograd(_multires_backward, setup_context=_save_multires)
multires_backward.register_autograd(
    _no_second_derivative, setup_context=lambda ctx, inputs, output: None
)


def _shape(x: Tensor, h0: Tensor, w: Tensor, kept: Sequence[int]) -> list[int]:
    depth, (filters, taps) = len(kept), h0.shape[1:]
    return [*x.shape, taps, depth, filters, w.shape[1], torch.get_num_threads(), *kept]
