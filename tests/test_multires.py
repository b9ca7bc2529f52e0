"""MultiresConv: the contract in every variant, the published layer, wavelets, steps, bad input."""

import itertools
import math

import numpy as np
import pytest
import pywt
import torch
from contract import Layer, LayerContract, assert_close, have_native, steps
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mrbook import native
from mrbook.filters import Wavelet
from mrbook.longconv import causal_conv
from mrbook.memory import tree_depth
from mrbook.multires import METHODS as ALL_METHODS
from mrbook.multires import (
    MultiresConv,
    dilated_conv,
    multires_conv,
    multires_kernel,
    multires_method,
    uniform_memory,
)

METHODS = [m for m in ALL_METHODS if m != "triton"]  # that one serves no float64: triton_cases

needs_native = pytest.mark.skipif(not have_native(), reason="needs a C++ compiler")
MEMORIES = {"fading": {}, "uniform": {"memory": "uniform", "memory_size": 9}}


def variant(method: str, kernel_size: int = 2, **options: object) -> Layer:
    def make() -> MultiresConv:
        layer = MultiresConv(3, kernel_size, length=20, **options)
        layer.method = method
        return layer

    return Layer(
        make,
        channels=3,
        exact=method != "kernel",
        second=method != "fused" and not (method == "auto" and have_native()),
        needs_native=method == "fused",
        inductor=not options,
    )


class TestContract(LayerContract):
    cases = {
        f"{method}-{memory}-{'tied' if tied else 'untied'}-{kernel_size}": variant(
            method, kernel_size, **MEMORIES[memory], **({} if tied else {"tie_levels": False})
        )
        for method, (memory, tied, kernel_size) in itertools.product(
            METHODS,
            [
                ("fading", True, 2),
                ("fading", False, 4),
                ("uniform", True, 3),
                ("uniform", False, 2),
            ],
        )
    } | {"wavelet": variant("auto", wavelet="db2"), "auto": variant("auto", 4)}


# ---- the published layer ------------------------------------------------------------------------


def published(x: np.ndarray, h0: np.ndarray, h1: np.ndarray, w: np.ndarray, kept: list) -> Tensor:
    """The published forward pass in NumPy, channel by channel and lag by lag.

    `kept` is None for the fading memory; else ``[memory_size]`` for the uniform one, whose layout
    is worked out here as the published code does: coarsest level first, each level taking
    ``2 (d - 1) + K`` coefficients, the last one cut.
    """
    channels, taps = h0.shape[0], h0.shape[-1]
    m = w.shape[1] - 1

    def causal(a: np.ndarray, by_lag: np.ndarray, dilation: int) -> np.ndarray:
        kernel = np.zeros((len(by_lag) - 1) * dilation + 1)
        kernel[::dilation] = by_lag
        return np.convolve(a, kernel)[: len(a)]

    y = np.zeros_like(x)
    for b, c in itertools.product(range(len(x)), range(channels)):
        low, high = h0[c, 0, ::-1], h1[c, 0, ::-1]
        depth = m - 1 if kept is None else kept[1]
        a, details = x[b, c], []
        for level in range(depth):
            details.append(causal(a, high, 2**level))
            a = causal(a, low, 2**level)
        y[b, c] = w[c, 0] * a + w[c, m] * x[b, c]
        if kept is None:
            for level in range(depth):
                y[b, c] += w[c, depth - level] * details[level]
            continue
        used, count = 1, 1
        for level in reversed(range(depth)):
            if used >= kept[0]:
                break
            count = min(count, kept[0] - used)
            y[b, c] += causal(details[level], w[c, used : used + count], 2 ** (level + 1))
            used += count
            count = 2 * (count - 1) + taps
    return torch.from_numpy(y)


