"""Networks that were trained with the published code of MultiresNet."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mrbook.likelihood import PARAMETERS
from mrbook.models.classifier import SequenceClassifier
from mrbook.models.pixel import PixelModel

__all__ = ["from_published"]

_COMMON = (  # published names, as patterns, and ours
    (r"seq_layers\.(\d+)\.(h0|h1|w)", r"blocks.\1.layer.\2"),
    (r"mixing_layers\.(\d+)\.0\.(weight|bias)", r"blocks.\1.mixing.\2"),
    (r"norms\.(\d+)\.(\w+)", r"blocks.\1.norm.\2"),
    (r"encoder\.(weight|bias)", r"encoder.\1"),
)
_CLASSIFIER = (*_COMMON, (r"output_mapping\.(weight|bias)", r"head.\1"))
_DRAWING = (
    *_COMMON,
    (r"mixing_layers\.(\d+)\.3\.(weight|bias)", r"blocks.\1.extra_mixing.\2"),
    (r"decoder\.(weight|bias)", r"head.\1"),
)


def from_published(
    state_dict: Mapping[str, Tensor],
    *,
    memory: str = "fading",
    depth: int | None = None,
    dropout: float = 0.0,
) -> SequenceClassifier | PixelModel:
    """Build the network that a published state dict belongs to, and load it.

    Parameters
    ----------
    state_dict : mapping from str to Tensor
        With the keys ``encoder``, ``seq_layers.i.{h0,h1,w}``, ``mixing_layers.i.0``, ``norms.i``
        and, of a classifier, ``output_mapping``; of a network that draws ``mixing_layers.i.3`` and
        ``decoder``. A leading ``module.``, which training on many devices leaves, is dropped.
        Sizes, the kind of norm and the kind of encoder are read off it.
    memory : {"fading", "uniform"}
        Which coefficients its layers read: the state dict doesn't tell.
    depth : int, optional
        Levels of the tree. Default: as many as the fading memory has weights for; the uniform
        memory needs it.
    dropout : float
        For training on; it changes nothing in evaluation mode.

    Returns
    -------
    SequenceClassifier or PixelModel
        With the dtype and the device of the state dict; in training mode, as any new module. To
        draw, a `PixelModel` must be told the size of the images.

    Raises
    ------
    ValueError
        If keys are missing or unknown, or shapes don't go together; a network that draws has layer
        normalization and a linear encoder, as published.

    References
    ----------
    J. Shi, K. A. Wang, E. B. Fox, "Sequence Modeling with Multiresolution Convolutional Memory",
    ICML 2023, arXiv:2305.01638, and its code.
    """
    published = {key.removeprefix("module."): value for key, value in state_dict.items()}
    encoder = _get(published, "encoder.weight", (2, 3))
    h0, w = _get(published, "seq_layers.0.h0", (3,)), _get(published, "seq_layers.0.w", (2,))
    options = {"kernel_size": h0.shape[-1], "memory": memory}
    if memory == "fading":
        depth = w.shape[1] - 2 if depth is None else depth
    elif depth is None:
        raise ValueError("depth must be given for the uniform memory")
    else:
        options["memory_size"] = w.shape[1] - 1
    sizes: dict[str, Any] = {
        "width": len(w),
        "layers": sum(re.fullmatch(r"seq_layers\.\d+\.w", key) is not None for key in published),
        "length": None,
        "layer_options": {**options, "depth": depth},
        "dropout": dropout,
    }
    names: Sequence[tuple[str, str]]
    model: SequenceClassifier | PixelModel
    if "decoder.weight" in published:
        if encoder.ndim != 3 or encoder.shape[1] not in PARAMETERS:
            raise ValueError(
                f"encoder.weight must have shape (width, 1 or 3, 1), got {tuple(encoder.shape)}"
            )
        channels, outputs = encoder.shape[1], len(_get(published, "decoder.weight", (3,)))
        names, mixtures = _DRAWING, outputs // PARAMETERS[channels]
        model = PixelModel(channels, mixtures=mixtures, **sizes)
    else:
        names, embeds = _CLASSIFIER, encoder.ndim == 2
        model = SequenceClassifier(
            len(_get(published, "output_mapping.weight", (2,))),
            channels=None if embeds else encoder.shape[1],
            vocabulary=len(encoder) if embeds else None,
            norm="batch" if "norms.0.running_mean" in published else "layer",
            **sizes,
        )
    model = model.to(w)
    try:
        model.load_state_dict(_ours(published, names))
    except RuntimeError as error:
        raise ValueError(f"state_dict doesn't go with the published network: {error}") from error
    return model


def _get(published: Mapping[str, Tensor], key: str, dimensions: tuple[int, ...]) -> Tensor:
    if key not in published:
        raise ValueError(f"state_dict is of no published network: no {key!r}")
    value = published[key]
    if value.ndim not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise ValueError(f"{key} must have {expected} dimensions, got shape {tuple(value.shape)}")
    return value


def _ours(published: Mapping[str, Tensor], names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    ours = {}
    for key, value in published.items():
        for pattern, name in names:
            if re.fullmatch(pattern, key):
                # Convolutions of one tap are linear maps here.
                pointwise = key.endswith(".weight") and value.ndim == 3
                ours[re.sub(pattern, name, key)] = value.squeeze(-1) if pointwise else value
                break
        else:
            raise ValueError(f"state_dict has a key of no published network: {key!r}")
    return ours
