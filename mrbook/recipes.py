"""The hyperparameters of each experiment, by name and preset, with their source.

`paper` is what was published, `cpu` learns visibly within minutes on two cores, `fast` is for one
modern GPU.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mrbook.checks import check_count
from mrbook.models import PixelModel, SequenceClassifier
from mrbook.tasks import TASKS, ImageTask, Rules, Task

__all__ = ["PRESETS", "RECIPES", "Recipe", "choose_preset", "find_recipe"]

PRESETS = ("paper", "cpu", "fast")

_SHI = "Shi, Wang, Fox, ICML 2023, arXiv:2305.01638"
_OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that one training run depends on beside its seed and the code.

    Attributes
    ----------
    name, preset : str
        What it is called; together they name a recipe.
    source : str
        Where the numbers come from.
    task : str
        A key of `mrbook.tasks.TASKS`.
    task_options : mapping
        Options of the task.
    subset : mapping
        Sizes of splits, where not all of a split is used.
    kind : {"classifier", "pixels"}
        `SequenceClassifier`, or `PixelModel` which learns to draw.
    model : mapping
        Options of the model; its inputs and classes follow from the task.
    epochs : int
        Passes through the training data.
    batch_size : int
        Examples of one step, in all processes together.
    lr : float
        Learning rate at the top of the schedule.
    weight_decay : float
        Of AdamW.
    warmup_epochs : float
        Epochs of linear growth before the cosine.
    betas : (float, float)
        Of AdamW.
    clip : float, optional
        Largest norm of the gradient.
    augment : sequence of str
        Keys of `mrbook.train.AUGMENTATIONS`.
    milestones : mapping from int to float
        What the validation score must have reached after so many epochs; below it, a run is
        stopped: something is wrong.

    Raises
    ------
    ValueError
        If a number is out of range, or there is no such task or kind.
    """

    name: str
    preset: str
    source: str
    task: str
    kind: str = "classifier"
    model: Mapping[str, Any]
    task_options: Mapping[str, Any] = field(default_factory=dict)
    subset: Mapping[str, int] = field(default_factory=dict)
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    augment: tuple[str, ...] = ()
    milestones: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_count(self.epochs, "epochs")
        check_count(self.batch_size, "batch_size")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if self.kind not in ("classifier", "pixels"):
            raise ValueError(f'kind must be "classifier" or "pixels", got {self.kind!r}')
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be positive, got {self.lr}")
        for name in ("weight_decay", "warmup_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def but(self, **changes: Any) -> "Recipe":
        """Return a variant.

        Parameters
        ----------
        **changes
            New values of attributes. Those of `model`, `task_options` and `subset` are added to the
            old ones.

        Examples
        --------
        >>> recipe = find_recipe("multires-scifar", "cpu")
        >>> recipe.but(epochs=1, model={"width": 8}).model["width"]
        8
        """
        for name in ("model", "task_options", "subset"):
            if name in changes:
                changes[name] = {**getattr(self, name), **changes[name]}
        return dataclasses.replace(self, **changes)

    def build_task(self, **options: Any) -> Task:
        """Load the data.

        Parameters
        ----------
        **options
            More options of the task, such as ``download="ask"``.
        """
        task = TASKS[self.task](**{**self.task_options, **options})
        sizes = {split: min(size, task.size(split)) for split, size in self.subset.items()}
        return task.subset(**sizes) if sizes else task

    def build_model(self, task: Task) -> nn.Module:
        """Build the model for a task, with new random weights.

        Parameters
        ----------
        task : Task
            Tells the kind of input, the classes and the length.
        """
        options = {"length": task.length, **self.model}
        if self.kind == "pixels":
            if not isinstance(task, ImageTask):
                raise ValueError(f"task must be one of images for pixels, got {task.name!r}")
            if options.pop("conditional", False):
                options["classes"] = len(task.classes)
            return PixelModel(channels=task.channels, **options)
        inputs: dict[str, Any] = {"channels": task.channels}
        if task.vocabulary is not None:
            inputs = {"vocabulary": len(task.vocabulary)}
        return SequenceClassifier(len(task.classes), pair=task.pair, **inputs, **options)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, as records keep it."""
        plain = dataclasses.asdict(self)  # the rules of ListOps, too
        plain["milestones"] = {str(epoch): value for epoch, value in self.milestones.items()}
        return plain | {"augment": list(self.augment), "betas": list(self.betas)}


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


_SCIFAR = Recipe(
    name="multires-scifar",
    preset="paper",
    source=_SHI,
    task="scifar",
    model={"width": 256, "layers": 10, "dropout": 0.25, "layer_options": {"kernel_size": 2}},
    epochs=250,
    batch_size=50,
    lr=0.0045,
    weight_decay=0.01,
)

_LISTOPS = Recipe(
    name="multires-listops",
    preset="paper",
    source=_SHI,
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
)

_DRAWING = Recipe(
    name="multires-drawing",
    preset="paper",
    source=_SHI,
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
)

_SCIFAR_CPU = _SCIFAR.but(
    preset="cpu",
    source=_OURS,
    model={
        "width": 48,
        "layers": 4,
        "dropout": 0.0,
        "layer_options": {"kernel_size": 2, "gain": 3**0.5},
    },
    subset={"train": 5000, "valid": 1000, "test": 2000},
    epochs=8,
    batch_size=25,
    lr=0.01,
    warmup_epochs=0.5,
    augment=("flip",),
    milestones={4: 0.2},
)

_SCIFAR_FAST = _SCIFAR.but(
    preset="fast",
    source=_OURS,
    model={"dropout": 0.15},
    epochs=120,
    batch_size=250,
    lr=0.009,
    warmup_epochs=2,
    clip=1.0,
    augment=("flip", "shift"),
    milestones={20: 0.6},
)

_LISTOPS_FAST = _LISTOPS.but(preset="fast", source=_OURS, epochs=30, batch_size=200, lr=0.006)

_LISTOPS_CPU = _LISTOPS.but(
    preset="cpu",
    source=_OURS,
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
)

_DRAWING_CPU = _DRAWING.but(
    preset="cpu",
    source=_OURS,
    task="plain-shapes",
    task_options={"train": 3000, "valid": 500, "test": 1000},
    model={"width": 32, "layers": 3, "dropout": 0.0, "mixtures": 5, "conditional": True},
    epochs=10,
    batch_size=12,
    lr=0.015,
    warmup_epochs=0.5,
    clip=1.0,
)

_DRAWING_FAST = _DRAWING.but(
    preset="fast",
    source=_OURS,
    model={"width": 256, "layers": 16},
    epochs=40,
    batch_size=128,
    lr=0.002,
    warmup_epochs=1,
    clip=1.0,
)


def _with(recipe: Recipe, name: str, **model: Any) -> Recipe:
    """Return a recipe of another name, whose model differs."""
    options = {**recipe.model.get("layer_options", {}), **model.pop("layer_options", {})}
    if "layer" in model:
        options = {}
    return recipe.but(name=name, source=_OURS, model={**model, "layer_options": options})


_ALL = [
    _SCIFAR,
    _SCIFAR_CPU,
    _SCIFAR_FAST,
    *(
        _with(recipe, "multires-scifar-untied", layer_options={"tie_levels": False})
        for recipe in (_SCIFAR, _SCIFAR_CPU, _SCIFAR_FAST)
    ),
    _with(_SCIFAR_CPU, "multires-scifar-gain1", layer_options={"gain": 1.0}),
    _with(_SCIFAR_CPU, "s4d-scifar", layer="s4d"),
    _LISTOPS,
    _LISTOPS_CPU,
    _LISTOPS_FAST,
    _with(_LISTOPS, "multires-listops-untied", layer_options={"tie_levels": False}),
    _DRAWING,
    _DRAWING_CPU,
    _DRAWING_FAST,
]

#: All recipes by name and preset.
RECIPES = {(recipe.name, recipe.preset): recipe for recipe in _ALL}
