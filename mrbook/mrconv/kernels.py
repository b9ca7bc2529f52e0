"""Kernels of MRConv's branches: a dense one, and three ways to spend few numbers on many lags.

All have one interface, `Kernel`. Each kernel is linear in its parameters.

References
----------
H. J. Cunningham, G. Giannone, M. Zhang, M. Deisenroth, "Reparameterized Multi-Resolution
Convolutions for Long Sequence Modelling", NeurIPS 2024, arXiv:2408.09453.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.mrconv.base import Kernel
from mrbook.mrconv.sparse import SparseKernel

__all__ = [
    "KERNELS",
    "DenseKernel",
    "DilatedKernel",
    "FourierKernel",
    "SumKernel",
    "make_kernel",
]


class DenseKernel(Kernel):
    """A free number at every lag: can be anything, and fits noise as well as signal.

    Parameters
    ----------
    channels, length, device, dtype
        As for `Kernel`; it has `length` parameters per channel.

    Examples
    --------
    >>> DenseKernel(2, length=8).materialize(10)[:, 8:]
    tensor([[0., 0.],
            [0., 0.]], grad_fn=<SliceBackward0>)
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, length, check_count(length, "length"), device, dtype)
        self.normalize_()

    def _lags(self) -> Tensor:
        return self._weight()


