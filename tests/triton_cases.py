"""The Triton kernels against the definition, where Triton is: run by `test_triton`.

On a machine with CUDA they run there; elsewhere under ``TRITON_INTERPRET=1``, on tiles so small
that a few dozen steps are several tiles with ragged edges.
"""

import pytest
import torch
import torch.nn.functional as F
from contract import assert_close
from torch import Tensor

from mrbook import native
from mrbook.baselines import S4D
from mrbook.bench import exactness
from mrbook.bench import gpu as bench
from mrbook.longconv import causal_conv, direct_conv
from mrbook.models import SequenceClassifier
from mrbook.multires import MultiresConv, multires_kernel, uniform_memory
from mrbook.native import gpu, triton_conv, triton_multires

DEVICE = "cpu" if gpu.interpreted() else "cuda"
#: The largest error by the largest value. The interpreter cuts bits off where the card rounds.
EPS = {torch.float32: 1e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}

# Batch, channels, length, taps: one of everything; less than a tile; more rows than a tile of rows
# and fewer; kernels shorter and longer than the input; several tiles of time and of taps.
SIZES = [
    (1, 1, 1, 1),
    (2, 3, 9, 9),
    (5, 2, 70, 37),
    (17, 1, 40, 5),
    (3, 2, 50, 83),
    (1, 2, 129, 129),
]


def randn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator).to(DEVICE, dtype)


def reverse_conv(u: Tensor, k: Tensor) -> Tensor:
    return direct_conv(u.flip(-1), k).flip(-1)


