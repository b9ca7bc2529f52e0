"""The hyperparameters of each experiment, by name and preset, with their source.

`paper` is what was published, `cpu` learns visibly within minutes on two cores, `fast` is for one
modern GPU. `base` says what a recipe is; one module for each task lists the recipes.
"""

import torch

from mrbook.recipes import drawing, listops, mrconv, scifar
from mrbook.recipes.base import Recipe

__all__ = ["PRESETS", "RECIPES", "Recipe", "choose_preset", "find_recipe"]

PRESETS = ("paper", "cpu", "fast")

_ALL = [*scifar.RECIPES, *mrconv.RECIPES, *listops.RECIPES, *drawing.RECIPES]

#: All recipes by name and preset.
RECIPES = {(recipe.name, recipe.preset): recipe for recipe in _ALL}


def find_recipe(name: str, preset: str) -> Recipe:
    """Look a recipe up.

    Parameters
    ----------
    name : str
        Such as "multires-scifar".
    preset : str
        One of `PRESETS`.

    Raises
    ------
    ValueError
        If there is none; says which there are.

    Examples
    --------
    >>> find_recipe("multires-scifar", "paper").epochs
    250
    """
    if (name, preset) not in RECIPES:
        names = sorted({name for name, _ in RECIPES})
        presets = [preset for known, preset in RECIPES if known == name]
        if not presets:
            raise ValueError(f"recipe must be one of {', '.join(names)}, got {name!r}")
        raise ValueError(f"preset of {name} must be one of {', '.join(presets)}, got {preset!r}")
    return RECIPES[name, preset]


def choose_preset(name: str, device: torch.device | str | None = None) -> str:
    """The preset for a device: "fast" on CUDA, else "cpu"; "paper" where there is no such.

    Parameters
    ----------
    name : str
        Name of a recipe.
    device : torch.device or str, optional
        Default: CUDA where it is available.

    Examples
    --------
    >>> choose_preset("multires-scifar", "cpu"), choose_preset("multires-listops-untied", "cpu")
    ('cpu', 'paper')
    """
    cuda = torch.cuda.is_available() if device is None else torch.device(device).type == "cuda"
    wanted = "fast" if cuda else "cpu"
    return wanted if (name, wanted) in RECIPES else "paper"
