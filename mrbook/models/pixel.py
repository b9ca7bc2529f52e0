"""A network that draws: each pixel's distribution from the pixels before it, row by row."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.likelihood import PARAMETERS, sample_logistic_mixture, to_levels
from mrbook.longconv import check_input
from mrbook.models.block import Block
from mrbook.models.layers import make_layer

__all__ = ["PixelModel"]

#: What the layers of all blocks carry from one pixel to the next.
State = tuple[tuple[Tensor, ...], ...]


class PixelModel(nn.Module):
    """Autoregressive model of images with a stack of residual blocks around any sequence layer.

    The image goes in one pixel late, so that the distribution of a pixel is computed from those
    before it; the first one sees zeros. A pixel's distribution is a mixture of discretized
    logistics, see `mrbook.likelihood`.

    Parameters
    ----------
    channels : int
        3 for color, 1 for gray.
    width : int
        Channels inside the network.
    layers : int
        Number of blocks.
    length : int or None
        Pixels of the images that the layers should be made for; None where their options say it.
    mixtures : int
        Components of the mixture.
    classes : int, optional
        Number of classes, to draw images of a class: its embedding is added to every pixel's.
    layer : str
        The sequence layer, a key of `mrbook.models.LAYERS`.
    layer_options : mapping, optional
        Its options.
    dropout : float
        Probability of dropping a channel in training.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or there is no such layer.

    References
    ----------
    J. Shi, K. A. Wang, E. B. Fox, "Sequence Modeling with Multiresolution Convolutional Memory",
    ICML 2023, arXiv:2305.01638.

    Examples
    --------
    The published network for images of 32 x 32 pixels, without memory for its numbers:

    >>> options = {"kernel_size": 4, "independent_skip": True}
    >>> with torch.device("meta"):
    ...     model = PixelModel(width=512, layers=48, length=1024, layer_options=options)
    >>> sum(parameter.numel() for parameter in model.parameters())
    38391908

    A small one that was not trained draws noise:

    >>> model = PixelModel(channels=1, width=8, layers=2, length=64)
    >>> model.draw(5, seed=0).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        width: int,
        layers: int,
        length: int | None,
        mixtures: int = 10,
        classes: int | None = None,
        layer: str = "multires",
        layer_options: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if channels not in PARAMETERS:
            raise ValueError(f"channels must be 1 or 3, got {channels!r}")
        width, layers = check_count(width, "width"), check_count(layers, "layers")
        mixtures = check_count(mixtures, "mixtures")
        self.channels, self.length = channels, length
        self.classes = None if classes is None else check_count(classes, "classes")
        self.encoder = nn.Linear(channels, width)
        self.embedding = None if self.classes is None else nn.Embedding(self.classes, width)
        options = dict(layer_options or {})
        self.blocks = nn.ModuleList(
            Block(
                width,
                make_layer(layer, width, length, **options),
                dropout=dropout,
                extra_mixing=True,
            )
            for _ in range(layers)
        )
        self.head = nn.Linear(width, PARAMETERS[channels] * mixtures)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Parameters of every pixel's distribution.

        Parameters
        ----------
        x : Tensor
            Images of values in [-1, 1], rows one after the other, shape
            ``(batch, channels, length)``, any length.
        labels : Tensor, optional
            Classes, int64 of shape ``(batch,)``; given if and only if the model has classes.

        Returns
        -------
        Tensor
            For `mrbook.likelihood.logistic_mixture_nll`, shape ``(batch, parameters, length)``: of
            pixel t from the pixels before t.

        Raises
        ------
        TypeError, ValueError
            If x or the labels don't go with the model.
        """
        check_input(x, self.encoder.weight, ("batch", self.channels, "length"), "x")
        before = F.pad(x[..., :-1], (1, 0)).mT
        z = self._encode(before, labels)
        for block in self.blocks:
            z = block(z)
        return self.head(z).mT

    # ---- one pixel at a time --------------------------------------------------------------------

    def initial_state(self, batch: int) -> State:
        """State before the first pixel: that of every block's layer, nothing seen."""
        return tuple(block.layer.initial_state(batch) for block in self.blocks)  # type: ignore[union-attr, operator]

    def step(
        self, x_before: Tensor, state: State, labels: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters of one pixel's distribution, at the same cost for each; in evaluation mode.

        Parameters
        ----------
        x_before : Tensor
            The pixel before, shape ``(batch, channels)``; for the first one zeros.
        state : tuple
            From `initial_state` or the step before. Go on with the one that is returned.
        labels : Tensor, optional
            As for a call.

        Returns
        -------
        (Tensor, tuple)
            The parameters, shape ``(batch, parameters)``, and the state for the next step.

        Raises
        ------
        RuntimeError
            In training mode.
        TypeError, ValueError
            If x_before, the state or the labels don't go with the model.
        """
        check_input(x_before, self.encoder.weight, ("batch", self.channels), "x_before")
        if not isinstance(state, tuple) or len(state) != len(self.blocks):
            got = len(state) if isinstance(state, tuple) else type(state).__name__
            raise TypeError(f"state must be a tuple of {len(self.blocks)}, one a block, got {got}")
        z, states = self._encode(x_before, labels), []
        for block, own in zip(self.blocks, state, strict=True):
            z, own = block.step(z, own)  # type: ignore[operator]
            states.append(own)
        return self.head(z), tuple(states)

    def pixels(
        self,
        count: int,
        length: int,
        *,
        seed: int | None = None,
        temperature: float = 1.0,
        labels: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw images pixel by pixel, and watch; in evaluation mode.

        Parameters
        ----------
        count : int
            Images to draw side by side.
        length : int
            Pixels of each.
        seed, temperature, labels
            As for `draw`.

        Returns
        -------
        iterator of (Tensor, Tensor)
            For each pixel the parameters of its distribution, shape ``(count, parameters)``, and
            the values drawn from it, shape ``(count, channels)``, in [-1, 1].

        Raises
        ------
        RuntimeError
            In training mode.
        TypeError, ValueError
            As `draw` does.
        """
        drawing = self._pixels(count, check_count(length, "length"), seed, temperature, labels)
        return itertools.chain([next(drawing)], drawing)  # so that bad input raises here

    def draw(
        self,
        count: int,
        *,
        size: tuple[int, int] | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Draw images, all pixels of a place at once; in evaluation mode, whatever the model's.

        Parameters
        ----------
        count : int
            Number of images.
        size : (int, int), optional
            Height and width. Default: the square of `length` pixels.
        seed : int, optional
            The same seed gives the same images on the same kind of device. Default: torch's own
            random numbers.
        temperature : float
            Below 1 draws likelier images, see `mrbook.likelihood.sample_logistic_mixture`.
        labels : Tensor, optional
            Class of each image, int64 of shape ``(count,)``; given if and only if the model has
            classes.

        Returns
        -------
        Tensor
            uint8 of shape ``(count, channels, height, width)``, on the model's device.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, there is no size, or labels don't go with the model.
        """
        height, width = self._size(size)
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            drawing = self.pixels(
                count, height * width, seed=seed, temperature=temperature, labels=labels
            )
            drawn = torch.stack([x for _, x in drawing], -1)
        finally:
            for module, mode in modes.items():
                module.training = mode
        return to_levels(drawn).unflatten(-1, (height, width))

    # ---- parts ----------------------------------------------------------------------------------

    @torch.no_grad()
    def _pixels(
        self, count: int, length: int, seed: int | None, temperature: float, labels: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        weight, generator = self.encoder.weight, None
        if seed is not None:
            generator = torch.Generator(weight.device).manual_seed(check_count(seed, "seed", 0))
        count = check_count(count, "count")
        state = self.initial_state(count)
        x = weight.new_zeros(count, self.channels)
        for _ in range(length):
            params, state = self.step(x, state, labels)
            x = sample_logistic_mixture(
                params, self.channels, generator=generator, temperature=temperature
            )
            yield params, x

    def _encode(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """x has its channels last; so has what comes out, and the class is in it."""
        z = self.encoder(x.to(self.encoder.weight.dtype))
        if self.embedding is None:
            if labels is not None:
                raise ValueError("labels must be left out: the model has no classes")
            return z
        added = self.embedding(self._check_labels(labels, len(x)).to(z.device))
        return z + (added if z.ndim == 2 else added[:, None])

    def _check_labels(self, labels: Tensor | None, batch: int) -> Tensor:
        assert self.classes is not None
        if labels is None:
            raise ValueError(f"labels must be given: the model has {self.classes} classes")
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
            kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(f"labels must be a tensor of int64, got {kind}")
        if labels.shape != (batch,):
            raise ValueError(f"labels must have shape ({batch},), got {tuple(labels.shape)}")
        if labels.device.type == "cpu" and batch and not torch.compiler.is_compiling():
            low, high = (int(label) for label in labels.aminmax())
            if low < 0 or high >= self.classes:
                raise ValueError(
                    f"labels must be from 0 to {self.classes - 1}, got {low} to {high}"
                )
        return labels

    def _size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        if size is not None:
            if not isinstance(size, tuple) or len(size) != 2:
                raise TypeError(f"size must be a tuple of height and width, got {size!r}")
            height, width = size
            return check_count(height, "height"), check_count(width, "width")
        side = math.isqrt(self.length or 0)
        if side == 0 or side**2 != self.length:
            raise ValueError(f"size must be given for a model of length {self.length}")
        return side, side
