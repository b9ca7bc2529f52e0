"""Causal attention: every step looks up what it needs among all steps before.

References
----------
A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762; positions as in
J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", Neurocomputing 568,
2024, arXiv:2104.09864.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.baselines.state import check_state
from mrbook.checks import check_count
from mrbook.longconv import check_input, inner_dtype, mask_padding

__all__ = ["Attention", "rotary"]

#: Keys, values and how many of them a stream has: `Attention`'s state.
State = tuple[Tensor, Tensor, Tensor]


def rotary(x: Tensor, position: Tensor) -> Tensor:
    """Turn pairs of numbers by angles that grow with the position, each pair at its own pace.

    Pair i turns by ``10000^(-2i/dim)`` a step. The product of a query and a key that are turned so
    depends on how far apart they are, not on where.

    Parameters
    ----------
    x : Tensor
        Shape ``(..., dim)`` with an even dim; pairs lie side by side.
    position : Tensor
        Integers whose shape broadcasts with ``(...)``.

    Returns
    -------
    Tensor
        Shape and dtype of x. Angles are computed in float32 at least.

    Raises
    ------
    ValueError
        If dim is odd.

    Examples
    --------
    >>> rotary(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])
    """
    pairs = x.shape[-1] // 2
    if x.shape[-1] != 2 * pairs:
        raise ValueError(f"x must have an even last dimension, got {tuple(x.shape)}")
    pair = torch.arange(pairs, device=x.device, dtype=inner_dtype(x))
    angle = position[..., None] * 10000 ** (-pair / pairs)
    cos, sin = angle.cos(), angle.sin()
    a, b = x.unflatten(-1, (pairs, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Sequence layer: causal self-attention with rotary positions.

    It is not linear, so it has no ``kernel``, and the cost of a step grows with the past: it keeps
    all of it. Second derivatives are there in PyTorch's own implementation alone, under
    ``torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)``.

    Parameters
    ----------
    channels : int
        Channels of the input and the output, a multiple of ``2 heads``.
    length : int, optional
        Steps that the cache of `step` has room for at the start, 64 by default. Nothing else
        depends on it, and the cache grows.
    heads : int
        Number of heads.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    attention : torch.nn.MultiheadAttention
        Holds the parameters, started as PyTorch does.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or out of range, or channels is not a multiple of ``2 heads``.

    Notes
    -----
    The layer has ``4 channels (channels + 1)`` parameters.

    Examples
    --------
    >>> layer = Attention(channels=4)
    >>> layer(torch.randn(2, 4, 50)).shape
    torch.Size([2, 4, 50])
    """

    def __init__(
        self,
        channels: int,
        *,
        length: int | None = None,
        heads: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.heads = check_count(channels, "channels"), check_count(heads, "heads")
        if self.channels % (2 * self.heads):
            raise ValueError(
                f"channels must be a multiple of 2 * heads = {2 * self.heads}, because each head "
                f"turns pairs of numbers, got {self.channels}"
            )
        self.slots = 64 if length is None else check_count(length, "length")
        self.attention = nn.MultiheadAttention(
            self.channels, self.heads, device=device, dtype=dtype
        )

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
            the dtype of the parameters; under autocast PyTorch's attention takes its dtype.
        """
        check_input(u, self.attention.in_proj_weight, ("batch", self.channels, "length"))
        x = u if lengths is None else mask_padding(u, lengths)
        q, k, v = self._project(x, torch.arange(u.shape[-1], device=u.device))
        y = self._join(F.scaled_dot_product_attention(q, k, v, is_causal=True)).to(u.dtype)
        return y if lengths is None else mask_padding(y, lengths)

    # ---- one step at a time ---------------------------------------------------------------------

    def initial_state(self, batch: int) -> State:
        """State before the first step: nothing has been seen.

        Returns
        -------
        (Tensor, Tensor, Tensor)
            The number of steps taken, int64 of shape ``(batch,)``, and room for keys and values,
            shape ``(batch, heads, slots, channels / heads)`` each. Streams of different ages can be
            concatenated as long as they have the same number of slots.
        """
        batch, weight = check_count(batch, "batch"), self.attention.in_proj_weight
        age = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        keys = weight.new_zeros(batch, self.heads, self.slots, self.channels // self.heads)
        return age, keys, torch.zeros_like(keys)

    def step(self, u_t: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one time step, at a cost that grows with the oldest stream of the batch.

        A full cache is replaced by one of twice the size. Compiled, a step always reads all slots,
        and can't grow: give the layer its `length`.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor, Tensor)
            From `initial_state` or the step before. Go on with the one that is returned: this one
            is updated in place, unless gradients are recorded. To branch, clone the tensors.

        Returns
        -------
        (Tensor, (Tensor, Tensor, Tensor))
            The output, shape ``(batch, channels)``, and the state for the next step.

        Raises
        ------
        TypeError, ValueError
            If u_t or the state is of another batch size, dtype, device or layer.
        """
        check_input(u_t, self.attention.in_proj_weight, ("batch", self.channels), "u_t")
        age, keys, values = self._check(u_t, state)
        used = slots = keys.shape[2]
        if not torch.compiler.is_compiling():
            used = 1 + max(age.tolist(), default=0)
        if used > slots:
            keys, values = (F.pad(cache, (0, 0, 0, slots)) for cache in (keys, values))
        q, k, v = self._project(u_t[..., None], age[:, None, None])
        k, v = k.to(keys.dtype), v.to(values.dtype)
        at = age[:, None, None, None]
        seen = torch.arange(used, device=age.device) <= at
        at = at.expand_as(k)
        if torch.is_grad_enabled() and any(x.requires_grad for x in (k, v, keys, values)):
            age, keys, values = age + 1, keys.scatter(2, at, k), values.scatter(2, at, v)
        else:
            keys.scatter_(2, at, k)
            values.scatter_(2, at, v)
            age += 1
        past = keys[:, :, :used], values[:, :, :used]
        y = self._join(F.scaled_dot_product_attention(q, *past, attn_mask=seen))
        return y[..., 0].to(u_t.dtype), (age, keys, values)

    # ---- parts ----------------------------------------------------------------------------------

    def _project(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each ``(batch, heads, length, channels / heads)``."""
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        projected = F.linear(x.to(weight.dtype).mT, weight, bias)
        parts = projected.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotary(parts[:2], position)
        return q, k, parts[2]

    def _join(self, y: Tensor) -> Tensor:
        """What the heads found, mixed: ``(batch, channels, length)``."""
        return self.attention.out_proj(y.transpose(1, 2).flatten(2)).mT

    def _check(self, u_t: Tensor, state: State) -> State:
        if not isinstance(state, tuple) or len(state) != 3:
            got = len(state) if isinstance(state, tuple) else type(state).__name__
            raise TypeError(f"state must be a tuple of 3 tensors, got {got}")
        slots = state[1].shape[2:3] if isinstance(state[1], Tensor) else ()
        weight, batch = self.attention.in_proj_weight, len(u_t)
        shape = batch, self.heads, *slots, self.channels // self.heads
        keys, values = check_state(state[1:], 2, shape, weight)
        (age,) = check_state(state[:1], 1, (batch,), weight.new_empty(0, dtype=torch.int64))
        return age, keys, values

    def extra_repr(self) -> str:
        return f"{self.channels}, heads={self.heads}"
