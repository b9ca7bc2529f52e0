"""MRConv: its branches beside what they merge into, and the ways to compute that convolution."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook import native
from mrbook.bench.engine import Case
from mrbook.longconv import causal_conv, fast_fft_length
from mrbook.mrconv import FusedConv, MRConv, mrconv_branches

LENGTHS, BRANCHES = (1024, 4096, 16384), 8


def padded_branches(layer: MRConv, u: Tensor) -> Tensor:
    """The branches in evaluation mode, all kernels as long as the input: the plainest way."""
    kernels = [kernel.materialize(u.shape[-1]) for kernel in layer.kernels]

    def normalize(z: Tensor, i: int) -> Tensor:
        return F.batch_norm(z, layer.running_mean[:, i], layer.running_var[:, i], eps=layer.eps)

    return mrconv_branches(u, kernels, layer.alpha, normalize) + layer.beta[:, None]


def batched_branches(layer: MRConv, u: Tensor) -> Tensor:
    """The branches side by side in one batch of FFTs, in training mode."""
    length, n = u.shape[-1], fast_fft_length(2 * u.shape[-1] - 1)
    kernels = torch.stack([kernel.materialize(length) for kernel in layer.kernels])
    spectra = torch.fft.rfft(u, n=n)[:, None] * torch.fft.rfft(kernels, n=n)
    z = torch.fft.irfft(spectra, n=n)[..., :length].flatten(1, 2)
    z = F.batch_norm(z, None, None, layer.alpha.mT.flatten(), training=True, eps=layer.eps)
    return z.unflatten(1, (-1, layer.channels)).sum(1) + layer.beta[:, None]


def cases(
    device: str,
    batch: int = 4,
    channels: int = 64,
    lengths: tuple[int, ...] = LENGTHS,
    branches: int = BRANCHES,
    small: tuple[int, int] = (1, 16),
) -> Iterator[Case]:
    """Inference, a training step (forward with backward), and the fused layer by FFT and directly.

    In float32, with dense kernels. The last takes `small`, a batch and channels, for the direct sum
    is slow.
    """
    for length in lengths:
        torch.manual_seed(0)
        l0 = -(-length // 2 ** (branches - 1))
        options: dict[str, Any] = {
            "length": length,
            "branches": branches,
            "l0": l0,
            "device": device,
        }
        u = torch.randn(batch, channels, length, device=device)
        what = f"{batch} x {channels} x {length}, {branches} branches from {l0} taps"
        methods = _inference(MRConv(channels, **options), u)
        yield Case(f"inference: {what}", methods, memory=True, rounds=10)
        steps = _training(MRConv(channels, **options), u)
        yield Case(f"training: {what}", steps, 1e-4, memory=True, rounds=7)

        u = torch.randn(*small, length, device=device)
        methods = _fft_and_direct(_fused(MRConv(small[1], **options), u), u)
        what = f"{small[0]} x {small[1]} x {length}, {length} taps"
        rounds = max(5, min(20, 32768 // length))
        yield Case(f"FFT and direct: {what}", methods, 1e-4, memory=True, rounds=rounds)


def _fused(layer: MRConv, u: Tensor) -> FusedConv:
    layer(u)  # for the running statistics
    return layer.eval().fuse()[0]


def _inference(layer: MRConv, u: Tensor) -> dict[str, Callable[[], Tensor]]:
    def alone(method: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        return torch.no_grad()(lambda: method(u))

    return {
        "fused": alone(_fused(layer, u)),
        "merged at each call": alone(layer),
        "branches": alone(layer.by_branches),
        "branches, padded kernels": alone(lambda u: padded_branches(layer, u)),
    }


def _fft_and_direct(fused: FusedConv, u: Tensor) -> dict[str, Callable[[], Tensor]]:
    def by(method: str) -> Callable[[], Tensor]:
        @torch.no_grad()
        def run() -> Tensor:
            fused.method = method
            return fused(u)

        return run

    methods = {"FFT": by("fft"), "direct": by("direct")}
    if native.available(u.dtype, u.device.type):
        methods["direct in C++"] = by("fused")
    return methods


def _training(layer: MRConv, u: Tensor) -> dict[str, Callable[[], list[Tensor]]]:
    """A dense convolution of the same length stands first, for scale.

    It computes something else: what it hands back for the comparison is the answer of the layer.
    """
    x, g = u.clone().requires_grad_(), torch.randn_like(u)
    k = torch.randn(u.shape[1:], device=u.device).requires_grad_()
    inputs = [x, *layer.parameters()]

    def step(method: Callable[[Tensor], Tensor]) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            y = method(x)
            return [y, *torch.autograd.grad(y, inputs, g)]

        return run

    answer = step(layer)()

    def dense() -> list[Tensor]:
        torch.autograd.grad(causal_conv(x, k), (x, k), g)
        return answer

    return {
        "one dense convolution": dense,
        "MRConv": step(layer),
        "branches in turn": step(layer.by_branches),
        "branches in one FFT": step(lambda u: batched_branches(layer, u)),
    }
