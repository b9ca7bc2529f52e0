"""Drawing images by steps beside running the network again for every pixel."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from mrbook.bench.engine import Case
from mrbook.likelihood import sample_logistic_mixture, to_levels
from mrbook.models.pixel import PixelModel


@torch.no_grad()
def run_again(model: PixelModel, count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Draw as `PixelModel.draw` does, each pixel from the whole network on those before it."""
    height, width = size
    weight = model.head.weight
    generator = torch.Generator(weight.device).manual_seed(seed)
    x = weight.new_zeros(count, model.channels, height * width)
    for t in range(height * width):
        params = model(x[..., : t + 1])[..., t]  # no more of the image than it needs
        x[..., t] = sample_logistic_mixture(params, model.channels, generator=generator)
    return to_levels(x).unflatten(-1, size)


def cases(
    device: str,
    layers: int = 3,
    width: int = 64,
    tasks: tuple[tuple[int, int], ...] = ((1, 32), (8, 16)),
) -> Iterator[Case]:
    """One image of 32 x 32 pixels, and 8 of 16 x 16 side by side, in color.

    In float64, so that both give the same images: where a rounding error moves one value to the
    next level, all pixels after it change.
    """
    for count, side in tasks:
        torch.manual_seed(0)
        size = (side, side)
        options = {"kernel_size": 4, "independent_skip": True}
        model = PixelModel(width=width, layers=layers, length=side**2, layer_options=options)
        model = model.to(device, torch.float64).eval()
        yield Case(
            f"{count} x {side**2} pixels, {layers} blocks of width {width}, float64",
            {
                "steps": partial(model.draw, count, size=size, seed=0),
                "run again": partial(run_again, model, count, size, seed=0),
            },
            tolerance=0,
            rounds=2,
        )
