"""What a run has been through: its curve, its scores, and the record of it."""

import resource
import sys
from dataclasses import dataclass, field
from typing import Any

import torch

from mrbook.recipes import Recipe

__all__ = ["DivergedError", "MilestoneError", "Run", "peak_memory"]


class DivergedError(RuntimeError):
    """The loss is not a number, or has grown far beyond where it began."""


class MilestoneError(RuntimeError):
    """The validation score is below what the recipe expects by now."""


@dataclass
class Run:
    """The result of `fit`.

    Attributes
    ----------
    recipe : Recipe
        What was trained.
    seed : int
        Of the random numbers.
    score : str
        What the score is called, "accuracy" or "bits_per_dim".
    parameters : int
        Number of parameters.
    device : str
        Where.
    data : dict
        The task's fingerprint.
    code : list of dict
        Code that it was trained with, ``commit`` and ``dirty`` as `mrbook.records.environment`
        says them: one entry, or several where the run was taken up again with other code.
    curve : list of dict
        For each epoch ``epoch``, ``train_loss``, ``train_score``, ``valid_loss``, ``valid_score``,
        ``lr`` of its last step, and ``seconds`` since the start.
    best : dict
        The entry of the curve with the best validation score; the model is left with its weights.
    test : dict
        ``loss`` and ``score`` of these weights on test data, read once at the end.
    seconds : float
        Wall-clock time of training and validation.
    memory : int or None
        Peak memory in bytes: the GPU's, else the process's.
    examples_per_second : float
        While training.
    """

    recipe: Recipe
    seed: int
    score: str
    parameters: int
    device: str
    data: dict[str, Any]
    code: list[dict[str, Any]]
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int | None = None
    examples_per_second: float = 0.0

    @property
    def mark(self) -> str | None:
        """Words to show beside every number, where the data are not the official ones."""
        return self.data.get("mark")

    def payload(self, command: str) -> dict[str, Any]:
        """What a record keeps.

        Parameters
        ----------
        command : str
            The command that makes the same run again.
        """
        names = "seed", "score", "parameters", "device", "data", "code", "curve", "best", "test"
        return {
            "command": command,
            "recipe": self.recipe.as_dict(),
            **{name: getattr(self, name) for name in names},
            "seconds": round(self.seconds, 2),
            "peak_memory": self.memory,
            "examples_per_second": round(self.examples_per_second, 2),
        }


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: the allocator's on a GPU, else that of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
