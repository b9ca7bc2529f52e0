"""What batch normalization wants to know of the branches, without computing any branch.

Mean and variance of ``z_i = k_i * u`` over a batch need its sum and its energy alone.

- *Sum.* Over the steps that are kept, tap τ of a kernel meets all inputs but the last τ:
  ``sum_t z_i[t] = sum_τ k_i[τ] A[τ]``, with the same A for all branches.
- *Energy.* Let the convolution run on beyond the end of the input until it has died away. By
  Parseval the energy of this whole is that of the product of spectra: in terms of lags, the inner
  product of the autocorrelations of input and kernel. The input's is summed over the batch and
  serves all branches. This counts too much: the tail beyond the end, which through m taps only the
  last m - 1 inputs can reach. It is a convolution of that length.

Branches double in length, so that all their tails together are about as long as the input, where
their outputs were N times that. A kernel longer than half of the input has a tail as expensive as
its output; there the output is computed, and nothing is subtracted.

The derivatives are written out by hand, those of the first order only.
"""

from typing import Any

import torch
from torch import Tensor

from mrbook.longconv import fast_fft_length

__all__ = ["branch_moments", "spectral_conv"]


def branch_moments(u: Tensor, kernels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Sum and energy of every ``k_i * u`` over batch and time.

    Parameters
    ----------
    u : Tensor
        Shape ``(batch, channels, length)``. Sequences of a ragged batch end together: zeros lie
        before their start, where they add nothing.
    kernels : list of Tensor
        By lag, each of shape ``(channels, m)`` with an m of its own, at most `length`.

    Returns
    -------
    sums, energies : Tensor
        Shape ``(channels, branches)``. They have first derivatives only.
    spectrum : Tensor
        Of u, padded; for `spectral_conv`, and without derivatives.

    Raises
    ------
    ValueError
        If there are no kernels, or one has another number of channels or is longer than u.

    Examples
    --------
    >>> u, kernels = torch.tensor([[[1.0, 2.0, 4.0]]]), [torch.tensor([[1.0, 1.0]])]
    >>> sums, energies, _ = branch_moments(u, kernels)  # of 1, 3, 6
    >>> sums, energies
    (tensor([[10.]]), tensor([[46.]]))
    """
    _, channels, length = u.shape
    shapes = [tuple(k.shape) for k in kernels]
    if not shapes or any(shape != (channels, min(shape[-1], length)) for shape in shapes):
        raise ValueError(
            f"kernels must be tensors of shape ({channels}, m) with m up to {length}, got {shapes}"
        )
    return _Moments.apply(u, *kernels)


def spectral_conv(u: Tensor, spectrum: Tensor, k: Tensor) -> Tensor:
    """``mrbook.longconv.fft_conv(u, k)``, the spectrum of u being known from `branch_moments`.

    Parameters
    ----------
    u, spectrum : Tensor
        Input of `branch_moments`, and what it returned.
    k : Tensor
        By lag, shape ``(channels, m)``, m at most that of the longest of its kernels.

    Returns
    -------
    Tensor
        Shape of u. It has first derivatives only.
    """
    return _Conv.apply(u, spectrum, k)


# A gradient is a function of its own. It takes u and the kernels along, needed or not, so that
# whoever differentiates it is told that this can't be done.

# ---- the convolution ----------------------------------------------------------------------------


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, spectrum: Tensor, k: Tensor) -> Tensor:
        k_spectrum = torch.fft.rfft(k, n=_size(spectrum))
        ctx.save_for_backward(u, k, spectrum, k_spectrum)
        return torch.fft.irfft(spectrum * k_spectrum)[..., : u.shape[-1]]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        du, dk = _ConvBackward.apply(g, *ctx.saved_tensors)
        return du, None, dk


class _ConvBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, u: Tensor, k: Tensor, spectrum: Tensor, k_spectrum: Tensor
    ) -> tuple[Tensor, Tensor]:
        g_spectrum = torch.fft.rfft(g, n=_size(spectrum))
        dk = torch.fft.irfft(_correlated(spectrum, g_spectrum))[:, : k.shape[-1]]
        g_spectrum *= k_spectrum.conj()
        return torch.fft.irfft(g_spectrum)[..., : u.shape[-1]], dk

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise NotImplementedError(_NO_SECOND)


# ---- the moments --------------------------------------------------------------------------------


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, *kernels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        length, longest = u.shape[-1], max(k.shape[-1] for k in kernels)
        n = _even_fft_length(length + longest - 1)
        spectrum = torch.fft.rfft(u, n=n)
        met = u.sum(0).cumsum(-1).flip(-1)  # A[τ]
        autocorrelation = torch.fft.irfft(_power(spectrum).sum(0), n=n)

        saved, sums, energies = [u, *kernels, spectrum, met, autocorrelation], [], []
        for k in kernels:
            m = k.shape[-1]
            sums.append((k * met[:, :m]).sum(-1))
            if _output_is_cheaper(m, length):
                k_spectrum = torch.fft.rfft(k, n=n)
                z = torch.fft.irfft(spectrum * k_spectrum, n=n)[..., :length]
                energies.append(_energy(z))
                saved += [k_spectrum, z]
            else:
                size = _even_fft_length(2 * m)
                k_spectrum = torch.fft.rfft(k, n=size)
                own = torch.fft.irfft(_power(k_spectrum), n=size)[:, :m]  # at lags 0 to m - 1
                both = own * autocorrelation[:, :m]
                last_spectrum = torch.fft.rfft(u[..., length - m + 1 :], n=size)
                tail = torch.fft.irfft(last_spectrum * k_spectrum, n=size)
                tail[..., : m - 1] = 0  # still before the end
                tail[..., 2 * m - 2 :] = 0  # rounding errors
                energies.append(2 * both.sum(-1) - both[:, 0] - _energy(tail))
                saved += [k_spectrum, own, last_spectrum, tail]
        ctx.branches = len(kernels)
        ctx.save_for_backward(*saved)
        ctx.mark_non_differentiable(spectrum)
        return torch.stack(sums, 1), torch.stack(energies, 1), spectrum

    @staticmethod
    def backward(ctx: Any, d_sums: Tensor, d_energies: Tensor, _: Any) -> tuple[Tensor, ...]:
        return _MomentsBackward.apply(d_sums, d_energies, ctx.branches, *ctx.saved_tensors)


class _MomentsBackward(torch.autograd.Function):
    """With e_i the gradient for an energy, ``du[s] = 2 sum_i e_i sum_t k_i[t - s] z_i[t]``.

    Over all t that is a single product of spectra for all branches, with their autocorrelations;
    what the tails have in it comes off the last inputs. The same for k_i, with u in its place.
    """

    @staticmethod
    def forward(
        ctx: Any, d_sums: Tensor, d_energies: Tensor, branches: int, u: Tensor, *saved: Tensor
    ) -> tuple[Tensor, ...]:
        kernels, parts = saved[:branches], iter(saved[branches:])
        spectrum, met, autocorrelation = next(parts), next(parts), next(parts)
        length, n = u.shape[-1], _size(spectrum)
        d_spectrum = torch.zeros_like(spectrum)
        constant = torch.zeros_like(met)  # of d_sums, the same for the whole batch
        lags = torch.zeros_like(met[:, : max(1, length // 2)])
        d_kernels, ends = [], []
        for i, k in enumerate(kernels):
            m, d_sum, d_energy = k.shape[-1], d_sums[:, i, None], 2 * d_energies[:, i, None]
            constant[:, :m] += d_sum * k
            k_spectrum = next(parts)
            if _output_is_cheaper(m, length):
                z = torch.fft.rfft(next(parts), n=n)
                dk = torch.fft.irfft(_correlated(spectrum, z), n=n)
                z *= d_energy * k_spectrum.conj()
                d_spectrum += z
            else:
                own, last_spectrum, tail = next(parts), next(parts), next(parts)
                size = _size(last_spectrum)
                lags[:, :m] += d_energy * own
                tail = torch.fft.rfft(tail, n=size)
                whole = k_spectrum * _even_spectrum(autocorrelation[:, :m], size)
                dk = torch.fft.irfft(whole - _correlated(last_spectrum, tail), n=size)
                tail *= d_energy * k_spectrum.conj()
                ends.append(torch.fft.irfft(tail, n=size)[..., : m - 1])
            d_kernels.append(d_sum * met[:, :m] + d_energy * dk[:, :m])
        d_spectrum += spectrum * _even_spectrum(lags, n)
        du = torch.fft.irfft(d_spectrum, n=n)[..., :length]
        du += constant.cumsum(-1).flip(-1)
        for end in ends:
            du[..., length - end.shape[-1] :] -= end
        return du, *d_kernels

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise NotImplementedError(_NO_SECOND)


_NO_SECOND = (
    "MRConv in training mode has no second derivative in its merged form: "
    "call layer.by_branches(u), which has all derivatives"
)


def _output_is_cheaper(taps: int, length: int) -> bool:
    """Than a tail: both take their transforms forth and back, of about 2 length or 2 taps."""
    return 2 * taps > length


def _even_fft_length(n: int) -> int:
    return 2 * fast_fft_length(-(-n // 2))


def _size(spectrum: Tensor) -> int:
    """Samples of a signal by its spectrum: an even number."""
    return 2 * (spectrum.shape[-1] - 1)


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _energy(z: Tensor) -> Tensor:
    """``z.square().sum((0, -1))``, without the squares in memory."""
    return torch.linalg.vector_norm(z, dim=-1).square().sum(0)


def _correlated(early: Tensor, late: Tensor) -> Tensor:
    """Spectrum of ``sum_t early[t] late[t + lag]``, summed over the batch."""
    return (early.conj() * late).sum(0)


def _even_spectrum(right: Tensor, n: int) -> Tensor:
    """The (real) spectrum of n samples with ``x[-lag] = x[lag] = right[lag]``, zero between."""
    m = right.shape[-1]
    if m == 1:
        return right.expand(-1, n // 2 + 1)
    gap = right.new_zeros(right.shape[0], n - 2 * m + 1)
    return torch.fft.rfft(torch.cat([right, gap, right[:, 1:].flip(-1)], -1)).real
