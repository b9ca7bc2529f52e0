"""What a pixel costs: mixtures of discretized logistics over the 256 levels of each color.

A logistic distribution is cut into 256 bins, one a level; the first and the last take the whole
tail beyond them, so the probabilities sum to one. A component of the mixture has one of these for
each channel, and its mean depends on the channels before: green is conditioned on red, blue on red
and green.

References
----------
T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, "PixelCNN++: Improving the PixelCNN with
Discretized Logistic Mixture Likelihood and Other Modifications", ICLR 2017, arXiv:1701.05517.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count
from mrbook.longconv import inner_dtype

__all__ = [
    "PARAMETERS",
    "bits_per_dim",
    "from_levels",
    "logistic_mixture_log_prob",
    "logistic_mixture_nll",
    "sample_logistic_mixture",
    "to_levels",
]

#: Parameters of one component, by the number of channels: its logit, for each channel a mean and a
#: log-scale, and with three channels as many coefficients.
PARAMETERS = {1: 3, 3: 10}

_LEAST_LOG_SCALE = -7.0  # as published: a ninth of a bin, nearly all mass within one
_EXACT = (torch.float32, torch.float64)  # shorter dtypes can't tell 256 levels apart

Nats = TypeVar("Nats", float, Tensor)


# ---- levels -------------------------------------------------------------------------------------


def from_levels(levels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Values in [-1, 1] of the levels of an image.

    Parameters
    ----------
    levels : Tensor
        uint8, any shape.
    dtype : torch.dtype
        Of the result, float32 or float64.

    Returns
    -------
    Tensor
        ``2 * levels / 255 - 1``.

    Raises
    ------
    TypeError
        If levels is not uint8, or dtype is another.

    Examples
    --------
    >>> from_levels(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([-1.0000, -0.6000,  1.0000])
    """
    if not isinstance(levels, Tensor) or levels.dtype != torch.uint8:
        raise TypeError(f"levels must be a tensor of uint8, got {_kind(levels)}")
    if dtype not in _EXACT:
        raise TypeError(f"dtype must be float32 or float64, got {dtype}")
    return _value(levels.to(dtype))


def to_levels(x: Tensor) -> Tensor:
    """Levels of an image whose values lie in [-1, 1]; the inverse of `from_levels`.

    Parameters
    ----------
    x : Tensor
        float32 or float64, any shape.

    Returns
    -------
    Tensor
        uint8, of the shape of x.

    Raises
    ------
    TypeError
        If x is not float32 or float64.
    ValueError
        If a value is none of the 256.

    Examples
    --------
    >>> to_levels(torch.tensor([-1.0, -0.6, 1.0]))
    tensor([  0,  51, 255], dtype=torch.uint8)
    """
    _check_exact(x)
    level = _level(x)
    _check_levels(x, level)
    return level.to(torch.uint8)


def _level(x: Tensor) -> Tensor:
    """The nearest level, not yet an integer and perhaps beyond 0 or 255."""
    return ((x + 1) * 127.5).round()


def _value(level: Tensor) -> Tensor:
    return 2 * level / 255 - 1


# ---- the likelihood -----------------------------------------------------------------------------


