"""The contract that every sequence layer is held to.

A test module joins by naming its layers::

    class TestContract(LayerContract):
        cases = {"a name": Layer(lambda: MyLayer(channels=3), channels=3)}

All comparisons are in float64 unless a test is about precision.
"""

import copy
import dataclasses
import io
import shutil
import warnings
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from mrbook import native
from mrbook.longconv import causal_conv

LENGTHS = (1, 2, 13, 50)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer under test and what it claims.

    Attributes
    ----------
    make : callable
        Builds the layer, as it computes when no statistics are gathered (evaluation mode).
    channels : int
    exact : bool
        Whether future inputs have a gradient of exactly zero; an FFT leaves rounding errors.
    linear, steps, second : bool
        Whether it has a kernel, a step, and second derivatives.
    inductor : bool
        Whether it is compiled with inductor too, which is slow.
    fullgraph : bool
        Whether it compiles as one graph; PyTorch's own recurrent networks compile in parts.
    float32, bfloat16 : float
        Largest error allowed in float32, and under autocast with bfloat16 inputs, relative to the
        largest output.
    """

    make: Callable[[], nn.Module]
    channels: int
    exact: bool = True
    linear: bool = True
    steps: bool = True
    second: bool = True
    inductor: bool = False
    fullgraph: bool = True
    float32: float = 1e-5
    bfloat16: float = 2e-2
    needs_native: bool = False

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make().double().eval()

    def input(self, length: int, batch: int = 3) -> Tensor:
        generator = torch.Generator().manual_seed(length)
        return torch.randn(batch, self.channels, length, generator=generator, dtype=torch.float64)


def convolution(
    make: Callable[..., nn.Module], method: str, inductor: bool = False, **options: object
) -> Layer:
    """A layer of 3 channels that is one convolution, by one of the methods of `causal_conv`."""

    def build() -> nn.Module:
        layer = make(3, **options)
        layer.method = method
        return layer

    return Layer(
        build,
        channels=3,
        exact=method in ("direct", "fused"),
        needs_native=method == "fused",
        inductor=inductor,
    )


def have_native() -> bool:
    """Whether fused kernels can be had, asked without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", native.NativeWarning)
        return native.available()


