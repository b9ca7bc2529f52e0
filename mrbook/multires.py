"""MultiresConv: a wavelet memory at every time step, read with learned weights.

`multires_conv` is the layer's computation, a tree of causal dilated convolutions; `MultiresConv`
holds its parameters. Computed in one of three ways that agree, the layer is a causal convolution
with a long kernel of few parameters, and takes single time steps from a state of ring buffers.

References
----------
J. Shi, K. A. Wang, E. B. Fox, "Sequence Modeling with Multiresolution Convolutional Memory",
ICML 2023, arXiv:2305.01638.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook import native
from mrbook.checks import check_count
from mrbook.filters import Wavelet, as_wavelet
from mrbook.longconv import (
    causal_conv,
    check_input,
    inner_dtype,
    mask_padding,
    require_native,
)
from mrbook.memory import tree_depth
from mrbook.native import gpu, ops
from mrbook.rings import Rings, State, check_filters

__all__ = [
    "METHODS",
    "MultiresConv",
    "dilated_conv",
    "multires_conv",
    "multires_kernel",
    "multires_method",
    "uniform_memory",
]

METHODS = ("tree", "kernel", "fused", "triton")


# ---- the core -----------------------------------------------------------------------------------


def multires_conv(
    x: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int] | None = None
) -> Tensor:
    """The tree: at every step the wavelet memory of the past, read with the weights `w`.

    Parameters
    ----------
    x : Tensor
        Input, shape ``(batch, channels, length)``.
    h0, h1 : Tensor
        Analysis filters, low-pass and high-pass, oldest sample first, shape ``(channels, 1, K)``;
        or ``(channels, depth, K)``, one for each level, finest first.
    w : Tensor
        Weights, shape ``(channels, m + 1)``: of a_J, then of the details from the coarsest level to
        the finest, newest first within a level, and last of the input itself.
    kept : sequence of int, optional
        Coefficients kept per level, coarsest first. Default: one of each, the fading memory; its
        depth J follows from w. See `uniform_memory`.

    Returns
    -------
    Tensor
        Shape ``(batch, channels, length)``.

    Raises
    ------
    ValueError
        If the filters, the weights and the input don't go together.

    Examples
    --------
    With Haar filters the newest coefficients hold sums and differences over 1, 2, 4, ... samples.

    >>> h0, h1 = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.5, -0.5]]])
    >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    >>> multires_conv(x, h0, h1, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))  # the mean of the last four
    tensor([[[0.2500, 0.7500, 1.5000, 2.5000, 3.5000]]])
    """
    kept = [1] * (w.shape[1] - 2) if kept is None else list(kept)
    check_filters(x, h0, h1, w, kept)
    details = w[:, 1 : 1 + sum(kept)].split(kept, dim=1)
    a, y = x, w[:, -1:] * x
    for level in range(1, len(kept) + 1):  # from the finest
        dilation, i = 2 ** (level - 1), min(level, h0.shape[1]) - 1
        if kept[-level]:
            b = dilated_conv(a, h1[:, i], dilation)
            y = y + dilated_conv(b, details[-level].flip(1), 2 * dilation)
        a = dilated_conv(a, h0[:, i], dilation)
    return y + w[:, :1] * a


def dilated_conv(a: Tensor, h: Tensor, dilation: int) -> Tensor:
    """Causal convolution per channel, ``y[t] = sum_q h[:, q] a[t - (K-1-q) dilation]``.

    Parameters
    ----------
    a : Tensor
        Shape ``(batch, channels, length)``, taken as zero before the start.
    h : Tensor
        Taps, oldest first, shape ``(channels, K)``.
    dilation : int
        Steps between two taps.
    """
    h = h[:, -(1 + (a.shape[-1] - 1) // dilation) :]  # older taps only ever meet zeros
    if h.shape[1] == 1:
        return h * a
    past = F.pad(a, ((h.shape[1] - 1) * dilation, 0))
    return F.conv1d(past, h[:, None], dilation=dilation, groups=len(h))


def multires_kernel(
    length: int, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int] | None = None
) -> Tensor:
    """The convolution that the tree is, by lag: its response to a unit impulse.

    Returns
    -------
    Tensor
        Shape ``(channels, length)``; `mrbook.longconv.causal_conv` with it equals `multires_conv`.
    """
    impulse = w.new_zeros(1, len(w), length)
    impulse[..., 0] = 1
    return multires_conv(impulse, h0, h1, w, kept)[0]


def uniform_memory(memory_size: int, depth: int, kernel_size: int) -> tuple[int, ...]:
    """Coefficients that the uniform memory keeps of each level, coarsest first.

    One of a_J, then of each level's details as many as its coefficients that make up what is kept
    of the level before, until there are `memory_size` in all.

    Examples
    --------
    >>> uniform_memory(10, depth=5, kernel_size=2)
    (1, 2, 4, 2, 0)
    """
    kept, left, count = [], memory_size - 1, 1
    for _ in range(depth):
        kept.append(min(count, left))
        left -= kept[-1]
        count = 2 * (kept[-1] - 1) + kernel_size
    return tuple(kept)


# ---- the layer ----------------------------------------------------------------------------------


def multires_method(x: Tensor) -> str:
    """Which method ``MultiresConv`` takes for this input: a rule of device, dtype and batch.

    The C++ form wins wherever it is available. On CUDA Triton can make the kernel in one launch,
    see `mrbook.native.gpu.preferred`. Elsewhere the tree costs as much for a whole batch as its
    kernel costs for one sequence, so the kernel pays from the second sequence on.

    Examples
    --------
    >>> multires_method(torch.zeros(2, 3, 100, device="meta"))
    'kernel'
    """
    if native.available(inner_dtype(x), x.device.type):
        return "fused"
    if gpu.preferred(x.dtype, x.device.type):
        return "triton"
    return "kernel" if len(x) > 1 else "tree"


class MultiresConv(nn.Module):
    """Sequence layer: multiresolution convolution, causal and linear, channel by channel.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    kernel_size : int
        Taps K of the filters, at least 2. With a `wavelet` its own length counts.
    length : int, optional
        Longest lag that should be reached; gives the depth by `tree_depth`. Any length may follow.
    depth : int, optional
        Levels J of the tree, in place of `length`.
    memory : {"fading", "uniform"}
        Which coefficients are read: the newest of every level, or all of the coarse levels.
    memory_size : int, optional
        How many coefficients the uniform memory keeps, a_J included. Weights beyond what the tree
        has are never read.
    wavelet : Wavelet or str, optional
        Start from its analysis filters. Default: the random start that was published.
    gain : float
        Factor of the filters' random start. With 1, as published, every level of K = 2 taps starts
        with about a third of the energy of the level before.
    tie_levels : bool
        Whether all levels share their filters.
    independent_skip : bool
        Draw the weights of the input from U(-1, 1), whatever the memory's size.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    h0 : Parameter
        Low-pass, oldest sample first, shape ``(channels, 1, K)``, untied ``(channels, depth, K)``.
    h1 : Parameter
        High-pass, of the shape of h0.
    w : Parameter
        Weights, shape ``(channels, m + 1)``; their order is that of `multires_conv`.
    bias : float
        0: the layer has none.
    method : str
        "auto" (see `multires_method`), "tree", "kernel", "fused" or "triton", which is "kernel"
        where the filters have more than 8 taps; may be set at any time.

    Raises
    ------
    ValueError
        If a size or the gain is out of range, neither or both of length and depth are given, the
        memory doesn't go with memory_size, or a gain with a wavelet.

    Examples
    --------
    >>> layer = MultiresConv(channels=3, length=100)
    >>> layer(torch.randn(2, 3, 50)).shape
    torch.Size([2, 3, 50])
    """

    bias = 0.0

    def __init__(
        self,
        channels: int,
        kernel_size: int = 2,
        *,
        length: int | None = None,
        depth: int | None = None,
        memory: str = "fading",
        memory_size: int | None = None,
        wavelet: Wavelet | str | None = None,
        gain: float = 1.0,
        tie_levels: bool = True,
        independent_skip: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels = check_count(channels, "channels")
        bank = None if wavelet is None else as_wavelet(wavelet)
        if not 0 < gain < float("inf") or (gain != 1 and bank is not None):
            raise ValueError(f"gain must be positive, and 1 with a wavelet, got {gain}")
        self.channels, self.method = channels, "auto"
        self.kernel_size = kernel_size if bank is None else bank.dec_len
        self.depth = _depth(length, depth, self.kernel_size)
        self.memory, self.tie_levels = memory, tie_levels
        self.kept = _kept(memory, memory_size, self.depth, self.kernel_size)
        m = self.depth + 1 if memory_size is None else memory_size

        def draw(*shape: int) -> Tensor:
            return torch.empty(channels, *shape, device=device, dtype=dtype).uniform_(-1, 1)

        filters = 1 if tie_levels else self.depth
        scale = gain / self.kernel_size**0.5
        h0, h1 = (scale * draw(filters, self.kernel_size) for _ in range(2))
        w = draw(m + 1) / (m + 1) ** 0.5
        if bank is not None:
            h0.copy_(bank.dec_lo.detach().flip(0))
            h1.copy_(bank.dec_hi.detach().flip(0))
        if independent_skip:
            w[:, -1] = draw()
        self.h0, self.h1, self.w = nn.Parameter(h0), nn.Parameter(h1), nn.Parameter(w)
        self._rings = Rings(channels, self.kernel_size, self.kept).to(device)

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
            float32, under autocast too, but for what `mrbook.longconv.causal_conv` says of Triton.
        """
        check_input(u, self.w, ("batch", self.channels, "length"))
        x = u if lengths is None else mask_padding(u, lengths)
        with torch.autocast(u.device.type, enabled=False):
            y = self._convolve(x, *self._parameters_in(inner_dtype(u))).to(u.dtype)
        return y if lengths is None else mask_padding(y, lengths)

    def kernel(self, length: int) -> Tensor:
        """The convolution that the layer is, by lag, shape ``(channels, length)``."""
        length = check_count(length, "length")
        parameters = self._parameters_in(inner_dtype(self.w))
        with torch.autocast(self.w.device.type, enabled=False):
            return multires_kernel(length, *parameters, self.kept)

    def _convolve(self, x: Tensor, h0: Tensor, h1: Tensor, w: Tensor) -> Tensor:
        method = multires_method(x) if self.method == "auto" else self.method
        if method == "triton":
            gpu.require(x)
            if self.kernel_size <= gpu.MOST_TAPS:
                from mrbook.native import triton_multires  # Triton takes half a second to load

                k = triton_multires.multires_kernel(x.shape[-1], h0, h1, w, self.kept)
                return causal_conv(x, k)
            method = "kernel"
        x = x.to(h0.dtype)
        if method == "tree":
            return multires_conv(x, h0, h1, w, self.kept)
        if method == "kernel":
            return causal_conv(x, multires_kernel(x.shape[-1], h0, h1, w, self.kept))
        if method == "fused":
            require_native(x)
            return ops.multires(x, h0, h1, w, self.kept)
        raise ValueError(f"method must be auto, {', '.join(METHODS)}, got {self.method!r}")

    # ---- one step at a time ---------------------------------------------------------------------

    def initial_state(self, batch: int) -> State:
        """State before the first step: nothing has been seen.

        Returns
        -------
        (Tensor, Tensor)
            The number of steps taken, int64 of shape ``(batch,)``, and the ring buffers of all
            levels, shape ``(batch, rows, channels)``. Both have the batch first: states can be
            concatenated, indexed, saved and moved like any tensors.
        """
        return self._rings.initial_state(batch, inner_dtype(self.w))

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
        check_input(u_t, self.w, ("batch", self.channels), "u_t")
        fused = self.method in ("auto", "fused")
        return self._rings.step(u_t, state, (self.h0, self.h1, self.w), fused=fused)

    # ---- checks ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        sizes = f"{self.channels}, kernel_size={self.kernel_size}, depth={self.depth}"
        return f"{sizes}, memory={self.memory!r}, tie_levels={self.tie_levels}"

    def _parameters_in(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        return self.h0.to(dtype), self.h1.to(dtype), self.w.to(dtype)


def _depth(length: int | None, depth: int | None, kernel_size: int) -> int:
    kernel_size = check_count(kernel_size, "kernel_size", 2)
    if (length is None) == (depth is None):
        raise ValueError(f"give either length or depth, got length={length} and depth={depth}")
    if length is not None:
        return tree_depth(length, kernel_size)
    return check_count(depth, "depth", 1, 30)


def _kept(memory: str, size: int | None, depth: int, kernel_size: int) -> tuple[int, ...]:
    if memory == "fading":
        if size is not None:
            raise ValueError(f"memory_size goes with the uniform memory, got {size} with fading")
        return (1,) * depth
    if memory != "uniform":
        raise ValueError(f'memory must be "fading" or "uniform", got {memory!r}')
    if size is None:
        raise ValueError("memory_size must be given for the uniform memory")
    return uniform_memory(check_count(size, "memory_size"), depth, kernel_size)