def logistic_mixture_log_prob(x: Tensor, params: Tensor) -> Tensor:
    """Log-probability of each pixel, in nats.

    The bins of component i have the logistic's mass between their edges, ``1/255`` either side of
    the level's value. Its scale is at least exp(-7), and its mean given the channels before is
    ``mean[red]``, ``mean[green] + tanh(c0) * red`` and
    ``mean[blue] + tanh(c1) * red + tanh(c2) * green``.

    Parameters
    ----------
    x : Tensor
        Images of values in [-1, 1], each one of 256 levels; float32 or float64 of shape
        ``(batch, channels, ...)`` with 1 or 3 channels. Pixels may lie along any number of
        dimensions, none included. No gradient goes to x.
    params : Tensor
        m components for each pixel, as `PARAMETERS` counts them: shape ``(batch, 10 m, ...)`` for 3
        channels, ``(batch, 3 m, ...)`` for 1, with the dimensions of x. First m logits; then for
        each channel m means, m log-scales and, with 3 channels, m coefficients: c0 stands in red's
        place, c1 in green's, c2 in blue's. So the first 3 m of a pixel in color describe its red.

    Returns
    -------
    Tensor
        Shape ``(batch, ...)``, and the dtype of params; float32 for shorter ones.

    Raises
    ------
    TypeError
        If x is not float32 or float64, or params is not of floating point.
    ValueError
        If shapes or devices don't go together, or (checked on the CPU only; elsewhere the nearest
        level counts) a value is none of the 256.

    Notes
    -----
    With F the logistic function, the mass between edges a < b is
    ``F(b) - F(a) = F(b) F(-a) (1 - exp(a - b))``: three logarithms to add, and nothing to cancel.

    Examples
    --------
    One gray pixel, one component: mean 0, scale 1. The outer levels have the tails.

    >>> x = from_levels(torch.tensor([[0], [127], [255]], dtype=torch.uint8))
    >>> logistic_mixture_log_prob(x, torch.zeros(3, 3)).exp()
    tensor([0.2697, 0.0020, 0.2697])
    """
    _check_exact(x)
    if x.ndim < 2 or x.shape[1] not in PARAMETERS:
        raise ValueError(f"x must have shape (batch, 1 or 3, ...), got {tuple(x.shape)}")
    channels = x.shape[1]
    _check_params(params, channels)
    if params.shape[:1] + params.shape[2:] != x.shape[:1] + x.shape[2:]:
        raise ValueError(
            "x and params must have the same batch and pixels, "
            f"got {tuple(x.shape)} and {tuple(params.shape)}"
        )
    if params.device != x.device:
        raise ValueError(f"x must be on {params.device} as params are, got {x.device}")
    level = _level(x.detach())
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        _check_levels(x, level)
    params = params.to(inner_dtype(params))
    logits, components = _split(params, channels)
    means, log_scales, coefficients = _read(components)
    level = level.to(params.dtype).unsqueeze(2)
    values = _value(level).unbind(1)
    means = torch.stack([_mean(c, means, coefficients, values[:c]) for c in range(channels)], 1)
    inverse = torch.exp(-log_scales)
    # Neighbors share an edge to the last bit: then nothing is lost or counted twice between them.
    at_most = F.logsigmoid((_value(level + 0.5) - means) * inverse)
    at_least = F.logsigmoid((means - _value(level - 0.5)) * inverse)
    log_width = math.log(2 / 255) - log_scales
    width = log_width.exp().clamp(min=1e-15)  # not 0, even where the scale is infinite
    within = at_most + at_least + log_width + torch.log(-torch.expm1(-width) / width)
    log_prob = torch.where(level == 0, at_most, torch.where(level == 255, at_least, within))
    return torch.logsumexp(F.log_softmax(logits, 1) + log_prob.sum(1), 1)


def logistic_mixture_nll(x: Tensor, params: Tensor) -> Tensor:
    """Negative log-likelihood of each image, in nats: the sum over its pixels.

    Parameters
    ----------
    x, params : Tensor
        As for `logistic_mixture_log_prob`.

    Returns
    -------
    Tensor
        Shape ``(batch,)``. Divide by channels and pixels with `bits_per_dim`.

    Raises
    ------
    TypeError, ValueError
        As `logistic_mixture_log_prob` does.

    Examples
    --------
    >>> x = from_levels(torch.full((2, 3, 32, 32), 128, dtype=torch.uint8))
    >>> nll = logistic_mixture_nll(x, torch.zeros(2, 100, 32, 32))
    >>> bits_per_dim(nll, 3 * 32 * 32)
    tensor([8.9944, 8.9944])
    """
    return -logistic_mixture_log_prob(x, params)[..., None].flatten(1).sum(1)


def bits_per_dim(nll: Nats, dims: int) -> Nats:
    """Nats of an image to bits for each of its numbers.

    Parameters
    ----------
    nll : Tensor or float
        Negative log-likelihood of whole images, in nats.
    dims : int
        Numbers in an image, the channels included: 3,072 for CIFAR-10.

    Raises
    ------
    TypeError, ValueError
        If dims is not an integer of at least 1.

    Examples
    --------
    All 256 levels alike, 8 bits:

    >>> bits_per_dim(3072 * math.log(256), 3072)
    8.0
    """
    return nll / (check_count(dims, "dims") * math.log(2))


# ---- the sampler --------------------------------------------------------------------------------


