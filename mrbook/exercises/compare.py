"""Compare an answer with what was expected, and say in words how they differ."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch

__all__ = ["as_numpy", "difference", "name_type", "pattern", "show_value"]


def difference(expected: Any, got: Any, *, rtol: float, atol: float) -> str | None:
    """Say how `got` differs from `expected`, or return None where they agree.

    Type, shape and dtype must match exactly: nothing is broadcast or cast. Values may differ by
    ``atol + rtol * max|expected|``; `rtol` is raised to 1,000 times the precision of the dtype.

    Examples
    --------
    >>> difference(torch.ones(3), torch.ones(1, 3), rtol=0, atol=0)
    'the shape is (1, 3), expected (3,)'
    >>> difference(2, 2, rtol=0, atol=0) is None
    True
    """
    if isinstance(expected, torch.Tensor | np.ndarray):
        return _array_difference(expected, got, rtol, atol)
    if isinstance(expected, bool | np.bool_):
        got = _item(got)
        if not isinstance(got, bool | np.bool_):
            return f"expected True or False, got {name_type(got)}"
        return None if bool(got) == bool(expected) else f"{bool(got)} is not right"
    if isinstance(expected, numbers.Number):
        return _number_difference(expected, got, rtol, atol)
    if isinstance(expected, str):
        if not isinstance(got, str):
            return f"expected a text, got {name_type(got)}"
        same = got.strip().casefold() == expected.strip().casefold()
        return None if same else f"{got!r} is not right"
    if isinstance(expected, tuple | list):
        return _sequence_difference(expected, got, rtol, atol)
    if isinstance(expected, set | frozenset):
        if not isinstance(got, set | frozenset):
            return f"expected a set, got {name_type(got)}"
        return None if got == expected else "the sets differ"
    raise TypeError(f"a reference may not return {name_type(expected)}")


def pattern(expected: Any, got: Any) -> str:
    """Recognize a flipped sign, a reversed order, a shift or a constant factor, else return "".

    Examples
    --------
    >>> pattern(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]))
    'It is the right answer in reversed order.'
    >>> pattern(np.array([3.0, 0.0]), np.array([1.5, 0.0]))
    'It is 1/2 times the right answer.'
    """
    if isinstance(expected, tuple | list) and isinstance(got, tuple | list):
        if len(expected) != len(got) or not expected:
            return ""
        if all(isinstance(v, int | float) for v in (*expected, *got)):
            return pattern(np.asarray(expected, dtype=float), np.asarray(got, dtype=float))
        found = {pattern(e, g) for e, g in zip(expected, got, strict=True)}
        return found.pop() if len(found) == 1 else ""
    kinds = torch.Tensor | np.ndarray | float
    if not isinstance(expected, kinds) or not isinstance(got, kinds):
        return ""
    a, b = as_numpy(expected), as_numpy(got)
    if a.shape != b.shape or a.dtype.kind not in "fc" or b.dtype.kind not in "fc":
        return _shape_pattern(a, b)
    if not (np.isfinite(a).all() and np.isfinite(b).all() and a.any()):
        return ""
    near = 1e-4 * np.abs(a).max()

    def same(other: np.ndarray) -> bool:
        return bool(np.all(np.abs(other - b) <= near))

    if same(a):
        return ""
    if same(-a):
        return "It is the right answer with its sign flipped."
    if a.ndim and a.shape[-1] > 1 and same(a[..., ::-1]):
        return "It is the right answer in reversed order."
    if a.ndim and a.shape[-1] > 2:
        for step, words in ((1, "late"), (-1, "early")):
            if same(np.roll(a, step, axis=-1)):
                return f"It is the right answer one place too {words}, wrapped around."
    peak = np.unravel_index(np.argmax(np.abs(a)), a.shape)
    factor = b[peak] / a[peak]
    if a.size > 1 and np.isrealobj(factor) and factor != 0 and same(factor * a):
        return f"It is {_factor(float(factor))} times the right answer."
    return ""


def _shape_pattern(expected: np.ndarray, got: np.ndarray) -> str:
    if expected.shape == got.shape or expected.size != got.size:
        return ""
    if [n for n in expected.shape if n != 1] == [n for n in got.shape if n != 1]:
        return "An axis of length 1 is too many or missing; nothing is broadcast here."
    if expected.shape == got.shape[::-1]:
        return "The axes are in the other order."
    return ""


def show_value(value: Any, digits: int = 4) -> str:
    """Write a value on a few lines at most, with its shape and dtype where it has them.

    Examples
    --------
    >>> show_value(torch.tensor([1.0, 2.0])), show_value(np.zeros((0, 2)))
    ('tensor([1., 2.])', 'array(shape (0, 2), float64)')
    """
    if isinstance(value, torch.Tensor | np.ndarray):
        array = as_numpy(value)
        kind = "tensor" if isinstance(value, torch.Tensor) else "array"
        dtype = str(value.dtype).removeprefix("torch.")
        if array.size == 0:
            return f"{kind}(shape {array.shape}, {dtype})"
        body = np.array2string(
            array, precision=digits, suppress_small=True, threshold=24, edgeitems=4, separator=", "
        )
        plain = dtype in ("float32", "int64") if kind == "tensor" else dtype in ("float64", "int64")
        note = "" if plain else f", {dtype}"
        if array.size > 24:
            note = f", shape {tuple(array.shape)}{note}"
        return f"{kind}({body}{note})"
    if isinstance(value, tuple | list):
        inside = ", ".join(show_value(v, digits) for v in value[:12]) + (", …" * (len(value) > 12))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.{digits + 2}g}"
    if callable(value):
        return getattr(value, "__name__", name_type(value))
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"


def _array_difference(expected: Any, got: Any, rtol: float, atol: float) -> str | None:
    want = torch.Tensor if isinstance(expected, torch.Tensor) else np.ndarray
    if not isinstance(got, want):
        return f"expected {name_type(expected)}, got {name_type(got)}"
    shapes = tuple(expected.shape), tuple(got.shape)
    if shapes[0] != shapes[1]:
        return f"the shape is {shapes[1]}, expected {shapes[0]}"
    if expected.dtype != got.dtype:
        return f"the dtype is {got.dtype}, expected {expected.dtype}"
    a, b = as_numpy(expected), as_numpy(got)
    if a.size == 0:
        return None
    if not np.issubdtype(a.dtype, np.inexact):
        wrong = a != b
    else:
        nan = np.isnan(b) & ~np.isnan(a)
        if nan.any():
            return f"{int(nan.sum())} of {nan.size} values are NaN, the first at {_at(nan)}"
        finite = np.abs(a[np.isfinite(a)])
        near = atol + _relative(a.dtype, rtol) * float(finite.max(initial=0.0))
        with np.errstate(invalid="ignore"):
            wrong = ~((np.abs(a - b) <= near) | (a == b) | (np.isnan(a) & np.isnan(b)))
    if not wrong.any():
        return None
    if wrong.size == 1:
        return "the value differs"
    count = int(wrong.sum())
    verb = "differs" if count == 1 else "differ"
    return f"{count} of {wrong.size} values {verb}, the first at {_at(wrong)}"


def _number_difference(expected: Any, got: Any, rtol: float, atol: float) -> str | None:
    got = _item(got)
    if isinstance(got, bool | np.bool_) or not isinstance(got, numbers.Number):
        return f"expected a number, got {name_type(got)}"
    if got != got and expected == expected:
        return "the number is NaN"
    if isinstance(expected, numbers.Integral):
        if got != expected:
            return f"{show_value(got)} is not right"
        if not isinstance(got, numbers.Integral):
            return f"{got} has the right value, but a whole number (int) is expected: use // or int"
        return None
    if isinstance(got, complex) and not isinstance(expected, complex):
        return "expected a real number, got a complex one"
    a, b = np.asarray(expected), np.asarray(got)
    if a == b or (a != a and b != b):
        return None
    if np.isfinite(a) and abs(b - a) <= atol + _relative(b.dtype, rtol) * abs(expected):
        return None
    return f"{show_value(got)} is not right"


def _sequence_difference(expected: Any, got: Any, rtol: float, atol: float) -> str | None:
    scalars = all(isinstance(e, numbers.Number | str) for e in expected)
    if scalars and isinstance(got, torch.Tensor | np.ndarray):
        got = got.tolist()
    if not isinstance(got, tuple | list):
        return f"expected {name_type(expected)} of {len(expected)} items, got {name_type(got)}"
    if len(got) != len(expected):
        return f"{len(got)} items, expected {len(expected)}"
    for i, (a, b) in enumerate(zip(expected, got, strict=True)):
        problem = difference(a, b, rtol=rtol, atol=atol)
        if problem:
            return f"item {i}: {problem}"
    return None


def _factor(factor: float) -> str:
    for value, name in ((math.sqrt(2), "√2"), (math.sqrt(0.5), "1/√2"), (0.5, "1/2")):
        for sign, mark in ((1, ""), (-1, "-")):
            if math.isclose(factor, sign * value, rel_tol=1e-4):
                return mark + name
    return f"{factor:.4g}"


def _relative(dtype: np.dtype, rtol: float) -> float:
    if dtype.kind not in "fc":
        return rtol
    return max(rtol, 1000 * float(np.finfo(dtype).eps))


def as_numpy(value: Any) -> np.ndarray:
    """Return a tensor, array or number as an array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()
        return value.numpy()
    return np.asarray(value)


def _item(value: Any) -> Any:
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0:
        return value.item()
    return value


def _at(mask: np.ndarray) -> str:
    index = tuple(int(i) for i in np.argwhere(mask)[0])
    return f"index {index[0] if len(index) == 1 else index}"


def name_type(value: Any) -> str:
    """Name the type of a value with its article.

    >>> name_type([1]), name_type(np.ones(2)), name_type(torch.ones(1))
    ('a list', 'a NumPy array', 'a tensor')
    """
    if isinstance(value, torch.Tensor):
        return "a tensor"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    if callable(value):
        return "a function"
    names = {"str": "text", "int": "integer", "bool": "truth value", "NoneType": "None"}
    name = names.get(type(value).__name__, type(value).__name__)
    if value is None:
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
