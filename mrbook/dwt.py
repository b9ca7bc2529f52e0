"""The discrete wavelet transform, its inverse, and what happens at the ends of the signal.

One level is two filters followed by dropping every second output: a signal of ``N`` samples
becomes about ``N/2`` approximation coefficients ``cA`` and as many detail coefficients ``cD``.
`wavedec` repeats this on the approximation. Names, argument order, coefficient order and lengths
are those of PyWavelets; everything works on tensors over the last axis, can be differentiated
(also with respect to the filters), and compiles.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from mrbook.filters import Wavelet, as_wavelet

__all__ = ["MODES", "dwt", "dwt_coeff_len", "dwt_max_level", "idwt", "wavedec", "waverec"]

#: How a signal goes on beyond its ends; the names are PyWavelets'.
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


# ------------------------------------------------------------------------------ one level


def dwt(data: Tensor, wavelet: Wavelet | str, mode: str = "symmetric") -> tuple[Tensor, Tensor]:
    """Split a signal into approximation and detail: one level of the wavelet transform.

    ``cA[k] = sum_j dec_lo[j] x[2k + 1 - j]`` and the same with ``dec_hi`` for ``cD``, where `mode`
    says what ``x`` is beyond its ends (in mode "periodization" ``x[2k + K/2 - j]``, cyclically).

    Parameters
    ----------
    data : Tensor, shape (..., N), float32 or float64
        The signal, of any length from 1, along the last axis.
    wavelet : Wavelet or str
        A wavelet, or the name of one of PyWavelets' discrete wavelets.
    mode : str
        One of `MODES`. "reflect" and "antireflect" need at least two samples.

    Returns
    -------
    cA, cD : Tensor, shape (..., dwt_coeff_len(N, K, mode))
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
    _check_mode(mode)
    _check_signal(data, "data")
    bank = _bank(as_wavelet(wavelet), "dec", data)
    return _analyze(data, bank, mode)


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
    _check_mode(mode)
    cA, cD = _check_pair(cA, cD)
    bank = _bank(as_wavelet(wavelet), "rec", cA)
    count, taps = cA.shape[-1], bank.shape[-1]
    longest = 2 * count if mode == "periodization" else 2 * count - taps + 2
    if longest < 1:
        raise ValueError(
            f"cA, cD: {count} coefficients are too few for filters of {taps} taps; "
            f"expected at least {taps // 2}"
        )
    if length is None:
        length = longest
    elif length not in (longest - 1, longest):
        raise ValueError(
            f"length: got {length}, but {count} coefficients of filters with {taps} taps "
            f"in mode {mode!r} come from a signal of length {longest - 1} or {longest}"
        )
    return _synthesize(cA, cD, bank, mode)[..., :length]


# ---------------------------------------------------------------------------- many levels


