"""A causal convolution with a long kernel: the one primitive under every sequence layer.

``y[t] = sum_s k[s] u[t - s]`` with nothing before the start, by several methods that agree:
`direct_conv` is the definition, `fft_conv` multiplies spectra, `fused_conv` is the definition in
C++ with the sums in registers, `triton_conv` is a product of matrices on CUDA. `causal_conv` picks
one by a rule that `causal_conv_method` tells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook import native
from mrbook.native import gpu, ops

__all__ = [
    "METHODS",
    "causal_conv",
    "causal_conv_method",
    "check_input",
    "direct_conv",
    "fast_fft_length",
    "fft_conv",
    "fused_conv",
    "inner_dtype",
    "mask_padding",
    "require_native",
    "triton_conv",
]


def causal_conv(u: Tensor, k: Tensor, method: str = "auto") -> Tensor:
    """Causal convolution ``y[t] = sum_s k[s] u[t - s]`` along the last dimension.

    Parameters
    ----------
    u : Tensor
        Input, shape ``(..., channels, length)``; any number of leading dimensions.
    k : Tensor
        Kernel by lag, ``k[..., 0]`` meets the newest sample. Shape ``(channels, m)``, or any other
        whose leading dimensions are the last ones of u before time: ``(m,)`` serves every channel
        alike, and ``(batch, channels, m)`` gives each sequence its own. m may be shorter or longer
        than the input.
    method : {"auto", "direct", "fft", "fused", "triton"}
        "fused" needs a CPU and a C++ compiler, "triton" CUDA and the package ``triton``;
        `causal_conv_method` says what "auto" takes.

    Returns
    -------
    Tensor
        Shape and dtype of u. float16 and bfloat16 are computed in float32, and autocast doesn't
        lower the precision inside; "triton" alone rounds k to the dtype of u, and then sums in
        float32. All methods have first and second derivatives.

    Raises
    ------
    TypeError
        If u or k is not a floating-point tensor.
    ValueError
        If shapes, dtypes or devices don't go together, a length is 0, the method is unknown, or
        "fused" or "triton" is asked for where it can't be had.

    Examples
    --------
    >>> u = torch.tensor([[1.0, 0.0, 0.0, 2.0]])
    >>> causal_conv(u, torch.tensor([[1.0, 10.0, 100.0]]))
    tensor([[  1.,  10., 100.,   2.]])
    """
    _check(u, k)
    if method == "auto":
        method = causal_conv_method(u, k)
    elif method not in METHODS:
        raise ValueError(f"method must be auto, {', '.join(METHODS)}, got {method!r}")
    length, dtype = u.shape[-1], inner_dtype(u)
    channels = k.shape[:-1]
    per_channel = channels.numel()
    with torch.autocast(u.device.type, enabled=False):
        x = (u if method == "triton" else u.to(dtype)).reshape(-1, per_channel, length)
        kernel = k.to(dtype).reshape(per_channel, -1)[:, :length]
        return METHODS[method](x, kernel).reshape(u.shape).to(u.dtype)


def causal_conv_method(u: Tensor, k: Tensor) -> str:
    """Which method ``causal_conv(u, k)`` takes: a rule of shapes and device, never of timings.

    On the CPU the C++ form wins up to about 128 taps, and for short inputs with any kernel
    (``python -m mrbook bench longconv``). On CUDA it may be Triton's form up to
    `mrbook.native.gpu.CROSSOVER` taps, see `mrbook.native.gpu.preferred`. Elsewhere the FFT serves
    all but the shortest kernels.

    Examples
    --------
    >>> u, k = torch.zeros(1, 2, 4096), torch.zeros(2, 4096)
    >>> causal_conv_method(u, k)
    'fft'
    """
    length = u.shape[-1]
    taps = min(k.shape[-1], length)
    if gpu.worthwhile(u.dtype, u.device.type, taps):
        return "triton"
    if native.available(inner_dtype(u), u.device.type):
        return "fused" if taps <= 128 or length <= 256 else "fft"
    return "direct" if taps <= 16 else "fft"


def direct_conv(u: Tensor, k: Tensor) -> Tensor:
    """The definition: u ``(batch, channels, length)``, k ``(channels, m)``, one dtype."""
    return F.conv1d(F.pad(u, (k.shape[-1] - 1, 0)), k.flip(-1)[:, None], groups=len(k))


def fft_conv(u: Tensor, k: Tensor) -> Tensor:
    """Product of spectra: u ``(batch, channels, length)``, k ``(channels, m)``, one dtype.

    The transforms are at least ``length + m - 1`` long, so that the end does not wrap around onto
    the start.
    """
    length = u.shape[-1]
    n = fast_fft_length(length + k.shape[-1] - 1)
    return torch.fft.irfft(torch.fft.rfft(u, n=n) * torch.fft.rfft(k, n=n), n=n)[..., :length]


def fused_conv(u: Tensor, k: Tensor) -> Tensor:
    """The definition in C++: u ``(batch, channels, length)``, k ``(channels, m)``, one dtype.

    Raises
    ------
    ValueError
        If u is not float32 or float64 on the CPU, or no C++ compiler is there.
    """
    require_native(u)
    return ops.causal_conv(u, k[None], u.shape[-1], False)


def triton_conv(u: Tensor, k: Tensor) -> Tensor:
    """Products of blocks on CUDA: u ``(batch, channels, length)``, k ``(channels, m)``.

    u is of float32, float16 or bfloat16, to which k is rounded; sums are in float32.

    Raises
    ------
    ValueError
        If u is of another dtype or not on CUDA, or Triton is missing.
    """
    gpu.require(u)
    from mrbook.native import triton_conv as kernels  # Triton takes half a second to load

    return kernels.causal_conv(u, k)


#: The methods of `causal_conv` by name.
METHODS = {"direct": direct_conv, "fft": fft_conv, "fused": fused_conv, "triton": triton_conv}


def fast_fft_length(n: int) -> int:
    """The smallest 2^a, 3 * 2^a, 5 * 2^a, 9 * 2^a or 15 * 2^a that is not below n.

    Examples
    --------
    >>> [fast_fft_length(n) for n in (1, 7, 1025, 2047)]
    [1, 8, 1152, 2048]
    """
    best = 1
    while best < n:
        best *= 2
    for factor in (3, 5, 9, 15):
        length = factor
        while length < n:
            length *= 2
        best = min(best, length)
    return best


def mask_padding(u: Tensor, lengths: Tensor, value: float = 0.0) -> Tensor:
    """Replace what lies beyond the end of each sequence of a ragged batch.

    Parameters
    ----------
    u : Tensor
        Padded sequences, shape ``(batch, channels, length)``.
    lengths : Tensor
        Their true lengths, integers from 0 to ``length``, shape ``(batch,)``.
    value : float
        What to put there instead, whatever was there before, NaN included.

    Returns
    -------
    Tensor
        Shape and dtype of u. No gradient goes to what was replaced.

    Raises
    ------
    TypeError
        If lengths is not an integer tensor.
    ValueError
        If it has another shape, or (checked on the CPU only) a value out of range.

    Examples
    --------
    >>> mask_padding(torch.ones(2, 1, 3), torch.tensor([1, 3]))
    tensor([[[1., 0., 0.]],
            [[1., 1., 1.]]])
    """
    batch, _, length = u.shape
    if not isinstance(lengths, Tensor) or lengths.dtype not in (torch.int32, torch.int64):
        kind = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise TypeError(f"lengths must be a tensor of int64 or int32, got {kind}")
    if lengths.shape != (batch,):
        raise ValueError(f"lengths must have shape ({batch},), got {tuple(lengths.shape)}")
    if lengths.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(x) for x in lengths.aminmax()) if batch else (0, 0)
        if low < 0 or high > length:
            raise ValueError(f"lengths must be from 0 to {length}, got {low} to {high}")
    past_end = torch.arange(length, device=u.device) >= lengths.to(u.device)[:, None, None]
    return u.masked_fill(past_end, value)


def inner_dtype(u: Tensor) -> torch.dtype:
    """The dtype that layers compute in: that of u, and float32 for anything shorter."""
    return torch.promote_types(u.dtype, torch.float32)


def check_input(
    u: Tensor, parameter: Tensor, shape: tuple[int | str, ...], name: str = "u"
) -> None:
    """Check the input of a layer; a dtype of 16 bits goes with parameters in float32.

    Parameters
    ----------
    u : Tensor
        The input.
    parameter : Tensor
        One of the layer's, for dtype and device.
    shape : tuple of int or str
        Sizes expected; a string names one that may be anything but 0, or 0 for "batch".
    name : str
        What messages call the input.

    Raises
    ------
    TypeError
        If it is not a tensor.
    ValueError
        If shape, dtype or device is wrong.

    Examples
    --------
    >>> check_input(torch.zeros(2, 3, 5), torch.zeros(3), ("batch", 4, "length"))
    Traceback (most recent call last):
        ...
    ValueError: u must have shape (batch, 4, length), got (2, 3, 5)
    """
    if not isinstance(u, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(u).__name__}")
    sizes = zip(u.shape, shape, strict=False)
    if u.ndim != len(shape) or any(n != e for n, e in sizes if not isinstance(e, str)):
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape ({expected}), got {tuple(u.shape)}")
    for size, what in zip(u.shape, shape, strict=True):
        if size == 0 and what != "batch":
            raise ValueError(f"{name} must have a {what} of at least 1, got {tuple(u.shape)}")
    if not u.is_floating_point() or inner_dtype(u) != inner_dtype(parameter):
        raise ValueError(f"{name} must go with parameters of {parameter.dtype}, got {u.dtype}")
    if u.device != parameter.device:
        raise ValueError(f"{name} must be on {parameter.device}, got {u.device}")


def require_native(u: Tensor) -> None:
    """Raise a ValueError unless fused kernels serve the dtype and device of u."""
    if not native.available(u.dtype, u.device.type):
        raise ValueError(
            'method="fused" needs float32 or float64 on the CPU and a C++ compiler, '
            f"got {u.dtype} on {u.device.type}"
        )


def _check(u: Tensor, k: Tensor) -> None:
    for name, tensor in (("u", u), ("k", k)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"{name} must be a floating-point tensor, got {kind}")
        if tensor.ndim == 0 or tensor.shape[-1] == 0:
            raise ValueError(f"{name} must have a length of at least 1, got {tuple(tensor.shape)}")
    if k.ndim > u.ndim or k.shape[:-1] != u.shape[u.ndim - k.ndim : -1]:
        raise ValueError(
            f"k must have shape (..., m) whose leading dimensions end those of u before time: "
            f"u is {tuple(u.shape)}, k is {tuple(k.shape)}"
        )
    if inner_dtype(k) != inner_dtype(u):
        raise ValueError(f"u and k must have the same dtype, got {u.dtype} and {k.dtype}")
    if k.device != u.device:
        raise ValueError(f"u and k must be on the same device, got {u.device} and {k.device}")
