"""Kernels and layers on the card against float64, before anything is timed."""

import itertools
import math
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from mrbook.bench.device import poison, relative_error
from mrbook.longconv import fft_conv
from mrbook.models.layers import LAYERS, make_layer
from mrbook.multires import MultiresConv, multires_kernel
from mrbook.native import gpu

__all__ = ["LIMITS", "check", "kernels_here"]

#: Norm of the error by that of the result. A dtype's share is the rounding of inputs and output.
LIMITS = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}

#: What is compared, its dtype, the error, and its limit.
Checks = Iterator[tuple[str, torch.dtype, float, float]]


def kernels_here(device: str) -> bool:
    """Whether Triton's kernels run on this device, if only in its interpreter."""
    return gpu.available(device=device) or (device == "cpu" and gpu.interpreted())


def check(device: str, dry: bool) -> Iterator[dict[str, Any]]:
    """Compare with float64: the kernels over ragged sizes, then every layer."""
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    parts = [_check_layers(device, dry)]
    if kernels_here(device):
        parts = [_check_conv(device, dry), _check_tree(device, dry), *parts]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as in products of matrices
        for what, dtype, error, limit in itertools.chain(*parts):
            good = error <= limit
            kept = error if math.isfinite(error) else None  # a record holds numbers alone
            rows.append(
                {"what": what, "dtype": str(dtype)[6:], "error": kept, "limit": limit}
                | {"right": good}
            )
            mark = "" if good else "WRONG "
            print(f"{mark}{what}, {rows[-1]['dtype']}: {error:.1e} ({limit:.0e})")
            yield {"rows": rows, "wrong": sum(not row["right"] for row in rows)}
    wrong = sum(not row["right"] for row in rows)
    print(f"{len(rows) - wrong} right, {wrong} wrong")


def _attempted(what: str, dtype: torch.dtype, part: Callable[[], Checks]) -> Checks:
    """What the part finds, and one thing wrong more if it fails."""
    try:
        yield from part()
    except Exception:
        traceback.print_exc()
        yield f"{what}, all of it", dtype, math.nan, LIMITS[dtype]


def _check_conv(device: str, dry: bool) -> Checks:
    sizes = [(50, 32, 1024, 1024), (1, 2, 1, 1), (3, 5, 1000, 333), (65, 3, 517, 2000)]
    sizes += [(2, 4, 16384, 16384), (4, 64, 4096, 64)]
    for size in [(2, 1, 20, 33)] if dry else sizes:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            what = "conv {} x {} x {}, {} taps".format(*size)
            yield from _attempted(what, dtype, partial(_conv, what, device, dtype, *size))


def _conv(
    what: str, device: str, dtype: torch.dtype, batch: int, channels: int, length: int, taps: int
) -> Checks:
    from mrbook.native import triton_conv

    u, g = (torch.randn(batch, channels, length, device=device) for _ in range(2))
    k = torch.randn(channels, taps, device=device) / taps**0.5
    u, g = u.to(dtype).requires_grad_(), g.to(dtype)
    k.requires_grad_()
    poison([u, k])
    y = triton_conv.causal_conv(u, k)
    exact = [tensor.detach().double().requires_grad_() for tensor in (u, k)]
    expected = fft_conv(exact[0], exact[1][:, :length])
    pairs = {"output": (y, expected)}
    ours = torch.autograd.grad(y, (u, k), g)
    theirs = torch.autograd.grad(expected, exact, g.double())
    for name, *pair in zip(("input", "taps"), ours, theirs, strict=True):
        pairs[f"gradient of {name}"] = (pair[0], pair[1])
    pairs["gelu"] = (triton_conv.causal_conv_gelu(u, k), F.gelu(expected))
    limit = LIMITS[dtype] * (2 if gpu.interpreted() else 1)  # it cuts off, not rounds
    for name, (actual, wanted) in pairs.items():
        yield f"{what}, {name}", dtype, relative_error(actual, wanted), limit


def _check_tree(device: str, dry: bool) -> Checks:
    most = (2,) if dry else (2, 4)
    for taps, tied, uniform in itertools.product(most, (True, False), (None, 20)):
        what = f"tree of {taps} taps, tied {tied}, uniform {uniform}"
        part = partial(_tree, what, device, dry, taps, tied, uniform)
        yield from _attempted(what, torch.float32, part)


def _tree(what: str, device: str, dry: bool, taps: int, tied: bool, uniform: int | None) -> Checks:
    from mrbook.native import triton_multires

    length, channels = (20, 1) if dry else (1024, 64)
    memory: dict[str, Any] = {"memory": "uniform", "memory_size": uniform} if uniform else {}
    layer = MultiresConv(channels, taps, length=length, tie_levels=tied, device=device, **memory)
    h0, h1, w = inputs = [layer.h0, layer.h1, layer.w]
    g = torch.randn(channels, length, device=device)
    k = triton_multires.multires_kernel(length, h0, h1, w, layer.kept)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    expected = multires_kernel(length, exact[0], exact[1], exact[2], layer.kept)
    ours = [k, *torch.autograd.grad(k, inputs, g)]
    theirs = [expected, *torch.autograd.grad(expected, exact, g.double())]
    for name, a, b in zip(("kernel", "h0", "h1", "w"), ours, theirs, strict=True):
        yield f"{what}, {name}", torch.float32, relative_error(a, b), LIMITS[torch.float32]


def _check_layers(device: str, dry: bool) -> Checks:
    for name in LAYERS:
        for dtype in (torch.float32, torch.bfloat16):
            yield from _attempted(name, dtype, partial(_layer, name, device, dtype, dry))


def _layer(name: str, device: str, dtype: torch.dtype, dry: bool) -> Checks:
    batch, channels, length = (2, 4, 24) if dry else (4, 32, 512)
    torch.manual_seed(0)
    layer = make_layer(name, channels, length)
    layer.train(name == "lstm")  # which has a gradient on CUDA in training alone
    u = torch.randn(batch, channels, length)
    exact_u = u.double().requires_grad_()
    exact = layer.double()(exact_u)
    g = torch.randn_like(u)
    (exact_gradient,) = torch.autograd.grad(exact, exact_u, g.double())
    layer = layer.float().to(device)
    x = u.to(device, dtype).requires_grad_()
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = layer(x)
    (gradient,) = torch.autograd.grad(y, x, g.to(device, y.dtype))
    # Attention and recurrent layers multiply in bfloat16 many times over.
    limit = 5 * LIMITS[dtype]
    yield f"{name}, output", dtype, relative_error(y, exact), limit
    yield f"{name}, gradient of input", dtype, relative_error(gradient, exact_gradient), limit