def gradients(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    g = randn(*y.shape).to(y.dtype)
    return [y, *torch.autograd.grad(y, inputs, g)]


@pytest.mark.parametrize("size", SIZES)
def test_convolution_and_gradients_equal_the_definition(size: tuple[int, ...]) -> None:
    batch, channels, length, taps = size
    u = randn(batch, channels, length).requires_grad_()
    k = randn(channels, taps).requires_grad_()
    exact = [tensor.detach().double().requires_grad_() for tensor in (u, k)]
    expected = gradients(direct_conv(*exact), *exact)
    for actual, wanted in zip(
        gradients(triton_conv.causal_conv(u, k), u, k), expected, strict=True
    ):
        assert actual.dtype == torch.float32
        assert_close(actual.double(), wanted, EPS[torch.float32])
    y = triton_conv.conv(u, k, length, True)
    exact = [tensor.detach().double().requires_grad_() for tensor in (u, k)]
    expected = gradients(reverse_conv(*exact), *exact)
    for actual, wanted in zip(gradients(y, u, k), expected, strict=True):
        assert_close(actual.double(), wanted, EPS[torch.float32])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_dtypes_round_inputs_and_outputs_but_no_sum(dtype: torch.dtype) -> None:
    u, k = randn(3, 2, 90, dtype=dtype).requires_grad_(), randn(2, 90).requires_grad_()
    y, du, dk = gradients(triton_conv.causal_conv(u, k), u, k)
    assert (y.dtype, du.dtype, dk.dtype) == (dtype, dtype, torch.float32)
    exact = u.detach().double().requires_grad_(), k.detach().to(dtype).double().requires_grad_()
    y_exact, du_exact, dk_exact = gradients(direct_conv(*exact), *exact)
    g = randn(*y.shape).to(dtype).double()
    du_exact, dk_exact = torch.autograd.grad(direct_conv(*exact), exact, g)
    # The taps are rounded (cut off, by the interpreter), and so is each output.
    assert_close(y.double(), y_exact, 2 * EPS[dtype])
    assert_close(du.double(), du_exact, 2 * EPS[dtype])
    assert_close(dk.double(), dk_exact, EPS[torch.float32])  # of inputs that are what they are


def test_any_strides_and_lengths() -> None:
    k = randn(3, 60)[:, ::2]
    for u in (randn(2, 50, 3).mT, randn(2, 3, 100)[..., ::2], randn(3, 2, 50).transpose(0, 1)):
        assert not u.is_contiguous()
        expected = direct_conv(u.double(), k.double())
        assert_close(triton_conv.causal_conv(u, k).double(), expected, EPS[torch.float32])
    u, k = randn(20, 1, 50), randn(1, 60)  # tiles that begin where the input has ended
    expected = direct_conv(F.pad(u, (0, 30)).double(), k.double())
    for length in (80, 20):
        y = triton_conv.conv(u, k, length, False)
        assert_close(y.double(), expected[..., :length], EPS[torch.float32])
    assert triton_conv.causal_conv(u[:0], k).shape == (0, 1, 50)
    assert not triton_conv.correlate(u[:0], u[:0], 7).any()


def test_every_derivative_exists() -> None:
    def second(conv, u: Tensor, k: Tensor) -> list[Tensor]:
        first = torch.autograd.grad(conv(u, k).square().sum(), (u, k), create_graph=True)
        return list(torch.autograd.grad(sum(g.square().sum() for g in first), (u, k)))

    u, k = randn(2, 1, 20).requires_grad_(), randn(1, 25).requires_grad_()
    exact = [tensor.detach().double().requires_grad_() for tensor in (u, k)]
    for ours, theirs in (
        (triton_conv.causal_conv, direct_conv),
        (triton_conv.causal_conv_gelu, lambda u, k: F.gelu(direct_conv(u, k))),
    ):
        pairs = zip(second(ours, u, k), second(theirs, *exact), strict=True)
        for actual, expected in pairs:
            assert_close(actual.double(), expected, 3e-6)


def test_the_future_has_no_gradient() -> None:
    u, k = randn(1, 2, 70).requires_grad_(), randn(2, 70)
    (gradient,) = torch.autograd.grad(triton_conv.causal_conv(u, k)[..., 33].sum(), u)
    assert not gradient[..., 34:].any()
    assert gradient[..., :34].all()


def test_gelu_on_the_way_out() -> None:
    u, k = randn(3, 2, 50).requires_grad_(), randn(2, 50).requires_grad_()
    exact = [tensor.detach().double().requires_grad_() for tensor in (u, k)]
    expected = gradients(F.gelu(direct_conv(*exact)), *exact)
    active = triton_conv.causal_conv_gelu(u, k)
    for actual, wanted in zip(gradients(active, u, k), expected, strict=True):
        assert_close(actual.double(), wanted, EPS[torch.float32])
    with torch.no_grad():
        assert torch.equal(triton_conv.causal_conv_gelu(u, k), active)
        assert triton_conv.conv_gelu(u, k, False)[1].numel() == 0


def test_compiles_into_one_graph_and_autocast_changes_nothing() -> None:
    def network(u: Tensor, k: Tensor) -> Tensor:
        return triton_conv.causal_conv(u, k) + triton_conv.causal_conv_gelu(u, k)

    u, k = randn(2, 2, 40).requires_grad_(), randn(2, 40).requires_grad_()
    expected = gradients(network(u, k), u, k)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.autocast(DEVICE, torch.bfloat16):
        for actual, wanted in zip(gradients(compiled(u, k), u, k), expected, strict=True):
            assert_close(actual, wanted, 1e-6)
    checks = "test_schema", "test_autograd_registration", "test_faketensor"
    torch.library.opcheck(triton_conv.conv, (u, k, 40, False), test_utils=checks)
    torch.library.opcheck(triton_conv.correlate, (u, u.detach(), 9), test_utils=checks)
    torch.library.opcheck(triton_conv.conv_gelu, (u, k, True), test_utils=checks)


def test_what_is_not_served_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs bfloat16, float16, float32 .*got torch.float64"):
        triton_conv.causal_conv(randn(1, 1, 4).double(), randn(1, 4).double())
    filters = randn(1, 1, 9)
    with pytest.raises(ValueError, match="at most 8 taps, got 9"):
        triton_multires.multires_kernel(20, filters, filters, randn(1, 4), (1, 1))


# ---- MultiresConv -------------------------------------------------------------------------------

# Taps, one filter for all levels or one for each, details kept (coarsest first), length. Lengths
# below what the tree reaches, and beyond.
TREES = [
    (2, True, (1,), 1),
    (2, True, (1, 1, 1, 1), 37),
    (2, False, (1, 1, 1, 1, 1), 20),
    (2, True, uniform_memory(10, 5, 2), 45),
    (3, False, (1, 1), 20),
    (4, True, (1, 1, 1), 19),
    (4, False, uniform_memory(12, 3, 4), 33),
]


@pytest.mark.parametrize(("taps", "tied", "kept", "length"), TREES)
def test_the_kernel_of_the_tree(taps: int, tied: bool, kept: tuple, length: int) -> None:
    # float64, which the operators take: so the comparison is sharp
    rows, weights = 1 if tied else len(kept), sum(kept) + 4  # two of them are never read
    h0, h1, w = (
        randn(2, *shape).double().requires_grad_()
        for shape in ((rows, taps), (rows, taps + 0), (weights,))
    )
    actual = gradients(triton_multires.kernel(h0, h1, w, kept, length), h0, h1, w)
    expected = gradients(multires_kernel(length, h0, h1, w, kept), h0, h1, w)
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs, 1e-14)


