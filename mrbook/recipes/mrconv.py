"""MRConv on sequential CIFAR-10: MultiresNet's recipes with another layer in the block.

Known of the published experiment are the block (the same but for its layer), that kernels of
resolution i are ``2^i l0`` lags long, their kinds, batch normalization of the branches, and that
kernels learn at a smaller rate than the rest. All other numbers are those of MultiresNet, which is
our choice: so that the two systems differ in the layer alone.
"""

from mrbook.recipes.base import Recipe, variant
from mrbook.recipes.scifar import CPU, FAST, PAPER

__all__ = ["RECIPES"]

CUNNINGHAM = "ours, after Cunningham et al., NeurIPS 2024, arXiv:2408.09453"

#: Kinds of kernel by the ends of the recipes' names.
KINDS = {"dense": "dense", "fourier": "fourier", "fourier-sparse": "fourier+sparse"}


def _recipe(base: Recipe, name: str, kernel: str) -> Recipe:
    layer = {"layer": "mrconv", "layer_options": {"kernel": kernel, "l0": 16}}
    return variant(base, f"mrconv-scifar-{name}", **layer).but(source=CUNNINGHAM)


RECIPES = [_recipe(base, name, kind) for name, kind in KINDS.items() for base in (PAPER, CPU, FAST)]
