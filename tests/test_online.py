"""Online convolution: each pair in one tile, steps that equal the whole, at the cost stated."""

import copy
import io
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from contract import Layer, LayerContract, assert_close, steps
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mrbook import online
from mrbook.baselines import S4D
from mrbook.convolution import ConvolutionLayer
from mrbook.longconv import causal_conv
from mrbook.online import (
    OnlineConv,
    OnlineKernel,
    dot_step,
    largest_tile,
    multiplications,
    tile_size,
    tiles,
)

BLOCK = online.BLOCK


class Free(ConvolutionLayer):
    """A kernel that is a parameter, with a bias."""

    def __init__(self, channels: int, kernel_length: int) -> None:
        super().__init__(channels)
        self.kernel_length, self.calls = kernel_length, 0
        self.weight = nn.Parameter(torch.randn(channels, kernel_length) / kernel_length**0.5)
        self.bias = nn.Parameter(torch.randn(channels))

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        self.calls += 1
        k = self.weight[:, :length].to(dtype)
        return F.pad(k, (0, length - k.shape[1]))


def free(kernel_length: int, **options: bool) -> Layer:
    return Layer(lambda: Free(3, kernel_length), channels=3, exact=False, **options)


class TestContract(LayerContract):
    cases: ClassVar = {"free-1": free(1), "free-7": free(7, inductor=True), "free-100": free(100)}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- the tiling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("smallest", [1, 2, 8])
@pytest.mark.parametrize("kernel_length", [None, 1, 2, 3, 4, 5, 6, 17, 33, 50, 64])
@pytest.mark.parametrize("length", [1, 2, 3, 31, 64, 101])
def test_every_pair_lies_in_one_tile(length: int, kernel_length: int | None, smallest: int) -> None:
    largest = None if kernel_length is None else largest_tile(kernel_length, smallest)
    covered = torch.zeros(length, length, dtype=torch.int64)
    for tile in tiles(length, largest, smallest):
        assert tile.inputs.stop == tile.step == tile.outputs.start  # known, and still to come
        assert smallest <= len(tile.inputs) <= (largest or length)
        assert tile.outputs.stop == min(tile.step + len(tile.inputs), length)
        covered[tile.inputs.start : tile.inputs.stop, tile.step : tile.outputs.stop] += 1
    s, t = torch.meshgrid(torch.arange(length), torch.arange(length), indexing="ij")
    lag, same_block = t - s, s // smallest == t // smallest
    expected = (lag > 0) & ~same_block & (lag < (kernel_length or length))
    assert (covered[expected] == 1).all()
    assert not covered[(lag <= 0) | same_block].any()
    assert covered.max() <= 1


def test_bad_tilings() -> None:
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        next(tiles(0))
    with pytest.raises(ValueError, match="smallest must be a power of two, got 3"):
        next(tiles(8, smallest=3))
    with pytest.raises(ValueError, match="largest must be at least 4, the smallest, got 2"):
        next(tiles(8, 2, 4))
    with pytest.raises(TypeError, match=r"kernel_length must be an integer, got 2\.0"):
        largest_tile(2.0)
    with pytest.raises(ValueError, match="block must be a power of two, got 12"):
        OnlineKernel(torch.zeros(1, 5), block=12)
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        tile_size(0)
    with pytest.raises(ValueError, match=r"^length must be at least 1, got 0"):
        multiplications(0)


def test_a_kernel_of_another_kind() -> None:
    u, state = torch.randn(3, 2), online.initial_state(3, 2, 5)
    message = r"k must have shape \(2, m\) and torch\.float32 for"
    for k in (torch.randn(4, 5), torch.randn(1, 5), torch.randn(2, 5).double()):
        for call in (lambda k=k: OnlineKernel(k).step(u, state), lambda k=k: dot_step(u, state, k)):
            with pytest.raises(ValueError, match=message):
                call()


def test_a_ready_kernel_records_no_gradients() -> None:
    k, u = draw(2, 100).requires_grad_(), draw(3, 2, 150, seed=1)
    assert not run(OnlineKernel(k), u).requires_grad


@pytest.mark.parametrize("m", [1, 2, 5, 16, 40])
def test_a_tile_is_its_pairs(m: int) -> None:
    k, x = draw(2, m), draw(3, 2, 8, seed=1)
    y = online.tile_conv(x, online.tile_spectrum(k, 8))
    expected = torch.zeros_like(x)
    for j in range(8):
        for s in range(8):
            if 8 + j - s < m:
                expected[..., j] += k[:, 8 + j - s] * x[..., s]
    assert_close(y, expected)


