"""Checks of arguments that many modules share."""

from operator import index
from typing import Any

__all__ = ["check_count"]


def check_count(value: Any, name: str, low: int = 1, high: int | None = None) -> int:
    """Return a whole number, or say what is wrong with it.

    Parameters
    ----------
    value : int
        What was given; NumPy's integers and tensors of one integer count, truth values do not.
    name : str
        What messages call it.
    low, high : int, optional
        The least and the largest value allowed.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is out of bounds.

    Examples
    --------
    >>> check_count(3, "depth")
    3
    >>> check_count(0, "depth", high=30)
    Traceback (most recent call last):
        ...
    ValueError: depth must be from 1 to 30, got 0
    """
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if number < low or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {bounds}, got {number}")
    return number
