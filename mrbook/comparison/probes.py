"""Three convolutions to be learned by one layer between two pointwise maps.

Each is easy for some layers and hard for others, and one line says why:

- ``five-minus-six``, ``y[t] = u[t - 5] - u[t - 6]``: two lags that a tree with two shared taps
  can't tell apart, whatever its weights;
- ``slow-exponential``, an average that fades over hundreds of steps: one number for a recurrence,
  a thousand for a kernel whose every lag is free;
- ``echo``, ``y[t] = u[t - 500]``: one lag of a thousand, and nothing smooth about it.

Inputs are white noise. The target kernels have unit norm, so that an output of 0 has error 1, and
the targets that are learned from carry noise as large as the signal: whoever fits it pays.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.longconv import causal_conv
from mrbook.models import make_layer
from mrbook.train import cosine_with_warmup
from mrbook.train.optimizer import make_optimizer

__all__ = ["PROBES", "ProbeNet", "probe_data", "probe_kernel", "relative_error", "train_probe"]

_LAG, _TIME_CONSTANT = 500, 200.0
_WARMUP = 0.05  # of the steps

#: Kernels to learn, before they are scaled: functions of the lag, by name.
PROBES: dict[str, Callable[[Tensor], Tensor]] = {
    "five-minus-six": lambda lag: (lag == 5).double() - (lag == 6).double(),
    "slow-exponential": lambda lag: torch.exp(-lag / _TIME_CONSTANT),
    "echo": lambda lag: (lag == _LAG).double(),
}


def probe_kernel(name: str, length: int) -> Tensor:
    """The convolution to learn.

    Parameters
    ----------
    name : str
        A key of `PROBES`.
    length : int
        Number of lags.

    Returns
    -------
    Tensor
        By lag, float32 of shape ``(length,)``, of unit norm.

    Raises
    ------
    ValueError
        If there is no such probe, or its kernel has nothing at so few lags.

    Examples
    --------
    >>> probe_kernel("five-minus-six", 8)
    tensor([ 0.0000,  0.0000,  0.0000,  0.0000,  0.0000,  0.7071, -0.7071,  0.0000])
    """
    if name not in PROBES:
        raise ValueError(f"probe must be one of {', '.join(PROBES)}, got {name!r}")
    k = PROBES[name](torch.arange(check_count(length, "length"), dtype=torch.float64))
    if not k.any():
        raise ValueError(f"length must reach the lags of {name}, got {length}")
    return (k / k.norm()).float()


def probe_data(
    name: str, count: int, length: int, generator: torch.Generator, *, noise: float = 0.0
) -> tuple[Tensor, Tensor]:
    """White noise and what the probe makes of it.

    Parameters
    ----------
    name : str
        A key of `PROBES`.
    count, length : int
        Sequences, and steps of each.
    generator : torch.Generator
        Draws them.
    noise : float
        Standard deviation of what is added to the targets, whose own is at most 1.

    Returns
    -------
    (Tensor, Tensor)
        Inputs and targets, float32 of shape ``(count, length)``.

    Examples
    --------
    >>> x, y = probe_data("five-minus-six", 2, 32, torch.Generator().manual_seed(0))
    >>> torch.allclose(y[:, 6:], (x[:, 1:-5] - x[:, :-6]) / 2**0.5, atol=1e-6)
    True
    """
    k = probe_kernel(name, length)
    x = torch.randn(check_count(count, "count"), length, generator=generator)
    return x, causal_conv(x, k) + noise * torch.randn(x.shape, generator=generator)


class ProbeNet(nn.Module):
    """One sequence layer between two pointwise linear maps, from one channel to one.

    Parameters
    ----------
    layer : str
        A key of `mrbook.models.LAYERS`.
    width : int
        Channels of the layer.
    length : int
        Longest lag that it should be made for.
    options : mapping, optional
        Of the layer.

    Examples
    --------
    >>> ProbeNet("multires", 4, length=64)(torch.randn(2, 50)).shape
    torch.Size([2, 50])
    """

    def __init__(
        self, layer: str, width: int, length: int, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.spread = nn.Linear(1, check_count(width, "width"))
        self.layer = make_layer(layer, width, length, **(options or {}))
        self.join = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From sequences of numbers, shape ``(batch, length)``, to the same shape."""
        u = self.spread(x[..., None]).mT.contiguous()
        return self.join(self.layer(u).mT)[..., 0]


def train_probe(
    network: nn.Module, x: Tensor, y: Tensor, *, lr: float, steps: int, batch: int, seed: int = 0
) -> None:
    """Fit a network to pairs of sequences by least squares, with AdamW and a cosine schedule.

    Parameters
    ----------
    network : Module
        From the shape of x to that of y; it is left in evaluation mode.
    x, y : Tensor
        Inputs and targets, shape ``(count, length)``.
    lr : float
        Learning rate at the top.
    steps, batch : int
        Steps, and sequences drawn for each.
    seed : int
        Of the draws.

    Raises
    ------
    ValueError
        If there are not as many targets as inputs, or a number is out of range.
    """
    if len(x) != len(y):
        raise ValueError(f"x and y must be as many, got {len(x)} and {len(y)} sequences")
    optimizer = make_optimizer(network, lr, 0.0, (0.9, 0.999))
    steps, batch = check_count(steps, "steps"), check_count(batch, "batch")
    torch.manual_seed(seed)
    network.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            share = cosine_with_warmup(step, steps, round(_WARMUP * steps))
            group["lr"] = share * group["top_lr"]
        index = torch.randint(len(x), (batch,))
        loss = (network(x[index]) - y[index]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    network.eval()


@torch.no_grad()
def relative_error(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Mean squared error relative to the mean square of the targets.

    Parameters
    ----------
    network : Module
        From the shape of x to that of y.
    x, y : Tensor
        Inputs and targets, shape ``(count, length)``.

    Examples
    --------
    >>> relative_error(torch.zeros_like, torch.randn(2, 9), torch.randn(2, 9))
    1.0
    """
    return float((network(x) - y).square().sum() / y.square().sum())
