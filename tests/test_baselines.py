"""S4D and LSTM: the contract, S4D against matrix exponentials and HiPPO, LSTM against PyTorch's."""

import copy
import itertools
import math
from typing import ClassVar

import mpmath
import numpy as np
import pytest
import torch
from contract import Layer, LayerContract, assert_close, convolution, steps
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mrbook.baselines import LSTM, S4D, exponentials, lstm_step, s4d_spectrum, zero_order_hold
from mrbook.memory import hippo_legs


class TestContract(LayerContract):
    cases: ClassVar = {
        "s4d-direct-lin": convolution(S4D, "direct", inductor=True),
        "s4d-fft-inv": convolution(S4D, "fft", init="inv"),
        "s4d-fused-real": convolution(S4D, "fused", init="real"),
        "s4d-auto-2": convolution(S4D, "auto", state_size=2),
        "lstm": Layer(lambda: LSTM(3), channels=3, linear=False, fullgraph=False),
    }


# ---- S4D ----------------------------------------------------------------------------------------


def published_parameters(channels: int, modes: int) -> dict[str, Tensor]:
    """Names and shapes of the published layer's, trained to somewhere: not an initialization."""
    generator = torch.Generator().manual_seed(modes)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "log_dt": draw(channels) - 2,
        "log_A_real": draw(channels, modes),
        "A_imag": 10 * draw(channels, modes),
        "C": draw(channels, modes, 2),
        "D": draw(channels),
    }


def state_space(u: Tensor, p: dict[str, Tensor]) -> Tensor:
    """``x' = A x + B u``, ``y = C x + D u`` with u held over dt, by a real matrix exponential.

    Every complex mode is a block of two real ones; ``exp(dt [[A, B], [0, 0]])`` takes a step.
    """
    y = torch.zeros_like(u)
    for channel in range(u.shape[1]):
        real, imaginary = -p["log_A_real"][channel].exp(), p["A_imag"][channel]
        n = 2 * len(real)
        system = torch.zeros(n + 1, n + 1, dtype=u.dtype)
        for i, (a, b) in enumerate(zip(real, imaginary, strict=True)):
            system[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[a, -b], [b, a]])
            system[2 * i, n] = 1
        step = torch.linalg.matrix_exp(p["log_dt"][channel].exp() * system)
        read = torch.stack([2 * p["C"][channel, :, 0], -2 * p["C"][channel, :, 1]], 1).flatten()
        x = torch.zeros(len(u), n, dtype=u.dtype)
        for t in range(u.shape[-1]):
            x = x @ step[:n, :n].T + u[:, channel, t, None] * step[:n, n]
            y[:, channel, t] = x @ read + p["D"][channel] * u[:, channel, t]
    return y


@pytest.mark.parametrize("modes", [1, 5])
def test_s4d_is_the_state_space_of_its_parameters(modes: int) -> None:
    parameters = published_parameters(channels=3, modes=modes)
    layer = S4D(3, state_size=2 * modes, dtype=torch.float64)
    layer.load_state_dict(parameters)
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 3, 70, generator=generator, dtype=torch.float64)
    expected = state_space(u, parameters)
    assert_close(layer(u), expected, 1e-12)
    with torch.no_grad():
        assert_close(steps(layer, u), expected, 1e-12)
    impulse = torch.zeros(1, 3, 70, dtype=torch.float64)
    impulse[..., 0] = 1
    assert_close(layer.kernel(70), state_space(impulse, parameters)[0], 1e-12)


