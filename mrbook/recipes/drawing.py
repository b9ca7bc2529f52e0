"""MultiresNet that draws: CIFAR-10 pixel by pixel, and small shapes."""

from mrbook.recipes.base import OURS, SHI, Recipe

__all__ = ["RECIPES"]

_PAPER = Recipe(
    name="multires-drawing",
    preset="paper",
    source=SHI,
    task="cifar-pixels",
    kind="pixels",
    model={
        "width": 512,
        "layers": 48,
        "dropout": 0.1,
        "mixtures": 10,
        "layer_options": {"kernel_size": 4, "independent_skip": True},
    },
    epochs=250,
    batch_size=64,
    lr=0.001,
    milestones={10: 4.5},
)

_CPU = _PAPER.but(
    preset="cpu",
    source=OURS,
    task="plain-shapes",
    task_options={"train": 3000, "valid": 500, "test": 1000},
    model={"width": 32, "layers": 3, "dropout": 0.0, "mixtures": 5, "conditional": True},
    epochs=10,
    batch_size=12,
    lr=0.015,
    warmup_epochs=0.5,
    clip=1.0,
    milestones={},
)

_FAST = _PAPER.but(
    preset="fast",
    source=OURS,
    model={"width": 256, "layers": 16},
    epochs=40,
    batch_size=128,
    lr=0.002,
    warmup_epochs=1,
    clip=1.0,
)

RECIPES = [_PAPER, _CPU, _FAST]