# ---- one channel --------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 16, 17, 60])
def test_the_simplest_form_is_the_convolution(m: int) -> None:
    k, u = draw(m), draw(100, seed=1)
    conv = OnlineConv(k)
    y = torch.stack([conv(u_t) for u_t in u])
    assert_close(y, causal_conv(u, k, "direct"))
    assert len(conv.ahead) <= conv.largest  # nothing is kept of outputs that are out


def test_outputs_that_become_inputs() -> None:
    # u[t] = y[t - 1] from u[0] = 1 on is a triangular system: u - shift(K u) = e.
    k = draw(40) / 10
    conv, u = OnlineConv(k), [torch.ones((), dtype=torch.float64)]
    for _ in range(99):
        u.append(conv(u[-1]))
    lag = torch.arange(100)[:, None] - torch.arange(100)
    shifted = torch.where((lag > 0) & (lag <= 40), k[(lag - 1).clamp(0, 39)], 0.0)
    one = F.one_hot(torch.tensor(0), 100).double()[:, None]
    expected = torch.linalg.solve_triangular(
        torch.eye(100, dtype=torch.float64) - shifted, one, upper=False
    )
    assert_close(torch.stack(u), expected[:, 0])


# ---- many channels ------------------------------------------------------------------------------


def run(kernel: OnlineKernel, u: Tensor, state: online.State | None = None) -> Tensor:
    if state is None:
        batch, channels, m = len(u), len(kernel.k), kernel.k.shape[1]
        state = online.initial_state(batch, channels, m, u.dtype, block=kernel.block)
    outputs = []
    for t in range(u.shape[-1]):
        y, state = kernel.step(u[..., t], state)
        outputs.append(y)
    return torch.stack(outputs, -1)


@pytest.mark.parametrize("block", [1, 2, 16])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 9, 16, 17, 18, 100, 300])
def test_online_steps_are_the_convolution(m: int, block: int) -> None:
    k, u = draw(2, m), draw(3, 2, 200, seed=1)
    assert_close(run(OnlineKernel(k, block), u), causal_conv(u, k, "direct"))


@pytest.mark.parametrize("kernel_length", [7, BLOCK, BLOCK + 1, BLOCK + 2, 500])
@torch.no_grad()
def test_layers_take_streams_longer_than_their_kernel(kernel_length: int) -> None:
    layer, length = Free(2, kernel_length).double(), 5 * BLOCK + 3
    u = draw(2, 2, length)
    layer.method = "direct"
    y = layer(u)
    state = layer.initial_state(2)
    shapes = [x.shape for x in state]
    for t in range(length):
        out, state = layer.step(u[..., t], state)
        assert_close(out, y[..., t])
    assert [x.shape for x in state] == shapes


@torch.no_grad()
def test_streams_of_many_ages_in_one_batch() -> None:
    layer = Free(2, 150).double()
    ages = [130, 0, 64, 64, 127, 256, 1]
    u = draw(len(ages), 2, 600)
    expected = layer(u)
    states = []
    for i, age in enumerate(ages):
        state = layer.initial_state(1)
        for t in range(age):
            _, state = layer.step(u[i : i + 1, :, t], state)
        states.append(state)
    state = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
    rows = torch.arange(len(ages))
    with torch.enable_grad():
        y, _ = layer.step(u[rows, :, torch.tensor(ages)], state)
    assert y.requires_grad
    assert_close(y, expected[rows, :, torch.tensor(ages)])
    for n in range(300):
        now = torch.tensor(ages) + n
        y, state = layer.step(u[rows, :, now], state)
        assert_close(y, expected[rows, :, now])
    some = torch.tensor([5, 0])
    state = tuple(x[some] for x in state)
    now = torch.tensor(ages)[some] + 300
    assert_close(layer.step(u[some, :, now], state)[0], expected[some, :, now])
    none = tuple(x[:0] for x in state)
    assert layer.step(u[:0, :, 0], none)[0].shape == (0, 2)


@pytest.mark.parametrize("seed", range(3))
def test_the_two_kinds_of_steps_take_turns(seed: int) -> None:
    layer = Free(2, 100).double()
    generator = torch.Generator().manual_seed(seed)
    u = draw(2, 2, 700)
    expected, state = layer(u), layer.initial_state(2)
    turns = torch.randint(1, 150, (20,), generator=generator).tolist()
    recorded = [i % 2 == 0 for i, n in enumerate(turns) for _ in range(n)]
    for t in range(700):
        with torch.set_grad_enabled(recorded[t]):
            y, state = layer.step(u[..., t], state)
        assert y.requires_grad == recorded[t]
        assert_close(y, expected[..., t])


