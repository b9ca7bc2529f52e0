"""How far back a layer looks, whether or not it is a convolution."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mrbook.checks import check_count

__all__ = ["lag_bins", "lag_profile"]


def lag_bins(length: int) -> list[int]:
    """Edges of bins of lags, two to an octave: 0, 1, 2, 3, 4, 6, 8, 12, ..., `length`.

    Parameters
    ----------
    length : int
        Number of lags.

    Returns
    -------
    list of int
        Bin i holds lags from ``edges[i]`` to ``edges[i + 1] - 1``.

    Examples
    --------
    >>> lag_bins(20)
    [0, 1, 2, 3, 4, 6, 8, 12, 16, 20]
    """
    length = check_count(length, "length")
    edges, size = [0, 1], 1
    while 2 * size < length:
        edges += [2 * size, 3 * size]
        size *= 2
    return [edge for edge in edges if edge < length] + [length]


def lag_profile(layer: nn.Module, u: Tensor) -> list[float]:
    """Root mean square of what one input contributes to the last output, by its lag.

    The derivative of the output at the last step by the input at the lag τ is a matrix over the
    channels. Random signs weigh its rows, so that the expected square of a column's sum is the sum
    of its squares. For a convolution channel by channel there is nothing random in it: the result
    is the root mean square of ``layer.kernel(length)`` over channels and the lags of a bin.

    Parameters
    ----------
    layer : Module
        A sequence layer. It is put into evaluation mode meanwhile.
    u : Tensor
        Inputs to look at, shape ``(batch, channels, length)``.

    Returns
    -------
    list of float
        For each bin of `lag_bins`.

    Examples
    --------
    >>> from mrbook.multires import MultiresConv
    >>> layer = MultiresConv(2, length=64)
    >>> profile = lag_profile(layer, torch.randn(3, 2, 64))
    >>> bool(torch.isclose(torch.tensor(profile[0]), layer.kernel(64)[:, 0].square().mean().sqrt()))
    True
    """
    training = layer.training
    layer.eval()
    u = u.detach().requires_grad_()
    y = layer(u)[..., -1]
    layer.train(training)
    signs = 2.0 * torch.randint(2, y.shape, device=y.device) - 1
    (gradient,) = torch.autograd.grad((signs.to(y.dtype) * y).sum(), u)
    energy = gradient.flip(-1).square().mean((0, 1))
    edges = lag_bins(u.shape[-1])
    sizes = [high - low for low, high in pairwise(edges)]
    return [float(part.mean().sqrt()) for part in energy.split(sizes)]
