"""What MRConv's branches merge into: one causal convolution with a bias."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.convolution import ConvolutionLayer

__all__ = ["FusedConv", "fuse"]


class FusedConv(ConvolutionLayer):
    """Sequence layer: a causal convolution with a free kernel and a bias, channel by channel.

    `MRConv.fuse` makes it; by hand it serves to load the state dict of one. It can be trained on,
    as a dense kernel, but not be taken apart into branches again.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    length : int
        Lags of the kernel. Any length of input may follow.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter
        The kernel by lag, shape ``(channels, length)``, 0 at first.
    bias : Parameter
        Shape ``(channels,)``, 0 at first.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time. With "direct" the
        layer is a padding and a depthwise ``Conv``, the form to export: other runtimes know that,
        and mostly no FFT. A length that `torch.export` keeps dynamic must exceed the kernel's.

    Examples
    --------
    >>> layer = FusedConv(3, length=100)
    >>> sum(p.numel() for p in layer.parameters())
    303
    """

    bias: Tensor
    kernel_length: int

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        self.kernel_length = check_count(length, "length")

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))

        self.weight, self.bias = zeros(self.channels, self.kernel_length), zeros(self.channels)

    def kernel(self, length: int) -> Tensor:
        """The convolution that the layer is, by lag, shape ``(channels, length)``."""
        k = super().kernel(length)
        return F.pad(k, (0, length - k.shape[1]))

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        return self.weight[:, :length].to(dtype)

    def fuse(self, length: int | None = None) -> None:
        """Raise a RuntimeError: it is fused already."""
        raise RuntimeError("this layer is fused already: it is one convolution")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}alpha" in state_dict:
            args[-1].append(
                f"{prefix or 'the state dict '}is of an MRConv, not of a fused layer: load it into "
                "an MRConv and call .eval().fuse()"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{self.channels}, length={self.kernel_length}"


@torch.no_grad()
def fuse(
    layer: ConvolutionLayer, length: int, reference: Callable[[Tensor], Tensor]
) -> tuple[FusedConv, float]:
    """The first `length` lags of a layer as a `FusedConv`, and how far it is from a reference.

    See `MRConv.fuse` for the error.
    """
    kernel = layer.kernel(length)
    dtype, device = layer._parameter().dtype, kernel.device
    fused = FusedConv(layer.channels, length, device=device, dtype=dtype).eval()
    fused.method = layer.method
    fused.weight.copy_(kernel)
    fused.bias.copy_(torch.as_tensor(layer.bias))
    cut = layer.kernel_length is None or layer.kernel_length > length
    steps = length if cut else max(length, 4096)
    u = torch.randn(1, layer.channels, steps, generator=torch.Generator().manual_seed(0))
    u = u.to(device, dtype)
    expected = reference(u)
    difference, scale = (x.abs().max() for x in (fused(u) - expected, expected))
    return fused, float(difference / scale) if difference else 0.0  # 0 where all outputs are 0
