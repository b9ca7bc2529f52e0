"""One run in one process or in many, started by ``torchrun``: who takes what, and sums over all."""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from mrbook.train.device import usable_device

__all__ = ["join", "rank", "share", "sum_over_processes", "world"]


def world() -> int:
    """Number of processes of this run."""
    return distributed.get_world_size() if _several() else 1


def rank() -> int:
    """Number of this process, 0 if it is the only one."""
    return distributed.get_rank() if _several() else 0


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextlib.contextmanager
def join(device: str | None = None) -> Iterator[str]:
    """Join the other processes where ``torchrun`` started this one, and leave them at the end.

    Parameters
    ----------
    device : str, optional
        As the user gave it. Default: `best_device`, of several processes CUDA or the CPU.

    Yields
    ------
    str
        The device of this process: with CUDA and several processes one GPU each.

    Raises
    ------
    ValueError
        If the device can't be used here, or there are too few GPUs; all processes of a machine
        raise it.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield usable_device(device)
        return
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.split(":")[0] == "cuda"
    if cuda:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if (count := torch.cuda.device_count()) < processes:
            raise ValueError(
                f"device {device!r} can't be used here: {processes} processes need a GPU each, "
                f"there are {count}"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    device = usable_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def share(index: Tensor, rank: int, world: int) -> tuple[Tensor, int]:
    """This process's part of a batch.

    Parameters
    ----------
    index : Tensor
        Examples of the whole batch, at least one.
    rank, world : int
        Number of this process, and how many there are.

    Returns
    -------
    part : Tensor
        Examples to compute, at least one.
    real : int
        How many of them count: 0 where a small batch leaves nothing for this process, which then
        computes one example for nothing, since all processes must take part.

    Examples
    --------
    >>> share(torch.tensor([5, 6, 7]), 1, 2), share(torch.tensor([5]), 1, 2)
    ((tensor([6]), 1), (tensor([5]), 0))
    """
    part = index[rank::world]
    return (part, len(part)) if len(part) else (index[:1], 0)


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over all processes; the same everywhere."""
    if _several():
        distributed.all_reduce(values)
    return values
