"""What a network is trained for: per-example losses and scores of a batch."""

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.likelihood import bits_per_dim, logistic_mixture_nll
from mrbook.models import SequenceClassifier
from mrbook.tasks import Batch

__all__ = ["Classification", "Drawing", "Objective", "objective_of"]


class Objective(Protocol):
    """How a model's outputs are judged.

    Attributes
    ----------
    score : str
        What the score is called.
    higher_is_better : bool
        Which of two scores is the better one.
    """

    @property
    def score(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    def predict(self, model: nn.Module, batch: Batch, lengths: Tensor | None) -> Tensor:
        """Call the model on a batch."""

    def judge(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and score of each example, both float32 of shape ``(batch,)``."""


@dataclass(frozen=True)
class Classification:
    """Cross-entropy in nats, and the share of right answers."""

    score: str = "accuracy"
    higher_is_better: bool = True

    def predict(self, model: nn.Module, batch: Batch, lengths: Tensor | None) -> Tensor:
        """Logits, shape ``(batch, classes)``."""
        return model(batch.inputs, lengths)

    def judge(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and score of each example."""
        outputs = outputs if outputs.dtype.itemsize > 4 else outputs.float()
        losses = F.cross_entropy(outputs, batch.targets, reduction="none")
        return losses, (outputs.argmax(-1) == batch.targets).to(losses.dtype)


@dataclass(frozen=True)
class Drawing:
    """Negative log-likelihood in nats per channel value, and bits per channel value."""

    conditional: bool = False
    score: str = "bits_per_dim"
    higher_is_better: bool = False

    def predict(self, model: nn.Module, batch: Batch, lengths: Tensor | None) -> Tensor:
        """Parameters of each pixel's distribution, shape ``(batch, parameters, length)``."""
        return model(batch.inputs, batch.targets) if self.conditional else model(batch.inputs)

    def judge(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and score of each example."""
        outputs = outputs if outputs.dtype.itemsize > 4 else outputs.float()
        x = batch.inputs.to(outputs.dtype)
        nll = logistic_mixture_nll(x, outputs)
        dims = x.shape[1] * x.shape[2]
        return nll / dims, bits_per_dim(nll, dims).detach()


def objective_of(model: nn.Module) -> Objective:
    """What a model is trained for."""
    if isinstance(model, SequenceClassifier):
        return Classification()
    return Drawing(conditional=getattr(model, "classes", None) is not None)