class DilatedKernel(Kernel):
    """A few taps, evenly spread: ``k[d i] = weight[i]``, 0 between, with the stride d.

    Its frequency response repeats d times: frequencies ``2π/d`` apart are the same to it.

    Parameters
    ----------
    channels, length, device, dtype
        As for `Kernel`.
    taps : int
        Number of taps, at most `length`; parameters per channel. The stride is
        ``length // taps``.

    Attributes
    ----------
    stride : int
        Lags from one tap to the next.

    Examples
    --------
    >>> kernel = DilatedKernel(1, length=8, taps=2)
    >>> kernel.stride, kernel.materialize().ne(0).int().tolist()
    (4, [[1, 0, 0, 0, 1, 0, 0, 0]])
    """

    def __init__(
        self,
        channels: int,
        length: int,
        taps: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        length = check_count(length, "length")
        super().__init__(channels, length, check_count(taps, "taps", high=length), device, dtype)
        self.stride = length // self.count
        self.normalize_()

    def _lags(self) -> Tensor:
        spread = F.pad(self._weight()[..., None], (0, self.stride - 1)).flatten(1)
        return F.pad(spread, (0, self.length - spread.shape[1]))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, stride={self.stride}"


class FourierKernel(Kernel):
    """The `modes` lowest frequencies of a real signal of `length` samples: smooth, and periodic.

    With n lags and the frequencies j = 0, ..., modes - 1

        k[τ] = w[0] / √n + √(2/n) sum_{j>0} (w[2j-1] cos(2π j τ / n) + w[2j] sin(2π j τ / n)),

    which is an inverse real FFT of the coefficients padded with zeros. The functions are
    orthonormal, so that the energy of the kernel is that of its parameters. The last frequency of
    an even n, at j = n/2, has no sine, and 1/√n in place of √(2/n).

    Parameters
    ----------
    channels, length, device, dtype
        As for `Kernel`.
    modes : int
        Frequencies kept, at most ``length // 2 + 1``. A frequency has two parameters, the constant
        one: there are ``2 modes - 1`` per channel, and never more than `length`.

    Examples
    --------
    >>> FourierKernel(1, length=100, modes=4).count
    7
    >>> FourierKernel(1, length=100, modes=52)
    Traceback (most recent call last):
        ...
    ValueError: modes must be from 1 to 51, got 52
    """

    def __init__(
        self,
        channels: int,
        length: int,
        modes: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        length = check_count(length, "length")
        kept = check_count(modes, "modes", high=length // 2 + 1)
        super().__init__(channels, length, min(2 * kept - 1, length), device, dtype)
        self.modes = kept
        self.normalize_()

    def _lags(self) -> Tensor:
        w = self._weight()
        n, last = self.length, self.length // 2 if self.length % 2 == 0 else None
        paired = w[:, 1:-1] if self.modes - 1 == last else w[:, 1:]
        pairs = paired.unflatten(1, (-1, 2)) * math.sqrt(0.5)  # the conjugates hold the other half
        real, imaginary = [w[:, :1], pairs[..., 0]], [torch.zeros_like(w[:, :1]), -pairs[..., 1]]
        if self.modes - 1 == last and self.modes > 1:
            real.append(w[:, -1:])
            imaginary.append(imaginary[0])
        spectrum = torch.complex(torch.cat(real, 1), torch.cat(imaginary, 1))
        return torch.fft.irfft(spectrum, n=n, norm="ortho")  # pads with zeros

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, modes={self.modes}"


class SumKernel(Kernel):
    """The sum of kernels, such as a smooth one and a few single lags.

    Parameters
    ----------
    parts : iterable of Kernel
        At least one, all of the same channels. They are taken over, and scaled so that their sum
        has unit energy; kernels fresh from the start have equal shares of it.

    Examples
    --------
    >>> trend, echo = FourierKernel(3, length=64, modes=2), SparseKernel(3, length=64, taps=5)
    >>> SumKernel([trend, echo]).count
    8
    """

    def __init__(self, parts: Iterable[Kernel]) -> None:
        nn.Module.__init__(self)
        parts = list(parts)
        if strangers := [type(part).__name__ for part in parts if not isinstance(part, Kernel)]:
            raise TypeError(f"parts must be kernels, got {', '.join(strangers)}")
        channels = {part.channels for part in parts}
        if len(channels) != 1:
            raise ValueError(f"parts must be kernels of the same channels, got {sorted(channels)}")
        (self.channels,) = channels
        self.length = max(part.length for part in parts)
        self.count = sum(part.count for part in parts)
        self.parts: Iterable[Kernel] = nn.ModuleList(parts)  # type: ignore[assignment]
        self.normalize_()

    def _lags(self) -> Tensor:
        first, *others = (part.materialize(self.length) for part in self.parts)
        return sum(others, first)


# ---- by name ------------------------------------------------------------------------------------

#: The kinds of kernel that `make_kernel` knows.
KERNELS = ("dense", "dilated", "fourier", "sparse", "fourier+sparse")


def make_kernel(
    kind: str,
    channels: int,
    length: int,
    taps: int,
    *,
    seed: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Kernel:
    """A kernel of about `taps` real parameters per channel, whatever its length.

    Parameters
    ----------
    kind : str
        One of `KERNELS`.
    channels, length, device, dtype
        As for `Kernel`.
    taps : int
        Parameters per channel, at most `length`. Dilated and sparse kernels have just so many, a
        Fourier kernel the odd number that is not above it. In the sum the Fourier part has the
        smaller half, and the sparse part what is left, so that it has just so many, too (1 is too
        few). A dense kernel has `length`, and `taps` is not looked at.
    seed : int, optional
        For sparse lags, see `SparseKernel`.

    Raises
    ------
    TypeError, ValueError
        If the kind is unknown or a size is out of range.

    Examples
    --------
    >>> [make_kernel(kind, 1, length=1000, taps=16).count for kind in KERNELS]
    [1000, 16, 15, 16, 16]
    """
    if kind not in KERNELS:
        raise ValueError(f"kind must be one of {', '.join(KERNELS)}, got {kind!r}")
    factory: dict[str, Any] = {"device": device, "dtype": dtype}
    if kind == "dense":
        return DenseKernel(channels, length, **factory)
    length = check_count(length, "length")
    check_count(taps, "taps", 2 if "+" in kind else 1)
    taps = check_count(taps, "taps", high=length)
    if kind == "dilated":
        return DilatedKernel(channels, length, taps, **factory)
    if kind == "sparse":
        return SparseKernel(channels, length, taps, seed=seed, **factory)
    budget = taps if kind == "fourier" else taps // 2
    smooth = FourierKernel(channels, length, (budget + 1) // 2, **factory)
    if kind == "fourier":
        return smooth
    rest = SparseKernel(channels, length, taps - smooth.count, seed=seed, **factory)
    return SumKernel([smooth, rest])
