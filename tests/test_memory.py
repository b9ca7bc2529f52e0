"""Wavelet memories against PyWavelets and dilated convolutions; the memories beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mrbook.filters import Wavelet, as_wavelet
from mrbook.memory import (
    AnchoredMemory,
    Band,
    ExponentialMemory,
    LegendreMemory,
    SlidingWindow,
    Stream,
    WaveletMemory,
    hippo_legs,
    tree_depth,
)
from mrbook.multires import multires_conv, uniform_memory

WAVELETS = ["haar", "db2", "db3", "db7", "sym4", "coif1"]
# PyWavelets' "dmey" is cut from an infinite filter and reconstructs to 4.5e-3 only.
ORTHOGONAL = [
    name
    for name in pywt.wavelist(kind="discrete")
    if pywt.Wavelet(name).orthogonal and name != "dmey"
]


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def pywt_bands(x: np.ndarray, wavelet: str, depth: int) -> list[np.ndarray]:
    """PyWavelets' wavedec in zero mode; level by level, as wavedec warns of deep trees."""
    a, bands = x, []
    for _ in range(depth):
        a, b = pywt.dwt(a, wavelet, "zero", axis=-1)
        bands.insert(0, b)
    return [a, *bands]


def padded(x: np.ndarray, depth: int) -> np.ndarray:
    """Zeros in front, to a multiple of ``2**depth``."""
    return np.pad(x, (-len(x) % 2**depth, 0))


def tree(x: Tensor, wavelet: str, depth: int) -> Tensor:
    """What MultiresConv weights at every time, ``(..., time, depth + 1)``: dilated convolutions."""
    taps = pywt.Wavelet(wavelet)
    h0, h1 = (torch.tensor(h[::-1], dtype=x.dtype)[None, None] for h in taps.filter_bank[:2])
    a, bands = x.reshape(-1, 1, x.shape[-1]), []
    for level in range(depth):
        a = F.pad(a, ((taps.dec_len - 1) << level, 0))
        bands.insert(0, F.conv1d(a, h1, dilation=1 << level))
        a = F.conv1d(a, h0, dilation=1 << level)
    return torch.cat([a, *bands], 1).mT.reshape(*x.shape, depth + 1)


def bands_of(memory: AnchoredMemory) -> list[Band]:
    """Bands in PyWavelets' order, the coarsest first."""
    return [memory.approximation, *reversed(memory.details.values())]


def sizes(memory: AnchoredMemory) -> list[int]:
    return [band.values.shape[-1] for band in bands_of(memory)]


# ------------------------------------------------------------------------ the memory at time t


