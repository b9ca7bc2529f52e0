"""A free long convolution: every lag has a weight of its own, and small weights are cut to zero.

References
----------
D. Y. Fu, E. L. Epstein, E. Nguyen, A. W. Thomas, M. Zhang, T. Dao, A. Rudra, C. Ré, "Simple
Hardware-Efficient Long Convolutions for Sequence Modeling", ICML 2023, arXiv:2302.06646.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count, check_number
from mrbook.convolution import ConvolutionLayer

__all__ = ["INITS", "LongConv"]

INITS = ("decay", "random")


class LongConv(ConvolutionLayer):
    """Sequence layer: convolution with a free kernel, causal and linear, channel by channel.

    The kernel is the weights, averaged over neighboring lags if `smooth` says so, and then squashed
    by ``sign(k) max(|k| - lam, 0)``. In training a part of it is dropped; asking for *the* kernel,
    or for a step, then raises.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    length : int
        Lags of the kernel. Any length may follow: longer lags have weight 0.
    lam : float
        The threshold, 0 for none.
    smooth : int
        How many neighbors on each side are averaged with every weight; beyond the ends they are 0.
    init : {"decay", "random"}
        How the weights start: standard deviation ``0.02 exp(-τ/length r)`` with a rate
        ``r = floor(channels / 2)^(c / channels)`` for channel c = 0, 1, ...; or 0.002 everywhere.
    kernel_dropout : float
        Probability of dropping a weight in training; those that stay grow to make up for it.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter
        Shape ``(channels, length)``.
    D : Parameter
        Weight of the input itself, shape ``(channels,)``; the kernel has it at lag 0. It is neither
        squashed nor dropped.
    bias : float
        0: the layer has none.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer, or a number is none or out of range: lam is at least 0 and
        finite, kernel_dropout is in [0, 1). Or if init is unknown.

    Notes
    -----
    The layer has ``channels (length + 1)`` parameters.

    Published recipe, as its code has it: the weights learn at a rate of at most 0.001 without
    weight decay, and `optimizer_options` says so to `mrbook.train.parameter_groups`; lam is 0.001
    to 0.003, a fifth of the kernel is dropped, and nothing is averaged. On the Long Range Arena
    the start is "random". Where that lies within the threshold, and with lam = 0.003 these are six
    weights in seven, a weight has no gradient: it stays 0, and the kernel is sparse from the start.

    Examples
    --------
    >>> layer = LongConv(channels=3, length=100)
    >>> layer(torch.randn(2, 3, 50)).shape
    torch.Size([2, 3, 50])
    >>> layer.eval().kernel(200).shape
    torch.Size([3, 200])
    """

    kernel_length: int
    optimizer_options: ClassVar = {"weight": {"lr": 0.001, "weight_decay": 0.0}}

    def __init__(
        self,
        channels: int,
        *,
        length: int,
        lam: float = 0.003,
        smooth: int = 0,
        init: str = "decay",
        kernel_dropout: float = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        length = check_count(length, "length")
        if init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, got {init!r}")
        self.kernel_length = length
        self.lam, self.smooth = check_number(lam, "lam", 0), check_count(smooth, "smooth", 0)
        self.kernel_dropout = check_number(kernel_dropout, "kernel_dropout", 0, 1, ends="[)")
        self.init = init
        weight = torch.randn(self.channels, length, device=device, dtype=dtype)
        if init == "decay":
            channel = torch.arange(self.channels, device=device) / self.channels
            rate = (self.channels // 2) ** channel
            lag = torch.arange(length, device=device) / length
            weight *= 0.02 * torch.exp(-rate[:, None] * lag)
        else:
            weight *= 0.002
        self.weight = nn.Parameter(weight)
        self.D = nn.Parameter(torch.randn(self.channels, device=device, dtype=dtype))

    def kernel(self, length: int) -> Tensor:
        """The convolution that the layer is, by lag, shape ``(channels, length)``.

        Raises
        ------
        RuntimeError
            In training mode with kernel_dropout: every call draws another kernel.
        """
        self._check_dropout("kernel")
        return super().kernel(length)

    def step(self, u_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one time step, see `ConvolutionLayer.step`.

        Raises
        ------
        RuntimeError
            In training mode with kernel_dropout: all steps of a sequence must share a kernel.
        """
        self._check_dropout("step")
        return super().step(u_t, state)

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        k = self.weight.to(dtype)
        if self.smooth:
            k = F.avg_pool1d(k[None], 2 * self.smooth + 1, stride=1, padding=self.smooth)[0]
        k = F.dropout(F.softshrink(k, self.lam), self.kernel_dropout, self.training)
        k = F.pad(k, (0, length - self.kernel_length))  # or cut
        return k + F.pad(self.D.to(dtype)[:, None], (0, length - 1))

    def _check_dropout(self, what: str) -> None:
        if self.training and self.kernel_dropout:
            raise RuntimeError(
                f"{what} works in evaluation mode only: in training kernel_dropout draws "
                "another kernel for every call. Call .eval() first"
            )

    def extra_repr(self) -> str:
        sizes = f"{self.channels}, length={self.kernel_length}, lam={self.lam}"
        options = f"smooth={self.smooth}, init={self.init!r}"
        return f"{sizes}, {options}, kernel_dropout={self.kernel_dropout}"
