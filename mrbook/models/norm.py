"""Normalization of activations ``(batch, length, channels)`` that knows what padding is."""

import torch
from torch import Tensor, nn

from mrbook.longconv import inner_dtype
from mrbook.statistics import check_steps, follow, several_processes, sum_over_processes

__all__ = ["NORMS", "BatchNorm", "LayerNorm", "real_steps"]


def real_steps(x: Tensor, lengths: Tensor) -> Tensor:
    """Which time steps are no padding.

    Parameters
    ----------
    x : Tensor
        Shape ``(batch, length, ...)``.
    lengths : Tensor
        True lengths, integers of shape ``(batch,)``.

    Returns
    -------
    Tensor
        bool of shape ``(batch, length, 1)``.

    Examples
    --------
    >>> real_steps(torch.zeros(2, 3, 8), torch.tensor([1, 3]))[..., 0]
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    steps = torch.arange(x.shape[1], device=x.device)
    return (steps < lengths.to(x.device)[:, None])[..., None]


class LayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of each time step; padding is its own affair.

    Parameters
    ----------
    channels : int
        Channels of the input, its last dimension.
    eps : float
        As for `torch.nn.LayerNorm`.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalize each time step of x, shape ``(..., channels)``; lengths don't matter."""
        return super().forward(x)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization over the real time steps of a batch.

    In training the mean and the variance are those of all time steps within the true lengths, in
    all processes where there are several, so that nothing depends on how far a batch is padded or
    on how it is divided. In evaluation the running statistics take their place.

    Parameters
    ----------
    channels : int
        Channels of the input, its last dimension.
    eps, momentum : float
        As for `torch.nn.BatchNorm1d`, whose parameters, buffers and rule for the running statistics
        (unbiased variance) this has.

    Raises
    ------
    ValueError
        If fewer than two time steps are real in training (with lengths, checked on the CPU only).

    Examples
    --------
    >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> BatchNorm(1)(x, torch.tensor([2]))[0, :2, 0].detach()
    tensor([-1.0000,  1.0000])
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps, momentum)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalize x.

        Parameters
        ----------
        x : Tensor
            Shape ``(batch, length, channels)``; for one time step ``(batch, channels)``.
        lengths : Tensor, optional
            True lengths, integers of shape ``(batch,)``. What stands beyond them is not counted,
            and what comes out there is not to be used.

        Returns
        -------
        Tensor
            Shape and dtype of x.
        """
        if not self.training or (lengths is None and not several_processes()):
            return super().forward(x.flatten(0, -2)).reshape(x.shape)
        return self._masked(x.to(inner_dtype(x)), lengths).to(x.dtype)

    def _masked(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            count, kept = x.new_full((), x[..., 0].numel()), x
        else:
            real = real_steps(x, lengths)
            count, kept = real.sum().to(x.dtype), x.masked_fill(~real, 0)
        total = sum_over_processes(torch.cat([kept.sum((0, 1)), count[None]]))
        count = check_steps(total[-1])
        mean = total[:-1] / count
        centered = kept - mean
        if lengths is not None:
            centered = centered.masked_fill(~real, 0)
        variance = sum_over_processes(centered.square().sum((0, 1))) / count
        follow(self, mean, variance, count)
        return centered * ((variance + self.eps).rsqrt() * self.weight) + self.bias


#: Normalizations by name.
NORMS: dict[str, type[LayerNorm] | type[BatchNorm]] = {"layer": LayerNorm, "batch": BatchNorm}