@pytest.mark.parametrize("kernel_size", [2, 4, 5])
@pytest.mark.parametrize("memory_size", [None, 1, 2, 5, 11, 40])
@pytest.mark.parametrize("method", METHODS)
def test_a_published_state_dict_gives_the_published_output(
    kernel_size: int, memory_size: int | None, method: str
) -> None:
    if method == "fused" and not have_native():
        pytest.skip("needs a C++ compiler")
    length, channels = 37, 3
    depth = tree_depth(length, kernel_size)
    m = depth + 1 if memory_size is None else memory_size
    rng = np.random.default_rng(kernel_size)
    state = {
        "h0": rng.uniform(-1, 1, (channels, 1, kernel_size)).astype(np.float32),
        "h1": rng.uniform(-1, 1, (channels, 1, kernel_size)).astype(np.float32),
        "w": rng.uniform(-1, 1, (channels, m + 1)).astype(np.float32),
    }
    x = rng.standard_normal((2, channels, length)).astype(np.float32)
    options = {} if memory_size is None else {"memory": "uniform", "memory_size": memory_size}
    layer = MultiresConv(channels, kernel_size, length=length, **options)
    layer.method = method
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    kept = None if memory_size is None else [memory_size, depth]
    expected = published(*(v.astype(np.float64) for v in (x, *state.values())), kept)
    assert_close(layer(torch.from_numpy(x)).double(), expected, 1e-6)


def test_the_random_start_is_the_published_one() -> None:
    layer_seed = torch.manual_seed(3)
    layer = MultiresConv(5, 4, length=100)
    layer_seed.manual_seed(3)
    m = layer.depth + 1
    scale = math.sqrt(2 / (2 * 4))
    for name, shape, factor in [
        ("h0", (5, 1, 4), scale),
        ("h1", (5, 1, 4), scale),
        ("w", (5, m + 1), math.sqrt(2 / (2 * m + 2))),
    ]:
        expected = torch.empty(shape).uniform_(-1, 1) * factor
        torch.testing.assert_close(getattr(layer, name).data, expected)


def test_an_independent_skip_weight_ignores_the_size_of_the_memory() -> None:
    torch.manual_seed(0)
    usual, independent = (
        MultiresConv(4000, depth=10, independent_skip=skip).w.data for skip in (False, True)
    )
    for w, skip in ((usual, 1 / math.sqrt(12)), (independent, 1.0)):
        assert w[:, :-1].abs().max() == pytest.approx(1 / math.sqrt(12), rel=1e-2)
        assert w[:, -1].abs().max() == pytest.approx(skip, rel=1e-2)
        assert abs(w[:, -1].mean()) < 0.1 * skip


def test_gain_scales_the_random_filters_alone() -> None:
    plain, scaled = {}, {}
    for state, options in ((plain, {}), (scaled, {"gain": 1.5})):
        torch.manual_seed(3)
        state |= MultiresConv(5, 4, depth=6, **options).state_dict()
    for name, factor in (("h0", 1.5), ("h1", 1.5), ("w", 1.0)):
        torch.testing.assert_close(scaled[name], factor * plain[name])


def test_a_gain_of_the_square_root_of_three_keeps_the_energy_of_a_level() -> None:
    torch.manual_seed(0)
    for gain, energy in ((1.0, 1 / 3), (math.sqrt(3), 1.0)):
        layer = MultiresConv(20_000, 2, depth=1, gain=gain)
        for h in (layer.h0, layer.h1):
            assert h.square().sum(-1).mean().item() == pytest.approx(energy, rel=0.02)


def test_depth_is_the_published_formula() -> None:
    for kernel_size, length in itertools.product((2, 3, 4, 8), [*range(2, 300), 1024, 16384]):
        formula = math.ceil(math.log2((length - 1) / (kernel_size - 1) + 1))
        assert tree_depth(length, kernel_size) == formula
        reach = (kernel_size - 1) * (2**formula - 1)
        assert reach >= length - 1 > (kernel_size - 1) * (2 ** (formula - 1) - 1)
    assert tree_depth(1, 2) == 1
    assert MultiresConv(1, 4, length=1024).depth == 9
    assert MultiresConv(1, depth=7).depth == 7


