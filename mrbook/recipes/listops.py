"""MultiresNet on Long ListOps, and on shorter lists."""

from mrbook.recipes.base import OURS, SHI, Recipe, variant
from mrbook.tasks import Rules

__all__ = ["RECIPES"]

_PAPER = Recipe(
    name="multires-listops",
    preset="paper",
    source=SHI,
    task="listops",
    model={
        "width": 128,
        "layers": 10,
        "length": 2000,
        "dropout": 0.1,
        "norm": "batch",
        "layer_options": {"kernel_size": 4, "independent_skip": True},
    },
    epochs=100,
    batch_size=50,
    lr=0.003,
    weight_decay=0.03,
    warmup_epochs=1,
    milestones={10: 0.35},
)

_CPU = _PAPER.but(
    preset="cpu",
    source=OURS,
    task_options={
        "train": 48_000,
        "valid": 1000,
        "test": 1000,
        "rules": Rules(max_depth=4, max_args=5, min_length=10, max_length=64),
    },
    model={"width": 64, "layers": 2, "length": 64, "dropout": 0.0},
    epochs=4,
    batch_size=50,
    lr=0.02,
    weight_decay=0.01,
    warmup_epochs=0.3,
    milestones={},
)

_FAST = _PAPER.but(preset="fast", source=OURS, epochs=30, batch_size=200, lr=0.006)

RECIPES = [
    _PAPER,
    _CPU,
    _FAST,
    variant(_PAPER, "multires-listops-untied", layer_options={"tie_levels": False}),
]
