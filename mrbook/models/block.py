"""The residual block of MultiresNet around any sequence layer.

Inside a network activations are ``(batch, length, channels)``. All but the sequence layer works on
the channels of one time step, which is fastest where these lie side by side in memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.models.norm import NORMS
from mrbook.native import gpu

__all__ = ["Block"]


class Block(nn.Module):
    """Sequence layer, GELU, pointwise mixing with a gate, residual, and a norm after it.

    Published order: layer, GELU, dropout of channels, linear to twice the width, GLU, dropout of
    channels, addition, normalization.

    Parameters
    ----------
    width : int
        Channels.
    layer : Module
        A sequence layer of `width` channels.
    dropout : float
        Probability of dropping a channel.
    norm : {"layer", "batch"}
        What follows the addition.
    extra_mixing : bool
        One linear map more, before the addition, as the published network for images has it.

    Raises
    ------
    ValueError
        If dropout is not in [0, 1), or the norm is unknown.

    References
    ----------
    J. Shi, K. A. Wang, E. B. Fox, "Sequence Modeling with Multiresolution Convolutional Memory",
    ICML 2023, arXiv:2305.01638.

    Examples
    --------
    >>> import torch
    >>> from mrbook.multires import MultiresConv
    >>> block = Block(8, MultiresConv(8, length=100), dropout=0.1)
    >>> block(torch.randn(2, 100, 8)).shape
    torch.Size([2, 100, 8])
    """

    def __init__(
        self,
        width: int,
        layer: nn.Module,
        *,
        dropout: float = 0.0,
        norm: str = "layer",
        extra_mixing: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        self.dropout = dropout
        self.layer = layer
        self.mixing = nn.Linear(width, 2 * width)
        self.extra_mixing = nn.Linear(width, width) if extra_mixing else None
        self.norm = NORMS[norm](width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Apply the block to whole sequences.

        Parameters
        ----------
        x : Tensor
            Shape ``(batch, length, width)``.
        lengths : Tensor, optional
            True lengths of a padded batch, integers of shape ``(batch,)``.

        Returns
        -------
        Tensor
            Shape of x; beyond the true lengths it holds nothing of use.
        """
        # Contiguous: the layer wants time side by side, everything else channels.
        u = x.mT.to(_layer_dtype(x)).contiguous()
        y = self.layer(u, lengths=lengths).mT.contiguous()
        return self.norm(x + self._mix(y), lengths)

    def step(self, x_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one time step, in evaluation mode.

        Parameters
        ----------
        x_t : Tensor
            Shape ``(batch, width)``.
        state : tuple of Tensor
            The layer's, from its `initial_state` or the step before.

        Returns
        -------
        (Tensor, tuple of Tensor)
            The output, shape ``(batch, width)``, and the state for the next step.

        Raises
        ------
        RuntimeError
            In training mode, where dropout and batch statistics are about whole sequences.
        """
        if self.training:
            raise RuntimeError("step works in evaluation mode only: call .eval() first")
        y, state = self.layer.step(x_t, state)  # type: ignore[operator]
        return self.norm(x_t + self._mix(y)), state

    def _mix(self, y: Tensor) -> Tensor:
        """All between the sequence layer and the addition."""
        y = self._drop(F.gelu(y))
        y = self._drop(F.glu(self.mixing(y), dim=-1))
        return y if self.extra_mixing is None else self.extra_mixing(y)

    def _drop(self, y: Tensor) -> Tensor:
        """Drop whole channels of whole sequences in training."""
        return F.dropout1d(y.mT, self.dropout).mT if self.training else y


def _layer_dtype(x: Tensor) -> torch.dtype:
    """The short dtype of autocast where layers multiply in it; elsewhere they widen it again."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        short = torch.get_autocast_dtype(kind)
        if gpu.preferred(short, kind):
            return short
    return x.dtype