def test_depth_is_the_published_formula() -> None:
    for taps in (2, 3, 4, 8):
        for length in range(2, 600):
            assert tree_depth(length, taps) == np.ceil(np.log2((length - 1) / (taps - 1) + 1))
    assert tree_depth(1, 4) == 1


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_unforgotten_is_pywavelets_at_every_t(wavelet: str) -> None:
    x = noise(300)
    for t in range(300):
        memory = AnchoredMemory(x[: t + 1], wavelet, keep="all")
        history = padded(x[: t + 1].numpy(), memory.depth)
        bands = pywt_bands(history, wavelet, memory.depth)
        for got, expected in zip(memory.coefficients(), bands, strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_complete_coefficients_do_not_depend_on_the_future(wavelet: str) -> None:
    x, depth = noise(300), 4
    for t in range(0, 299, 7):
        memory = AnchoredMemory(x[: t + 1], wavelet, depth=depth, keep="all", straddling=False)
        future = padded(x[: t + 1].numpy(), depth)
        future = np.concatenate([future, noise(2**10, seed=t + 1).numpy()])
        bands = pywt_bands(future, wavelet, depth)
        complete = (len(future) - 2**10) >> np.array([depth, *range(depth, 0, -1)])
        kept = bands_of(memory)
        assert [band.stop for band in kept] == complete.tolist()
        for band, expected in zip(kept, bands, strict=True):
            got = band.dense(0, band.stop)
            np.testing.assert_allclose(got, expected[: band.stop], rtol=0, atol=1e-12)
        # ... and those are all: without a future, the next one would be another.
        if wavelet != "haar":
            tail = AnchoredMemory(x[: t + 1], wavelet, depth=depth, keep="all").details[1]
            n = memory.details[1].stop
            assert abs(tail.values[n - tail.first] - bands[-1][n]) > 1e-6


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("depth", [1, 9])
def test_newest_are_what_the_tree_weights(wavelet: str, depth: int) -> None:
    x = noise(2, 300)
    expected = tree(x, wavelet, depth)
    for t in range(300):
        memory = AnchoredMemory(x[:, : t + 1], wavelet, depth=depth, straddling=False)
        torch.testing.assert_close(memory.newest, expected[:, t], rtol=0, atol=1e-12)
        kept = bands_of(memory)
        stored = torch.cat([band.values for band in kept], -1)
        torch.testing.assert_close(stored, memory.newest, rtol=0, atol=0)


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("plan", ["fading", "uniform"])
def test_newest_are_what_multires_weights(wavelet: str, plan: str) -> None:
    depth, x, taps = 5, noise(300), as_wavelet(wavelet)
    kept = (1,) * depth
    if plan == "uniform":
        kept = uniform_memory(30, depth, taps.dec_len)
    # One channel for each weight of the layer, all others zero; the last one is of the input.
    w = torch.eye(2 + sum(kept), dtype=x.dtype)
    h0, h1 = (h.flip(0).expand(len(w), 1, -1) for h in (taps.dec_lo, taps.dec_hi))
    weighted = multires_conv(x.expand(1, len(w), -1), h0, h1, w, kept)[0, :-1]
    for t in range(0, 300, 7):
        memory = AnchoredMemory(x[: t + 1], wavelet, depth=depth, keep="all", straddling=False)
        a, *details = bands_of(memory)
        expected = [a.values[-1:]]
        for band, count in zip(details, kept, strict=True):
            expected.append(band.dense(band.stop - count, band.stop).flip(0))  # newest first
        torch.testing.assert_close(weighted[:, t], torch.cat(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_unforgotten_recalls_everything(name: str) -> None:
    for length, depth in [(1, None), (2, None), (77, None), (300, None), (300, 3), (50, 40)]:
        x = noise(2, 3, length)
        memory = AnchoredMemory(x, name, depth=depth, keep="all")
        torch.testing.assert_close(memory.recall(), x, rtol=0, atol=1e-9)


def test_deep_trees_cost_no_more_than_the_history() -> None:
    memory = AnchoredMemory(noise(10), "db2", depth=60, keep="all")
    assert memory.size < 10 + 60 * 4


@pytest.mark.parametrize("length", [8, 256, 100])
def test_haar_fading_memory_is_block_means(length: int) -> None:
    x = noise(length)
    newest_first = F.pad(x.flip(0), (0, 256 - length))
    means, start = torch.zeros(256, dtype=x.dtype), 0
    for block in [1, 1, 2, 4, 8, 16, 32, 64, 128]:
        means[start : start + block] = newest_first[start : start + block].mean()
        start += block
    recalled = AnchoredMemory(x, "haar", depth=8).recall()
    torch.testing.assert_close(recalled.flip(0), means[:length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_forgetting_leaves_the_newest_and_projects(wavelet: str) -> None:
    x, depth = noise(200), 5
    full = AnchoredMemory(x, wavelet, depth=depth, keep="all", straddling=False)

    def schedule(level: int) -> int:
        return 2 * level - 2  # drops level 1 altogether

    for keep in (3, schedule):
        memory = AnchoredMemory(x, wavelet, depth=depth, keep=keep, straddling=False)
        for level in range(1, depth + 1):
            c = keep if isinstance(keep, int) else keep(level)
            got, whole = memory.details[level], full.details[level]
            c = min(c, whole.values.shape[-1])
            assert (got.stop, got.values.shape[-1]) == (whole.stop, c)
            torch.testing.assert_close(got.values, whole.values[whole.values.shape[-1] - c :])
        dense = [c.numpy() for c in memory.coefficients()]
        # As in the talk: set the coefficients below f(j) to zero, transform back.
        a = dense[0]
        for b in dense[1:]:
            a = pywt.idwt(a[: len(b)], b, wavelet, "zero")
        expected = a[:224][-200:]
        np.testing.assert_allclose(memory.recall(), expected, rtol=0, atol=1e-12)
        for s in (0, 1, 57, 198, 199):
            assert memory.recall(s) == pytest.approx(float(expected[s]), abs=1e-12)


def test_straddling_coefficients_are_kept_on_top() -> None:
    x = noise(256)
    for wavelet, taps in (("haar", 2), ("db2", 4), ("db4", 8)):
        bare = AnchoredMemory(x, wavelet, depth=8, keep=1, straddling=False)
        memory = AnchoredMemory(x, wavelet, depth=8, keep=1)
        assert bare.size == 9
        counts = [n - 1 for n in sizes(memory)[:0:-1]]
        expected, tail = [], 0
        for _ in range(8):
            tail = (tail + taps - 1) // 2
            expected.append(tail)
        assert counts == expected
        assert memory.size == 9 + sum(counts) + counts[-1]
        # They are what recalls the newest value.
        assert memory.recall(255) == pytest.approx(float(x[255]), abs=1e-9)
        if taps > 2:
            assert abs(bare.recall(255) - x[255]) > 0.1


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4"])
@pytest.mark.parametrize("straddling", [True, False])
def test_sizes_are_met_exactly(wavelet: str, straddling: bool) -> None:
    x, depth = noise(200), 4
    full = AnchoredMemory(x, wavelet, depth=depth, keep="all", straddling=straddling)
    lengths = sizes(full)
    for size in (1, 4, 5, 9, 40, 100, full.size, 10_000):
        uniform = AnchoredMemory(
            x, wavelet, depth=depth, keep="uniform", size=size, straddling=straddling
        )
        fading = AnchoredMemory(x, wavelet, depth=depth, size=size, straddling=straddling)
        assert uniform.size == fading.size == min(size, full.size)
        # Uniform: whole bands from the coarsest on, one cut, nothing after it.
        kept = sizes(uniform)
        before = np.cumsum([0, *lengths[:-1]])
        assert kept == np.clip(size - before, 0, lengths).tolist()
        # Fading: no band has two more than another, unless it has no more.
        kept = sizes(fading)
        most = max(kept)
        assert all(k >= min(n, most - 1) for k, n in zip(kept, lengths, strict=True))
    everything = AnchoredMemory(x, wavelet, depth=depth, keep="uniform", size=10_000)
    torch.testing.assert_close(everything.recall(), x, rtol=0, atol=1e-9)


def test_sized_bands_start_at_the_newest_complete_coefficient() -> None:
    memory = AnchoredMemory(noise(64), "db4", depth=1, keep="uniform", size=5)
    # Coefficient 31 is the newest complete one, 32 to 34 straddle, then come older ones.
    assert (memory.approximation.first, memory.approximation.stop) == (30, 35)
    small = AnchoredMemory(noise(64), "db4", depth=1, keep="uniform", size=3).approximation
    assert (small.first, small.stop) == (31, 34)
    assert AnchoredMemory(noise(64), "db4", depth=1, keep=0).size == 0


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_batches_channels_and_dtypes(dtype: torch.dtype, tolerance: float) -> None:
    x = noise(2, 3, 90, dtype=dtype)
    memory = AnchoredMemory(x, "db3", keep=2)
    stream = WaveletMemory("db3", keep=2).extend(x)
    for m in (memory, stream):
        recalled = m.recall()
        assert recalled.shape == x.shape and recalled.dtype == dtype
        assert m.recall(40).shape == (2, 3) and m.recall(40).dtype == dtype
        torch.testing.assert_close(m.recall(40), recalled[..., 40], rtol=0, atol=tolerance)
    for b in range(2):
        for d in range(3):
            one = AnchoredMemory(x[b, d].double(), "db3", keep=2).recall()
            torch.testing.assert_close(memory.recall()[b, d].double(), one, rtol=0, atol=tolerance)
            alone = WaveletMemory("db3", keep=2).extend(x[b, d].double()).recall()
            got = stream.recall()[b, d].double()
            torch.testing.assert_close(got, alone, rtol=0, atol=tolerance)
    assert memory.newest.shape == (2, 3, memory.depth + 1)


def test_a_wavelet_of_your_own_and_gradients() -> None:
    taps = as_wavelet("db2").rec_lo.clone().requires_grad_()
    x = noise(40).requires_grad_()
    for anchored in (True, False):
        learned = Wavelet.from_scaling_filter(taps, tolerance=float("inf"))
        memory = AnchoredMemory(x, learned) if anchored else WaveletMemory(learned).extend(x)
        grads = torch.autograd.grad(memory.recall().square().sum(), (x, taps))
        assert all(g.abs().max() > 1e-3 for g in grads)


# ------------------------------------------------------------------------------- the stream


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_stream_equals_pywavelets_at_every_t(wavelet: str) -> None:
    x = noise(2, 100)
    memory = WaveletMemory(wavelet, keep="all")
    fading = WaveletMemory(wavelet, keep=3)
    uneven = WaveletMemory(wavelet, keep=lambda level: level - 1)
    for t in range(100):
        for stream in (memory, fading, uneven):
            stream.write(x[:, t])
        levels = (t + 1).bit_length() - 1
        assert list(memory.details) == list(range(1, levels + 1))
        a = x[:, : t + 1].numpy()
        for level in range(levels + 1):
            count = (t + 1) >> level  # those whose support ends at or before t
            approximation = memory.approximations[level]
            assert approximation.stop == count
            expected = a[:, approximation.first : count]
            np.testing.assert_allclose(approximation.values, expected, rtol=0, atol=1e-12)
            if level == levels:
                break
            a, b = pywt.dwt(a, wavelet, "zero", axis=-1)
            for stream, c in ((memory, count), (fading, 3), (uneven, level)):
                band = stream.details[level + 1]
                assert band.stop == count // 2
                assert band.first == max(0, count // 2 - c)
                expected = b[:, band.first : count // 2]
                np.testing.assert_allclose(band.values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wavelet", [*WAVELETS, "bior2.2"])
def test_unforgotten_stream_recalls_everything(wavelet: str) -> None:
    x = noise(100)
    memory = WaveletMemory(wavelet, keep="all")
    for t in range(100):
        memory.write(x[t])
        torch.testing.assert_close(memory.recall(), x[: t + 1], rtol=0, atol=1e-9)
        s = t * 7 % (t + 1)
        assert memory.recall(s) == pytest.approx(float(x[s]), abs=1e-9)


def test_haar_stream_keeps_every_number_once() -> None:
    memory = WaveletMemory("haar", keep="all")
    for t in range(100):
        memory.write(noise(1, seed=t)[0])
        assert memory.size == t + 1


def test_stream_of_fixed_depth_keeps_a_constant_number() -> None:
    x = noise(1 << 10)
    memory = WaveletMemory("db2", keep=5, depth=3)
    sizes = {memory.extend(x[t : t + 8]).size for t in range(0, 1 << 10, 8)}
    assert max(sizes) == 3 * (5 + 2) + 5 and memory.size == max(sizes)
    expected = pywt_bands(x.numpy(), "db2", 3)[0][(1 << 7) - 5 : 1 << 7]
    np.testing.assert_allclose(memory.approximations[3].values, expected, rtol=0, atol=1e-12)
    everything = WaveletMemory("db2", keep="all", depth=3).extend(x)
    torch.testing.assert_close(everything.recall(), x, rtol=0, atol=1e-9)


class Work(TorchDispatchMode):
    """Counts multiplications in matrix products, and all numbers that operations put out."""

    def __init__(self) -> None:
        super().__init__()
        self.multiplications = self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name in ("aten::mm", "aten::mv", "aten::dot", "aten::bmm"):
            self.multiplications += out.numel() * args[0].shape[-1]
        outs = out if isinstance(out, (tuple, list)) else (out,)
        self.numbers += sum(o.numel() for o in outs if isinstance(o, Tensor))
        return out


def stored(value: object, seen: set[int]) -> int:
    """Numbers in all memory that the tensors reachable from here hold on to."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        new = storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        return new * storage.nbytes() // value.element_size()
    if isinstance(value, dict):
        return sum(stored(v, seen) for v in value.values())
    if isinstance(value, (list, tuple, deque)):
        return sum(stored(v, seen) for v in value)
    return 0


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db8"])
@pytest.mark.parametrize("keep", [1, 40])
def test_work_and_numbers_of_the_stream(wavelet: str, keep: int) -> None:
    taps = pywt.Wavelet(wavelet).dec_len
    values = [v.clone() for v in noise(4096)]
    memory = WaveletMemory(wavelet, keep=keep)
    memory.write(values[0])  # readies the filters
    with Work() as work:
        for t in range(1, 4096):
            memory.write(values[t])
            if t & (t + 1) == 0:
                assert work.multiplications <= 2 * taps * (t + 1)
                assert work.numbers <= 6 * taps * (t + 1)
            # Per level: c details, and of the approximation what the next coefficient needs.
            assert memory.size <= (keep + taps - 1) * ((t + 1).bit_length())
    assert work.multiplications >= 1.9 * taps * 4096  # the counter sees them
    filters = 2 * taps
    assert stored(vars(memory), set()) == memory.size + filters
    # ... and c = 1 of Haar is a binary counter beside the details.
    if (wavelet, keep) == ("haar", 1):
        assert memory.size == 12 + 1


def test_what_is_forgotten_is_gone() -> None:
    memory = AnchoredMemory(noise(3, 500), "db2", keep=2)
    kept = [memory.approximation.values, *(band.values for band in memory.details.values())]
    assert stored(kept, set()) == 3 * memory.size


@pytest.mark.parametrize("length", [1, 2, 3])
def test_recalled_values_are_a_copy(length: int) -> None:
    x = noise(length)
    for memory in (
        AnchoredMemory(x, keep="all"),
        *(stream.extend(x) for stream in (WaveletMemory(), SlidingWindow(5), LegendreMemory(5))),
    ):
        memory.recall().fill_(1e3)
        memory.recall(length - 1).fill_(1e3)
        torch.testing.assert_close(memory.recall(), x)


def test_streams_hold_no_view_of_the_signal() -> None:
    x = noise(500)
    for memory in (WaveletMemory("db2"), SlidingWindow(5), LegendreMemory(4)):
        memory.extend(x)
        assert stored(vars(memory), set()) < 100
        kept = memory.recall()
        x_t = x[-1].clone()
        memory.write(x_t)
        before = memory.recall(500).clone()
        x_t.fill_(1e3)
        assert memory.recall(500) == before
        assert torch.isfinite(kept).all()


# ----------------------------------------------------------------------- memories to compare


def test_sliding_window() -> None:
    x = noise(3, 20)
    memory = SlidingWindow(7)
    for t in range(20):
        memory.write(x[:, t])
        expected = x[:, : t + 1].clone()
        expected[:, : max(0, t - 6)] = 0
        torch.testing.assert_close(memory.recall(), expected, rtol=0, atol=0)
        assert memory.size == min(7, t + 1)


@pytest.mark.parametrize("length", [3, 50, 300])
def test_exponential_memory_is_the_orthogonal_projection(length: int) -> None:
    x = noise(2, length)
    memory = ExponentialMemory([1.5, 6.0, 30.0, 100.0]).extend(x)
    rates = np.exp(-1 / np.array([1.5, 6.0, 30.0, 100.0]))
    weights = (1 - rates) * rates ** np.arange(length)[::-1, None]
    expected = x.numpy() @ weights @ np.linalg.pinv(weights)
    np.testing.assert_allclose(memory.recall(), expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(memory.recall(1), expected[:, 1], rtol=0, atol=1e-8)
    assert memory.size == 4


def test_many_exponentials_are_harmless() -> None:
    for dtype in (torch.float32, torch.float64):
        x = noise(300, dtype=dtype)
        error = (ExponentialMemory.spread(64, 256.0).extend(x).recall() - x).square().mean()
        assert error < 1.01 * x.square().mean()  # no worse than forgetting all


@pytest.mark.parametrize("order", [1, 2, 5, 9, 32])
@pytest.mark.parametrize("length", [1, 4, 33, 400])
def test_legendre_reproduces_polynomials_below_its_order(order: int, length: int) -> None:
    s = torch.linspace(-1, 1, length, dtype=torch.float64)
    degrees = torch.arange(order)
    x = (noise(3, order, 1) * torch.special.legendre_polynomial_p(s, degrees[:, None])).sum(1)
    memory = LegendreMemory(order).extend(x)
    torch.testing.assert_close(memory.recall(), x, rtol=0, atol=1e-9)
    torch.testing.assert_close(memory.recall(length // 2), x[:, length // 2], rtol=0, atol=1e-9)
    if length == 400 and order < 10:  # one degree more is too much
        beyond = torch.special.legendre_polynomial_p(s, torch.tensor(order))
        error = LegendreMemory(order).extend(beyond).recall() - beyond
        assert error.square().mean() > 0.1 * beyond.square().mean()


@pytest.mark.parametrize("order", [3, 12])
def test_legendre_is_the_least_squares_polynomial(order: int) -> None:
    x = noise(2, 120)
    memory = LegendreMemory(order)
    for t in range(120):
        memory.write(x[:, t])
        vander = np.polynomial.legendre.legvander(np.linspace(-1, 1, t + 1), min(order, t + 1) - 1)
        q, _ = np.linalg.qr(vander)
        expected = x[:, : t + 1].numpy() @ q @ q.T
        np.testing.assert_allclose(memory.recall(), expected, rtol=0, atol=1e-10)
        # Scaled as in HiPPO, the energy is the mean square.
        energy = memory.coefficients.square().sum(-1)
        torch.testing.assert_close(energy, memory.recall().square().mean(-1))


def test_legendre_approaches_the_published_recurrence() -> None:
    order, t = 16, 10**7
    A, B = hippo_legs(order)
    memory = LegendreMemory(order)
    memory.write(torch.zeros(order + 1, dtype=torch.float64))
    memory.length = t
    # Each unit vector alone, then a value alone.
    memory.coefficients = torch.eye(order + 1, order, dtype=torch.float64)
    x_t = torch.zeros(order + 1, dtype=torch.float64)
    x_t[-1] = 1.0
    before = memory.coefficients
    memory.write(x_t)
    rate = (memory.coefficients - before) * t
    torch.testing.assert_close(rate[:-1].T, -A, rtol=0, atol=1e-2)
    torch.testing.assert_close(rate[-1], B, rtol=0, atol=1e-2)


def test_legendre_matches_hippo_on_a_smooth_function() -> None:
    # theorem 2's equation, solved by small steps, against the memory of many samples
    order, steps = 6, 20_000
    A, B = hippo_legs(order)
    f = torch.cos(3 * torch.linspace(0, 1, steps, dtype=torch.float64))
    c = torch.zeros(order, dtype=torch.float64)
    eye = torch.eye(order, dtype=torch.float64)
    for n in range(1, steps, 1):
        # bilinear step from n to n + 1, as published
        right = (eye - A / (2 * n)) @ c + B * f[n] / n
        c = torch.linalg.solve_triangular(eye + A / (2 * n + 2), right[:, None], upper=False)[:, 0]
    s = torch.linspace(-1, 1, steps, dtype=torch.float64)
    p = torch.special.legendre_polynomial_p(s, torch.arange(order)[:, None])
    exact = ((2 * torch.arange(order) + 1).sqrt()[:, None] * p * f).mean(-1)
    memory = LegendreMemory(order).extend(f)
    torch.testing.assert_close(memory.coefficients, exact, rtol=0, atol=1e-3)
    torch.testing.assert_close(memory.coefficients, c, rtol=0, atol=1e-2)


# --------------------------------------------------------------------- nine numbers of an ECG


def nine_numbers() -> dict[str, Tensor]:
    """Mean squared error by lag over the variance, of 9 numbers for the last 256 samples."""
    x = torch.tensor(np.asarray(pywt.data.ecg(), dtype=np.float64))
    x = x - x.mean()
    histories = x.unfold(0, 256, 1)
    memories = {
        "haar": AnchoredMemory(histories, "haar"),
        "db2": AnchoredMemory(histories, "db2", depth=8, straddling=False),
        "window": SlidingWindow(9).extend(histories),
        "exponentials": ExponentialMemory.spread(9, 256.0).extend(histories),
        "legendre": LegendreMemory(9).extend(histories),
    }
    assert {m.size for m in memories.values()} == {9}
    recalled = {name: memory.recall() for name, memory in memories.items()}
    basis = torch.linalg.svd(histories, full_matrices=False).Vh[:9]
    recalled["principal components"] = histories @ basis.T @ basis
    variance = x.square().mean()
    error = {
        name: (estimate - histories).square().mean(0).flip(0) / variance
        for name, estimate in recalled.items()
    }
    return error


def test_nine_numbers_for_the_last_256_samples_of_an_ecg() -> None:
    error = nine_numbers()
    got = {
        name: [float(e[a:b].mean()) for a, b in ((0, 16), (16, 64), (64, 256))]
        for name, e in error.items()
    }
    # Haar near, Legendre far; nothing linear beats the principal components over all lags.
    assert got["haar"] == pytest.approx([0.087, 0.444, 0.891], abs=2e-3)
    assert got["legendre"] == pytest.approx([0.280, 0.445, 0.665], abs=2e-3)
    assert got["exponentials"] == pytest.approx([0.111, 0.399, 0.824], abs=2e-3)
    assert got["window"] == pytest.approx([0.380, 0.856, 1.047], abs=2e-3)
    assert got["principal components"] == pytest.approx([0.561, 0.513, 0.498], abs=2e-3)
    floor = error["principal components"].mean()
    assert all(e.mean() >= floor for e in error.values())
    # One coefficient per level: Haar's newest value is exact, db2's is lost.
    assert error["haar"][0] < 1e-20 and error["db2"][0] > 0.7


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: AnchoredMemory(noise(0)), ValueError, "history: expected at least one"),
        (lambda: AnchoredMemory([1.0, 2.0]), TypeError, "history: expected a tensor, got list"),
        (lambda: AnchoredMemory(torch.arange(4)), TypeError, "got torch.int64"),
        (
            lambda: AnchoredMemory(noise(4), depth=0),
            ValueError,
            "depth must be from 1 to 60, got 0",
        ),
        (lambda: AnchoredMemory(noise(4), depth=61), ValueError, "depth:? .*got 61"),
        (lambda: AnchoredMemory(noise(4), depth=2.0), TypeError, "depth:? .*got 2.0"),
        (lambda: AnchoredMemory(noise(4), keep=-1), ValueError, "keep must be at least 0, got -1"),
        (lambda: AnchoredMemory(noise(4), keep="some"), ValueError, "keep:? .*got 'some'"),
        (lambda: AnchoredMemory(noise(4), keep="uniform"), ValueError, "size:? .*got None"),
        (lambda: AnchoredMemory(noise(4), keep="all", size=3), ValueError, "size: .* keep='all'"),
        (lambda: AnchoredMemory(noise(4), keep=2, size=3), ValueError, "size: .* keep=2"),
        (lambda: AnchoredMemory(noise(4), size=0), ValueError, "size must be at least 1, got 0"),
        (lambda: AnchoredMemory(noise(4), keep=lambda level: -1), ValueError, "keep.2. .* -1"),
        (lambda: AnchoredMemory(noise(4), "db99"), ValueError, "db99"),
        (lambda: AnchoredMemory(noise(4)).recall(4), ValueError, "s must be from 0 to 3, got 4"),
        (lambda: AnchoredMemory(noise(4)).recall(-1), ValueError, "s:? .*got -1"),
        (lambda: AnchoredMemory(noise(4)).recall(1.5), TypeError, "s:? .*got 1.5"),
        (lambda: WaveletMemory().recall(), ValueError, "nothing to recall"),
        (lambda: WaveletMemory(keep="fading"), ValueError, "keep:? .*got 'fading'"),
        (lambda: WaveletMemory(keep=-2), ValueError, "keep:? .*got -2"),
        (lambda: WaveletMemory(depth=0), ValueError, "depth:? .*got 0"),
        (lambda: WaveletMemory().write(1.0), TypeError, "x_t: expected a tensor, got float"),
        (lambda: SlidingWindow(0), ValueError, "size:? .*got 0"),
        (lambda: LegendreMemory(0), ValueError, "order:? .*got 0"),
        (lambda: hippo_legs(0), ValueError, "order:? .*got 0"),
        (lambda: ExponentialMemory([]), ValueError, "time_constants"),
        (lambda: ExponentialMemory([1.0, 1.0]), ValueError, "time_constants"),
        (lambda: ExponentialMemory([0.0]), ValueError, "time_constants"),
        (lambda: ExponentialMemory.spread(3, 1.0), ValueError, "longest: .* got 1.0"),
        (lambda: tree_depth(0, 2), ValueError, "length:? .*got 0"),
        (lambda: tree_depth(5, 1), ValueError, "kernel_size:? .*got 1"),
    ],
)
def test_bad_input(call: Callable[[], object], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    "memory",
    [WaveletMemory("db2"), SlidingWindow(3), ExponentialMemory([2.0]), LegendreMemory(3)],
)
def test_streams_refuse_another_shape_or_dtype(memory: Stream) -> None:
    memory.write(noise(2, 3))
    with pytest.raises(ValueError, match=r"x_t: expected shape \(2, 3\) as before, got \(3,\)"):
        memory.write(noise(3))
    with pytest.raises(TypeError, match=r"x_t: expected torch.float64 as before"):
        memory.write(noise(2, 3).float())
    with pytest.raises(ValueError, match="x: expected time"):
        memory.extend(torch.tensor(1.0))
    assert memory.length == 1 and memory.recall().shape == (2, 3, 1)