@torch.no_grad()
def sample_logistic_mixture(
    params: Tensor,
    channels: int = 3,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Draw a value for each pixel.

    A component is drawn by its logit, then one channel after the other: a logistic variate, rounded
    to the nearest level before the next channel is conditioned on it. So the probability of a value
    is just what `logistic_mixture_log_prob` says.

    Parameters
    ----------
    params : Tensor
        Shape ``(batch, 10 m, ...)`` or ``(batch, 3 m, ...)``; see `logistic_mixture_log_prob`.
    channels : int
        3 or 1.
    generator : torch.Generator, optional
        On the device of params. Default: torch's own.
    temperature : float
        Divides the logits and multiplies the scales of the logistics; means and coefficients stay.
        1 draws from the mixture; towards 0 the means of the heaviest component are left.

    Returns
    -------
    Tensor
        Values in [-1, 1], each one of the 256 levels, shape ``(batch, channels, ...)``; the dtype
        of params, float32 for shorter ones.

    Raises
    ------
    TypeError
        If params is not of floating point or temperature is not a number.
    ValueError
        If a shape is wrong, temperature is not positive and finite, or the generator is on another
        device.

    Examples
    --------
    >>> params = torch.zeros(2, 10, 4, 4)
    >>> sample_logistic_mixture(params, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 4, 4])
    """
    if channels not in PARAMETERS:
        raise ValueError(f"channels must be 1 or 3, got {channels!r}")
    _check_params(params, channels)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"temperature must be a number, got {temperature!r}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    if generator is not None and generator.device.type != params.device.type:
        raise ValueError(f"generator must be on {params.device}, got {generator.device}")
    params = params.to(inner_dtype(params))
    logits, components = _split(params, channels)
    # New tensors, not of the layout of params: the draw depends on their values alone.
    waiting = params.new_empty(logits.shape).exponential_(generator=generator)
    chosen = (logits / temperature - waiting.log()).argmax(1)[:, None, None, None]
    means, log_scales, coefficients = _read(torch.take_along_dim(components, chosen, 3))
    uniform = params.new_empty(means.shape).uniform_(generator=generator)
    scales = (log_scales.exp() * temperature).clamp(max=1e30)  # an infinite one may meet a zero
    noise = scales * torch.logit(uniform, eps=torch.finfo(params.dtype).eps / 2)
    drawn: list[Tensor] = []
    for c in range(channels):
        level = _level(_mean(c, means, coefficients, drawn) + noise[:, c])
        drawn.append(_value(level.clamp(0, 255)))
    return torch.cat(drawn, 1)


# ---- parts --------------------------------------------------------------------------------------


def _split(params: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Logits, shape ``(batch, m, ...)``, and the rest, ``(batch, channels, kinds, m, ...)``."""
    m = params.shape[1] // PARAMETERS[channels]
    return params[:, :m], params[:, m:].unflatten(1, (channels, -1, m))


def _read(components: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means, log-scales and coefficients, shape ``(batch, channels, m, ...)``."""
    coefficients = components[:, :, 2:].flatten(1, 2).tanh()
    return components[:, :, 0], components[:, :, 1].clamp(min=_LEAST_LOG_SCALE), coefficients


def _mean(c: int, means: Tensor, coefficients: Tensor, before: Sequence[Tensor]) -> Tensor:
    """Means of channel c, given the values of the channels before."""
    mean = means[:, c]
    for source, value in enumerate(before):
        mean = mean + coefficients[:, c * (c - 1) // 2 + source] * value
    return mean


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _check_exact(x: Tensor) -> None:
    if not isinstance(x, Tensor) or x.dtype not in _EXACT:
        raise TypeError(f"x must be a tensor of float32 or float64, got {_kind(x)}")


def _check_levels(x: Tensor, level: Tensor) -> None:
    close = ((x + 1) * 127.5 - level).abs() < 1e-2
    wrong = ~(close & (level >= 0) & (level <= 255))
    if wrong.any():
        raise ValueError(
            "x must have values in [-1, 1], each 2 * level / 255 - 1 for one of 256 levels, "
            f"got {float(x[wrong][0])}"
        )


def _check_params(params: Tensor, channels: int) -> None:
    if not isinstance(params, Tensor) or not params.is_floating_point():
        raise TypeError(f"params must be a tensor of floating point, got {_kind(params)}")
    each = PARAMETERS[channels]
    if params.ndim < 2 or params.shape[1] == 0 or params.shape[1] % each:
        raise ValueError(
            f"params must have shape (batch, {each} m, ...) for {channels} channels, "
            f"got {tuple(params.shape)}"
        )
