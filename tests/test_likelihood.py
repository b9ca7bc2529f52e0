"""Discretized logistic mixtures: the definition in many digits, sums, gradients, and draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from mrbook.likelihood import (
    PARAMETERS,
    bits_per_dim,
    from_levels,
    logistic_mixture_log_prob,
    logistic_mixture_nll,
    sample_logistic_mixture,
    to_levels,
)
from mrbook.tasks import ImageTask, draw_shapes

ALL = from_levels(torch.arange(256, dtype=torch.uint8), torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(seed: int, channels: int, *pixels: int, m: int = 3, batch: int = 1) -> Tensor:
    """Means all over the range of levels and a little beyond, scales from a tenth of a bin up."""
    shape = (batch, PARAMETERS[channels] * m, *pixels)
    params = torch.randn(shape, generator=seeded(seed), dtype=torch.float64)
    kinds = 3 if channels == 3 else 2
    for c in range(channels):
        at = m + kinds * m * c
        params[:, at : at + m] *= 0.8
        params[:, at + m : at + 2 * m] = params[:, at + m : at + 2 * m] * 2 - 4
    return params


def images(seed: int, batch: int, channels: int, *pixels: int) -> Tensor:
    levels = torch.randint(0, 256, (batch, channels, *pixels), generator=seeded(seed))
    levels.flatten()[::7] = 0
    levels.flatten()[::5] = 255
    return from_levels(levels.to(torch.uint8), torch.float64)


# ---- the definition -----------------------------------------------------------------------------


def mass(level: int, mean: mpmath.mpf, log_scale: float) -> mpmath.mpf:
    """A logistic's mass in the bin of a level: a difference of two values of its distribution."""
    scale = mpmath.exp(max(log_scale, -7))
    low = -mpmath.inf if level == 0 else (mpmath.mpf(2 * level - 1) / 255 - 1 - mean) / scale
    high = mpmath.inf if level == 255 else (mpmath.mpf(2 * level + 1) / 255 - 1 - mean) / scale
    if low > 0:
        low, high = -high, -low  # the tail where there are digits to subtract
    return 1 / (1 + mpmath.exp(-high)) - 1 / (1 + mpmath.exp(-low))


def definition(levels: list[int], p: list[float]) -> float:
    """Log-probability of one pixel from the published layout, number by number."""
    with mpmath.workdps(60):
        m = len(p) // PARAMETERS[len(levels)]
        weights = [mpmath.exp(logit) for logit in p[:m]]
        total = mpmath.mpf(0)
        for i in range(m):
            if len(levels) == 1:
                likelihood = mass(levels[0], mpmath.mpf(p[m + i]), p[2 * m + i])
            else:
                red, green = (mpmath.mpf(2 * level) / 255 - 1 for level in levels[:2])
                c0, c1, c2 = (mpmath.tanh(p[k * m + i]) for k in (3, 6, 9))
                likelihood = (
                    mass(levels[0], mpmath.mpf(p[m + i]), p[2 * m + i])
                    * mass(levels[1], p[4 * m + i] + c0 * red, p[5 * m + i])
                    * mass(levels[2], p[7 * m + i] + c1 * red + c2 * green, p[8 * m + i])
                )
            total += weights[i] / sum(weights) * likelihood
        return float(mpmath.log(total))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("spread", [1, 50])
