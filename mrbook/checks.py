"""Checks of arguments that many modules share."""

import math
from numbers import Real
from operator import index
from typing import Any

from torch import Tensor

__all__ = ["check_count", "check_number", "check_tensors"]


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


def check_number(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, *, ends: str = "[]"
) -> float:
    """Return a finite number, or say what is wrong with it.

    Parameters
    ----------
    value : float
        What was given; integers and NumPy's numbers count, truth values and strings do not.
    name : str
        What messages call it.
    low, high : float, optional
        Bounds.
    ends : {"[]", "(]", "[)", "()"}
        Which of the bounds is allowed itself, as intervals are written.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is out of bounds, infinite or NaN.

    Examples
    --------
    >>> check_number(1, "lr", 0, ends="(]")
    1.0
    >>> check_number(1, "dropout", 0, 1, ends="[)")
    Traceback (most recent call last):
        ...
    ValueError: dropout must be at least 0 and below 1, got 1
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    above = number >= low if ends[0] == "[" else number > low
    below = number <= high if ends[1] == "]" else number < high
    if not (above and below and math.isfinite(number)):
        bounds = [
            f"{'at least' if ends[0] == '[' else 'above'} {low}" if low > -math.inf else "",
            f"{'at most' if ends[1] == ']' else 'below'} {high}" if high < math.inf else "",
            "" if math.isfinite(high - low) else "finite",
        ]
        raise ValueError(f"{name} must be {' and '.join(filter(None, bounds))}, got {value}")
    return number


def check_tensors(value: Any, name: str, count: int) -> tuple[Tensor, ...]:
    """Return a tuple of so many tensors, or say what is wrong with it.

    Parameters
    ----------
    value : tuple of Tensor
        What was given.
    name : str
        What messages call it.
    count : int
        How many tensors it must have.

    Raises
    ------
    TypeError
        If it is not a tuple of tensors.
    ValueError
        If their number is wrong.

    Examples
    --------
    >>> check_tensors((), "state", 2)
    Traceback (most recent call last):
        ...
    ValueError: state must have 2 tensors, got 0
    """
    if not isinstance(value, tuple) or not all(isinstance(x, Tensor) for x in value):
        raise TypeError(f"{name} must be a tuple of tensors, got {type(value).__name__}")
    if len(value) != count:
        raise ValueError(f"{name} must have {count} tensors, got {len(value)}")
    return value
