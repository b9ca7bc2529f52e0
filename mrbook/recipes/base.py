"""What one training run depends on, as plain values."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mrbook.checks import check_count, check_number
from mrbook.models import MODELS
from mrbook.tasks import SPLITS, TASKS, ImageTask, Task

__all__ = ["OURS", "SHI", "Recipe", "variant"]

#: Sources.
SHI = "Shi, Wang, Fox, ICML 2023, arXiv:2305.01638"
OURS = "ours"


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
        A key of `mrbook.models.MODELS`: `SequenceClassifier`, or `PixelModel` which learns to draw.
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
        What the validation score must have reached after so many epochs, accuracies being at least
        and bits per dimension at most so much; otherwise a run is stopped: something is wrong.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If a number is out of range, or there is no such task, kind or split. What `model`,
        `task_options` and `augment` name is looked up where it is used.
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
        for name in ("name", "preset", "source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a string, got {getattr(self, name)!r}")
        check_count(self.epochs, "epochs")
        check_count(self.batch_size, "batch_size")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if self.kind not in MODELS:
            raise ValueError(f"kind must be one of {', '.join(MODELS)}, got {self.kind!r}")
        for split, size in self.subset.items():
            if split not in SPLITS:
                raise ValueError(f"subset must be of {', '.join(SPLITS)}, got {split!r}")
            check_count(size, f"subset[{split!r}]")
        check_number(self.lr, "lr", 0, ends="(]")
        check_number(self.weight_decay, "weight_decay", 0)
        check_number(self.warmup_epochs, "warmup_epochs", 0, self.epochs)
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, got {self.betas!r}")
        for i, beta in enumerate(self.betas):
            check_number(beta, f"betas[{i}]", 0, 1, ends="[)")
        if self.clip is not None:
            check_number(self.clip, "clip", 0, ends="(]")
        if not isinstance(self.augment, tuple | list):
            raise TypeError(f"augment must be a sequence of strings, got {self.augment!r}")
        most: float = 1 if self.kind == "classifier" else math.inf
        for epoch, score in self.milestones.items():
            check_count(epoch, "epoch of milestones", high=self.epochs)
            check_number(score, f"milestones[{epoch}]", 0, most, ends="()")

    def but(self, **changes: Any) -> "Recipe":
        """Return a variant.

        Parameters
        ----------
        **changes
            New values of attributes. Those of `model`, `task_options` and `subset` are added to the
            old ones. With fewer `epochs`, milestones beyond them are dropped.

        Examples
        --------
        >>> from mrbook.recipes import find_recipe
        >>> recipe = find_recipe("multires-scifar", "cpu")
        >>> recipe.but(epochs=1, model={"width": 8}).model["width"]
        8
        """
        for name in ("model", "task_options", "subset"):
            if name in changes:
                changes[name] = {**getattr(self, name), **changes[name]}
        if "epochs" in changes and "milestones" not in changes:
            last = check_count(changes["epochs"], "epochs")
            kept = {epoch: score for epoch, score in self.milestones.items() if epoch <= last}
            changes["milestones"] = kept
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
        return MODELS[self.kind](**self.model_options(task))

    def model_options(self, task: Task) -> dict[str, Any]:
        """All arguments that build the model for a task: with them it can be built without data.

        Parameters
        ----------
        task : Task
            As for `build_model`.

        Returns
        -------
        dict
            Arguments of ``mrbook.models.MODELS[self.kind]``, plain values.
        """
        options = {"length": task.length, **self.model}
        if self.kind == "pixels":
            if not isinstance(task, ImageTask):
                raise ValueError(f"task must be one of images for pixels, got {task.name!r}")
            if options.pop("conditional", False):
                options["classes"] = len(task.classes)
            return {"channels": task.channels, **options}
        inputs: dict[str, Any] = {"channels": task.channels}
        if task.vocabulary is not None:
            inputs = {"vocabulary": len(task.vocabulary)}
        return {"classes": len(task.classes), "pair": task.pair, **inputs, **options}

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, as records keep it."""
        plain = dataclasses.asdict(self)  # the rules of ListOps, too
        plain["milestones"] = {str(epoch): value for epoch, value in self.milestones.items()}
        return plain | {"augment": list(self.augment), "betas": list(self.betas)}


def variant(recipe: Recipe, name: str, **model: Any) -> Recipe:
    """Return a recipe of ours under another name, whose model differs.

    Parameters
    ----------
    recipe : Recipe
        What it is a variant of.
    name : str
        Its own name.
    **model
        Options of the model. Those of the layer are added to the old ones, unless the layer is
        another one.
    """
    kept = {} if "layer" in model else recipe.model.get("layer_options", {})
    options = {**kept, **model.pop("layer_options", {})}
    return recipe.but(name=name, source=OURS, model={**model, "layer_options": options})
