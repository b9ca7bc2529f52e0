"""SGConv: one long kernel, put together from pieces of doubling length and halving weight.

Every piece is drawn through the same small number of learned points, so that the kernel has
``O(log length)`` parameters, and what is far away is heard faintly and in little detail.

References
----------
Y. Li, T. Cai, Y. Zhang, D. Chen, D. Dey, "What Makes Convolutional Models Great on Long Sequence
Modeling?", ICLR 2023, arXiv:2210.09298.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count, check_number
from mrbook.convolution import ConvolutionLayer

__all__ = ["SGConv", "multiscale_kernel"]


def multiscale_kernel(w: Tensor, alpha: float) -> Tensor:
    """Pieces of the kernel side by side, the newest first.

    Piece i is ``alpha^i`` times ``w[:, i]``, stretched by ``2^max(i - 1, 0)`` with straight lines
    between its points: with d points the pieces are d, d, 2d, 4d, ... long.

    Parameters
    ----------
    w : Tensor
        Points of the pieces, shape ``(channels, scales, d)``.
    alpha : float
        Weight of a piece relative to the one before.

    Returns
    -------
    Tensor
        Shape ``(channels, d 2^(scales - 1))``.

    Examples
    --------
    >>> multiscale_kernel(torch.tensor([[[8.0, 8.0], [8.0, 8.0], [8.0, 16.0]]]), alpha=0.5)
    tensor([[8.0000, 8.0000, 4.0000, 4.0000, 2.0000, 2.5000, 3.5000, 4.0000]])
    """
    pieces = [
        F.interpolate(alpha**i * points[None], scale_factor=2.0 ** max(i - 1, 0), mode="linear")
        for i, points in enumerate(w.unbind(1))
    ]
    return torch.cat(pieces, -1)[0]


class SGConv(ConvolutionLayer):
    """Sequence layer: structured global convolution, causal and linear, channel by channel.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    length : int
        Longest lag that should be reached; gives the number of pieces,
        ``scales = 1 + ceil(log2(length / kernel_dim))``, at least 1. Any length may follow.
    kernel_dim : int
        Points d of each piece.
    alpha : float
        Weight of a piece relative to the one before. With 1/2, as published, the kernel's envelope
        falls like 1 / lag.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    w : Parameter
        Points, shape ``(channels, scales, kernel_dim)``.
    D : Parameter
        Weight of the input itself, shape ``(channels,)``; the kernel has it at lag 0.
    norm : Tensor
        Root of the sum of squares of the kernel at the start, without D, shape ``(channels, 1)``.
        The kernel is divided by it for ever: at the start the variance of white noise stays.
    kernel_length : int
        Lags of the kernel, ``kernel_dim 2^(scales - 1)``.
    bias : float
        0: the layer has none.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or out of range, or alpha is not a number in (0, 1].

    Notes
    -----
    The layer has ``channels (scales kernel_dim + 1)`` parameters.

    Published recipe, as its code has it: w and D start from a normal distribution, w learns at a
    rate of at most 0.001 with the weight decay of the run (`optimizer_options` says so to
    `mrbook.train.parameter_groups`), and alpha is 1/2. On the Long Range Arena kernel_dim is 32
    for Image and Pathfinder and 1 for ListOps, and the layer looks both ways; this one is causal.
    For Image, lag τ is weighted by 1 / (τ + 1) instead, the smooth form of alpha = 1/2.

    Examples
    --------
    >>> layer = SGConv(channels=3, length=1024)
    >>> layer.w.shape
    torch.Size([3, 6, 32])
    >>> layer(torch.randn(2, 3, 50)).shape
    torch.Size([2, 3, 50])
    """

    norm: Tensor
    kernel_length: int
    optimizer_options: ClassVar = {"w": {"lr": 0.001}}

    def __init__(
        self,
        channels: int,
        *,
        length: int,
        kernel_dim: int = 32,
        alpha: float = 0.5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        length = check_count(length, "length")
        kernel_dim = check_count(kernel_dim, "kernel_dim")
        self.alpha = check_number(alpha, "alpha", 0, 1, ends="(]")
        scales = 1 + (-(-length // kernel_dim) - 1).bit_length()
        self.kernel_length = kernel_dim * 2 ** (scales - 1)
        shape = self.channels, scales, kernel_dim
        self.w = nn.Parameter(torch.randn(shape, device=device, dtype=dtype))
        self.D = nn.Parameter(torch.randn(self.channels, device=device, dtype=dtype))
        norm = multiscale_kernel(self.w.detach(), self.alpha).norm(dim=1, keepdim=True)
        self.register_buffer("norm", norm)

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        k = multiscale_kernel(self.w.to(dtype), self.alpha) / self.norm.to(dtype)
        k = F.pad(k, (0, length - self.kernel_length))  # or cut
        return k + F.pad(self.D.to(dtype)[:, None], (0, length - 1))

    def extra_repr(self) -> str:
        _, scales, kernel_dim = self.w.shape
        sizes = f"{self.channels}, scales={scales}, kernel_dim={kernel_dim}"
        return f"{sizes}, alpha={self.alpha}"
