"""A long convolution step by step: tiles beside a dot product with the whole past at every step."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mrbook.bench.engine import Case, one_thread
from mrbook.online import OnlineKernel, initial_state

SIZES = ((1, 256), (1, 1024), (1, 4096), (1, 16384), (8, 256), (8, 1024), (8, 4096))


def cases(
    device: str, channels: int = 64, sizes: Sequence[tuple[int, int]] = SIZES
) -> Iterator[Case]:
    """As many steps as the kernel is long, float32; what is made of the kernel is made anew."""
    for batch, length in sizes:
        torch.manual_seed(0)
        u = torch.randn(length, batch, channels, device=device)
        k = torch.randn(channels, length, device=device) / length**0.5
        methods = {"online": _online(u, k), "dot products": _dot_products(u, k)}
        title = f"{length} steps, kernel of {length}, {batch} x {channels}"
        yield Case(title, methods, tolerance=1e-4, rounds=max(2, min(10, 8192 // length)))


def _online(u: Tensor, k: Tensor) -> Callable[[], Tensor]:
    @torch.no_grad()
    @one_thread()
    def run() -> Tensor:
        _, batch, channels = u.shape
        state = initial_state(batch, channels, k.shape[1], u.dtype, u.device)
        kernel, outputs = OnlineKernel(k), []
        for u_t in u:
            y, state = kernel.step(u_t, state)
            outputs.append(y)
        return torch.stack(outputs)

    return run


def _dot_products(u: Tensor, k: Tensor) -> Callable[[], Tensor]:
    @torch.no_grad()
    @one_thread()
    def run() -> Tensor:
        oldest_first, length = k.flip(-1), len(u)
        past, product = u.new_empty(2, *u.shape[1:], length)  # new ones would fragment memory
        outputs = []
        for t, u_t in enumerate(u):
            past[..., t] = u_t
            weights = oldest_first[:, length - 1 - t :]
            terms = torch.mul(past[..., : t + 1], weights, out=product[..., : t + 1])
            outputs.append(terms.sum(-1))
        return torch.stack(outputs)

    return run
