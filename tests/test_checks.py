"""Whole numbers, and what is said of everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrbook.checks import check_count
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


@pytest.mark.parametrize("size", ["channels", "kernel_size", "depth"])
def test_a_layer_refuses_sizes_that_are_no_integers(size: str) -> None:
    with pytest.raises(TypeError, match=f"{size} must be an integer, got 2.5"):
        MultiresConv(**{"channels": 3, "depth": 2, size: 2.5})


def test_one_answer_everywhere() -> None:
    with pytest.raises(TypeError, match=r"p must be an integer, got 2.5"):
        daubechies(2.5)  # type: ignore[arg-type]