def test_equals_the_definition(channels: int, spread: float) -> None:
    """With a spread of 50 most means lie far outside, and probabilities are far below 1e-300."""
    x = images(0, 2, channels, 4, 5)
    params = parameters(1, channels, 4, 5, batch=2)
    params[:, 3:6] *= spread
    pixels = zip(
        to_levels(x).movedim(1, -1).reshape(-1, channels).tolist(),
        params.movedim(1, -1).reshape(40, -1).tolist(),
        strict=True,
    )
    expected = torch.tensor([definition(*p) for p in pixels], dtype=torch.float64).view(2, 4, 5)
    assert spread == 1 or expected.min() < -1000
    actual = logistic_mixture_log_prob(x, params)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    single = logistic_mixture_log_prob(x.float(), params.float())
    torch.testing.assert_close(single, expected.float(), rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(logistic_mixture_nll(x, params), -actual.sum((1, 2)))


def test_a_scale_without_end_leaves_half_at_either_side() -> None:
    params = torch.tensor([[0.0, 0.3, 200.0]]).expand(3, -1)  # exp(200) is infinite in float32
    log_prob = logistic_mixture_log_prob(ALL[[0, 100, 255]].float()[:, None], params)
    expected = torch.tensor([math.log(0.5), math.log(2 / 255 / 4) - 200, math.log(0.5)])
    torch.testing.assert_close(log_prob, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_sum_to_one(dtype: torch.dtype) -> None:
    """Gray over all levels; color by way of its red, whose own mixture the params begin with."""
    gray = parameters(2, 1, m=2, batch=50).to(dtype)
    gray[:5, 2:4] = torch.tensor([-7.0, 0.0, 7.0, -0.999, 1.003])[:, None]  # beyond, or at an edge
    every = ALL.to(dtype)[None, None].expand(50, 1, 256)
    total = logistic_mixture_log_prob(every, gray[..., None].expand(-1, -1, 256)).exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)

    color = parameters(3, 3, m=2).to(dtype)
    green, blue = (c.flatten() for c in torch.meshgrid(ALL.to(dtype), ALL.to(dtype), indexing="ij"))
    for red in ALL.to(dtype)[[0, 60, 255]]:
        x = torch.stack([red.expand_as(green), green, blue])[None]
        total = logistic_mixture_log_prob(x, color[..., None].expand(-1, -1, 256**2)).exp().sum()
        alone = logistic_mixture_log_prob(red.view(1, 1), color[:, :6]).exp()[0]
        torch.testing.assert_close(total, alone, rtol=1e-5, atol=1e-30)


def test_pixels_lie_along_any_dimensions() -> None:
    x, params = images(4, 2, 3, 4, 5), parameters(5, 3, 4, 5, batch=2)
    nll = logistic_mixture_nll(x, params)
    assert nll.shape == (2,) and nll.dtype == torch.float64
    torch.testing.assert_close(logistic_mixture_nll(x.flatten(2), params.flatten(2)), nll)
    single = [
        logistic_mixture_nll(x[..., i, j], params[..., i, j]) for i in range(4) for j in range(5)
    ]
    torch.testing.assert_close(sum(single), nll)
    assert logistic_mixture_nll(x[:0], params[:0]).shape == (0,)


def test_short_dtypes_are_computed_in_float32() -> None:
    x, params = images(6, 2, 3, 4, 5).float(), parameters(7, 3, 4, 5, batch=2).bfloat16()
    nll = logistic_mixture_nll(x, params)
    assert nll.dtype == torch.float32
    assert torch.equal(nll, logistic_mixture_nll(x, params.float()))
    assert torch.equal(nll, logistic_mixture_nll(x.double(), params))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nll, logistic_mixture_nll(x, params))
        drawn = sample_logistic_mixture(params, generator=seeded(0))
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, sample_logistic_mixture(params.float(), generator=seeded(0)))


# ---- gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients(channels: int) -> None:
    x = images(8, 1, channels, 2, 2).requires_grad_()
    params = parameters(9, channels, 2, 2, m=2).requires_grad_()
    torch.autograd.gradcheck(lambda p: logistic_mixture_nll(x, p), params)
    nll = logistic_mixture_nll(x, params).sum()
    assert torch.autograd.grad(nll, x, allow_unused=True) == (None,)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_is_nan_at_the_extremes(channels: int) -> None:
    """Every mixture of one of five numbers a parameter, up to 1e30, at three levels, in float32."""
    extremes = torch.tensor([-1e30, -90.0, 0.0, 90.0, 1e30])
    kinds = torch.tensor(
        list(itertools.product(range(5), repeat=4))
    )  # logit, mean, scale, coupling
    chosen = extremes[kinds].repeat(3, 1)
    logit, mean, scale, coupling = (part.reshape(-1, 1).expand(-1, 2) for part in chosen.T)
    block = [mean, scale] if channels == 1 else [mean, scale, coupling]
    params = torch.cat([logit * torch.tensor([1.0, -1.0]), *block * channels], 1).requires_grad_()
    x = ALL[[0, 128, 255]].float().repeat_interleave(len(kinds))[:, None].expand(-1, channels)
    nll = logistic_mixture_nll(x, params)
    assert nll.isfinite().all() and nll.max() > 1e30 and (nll >= 0).all()
    nll.sum().backward()
    assert params.grad is not None and params.grad.isfinite().all()
    for temperature in (1e-6, 1.0, 1e6):
        drawn = sample_logistic_mixture(params, channels, temperature=temperature)
        assert to_levels(drawn).unique().tolist()[:: len(to_levels(drawn).unique()) - 1] == [0, 255]


def test_an_infinite_scale_meets_a_middling_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """At one half the variate is 0 whatever the scale, and the mean is drawn."""
    monkeypatch.setattr(Tensor, "uniform_", lambda self, generator: self.fill_(0.5))
    drawn = sample_logistic_mixture(torch.tensor([[0.0, 0.6, 200.0]]), 1)
    assert to_levels(drawn).tolist() == [[204]]


# ---- draws --------------------------------------------------------------------------------------


