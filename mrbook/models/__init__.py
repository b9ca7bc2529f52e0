"""Networks around a sequence layer: the residual block, a classifier, a model of pixels."""

from collections.abc import Callable

from torch import nn

from mrbook.models.block import Block
from mrbook.models.classifier import POOLS, SequenceClassifier, last_step, masked_mean
from mrbook.models.layers import LAYERS, make_layer
from mrbook.models.norm import NORMS, BatchNorm, LayerNorm, real_steps
from mrbook.models.pixel import PixelModel
from mrbook.models.published import from_published

__all__ = [
    "LAYERS",
    "MODELS",
    "NORMS",
    "POOLS",
    "BatchNorm",
    "Block",
    "LayerNorm",
    "PixelModel",
    "SequenceClassifier",
    "from_published",
    "last_step",
    "make_layer",
    "masked_mean",
    "real_steps",
]

#: The networks by the names that recipes and files of weights use.
MODELS: dict[str, Callable[..., nn.Module]] = {
    "classifier": SequenceClassifier,
    "pixels": PixelModel,
}
