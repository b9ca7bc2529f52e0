"""Ring buffers: one time step of a tree of dilated convolutions, at a cost that never grows.

At every level the tree reads the values a few dilations ago and nothing else, so a queue per level
holds all of the past that still matters. Written level by level, a step is a loop; but everything
that is read is older than this step, so all of it can be fetched at once, and what the levels then
do is linear: one gather, one product with a small matrix per channel, one scatter.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook import native
from mrbook.cache import ParameterCache
from mrbook.checks import check_count, check_tensors
from mrbook.longconv import inner_dtype

__all__ = ["LevelFilters", "Rings", "State", "check_filters", "level_filters", "step_matrix"]

State = tuple[Tensor, Tensor]
Parameters = tuple[Tensor, Tensor, Tensor]

#: Taps of one level by lag, in units of its dilation: those that give the next level's input, and
#: those of its share in the output.
LevelFilters = tuple[Tensor, Tensor]


def level_filters(h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]) -> list[LevelFilters]:
    """Filters and readouts of the tree, finest level first.

    With ``a_0 = x`` the tree is ``a_l[t] = sum_k c_l[k] a_{l-1}[t - k d]`` and
    ``y[t] = sum_l sum_j q_l[j] a_{l-1}[t - j d]`` with dilations ``d = 2^(l-1)``: ``c_l`` is h0 by
    lag, and ``q_l`` is h1 by lag convolved with the weights of the details that are kept. The
    weights of the input and of a_J are folded into the first and the last readout.

    Parameters
    ----------
    h0, h1, w, kept
        As for `mrbook.multires.multires_conv`.

    Returns
    -------
    list of (Tensor, Tensor)
        ``c_l`` of shape ``(channels, K)``, empty at the last level, and ``q_l`` of shape
        ``(channels, taps)``, with ``2 (kept - 1) + K`` taps where details are kept.
    """
    depth, taps = len(kept), h0.shape[-1]
    details = w[:, 1 : 1 + sum(kept)].split(list(kept), dim=1)
    filters = []
    for level in range(1, depth + 1):
        i = min(level, h0.shape[1]) - 1
        c, g = h0[:, i].flip(1), h1[:, i].flip(1)
        q = w.new_zeros(len(w), _readout_taps(level, kept, taps))
        if kept[-level]:
            spread = F.pad(details[-level][..., None], (0, 1)).flatten(1)[:, :-1]
            q = torch.stack(
                [F.pad(g[:, k, None] * spread, (k, taps - 1 - k)) for k in range(taps)]
            ).sum(0)
        if level == 1:
            q = q + F.pad(w[:, -1:], (0, q.shape[1] - 1))
        if level == depth:
            c, q = c[:, :0], q + F.pad(w[:, :1] * c, (0, q.shape[1] - taps))
        filters.append((c, q))
    return filters


def check_filters(x: Tensor, h0: Tensor, h1: Tensor, w: Tensor, kept: Sequence[int]) -> None:
    """Raise a ValueError unless the arguments of `mrbook.multires.multires_conv` go together."""
    channels, depth = x.shape[1], len(kept)
    if h0.shape != h1.shape or h0.ndim != 3 or len(h0) != channels:
        raise ValueError(
            f"h0 and h1 must both have shape ({channels}, 1 or depth, K), "
            f"got {tuple(h0.shape)} and {tuple(h1.shape)}"
        )
    if w.ndim != 2 or len(w) != channels or depth < 1 or w.shape[1] < 2 + sum(kept):
        raise ValueError(
            f"w must have shape ({channels}, m + 1) with weights for a_J, {sum(kept)} details on "
            f"{depth} levels (at least 1) and the input, got {tuple(w.shape)}"
        )
    if h0.shape[1] not in (1, depth):
        raise ValueError(
            f"h0 and h1 must have one filter or one a level, {depth} in all, got {h0.shape[1]}"
        )


def step_matrix(filters: Sequence[LevelFilters]) -> Tensor:
    """What a step does to the newest input and the values read, as a matrix per channel.

    Returns
    -------
    Tensor
        Shape ``(channels, 1 + J, 1 + n)``: from the input and the n values that are read to the
        output and what each level keeps. It is the tree, run on unit vectors.
    """
    pasts = [max(c.shape[1], q.shape[1]) - 1 for c, q in filters]
    columns, at = 1 + sum(pasts), 1

    def place(taps: Tensor) -> Tensor:
        return F.pad(taps[:, 1:], (at, columns - at - (taps.shape[1] - 1)))

    channels = len(filters[0][1])
    a = filters[0][1].new_zeros(channels, columns)
    a[:, 0] = 1
    y, inputs = torch.zeros_like(a), []
    for (c, q), past in zip(filters, pasts, strict=True):
        inputs.append(a)
        if q.shape[1]:
            y = y + q[:, :1] * a + place(q)
        if c.shape[1]:
            a = c[:, :1] * a + place(c)
        at += past
    return torch.stack([y, *inputs], dim=1)


class Rings(nn.Module):
    """The ring buffers of a tree of dilated convolutions, and its step.

    One tensor holds the rings of all levels. That of level l keeps what enters the level for as
    long as it is read: ``(K-1) * dilation`` values, and ``2 * dilation`` more for each detail kept
    beyond the first. Row ``first + t % size`` of it holds the value of time t.

    Parameters
    ----------
    channels : int
        Channels of the input.
    kernel_size : int
        Taps K of the filters.
    kept : sequence of int
        Details kept per level, coarsest first.

    Attributes
    ----------
    rows : int
        Values kept per channel: ``(K-1) (2^J - 1)`` for the fading memory.
    lag, size, first : Tensor
        Of each of the n values that a step reads, level by level: how many steps ago it came, and
        the size and first row of its ring. Shape ``(n,)``.
    oldest : Tensor
        Which of them is the oldest of its level; the newest takes its row. Shape ``(J,)``.

    Examples
    --------
    >>> rings = Rings(1, 2, [1, 1, 1])
    >>> rings.rows, rings.lag
    (7, tensor([1, 2, 4]))
    """

    lag: Tensor
    size: Tensor
    first: Tensor
    oldest: Tensor

    def __init__(self, channels: int, kernel_size: int, kept: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.kept, self.rows = channels, tuple(kept), 0
        self._shape: list[int] = []  # what C++ is told of each level
        reads, oldest = [], []
        for level in range(1, len(kept) + 1):
            dilation, taps = 2 ** (level - 1), kernel_size if level < len(kept) else 0
            readout = _readout_taps(level, kept, kernel_size)
            most = max(taps, readout)
            size = (most - 1) * dilation
            reads += [(k * dilation, size, self.rows) for k in range(1, most)]
            oldest.append(len(reads) - 1)
            self._shape += [dilation, taps, readout, self.rows, size]
            self.rows += size
        for name, values in zip(("lag", "size", "first"), zip(*reads, strict=True), strict=True):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.register_buffer("oldest", torch.tensor(oldest), persistent=False)
        self._cache = ParameterCache[Tensor]()

    def initial_state(self, batch: int, dtype: torch.dtype) -> State:
        """No steps taken, int64 ``(batch,)``, and empty rings, ``(batch, rows, channels)``."""
        batch = check_count(batch, "batch")
        self._cache.clear()
        device = self.lag.device
        rings = torch.zeros(batch, self.rows, self.channels, dtype=dtype, device=device)
        return torch.zeros(batch, dtype=torch.int64, device=device), rings

    def step(
        self, u: Tensor, state: State, parameters: Parameters, *, fused: bool = True
    ) -> tuple[Tensor, State]:
        """Output for the newest input, and the next state.

        The state is updated in place, unless gradients are recorded: then it is a new one.

        Parameters
        ----------
        u : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor)
            From `initial_state`.
        parameters : (Tensor, Tensor, Tensor)
            h0, h1 and w of `mrbook.multires.multires_conv`.
        fused : bool
            Whether C++ may take the step where it can: not while gradients are recorded.

        Raises
        ------
        TypeError, ValueError
            If the state is none, or doesn't go with u or with these rings.
        """
        position, rings = self.check(u, state)
        dtype, learning = u.dtype, torch.is_grad_enabled()
        learning = learning and any(t.requires_grad for t in (u, rings, *parameters))
        x = u.to(rings.dtype)
        if learning or torch.compiler.is_compiling():
            matrix = step_matrix(self._levels(x, parameters))
        elif fused and native.available(x.dtype, x.device.type):
            filters = self._cached(True, x, parameters)
            y = torch.empty_like(x, memory_format=torch.contiguous_format)
            shape = [*x.shape, len(self.kept), self.rows, torch.get_num_threads(), *self._shape]
            native.call("multires_step", shape, filters, x.contiguous(), position, rings, y)
            return y.to(dtype), state
        else:
            matrix = self._cached(False, x, parameters)
        rows, past = self.read(state)
        with torch.autocast(x.device.type, enabled=False):
            outputs = torch.einsum("dij,bjd->bid", matrix, torch.cat([x[:, None], past], dim=1))
        return outputs[:, 0].to(dtype), self.write(state, rows, outputs[:, 1:])

    def read(self, state: State) -> tuple[Tensor, Tensor]:
        """What a step reads: rows and their values, each ``(batch, n, channels)``, as in `lag`."""
        position, rings = state
        rows = self.first + (position[:, None] - self.lag) % self.size
        rows = rows[..., None].expand(-1, -1, self.channels)
        return rows, rings.gather(1, rows)

    def write(self, state: State, rows: Tensor, newest: Tensor) -> State:
        """The next state: each level's newest value, ``(batch, J, channels)``, for its oldest.

        The state is updated in place, unless gradients are recorded: then it is a new one.
        """
        position, rings = state
        rows = rows[:, self.oldest]
        if torch.is_grad_enabled() and (newest.requires_grad or rings.requires_grad):
            return position + 1, rings.scatter(1, rows, newest)
        position += 1
        rings.scatter_(1, rows, newest)
        return state

    def _levels(self, x: Tensor, parameters: Parameters) -> list[LevelFilters]:
        h0, h1, w = (parameter.to(x.dtype) for parameter in parameters)
        return level_filters(h0, h1, w, self.kept)

    def _cached(self, packed: bool, x: Tensor, parameters: Parameters) -> Tensor:
        """Filters in the form that a step wants, kept until a parameter changes."""

        def make() -> Tensor:
            levels = self._levels(x, parameters)
            rows = (taps.T for level in levels for taps in level)
            return torch.cat(tuple(rows)) if packed else step_matrix(levels)

        return self._cache.get(parameters, make, packed, x.dtype)

    def check(self, u: Tensor, state: State) -> State:
        """Return the state, or say what is wrong with it.

        Raises
        ------
        TypeError
            If it is not a tuple of tensors.
        ValueError
            If it doesn't go with u, or with these rings.
        """
        position, rings = check_tensors(state, "state", 2)
        shape = (len(u), self.rows, self.channels)
        if position.shape != shape[:1] or rings.shape != shape:
            raise ValueError(
                f"state must have tensors of shape {shape[:1]} and {shape} for this layer and "
                f"batch, got {tuple(position.shape)} and {tuple(rings.shape)}"
            )
        dtypes = torch.int64, inner_dtype(u)
        if (position.dtype, rings.dtype) != dtypes:
            raise ValueError(
                f"state must be of {dtypes[0]} and {dtypes[1]}, "
                f"got {position.dtype} and {rings.dtype}"
            )
        if not position.device == rings.device == u.device:
            raise ValueError(f"state must be on {u.device}, got {rings.device}")
        if not rings.is_contiguous() or not position.is_contiguous():
            raise ValueError("state must have contiguous tensors, call .contiguous() on a slice")
        return position, rings


def _readout_taps(level: int, kept: Sequence[int], taps: int) -> int:
    """Taps of the readout of a level."""
    details = kept[-level]
    if details:
        return 2 * (details - 1) + taps
    return taps if level == len(kept) else int(level == 1)
