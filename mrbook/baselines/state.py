"""The state that a step hands to the next: its check."""

from torch import Tensor

from mrbook.checks import check_tensors

__all__ = ["check_state"]


def check_state(
    state: tuple[Tensor, ...], count: int, shape: tuple[int, ...], like: Tensor
) -> tuple[Tensor, ...]:
    """Return the tensors of a state that are all alike, or say what is wrong with them.

    Parameters
    ----------
    state : tuple of Tensor
        What was given.
    count : int
        How many tensors it has.
    shape : tuple of int
        Of each of them.
    like : Tensor
        One that has their dtype and device.

    Raises
    ------
    TypeError
        If it is not a tuple of tensors.
    ValueError
        If their number, a shape, a dtype or a device is wrong.

    Examples
    --------
    >>> import torch
    >>> check_state((torch.zeros(2, 3),), 1, (4, 3), torch.zeros(1))
    Traceback (most recent call last):
        ...
    ValueError: state must have tensors of shape (4, 3) for this layer and batch, got (2, 3)
    """
    for x in check_tensors(state, "state", count):
        if x.shape != shape:
            raise ValueError(
                f"state must have tensors of shape {shape} for this layer and batch, "
                f"got {tuple(x.shape)}"
            )
        if x.dtype != like.dtype:
            raise ValueError(f"state must be of {like.dtype}, got {x.dtype}")
        if x.device != like.device:
            raise ValueError(f"state must be on {like.device}, got {x.device}")
    return state
