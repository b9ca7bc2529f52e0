"""Causal convolutions with kernels from a few taps to the length of the input, by every method."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mrbook import native
from mrbook.bench.engine import Case
from mrbook.longconv import causal_conv, causal_conv_method
from mrbook.native import gpu

LENGTHS, TAPS = (256, 1024, 4096, 16384), (4, 32, 128, 512, 4096)


def cases(device: str, batch: int = 4, channels: int = 64) -> Iterator[Case]:
    """Forward with backward, float32; the first method is the one that "auto" takes."""
    for length in LENGTHS:
        for taps in sorted({*(taps for taps in TAPS if taps < length), length}):
            torch.manual_seed(0)
            u = torch.randn(batch, channels, length, device=device, requires_grad=True)
            k = torch.randn(channels, taps, device=device, requires_grad=True)
            g = torch.randn_like(u)
            auto = causal_conv_method(u, k)
            names = {auto: None, "fft": None}
            if native.available(u.dtype, u.device.type):
                names["fused"] = None
            if gpu.available(u.dtype, u.device.type):
                names["triton"] = None
            if taps <= 32:
                names["direct"] = None
            methods = {name: _both(name, u, k, g) for name in names}
            title = f"{batch} x {channels} x {length}, {taps} taps, auto takes {auto}"
            yield Case(title, methods, tolerance=1e-4, rounds=20)


def _both(method: str, u: Tensor, k: Tensor, g: Tensor) -> Callable[[], list[Tensor]]:
    def run() -> list[Tensor]:
        y = causal_conv(u, k, method)
        return [y, *torch.autograd.grad(y, (u, k), g)]

    return run
