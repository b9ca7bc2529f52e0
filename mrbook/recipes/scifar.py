"""MultiresNet on sequential CIFAR-10, its variants, and a baseline."""

from mrbook.recipes.base import OURS, SHI, Recipe, variant

__all__ = ["CPU", "FAST", "PAPER", "RECIPES"]

PAPER = Recipe(
    name="multires-scifar",
    preset="paper",
    source=SHI,
    task="scifar",
    model={"width": 256, "layers": 10, "dropout": 0.25, "layer_options": {"kernel_size": 2}},
    epochs=250,
    batch_size=50,
    lr=0.0045,
    weight_decay=0.01,
    milestones={20: 0.6},
)

CPU = PAPER.but(
    preset="cpu",
    source=OURS,
    model={
        "width": 48,
        "layers": 4,
        "dropout": 0.0,
        "norm": "batch",  # in so few steps layer norm gets far less: multires-scifar-layernorm
    },
    subset={"train": 5000, "valid": 1000, "test": 2000},
    epochs=5,
    batch_size=25,
    lr=0.01,
    warmup_epochs=0.5,
    augment=("flip",),
    milestones={4: 0.2},
)

FAST = PAPER.but(
    preset="fast",
    source=OURS,
    model={"dropout": 0.15},
    epochs=120,
    batch_size=250,
    lr=0.009,
    warmup_epochs=2,
    clip=1.0,
    augment=("flip", "shift"),
)

RECIPES = [
    PAPER,
    CPU,
    FAST,
    *(
        variant(recipe, "multires-scifar-untied", layer_options={"tie_levels": False})
        for recipe in (PAPER, CPU, FAST)
    ),
    *(
        recipe.but(name="multires-scifar-width33", source=OURS, task="scifar-33")
        for recipe in (CPU, FAST)
    ),
    variant(
        CPU.but(task="scifar-33"),
        "multires-scifar-untied-width33",
        layer_options={"tie_levels": False},
    ),
    variant(CPU, "multires-scifar-start", layer_options={"gain": 3**0.5}),
    variant(CPU, "multires-scifar-layernorm", norm="layer"),
    variant(CPU, "s4d-scifar", layer="s4d"),
    variant(CPU, "s4d-scifar-state8", layer="s4d", layer_options={"state_size": 8}),
]