# ---- wavelets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["haar", "db2", "sym4", "bior2.2"])
def test_a_wavelet_start_reads_the_coefficients_of_pywavelets(name: str) -> None:
    bank, depth = pywt.Wavelet(name), 3
    layer = MultiresConv(1, depth=depth, wavelet=name, dtype=torch.float64)
    assert layer.kernel_size == bank.dec_len
    np.testing.assert_array_equal(layer.h0.detach()[0, 0], bank.dec_lo[::-1])
    np.testing.assert_array_equal(layer.h1.detach()[0, 0], bank.dec_hi[::-1])
    x = np.random.default_rng(0).standard_normal(64)
    approximation, *details = pywt.wavedec(x, name, mode="zero", level=depth)
    u = torch.from_numpy(x)[None, None]
    # weight i reads a_J, then details from the coarsest; a coefficient's support ends with block n
    bands = [(approximation, depth), *zip(details, range(depth, 0, -1), strict=True)]
    for i, (band, level) in enumerate(bands):
        one = torch.zeros(1, depth + 2, dtype=torch.float64)
        one[0, i] = 1
        y = multires_conv(u, layer.h0, layer.h1, one)[0, 0].detach().numpy()
        ends = np.arange(2**level - 1, 64, 2**level)
        np.testing.assert_allclose(y[ends], band[: len(ends)], atol=1e-12)


