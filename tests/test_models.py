"""Block, normalization, classifier, and the published network, written again in plain PyTorch."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from contract import assert_close
from torch import Tensor, nn

from mrbook.memory import tree_depth
from mrbook.models import (
    LAYERS,
    BatchNorm,
    Block,
    LayerNorm,
    PixelModel,
    SequenceClassifier,
    from_published,
    last_step,
    make_layer,
    masked_mean,
    real_steps,
)
from mrbook.multires import MultiresConv

DOUBLE = torch.float64
NORM_NAMES = ["layer", "batch"]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def scatter(module: nn.Module, seed: int = 0) -> nn.Module:
    """Parameters and statistics as after training: nothing is left at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for x in [*module.parameters(), *module.buffers()]:
            if x.is_floating_point():
                x.add_(torch.rand(x.shape, generator=generator, dtype=DOUBLE).to(x.dtype) / 4)
    return module


# ---- the published network ----------------------------------------------------------------------


class Published(nn.Module):
    """The published classifier in plain PyTorch, channels first, from the paper's recurrences."""

    def __init__(
        self,
        inputs: int,
        embeds: bool,
        norm: str,
        kernel_size: int,
        length: int,
        memory_size: int | None = None,
        width: int = 6,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.depth = math.ceil(math.log2((length - 1) / (kernel_size - 1) + 1))
        self.uniform = memory_size is not None
        m = memory_size or self.depth + 1
        self.embeds = embeds
        self.encoder = nn.Embedding(inputs, width) if embeds else nn.Conv1d(inputs, width, 1)
        self.seq_layers = nn.ModuleList(nn.Module() for _ in range(layers))
        for layer in self.seq_layers:
            taps = (1, kernel_size)
            for name, shape in {"h0": taps, "h1": taps, "w": (m + 1,)}.items():
                layer.register_parameter(name, nn.Parameter(torch.rand(width, *shape) - 0.5))
        self.mixing_layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GLU(dim=1)) for _ in range(layers)
        )
        kind = nn.BatchNorm1d if norm == "batch" else nn.LayerNorm
        self.norms = nn.ModuleList(kind(width) for _ in range(layers))
        self.output_mapping = nn.Linear(width, 7)

    def tree(self, layer: nn.Module, x: Tensor) -> Tensor:
        def conv(a: Tensor, h: Tensor, dilation: int) -> Tensor:
            padded = F.pad(a, (dilation * (h.shape[-1] - 1), 0))
            return F.conv1d(padded, h, dilation=dilation, groups=len(h))

        a, w, details = x, layer.w[..., None], []
        for level in range(self.depth):  # the finest first
            details.append(conv(a, layer.h1, 2**level))
            a = conv(a, layer.h0, 2**level)
        y, m = w[:, 0] * a + w[:, -1] * x, w.shape[1] - 1
        used, count = 1, 1
        for level in reversed(range(self.depth)):
            count = min(count, m - used)
            for n in range(count):  # the newest coefficient first, then older ones
                y = y + w[:, used + n] * conv_shift(details[level], n * 2 ** (level + 1))
            used += count
            count = 2 * (count - 1) + layer.h0.shape[-1] if self.uniform else 1
        return y

    def blocks(self, x: Tensor) -> Tensor:
        for layer, mixing, norm in zip(
            self.seq_layers, self.mixing_layers, self.norms, strict=True
        ):
            x = x + mixing(F.gelu(self.tree(layer, x)))
            x = norm(x) if isinstance(norm, nn.BatchNorm1d) else norm(x.mT).mT
        return x

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = self.blocks(self.encoder(x).mT if self.embeds else self.encoder(x))
        if lengths is None:
            return self.output_mapping(x.mean(-1))
        return self.output_mapping(
            torch.stack([one[:, :n].mean(-1) for one, n in zip(x, lengths, strict=True)])
        )