def wavedec(
    data: Tensor, wavelet: Wavelet | str, mode: str = "symmetric", level: int | None = None
) -> list[Tensor]:
    """Split a signal into one approximation and the details of `level` levels.

    Parameters
    ----------
    data : Tensor, shape (..., N), float32 or float64
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
    _check_mode(mode)
    _check_signal(data, "data")
    wavelet = as_wavelet(wavelet)
    level = _check_level(level, data.shape[-1], wavelet.dec_len)
    bank = _bank(wavelet, "dec", data)
    approximation, details = data, []
    for _ in range(level):
        approximation, detail = _analyze(approximation, bank, mode)
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
    _check_mode(mode)
    if isinstance(coeffs, Tensor) or not isinstance(coeffs, Sequence):
        raise TypeError(f"coeffs: expected a list of tensors, got {type(coeffs).__name__}")
    if len(coeffs) == 0:
        raise ValueError("coeffs: expected at least one tensor, got an empty list")
    wavelet = as_wavelet(wavelet)
    approximation, *details = coeffs
    _check_signal(approximation, "coeffs[0]")
    if not details and length not in (None, approximation.shape[-1]):
        raise ValueError(
            f"length: got {length}, but level 0 keeps the {approximation.shape[-1]} samples"
        )
    for i, detail in enumerate(details, start=1):
        _check_signal(detail, f"coeffs[{i}]")
        # An odd signal came back longer by one; the details know how long it was.
        if approximation.shape[-1] == detail.shape[-1] + 1 and i > 1:
            approximation = approximation[..., :-1]
        if approximation.shape != detail.shape:
            raise ValueError(
                f"coeffs: lengths can't belong together: coeffs[{i}] has shape "
                f"{tuple(detail.shape)}, expected {tuple(approximation.shape)}"
                + (" (or one less at the end)" if i > 1 else "")
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
        raise ValueError(f"filter_len: expected at least 2 taps, got {filter_len}")
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
    _check_mode(mode)
    if not isinstance(filter_len, int):
        filter_len = as_wavelet(filter_len).dec_len
    if data_len < 1 or filter_len < 1:
        raise ValueError(f"expected lengths of at least 1, got {data_len=}, {filter_len=}")
    return (data_len + 1) // 2 if mode == "periodization" else (data_len + filter_len - 1) // 2


# --------------------------------------------------------------------------------- the core


def _analyze(x: Tensor, bank: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """One level of analysis; `bank` is (2, K): the low-pass and the high-pass taps."""
    taps = bank.shape[-1]
    x = _extend(x, taps, mode)
    frames = x.unfold(-1, taps, 2)  # (..., M, K): what each coefficient sees, oldest first
    bands = frames @ bank.flip(-1).mT  # (..., M, 2)
    return bands[..., 0], bands[..., 1]


def _synthesize(cA: Tensor, cD: Tensor, bank: Tensor, mode: str) -> Tensor:
    """One level of synthesis: ``x[n] = sum_k cA[k] rec_lo[n + K - 2 - 2k] + ...`` for every n
    that no coefficient beyond the ends could touch; in mode "periodization" every n, cyclically.
    """
    taps = bank.shape[-1]
    half = taps // 2
    coeffs = torch.stack((cA, cD), -2)  # (..., 2, M)
    if mode == "periodization":
        left = taps // 4
        coeffs = _extend_by(coeffs, left, half - 1 - left, "periodic")
    frames = coeffs.unfold(-1, half, 1).transpose(-3, -2).flatten(-2)  # (..., M - K/2 + 1, K)
    weight = bank.reshape(2, half, 2).flip(1).reshape(taps, 2)  # to an even and an odd sample
    x = (frames @ weight).flatten(-2)
    return x.roll(-1, -1) if mode == "periodization" and taps % 4 == 0 else x


def _extend(x: Tensor, taps: int, mode: str) -> Tensor:
    """The signal with everything in front and behind that the filters reach."""
    length = x.shape[-1]
    if mode == "periodization":
        if length % 2:
            x = torch.cat((x, x[..., -1:]), -1)
        return _extend_by(x, taps // 2 - 1, taps // 2 - 1, "periodic")
    return _extend_by(x, taps - 2, taps - 2 + length % 2, mode)


def _extend_by(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    before = _beyond(x.flip(-1), left, mode).flip(-1)
    return torch.cat((before, x, _beyond(x, right, mode)), -1)


def _beyond(x: Tensor, count: int, mode: str) -> Tensor:
    """The first `count` samples after the end of ``x`` (..., N): mode by mode."""
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
        # The mirror stands half a sample behind the end: x[N-1], ..., x[0], x[0], ..., x[N-1].
        k = k % (2 * length)
        mirrored = k < length
        y = x.index_select(-1, torch.where(mirrored, length - 1 - k, k - length))
        return y if mode == "symmetric" else torch.where(mirrored, -y, y)
    # reflect and antireflect: the mirror stands on the last sample: x[N-2], ..., x[0], ..., x[N-1].
    if length == 1:
        raise ValueError(f"mode: {mode!r} needs a signal of at least 2 samples, got 1")
    period, k = (k + 1) // (2 * (length - 1)), (k + 1) % (2 * (length - 1))
    mirrored = k < length
    y = x.index_select(-1, (length - 1 - k).abs())
    if mode == "reflect":
        return y
    first, last = x[..., :1], x[..., -1:]
    turns = 2 * (period + ~mirrored)  # how often the rise of the whole signal was passed
    rise = torch.where(turns > 0, turns * (last - first), 0.0)
    return torch.where(mirrored, 2 * last - y, y) + rise


# ------------------------------------------------------------------------------- arguments


def _bank(wavelet: Wavelet, kind: str, like: Tensor) -> Tensor:
    lo, hi = (wavelet.dec_lo, wavelet.dec_hi) if kind == "dec" else (wavelet.rec_lo, wavelet.rec_hi)
    return torch.stack((lo, hi)).to(dtype=like.dtype, device=like.device)


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")


def _check_signal(x: object, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {x.dtype}")
    if x.ndim == 0:
        raise ValueError(f"{name}: expected at least one axis, got a scalar tensor")
    if x.shape[-1] == 0:
        raise ValueError(f"{name}: the last axis is empty (shape {tuple(x.shape)})")


def _check_pair(cA: Tensor | None, cD: Tensor | None) -> tuple[Tensor, Tensor]:
    given = cD if cA is None else cA
    if given is None:
        raise ValueError("cA, cD: expected at least one of them, got None for both")
    _check_signal(given, "cD" if cA is None else "cA")
    cA = torch.zeros_like(given) if cA is None else cA
    cD = torch.zeros_like(given) if cD is None else cD
    _check_signal(cD, "cD")
    if cA.dtype != cD.dtype:
        raise TypeError(f"cA, cD: expected one dtype, got {cA.dtype} and {cD.dtype}")
    if cA.shape != cD.shape:
        raise ValueError(f"cA, cD: expected one shape, got {tuple(cA.shape)} and {tuple(cD.shape)}")
    return cA, cD


def _check_level(level: int | None, data_len: int, filter_len: int) -> int:
    useful = dwt_max_level(data_len, filter_len)
    if level is None:
        return useful
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level: expected an integer or None, got {level!r}")
    if level < 0:
        raise ValueError(f"level: expected 0 or more, got {level}")
    # A compiled graph can't warn.
    if level > useful and not torch.compiler.is_compiling():
        warnings.warn(
            f"level: got {level}, but the useful maximum for length {data_len} and filters of "
            f"{filter_len} taps is {useful}; beyond it every coefficient feels the ends",
            UserWarning,
            stacklevel=3,
        )
    return level
