"""MultiresNet's classifier: encode, a stack of residual blocks, a mean over time, a linear map."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.longconv import check_input, mask_padding
from mrbook.models.block import Block
from mrbook.models.layers import make_layer
from mrbook.models.norm import real_steps

__all__ = ["POOLS", "SequenceClassifier", "last_step", "masked_mean"]


def masked_mean(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean over the real time steps.

    Parameters
    ----------
    x : Tensor
        Shape ``(batch, length, channels)``.
    lengths : Tensor, optional
        True lengths, integers of shape ``(batch,)``. Default: all steps are real.

    Returns
    -------
    Tensor
        Shape ``(batch, channels)``; 0 for a sequence without a step.

    Examples
    --------
    >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> masked_mean(x, torch.tensor([2]))
    tensor([[2.]])
    """
    if lengths is None:
        return x.mean(1)
    total = x.masked_fill(~real_steps(x, lengths), 0).sum(1)
    return total / lengths.to(x.device).clamp(min=1)[:, None]


def last_step(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The last real time step.

    Parameters
    ----------
    x : Tensor
        Shape ``(batch, length, channels)``.
    lengths : Tensor, optional
        True lengths, integers of shape ``(batch,)``. Default: all steps are real.

    Returns
    -------
    Tensor
        Shape ``(batch, channels)``; 0 for a sequence without a step.

    Examples
    --------
    >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> last_step(x, torch.tensor([2]))
    tensor([[3.]])
    """
    if lengths is None:
        return x[:, -1]
    lengths = lengths.to(x.device)
    last = x[torch.arange(len(x), device=x.device), (lengths - 1).clamp(min=0)]
    return last.masked_fill((lengths == 0)[:, None], 0)


#: What a sequence comes down to, by name.
POOLS = {"mean": masked_mean, "last": last_step}


class SequenceClassifier(nn.Module):
    """Classify sequences with a stack of residual blocks around any sequence layer.

    Parameters
    ----------
    classes : int
        Number of classes.
    channels : int, optional
        Channels of the inputs, where they are numbers.
    vocabulary : int, optional
        Number of tokens, where the inputs are token numbers. Either this or `channels`.
    width : int
        Channels inside the network.
    layers : int
        Number of blocks.
    length : int or None
        Longest sequence that the layers should be made for; None where their options say it.
    layer : str
        The sequence layer, a key of `mrbook.models.LAYERS`.
    layer_options : mapping, optional
        Its options.
    dropout : float
        Probability of dropping a channel.
    norm : {"layer", "batch"}
        Normalization after each block.
    pool : {"mean", "last"}
        What of the last block goes into the last linear map: the mean over the real time steps, or
        the last of them, at which a causal network has to know the answer.
    pair : bool
        Each example is two sequences, rows 2i and 2i + 1 of the inputs; what the pool makes of
        them, a and b, goes as (a, b, a - b, a b) into the last linear map.

    Raises
    ------
    ValueError
        If a number is out of range, neither or both of channels and vocabulary are given, or there
        is no such layer, norm or pool.

    Examples
    --------
    The published network for sequential CIFAR-10:

    >>> model = SequenceClassifier(10, channels=3, width=256, layers=10, length=1024)
    >>> sum(parameter.numel() for parameter in model.parameters())
    1365514
    """

    def __init__(
        self,
        classes: int,
        *,
        channels: int | None = None,
        vocabulary: int | None = None,
        width: int,
        layers: int,
        length: int | None,
        layer: str = "multires",
        layer_options: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
        norm: str = "layer",
        pool: str = "mean",
        pair: bool = False,
    ) -> None:
        super().__init__()
        classes, width = check_count(classes, "classes"), check_count(width, "width")
        layers = check_count(layers, "layers")
        if (channels is None) == (vocabulary is None):
            raise ValueError(
                f"give either channels or vocabulary, got channels={channels} and "
                f"vocabulary={vocabulary}"
            )
        if pool not in POOLS:
            raise ValueError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
        self.channels, self.pool, self.pair = channels, pool, pair
        self.encoder: nn.Linear | nn.Embedding
        if channels is not None:
            self.encoder = nn.Linear(check_count(channels, "channels"), width)
        else:
            self.encoder = nn.Embedding(check_count(vocabulary, "vocabulary"), width)
        options = dict(layer_options or {})
        self.blocks = nn.ModuleList(
            Block(width, make_layer(layer, width, length, **options), dropout=dropout, norm=norm)
            for _ in range(layers)
        )
        self.head = nn.Linear(4 * width if pair else width, classes)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of each example.

        Parameters
        ----------
        inputs : Tensor
            Floating point of shape ``(batch, channels, length)``, or token numbers, int64 of shape
            ``(batch, length)``.
        lengths : Tensor, optional
            True lengths of a padded batch, integers of shape ``(batch,)``.

        Returns
        -------
        Tensor
            Shape ``(batch, classes)``; with `pair` half as many rows.

        Raises
        ------
        ValueError
            If the inputs have another shape, dtype or device, or lengths are out of range.
        TypeError
            If inputs is not a tensor, or lengths not an integer one.
        """
        x = self.features(inputs, lengths)
        if self.pair:
            a, b = x[::2], x[1::2]
            x = torch.cat([a, b, a - b, a * b], dim=-1)
        return self.head(x)

    def features(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the pool makes of the last block, ``(batch, width)``; inputs as for a call."""
        self._check(inputs)
        x = inputs[:, None] if self.channels is None else inputs
        if lengths is not None:  # not even NaN may matter there, or a number of no token
            x = mask_padding(x, lengths)
        x = self.encoder(x[:, 0] if self.channels is None else x.mT)
        for block in self.blocks:
            x = block(x, lengths)
        return POOLS[self.pool](x, lengths)

    def _check(self, inputs: Tensor) -> None:
        if self.channels is not None:
            shape = ("batch", self.channels, "length")
            check_input(inputs, self.encoder.weight, shape, "inputs")
        elif not isinstance(inputs, Tensor):
            raise TypeError(f"inputs must be a tensor, got {type(inputs).__name__}")
        elif inputs.dtype != torch.int64 or inputs.ndim != 2 or inputs.shape[1] == 0:
            raise ValueError(
                f"inputs must be int64 of shape (batch, length), got {inputs.dtype} of shape "
                f"{tuple(inputs.shape)}"
            )
        if self.pair and len(inputs) % 2:
            raise ValueError(f"inputs must hold pairs of sequences, got {len(inputs)} rows")