class PublishedDrawing(Published):
    """The published network that draws, likewise: the image goes in one pixel late."""

    def __init__(
        self, channels: int, length: int, mixtures: int = 2, memory_size: int | None = None
    ) -> None:
        super().__init__(channels, False, "layer", 4, length, memory_size)
        width = len(self.output_mapping.weight[0])
        del self.output_mapping
        for mixing in self.mixing_layers:
            mixing.extend([nn.Dropout1d(0.1), nn.Conv1d(width, width, 1)])
        self.decoder = nn.Conv1d(width, {1: 3, 3: 10}[channels] * mixtures, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.blocks(self.encoder(F.pad(x[..., :-1], (1, 0)))))


def conv_shift(x: Tensor, by: int) -> Tensor:
    """x, later by so many steps."""
    return F.pad(x, (by, 0))[..., : x.shape[-1]]


PUBLISHED: dict[str, dict] = {
    "layer": {"inputs": 3, "embeds": False, "norm": "layer", "kernel_size": 2},
    "batch": {"inputs": 3, "embeds": False, "norm": "batch", "kernel_size": 4},
    "embedding": {"inputs": 5, "embeds": True, "norm": "batch", "kernel_size": 4},
    "as wide as its inputs": {"inputs": 6, "embeds": False, "norm": "layer", "kernel_size": 2},
    "uniform": {
        "inputs": 3,
        "embeds": False,
        "norm": "layer",
        "kernel_size": 2,
        "memory_size": 11,
    },
    "uniform-4": {
        "inputs": 5,
        "embeds": True,
        "norm": "layer",
        "kernel_size": 4,
        "memory_size": 13,
    },
}


def published(name: str, length: int = 29) -> tuple[Published, dict, Tensor]:
    """The network, the options that its state dict can't tell, and inputs."""
    torch.manual_seed(1)
    network = scatter(Published(length=length, **PUBLISHED[name])).eval()
    options = {"memory": "uniform", "depth": network.depth} if network.uniform else {}
    if network.embeds:
        return network, options, torch.randint(5, (4, length))
    return network, options, torch.randn(4, network.encoder.in_channels, length)