@pytest.mark.parametrize("length", [*range(1, 19), 255, 256, 257, 1000])
def test_exponentials_equal_vandermondes_product(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    c, log_z = torch.randn(2, 3, 7, generator=generator, dtype=torch.complex128)
    log_z = torch.complex(-log_z.real.abs() / 20, log_z.imag)
    matrix = (log_z[..., None] * torch.arange(length)).exp()
    assert_close(exponentials(length, c, log_z), 2 * (c[..., None] * matrix).sum(1).real, 1e-12)


def test_s4d_never_makes_the_table_of_all_exponentials() -> None:
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(x, Tensor):
                    self.size = max(self.size, x.untyped_storage().nbytes())
            return out

    channels, length = 16, 8192
    layer = S4D(channels)
    with Largest() as largest:
        layer.kernel(length).sum().backward()
    assert largest.size <= 2 * channels * length * 4


def test_a_long_s4d_kernel_is_accurate_in_float32() -> None:
    for init in ("lin", "inv", "real"):
        torch.manual_seed(0)
        layer = S4D(20, init=init)
        exact = copy.deepcopy(layer).double()
        assert_close(layer.kernel(16384).double(), exact.kernel(16384), 5e-6)


def test_zero_order_hold_keeps_its_digits_for_small_steps() -> None:
    for real, dtype, tolerance in (
        (torch.float32, torch.complex64, 1e-6),
        (torch.float64, torch.complex128, 1e-14),
    ):
        for A, dt in itertools.product((-0.5, -0.5 + 100j, -64), (1e-6, 1e-3, 0.1)):
            step = torch.tensor(dt, dtype=real)
            _, b = zero_order_hold(step, torch.tensor(A, dtype=dtype))
            exact = complex(mpmath.expm1(mpmath.mpf(step.item()) * A) / A)
            assert b.dtype == dtype
            assert abs(b.item() - exact) <= tolerance * abs(exact)


@pytest.mark.parametrize("init", ["lin", "inv", "real"])
def test_s4d_starts_as_published(init: str) -> None:
    torch.manual_seed(0)
    layer = S4D(4000, init=init, state_size=8)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "log_dt": (4000,),
        "log_A_real": (4000, 4),
        "A_imag": (4000, 4),
        "C": (4000, 4, 2),
        "D": (4000,),
    }
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in layer.parameters())
    expected = {
        "lin": [-0.5 + 1j * math.pi * n for n in range(4)],
        "inv": [-0.5 + 8j / math.pi * x for x in (7, 8 / 3 - 1, 8 / 5 - 1, 8 / 7 - 1)],
        "real": [-1, -2, -3, -4],
    }[init]
    A = torch.complex(-layer.log_A_real.exp(), layer.A_imag).detach()
    torch.testing.assert_close(A, torch.tensor(expected, dtype=A.dtype).expand(4000, 4))
    dt = layer.log_dt.detach().exp()
    assert 0.001 <= dt.min() < 0.00102 and 0.098 < dt.max() <= 0.1
    assert (dt < 0.01).float().mean() == pytest.approx(0.5, abs=0.03)  # the geometric middle
    for values, variance in ((layer.C.detach(), 0.5), (layer.D.detach(), 1.0)):
        assert values.mean() == pytest.approx(0, abs=0.05)
        assert values.var() == pytest.approx(variance, rel=0.06)


