"""How signals go on beyond their ends, against `pywt.pad`."""

import numpy as np
import pytest
import pywt
import torch
from torch.autograd import gradcheck

from mrbook.boundary import MODES, extend


@pytest.mark.parametrize("mode", MODES)
def test_signals_go_on_as_in_pywavelets(mode: str) -> None:
    draw = np.random.default_rng(0)
    for length in range(1, 9):
        if length == 1 and mode in ("reflect", "antireflect", "smooth"):
            continue
        for left, right in [(1, 2), (3, 1), (1, 7), (20, 33)]:  # pywt.pad trips over 0
            x = draw.standard_normal(length)
            # pywt.pad puts the repeated last sample of an odd length beside those asked for.
            extra = length % 2 if mode == "periodization" else 0
            theirs = pywt.pad(x, (left, right), mode)
            ours = extend(torch.from_numpy(x), left, right + extra, mode)
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_extensions_have_gradients(mode: str) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 5))).requires_grad_()
    assert gradcheck(lambda x: extend(x, 7, 12, mode), x)


@pytest.mark.parametrize("mode", ["reflect", "antireflect"])
def test_a_mirror_on_the_last_sample_needs_two(mode: str) -> None:
    with pytest.raises(ValueError, match=f"'{mode}' needs at least 2 samples, got 1"):
        extend(torch.ones(3, 1), 2, 2, mode)


def test_an_unknown_mode_lists_the_nine() -> None:
    with pytest.raises(ValueError, match="'mirror'") as error:
        extend(torch.ones(4), 1, 1, "mirror")
    assert all(mode in str(error.value) for mode in MODES)


def test_far_ends_stay_apart() -> None:
    """A huge value at one end must not cost digits at the other."""
    x = torch.tensor([1.0, 2.0, 4.0, 1e17], dtype=torch.float64)
    assert extend(x, 3, 0, "antireflect")[1:3].tolist() == [-2.0, 0.0]
