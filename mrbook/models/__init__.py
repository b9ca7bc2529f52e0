"""Networks around a sequence layer: the residual block, a classifier, a model of pixels."""

from mrbook.models.block import Block
from mrbook.models.classifier import SequenceClassifier, masked_mean
from mrbook.models.layers import LAYERS, make_layer
from mrbook.models.norm import NORMS, BatchNorm, LayerNorm, real_steps
from mrbook.models.pixel import PixelModel
from mrbook.models.published import from_published

__all__ = [
    "LAYERS",
    "NORMS",
    "BatchNorm",
    "Block",
    "LayerNorm",
    "PixelModel",
    "SequenceClassifier",
    "from_published",
    "make_layer",
    "masked_mean",
    "real_steps",
]