def p_value(drawn: Tensor, params: Tensor) -> float:
    """Chi-square test of pixels ``(n, channels)`` against exp(log-prob), rare cells pooled."""
    values, counts = drawn.unique(dim=0, return_counts=True)
    log_prob = logistic_mixture_log_prob(values, params.expand(len(values), -1))
    expected = len(drawn) * log_prob.exp()
    common = expected >= 25  # surely among those drawn: the choice of cells doesn't depend on them
    observed = torch.cat([counts[common], (len(drawn) - counts[common].sum())[None]]).double()
    expected = torch.cat([expected[common], (len(drawn) - expected[common].sum())[None]])
    assert len(expected) > 20 and expected.min() > 5
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))


GRAY = [0.5, -0.5, 0.0, -0.9, 0.2, 1.1, -2.5, -4.0, -3.0]
COLOR = [
    *(0.3, -0.3),
    *(0.2017, -0.985, -6.2, -5.5, 1.7, -1.2),
    *(-0.3, 0.011, -6.0, -6.5, 0.4, 0.9),
    *(0.1, 0.4, -5.8, -6.3, -2.0, 1.3),
]


@pytest.mark.parametrize("params", [GRAY, COLOR], ids=["gray", "color"])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.5])
def test_draws_have_the_probabilities_of_the_likelihood(
    params: list[float], temperature: float
) -> None:
    channels = 1 if params is GRAY else 3
    p = torch.tensor([params], dtype=torch.float64)
    drawn = sample_logistic_mixture(
        p.expand(200_000, -1), channels, generator=seeded(0), temperature=temperature
    )
    assert drawn.shape == (200_000, channels) and drawn.dtype == torch.float64
    assert torch.equal(from_levels(to_levels(drawn), torch.float64), drawn)
    tempered = p.clone()
    m, kinds = (3, 2) if channels == 1 else (2, 3)
    tempered[:, :m] /= temperature
    for c in range(channels):
        at = m + (kinds * c + 1) * m
        tempered[:, at : at + m] += math.log(temperature)
    assert p_value(drawn, tempered) > 1e-3
    if temperature != 1:
        assert p_value(drawn, p) < 1e-9


def test_a_cold_draw_is_the_mean_of_the_heaviest_component() -> None:
    """Each channel is rounded before the next one is conditioned on it."""
    p = torch.tensor([COLOR], dtype=torch.float64)
    drawn = to_levels(sample_logistic_mixture(p, temperature=1e-9))[0].tolist()

    def level(value: float) -> int:
        return min(max(round((value + 1) * 127.5), 0), 255)

    red = level(COLOR[2])
    green = level(COLOR[8] + math.tanh(COLOR[6]) * (2 * red / 255 - 1))
    blue = level(
        COLOR[14]
        + math.tanh(COLOR[12]) * (2 * red / 255 - 1)
        + math.tanh(COLOR[18]) * (2 * green / 255 - 1)
    )
    assert drawn == [red, green, blue]


def test_the_generator_decides() -> None:
    params = parameters(10, 3, 8, 8, batch=2).float()

    def draw(seed: int) -> Tensor:
        return sample_logistic_mixture(params, generator=seeded(seed))

    assert draw(0).shape == (2, 3, 8, 8) and draw(0).dtype == torch.float32
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    assert not torch.equal(draw(0)[0], draw(0)[1])
    other = params.transpose(0, 3).contiguous().transpose(0, 3)  # elsewhere in memory
    assert torch.equal(sample_logistic_mixture(other, generator=seeded(0)), draw(0))
    before = torch.get_rng_state()
    draw(0)
    assert torch.equal(torch.get_rng_state(), before)
    sample_logistic_mixture(params)
    assert not torch.equal(torch.get_rng_state(), before)


# ---- levels and bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_come_back(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    x = from_levels(levels, dtype)
    assert x.dtype == dtype and x[0] == -1 and x[255] == 1
    assert torch.equal(to_levels(x), levels)
    assert torch.equal(to_levels(levels.to(dtype).div(255).sub(0.5).div(0.5)), levels)
    assert torch.equal(to_levels(x + 5e-5), levels)
    with pytest.raises(ValueError, match="x must have values"):
        to_levels(x + 3e-4)


def test_a_task_of_mean_and_deviation_one_half_has_these_values() -> None:
    splits = {
        split: draw_shapes(10, size=8, seed=seed)
        for seed, split in enumerate(["train", "valid", "test"])
    }
    task = ImageTask("drawing", splits, list("abcdefghij"), [0.5] * 3, [0.5] * 3, {})
    (batch,) = task.batches("train", 10)
    assert torch.equal(to_levels(batch.inputs), task.images("train").flatten(2))
    params = parameters(11, 3, 64, batch=10).float()
    exact = logistic_mixture_nll(from_levels(task.images("train").flatten(2)), params)
    assert torch.equal(logistic_mixture_nll(batch.inputs, params), exact)


