"""Numbers and tensors, and what is said of everything else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mrbook.checks import check_count, check_number, check_tensors
from mrbook.filters import daubechies
from mrbook.multires import MultiresConv


@pytest.mark.parametrize("value", [3, np.int32(3), torch.tensor(3)])
def test_every_kind_of_integer_becomes_an_int(value: Any) -> None:
    checked = check_count(value, "n", 3, 3)
    assert type(checked) is int and checked == 3


@pytest.mark.parametrize("value", [2.0, "2", None, True, [2], torch.tensor(2.0)])
def test_nothing_else_counts(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^n must be an integer, got "):
        check_count(value, "n")


def test_bounds_belong_to_the_range_and_are_named() -> None:
    assert [check_count(n, "n", 0, 2) for n in (0, 1, 2)] == [0, 1, 2]
    for n in (-1, 3):
        with pytest.raises(ValueError, match=rf"^n must be from 0 to 2, got {n}$"):
            check_count(n, "n", 0, 2)
    with pytest.raises(ValueError, match=r"^n must be at least 1, got 0$"):
        check_count(0, "n")


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3)])
def test_every_kind_of_number_becomes_a_float(value: Any) -> None:
    checked = check_number(value, "x", 3, 3)
    assert type(checked) is float and checked == 3


@pytest.mark.parametrize("value", ["2", None, True, [2.0], 1j, np.ones(1), torch.tensor(2.0)])
def test_nothing_else_is_a_number(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^x must be a number, got "):
        check_number(value, "x")


@pytest.mark.parametrize(
    ("bounds", "ends", "good", "bad", "text"),
    [
        ((0, 1), "[]", (0, 1), (-0.1, 1.1), "at least 0 and at most 1"),
        ((0, 1), "()", (0.5,), (0, 1), "above 0 and below 1"),
        ((0, 1), "(]", (1,), (0, 1.1), "above 0 and at most 1"),
        ((0, 1), "[)", (0,), (-0.1, 1), "at least 0 and below 1"),
        ((0,), "(]", (1e-300, 1e300), (0, -1), "above 0 and finite"),
        ((), "[]", (-1e300, 0), (), "finite"),
        ((-math.inf, 1), "[]", (-1e300,), (1.1,), "at most 1 and finite"),
    ],
)
def test_ends_of_an_interval(
    bounds: tuple[float, ...], ends: str, good: tuple, bad: tuple, text: str
) -> None:
    assert [check_number(x, "x", *bounds, ends=ends) for x in good] == list(good)
    for x in (*bad, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match=rf"^x must be {text}, got {x}$"):
            check_number(x, "x", *bounds, ends=ends)


def test_tuples_of_tensors() -> None:
    pair = torch.zeros(2), torch.ones(3)
    assert check_tensors(pair, "state", 2) is pair
    for value in (None, [*pair], pair[0], (pair[0], None)):
        with pytest.raises(TypeError, match=r"^state must be a tuple of tensors, got "):
            check_tensors(value, "state", 2)
    for value in ((), pair[:1], (*pair, *pair)):
        with pytest.raises(ValueError, match=rf"^state must have 2 tensors, got {len(value)}$"):
            check_tensors(value, "state", 2)


@pytest.mark.parametrize("size", ["channels", "kernel_size", "depth"])
def test_a_layer_refuses_sizes_that_are_no_integers(size: str) -> None:
    with pytest.raises(TypeError, match=f"{size} must be an integer, got 2.5"):
        MultiresConv(**{"channels": 3, "depth": 2, size: 2.5})


def test_one_answer_everywhere() -> None:
    with pytest.raises(TypeError, match=r"p must be an integer, got 2.5"):
        daubechies(2.5)  # type: ignore[arg-type]
