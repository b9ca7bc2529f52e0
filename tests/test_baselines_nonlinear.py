"""WaveNet and Attention: the contract, WaveNet against its parts, Attention against PyTorch's."""

import itertools
import math
from typing import ClassVar

import pytest
import torch
from contract import Layer, LayerContract, assert_close, steps
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mrbook.baselines import Attention, WaveNet, attention, rotary

DOUBLE = torch.float64


def wavenet(inductor: bool = False, **options: object) -> Layer:
    return Layer(lambda: WaveNet(3, **options), channels=3, linear=False, inductor=inductor)


def heads(channels: int, heads: int, inductor: bool = False) -> Layer:
    return Layer(
        lambda: Attention(channels, heads=heads, length=50),
        channels=channels,
        linear=False,
        second=False,
        inductor=inductor,
    )


class TestContract(LayerContract):
    cases: ClassVar = {
        "wavenet": wavenet(length=16),
        "wavenet-3-wide": wavenet(kernel_size=3, length=20, hidden=5),
        "wavenet-1-level": wavenet(length=2, hidden=1, inductor=True),
        "attention-1": heads(2, 1),
        "attention-2": heads(8, 2, inductor=True),
    }


def randn(*shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def count(layer: nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters())


# ---- WaveNet ------------------------------------------------------------------------------------


def convolve(u: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    """PyTorch's convolution that sees zeros on both sides, the first outputs of it."""
    outputs, inputs, taps = weight.shape
    conv = nn.Conv1d(inputs, outputs, taps, dilation=dilation, padding=(taps - 1) * dilation)
    conv.weight, conv.bias = nn.Parameter(weight), None if bias is None else nn.Parameter(bias)
    return conv(u)[..., : u.shape[-1]]


@pytest.mark.parametrize(("kernel_size", "depth", "length"), [(2, 4, 16), (3, 3, 15), (2, 1, 2)])
def test_wavenet_is_a_sum_of_skips(kernel_size: int, depth: int, length: int) -> None:
    layer = WaveNet(4, kernel_size, length=length, hidden=3).double()
    assert layer.depth == depth
    u = randn(2, 4, 40)
    a = convolve(u, layer.front.weight, layer.front.bias)
    y = layer.out.bias[:, None] * torch.ones_like(u)
    for level in range(depth):
        gates = layer.gates[level]
        content = convolve(a, gates.weight[:3], gates.bias[:3], 2**level)
        gate = convolve(a, gates.weight[3:], gates.bias[3:], 2**level)
        z = torch.tanh(content) * torch.sigmoid(gate)
        y = y + convolve(z, layer.out.weight[:, 3 * level : 3 * level + 3], None)
        if level < depth - 1:
            a = a + convolve(z, layer.residuals[level].weight, layer.residuals[level].bias)
    assert_close(layer(u), y, 1e-12)
    with torch.no_grad():
        assert_close(steps(layer, u), y, 1e-12)


@pytest.mark.parametrize(("kernel_size", "length"), [(2, 16), (2, 17), (3, 20)])
def test_how_far_wavenet_sees(kernel_size: int, length: int) -> None:
    layer = WaveNet(2, kernel_size, length=length).double()
    reach = (kernel_size - 1) * (2**layer.depth - 1) + 1
    assert reach >= length
    u = randn(1, 2, reach + 3).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(u)[..., -1].sum(), u)
    assert gradient[0].any(0).tolist() == [False] * 3 + [True] * reach
    state = layer.initial_state(5)
    assert [tuple(x.shape) for x in state] == [(5,), (5, reach - 1, 2)]


def test_wavenet_counts_its_parameters() -> None:
    for C, H, K, length, J in ((5, 5, 2, 1024, 10), (7, 3, 4, 100, 6), (2, 2, 2, 1, 1)):
        layer = WaveNet(C, K, length=length, hidden=H)
        assert layer.depth == J
        expected = H * (C + 1) + 2 * J * H * (K * H + 1) + (J - 1) * H * (H + 1) + C * (J * H + 1)
        assert count(layer) == expected


# ---- attention ----------------------------------------------------------------------------------


def test_attention_without_positions_is_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "rotary", lambda x, position: x)
    layer = Attention(12, heads=3).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, dtype=DOUBLE)
    theirs.load_state_dict(layer.attention.state_dict())
    u = randn(2, 12, 20)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(randn(*p.shape))
        layer.attention.load_state_dict(theirs.state_dict())
    mask = nn.Transformer.generate_square_subsequent_mask(20, dtype=DOUBLE)
    x = u.mT
    expected = theirs(x, x, x, attn_mask=mask, need_weights=False)[0].mT
    assert_close(layer(u), expected, 1e-12)
    with torch.no_grad():
        assert_close(steps(layer, u), expected, 1e-12)