def test_gradients_past_many_blocks() -> None:
    layer, u = Free(2, 100).double(), draw(1, 2, 3 * BLOCK + 5).requires_grad_()
    inputs, g = [u, *layer.parameters()], draw(1, 2, 3 * BLOCK + 5, seed=1)
    expected = torch.autograd.grad(layer(u), inputs, g)
    for a, e in zip(torch.autograd.grad(steps(layer, u), inputs, g), expected, strict=True):
        assert_close(a, e)


def test_a_state_is_updated_in_place_unless_gradients_are_recorded() -> None:
    layer, u = Free(2, 100), torch.randn(2, 2)
    state = layer.initial_state(2)
    before = [x.clone() for x in state]
    y, new = layer.step(u, state)
    y.sum().backward()
    assert all(map(torch.equal, state, before))
    with torch.no_grad():
        # the state that gradients came through may go on in place; they aren't harmed by it
        again, _ = layer.step(u, new)
        out, same = layer.step(u, state)
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(same, state, strict=True))
    assert state[0].tolist() == [1, 1]
    assert_close(out, y)
    assert again.shape == (2, 2)


def test_gradients_outlive_steps_in_place() -> None:
    layer, u = Free(1, 20).double(), draw(1, 1, 10)
    expected = torch.autograd.grad(layer(u)[..., 4].sum(), layer.weight)
    state = layer.initial_state(1)
    for t in range(5):
        y, state = layer.step(u[..., t], state)
    with torch.no_grad():
        for t in range(5, 10):
            _, state = layer.step(u[..., t], state)
    assert_close(torch.autograd.grad(y.sum(), layer.weight)[0], expected[0])


