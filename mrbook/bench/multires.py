"""MultiresConv beside the straightforward tree of `conv1d`, and beside copying its input."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook import native
from mrbook.bench.engine import Case
from mrbook.multires import MultiresConv
from mrbook.native import gpu

LENGTHS, KERNEL_SIZES = (1024, 4096, 16384), (2, 4)


def conv1d_tree(x: Tensor, h0: Tensor, h1: Tensor, w: Tensor) -> Tensor:
    """The fading memory as the published code computes it: pad, two convolutions, add; J times."""
    depth, taps = w.shape[1] - 2, h0.shape[-1]
    a, y, dilation = x, w[:, -1:] * x, 1
    for level in range(depth, 0, -1):
        past = F.pad(a, ((taps - 1) * dilation, 0))
        b = F.conv1d(past, h1, dilation=dilation, groups=x.shape[1])
        a = F.conv1d(past, h0, dilation=dilation, groups=x.shape[1])
        y = y + w[:, level : level + 1] * b
        dilation *= 2
    return y + w[:, :1] * a


def cases(device: str, batch: int = 4, channels: int = 128) -> Iterator[Case]:
    """Forward with backward, then forward alone, float32, as deep as the length allows."""
    for length in LENGTHS:
        for kernel_size in KERNEL_SIZES:
            torch.manual_seed(0)
            layer = MultiresConv(channels, kernel_size, length=length, device=device)
            x = torch.randn(batch, channels, length, device=device)
            what = f"{batch} x {channels} x {length}, K = {kernel_size}, {layer.depth} levels"
            both, forward = f"forward and backward: {what}", f"forward: {what}"
            yield Case(both, _training(layer, x), memory=True, rounds=7)
            yield Case(forward, _inference(layer, x), memory=True, rounds=20)


def _methods(layer: MultiresConv, x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    def by(method: str) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            layer.method = method
            return layer(x)

        return run

    methods = {"fused": by("fused")} if native.available(x.dtype, x.device.type) else {}
    if gpu.available(x.dtype, x.device.type):
        methods["triton"] = by("triton")
    methods["kernel"] = by("kernel")
    methods["conv1d tree"] = lambda x: conv1d_tree(x, layer.h0, layer.h1, layer.w)
    return methods


def _training(layer: MultiresConv, x: Tensor) -> dict[str, Callable[[], list[Tensor]]]:
    u = x.clone().requires_grad_()
    g = torch.randn_like(x)
    inputs = [u, layer.h0, layer.h1, layer.w]

    def both(method: Callable[[Tensor], Tensor]) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            y = method(u)
            return [y, *torch.autograd.grad(y, inputs, g)]

        return run

    return {name: both(method) for name, method in _methods(layer, x).items()}


def _inference(layer: MultiresConv, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    def alone(method: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        return torch.no_grad()(lambda: method(x))

    methods = {name: alone(method) for name, method in _methods(layer, x).items()}
    y = next(iter(methods.values()))()
    buffer = y.clone()
    return {**methods, "copy_": lambda: buffer.copy_(y)}
