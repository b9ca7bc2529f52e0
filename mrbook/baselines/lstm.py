"""LSTM: the recurrent network, with a nonlinear state.

References
----------
S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; with the
forget gates of F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to Forget", Neural Computation
12(10), 2000.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.baselines.state import check_state
from mrbook.checks import check_count
from mrbook.longconv import check_input, mask_padding

__all__ = ["LSTM", "lstm_step"]


def lstm_step(
    u: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor]:
    """One time step: forget a part of the cell, write to it, show a part of it.

    Parameters
    ----------
    u : Tensor
        Newest input, shape ``(batch, channels)``.
    h, c : Tensor
        Output of the step before and what the cell holds, shape ``(batch, hidden)``.
    w_ih, w_hh, b_ih, b_hh : Tensor
        As in ``torch.nn.LSTMCell``: weights of u and of h, shape ``(4 hidden, channels)`` and
        ``(4 hidden, hidden)``, and their biases, for the input gate, the forget gate, the new
        value and the output gate.

    Returns
    -------
    (Tensor, Tensor)
        The new h and c, shape ``(batch, hidden)``.

    Examples
    --------
    A cell that forgets half and writes nothing new.

    >>> h, c = torch.zeros(1, 1), torch.ones(1, 1)
    >>> h, c = lstm_step(h, h, c, *(torch.zeros(4, 1),) * 2, *(torch.zeros(4),) * 2)
    >>> c
    tensor([[0.5000]])
    """
    i, f, g, o = (F.linear(u, w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


class LSTM(nn.Module):
    """Sequence layer: PyTorch's LSTM with as many hidden units as channels, causal.

    It is not linear, so it has no ``kernel``, and each step waits for the one before, in training
    too. ``torch.compile`` leaves ``torch.nn.LSTM`` as it is: a model, or its step, compiles in the
    parts around it, not with ``fullgraph=True``. On CUDA, cuDNN gives no second derivatives.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    length : int, optional
        Taken so that every layer can be built alike; nothing depends on it.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    lstm : torch.nn.LSTM
        Holds the parameters, started as PyTorch does.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or out of range.

    Notes
    -----
    The layer has ``8 channels (channels + 1)`` parameters.

    Examples
    --------
    >>> layer = LSTM(channels=3)
    >>> layer(torch.randn(2, 3, 50)).shape
    torch.Size([2, 3, 50])
    """

    def __init__(
        self,
        channels: int,
        *,
        length: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_count(channels, "channels")
        if length is not None:
            check_count(length, "length")
        sizes = self.channels, self.channels
        self.lstm = nn.LSTM(*sizes, batch_first=True, device=device, dtype=dtype)

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
            the dtype of the parameters, under autocast too.
        """
        weight = self._weights()[0]
        check_input(u, weight, ("batch", self.channels, "length"))
        x = u if lengths is None else mask_padding(u, lengths)
        with torch.autocast(u.device.type, enabled=False):
            y = self.lstm(x.to(weight.dtype).transpose(1, 2))[0].transpose(1, 2).to(u.dtype)
        return y if lengths is None else mask_padding(y, lengths)

    # ---- one step at a time ---------------------------------------------------------------------

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """State before the first step: h and c of `lstm_step`, 0, ``(batch, channels)`` each."""
        zero = self._weights()[0].new_zeros(check_count(batch, "batch"), self.channels)
        return zero, zero.clone()

    def step(self, u_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Take one time step.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor)
            From `initial_state` or the step before; it is left as it is.

        Returns
        -------
        (Tensor, (Tensor, Tensor))
            The output, shape ``(batch, channels)``, and the state for the next step.

        Raises
        ------
        TypeError, ValueError
            If u_t or the state is of another batch size, dtype, device or layer.
        """
        weights = self._weights()
        check_input(u_t, weights[0], ("batch", self.channels), "u_t")
        h, c = check_state(state, 2, tuple(u_t.shape), weights[0])
        with torch.autocast(u_t.device.type, enabled=False):
            h, c = lstm_step(u_t.to(h.dtype), h, c, *weights)
        return h.to(u_t.dtype), (h, c)

    def _weights(self) -> list[nn.Parameter]:
        return self.lstm.all_weights[0]