def test_attention_is_a_softmax_over_turned_queries_and_keys() -> None:
    layer = Attention(8, heads=2).double()
    u = randn(3, 8, 15)
    dim, own = 4, layer.attention
    y = torch.zeros_like(u)
    for b, head in itertools.product(range(3), range(2)):
        W = own.in_proj_weight.detach().view(3, 2, dim, 8)[:, head]
        bias = own.in_proj_bias.detach().view(3, 2, dim)[:, head]
        q, k, v = (W @ u[b] + bias[..., None]).unbind(0)
        for t in range(15):
            scores = []
            for s in range(t + 1):
                score = 0.0
                for pair in range(2):  # a pair of numbers is a complex one, turned by an angle
                    one = complex(*q[2 * pair : 2 * pair + 2, t])
                    other = complex(*k[2 * pair : 2 * pair + 2, s])
                    angle = (t - s) * 10000 ** (-2 * pair / dim)
                    turned = one * complex(math.cos(angle), math.sin(angle))
                    score += (turned * other.conjugate()).real
                scores.append(score / math.sqrt(dim))
            weights = torch.tensor(scores, dtype=DOUBLE).softmax(0)
            found = v[:, : t + 1] @ weights
            y[b, :, t] += own.out_proj.weight.detach()[:, head * dim : (head + 1) * dim] @ found
    y += own.out_proj.bias.detach()[:, None]
    assert_close(layer(u), y, 1e-12)


def test_rotary_tells_distances_only() -> None:
    q, k = randn(2, 6, 10)
    position = torch.arange(6)
    near = (rotary(q, position) * rotary(k, position + 3)).sum(-1)
    far = (rotary(q, position + 1000) * rotary(k, position + 1003)).sum(-1)
    assert_close(far, near, 1e-11)
    assert_close(rotary(q, position).norm(dim=-1), q.norm(dim=-1), 1e-12)
    assert not torch.allclose(near, (q * k).sum(-1))
    half = rotary(q.bfloat16(), position + 1000)
    assert half.dtype == torch.bfloat16
    assert_close(half.double(), rotary(q.bfloat16().double(), position + 1000), 1e-2)


def test_attention_that_asks_nothing_is_the_running_mean() -> None:
    layer = Attention(4, heads=1).double()
    with torch.no_grad():
        layer.attention.in_proj_weight.zero_()
        layer.attention.in_proj_bias.zero_()
        layer.attention.in_proj_weight[8:] = torch.eye(4, dtype=DOUBLE)
        layer.attention.out_proj.weight.copy_(torch.eye(4))
        u = randn(2, 4, 9)
        mean = u.cumsum(-1) / torch.arange(1, 10)
        assert_close(layer(u), mean, 1e-12)


@pytest.mark.parametrize("learning", [False, True])
def test_a_full_cache_grows(learning: bool) -> None:
    layer, u = Attention(4, length=3).double(), randn(2, 4, 20)
    with torch.set_grad_enabled(learning):
        expected = layer(u)
        state, sizes = layer.initial_state(2), []
        for t in range(20):
            y, state = layer.step(u[..., t], state)
            assert_close(y, expected[..., t])
            sizes.append(state[1].shape[2])
    assert sizes == [3] * 3 + [6] * 3 + [12] * 6 + [24] * 8
    assert state[0].tolist() == [20, 20]
    assert Attention(4).initial_state(1)[1].shape == (1, 2, 64, 2)


def test_a_young_stream_sees_nothing_of_an_old_one() -> None:
    layer, u = Attention(4, length=8).double(), randn(2, 4, 8)
    state = layer.initial_state(2)
    state[0][0] = 5
    state[1][1], state[2][1] = 1e6, 1e6  # slots that the second stream has not filled yet
    with torch.no_grad():
        y, _ = layer.step(u[..., 0], state)
    assert_close(y[1], layer(u[1:, :, :1])[0, :, 0])


def test_attention_has_second_derivatives_in_pytorchs_own_form() -> None:
    layer, u = Attention(4).double(), randn(1, 4, 5).requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(layer, u, fast_mode=True)


def test_attention_counts_its_parameters() -> None:
    assert count(Attention(12, heads=3)) == 4 * 12 * 13


def test_bad_heads_are_named() -> None:
    with pytest.raises(ValueError, match=r"channels must be a multiple of 2 \* heads = 8.*got 12"):
        Attention(12, heads=4)
    with pytest.raises(ValueError, match="heads must be at least 1, got 0"):
        Attention(12, heads=0)


