"""A training step of every layer at equal width: what each costs, for they compute other things."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mrbook.bench.engine import Case
from mrbook.models.layers import LAYERS, make_layer
from mrbook.mrconv import KERNELS

#: Batch and length: always as many steps in all, so that times show what length itself costs.
SIZES = ((16, 1024), (4, 4096), (1, 16384))


def variants() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, layer and options of what is timed: all layers, MRConv with each kind of kernel."""
    for name in LAYERS:
        if name == "mrconv":
            yield from ((f"{name}, {kind}", name, {"kernel": kind}) for kind in KERNELS)
        else:
            yield name, name, {}


def cases(
    device: str, channels: int = 64, sizes: Sequence[tuple[int, int]] = SIZES
) -> Iterator[Case]:
    """Forward with backward for input and parameters, float32, the layers as they are by default.

    All are made for the length that they get. Each hands back its output and the gradient of its
    input.
    """
    for batch, length in sizes:
        torch.manual_seed(0)
        x = torch.randn(batch, channels, length, device=device, requires_grad=True)
        g = torch.randn_like(x)
        methods = {
            name: _step(make_layer(layer, channels, length, device=device, **options), x, g)
            for name, layer, options in variants()
        }
        title = f"training step of each layer: {batch} x {channels} x {length}"
        yield Case(title, methods, tolerance=None, memory=True, rounds=5)


def _step(layer: nn.Module, x: Tensor, g: Tensor) -> Callable[[], list[Tensor]]:
    inputs = [x, *layer.parameters()]

    def run() -> list[Tensor]:
        y = layer(x)
        return [y, torch.autograd.grad(y, inputs, g)[0]]

    return run
