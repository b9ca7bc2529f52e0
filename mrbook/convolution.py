"""A sequence layer that is one causal convolution: all of the contract, given its kernel.

S4D, SGConv, MRConv in evaluation mode and free long convolutions differ in how they make their
kernel. What they do with it is here.
"""

import torch
from torch import Tensor, nn

from mrbook import online
from mrbook.cache import ParameterCache
from mrbook.checks import check_count
from mrbook.longconv import causal_conv, check_input, inner_dtype, mask_padding

__all__ = ["ConvolutionLayer"]


class ConvolutionLayer(nn.Module):
    """Base of sequence layers that are one causal convolution, channel by channel.

    A subclass defines `_kernel` and has at least one parameter. What `_kernel` returns may depend
    on parameters, buffers and ``self.training``, and on `length` only in where it ends. It raises
    where the layer is no convolution, as while normalization gathers statistics.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.

    Attributes
    ----------
    bias : float or Tensor
        Added to every output: 0.0 at first, or a tensor of shape ``(channels,)``.
    kernel_length : int or None
        How many lags the kernel has, being 0 beyond; a subclass sets it for the sake of `step`.
        None, at first: it doesn't end.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time.
    """

    bias: float | Tensor
    kernel_length: int | None = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.method = check_count(channels, "channels"), "auto"
        self.bias = 0.0
        self._cache: ParameterCache = ParameterCache()

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

    # ---- one step at a time ---------------------------------------------------------------------

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """State before the first step: nothing has been seen.

        Returns
        -------
        (Tensor, Tensor, Tensor)
            That of `mrbook.online.initial_state`: where the stream is in its block, its newest
            inputs, and what they have sent ahead. Its size is set by the length of the kernel, not
            by that of the stream. All have the batch first: states can be concatenated, indexed,
            saved and moved like any tensors.

        Raises
        ------
        NotImplementedError
            If the kernel has no end.
        """
        self._cache.clear()
        p = self._parameter()
        return online.initial_state(
            batch, self.channels, self._finite_length(), inner_dtype(p), p.device
        )

    def step(self, u_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one time step; L of them cost O(L log² L), however long the stream is.

        They are those of `mrbook.online.OnlineKernel`, with the kernel and its spectra kept until a
        parameter changes; what was sent ahead before then stays as it was sent. While gradients are
        recorded, and when compiled, a step is a dot product with the whole kernel, which is made
        anew each time. The two can take turns.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor, Tensor)
            From `initial_state` or the step before. Go on with the one that is returned: this one
            is updated in place, unless gradients are recorded. To branch, clone its tensors.

        Returns
        -------
        (Tensor, (Tensor, Tensor, Tensor))
            The output, shape ``(batch, channels)``, and the state for the next step.

        Raises
        ------
        NotImplementedError
            If the kernel has no end.
        TypeError, ValueError
            If u_t or the state is of another batch size, dtype, device or layer.
        """
        check_input(u_t, self._parameter(), ("batch", self.channels), "u_t")
        length, dtype, tensors = self._finite_length(), inner_dtype(u_t), self._tensors()

        def kernel() -> Tensor:
            return self._kernel_for(length, dtype)

        held = state if isinstance(state, tuple) else ()
        recording = torch.is_grad_enabled() and any(
            getattr(t, "requires_grad", False) for t in (u_t, *held, *tensors)
        )
        if recording or torch.compiler.is_compiling():
            y, state = online.dot_step(u_t, state, kernel())
        else:
            ready = self._cache.get(
                tensors, lambda: online.OnlineKernel(kernel()), self.training, length
            )
            y, state = ready.step(u_t, state)
        if isinstance(self.bias, Tensor):
            y = y + self.bias.to(y.dtype)
        return y.to(u_t.dtype), state

    def _tensors(self) -> tuple[Tensor, ...]:
        """All that the kernel depends on."""
        return (*self.parameters(), *self.buffers())

    def _finite_length(self) -> int:
        if self.kernel_length is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no step: kernel_length must be set to the length of "
                "its kernel, got None"
            )
        return self.kernel_length

    # ---- what subclasses define -----------------------------------------------------------------

    def _kernel_for(self, length: int, dtype: torch.dtype) -> Tensor:
        with torch.autocast(self._parameter().device.type, enabled=False):
            return self._kernel(length, dtype)

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        """The kernel at lags 0 to length - 1, shape ``(channels, length)``, autocast being off."""
        raise NotImplementedError

    def _parameter(self) -> Tensor:
        """One that has the dtype and the device of all."""
        return next(self.parameters())