def test_s4d_inv_and_s4d_real_follow_hippo_legs() -> None:
    for size, tolerance in ((64, 0.02), (256, 0.005)):
        A, _ = hippo_legs(size)
        P = (torch.arange(size, dtype=torch.float64) + 0.5).sqrt()
        normal = torch.linalg.eigvals(torch.outer(P, P) - A)  # of HiPPO without its low-rank part
        inverse = s4d_spectrum("inv", size)
        torch.testing.assert_close(normal.real, torch.full_like(normal.real, -0.5))
        assert inverse.real.eq(-0.5).all()
        assert inverse.imag.max() == pytest.approx(normal.imag.max().item(), rel=tolerance)
        eigenvalues = torch.linalg.eigvals(-A).real if size == 64 else -A.diagonal()
        real = s4d_spectrum("real", size)
        torch.testing.assert_close(real.real, eigenvalues.sort(descending=True)[0][: size // 2])
        assert not real.imag.any()


def test_s4d_is_stable_whatever_is_learned() -> None:
    torch.manual_seed(0)
    layer = S4D(50, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(2 * torch.randn_like(parameter))
        state = layer.initial_state(1)
        _, state = layer.step(torch.ones(1, 50, dtype=torch.float64), state)
        for _ in range(5):
            before = state[0].abs()
            _, state = layer.step(torch.zeros(1, 50, dtype=torch.float64), state)
            after = state[0].abs()
            assert ((after < before) | (after == 0)).all()


def test_a_step_of_s4d_follows_its_parameters() -> None:
    layer = S4D(2, state_size=4)
    u, (s,) = torch.ones(1, 2), layer.initial_state(1)
    with torch.no_grad():
        layer.step(u, (s,))
        for parameter in layer.parameters():
            parameter += 1
        y, _ = layer.step(u, (s,))
        assert_close(y, layer.kernel(1).T)
        layer.load_state_dict(S4D(2, state_size=4).state_dict())
        assert_close(layer.step(u, (s,))[0], layer.kernel(1).T)
        layer.C.data = 3 * layer.C.data
        assert_close(layer.step(u, (s,))[0], layer.kernel(1).T)
        layer.C.data.mul_(2)
        assert_close(layer.step(u, layer.initial_state(1))[0], layer.kernel(1).T)
        double = copy.deepcopy(layer).double()
        assert_close(double.step(u.double(), double.initial_state(1))[0], double.kernel(1).T)
    with torch.inference_mode():
        inferred = S4D(2, state_size=4)
        assert_close(inferred.step(u, inferred.initial_state(1))[0], inferred.kernel(1).T)
        layer.step(u, (s,))
    y, _ = layer.step(u, (s,))
    assert y.requires_grad


# ---- LSTM ---------------------------------------------------------------------------------------


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_lstm_is_pytorchs() -> None:
    layer, theirs = LSTM(5), nn.LSTM(5, 5)
    theirs.load_state_dict(layer.lstm.state_dict())
    u = randn(3, 5, 20)
    assert_close(layer(u), theirs(u.permute(2, 0, 1))[0].permute(1, 2, 0), 1e-6)
    lengths = torch.tensor([4, 20, 11])
    packed = nn.utils.rnn.pack_padded_sequence(u.permute(2, 0, 1), lengths, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0])[0].permute(1, 2, 0)
    assert_close(layer(u, lengths=lengths), expected, 1e-6)


def test_lstm_takes_numpys_integers() -> None:
    assert LSTM(np.int64(5)).channels == 5


def test_a_step_of_lstm_is_pytorchs_cell() -> None:
    cell = nn.LSTMCell(4, 6)
    u, h, c = randn(3, 4), randn(3, 6), 2 * randn(6, 3).T
    actual = lstm_step(u, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    for a, e in zip(actual, cell(u, (h, c)), strict=True):
        assert_close(a, e, 1e-6)


# ---- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [S4D, LSTM])
class TestBoth:
    def test_the_length_changes_nothing(self, make: type[S4D] | type[LSTM]) -> None:
        outputs = []
        for length in (None, 1, 1000):
            torch.manual_seed(0)
            outputs.append(make(4, length=length)(randn(2, 4, 30)))
        assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])

    def test_parameters_take_device_and_dtype(self, make: type[S4D] | type[LSTM]) -> None:
        assert all(p.is_meta for p in make(4, device="meta").parameters())
        layer = make(4, dtype=torch.bfloat16)
        assert all(p.dtype == torch.bfloat16 for p in layer.parameters())
        u = randn(2, 4, 30).bfloat16()
        assert layer(u).dtype == torch.bfloat16
        y, state = layer.step(u[..., 0], layer.initial_state(2))
        y, _ = layer.step(u[..., 1], state)
        assert y.dtype == torch.bfloat16
        assert_close(y.float(), layer(u)[..., 1].float(), 2e-2)

    @torch.no_grad()
    def test_autocast_and_short_inputs_are_computed_in_float32(
        self, make: type[S4D] | type[LSTM]
    ) -> None:
        layer, u = make(4), randn(2, 4, 30)
        expected, step = layer(u), layer.step(u[..., 0], layer.initial_state(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(u), expected)
            y, state = layer.step(u[..., 0], layer.initial_state(2))
            assert torch.equal(y, step[0]) and torch.equal(state[0], step[1][0])
        short = u.bfloat16()
        assert torch.equal(layer(short), layer(short.float()).bfloat16())
        y, state = layer.step(short[..., 0], layer.initial_state(2))
        assert y.dtype == torch.bfloat16
        assert_close(y.float(), layer(short)[..., 0].float(), 1e-2)
        assert [x.dtype for x in state] == [x.dtype for x in layer.initial_state(2)]

    def test_bad_input_is_named(self, make: type[S4D] | type[LSTM]) -> None:
        with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
            make(0)
        with pytest.raises(TypeError, match="length must be an integer, got 'long'"):
            make(3, length="long")
        layer = make(3)
        with pytest.raises(ValueError, match=r"u must have shape \(batch, 3, length\)"):
            layer(torch.zeros(1, 4, 5))
        with pytest.raises(ValueError, match="lengths must be from 0 to 5"):
            layer(torch.zeros(1, 3, 5), lengths=torch.tensor([6]))
        with pytest.raises(ValueError, match="batch must be at least 1"):
            layer.initial_state(0)
        state, u = layer.initial_state(2), torch.zeros(2, 3)
        with pytest.raises(ValueError, match=r"u_t must have shape \(batch, 3\)"):
            layer.step(torch.zeros(2, 4), state)
        with pytest.raises(ValueError, match=r"state must have tensors of shape \(2, 3"):
            layer.step(u, layer.initial_state(1))
        with pytest.raises(ValueError, match=r"state must be of torch\.\w+, got torch\.int64"):
            layer.step(u, tuple(x.long() for x in map(torch.zeros_like, map(torch.abs, state))))
        with pytest.raises(ValueError, match=r"state must have \d tensors?, got 3"):
            layer.step(u, (state[0],) * 3)
        with pytest.raises(ValueError, match="state must be on cpu, got meta"):
            layer.step(u, tuple(x.to("meta") for x in state))
        with pytest.raises(TypeError, match="state must be a tuple of tensors, got Tensor"):
            layer.step(u, state[0])


def test_numbers_of_parameters() -> None:
    assert sum(p.numel() for p in S4D(5, state_size=6).parameters()) == 5 * (2 * 6 + 2)
    assert sum(p.numel() for p in LSTM(5).parameters()) == 8 * 5 * 6


def test_bad_options_of_s4d_are_named() -> None:
    with pytest.raises(ValueError, match="state_size must be even, got 5"):
        S4D(3, state_size=5)
    with pytest.raises(ValueError, match="state_size must be at least 2, got 0"):
        S4D(3, state_size=0)
    with pytest.raises(ValueError, match="init must be one of lin, inv, real, got 'legs'"):
        S4D(3, init="legs")
    for dt in ((0, 1), (0.2, 0.1), (0.1, math.inf), (math.nan, 1)):
        with pytest.raises(ValueError, match=r"dt_m.. must be above 0 and .*, got"):
            S4D(3, dt_min=dt[0], dt_max=dt[1])
    with pytest.raises(TypeError, match=r"dt_min must be a number, got '0.1'"):
        S4D(3, dt_min="0.1")
    layer = S4D(3)
    layer.method = "magic"
    message = "method must be auto, direct, fft, fused, triton, got 'magic'"
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(1, 3, 5))