def test_the_kernel_has_no_second_derivative() -> None:
    h0, h1, w = (randn(1, *shape).requires_grad_() for shape in ((1, 2), (1, 2), (4,)))
    y = triton_multires.multires_kernel(9, h0, h1, w, (1, 1))
    (first,) = torch.autograd.grad(y.sum(), h0, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        first.sum().backward()


def test_the_kernel_compiles_into_one_graph() -> None:
    def network(h0: Tensor, h1: Tensor, w: Tensor) -> Tensor:
        return triton_multires.multires_kernel(20, h0, h1, w, (1, 1, 1))

    inputs = [randn(2, *shape).requires_grad_() for shape in ((1, 2), (1, 2), (5,))]
    expected = gradients(network(*inputs), *inputs)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for actual, wanted in zip(gradients(compiled(*inputs), *inputs), expected, strict=True):
        assert_close(actual, wanted, 1e-6)


# ---- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options", [{}, {"kernel_size": 4, "tie_levels": False}, {"wavelet": "db5"}]
)
def test_the_layer_equals_its_tree(options: dict, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = MultiresConv(1, length=20, **options).to(DEVICE)
    u = randn(2, 1, 20, dtype=dtype).requires_grad_()
    lengths = torch.tensor([20, 13], device=DEVICE)
    parameters = [u, *layer.parameters()]
    results = {}
    for layer.method in ("tree", "triton"):
        results[layer.method] = gradients(layer(u, lengths=lengths), *parameters)
    for expected, actual in zip(*results.values(), strict=True):
        assert_close(actual, expected, 5 * EPS[dtype])
    assert not results["triton"][0][1, :, 13:].any()


def test_every_convolution_may_take_the_kernels() -> None:
    layer = S4D(1, length=20).to(DEVICE)
    u = randn(2, 1, 20)
    expected = layer(u)
    layer.method = "triton"
    assert_close(layer(u), expected, 1e-5)
    k = randn(3, 1, 9)  # a kernel of its own for each sequence
    u = randn(3, 1, 20)
    assert_close(causal_conv(u, k, "triton"), causal_conv(u, k, "direct"), 1e-6)


def test_a_layer_that_takes_them_compiles_into_one_graph() -> None:
    layer = MultiresConv(1, length=10).to(DEVICE)
    layer.method = "triton"
    u = randn(2, 1, 10)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(compiled(u), layer(u), 1e-6)


def test_a_network_under_autocast_multiplies_in_the_short_dtype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if DEVICE == "cpu":  # as if it were a card
        monkeypatch.setattr(native, "available", lambda *_: False)
        monkeypatch.setattr(gpu, "available", lambda *_: True)
        monkeypatch.setattr(gpu, "preferred", lambda *_: True)
        monkeypatch.setattr(gpu, "worthwhile", lambda *_: True)
    seen, conv = [], triton_conv.causal_conv
    monkeypatch.setattr(
        triton_conv, "causal_conv", lambda u, k: seen.append((u.dtype, k.dtype)) or conv(u, k)
    )
    torch.manual_seed(0)
    model = SequenceClassifier(3, channels=1, width=2, layers=2, length=10).to(DEVICE)
    inputs = randn(2, 1, 10)
    results = {}
    for enabled in (False, True):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=enabled):
            outputs = model(inputs).float()
        weights = list(model.parameters())
        results[enabled] = [outputs, *torch.autograd.grad(outputs.square().sum(), weights)]
    assert seen == 2 * [(torch.float32, torch.float32)] + 2 * [(torch.bfloat16, torch.float32)]
    for exact, short in zip(results[False], results[True], strict=True):
        assert_close(short, exact, 0.1)


# ---- the benchmark ------------------------------------------------------------------------------


def test_what_is_measured_on_a_card_runs() -> None:
    if DEVICE == "cuda":
        pytest.skip("python -m mrbook.bench.gpu does it, with sizes that mean something")
    torch.manual_seed(0)
    checks = [*exactness._check_conv("cpu", True), *exactness._check_tree("cpu", True)]
    assert all(error <= limit for _, _, error, limit in checks)
    times, errors, failed = bench._times("cpu", True, 1, 1, 10, torch.bfloat16)
    assert {"triton", "its product", "its gelu", "triton, fft", "copy"} <= set(times)
    assert max(errors.values()) < 5e-2 and not failed
    assert set(bench._tiles("cpu")) == {"conv", "correlate"}
