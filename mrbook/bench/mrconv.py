"""MRConv: its branches beside what they merge into, in inference and in training."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook import native
from mrbook.bench.engine import Case
from mrbook.longconv import causal_conv, fast_fft_length
from mrbook.mrconv import MRConv, mrconv_branches

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
) -> Iterator[Case]:
    """Inference, then a training step (forward with backward), float32, dense kernels."""
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


def _inference(layer: MRConv, u: Tensor) -> dict[str, Callable[[], Tensor]]:
    layer(u)  # for the running statistics
    fused, _ = layer.eval().fuse()

    def alone(method: Callable[[Tensor], Tensor], conv: str = "auto") -> Callable[[], Tensor]:
        @torch.no_grad()
        def run() -> Tensor:
            fused.method = conv
            return method(u)

        return run

    methods = {
        "fused": alone(fused),
        "merged at each call": alone(layer),
        "branches": alone(layer.by_branches),
        "branches, padded kernels": alone(lambda u: padded_branches(layer, u)),
    }
    if u.shape[-1] <= 1024:
        methods["fused, direct"] = alone(fused, "direct")
        if native.available(u.dtype, u.device.type):
            methods["fused, direct in C++"] = alone(fused, "fused")
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
