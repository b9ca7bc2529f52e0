"""How a signal goes on beyond its ends: the nine modes of PyWavelets."""

import torch
from torch import Tensor

__all__ = ["MODES", "check_mode", "extend"]

#: The modes, by PyWavelets' names and in its order.
MODES = (
    "zero",
    "constant",
    "symmetric",
    "periodic",
    "smooth",
    "periodization",
    "reflect",
    "antisymmetric",
    "antireflect",
)


def check_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is one of `MODES`."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")


def extend(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """A signal with some samples more before its start and after its end.

    Parameters
    ----------
    x : Tensor, shape (..., L)
        The signal, at least one sample long.
    left, right : int
        How many samples to add before and after; they may exceed L.
    mode : str
        One of `MODES`. With the samples ``abcd`` the signal goes on as

        ==============  =================================================
        zero            ``0 0 | a b c d | 0 0``
        constant        ``a a | a b c d | d d``
        symmetric       ``b a | a b c d | d c``
        periodic        ``c d | a b c d | a b``
        smooth          straight on, with the slope of the last two samples
        periodization   as periodic; an odd length first repeats its last
                        sample, which counts as one of `right`
        reflect         ``c b | a b c d | c b``
        antisymmetric   ``-b -a | a b c d | -d -c``
        antireflect     ``2a-c 2a-b | a b c d | 2d-c 2d-b``
        ==============  =================================================

    Returns
    -------
    Tensor, shape (..., left + L + right)
        The longer signal.

    Raises
    ------
    ValueError
        If the mode is unknown, or "reflect" or "antireflect" with a single sample.

    References
    ----------
    PyWavelets, "Signal extension modes".

    Examples
    --------
    >>> extend(torch.tensor([1.0, 2.0, 4.0]), 2, 2, "antireflect")
    tensor([-2.,  0.,  1.,  2.,  4.,  6.,  7.])
    """
    check_mode(mode)
    if mode == "periodization":
        if x.shape[-1] % 2:
            x, right = torch.cat((x, x[..., -1:]), -1), right - 1
        mode = "periodic"
    before = _after(x.flip(-1), left, mode).flip(-1)
    return torch.cat((before, x, _after(x, right, mode)), -1)


def _after(x: Tensor, count: int, mode: str) -> Tensor:
    """The `count` samples that follow the last one of x (..., L)."""
    length = x.shape[-1]
    k = torch.arange(count, device=x.device)
    if mode == "zero":
        return x.new_zeros((*x.shape[:-1], count))
    if mode == "constant":
        return x[..., -1:].expand(*x.shape[:-1], count)
    if mode == "smooth":
        slope = x[..., -1:] - x[..., -2:-1] if length > 1 else torch.zeros_like(x)
        return x[..., -1:] + slope * (k + 1)
    if mode == "periodic":
        return x.index_select(-1, k % length)
    if mode in ("symmetric", "antisymmetric"):
        # The mirror stands half a sample behind the end: x[L-1], ..., x[0], x[0], ..., x[L-1].
        k = k % (2 * length)
        mirrored = k < length
        y = x.index_select(-1, torch.where(mirrored, length - 1 - k, k - length))
        return y if mode == "symmetric" else torch.where(mirrored, -y, y)
    # The mirror stands on the last sample: x[L-2], ..., x[0], x[1], ..., x[L-1].
    if length == 1:
        raise ValueError(f"mode {mode!r} needs at least 2 samples, got 1")
    period = 2 * (length - 1)
    periods, k = (k + 1) // period, (k + 1) % period
    mirrored = k < length
    y = x.index_select(-1, (length - 1 - k).abs())
    if mode == "reflect":
        return y
    # antireflect: every half period lifts the signal by its rise from first to last sample.
    first, last = x[..., :1], x[..., -1:]
    lifts = 2 * (periods + ~mirrored)
    lifted = torch.where(lifts > 0, lifts * (last - first), 0.0)
    return torch.where(mirrored, 2 * last - y, y) + lifted
