"""WaveNet: dilated convolutions with gates, nonlinear at every scale.

The wiring of the tree under MultiresConv, but each level mixes all channels with filters of its
own, bends what it finds by tanh, and lets a gate decide how much of it goes on.

References
----------
A. van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, arXiv:1609.03499; its
queues are those of T. Le Paine et al., "Fast WaveNet Generation Algorithm", 2016, arXiv:1611.09482.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.longconv import check_input, inner_dtype, mask_padding
from mrbook.memory import tree_depth
from mrbook.rings import Rings, State

__all__ = ["WaveNet", "gated"]


def gated(a: Tensor) -> Tensor:
    """Half of the channels, bent and gated by the other half, ``tanh(a1) sigmoid(a2)``.

    Parameters
    ----------
    a : Tensor
        Shape ``(batch, 2 hidden)`` or ``(batch, 2 hidden, length)``.

    Returns
    -------
    Tensor
        With `hidden` channels.

    Examples
    --------
    >>> gated(torch.tensor([[1000.0, 0.0], [1000.0, -1000.0]]))
    tensor([[0.5000],
            [0.0000]])
    """
    content, gate = a.chunk(2, dim=1)
    return content.tanh() * gate.sigmoid()


class WaveNet(nn.Module):
    """Sequence layer: a stack of gated dilated convolutions with residuals and skips, causal.

    With ``a`` from `front`, level by level ``z_l = tanh(f_l * a) sigmoid(g_l * a)`` and
    ``a <- a + R_l z_l``, where ``*`` has dilation 2^(l-1) and sees zeros before the start. The
    output is the sum of the skips, ``sum_l S_l z_l``: one matrix for all levels, `out`.

    It is not linear, so it has no ``kernel``.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    kernel_size : int
        Taps K of the dilated filters, at least 2.
    length : int
        Longest lag that should be reached; gives the depth J by `mrbook.memory.tree_depth`. Any
        length may follow: the layer sees the last ``(K-1) (2^J - 1) + 1`` steps.
    hidden : int, optional
        Channels inside the stack. Default: as many as outside.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    front, out : torch.nn.Conv1d
        Pointwise, from the channels to the hidden ones, and from those of all levels, finest first,
        to the channels.
    gates : torch.nn.ModuleList
        Per level the filters f and g in one ``Conv1d``, dilation 2^(l-1), its last tap newest.
    residuals : torch.nn.ModuleList
        Per level but the last a pointwise ``Conv1d``.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or out of range.

    Notes
    -----
    The layer has ``H (C + 1) + 2 J H (K H + 1) + (J - 1) H (H + 1) + C (J H + 1)`` parameters, with
    C channels, H hidden ones and J levels. They start as PyTorch's do.

    The published networks have K = 2 and repeat dilations 1 to 512 several times; here such a
    round is one layer. What stands around their stack is left to the network around the layer:
    `front` has a single tap, and no maps follow the sum of the skips.

    Examples
    --------
    >>> layer = WaveNet(channels=3, length=100)
    >>> layer(torch.randn(2, 3, 50)).shape
    torch.Size([2, 3, 50])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 2,
        *,
        length: int,
        hidden: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_count(channels, "channels")
        self.hidden = self.channels if hidden is None else check_count(hidden, "hidden")
        self.kernel_size = K = check_count(kernel_size, "kernel_size", 2)
        self.depth = tree_depth(length, K)

        def conv(inputs: int, outputs: int, taps: int = 1, dilation: int = 1) -> nn.Conv1d:
            return nn.Conv1d(inputs, outputs, taps, dilation=dilation, device=device, dtype=dtype)

        self.front = conv(self.channels, self.hidden)
        self.gates = nn.ModuleList(
            conv(self.hidden, 2 * self.hidden, K, 2**level) for level in range(self.depth)
        )
        self.residuals = nn.ModuleList(
            conv(self.hidden, self.hidden) for _ in range(self.depth - 1)
        )
        self.out = conv(self.depth * self.hidden, self.channels)
        self._rings = Rings(self.hidden, K, (1,) * self.depth).to(device)

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
            the dtype of the parameters; under autocast PyTorch's convolutions take its dtype.
        """
        weight = self.front.weight
        check_input(u, weight, ("batch", self.channels, "length"))
        x = u if lengths is None else mask_padding(u, lengths)
        a = self.front(x.to(weight.dtype))
        levels = []
        for level, conv in enumerate(self.gates):
            past = (self.kernel_size - 1) * 2**level
            levels.append(gated(conv(F.pad(a, (past, 0)))))
            if level < len(self.residuals):
                a = a + self.residuals[level](levels[-1])
        y = self.out(torch.cat(levels, 1)).to(u.dtype)
        return y if lengths is None else mask_padding(y, lengths)

    # ---- one step at a time ---------------------------------------------------------------------

    def initial_state(self, batch: int) -> State:
        """State before the first step: nothing has been seen.

        Returns
        -------
        (Tensor, Tensor)
            The number of steps taken, int64 of shape ``(batch,)``, and the ring buffers of all
            levels, shape ``(batch, rows, hidden)`` with ``(K-1) (2^J - 1)`` rows; see
            `mrbook.rings.Rings`.
        """
        return self._rings.initial_state(batch, inner_dtype(self.front.weight))

    def step(self, u_t: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one time step, at the same cost however much came before.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor)
            From `initial_state` or the step before. Go on with the one that is returned: this one
            is updated in place, unless gradients are recorded. To branch, clone both tensors.

        Returns
        -------
        (Tensor, (Tensor, Tensor))
            The output, shape ``(batch, channels)``, and the state for the next step.

        Raises
        ------
        ValueError
            If u_t or the state is of another batch size, dtype, device or layer.
        """
        weight = self.front.weight
        check_input(u_t, weight, ("batch", self.channels), "u_t")
        _, rings = self._rings.check(u_t, state)
        rows, past = self._rings.read(state)
        a = _newest(self.front, u_t.to(weight.dtype))
        # Oldest first: (batch, depth, hidden, K - 1).
        past = past.to(weight.dtype).unflatten(1, (self.depth, -1)).flip(2).mT
        inputs, levels = [], []
        for level, conv in enumerate(self.gates):
            inputs.append(a)
            levels.append(gated(_newest(conv, torch.cat([past[:, level], a[..., None]], -1))))
            if level < len(self.residuals):
                a = a + _newest(self.residuals[level], levels[-1])
        y = _newest(self.out, torch.cat(levels, 1))
        state = self._rings.write(state, rows, torch.stack(inputs, 1).to(rings.dtype))
        return y.to(u_t.dtype), state

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size={self.kernel_size}, depth={self.depth}"


def _newest(conv: nn.Module, window: Tensor) -> Tensor:
    """Output of a convolution whose taps see just this window, ``(batch, inputs, taps)``."""
    return F.linear(window.flatten(1), conv.weight.flatten(1), conv.bias)  # type: ignore[arg-type, operator]