def steps(layer: nn.Module, u: Tensor) -> Tensor:
    """The output of whole sequences, one step after the other."""
    state, outputs = layer.initial_state(len(u)), []
    for t in range(u.shape[-1]):
        y, state = layer.step(u[..., t], state)
        outputs.append(y)
    return torch.stack(outputs, -1)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    """Same shape and dtype, no difference above the tolerance relative to the largest value."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    actual, expected = actual.detach(), expected.detach()
    largest = float(expected.abs().max()) or 1.0
    assert float((actual - expected).abs().max()) <= tolerance * largest


class LayerContract:
    """Tests that a subclass inherits and runs for each of its `cases`."""

    cases: ClassVar[dict[str, Layer]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            need = pytest.mark.skipif(not have_native(), reason="needs a C++ compiler")
            metafunc.parametrize(
                "case",
                [
                    pytest.param(case, id=name, marks=[need] if case.needs_native else [])
                    for name, case in self.cases.items()
                ],
            )

    @pytest.mark.parametrize("length", LENGTHS)
    def test_any_length_keeps_shape_and_dtype(self, case: Layer, length: int) -> None:
        u = case.input(length)
        y = case.build()(u)
        assert y.shape == u.shape
        assert y.dtype == u.dtype
        assert y.abs().max() > 0

    @pytest.mark.parametrize("length", LENGTHS)
    def test_is_the_convolution_with_its_kernel(self, case: Layer, length: int) -> None:
        if not case.linear:
            pytest.skip("is not linear")
        layer, u = case.build(), case.input(length)
        kernel = layer.kernel(length)
        assert kernel.shape == (case.channels, length)
        bias = torch.as_tensor(layer.bias, dtype=u.dtype).reshape(-1, 1)
        assert_close(layer(u), causal_conv(u, kernel, "direct") + bias)

    @pytest.mark.parametrize("length", LENGTHS)
    @torch.no_grad()
    def test_stacked_steps_equal_the_sequence(self, case: Layer, length: int) -> None:
        if not case.steps:
            pytest.skip("has no step")
        layer, u = case.build(), case.input(length)
        assert_close(steps(layer, u), layer(u))

    def test_steps_have_the_gradients_of_the_sequence(self, case: Layer) -> None:
        if not case.steps:
            pytest.skip("has no step")
        layer, u = case.build(), case.input(9).requires_grad_()
        inputs = [u, *layer.parameters()]
        g = torch.randn_like(u)
        expected = torch.autograd.grad(layer(u), inputs, g, allow_unused=True)
        actual = torch.autograd.grad(steps(layer, u), inputs, g, allow_unused=True)
        for a, e, like in zip(actual, expected, inputs, strict=True):
            zero = torch.zeros_like(like)
            assert_close(zero if a is None else a, zero if e is None else e)

    @torch.no_grad()
    def test_a_state_can_be_saved_batched_and_taken_apart(self, case: Layer) -> None:
        if not case.steps:
            pytest.skip("has no step")
        layer, u = case.build(), case.input(12, batch=2)
        expected = layer(u)
        # two streams that started at different times go on in one batch
        early, late = layer.initial_state(1), layer.initial_state(1)
        for t in range(8):
            _, early = layer.step(u[:1, :, t], early)
        for t in range(3):
            _, late = layer.step(u[1:, :, t], late)
        assert isinstance(early, tuple) and all(isinstance(x, Tensor) for x in early)
        file = io.BytesIO()
        torch.save(early, file)
        file.seek(0)
        early = torch.load(file, weights_only=True)
        both = tuple(torch.cat(pair) for pair in zip(early, late, strict=True))
        for i in range(4):
            y, both = layer.step(torch.stack([u[0, :, 8 + i], u[1, :, 3 + i]]), both)
            assert_close(y, torch.stack([expected[0, :, 8 + i], expected[1, :, 3 + i]]))
        late = tuple(x[1:] for x in both)
        assert_close(layer.step(u[1:, :, 7], late)[0], expected[1:, :, 7])

    def test_ragged_batch_equals_its_sequences_alone(self, case: Layer) -> None:
        layer, u = case.build(), case.input(20, batch=4)
        lengths = torch.tensor([20, 1, 7, 0])
        y = layer(u, lengths=lengths)
        assert y.shape == u.shape
        for i, n in enumerate(lengths.tolist()):
            assert not y[i, :, n:].any()
            if n:
                assert_close(y[i, :, :n], layer(u[i : i + 1, :, :n])[0])

    @pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
    def test_padding_changes_no_kept_bit(self, case: Layer, garbage: float) -> None:
        layer, u = case.build(), case.input(20)
        lengths = torch.tensor([20, 5, 13])
        dirty = u.clone()
        for i, n in enumerate(lengths.tolist()):
            dirty[i, :, n:] = garbage
        dirty.requires_grad_()
        y = layer(dirty, lengths=lengths)
        assert torch.equal(y, layer(u, lengths=lengths))
        y.square().sum().backward()
        for i, n in enumerate(lengths.tolist()):
            assert dirty.grad[i, :, :n].isfinite().all()
            assert not dirty.grad[i, :, n:].any()
        assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())

    @pytest.mark.parametrize("length", [2, 13, 50])
    def test_the_future_has_no_gradient(self, case: Layer, length: int) -> None:
        layer, u = case.build(), case.input(length).requires_grad_()
        y = layer(u)
        for t in {0, length // 3, length - 2}:
            (gradient,) = torch.autograd.grad(y[..., t].sum(), u, retain_graph=True)
            assert gradient[..., : t + 1].any()
            future = gradient[..., t + 1 :].abs().max()
            assert future <= (0 if case.exact else 1e-13) * gradient.abs().max()

    def test_gradients(self, case: Layer) -> None:
        layer, u = case.build(), case.input(6, batch=2).requires_grad_()
        names, parameters = zip(*layer.named_parameters(), strict=True)

        def run(u: Tensor, *values: Tensor) -> Tensor:
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (u,))

        assert torch.autograd.gradcheck(run, (u, *parameters), fast_mode=True)

    def test_second_gradients(self, case: Layer) -> None:
        layer, u = case.build(), case.input(4, batch=1).requires_grad_()
        names, parameters = zip(*layer.named_parameters(), strict=True)

        def run(u: Tensor, *values: Tensor) -> Tensor:
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (u,))

        if case.second:
            assert torch.autograd.gradgradcheck(run, (u, *parameters), fast_mode=True)
        else:
            (du,) = torch.autograd.grad(layer(u).sum(), u, create_graph=True)
            with pytest.raises(RuntimeError, match=r"second derivative|is not implemented"):
                du.sum().backward()

    def test_state_dict_round_trip(self, case: Layer) -> None:
        layer, other, u = case.build(), case.make().double().eval(), case.input(13)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other(u), layer(u))
        assert torch.equal(copy.deepcopy(layer)(u), layer(u))

    def test_any_strides(self, case: Layer) -> None:
        layer, u = case.build(), case.input(13)
        turned = u.transpose(1, 2).contiguous().transpose(1, 2)
        assert not turned.is_contiguous() or case.channels == 1
        sparse = torch.stack([u, -u], -1).flatten(2)[..., ::2]
        for other in (turned, sparse):
            other = other.detach().requires_grad_()
            y = layer(other)
            assert_close(y, layer(u))
            (y * sparse).sum().backward()
            plain = u.clone().requires_grad_()
            (layer(plain) * u).sum().backward()
            assert_close(other.grad, plain.grad)

    def test_compiles_whole(self, case: Layer) -> None:
        backends = ["aot_eager"]
        if case.inductor and shutil.which("g++"):
            backends.append("inductor")
        for backend in backends:
            torch.compiler.reset()
            layer = case.build()
            compiled = torch.compile(layer, fullgraph=case.fullgraph, backend=backend)
            for length in (13, 17) if backend == "aot_eager" else (13,):
                u = case.input(length).requires_grad_()
                inputs = [u, *layer.parameters()]
                g = torch.randn_like(u)
                expected = layer(u)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # inductor's own, about its insides
                    actual = compiled(u)
                assert_close(actual, expected)
                gradients = torch.autograd.grad(expected, inputs, g, allow_unused=True)
                compiled_gradients = torch.autograd.grad(actual, inputs, g, allow_unused=True)
                for a, e, like in zip(compiled_gradients, gradients, inputs, strict=True):
                    zero = torch.zeros_like(like)
                    assert_close(zero if a is None else a, zero if e is None else e)

    @torch.no_grad()
    def test_a_step_compiles_whole(self, case: Layer) -> None:
        if not case.steps:
            pytest.skip("has no step")
        torch.compiler.reset()
        layer, u = case.build(), case.input(5)
        step = torch.compile(layer.step, fullgraph=case.fullgraph, backend="aot_eager")
        state, expected = layer.initial_state(len(u)), layer(u)
        for t in range(5):
            y, state = step(u[..., t], state)
            assert_close(y, expected[..., t])

    def test_float32_and_autocast_stay_close(self, case: Layer) -> None:
        layer, u = case.build(), case.input(50)
        exact = layer(u)
        single = copy.deepcopy(layer).float()
        assert single(u.float()).dtype == torch.float32
        assert_close(single(u.float()).double(), exact, case.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(single(u.float()).double(), exact, case.bfloat16)
            short = single(u.bfloat16())
        assert_close(short.double(), exact, case.bfloat16)