def test_a_wavelet_of_your_own_serves_too() -> None:
    wavelet = Wavelet("mine", ([0.5, 0.5], [-0.5, 0.5], [1, 1], [1, -1]))
    layer = MultiresConv(2, 4, depth=3, wavelet=wavelet)
    assert layer.kernel_size == 2
    torch.testing.assert_close(layer.h0[1, 0].detach(), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(layer.h1[1, 0].detach(), torch.tensor([0.5, -0.5]))


def test_two_tied_taps_give_a_kernel_in_the_bits_of_the_lag() -> None:
    # k[n] = c[bit length of n] * r^(ones in n): lags 5 = 101 and 6 = 110 always weigh the same
    torch.manual_seed(0)
    tied = MultiresConv(8, 2, length=64).double()
    kernel = tied.kernel(64).detach()
    ratio = (tied.h0[:, 0, 0] / tied.h0[:, 0, 1]).detach()
    for low, n in [(5, 6), (9, 12), (19, 28)]:
        torch.testing.assert_close(kernel[:, low], kernel[:, n])
    torch.testing.assert_close(kernel[:, 7], kernel[:, 5] * ratio)
    untied = MultiresConv(8, 2, length=64, tie_levels=False).double().kernel(64).detach()
    assert (untied[:, 5] - untied[:, 6]).abs().min() > 1e-6


# ---- methods ------------------------------------------------------------------------------------


@needs_native
@pytest.mark.parametrize("kernel_size", [2, 3, 4, 7])
@pytest.mark.parametrize("options", [{}, {"memory": "uniform", "memory_size": 21}])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("length", [1, 31, 500, 5000])
def test_the_fused_form_and_its_gradients_equal_the_tree(
    kernel_size: int, options: dict, tied: bool, length: int
) -> None:
    # 5,000 is more than a block that stays in cache, so that the halo and the columns are at work
    torch.manual_seed(length)
    layer = MultiresConv(3, kernel_size, length=5000, tie_levels=tied, **options)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        layer = layer.to(dtype)
        results = []
        u = torch.randn(2, 3, length, dtype=dtype).requires_grad_()
        g = torch.randn_like(u)
        for layer.method in ("tree", "fused"):
            y = layer(u)
            inputs = (u, layer.h0, layer.h1, layer.w)
            results.append([y, *torch.autograd.grad(y, inputs, g)])
        for expected, actual in zip(*results, strict=True):
            assert_close(actual, expected, tolerance)


@needs_native
def test_a_long_sequence_in_columns_that_do_not_fill_up() -> None:
    torch.manual_seed(0)
    for kernel_size, length in ((2, 16384), (2, 9001), (4, 12345), (4, 70000)):
        layer = MultiresConv(1, kernel_size, length=length).double()
        u = torch.randn(1, 1, length, dtype=torch.float64)
        with torch.no_grad():
            y = layer(u)
            layer.method = "tree"
            assert_close(y, layer(u), 1e-12)


@needs_native
def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, u = MultiresConv(5, 2, length=300), torch.randn(3, 5, 300)
    told, threads, call = [], torch.get_num_threads(), native.call
    monkeypatch.setattr(
        native, "call", lambda name, shape, *rest: (told.append(shape[7]), call(name, shape, *rest))
    )

    def run(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        y = layer(u)
        return [y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))]

    try:
        results = [run(n) for n in (1, 2, 3)]
    finally:
        torch.set_num_threads(threads)
    assert told == [1, 1, 2, 2, 3, 3]
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_auto_takes_what_the_rule_says(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = torch.zeros(1, 3, 5), torch.zeros(2, 3, 5)
    assert {multires_method(x.to("meta")) for x in (one, two)} == {"tree", "kernel"}
    if have_native():
        assert multires_method(one) == multires_method(two.double()) == "fused"
    monkeypatch.setattr(native, "available", lambda *_: False)
    assert (multires_method(one), multires_method(two)) == ("tree", "kernel")
    called = []
    monkeypatch.setattr("mrbook.multires.multires_conv", lambda x, *_: called.append(len(x)) or x)
    layer = MultiresConv(3, depth=2)
    layer(torch.zeros(7, 3, 5))
    layer(one)
    assert called == [1, 1]  # the kernel's impulse, and the only sequence


def test_the_kernel_is_the_response_to_an_impulse() -> None:
    layer = MultiresConv(3, 3, depth=3).double()
    impulse = torch.zeros(1, 3, 9, dtype=torch.float64)
    impulse[..., 0] = 1
    assert_close(layer.kernel(9), layer(impulse)[0])
    kernel = multires_kernel(9, layer.h0, layer.h1, layer.w)
    u = torch.randn(2, 3, 9, dtype=torch.float64)
    assert_close(causal_conv(u, kernel), multires_conv(u, layer.h0, layer.h1, layer.w))


def test_dilated_conv_is_its_definition() -> None:
    a, h = torch.randn(2, 3, 11), torch.randn(3, 4)
    for dilation in (1, 2, 5, 11, 64):
        expected = torch.zeros_like(a)
        for t, q in itertools.product(range(11), range(4)):
            if (s := t - (3 - q) * dilation) >= 0:
                expected[..., t] += h[:, q] * a[..., s]
        torch.testing.assert_close(dilated_conv(a, h, dilation), expected)


# ---- steps --------------------------------------------------------------------------------------


class Count(TorchDispatchMode):
    """Count operators and the elements that they return."""

    def __init__(self) -> None:
        super().__init__()
        self.operators, self.elements = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operators += 1
        leaves = torch.utils._pytree.tree_leaves(out)
        self.elements += sum(x.numel() for x in leaves if isinstance(x, Tensor))
        return out


@torch.no_grad()
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("method", ["tree", "fused"])
def test_a_step_costs_the_same_however_long_the_past(memory: str, method: str) -> None:
    if method == "fused" and not have_native():
        pytest.skip("needs a C++ compiler")
    layer = MultiresConv(4, 3, length=60, **MEMORIES[memory])
    layer.method = method
    state, counts, sizes = layer.initial_state(2), set(), set()
    for t in range(300):
        u_t = torch.randn(2, 4)
        with Count() as count:
            _, state = layer.step(u_t, state)
        if t in (1, 2, 10, 100, 299):
            counts.add((count.operators, count.elements))
        sizes.add(tuple(x.shape for x in state))
    assert len(counts) == 1
    assert len(sizes) == 1


@pytest.mark.parametrize("kernel_size", [2, 4])
def test_the_state_is_as_small_as_it_can_be(kernel_size: int) -> None:
    # Any state must hold as many numbers as the kernel's Hankel matrix k[1 + i + j] has rank. That
    # of a kernel which ends at lag n, with a value other than 0, is triangular: its rank is n.
    layer = MultiresConv(1, kernel_size, depth=4).double()
    n = (kernel_size - 1) * (2**4 - 1)
    assert layer.initial_state(1)[1].shape[1] == n
    kernel = layer.kernel(2 * n).detach()[0]
    assert kernel[n] != 0
    assert not kernel[n + 1 :].any()
    uniform = MultiresConv(1, kernel_size, depth=4, memory="uniform", memory_size=9)
    more = sum(
        (kept - 1) * 2**level
        for level, kept in zip((4, 3, 2, 1), uniform.kept, strict=True)
        if kept
    )
    assert uniform.initial_state(1)[1].shape[1] == n + more


@torch.no_grad()
@pytest.mark.parametrize("method", ["tree", "auto"])
def test_steps_follow_when_parameters_change(method: str) -> None:
    layer, u = MultiresConv(3, 2, depth=4).double(), torch.randn(1, 3, 20, dtype=torch.float64)
    layer.method = method
    state = layer.initial_state(1)
    _, state = layer.step(u[..., 0], state)
    layer.w.mul_(2)  # in the middle of a sequence, as an optimizer does
    assert_close(layer.step(u[..., 1], state)[0], layer(u)[..., 1])
    layer.load_state_dict(MultiresConv(3, 2, depth=4).state_dict())
    assert_close(steps(layer, u), layer(u))
    layer.h0.data = torch.randn_like(layer.h0)
    assert_close(steps(layer, u), layer(u))


@torch.inference_mode()
@pytest.mark.parametrize("method", ["tree", "auto"])
def test_steps_of_a_layer_made_for_inference_alone(method: str) -> None:
    layer, u = MultiresConv(3, 2, depth=4).double(), torch.randn(2, 3, 9, dtype=torch.float64)
    layer.method = method
    assert_close(steps(layer, u), layer(u))
    state = layer.initial_state(2)
    _, state = layer.step(u[..., 0], state)
    layer.w.mul_(2)
    assert_close(layer.step(u[..., 1], state)[0], layer(u)[..., 1])


@torch.no_grad()
def test_a_step_in_float32_with_bfloat16_inputs() -> None:
    layer, u = MultiresConv(3, 2, depth=4), torch.randn(2, 3, 20).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for layer.method in ("tree", "auto"):
            y = steps(layer, u)
            assert y.dtype == torch.bfloat16
            assert_close(y.double(), layer(u).double(), 1e-2)
    half = MultiresConv(3, 2, depth=4).bfloat16()
    assert half.initial_state(2)[1].dtype == torch.float32
    assert_close(steps(half, u).double(), half(u).double(), 1e-2)


def test_autocast_does_not_lower_the_precision_inside() -> None:
    layer, u = MultiresConv(3, 2, depth=4), torch.randn(2, 3, 20)
    for layer.method in METHODS[: 3 if have_native() else 2]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(u), layer(u.float()))
            inside = layer(u)
            kernel = layer.kernel(20)
        assert_close(inside, layer(u), 1e-6)
        assert_close(kernel, layer.kernel(20), 1e-6)


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "length or depth"),
        ({"length": 9, "depth": 2}, "length or depth"),
        ({"depth": 0}, "depth must be from 1 to 30, got 0"),
        ({"depth": 31}, "depth must be from 1 to 30, got 31"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"depth": 2, "kernel_size": 1}, "kernel_size must be at least 2, got 1"),
        ({"depth": 2, "channels": 0}, "channels must be at least 1, got 0"),
        ({"depth": 2, "memory": "round"}, "'round'"),
        ({"depth": 2, "memory": "uniform"}, "memory_size must be given"),
        ({"depth": 2, "memory": "uniform", "memory_size": 0}, "memory_size must be at least 1"),
        ({"depth": 2, "memory_size": 4}, "memory_size goes with the uniform memory"),
        ({"depth": 2, "wavelet": "db0"}, "unknown wavelet"),
        ({"depth": 2, "gain": 0}, "gain must be positive, and 1 with a wavelet, got 0"),
        ({"depth": 2, "gain": -1.0}, "gain must be positive, and 1 with a wavelet, got -1.0"),
        ({"depth": 2, "gain": math.inf}, "gain must be positive, and 1 with a wavelet, got inf"),
        ({"depth": 2, "gain": math.nan}, "gain must be positive, and 1 with a wavelet, got nan"),
        ({"depth": 2, "gain": 2.0, "wavelet": "db2"}, "and 1 with a wavelet, got 2.0"),
    ],
)
def test_bad_layers(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiresConv(**{"channels": 3, **options})


@pytest.mark.parametrize(
    ("u", "message"),
    [
        (torch.zeros(2, 4, 5), r"\(batch, 3, length\), got \(2, 4, 5\)"),
        (torch.zeros(3, 5), r"\(batch, 3, length\), got \(3, 5\)"),
        (torch.zeros(2, 3, 0), "length of at least 1"),
        (torch.zeros(2, 3, 5).double(), "float32, got torch.float64"),
        (torch.zeros(2, 3, 5, dtype=torch.int64), "got torch.int64"),
        (torch.zeros(2, 3, 5, device="meta"), "must be on cpu, got meta"),
    ],
)
def test_bad_inputs(u: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiresConv(3, depth=2)(u)


def test_bad_states() -> None:
    layer, u = MultiresConv(3, depth=3), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        layer.initial_state(0)
    position, rings = layer.initial_state(2)
    for u_t, state, message in [
        (u[:, :2], (position, rings), r"u_t must have shape \(batch, 3\)"),
        (u.double(), (position, rings), "u_t must go with parameters of torch.float32"),
        (u, layer.initial_state(4), r"shape \(2,\) and \(2, 7, 3\)"),
        (u, MultiresConv(3, depth=4).initial_state(2), r"got \(2,\) and \(2, 15, 3\)"),
        (u, (position, rings.double()), "got torch.int64 and torch.float64"),
        (u, (position.int(), rings), "got torch.int32"),
        (u, (position, rings.to("meta")), "state must be on cpu, got meta"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer.step(u_t, state)
    for state, error in (((), ValueError), ((rings,), ValueError), (None, TypeError)):
        with pytest.raises(error, match=r"state must (have 2|be a tuple of) tensors, got"):
            layer.step(u, state)


def test_filters_that_do_not_go_together() -> None:
    x, h, w = torch.zeros(1, 3, 8), torch.zeros(3, 1, 2), torch.zeros(3, 5)
    for bad, message in [
        ((torch.zeros(3, 1, 4), h, w), "h0 and h1"),
        ((h, torch.zeros(2, 1, 2), w), "h0 and h1"),
        ((h, h, w[:2]), "w must"),
        ((h, h, w[:, :2]), "w must"),
        ((h.expand(3, 2, 2), h.expand(3, 2, 2), w), "one filter or one a level"),
    ]:
        with pytest.raises(ValueError, match=message):
            multires_conv(x, *bad)
    with pytest.raises(ValueError, match="w must"):
        multires_conv(x, h, h, w, kept=[1, 2, 2])


def test_other_requests_that_can_not_be_met(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = MultiresConv(3, depth=2)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        layer.kernel(0)
    layer.method = "magic"
    message = "method must be auto, tree, kernel, fused, triton, got 'magic'"
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(1, 3, 4))
    layer.method = "fused"
    monkeypatch.setattr(native, "available", lambda *_: False)
    with pytest.raises(ValueError, match="C\\+\\+ compiler"):
        layer(torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="lengths must be from 0 to 4"):
        layer(torch.zeros(1, 3, 4), lengths=torch.tensor([5]))


def test_the_uniform_memory_takes_coarse_levels_first() -> None:
    assert uniform_memory(16, 4, 2) == (1, 2, 4, 8)
    assert uniform_memory(12, 3, 4) == (1, 4, 6)
    assert uniform_memory(1, 2, 2) == (0, 0)
    assert sum(uniform_memory(50, 9, 6)) == 49
