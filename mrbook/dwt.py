"""The discrete wavelet transform, its inverse, and what happens at the ends of the signal.

One level is two filters followed by dropping every second output: a signal of ``L`` samples
becomes about ``L/2`` approximation coefficients ``cA`` and as many detail coefficients ``cD``.
`wavedec` repeats this on the approximation. Names, argument order, coefficient order and lengths
are those of PyWavelets; everything works on tensors over the last axis, can be differentiated
(also with respect to the filters), and compiles.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from mrbook.boundary import MODES, check_mode
from mrbook.checks import check_count
from mrbook.filterbank import analyze, synthesize
from mrbook.filters import Wavelet, as_wavelet

__all__ = ["MODES", "dwt", "dwt_coeff_len", "dwt_max_level", "idwt", "wavedec", "waverec"]


# ------------------------------------------------------------------------------ one level


def dwt(data: Tensor, wavelet: Wavelet | str, mode: str = "symmetric") -> tuple[Tensor, Tensor]:
    """Split a signal into approximation and detail: one level of the wavelet transform.

    ``cA[n] = sum_q dec_lo[q] x[2n + 1 - q]`` and the same with ``dec_hi`` for ``cD``, where `mode`
    says what ``x`` is beyond its ends (in mode "periodization" ``x[2n + K/2 - q]``, cyclically).

    Parameters
    ----------
    data : Tensor, shape (..., L), float32 or float64
        The signal, of any length from 1, along the last axis.
    wavelet : Wavelet or str
        A wavelet, or the name of one of PyWavelets' discrete wavelets.
    mode : str
        One of `MODES`. "reflect" and "antireflect" need at least two samples.

    Returns
    -------
    cA, cD : Tensor, shape (..., dwt_coeff_len(L, K, mode))
        Approximation and detail coefficients, of the dtype and on the device of `data`.

    Raises
    ------
    TypeError
        If `data` is not a float32 or float64 tensor.
    ValueError
        If the last axis is empty, the wavelet or the mode is unknown, or the signal is too short
        for the mode.

    References
    ----------
    S. Mallat, "A theory for multiresolution signal decomposition", IEEE PAMI 11(7), 1989.

    Examples
    --------
    >>> import torch
    >>> cA, cD = dwt(torch.tensor([3.0, 1.0, 0.0, 4.0]), "haar")
    >>> cA * 2**0.5, cD * 2**0.5
    (tensor([4.0000, 4.0000]), tensor([ 2.0000, -4.0000]))
    """
    check_mode(mode)
    _check_signal(data, "data")
    bank = _bank(as_wavelet(wavelet), "dec", data)
    return analyze(data, bank, mode)


def idwt(
    cA: Tensor | None,
    cD: Tensor | None,
    wavelet: Wavelet | str,
    mode: str = "symmetric",
    *,
    length: int | None = None,
) -> Tensor:
    """Put approximation and detail together again: the inverse of one level.

    Parameters
    ----------
    cA, cD : Tensor or None, shape (..., M), float32 or float64
        Approximation and detail coefficients. None stands for zeros; one must be given.
    wavelet : Wavelet or str
        As given to `dwt`.
    mode : str
        As given to `dwt`. Only "periodization" differs from the others.
    length : int, optional
        Length of the signal that was split. Lengths 65 and 66 give equally many coefficients;
        without `length` you get the even one, as in PyWavelets.

    Returns
    -------
    Tensor, shape (..., length)
        The signal. ``length`` defaults to ``2M - K + 2``, in mode "periodization" ``2M``.

    Raises
    ------
    TypeError
        If a coefficient tensor is not float32 or float64, or both differ in dtype.
    ValueError
        If both are None, the shapes differ, there are too few coefficients for the filters, or no
        signal of that `length` has as many coefficients.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([3.0, 1.0, 0.0, 4.0, 1.0])
    >>> cA, cD = dwt(x, "db2")
    >>> idwt(cA, cD, "db2", length=5)
    tensor([3.0000e+00, 1.0000e+00, ..., 4.0000e+00, 1.0000e+00])
    """
    check_mode(mode)
    cA, cD = _check_pair(cA, cD)
    bank = _bank(as_wavelet(wavelet), "rec", cA)
    count, taps = cA.shape[-1], bank.shape[-1]
    longest = 2 * count if mode == "periodization" else 2 * count - taps + 2
    if longest < 1:
        raise ValueError(
            f"cA and cD must have at least {taps // 2} coefficients for filters of {taps} taps, "
            f"got {count}"
        )
    if length is None:
        length = longest
    elif length not in (longest - 1, longest):
        raise ValueError(
            f"length must be {longest - 1} or {longest} for {count} coefficients of filters with "
            f"{taps} taps in mode {mode!r}, got {length}"
        )
    return synthesize(cA, cD, bank, mode)[..., :length]


# ---------------------------------------------------------------------------- many levels


def wavedec(
    data: Tensor, wavelet: Wavelet | str, mode: str = "symmetric", level: int | None = None
) -> list[Tensor]:
    """Split a signal into one approximation and the details of `level` levels.

    Parameters
    ----------
    data : Tensor, shape (..., L), float32 or float64
        The signal along the last axis.
    wavelet : Wavelet or str
        A wavelet, or the name of one of PyWavelets' discrete wavelets.
    mode : str
        One of `MODES`.
    level : int, optional
        How many levels. The default is the useful maximum, `dwt_max_level`; 0 gives ``[data]``.

    Returns
    -------
    list of Tensor
        ``[cA_n, cD_n, cD_n-1, ..., cD_1]``: the coarsest first, ``n = level``.

    Raises
    ------
    TypeError
        If `data` is not a float32 or float64 tensor, or `level` is not an integer.
    ValueError
        If the last axis is empty, `level` is negative, or the wavelet or the mode is unknown.

    Warns
    -----
    UserWarning
        If `level` is beyond the useful maximum: the ends then touch every coefficient.
        Not while compiling.

    Examples
    --------
    >>> import torch
    >>> [len(c) for c in wavedec(torch.arange(64.0), "db2")]
    [6, 6, 10, 18, 33]
    """
    check_mode(mode)
    _check_signal(data, "data")
    wavelet = as_wavelet(wavelet)
    level = _check_level(level, data.shape[-1], wavelet.dec_len)
    bank = _bank(wavelet, "dec", data)
    approximation, details = data, []
    for _ in range(level):
        approximation, detail = analyze(approximation, bank, mode)
        details.append(detail)
    return [approximation, *reversed(details)]


def waverec(
    coeffs: Sequence[Tensor],
    wavelet: Wavelet | str,
    mode: str = "symmetric",
    *,
    length: int | None = None,
) -> Tensor:
    """Put a signal together from the coefficients that `wavedec` gives.

    Parameters
    ----------
    coeffs : sequence of Tensor
        ``[cA_n, cD_n, ..., cD_1]``. To leave a level out, fill it with zeros.
    wavelet : Wavelet or str
        As given to `wavedec`.
    mode : str
        As given to `wavedec`.
    length : int, optional
        Length of the signal that was split; without it an odd length comes back longer by one.

    Returns
    -------
    Tensor, shape (..., length)
        The signal.

    Raises
    ------
    TypeError
        If `coeffs` is not a sequence of float32 or float64 tensors of one dtype.
    ValueError
        If it is empty, or its lengths can't belong together or to `length`.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(65.0, dtype=torch.float64)
    >>> torch.allclose(waverec(wavedec(x, "db2"), "db2", length=65), x)
    True
    """
    check_mode(mode)
    if isinstance(coeffs, Tensor) or not isinstance(coeffs, Sequence):
        raise TypeError(f"coeffs must be a list of tensors, got {type(coeffs).__name__}")
    if len(coeffs) == 0:
        raise ValueError("coeffs must hold at least one tensor, got an empty list")
    wavelet = as_wavelet(wavelet)
    approximation, *details = coeffs
    _check_signal(approximation, "coeffs[0]")
    if not details and length not in (None, approximation.shape[-1]):
        raise ValueError(
            f"length must be {approximation.shape[-1]}, as coeffs holds one tensor, got {length}"
        )
    for i, detail in enumerate(details, start=1):
        _check_signal(detail, f"coeffs[{i}]")
        # An odd signal came back longer by one; the details know how long it was.
        if approximation.shape[-1] == detail.shape[-1] + 1 and i > 1:
            approximation = approximation[..., :-1]
        if approximation.shape != detail.shape:
            raise ValueError(
                f"coeffs can't belong together: coeffs[{i}] must have {_shape(approximation)}"
                f"{' or one less at the end' if i > 1 else ''}, got {_shape(detail)}"
            )
        last = i == len(details)
        approximation = idwt(approximation, detail, wavelet, mode, length=length if last else None)
    return approximation


# -------------------------------------------------------------------------------- lengths


def dwt_max_level(data_len: int, filter_len: int | Wavelet | str) -> int:
    """How many levels are useful: ``floor(log2(data_len / (filter_len - 1)))``, at least 0.

    Beyond it every coefficient depends on what `mode` puts beyond the ends.

    Parameters
    ----------
    data_len : int
        Length of the signal.
    filter_len : int, Wavelet or str
        Number of taps (at least 2), or the wavelet.

    Returns
    -------
    int
        The useful maximum.

    Raises
    ------
    ValueError
        If `filter_len` is below 2.

    Examples
    --------
    >>> dwt_max_level(1000, 10), dwt_max_level(1000, "db5"), dwt_max_level(3, "db5")
    (6, 6, 0)
    """
    if not isinstance(filter_len, int):
        filter_len = as_wavelet(filter_len).dec_len
    if filter_len < 2:
        raise ValueError(f"filter_len must be at least 2, got {filter_len}")
    return max(0, (data_len // (filter_len - 1)).bit_length() - 1)


def dwt_coeff_len(data_len: int, filter_len: int | Wavelet | str, mode: str) -> int:
    """How many coefficients `dwt` gives in each of its two bands.

    Parameters
    ----------
    data_len : int
        Length of the signal, at least 1.
    filter_len : int, Wavelet or str
        Number of taps, or the wavelet.
    mode : str
        One of `MODES`.

    Returns
    -------
    int
        ``ceil(data_len / 2)`` in mode "periodization", else
        ``floor((data_len + filter_len - 1) / 2)``.

    Raises
    ------
    ValueError
        If a length is below 1 or the mode is unknown.

    Examples
    --------
    >>> dwt_coeff_len(50, 8, "zero"), dwt_coeff_len(50, 8, "periodization")
    (28, 25)
    """
    check_mode(mode)
    if not isinstance(filter_len, int):
        filter_len = as_wavelet(filter_len).dec_len
    if data_len < 1 or filter_len < 1:
        raise ValueError(f"lengths must be at least 1, got {data_len=}, {filter_len=}")
    return (data_len + 1) // 2 if mode == "periodization" else (data_len + filter_len - 1) // 2


# ------------------------------------------------------------------------------- arguments


def _bank(wavelet: Wavelet, kind: str, like: Tensor) -> Tensor:
    lo, hi = (wavelet.dec_lo, wavelet.dec_hi) if kind == "dec" else (wavelet.rec_lo, wavelet.rec_hi)
    return torch.stack((lo, hi)).to(dtype=like.dtype, device=like.device)


def _check_signal(x: object, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}")
    if x.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, got a scalar")
    if x.shape[-1] == 0:
        raise ValueError(f"{name} must not be empty along the last axis, got {_shape(x)}")


def _check_pair(cA: Tensor | None, cD: Tensor | None) -> tuple[Tensor, Tensor]:
    given = cD if cA is None else cA
    if given is None:
        raise ValueError("one of cA and cD must be given, got None for both")
    _check_signal(given, "cD" if cA is None else "cA")
    cA = torch.zeros_like(given) if cA is None else cA
    cD = torch.zeros_like(given) if cD is None else cD
    _check_signal(cD, "cD")
    if cA.dtype != cD.dtype:
        raise TypeError(f"cA and cD must have the same dtype, got {cA.dtype} and {cD.dtype}")
    if cA.shape != cD.shape:
        raise ValueError(f"cA and cD must have the same shape, got {_shape(cA)} and {_shape(cD)}")
    return cA, cD


def _check_level(level: int | None, data_len: int, filter_len: int) -> int:
    useful = dwt_max_level(data_len, filter_len)
    if level is None:
        return useful
    level = check_count(level, "level", 0)
    # A compiled graph can't warn.
    if level > useful and not torch.compiler.is_compiling():
        warnings.warn(
            f"level {level} is beyond the useful maximum, which is {useful} for length {data_len} "
            f"and filters of {filter_len} taps: every coefficient will feel the ends",
            UserWarning,
            stacklevel=3,
        )
    return level


def _shape(x: Tensor) -> str:
    return f"shape {tuple(x.shape)}"