@torch.no_grad()
def test_long_streams_keep_their_precision() -> None:
    layer = Free(2, 1000).double()
    u = draw(1, 2, 5000)
    expected = layer(u)
    assert_close(steps(layer, u), expected)
    single = copy.deepcopy(layer).float()
    y = steps(single, u.float())
    assert y.dtype == torch.float32
    assert_close(y.double(), expected, 1e-6)
    short = steps(single, u[..., :300].bfloat16())
    assert short.dtype == torch.bfloat16
    assert_close(short.double(), expected[..., :300], 2e-2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(steps(single, u[..., :300].float()).double(), expected[..., :300], 1e-6)


# ---- cost ---------------------------------------------------------------------------------------


class Products(TorchDispatchMode):
    """Counts operations, and products of real numbers by the rule of `multiplications`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.calls += name != "promote_types" and not func.is_view
        if name == "addcmul_":
            self.count += result.numel()
        elif name == "mul":
            self.count += 4 * result.numel()
            assert result.is_complex()
        elif name in ("_fft_r2c", "_fft_c2r"):
            real = args[0] if name == "_fft_r2c" else result
            n = real.shape[-1]
            self.count += real[..., 0].numel() * n * (n.bit_length() - 1)
        elif "mm" in name or name in ("convolution", "addcmul", "dot", "mv"):
            raise AssertionError(f"{name} is not counted")
        return result


@pytest.mark.parametrize("kernel_length", [1, 40, 333, 4096])
def test_steps_take_the_products_that_are_said(kernel_length: int) -> None:
    kernel, u = OnlineKernel(draw(1, kernel_length), block=32), draw(1, 1, 1000)
    with Products() as products:
        run(kernel, u)
    assert products.count == multiplications(1000, kernel_length, block=32)


@torch.no_grad()
def test_a_step_is_a_few_operations() -> None:
    layer, u = Free(2, 1000), torch.randn(1, 2, 1000)
    with Products() as products:
        steps(layer, u)
    assert products.calls / 1000 < 6


def test_the_cost_grows_as_said() -> None:
    lengths = [2**n for n in range(6, 19)]
    costs = [multiplications(n, block=32) for n in lengths]
    scaled = [cost / (n * math.log2(n) ** 2) for n, cost in zip(lengths, costs, strict=True)]
    assert max(scaled) < 3 and scaled[-1] < 2.5
    # beside dot products, L (L + 1) / 2
    saved = {n: n * (n + 1) / 2 / cost for n, cost in zip(lengths, costs, strict=True)}
    assert saved[1024] > 4 and saved[16384] > 34
    # a kernel that ends: a constant cost per step, log² of its own length
    some, more = (multiplications(n, 1024, block=32) for n in (2**14, 2**18))
    assert more / some == pytest.approx(16, rel=0.01)


# ---- the kernel is kept -------------------------------------------------------------------------


def change_in_place(layer: Free) -> None:
    layer.weight.mul_(2)


def replace(layer: Free) -> None:
    layer.weight = nn.Parameter(2 * layer.weight)


def load(layer: Free) -> None:
    layer.load_state_dict({name: 2 * x for name, x in layer.state_dict().items()})


@pytest.mark.parametrize("change", [change_in_place, replace, load])
@torch.no_grad()
def test_the_kernel_is_made_once_until_it_changes(change: Any) -> None:
    layer, u = Free(2, 200).double(), draw(1, 2, 300)
    before = layer(u)
    layer.calls = 0
    state = layer.initial_state(1)
    for t in range(150):
        y, state = layer.step(u[..., t], state)
        assert_close(y, before[..., t])
    assert layer.calls == 1
    change(layer)
    # what is ahead was sent by the old kernel; from the next block of 256 on all is by the new one
    for t in range(150, 300):
        y, state = layer.step(u[..., t], state)
    assert layer.calls == 2
    assert_close(y, layer(u)[..., 299])


@torch.no_grad()
def test_a_new_sequence_sees_changes_that_leave_no_trace() -> None:
    layer, u = Free(1, 5).double(), draw(1, 1, 4)
    steps(layer, u)
    layer.weight.data.mul_(2)
    assert_close(steps(layer, u), layer(u))


@torch.no_grad()
def test_copies_and_files_leave_the_kept_kernel_out() -> None:
    layer, u = Free(1, 50).double(), draw(1, 1, 70)
    steps(layer, u)
    assert layer._cache._kept is not None
    assert copy.deepcopy(layer)._cache._kept is None
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    other = torch.load(file, weights_only=False)
    assert_close(steps(other, u), layer(u))


def test_inference_mode() -> None:
    with torch.inference_mode():
        inside, u = Free(2, 100).double(), draw(1, 2, 200)
        assert_close(steps(inside, u), inside(u))
        inside.weight.mul_(2)
        assert_close(steps(inside, u), inside(u))
    layer = Free(2, 100).double()
    with torch.inference_mode():
        expected = layer(u)
        assert_close(steps(layer, u), expected)
    state = layer.initial_state(1)
    with torch.inference_mode():
        layer.step(u[..., 0].clone(), state)
    y, _ = layer.step(draw(1, 2), state)  # gradients with what inference mode has kept
    assert y.requires_grad


class Normalized(Free):
    """Is no convolution while it is trained."""

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        if self.training:
            raise RuntimeError("not while statistics are gathered")
        return super()._kernel(length, dtype)


@torch.no_grad()
def test_a_layer_may_refuse_in_training_mode() -> None:
    layer, u = Normalized(1, 5).eval(), torch.randn(1, 1)
    _, state = layer.step(u, layer.initial_state(1))
    with pytest.raises(RuntimeError, match="statistics"):
        layer.train().step(u, state)
    layer.eval().step(u, state)


# ---- errors -------------------------------------------------------------------------------------


class Endless(Free):
    kernel_length = None

    def __init__(self) -> None:
        super().__init__(1, 5)
        self.kernel_length = None


def test_kernels_without_end_have_no_step() -> None:
    layer = Endless()
    with pytest.raises(NotImplementedError, match="Endless has no step: kernel_length must be set"):
        layer.initial_state(1)
    with pytest.raises(NotImplementedError, match="kernel_length"):
        layer.step(torch.zeros(1, 1), ())
    assert S4D(2).kernel_length is None  # and a step of its own
    with torch.no_grad():
        assert steps(S4D(2), torch.zeros(1, 2, 3)).shape == (1, 2, 3)


def bad_states(state: online.State) -> Iterator[tuple[str, Any]]:
    position, inputs, sums = state
    yield "list", [position, inputs, sums]
    yield "none", None
    yield "two", (position, inputs)
    yield "batch", tuple(x[:1] for x in state)
    yield "size", (position, inputs[..., :-1], sums[..., :-1])
    yield "dtype", (position, inputs.double(), sums.double())
    yield "position", (position.float(), inputs, sums)
    yield "device", (position, inputs.to("meta"), sums)


@pytest.mark.parametrize("recording", [False, True])
def test_states_of_another_kind(recording: bool) -> None:
    layer, u = Free(2, 100), torch.randn(3, 2)
    with torch.set_grad_enabled(recording):
        for name, state in bad_states(layer.initial_state(3)):
            error = TypeError if name in ("list", "none") else ValueError
            with pytest.raises(error, match=r"state must (be (a tuple of )?|have 3 )tensors"):
                layer.step(u, state)
        with pytest.raises(ValueError, match=r"u_t must have shape \(batch, 2\)"):
            layer.step(torch.zeros(3, 4), layer.initial_state(3))
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        layer.initial_state(0)
