"""Online convolution of many channels and many sequences: the state of streams, and their steps."""

from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count, check_tensors
from mrbook.longconv import inner_dtype
from mrbook.online.tiles import largest_tile, tile_conv, tile_size, tile_spectrum

__all__ = ["BLOCK", "OnlineKernel", "State", "check_state", "dot_step", "initial_state"]

#: Outputs of a block of so many steps are reached from inputs of the same block without an FFT.
BLOCK = 64

State = tuple[Tensor, Tensor, Tensor]


def initial_state(
    batch: int,
    channels: int,
    kernel_length: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    block: int = BLOCK,
) -> State:
    """State before the first step.

    Parameters
    ----------
    batch, channels, kernel_length : int
        Sizes.
    dtype, device
        Of the inputs and sums.
    block : int
        That of `OnlineKernel`.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        ``position``, int64 of shape ``(batch,)``: the number of steps taken, though `dot_step` may
        set it to any other multiple of P, the `largest_tile` of the kernel. ``inputs``, shape
        ``(batch, channels, P)``: the newest P inputs, that of step t at ``t % P``. ``sums``, of the
        same shape: what has been sent to the outputs of this block of P steps.
    """
    sizes = {"batch": batch, "channels": channels}
    shape = *(check_count(n, name) for name, n in sizes.items()), largest_tile(kernel_length, block)
    position = torch.zeros(shape[0], dtype=torch.int64, device=device)
    inputs = torch.zeros(shape, dtype=dtype, device=device)
    return position, inputs, torch.zeros_like(inputs)


def check_state(
    state: tuple[Tensor, ...], u_t: Tensor, size: int, k: Tensor | None = None
) -> State:
    """Return a state that goes with an input and tiles up to a size, or say what is wrong with it.

    So must a kernel, if one is given: shape ``(channels, m)``, in the dtype of the state.

    Raises
    ------
    TypeError
        If it is not a tuple of tensors.
    ValueError
        If their number, a shape, a dtype or a device is wrong.
    """
    position, inputs, sums = check_tensors(state, "state", 3)
    device, values = u_t.device, ((*u_t.shape, size), inner_dtype(u_t), u_t.device)
    expected = [((len(u_t),), torch.int64, device), values, values]
    got = [(tuple(x.shape), x.dtype, x.device) for x in state]
    if got != expected:
        raise ValueError(f"state must be tensors of {expected} for this layer and u, got {got}")
    if k is not None and (k.shape[:-1] != inputs.shape[1:-1] or k.dtype != inputs.dtype):
        raise ValueError(
            f"k must have shape ({inputs.shape[1]}, m) and {inputs.dtype} for this state, "
            f"got {tuple(k.shape)} and {k.dtype}"
        )
    return position, inputs, sums


def dot_step(
    u_t: Tensor, state: tuple[Tensor, ...], k: Tensor, block: int = BLOCK
) -> tuple[Tensor, State]:
    """One step as a dot product with the whole past: differentiable, and one graph when compiled.

    The state is left as it is. The new one has its inputs in order of time and a block that ends,
    so that `OnlineKernel.step`, if it goes on from there, starts a block and sends them all ahead.

    Parameters
    ----------
    u_t : Tensor
        Shape ``(batch, channels)``.
    state : (Tensor, Tensor, Tensor)
        From `initial_state`, or a step of either kind.
    k : Tensor
        Kernel by lag, shape ``(channels, m)``.
    block : int
        That of the state.

    Returns
    -------
    (Tensor, (Tensor, Tensor, Tensor))
        The output, shape ``(batch, channels)`` in the dtype of the state, and the next state.

    Raises
    ------
    TypeError, ValueError
        If the state doesn't go with the input or the kernel.
    """
    size = largest_tile(k.shape[-1], block)
    position, inputs, sums = check_state(state, u_t, size, k)
    u_t = u_t.to(inputs.dtype)
    places = (position[:, None] + torch.arange(size, device=inputs.device)) % size  # oldest first
    past = inputs.gather(2, places[:, None].expand_as(inputs))
    k = F.pad(k, (0, size + 1 - k.shape[-1]))
    y = k[:, 0] * u_t + (past * k[:, 1:].flip(-1)).sum(-1)
    past = torch.cat([past[..., 1:], u_t[..., None]], -1)
    return y, (torch.full_like(position, size), past, torch.zeros_like(sums))


class OnlineKernel:
    """A kernel made ready for online steps: its first taps, and the spectra of its prefixes.

    A spectrum is made when a stream first needs it, so that a short stream doesn't pay for a long
    kernel. Most steps cost a few operations on a part of a block; one in P, the largest tile, costs
    an FFT of 2P.

    Parameters
    ----------
    k : Tensor
        Kernel by lag, shape ``(channels, m)``. No gradients are recorded.
    block : int
        A power of two. Within blocks of so many steps each input is sent ahead directly, to the end
        of its block; tiles of this size and above take an FFT. From 16 to 256 it makes little
        difference on a CPU: what the larger tiles save, the steps inside of blocks pay.
    """

    def __init__(self, k: Tensor, block: int = BLOCK) -> None:
        k = k.detach()
        self.k, self.block = k, block
        self.size = largest_tile(k.shape[-1], block)
        self.taps = F.pad(k, (0, max(0, block - k.shape[-1])))
        self.spectra: dict[int, Tensor] = {}

    def step(self, u_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        """Output for the newest input; the state is updated in place.

        Streams of one age are computed together where they lie side by side in the batch. A GPU is
        waited for: which tile is due is decided on the host.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor, Tensor, Tensor)
            From `initial_state`, or a step of either kind.

        Returns
        -------
        (Tensor, (Tensor, Tensor, Tensor))
            The output, shape ``(batch, channels)`` in the dtype of the state, and the state.

        Raises
        ------
        TypeError, ValueError
            If the state doesn't go with the input or the kernel.
        """
        position, inputs, sums = check_state(state, u_t, self.size, self.k)
        if len(u_t) == 0:
            return u_t.to(inputs.dtype), (position, inputs, sums)
        times = position.tolist()
        if times.count(times[0]) == len(times):
            y = self._advance(times[0], u_t, inputs, sums).clone()
        else:
            outputs, first = [], 0
            for t, streams in groupby(times):
                rows = slice(first, first + len(list(streams)))
                outputs.append(self._advance(t, u_t[rows], inputs[rows], sums[rows]))
                first = rows.stop
            y = torch.cat(outputs)
        position += 1
        return y, (position, inputs, sums)

    def _advance(self, t: int, u_t: Tensor, inputs: Tensor, sums: Tensor) -> Tensor:
        """Output at time t, a view of the sums."""
        place, left = t % self.size, self.block - t % self.block
        if t > 0 and left == self.block:
            size = tile_size(t, self.size)
            newest = inputs.narrow(-1, (t - size) % self.size, size)
            y = tile_conv(newest, self._spectrum(size))
            if size == self.size:
                sums.copy_(y)  # a new block: nothing was sent to it before
            else:
                sums.narrow(-1, place, size).add_(y)
        rest_of_block, taps = sums.narrow(-1, place, left), self.taps.narrow(-1, 0, left)
        rest_of_block.addcmul_(u_t.unsqueeze(-1), taps)
        inputs.select(-1, place).copy_(u_t)
        return sums.select(-1, place)

    def _spectrum(self, size: int) -> Tensor:
        if size not in self.spectra:
            self.spectra[size] = tile_spectrum(self.k, size)
        return self.spectra[size]
