"""A sequence layer that is one causal convolution: all of the contract, given its kernel.

S4D, SGConv, MRConv in evaluation mode and free long convolutions differ in how they make their
kernel. What they do with it is here.
"""

import torch
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.longconv import causal_conv, check_input, inner_dtype, mask_padding

__all__ = ["ConvolutionLayer"]


class ConvolutionLayer(nn.Module):
    """Base of sequence layers that are one causal convolution, channel by channel.

    A subclass defines `_kernel` and has at least one parameter.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.

    Attributes
    ----------
    bias : float or Tensor
        Added to every output: a number, or one per channel of shape ``(channels,)``.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time.
    """

    bias: float | Tensor = 0.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.method = check_count(channels, "channels"), "auto"

    def forward(self, u: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Apply the layer to whole sequences.

        Parameters
        ----------
        u : Tensor
            Shape ``(batch, channels, length)``, any length.
        lengths : Tensor, optional
            True lengths of a padded batch, integers of shape ``(batch,)``.

        Returns
        -------
        Tensor
            Shape and dtype of u; 0 beyond each true length. float16 and bfloat16 are computed in
            float32, under autocast too.

        Raises
        ------
        TypeError, ValueError
            If u or lengths has another shape, dtype or device than it should have.
        """
        check_input(u, self._parameter(), ("batch", self.channels, "length"))
        x = u if lengths is None else mask_padding(u, lengths)
        y = causal_conv(x, self._kernel_for(u.shape[-1], inner_dtype(u)), self.method)
        if isinstance(self.bias, Tensor):
            y = y + self.bias.to(y.dtype)[:, None]
        return y if lengths is None else mask_padding(y, lengths)

    def kernel(self, length: int) -> Tensor:
        """The convolution that the layer is, by lag, shape ``(channels, length)``."""
        return self._kernel_for(check_count(length, "length"), inner_dtype(self._parameter()))

    def _kernel_for(self, length: int, dtype: torch.dtype) -> Tensor:
        with torch.autocast(self._parameter().device.type, enabled=False):
            return self._kernel(length, dtype)

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        """The kernel at lags 0 to length - 1, shape ``(channels, length)``, autocast being off."""
        raise NotImplementedError

    def _parameter(self) -> Tensor:
        """One that has the dtype and the device of all."""
        return next(self.parameters())
