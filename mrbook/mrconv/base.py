"""What all kernels of MRConv have in common."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.longconv import inner_dtype

__all__ = ["Kernel"]


class Kernel(nn.Module):
    """Base of kernels: one per channel, of a length of their own, linear in their parameters.

    A subclass makes the parameter `weight` and defines `_lags`.

    All kernels start as a random direction of unit energy, ``sum_τ k[τ]² = 1`` in every channel.
    Then white noise of variance 1 comes out with variance 1, whatever the kind and the length of
    the kernel (from step length - 1 on; before, part of the kernel has met nothing yet). That is a
    choice of this book; the paper's start is not known to us.

    Parameters
    ----------
    channels : int
        Number of kernels.
    length : int
        Number of lags, from 0 on.
    count : int
        Real parameters of each channel.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter
        Shape ``(channels, count)``.
    channels, length, count : int
        As given; `count` is what a comparison at equal parameters has to look at.
    optimizer_options : mapping
        For `mrbook.train.parameter_groups`: a learning rate of at most 0.001, no weight decay.
    """

    optimizer_options: Mapping[str, Mapping[str, float]] = {
        "weight": {"lr": 0.001, "weight_decay": 0.0}
    }

    def __init__(
        self,
        channels: int,
        length: int,
        count: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_count(channels, "channels")
        self.length, self.count = check_count(length, "length"), count
        weight = torch.randn(self.channels, count, device=device)
        self.weight = nn.Parameter(weight.to(dtype or torch.get_default_dtype()))

    def materialize(self, length: int | None = None) -> Tensor:
        """The kernel by lag.

        Parameters
        ----------
        length : int, optional
            Number of lags wanted: zeros follow a shorter kernel, and a longer one is cut. Default:
            its own length.

        Returns
        -------
        Tensor
            Shape ``(channels, length)``; in float32 where the parameters have 16 bits.
        """
        length = self.length if length is None else check_count(length, "length")
        k = self._lags()
        return k[:, :length] if length <= self.length else F.pad(k, (0, length - self.length))

    def _lags(self) -> Tensor:
        """Shape ``(channels, self.length)``, in `inner_dtype` of the parameters."""
        raise NotImplementedError

    @torch.no_grad()
    def normalize_(self) -> None:
        """Scale the parameters so that every channel's kernel has unit energy."""
        energy = self.materialize().square().sum(1, keepdim=True)
        for parameter in self.parameters():
            parameter.div_(energy.sqrt())

    def _weight(self) -> Tensor:
        return self.weight.to(inner_dtype(self.weight))

    def extra_repr(self) -> str:
        return f"{self.channels}, length={self.length}, count={self.count}"