def test_bits_per_dim() -> None:
    nll = torch.tensor([10.0, 20.0], dtype=torch.float64)
    torch.testing.assert_close(bits_per_dim(nll, 5), nll / 5 * math.log2(math.e))
    assert bits_per_dim(math.log(256) * 12, 12) == pytest.approx(8)
    with pytest.raises(ValueError, match="dims must be at least 1, got 0"):
        bits_per_dim(nll, 0)
    with pytest.raises(TypeError, match="dims must be an integer, got"):
        bits_per_dim(nll, 3072.0)  # type: ignore[arg-type]


# ---- bad input ----------------------------------------------------------------------------------

X, P = torch.zeros(2, 3, 4) + ALL[128].float(), torch.zeros(2, 20, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: logistic_mixture_nll(X + 0.002, P),
            ValueError,
            "x must have values in .*got 0.00",
        ),
        (lambda: logistic_mixture_nll(X + 2, P), ValueError, r"x must have values in \[-1, 1\]"),
        (lambda: logistic_mixture_nll(X - 2, P), ValueError, r"x must have values in \[-1, 1\]"),
        (lambda: logistic_mixture_nll(X * torch.nan, P), ValueError, "x must have .*got nan"),
        (lambda: logistic_mixture_nll(X * torch.inf, P), ValueError, "x must have .*got inf"),
        (
            lambda: logistic_mixture_nll(X.bfloat16(), P),
            TypeError,
            "float32 or float64, got torch.b",
        ),
        (lambda: logistic_mixture_nll(X.to(torch.uint8), P), TypeError, "x must be a tensor of fl"),
        (lambda: logistic_mixture_nll(X.tolist(), P), TypeError, "x must be .*, got list"),
        (
            lambda: logistic_mixture_nll(X[:, :2], P),
            ValueError,
            r"x must have shape \(batch, 1 or 3",
        ),
        (
            lambda: logistic_mixture_nll(X[0, :, 0], P),
            ValueError,
            r"x must have shape .*got \(3,\)",
        ),
        (lambda: logistic_mixture_nll(X, P.long()), TypeError, "params must be .*got torch.int64"),
        (lambda: logistic_mixture_nll(X, P.tolist()), TypeError, "params must be .*got list"),
        (lambda: logistic_mixture_nll(X, P[:, :18]), ValueError, r"\(batch, 10 m, ...\) for 3 ch"),
        (lambda: logistic_mixture_nll(X[:, :1], P), ValueError, r"\(batch, 3 m, ...\) for 1 chan"),
        (lambda: logistic_mixture_nll(X, P[:, :0]), ValueError, r"params must .*got \(2, 0, 4\)"),
        (lambda: logistic_mixture_nll(X, P[:1]), ValueError, r"same batch and .*\(1, 20, 4\)"),
        (lambda: logistic_mixture_nll(X, P[..., :3]), ValueError, r"same .*\(2, 20, 3\)"),
        (lambda: logistic_mixture_nll(X, P[..., None]), ValueError, r"same .*\(2, 20, 4, 1\)"),
        (lambda: logistic_mixture_nll(X, P.to("meta")), ValueError, "x must be on meta .*got cpu"),
        (lambda: sample_logistic_mixture(P, 2), ValueError, "channels must be 1 or 3, got 2"),
        (lambda: sample_logistic_mixture(P, 1), ValueError, r"\(batch, 3 m, ...\) for 1 channels"),
        (lambda: sample_logistic_mixture(P[0, :, 0]), ValueError, r"params must have shape"),
        (lambda: sample_logistic_mixture(P.long()), TypeError, "params must be a tensor of float"),
        (
            lambda: sample_logistic_mixture(P, temperature=0),
            ValueError,
            "positive and finite, got 0",
        ),
        (lambda: sample_logistic_mixture(P, temperature=-1.0), ValueError, "positive and finite"),
        (lambda: sample_logistic_mixture(P, temperature=math.inf), ValueError, "finite, got inf"),
        (lambda: sample_logistic_mixture(P, temperature=math.nan), ValueError, "finite, got nan"),
        (
            lambda: sample_logistic_mixture(P, temperature="1"),
            TypeError,
            "must be a number, got '1'",
        ),
        (
            lambda: sample_logistic_mixture(P.to("meta"), generator=seeded(0)),
            ValueError,
            "generator must be on meta, got cpu",
        ),
        (lambda: to_levels(X.half()), TypeError, "x must be .*got torch.float16"),
        (lambda: to_levels(X + 1), ValueError, "x must have values"),
        (lambda: from_levels(X), TypeError, "levels must be a tensor of uint8, got torch.float32"),
        (lambda: from_levels(X.byte(), torch.half), TypeError, "dtype must be float32 or float64"),
    ],
)
def test_bad_input_is_named(
    call: Callable[[], Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
