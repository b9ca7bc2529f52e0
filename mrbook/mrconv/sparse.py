"""A kernel of a few random lags, which are drawn once and stay."""

from typing import Any

import torch
from torch import Tensor

from mrbook.checks import check_count
from mrbook.mrconv.base import Kernel

__all__ = ["SparseKernel"]


class SparseKernel(Kernel):
    """Free numbers at a few random lags, which are drawn once and stay.

    Each channel has its own lags, so that many channels together cover all of them.

    Parameters
    ----------
    channels, length, device, dtype
        As for `Kernel`.
    taps : int, optional
        How many lags, at most `length`; parameters per channel.
    lags : Tensor, optional
        The lags themselves in place of `taps`: integers below `length` without repetition, shape
        ``(taps,)`` or ``(channels, taps)``.
    seed : int, optional
        For the draw of lags. Default: PyTorch's global generator.

    Attributes
    ----------
    lags : Tensor
        The set, int64 of shape ``(channels, taps)``, sorted: a buffer that the state dict holds.

    Raises
    ------
    TypeError, ValueError
        If neither or both of taps and lags are given, or lags have another shape or dtype, repeat
        or lie beyond the kernel; also when a state dict brings such lags.

    Examples
    --------
    >>> kernel = SparseKernel(1, length=8, lags=torch.tensor([0, 5]))
    >>> kernel.materialize().ne(0).int().tolist()
    [[1, 0, 0, 0, 0, 1, 0, 0]]
    """

    lags: Tensor

    def __init__(
        self,
        channels: int,
        length: int,
        taps: int | None = None,
        *,
        lags: Tensor | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        channels, length = check_count(channels, "channels"), check_count(length, "length")
        if (taps is None) == (lags is None):
            raise ValueError(f"give either taps or lags, got taps={taps} and lags={lags}")
        if lags is None:
            count = check_count(taps, "taps", high=length)
            generator = None
            if seed is not None:
                generator = torch.Generator().manual_seed(check_count(seed, "seed", 0))
            order = torch.rand(channels, length, generator=generator, device="cpu")
            lags = order.topk(count).indices
        lags = _check_lags(lags, channels, length).sort(1).values
        super().__init__(channels, length, lags.shape[1], device, dtype)
        self.register_buffer("lags", lags.to(self.weight.device))
        self.normalize_()

    def _lags(self) -> Tensor:
        w = self._weight()
        return w.new_zeros(self.channels, self.length).scatter(1, self.lags, w)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        given = state_dict.get(f"{prefix}lags")
        if given is not None and given.shape == self.lags.shape and not given.is_meta:
            _check_lags(given, self.channels, self.length, f"{prefix}lags")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _check_lags(lags: Tensor, channels: int, length: int, name: str = "lags") -> Tensor:
    """Return lags of shape (channels, taps), or say what is wrong with them."""
    if not isinstance(lags, Tensor) or lags.dtype not in (torch.int32, torch.int64):
        kind = lags.dtype if isinstance(lags, Tensor) else type(lags).__name__
        raise TypeError(f"{name} must be a tensor of int64 or int32, got {kind}")
    lags = lags.long().expand(channels, -1) if lags.ndim == 1 else lags.long()
    if lags.ndim != 2 or lags.shape[0] != channels or lags.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape (taps,) or ({channels}, taps), got {tuple(lags.shape)}"
        )
    low, high = (int(x) for x in lags.aminmax())
    if low < 0 or high >= length:
        raise ValueError(f"{name} must be from 0 to {length - 1}, got {low} to {high}")
    if not lags.sort(1).values.diff().all():
        raise ValueError(f"{name} must not repeat within a channel")
    return lags