@torch.no_grad()
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
def test_a_published_state_dict_gives_the_same_logits(
    name: str, prefix: str, dtype: torch.dtype, tolerance: float
) -> None:
    network, options, x = published(name)
    network = network.to(dtype)
    if not network.embeds:
        x = x.to(dtype)
    state = {prefix + key: value for key, value in network.state_dict().items()}
    model = from_published(state, dropout=0.3, **options)
    assert model.training and model.blocks[0].dropout == 0.3
    model.eval()
    lengths = torch.tensor([29, 1, 12, 28])
    assert network(x).std() > 0.1  # the logits are no constant
    assert_close(model(x), network(x), tolerance)
    assert_close(model(x, lengths), network(x, lengths), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_size", [None, 13])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
def test_a_published_drawing_network_gives_the_same_distributions(
    channels: int, memory_size: int | None, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(1)
    network = scatter(PublishedDrawing(channels, 29, memory_size=memory_size)).eval().to(dtype)
    x = randn(4, channels, 29).to(dtype)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    options = {"memory": "uniform", "depth": network.depth} if memory_size else {}
    model = from_published(state, dropout=0.3, **options)
    assert isinstance(model, PixelModel)
    assert model.training and model.blocks[0].dropout == 0.3
    model.eval()
    expected = network(x)
    assert expected.std() > 0.1 and expected.std(-1).min() > 1e-3  # the pixels' are no constant
    assert expected.shape == (4, 2 * (3 if channels == 1 else 10), 29)
    assert_close(model(x), expected, tolerance)
    state_of_model, steps = model.initial_state(4), []
    for t in range(29):
        before = x[..., t - 1] if t else torch.zeros_like(x[..., 0])
        params, state_of_model = model.step(before, state_of_model)
        steps.append(params)
    assert_close(torch.stack(steps, -1), expected, tolerance)
    assert model.draw(2, size=(5, 6), seed=0).shape == (2, channels, 5, 6)


def test_a_state_dict_that_is_not_of_the_published_drawing_network() -> None:
    state = PublishedDrawing(3, 29).state_dict()
    assert isinstance(from_published(state), PixelModel)

    def without(key: str) -> dict:
        return {name: value for name, value in state.items() if name != key}

    for bad, message in [
        (without("mixing_layers.1.3.bias"), "blocks.1.extra_mixing.bias"),
        (without("decoder.bias"), "head.bias"),
        (without("decoder.weight"), "no 'output_mapping.weight'"),
        ({**state, "output_mapping.weight": torch.zeros(20, 6)}, "'output_mapping.weight'"),
        ({**state, "decoder.weight": torch.zeros(21, 6, 1)}, "size mismatch for head.weight"),
        ({**state, "decoder.weight": torch.zeros(9, 6, 1)}, "mixtures must be at least 1"),
        ({**state, "decoder.weight": torch.zeros(20, 6)}, r"3 dimensions, got shape \(20, 6\)"),
        ({**state, "encoder.weight": torch.zeros(6, 2, 1)}, r"1 or 3, 1\), got \(6, 2, 1\)"),
        ({**state, "encoder.weight": torch.zeros(5, 3)}, r"1 or 3, 1\), got \(5, 3\)"),
        ({**state, "norms.0.running_mean": torch.zeros(6)}, "blocks.0.norm.running_mean"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_published(bad)


def test_a_loaded_network_trains_as_the_published_one() -> None:
    network, _, x = published("batch")
    network, x = network.double().train(), x.double()
    model = from_published(network.state_dict())
    expected, actual = network(x), model(x)
    assert_close(actual, expected)
    weights = torch.linspace(-1, 1, expected.numel(), dtype=DOUBLE).view_as(expected)
    (expected * weights).sum().backward()
    (actual * weights).sum().backward()
    assert_close(model.blocks[0].layer.h0.grad, network.seq_layers[0].h0.grad)
    assert_close(model.encoder.weight.grad, network.encoder.weight.grad[..., 0])
    for ours, theirs in zip(model.blocks, network.norms, strict=True):
        assert_close(ours.norm.running_mean, theirs.running_mean)
        assert_close(ours.norm.running_var, theirs.running_var)
        assert ours.norm.num_batches_tracked == theirs.num_batches_tracked == 1


def test_a_state_dict_that_is_not_of_the_published_network() -> None:
    network, _, _ = published("layer")
    state = network.state_dict()

    def without(*keys: str) -> dict:
        return {key: value for key, value in state.items() if key not in keys}

    for bad, message in [
        ({}, "no 'encoder.weight'"),
        (without("seq_layers.0.h0"), "no 'seq_layers.0.h0'"),
        (without("seq_layers.0.w"), "no 'seq_layers.0.w'"),
        (without("output_mapping.weight"), "no 'output_mapping.weight'"),
        (without("encoder.bias"), "encoder.bias"),
        (without("norms.1.weight"), "blocks.1.norm.weight"),
        (without("seq_layers.1.w"), "blocks.1.layer.w"),
        ({**state, "output.weight": torch.zeros(2)}, "'output.weight'"),
        ({**state, "mixing_layers.0.3.bias": torch.zeros(6)}, "'mixing_layers.0.3.bias'"),
        ({**state, "decoder.weight": torch.zeros(30, 6, 1)}, "'output_mapping.weight'"),
        ({**state, "xencoder.weight": torch.zeros(2)}, "'xencoder.weight'"),
        ({**state, "seq_layers.0.w": torch.zeros(6)}, r"2 dimensions, got shape \(6,\)"),
        ({**state, "encoder.weight": torch.zeros(6)}, r"2 or 3 dimensions, got shape \(6,\)"),
        ({**state, "encoder.weight": torch.zeros(6, 3, 2)}, "size mismatch for encoder.weight"),
        ({**state, "mixing_layers.1.0.weight": torch.zeros(12, 5, 1)}, "size mismatch"),
        ({**state, "norms.0.bias": torch.zeros(5)}, "size mismatch for blocks.0.norm.bias"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_published(bad)
    with pytest.raises(ValueError, match="depth must be given for the uniform memory"):
        from_published(state, memory="uniform")
    with pytest.raises(ValueError, match="'round'"):
        from_published(state, memory="round", depth=5)
    with pytest.raises(ValueError, match=r"size mismatch for blocks\.0\.layer\.w"):
        from_published(state, depth=4)


def test_the_published_networks_have_their_numbers_of_parameters() -> None:
    def count(model: nn.Module) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    with torch.device("meta"):
        images = SequenceClassifier(10, channels=3, width=256, layers=10, length=1024)
    assert count(images) == 1_365_514
    drawing = from_published(PublishedDrawing(3, 1024).state_dict())
    assert count(drawing) == count(PublishedDrawing(3, 1024))
    options = {"inputs": 18, "embeds": True, "norm": "batch", "kernel_size": 4}
    plain = Published(length=2000, width=8, layers=2, **options)
    ours = SequenceClassifier(
        7,
        vocabulary=18,
        width=8,
        layers=2,
        length=2000,
        norm="batch",
        layer_options={"kernel_size": 4},
    )
    assert count(ours) == count(plain)
    assert ours.blocks[0].layer.depth == plain.depth == tree_depth(2000, 4)


# ---- normalization ------------------------------------------------------------------------------


def run_norm(
    norm: nn.Module, x: Tensor, g: Tensor, call: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Output, gradients, and the running statistics after the call."""
    x = x.clone().requires_grad_()
    y = call(x)
    grads = torch.autograd.grad(y, (x, norm.weight, norm.bias), g)
    return {
        "y": y,
        **dict(zip(("x", "weight", "bias"), grads, strict=True)),
        "mean": norm.running_mean,
        "var": norm.running_var,
        "batches": norm.num_batches_tracked,
    }


def batch_norms(channels: int) -> tuple[BatchNorm, nn.BatchNorm1d]:
    ours, theirs = BatchNorm(channels, 1e-3, 0.3), nn.BatchNorm1d(channels, 1e-3, 0.3)
    for norm in (ours, theirs):
        scatter(norm.double())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    return ours, theirs


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 7, 7])])
def test_batch_norm_is_pytorchs_where_nothing_is_padded(
    training: bool, lengths: Tensor | None
) -> None:
    ours, theirs = batch_norms(4)
    ours.train(training), theirs.train(training)
    for seed in range(2):
        x, g = 2 * randn(3, 7, 4, seed=seed) + 5, randn(3, 7, 4, seed=9)
        expected = run_norm(theirs, x, g, lambda x: theirs(x.mT).mT)
        actual = run_norm(ours, x, g, lambda x: ours(x, lengths))
        for name, value in expected.items():
            assert_close(actual[name], value, 1e-12)


def test_batch_norm_counts_real_steps_only() -> None:
    ours, theirs = batch_norms(4)
    lengths = torch.tensor([7, 0, 2, 5])
    x, g = randn(4, 7, 4, seed=1), randn(4, 7, 4, seed=2)
    real = real_steps(x, lengths)[..., 0]
    assert real.sum(1).tolist() == lengths.tolist()
    dirty = x.masked_fill(~real[..., None], 1e30)
    actual = run_norm(ours, dirty, g * real[..., None], lambda x: ours(x, lengths))
    expected = run_norm(theirs, x[real], g[real], theirs)
    assert_close(actual["y"][real], expected.pop("y"), 1e-12)
    assert actual["y"].isfinite().all()
    assert_close(actual["x"][real], expected.pop("x"), 1e-12)
    assert not actual["x"][~real].any()
    for name, value in expected.items():
        assert_close(actual[name], value, 1e-12)


def test_batch_norm_evaluates_with_its_running_statistics() -> None:
    norm, _ = batch_norms(4)
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    x = randn(3, 7, 4)
    scale = norm.weight / (norm.running_var + 1e-3).sqrt()
    expected = (x - norm.running_mean) * scale + norm.bias
    assert_close(norm(x), expected, 1e-12)
    assert_close(norm(x, torch.tensor([1, 2, 7])), expected, 1e-12)
    assert_close(norm(x[:, 3]), expected[:, 3], 1e-12)  # one time step
    assert_close(norm(x[:1, :1]), expected[:1, :1], 1e-12)
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())


def test_batch_norm_needs_two_real_steps() -> None:
    norm, x = BatchNorm(4), torch.randn(3, 7, 4)
    with pytest.raises(ValueError, match="lengths must leave at least 2 time steps, got 1"):
        norm(x, torch.tensor([0, 1, 0]))
    assert norm.num_batches_tracked == 0
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(x[:1, :1])
    assert norm(x, torch.tensor([1, 1, 0])).isfinite().all()


def test_batch_norm_under_autocast_keeps_statistics_in_float32() -> None:
    norm, x = BatchNorm(4), (randn(3, 50, 4) + 8).bfloat16()
    lengths = torch.tensor([50, 3, 20])
    exact = copy.deepcopy(norm)
    expected = exact(x.float(), lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(x, lengths)
    assert y.dtype == torch.bfloat16
    assert_close(y.float(), expected, 1e-2)
    assert_close(norm.running_mean, exact.running_mean, 1e-6)
    assert_close(norm.running_var, exact.running_var, 1e-6)


def test_layer_norm_is_pytorchs_over_the_channels_of_a_step() -> None:
    norm, x = scatter(LayerNorm(4).double()), 3 * randn(3, 7, 4) + 1
    expected = F.layer_norm(x, (4,), norm.weight, norm.bias)
    for lengths in (None, torch.tensor([7, 1, 3])):
        assert_close(norm(x, lengths), expected, 1e-12)
    assert_close(norm(x[:, 2]), expected[:, 2], 1e-12)


# ---- block --------------------------------------------------------------------------------------


def block(norm: str = "layer", **options: object) -> Block:
    torch.manual_seed(0)
    return scatter(Block(4, MultiresConv(4, length=16), norm=norm, **options).double()).eval()


@torch.no_grad()
@pytest.mark.parametrize("norm", NORM_NAMES)
@pytest.mark.parametrize("extra_mixing", [False, True])
def test_steps_of_a_block_equal_the_sequence(norm: str, extra_mixing: bool) -> None:
    module, x = block(norm, extra_mixing=extra_mixing, dropout=0.5), randn(3, 13, 4)
    state, outputs = module.layer.initial_state(3), []
    for t in range(13):
        y, state = module.step(x[:, t], state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), module(x))


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_a_block_is_what_was_published(norm: str) -> None:
    module, x = block(norm, extra_mixing=True), randn(3, 13, 4)
    y = F.gelu(module.layer(x.mT)).mT @ module.mixing.weight.T + module.mixing.bias
    y = y[..., :4] * y[..., 4:].sigmoid()
    y = x + y @ module.extra_mixing.weight.T + module.extra_mixing.bias
    if norm == "layer":
        y = (y - y.mean(-1, True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    else:
        y = (y - module.norm.running_mean) / (module.norm.running_var + 1e-5).sqrt()
    assert_close(module(x), y * module.norm.weight + module.norm.bias, 1e-12)
    assert block(norm).extra_mixing is None


def test_a_block_takes_no_step_in_training() -> None:
    module = block().train()
    with pytest.raises(RuntimeError, match=r"evaluation mode only: call \.eval\(\) first"):
        module.step(randn(3, 4), module.layer.initial_state(3))


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_no_block_sees_the_future(norm: str) -> None:
    module, x = block(norm), randn(2, 13, 4).requires_grad_()
    module.layer.method = "tree"
    y = module(x)
    for t in (0, 5, 11):
        (gradient,) = torch.autograd.grad(y[:, t].square().sum(), x, retain_graph=True)
        assert gradient[:, : t + 1].any(0).any(-1).all()
        assert not gradient[:, t + 1 :].any()


@pytest.mark.parametrize("norm", NORM_NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_a_block_compiles_whole(norm: str, training: bool) -> None:
    torch.compiler.reset()
    lengths = torch.tensor([9, 4])
    plain, x, g = block(norm, extra_mixing=True).train(training), randn(2, 9, 4), randn(2, 9, 4)
    other = copy.deepcopy(plain)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    results = []
    for module, call in ((plain, plain), (other, compiled)):
        y = call(x, lengths)
        grads = torch.autograd.grad(y, list(module.parameters()), g)
        results.append([y, *grads, *(b.double() for b in module.buffers())])
    for expected, actual in zip(*results, strict=True):
        assert_close(actual, expected)


def test_dropout_compiles_whole() -> None:
    torch.compiler.reset()
    module = block(dropout=0.5).train()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert not torch.equal(compiled(randn(2, 9, 4)), module.eval()(randn(2, 9, 4)))


class Ones(nn.Module):
    """A layer that gives 1 whatever goes in."""

    def forward(self, u: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.ones_like(u)


class Keep(nn.Module):
    """A norm that keeps what it is given."""

    def __init__(self, seen: list[Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.seen.append(x)
        return x


@torch.no_grad()
def test_dropout_takes_whole_channels_of_whole_sequences() -> None:
    torch.manual_seed(0)
    width, p = 400, 0.25
    seen: list[Tensor] = []
    module = Block(width, Ones(), dropout=p)
    module.mixing.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module.norm = Keep(seen)
    module.mixing.weight.zero_()  # the gate lets half of 1 through
    module.mixing.bias.copy_(torch.cat([torch.ones(width), torch.zeros(width)]))
    x = torch.zeros(50, 3, width)
    module(x)
    module.eval()(x)
    one = F.gelu(torch.ones(()))
    first, second, *evaluated = seen
    for y, before in ((first, one), (second, torch.tensor(0.5))):
        assert y.shape == x.shape
        assert torch.equal(y, y[:, :1].expand_as(y))  # all steps alike
        kept = y[:, 0] != 0
        torch.testing.assert_close(y[:, 0], kept * before / (1 - p))
        # 20,000 draws: five standard deviations are 0.015
        assert abs(1 - kept.float().mean().item() - p) < 0.015
        assert not torch.equal(kept[0], kept[1])  # each sequence its own
    assert not torch.equal(first != 0, second != 0)
    torch.testing.assert_close(evaluated, [one.expand_as(x), torch.full_like(x, 0.5)])


def test_dropout_is_pytorchs() -> None:
    module, x = block(dropout=0.4).train(), randn(3, 13, 4)
    torch.manual_seed(5)
    y = module(x)
    torch.manual_seed(5)
    z = F.dropout1d(F.gelu(module.layer(x.mT)), 0.4).mT
    z = F.dropout1d(F.glu(module.mixing(z), -1).mT, 0.4).mT
    assert_close(y, module.norm(x + z), 1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "got -0.1"),
        ({"dropout": float("nan")}, "got nan"),
        ({"norm": "group"}, "norm must be one of layer, batch, got 'group'"),
    ],
)
def test_bad_blocks(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Block(4, MultiresConv(4, depth=2), **options)


# ---- classifier ---------------------------------------------------------------------------------


def classifier(**options: object) -> SequenceClassifier:
    torch.manual_seed(0)
    if "vocabulary" not in options:
        options = {"channels": 2, **options}
    return scatter(
        SequenceClassifier(3, **{"width": 4, "layers": 2, "length": 16, **options}).double()
    )


def loss_and_gradients(
    model: nn.Module, x: Tensor, lengths: Tensor | None, targets: Tensor
) -> list[Tensor]:
    """What training sees of a batch: loss, gradients, and the statistics afterwards."""
    model = copy.deepcopy(model)
    loss = F.cross_entropy(model(x, lengths), targets)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    assert all(g.any() for g in grads)
    return [loss, *grads, *(b.double() for b in model.buffers())]


@pytest.mark.parametrize("norm", NORM_NAMES)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(norm: str, tokens: bool, training: bool) -> None:
    model = classifier(norm=norm, **({"vocabulary": 5} if tokens else {})).train(training)
    lengths, targets = torch.tensor([9, 2, 5, 1]), torch.tensor([0, 1, 2, 0])
    x = torch.randint(1, 5, (4, 9)) if tokens else randn(4, 2, 9)
    real = torch.arange(9) < lengths[:, None]
    real = real if tokens else real[:, None]
    expected = loss_and_gradients(model, x * real, lengths, targets)
    longer = F.pad(x * real, (0, 7))
    for other in (
        longer,
        longer.masked_fill(~F.pad(real, (0, 7)), 3),
        longer.masked_fill(~F.pad(real, (0, 7)), -100 if tokens else math.nan),
    ):
        for actual, value in zip(
            loss_and_gradients(model, other, lengths, targets), expected, strict=True
        ):
            assert_close(actual, value, 1e-12)
    if norm == "layer" or not training:  # then each sequence goes its own way
        for i, n in enumerate(lengths.tolist()):
            assert_close(model(x[i : i + 1, ..., :n]), model(x, lengths)[i : i + 1], 1e-12)


def test_whole_sequences_are_the_same_with_lengths_and_without() -> None:
    for norm in NORM_NAMES:
        model, x, targets = classifier(norm=norm), randn(3, 2, 9), torch.tensor([0, 1, 2])
        pairs = zip(
            loss_and_gradients(model, x, torch.full((3,), 9), targets),
            loss_and_gradients(model, x, None, targets),
            strict=True,
        )
        for actual, expected in pairs:
            assert_close(actual, expected, 1e-12)


def test_the_mean_over_real_steps() -> None:
    x = randn(3, 5, 2)
    lengths = torch.tensor([5, 0, 2])
    x[2, 2:] = math.nan
    y = masked_mean(x, lengths)
    assert_close(y[0], x[0].mean(0), 1e-12)
    assert_close(y[2], x[2, :2].mean(0), 1e-12)
    assert not y[1].any()
    assert_close(masked_mean(x[:2]), x[:2].mean(1), 1e-12)


def test_the_last_real_step() -> None:
    x = randn(3, 5, 2)
    y = last_step(x, torch.tensor([5, 0, 2]))
    assert torch.equal(y, torch.stack([x[0, 4], torch.zeros_like(x[1, 0]), x[2, 1]]))
    assert torch.equal(last_step(x), x[:, -1])


def test_the_pool_feeds_the_last_map() -> None:
    model = classifier(vocabulary=5, pool="last").eval()
    tokens, lengths = torch.randint(5, (3, 9)), torch.tensor([9, 4, 1])
    y = model(tokens, lengths)
    for i, n in enumerate(lengths):
        x = model.encoder(tokens[i : i + 1, :n])
        for block in model.blocks:
            x = block(x)
        assert_close(y[i], model.head(x[0, -1]), 1e-12)
    with pytest.raises(ValueError, match="pool must be one of mean, last, got 'max'"):
        classifier(vocabulary=5, pool="max")


def test_pairs_meet_before_the_last_map() -> None:
    model = classifier(vocabulary=5, pair=True)
    tokens, lengths = torch.randint(5, (6, 9)), torch.tensor([9, 4, 1, 2, 7, 9])
    means = model.features(tokens, lengths)
    a, b = means[[0, 2, 4]], means[[1, 3, 5]]
    expected = torch.cat([a, b, a - b, a * b], 1) @ model.head.weight.T + model.head.bias
    assert expected.shape == (3, 3)
    assert_close(model(tokens, lengths), expected, 1e-12)
    swapped = tokens.view(3, 2, 9).flip(1).reshape(6, 9)
    assert not torch.allclose(model(swapped), model(tokens))
    with pytest.raises(ValueError, match="inputs must hold pairs of sequences, got 5 rows"):
        model(tokens[:5])


@pytest.mark.parametrize("layer", LAYERS)
def test_any_layer_serves_by_its_name(layer: str) -> None:
    model = classifier(layer=layer, layers=1)
    assert type(model.blocks[0].layer) is LAYERS[layer]
    y = model(randn(2, 2, 16), torch.tensor([16, 3]))
    assert y.shape == (2, 3) and y.dtype == DOUBLE
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_options_reach_the_layer() -> None:
    layer = classifier(length=None, layer_options={"depth": 3, "kernel_size": 4}).blocks[1].layer
    assert (layer.depth, layer.kernel_size, layer.channels) == (3, 4, 4)
    assert classifier(length=100).blocks[0].layer.depth == tree_depth(100, 2)
    model = classifier(dropout=0.2, norm="batch")
    assert [(b.dropout, type(b.norm)) for b in model.blocks] == [(0.2, BatchNorm)] * 2


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_gradients_of_a_classifier(norm: str) -> None:
    model = classifier(width=2, norm=norm)
    names, parameters = zip(*model.named_parameters(), strict=True)
    lengths = torch.tensor([6, 1, 3])

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(
            model, dict(zip(names, values, strict=True)), (x, lengths)
        )

    x = randn(3, 2, 6).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


def test_a_classifier_compiles_whole() -> None:
    torch.compiler.reset()
    model, tokens = classifier(vocabulary=5, layers=1), torch.randint(5, (3, 9))
    lengths = torch.tensor([9, 1, 4])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(compiled(tokens, lengths), model(tokens, lengths))


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_a_state_dict_goes_round(norm: str) -> None:
    model, other = classifier(norm=norm), classifier(norm=norm)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    other.load_state_dict(model.state_dict())
    x = randn(3, 2, 9)
    assert torch.equal(other.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"channels": None}, ValueError, "channels=None and vocabulary=None"),
        ({"vocabulary": 4}, ValueError, "channels=2 and vocabulary=4"),
        ({"channels": 0}, ValueError, "channels must be at least 1, got 0"),
        ({"channels": None, "vocabulary": 0}, ValueError, "vocabulary must be at least 1, got 0"),
        ({"classes": 0}, ValueError, "classes must be at least 1, got 0"),
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"layers": 0}, ValueError, "layers must be at least 1, got 0"),
        ({"layers": 2.0}, TypeError, "layers must be an integer, got 2.0"),
        ({"layer": "rnn"}, ValueError, "layer must be one of multires, .*, got 'rnn'"),
        ({"layer_options": {"taps": 3}}, TypeError, "taps"),
        ({"length": None}, ValueError, "length or depth"),
        ({"norm": "group"}, ValueError, "norm must be one of layer, batch, got 'group'"),
        ({"dropout": 1}, ValueError, "dropout must be at least 0 and below 1, got 1"),
    ],
)
def test_bad_classifiers(options: dict, error: type[Exception], message: str) -> None:
    good = {"classes": 3, "channels": 2, "width": 4, "layers": 1, "length": 16}
    with pytest.raises(error, match=message):
        SequenceClassifier(**{**good, **options})


def test_bad_inputs() -> None:
    numbers, tokens = classifier(), classifier(vocabulary=5)
    for model, x, message in [
        (numbers, randn(3, 9), r"inputs must have shape \(batch, 2, length\), got \(3, 9\)"),
        (numbers, randn(3, 9, 2), r"\(batch, 2, length\), got \(3, 9, 2\)"),
        (numbers, randn(3, 2, 0), "inputs must have a length of at least 1"),
        (numbers, torch.zeros(3, 2, 9, dtype=torch.int64), "inputs .*, got torch.int64"),
        (numbers, randn(3, 2, 9).float(), "torch.float64, got torch.float32"),
        (tokens, torch.zeros(3, 9), r"int64 of shape \(batch, length\), got torch.float32"),
        (tokens, torch.zeros(3, 9, 1, dtype=torch.int64), r"of shape \(3, 9, 1\)"),
        (tokens, torch.zeros(3, 0, dtype=torch.int64), r"of shape \(3, 0\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            model(x)
    for model, x in [(numbers, randn(3, 2, 9)), (tokens, torch.zeros(3, 9, dtype=torch.int64))]:
        with pytest.raises(ValueError, match="lengths must be from 0 to 9, got 1 to 10"):
            model(x, torch.tensor([1, 10, 2]))
        with pytest.raises(ValueError, match=r"lengths must have shape \(3,\), got \(2,\)"):
            model(x, torch.tensor([1, 2]))
        with pytest.raises(TypeError, match="lengths must be a tensor"):
            model(x, [1, 2, 3])
        with pytest.raises(TypeError, match="inputs must be a tensor, got list"):
            model(x.tolist())


def test_layers_by_name() -> None:
    assert make_layer("multires", 3, None, depth=2).depth == 2
    with pytest.raises(ValueError, match=r"layer must be one of multires, .*, got 'Multires'"):
        make_layer("Multires", 3, 10)
    with pytest.raises(TypeError, match="taps"):
        make_layer("multires", 3, 10, taps=2)
