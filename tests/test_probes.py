"""The three probes: their kernels, their data, and who can learn them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mrbook.comparison import PROBES, ProbeNet, probe_data, probe_kernel, train_probe
from mrbook.comparison.probes import relative_error


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", PROBES)
def test_kernels_have_unit_norm(name: str) -> None:
    for length in (600, 1024):
        k = probe_kernel(name, length)
        assert k.shape == (length,) and k.dtype == torch.float32
        assert float(k.norm()) == pytest.approx(1, abs=1e-6)


def test_kernels_are_what_they_are_called() -> None:
    k = probe_kernel("five-minus-six", 16)
    assert k.nonzero().flatten().tolist() == [5, 6] and float(k.sum()) == 0 and k[5] > 0
    assert probe_kernel("echo", 1024).nonzero().flatten().tolist() == [500]
    k = probe_kernel("slow-exponential", 1024)
    assert torch.allclose(k[1:] / k[:-1], torch.tensor(math.exp(-1 / 200)), atol=1e-6)


def test_data_are_noise_and_its_convolution() -> None:
    x, y = probe_data("slow-exponential", 3, 256, seeded(0))
    assert x.shape == y.shape == (3, 256) and x.dtype == y.dtype == torch.float32
    k = probe_kernel("slow-exponential", 256)
    decay = float(k[1] / k[0])
    averages = [torch.zeros(3)]
    for u in x.T:  # a recurrence of one number
        averages.append(decay * averages[-1] + k[0] * u)
    assert torch.allclose(y, torch.stack(averages[1:], 1), atol=1e-5)
    assert abs(float(x.mean())) < 4 / x.numel() ** 0.5 and float(x.std()) == pytest.approx(1, 0.1)
    again, other = (probe_data("slow-exponential", 3, 256, seeded(seed)) for seed in (0, 1))
    assert torch.equal(again[1], y) and not torch.equal(other[0], x)


def test_noise_is_added_to_the_targets_alone() -> None:
    x, y = probe_data("five-minus-six", 64, 512, seeded(0), noise=0.5)
    clean_x, clean = probe_data("five-minus-six", 64, 512, seeded(0))
    assert torch.equal(x, clean_x)
    rest = y - clean
    assert float(rest.std()) == pytest.approx(0.5, rel=0.02)
    assert abs(float(rest.mean())) < 0.02


def test_errors_are_relative() -> None:
    x, y = probe_data("echo", 4, 600, seeded(0))
    assert relative_error(torch.zeros_like, x, y) == 1
    assert relative_error(lambda x: y, x, y) == 0
    assert relative_error(lambda x: 0.5 * y, x, y) == pytest.approx(0.25)


def train(name: str, options: dict[str, object], probe: str, width: int, **sizes: int) -> float:
    torch.manual_seed(0)
    network = ProbeNet(name, width, 32, options)
    x, y = probe_data(probe, 16, 32, seeded(0))
    train_probe(network, x, y, lr=0.03, steps=150, batch=8)
    assert not network.training
    return relative_error(network, *probe_data(probe, 16, 32, seeded(1)))


def test_two_shared_taps_cannot_tell_five_from_six_and_others_can() -> None:
    assert train("multires", {}, "five-minus-six", 16) > 0.9
    assert train("multires", {"tie_levels": False}, "five-minus-six", 16) < 0.05
    assert train("multires", {"kernel_size": 4}, "five-minus-six", 16) < 0.05


def test_a_run_is_reproduced_by_its_seed() -> None:
    x, y = probe_data("five-minus-six", 4, 32, seeded(0))

    def run(seed: int) -> nn.Module:
        torch.manual_seed(1)
        network = ProbeNet("multires", 4, 32)
        train_probe(network, x, y, lr=0.01, steps=5, batch=2, seed=seed)
        return network

    a, b, c = (run(seed).join.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_bad_names_and_sizes_say_so() -> None:
    with pytest.raises(ValueError, match=r"probe must be one of five-minus-six, .*, got 'six'"):
        probe_kernel("six", 8)
    with pytest.raises(ValueError, match="length must reach the lags of echo, got 500"):
        probe_kernel("echo", 500)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        x, y = probe_data("five-minus-six", 2, 16, seeded(0))
        train_probe(ProbeNet("multires", 2, 16), x, y, lr=0.1, steps=0, batch=1)
    with pytest.raises(ValueError, match="x and y must be as many, got 2 and 1 sequences"):
        train_probe(ProbeNet("multires", 2, 16), x, y[:1], lr=0.1, steps=1, batch=1)