def test_rotary_turns_pairs_only() -> None:
    with pytest.raises(ValueError, match=r"x must have an even last dimension, got \(2, 3\)"):
        rotary(torch.zeros(2, 3), torch.arange(2))


# ---- both ---------------------------------------------------------------------------------------

MAKERS = {"wavenet": WaveNet, "attention": Attention}


@pytest.mark.parametrize("name", MAKERS)
class TestBoth:
    def test_parameters_take_device_and_dtype(self, name: str) -> None:
        make = MAKERS[name]
        assert all(p.is_meta for p in make(4, length=20, device="meta").parameters())
        layer = make(4, length=20, dtype=torch.bfloat16)
        assert all(p.dtype == torch.bfloat16 for p in layer.parameters())
        u = randn(2, 4, 20).bfloat16()
        y = layer(u)
        assert y.dtype == torch.bfloat16
        with torch.no_grad():
            stepped = steps(layer, u)
        assert stepped.dtype == torch.bfloat16
        exact = layer.double()(u.double())
        assert_close(y.double(), exact, 3e-2)
        assert_close(stepped.double(), exact, 3e-2)

    @torch.no_grad()
    def test_steps_under_autocast(self, name: str) -> None:
        layer, u = MAKERS[name](4, length=20).float(), randn(2, 4, 12, dtype=torch.float32)
        expected = layer(u)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(steps(layer, u), expected, 2e-2)
            y = steps(layer, u.bfloat16())
        assert y.dtype == torch.bfloat16
        assert_close(y.float(), expected, 2e-2)
        assert_close(steps(layer, u.bfloat16()).float(), expected, 2e-2)

    def test_a_state_is_updated_in_place_unless_gradients_are_recorded(self, name: str) -> None:
        layer, u = MAKERS[name](4, length=20).double(), randn(2, 4)
        before, state = layer.initial_state(2), layer.initial_state(2)
        layer.step(u, state)
        assert all(torch.equal(a, b) for a, b in zip(before, state, strict=True))
        with torch.no_grad():
            _, after = layer.step(u, state)
        assert all(a is b for a, b in zip(after, state, strict=True))
        assert after[0].tolist() == [1, 1] and after[1].any()

    def test_bad_input_is_named(self, name: str) -> None:
        make = MAKERS[name]
        with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
            make(0, length=5)
        with pytest.raises(TypeError, match="length must be an integer, got 'long'"):
            make(4, length="long")
        layer = make(4, length=5)
        with pytest.raises(ValueError, match=r"u must have shape \(batch, 4, length\)"):
            layer(torch.zeros(1, 3, 5))
        with pytest.raises(ValueError, match="lengths must be from 0 to 5"):
            layer(torch.zeros(1, 4, 5), lengths=torch.tensor([6]))
        with pytest.raises(ValueError, match="batch must be at least 1"):
            layer.initial_state(0)
        state, u = layer.initial_state(2), torch.zeros(2, 4)
        with pytest.raises(ValueError, match=r"u_t must have shape \(batch, 4\)"):
            layer.step(torch.zeros(2, 3), state)
        with pytest.raises(ValueError, match=r"state must have tensors of shape \(2,.* got \(1,"):
            layer.step(u, layer.initial_state(1))
        with pytest.raises(ValueError, match=r"state must be of .*got .*torch\.float64"):
            layer.step(u, (state[0], *(x.double() for x in state[1:])))
        with pytest.raises(ValueError, match="state must be on cpu, got meta"):
            layer.step(u, tuple(x.to("meta") for x in state))


def test_bad_options_of_wavenet_are_named() -> None:
    with pytest.raises(ValueError, match="kernel_size must be at least 2, got 1"):
        WaveNet(4, 1, length=5)
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        WaveNet(4, length=5, hidden=0)


def test_a_state_of_another_kind_is_refused() -> None:
    layer, u = Attention(4), torch.zeros(2, 4)
    state = layer.initial_state(2)
    with pytest.raises(TypeError, match="state must be a tuple of 3 tensors, got Tensor"):
        layer.step(u, state[0])
    with pytest.raises(TypeError, match="state must be a tuple of 3 tensors, got 2"):
        layer.step(u, state[:2])
    with pytest.raises(ValueError, match=r"state must have tensors of shape \(2, 2, 64, 2\)"):
        layer.step(u, (*state[:2], state[2][:, :, :5]))
    with pytest.raises(TypeError, match="state must be a tuple of tensors, got tuple"):
        layer.step(u, (state[0], None, None))
