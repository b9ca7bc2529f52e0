"""The model that draws: the published network, causality, steps against the whole, and images."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from contract import assert_close
from torch import Tensor

from mrbook.likelihood import from_levels, logistic_mixture_nll
from mrbook.models.pixel import PixelModel

PUBLISHED: dict[str, Any] = {
    "width": 512,
    "layers": 48,
    "length": 1024,
    "mixtures": 10,
    "layer_options": {"kernel_size": 4, "independent_skip": True},
}


def small(channels: int = 3, **options: Any) -> PixelModel:
    """A small model in float64 whose mixtures are lively: no two pixels have the same."""
    torch.manual_seed(0)
    options = {"width": 12, "layers": 3, "length": 36, "mixtures": 4, **options}
    model = PixelModel(channels, **options).double()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model.eval()


def images(batch: int, channels: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (batch, channels, length), generator=generator)
    return from_levels(levels.to(torch.uint8), torch.float64)


# ---- the published network ----------------------------------------------------------------------


def test_the_published_number_of_parameters() -> None:
    def count(channels: int = 3, **options: Any) -> int:
        with torch.device("meta"):
            model = PixelModel(channels, **PUBLISHED, **options)
        return sum(parameter.numel() for parameter in model.parameters())

    assert count() == 38_391_908
    assert count(classes=10) == count() + 10 * 512
    assert count(channels=1) == count() - 2 * 512 - 70 * 513  # encoder; head of 30, not 100


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_published_network(channels: int) -> None:
    """Its forward pass in convolutions over ``(batch, channels, length)``, without dropout."""
    model = small(channels, layer_options={"kernel_size": 4, "independent_skip": True})
    p = {name: value.detach() for name, value in model.named_parameters()}

    def pointwise(x: Tensor, name: str) -> Tensor:
        return F.conv1d(x, p[f"{name}.weight"][..., None], p[f"{name}.bias"])

    x = images(2, channels, 36)
    z = pointwise(torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], -1), "encoder")
    for i in range(3):
        h0, h1, w = (p[f"blocks.{i}.layer.{name}"] for name in ("h0", "h1", "w"))
        depth = w.shape[1] - 2
        a, y = z, w[:, -1:] * z
        for level in range(depth):
            past = F.pad(a, (3 * 2**level, 0))
            y = y + w[:, depth - level, None] * F.conv1d(past, h1, dilation=2**level, groups=12)
            a = F.conv1d(past, h0, dilation=2**level, groups=12)
        y = F.gelu(y + w[:, :1] * a)
        y = F.glu(pointwise(y, f"blocks.{i}.mixing"), dim=1)
        z = z + pointwise(y, f"blocks.{i}.extra_mixing")
        norm = p[f"blocks.{i}.norm.weight"], p[f"blocks.{i}.norm.bias"]
        z = F.layer_norm(z.mT, (12,), *norm).mT
    assert_close(model(x), pointwise(z, "head"))


# ---- causality ----------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, 2])
def test_a_pixel_depends_on_those_before_it_alone(classes: int | None) -> None:
    model, x = small(classes=classes), images(2, 3, 36).requires_grad_()
    labels = None if classes is None else torch.tensor([0, 1])
    params = model(x, labels)
    assert params.shape == (2, 40, 36) and params.dtype == torch.float64
    for t in (0, 1, 17, 35):
        (gradient,) = torch.autograd.grad(params[..., t].sum(), x, retain_graph=True)
        assert (gradient[..., t:] == 0).all()
        assert (gradient[..., :t].abs().sum((0, 1)) > 0).all()
    nll = logistic_mixture_nll(x, params).sum()  # pixel 35 is seen by the likelihood alone
    (gradient,) = torch.autograd.grad(nll, x)
    assert (gradient[..., 35] == 0).all() and (gradient[..., 34] != 0).any()


def test_the_dropout_is_of_whole_channels_and_leaks_nothing() -> None:
    model, x = small(dropout=0.5).train(), images(2, 3, 36)
    other = torch.cat([x[..., :20], -x[..., 20:]], -1)
    torch.manual_seed(1)
    params = model(x)
    assert not torch.equal(params, model(x))
    torch.manual_seed(1)
    assert_close(model(other)[..., :21], params[..., :21])


# ---- one pixel at a time ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (3, {}),
        (1, {}),
        (3, {"classes": 4}),
        (3, {"layer_options": {"kernel_size": 4, "independent_skip": True}}),
        (3, {"layer_options": {"memory": "uniform", "memory_size": 9}}),
        (3, {"layer": "s4d"}),
        (1, {"layer": "lstm", "classes": 4}),
    ],
)
def test_every_pixel_is_drawn_from_the_distribution_of_the_whole_network(
    channels: int, options: dict[str, Any]
) -> None:
    model = small(channels, **options)
    labels = torch.tensor([0, 3, 1]) if "classes" in options else None
    drawn = list(model.pixels(3, 40, seed=1, labels=labels))
    assert all(params.grad_fn is None for params, _ in drawn)
    x = torch.stack([x for _, x in drawn], -1)
    assert x.shape == (3, channels, 40) and len(x.unique()) > 30
    params = torch.stack([params for params, _ in drawn], -1)
    assert_close(params, model(x, labels))
    if labels is not None:
        assert not torch.allclose(params, model(x, labels.flip(0)))


@torch.no_grad()
def test_steps_of_several_images_are_those_of_each() -> None:
    model, x = small(classes=3), images(3, 3, 10)
    labels = torch.tensor([2, 0, 1])
    expected = model(x, labels)
    together = model.initial_state(3)
    alone = [model.initial_state(1) for _ in range(3)]
    before = torch.zeros(3, 3, dtype=torch.float64)
    for t in range(10):
        params, together = model.step(before, together, labels)
        assert_close(params, expected[..., t])
        for i in range(3):
            own, alone[i] = model.step(before[i : i + 1], alone[i], labels[i : i + 1])
            assert_close(own, params[i : i + 1])
        before = x[..., t]
    # States are tensors with the batch first: one image goes on by itself.
    second = tuple(tuple(part[1:2].clone() for part in layer) for layer in together)
    params, _ = model.step(before[1:2], second, labels[1:2])
    assert_close(params, model.step(before, together, labels)[0][1:2])


def test_steps_have_the_gradients_of_the_whole() -> None:
    model, x = small(), images(2, 3, 6)
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    state, before, total = model.initial_state(2), torch.zeros_like(x[..., 0]), torch.zeros(())
    for t in range(6):
        params, state = model.step(before, state)
        total, before = total + params.square().sum(), x[..., t]
    for a, b in zip(torch.autograd.grad(total, list(model.parameters())), expected, strict=True):
        assert_close(a, b, 1e-9)


# ---- images -------------------------------------------------------------------------------------


def test_drawn_images() -> None:
    model = small()
    drawn = model.draw(4, seed=3)
    assert drawn.shape == (4, 3, 6, 6) and drawn.dtype == torch.uint8
    assert len(drawn.flatten(1).unique(dim=0)) == 4
    assert torch.equal(model.draw(4, seed=3), drawn)
    assert not torch.equal(model.draw(4, seed=4), drawn)
    values = torch.stack([x for _, x in model.pixels(4, 36, seed=3)], -1)
    assert torch.equal(from_levels(drawn, torch.float64).flatten(2), values)
    assert model.draw(2, size=(3, 11), seed=0).shape == (2, 3, 3, 11)  # rows first
    assert torch.equal(
        model.draw(1, size=(9, 4), seed=0).flatten(), model.draw(1, seed=0).flatten()
    )
    assert small(1).draw(2, size=(5, 2)).shape == (2, 1, 5, 2)
    assert model.float().draw(2, seed=0).shape == (2, 3, 6, 6)
    assert model.bfloat16().draw(2, seed=0).shape == (2, 3, 6, 6)


def test_the_seed_decides_and_nothing_else() -> None:
    model = small()
    before = torch.get_rng_state()
    drawn = model.draw(2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    other = small(layers=1).eval()
    with torch.no_grad():
        assert not torch.equal(other.draw(2, seed=0), drawn)
    torch.manual_seed(5)
    first = model.draw(2)
    assert not torch.equal(model.draw(2), first)
    torch.manual_seed(5)
    assert torch.equal(model.draw(2), first)
    assert torch.equal(copy.deepcopy(model).draw(2, seed=0), drawn)


def test_drawing_is_in_evaluation_mode_and_leaves_the_mode_alone() -> None:
    model = small(dropout=0.5)
    expected = model.draw(2, seed=0)
    model.train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    assert torch.equal(model.draw(2, seed=0), expected)
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(ValueError, match="temperature must be"):
        model.draw(2, temperature=0)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_cold_images_are_all_alike() -> None:
    model = small()
    assert len(model.draw(5, temperature=1e-9).flatten(1).unique(dim=0)) == 1
    spread = [model.draw(20, seed=0, temperature=t).double().std(0).mean() for t in (0.05, 1, 3)]
    assert spread[0] < spread[1] < spread[2]


def test_images_have_the_probabilities_of_the_network() -> None:
    """Chi-square test over all gray images of two pixels that are not rare."""
    model = small(1, mixtures=2, width=4, layers=1)
    with torch.no_grad():  # few levels: scales of a fraction of a bin
        model.head.weight.mul_(0.02)
        model.head.bias.copy_(torch.tensor([0.3, -0.2, -0.1, 0.11, -6.0, -5.7]))
        model.encoder.weight.mul_(20)
        drawn = model.draw(40_000, size=(1, 2), seed=0)
        cells, counts = drawn.flatten(1).unique(dim=0, return_counts=True)
        x = from_levels(cells[:, None], torch.float64)
        params = model(x)
        assert (params[:, 2:4, 1].amax(0) - params[:, 2:4, 1].amin(0) > 0.003).all()
        expected = len(drawn) * (-logistic_mixture_nll(x, params)).exp()
    common = expected >= 25
    expected = torch.cat([expected[common], (len(drawn) - expected[common].sum())[None]])
    observed = torch.cat([counts[common], (len(drawn) - counts[common].sum())[None]])
    assert len(expected) > 20
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    assert torch.special.gammaincc(freedom, statistic / 2) > 1e-3


def test_it_learns_and_is_stored() -> None:
    """A few steps make one image likely; the weights come back."""
    torch.manual_seed(0)
    model = PixelModel(3, width=16, layers=2, length=16, mixtures=2, classes=2)
    x, labels = images(1, 3, 16).float(), torch.tensor([1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = logistic_mixture_nll(x, model(x, labels)).sum() / (48 * math.log(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 3
    assert model.embedding is not None and model.embedding.weight.grad is not None
    assert (model.embedding.weight.grad[1] != 0).all()
    other = PixelModel(3, width=16, layers=2, length=16, mixtures=2, classes=2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.draw(1, seed=0, labels=labels), model.draw(1, seed=0, labels=labels))


def test_short_dtypes_and_the_compiler() -> None:
    model, x = small(), images(2, 3, 36)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), model(x))
    exact, model = model(x), model.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(model(x.float()).double(), exact, 5e-2)
        assert model.draw(2, seed=0).shape == (2, 3, 6, 6)


# ---- bad input ----------------------------------------------------------------------------------

ZEROS = torch.zeros(2, 3, 36, dtype=torch.float64)
ONE = torch.zeros(2, dtype=torch.int64)


def of_classes() -> PixelModel:
    return small(classes=3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: small(2), ValueError, "channels must be 1 or 3, got 2"),
        (lambda: small(width=0), ValueError, "width must be at least 1, got 0"),
        (lambda: small(layers=1.5), TypeError, "layers must be an integer, got 1.5"),
        (lambda: small(mixtures=0), ValueError, "mixtures must be at least 1"),
        (lambda: small(classes=0), ValueError, "classes must be at least 1"),
        (lambda: small(layer="gru"), ValueError, "layer must be one of"),
        (lambda: small(dropout=1), ValueError, "dropout must be"),
        (lambda: small()(ZEROS[:, :1]), ValueError, r"x must have shape \(batch, 3, length\)"),
        (lambda: small()(ZEROS[..., :0]), ValueError, "x must have a length of at least 1"),
        (lambda: small()(ZEROS.float()), ValueError, "x must go with parameters of torch.float64"),
        (lambda: small()(ZEROS.byte()), ValueError, "x must go with parameters of torch.float64"),
        (lambda: small()(ZEROS, ONE), ValueError, "labels must be left out"),
        (lambda: of_classes()(ZEROS), ValueError, "labels must be given: the model has 3 classes"),
        (lambda: of_classes()(ZEROS, [0, 1]), TypeError, "labels must be a tensor of int64"),
        (lambda: of_classes()(ZEROS, ONE.int()), TypeError, "int64, got torch.int32"),
        (lambda: of_classes()(ZEROS, ONE[:1]), ValueError, r"labels must have shape \(2,\)"),
        (
            lambda: of_classes()(ZEROS, ONE + 3),
            ValueError,
            "labels must be from 0 to 2, got 3 to 3",
        ),
        (lambda: of_classes()(ZEROS, ONE - 1), ValueError, "labels must be from 0 to 2, got -1"),
        (lambda: of_classes().draw(2), ValueError, "labels must be given"),
        (lambda: of_classes().draw(3, labels=ONE), ValueError, r"labels must have shape \(3,\)"),
        (lambda: small().draw(0), ValueError, "count must be at least 1"),
        (lambda: small().draw(1, size=6), TypeError, "size must be a tuple of height and width"),
        (lambda: small().draw(1, size=(6, 0)), ValueError, "width must be at least 1, got 0"),
        (lambda: small(length=35).draw(1), ValueError, "size must be given .* length 35"),
        (lambda: small().draw(1, seed=-1), ValueError, "seed must be at least 0, got -1"),
        (lambda: small().draw(1, seed=0.5), TypeError, "seed must be an integer, got 0.5"),
        (lambda: small().pixels(1, 0), ValueError, "length must be at least 1, got 0"),
        (lambda: small().pixels(1, 4, temperature=-1), ValueError, "temperature must be positive"),
        (lambda: small().train().pixels(1, 4), RuntimeError, "evaluation mode"),
        (
            lambda: small().step(ZEROS[:, :2, 0], small().initial_state(2)),
            ValueError,
            r"x_before must have shape \(batch, 3\), got \(2, 2\)",
        ),
        (
            lambda: small().step(ZEROS[..., 0], small().initial_state(2)[:2]),
            TypeError,
            "state must be a tuple of 3, one a block, got 2",
        ),
        (lambda: small().step(ZEROS[..., 0], None), TypeError, "state must be .* got NoneType"),
        (
            lambda: small().step(ZEROS[..., 0], small().initial_state(1)),
            ValueError,
            "state must have tensors of shape",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_model_made_without_a_length_asks_for_the_size() -> None:
    model = PixelModel(width=4, layers=1, length=None, layer_options={"depth": 3})
    assert model.draw(1, size=(2, 3)).shape == (1, 3, 2, 3)
    with pytest.raises(ValueError, match="size must be given for a model of length None"):
        model.draw(1)
