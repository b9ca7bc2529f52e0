"""Statistics of a batch that knows padding and is spread over processes: for batch normalization.

Sums here are differentiable: where every process backs up its own part of the loss, gradients are
those of the whole.
"""

from typing import Any

import torch
from torch import Tensor, distributed

from mrbook.longconv import inner_dtype

__all__ = ["check_steps", "count_steps", "follow", "several_processes", "sum_over_processes"]


def several_processes() -> bool:
    """Whether this run has a group of processes (`torch.distributed`), be it of one."""
    return distributed.is_available() and distributed.is_initialized()


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same everywhere; x itself without processes."""
    if not several_processes():
        return x
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(x)  # its gradient is summed over the processes, too


def count_steps(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Real time steps of a batch, over all processes.

    Parameters
    ----------
    x : Tensor
        Shape ``(batch, channels, length)``.
    lengths : Tensor, optional
        True lengths, integers of shape ``(batch,)``. Default: all steps are real.

    Returns
    -------
    Tensor
        A scalar, in the dtype that layers compute in.

    Raises
    ------
    ValueError
        If there are fewer than two, too few for a variance (checked on the CPU only).

    Examples
    --------
    >>> count_steps(torch.zeros(2, 3, 8), torch.tensor([5, 8]))
    tensor(13.)
    """
    dtype = inner_dtype(x)
    if lengths is None:
        steps = torch.full((), x.shape[0] * x.shape[-1], dtype=dtype, device=x.device)
    else:
        steps = lengths.sum().to(x.device, dtype)
    return check_steps(sum_over_processes(steps), "u must have" if lengths is None else None)


def check_steps(count: Tensor, whose: str | None = None) -> Tensor:
    """Return a number of time steps, a scalar, if it is enough for a variance.

    Raises
    ------
    ValueError
        If it is below two (checked on the CPU only).

    Examples
    --------
    >>> check_steps(torch.tensor(1.0))
    Traceback (most recent call last):
        ...
    ValueError: lengths must leave at least 2 time steps, got 1
    """
    if count.device.type == "cpu" and not torch.compiler.is_compiling() and count < 2:
        raise ValueError(f"{whose or 'lengths must leave'} at least 2 time steps, got {int(count)}")
    return count


@torch.no_grad()
def follow(norm: Any, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Let running statistics follow, by the rule of `torch.nn.BatchNorm1d`.

    Parameters
    ----------
    norm : Module
        With the buffers running_mean, running_var and num_batches_tracked, and a `momentum`.
    mean, variance : Tensor
        Of this batch; the variance biased, the running one is not.
    count : Tensor
        Time steps that they are of.
    """
    norm.num_batches_tracked += 1
    unbiased = variance * (count / (count - 1))
    for running, now in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.lerp_(now.to(running.dtype), norm.momentum)
