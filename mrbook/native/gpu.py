"""Whether the fused kernels for CUDA, written in Triton, can be had; and how they are launched.

Their sources are `triton_conv` and `triton_multires`, which are imported when they are first used.
"""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mrbook.native import NativeWarning

__all__ = [
    "CROSSOVER",
    "MOST_TAPS",
    "available",
    "interpreted",
    "magnitudes",
    "preferred",
    "require",
    "worthwhile",
]

#: Taps up to which the block-Toeplitz product is taken, by dtype; beyond, the FFT is. Where the
#: counts of `mrbook.bench.estimate` meet, in float32 at half of the rate: not measured yet.
CROSSOVER = {torch.bfloat16: 7000, torch.float16: 7000, torch.float32: 512}

#: Longest filters of MultiresConv that `triton_multires` serves: its loops over taps are unrolled,
#: about K^2 products in all.
MOST_TAPS = 8


def available(dtype: torch.dtype = torch.bfloat16, device: str = "cuda") -> bool:
    """Whether the Triton kernels serve this dtype on this device.

    They want an NVIDIA card of compute capability 8.0 or more and the package ``triton``, which
    PyTorch's CUDA builds for Linux bring along. The first call on a machine with CUDA and without
    either warns once, with `mrbook.native.NativeWarning`. The environment variable
    ``MRBOOK_NATIVE=off`` does without the kernels, and without the warning.

    Examples
    --------
    >>> available(torch.float64), available(device="cpu")
    (False, False)
    """
    return device == "cuda" and dtype in CROSSOVER and _loads()


def preferred(dtype: torch.dtype, device: str) -> bool:
    """Whether ``method="auto"`` may take the Triton kernels: not yet, unless it is asked to.

    They are tested in Triton's interpreter and compile, but no card has run them. Until
    ``python -m mrbook.bench.gpu`` has confirmed them on one, the environment variable
    ``MRBOOK_TRITON=on`` asks for them.

    Examples
    --------
    >>> preferred(torch.bfloat16, "cpu")
    False
    """
    return device == "cuda" and _asked() and available(dtype, device)


def worthwhile(dtype: torch.dtype, device: str, taps: int) -> bool:
    """Whether a convolution with so many taps should take the Triton kernels, see `preferred`.

    Examples
    --------
    >>> worthwhile(torch.bfloat16, "cpu", 1024)
    False
    """
    return taps <= CROSSOVER.get(dtype, 0) and preferred(dtype, device)


def require(u: Tensor) -> None:
    """Raise a ValueError unless Triton kernels serve the dtype and device of u.

    On the CPU they do under Triton's interpreter, which is for tests: it is slow.
    """
    on_cpu = u.device.type == "cpu" and u.dtype in CROSSOVER and interpreted()
    if not on_cpu and not available(u.dtype, u.device.type):
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in CROSSOVER)
        raise ValueError(
            f'method="triton" needs {names} on CUDA and the package triton, '
            f"got {u.dtype} on {u.device.type}"
        )


def interpreted() -> bool:
    """Whether Triton runs kernels on the CPU, one instruction after the other, to test them."""
    try:
        from triton import knobs
    except ImportError:
        return False
    return bool(knobs.runtime.interpret)


def jit(function: Callable[..., Any]) -> Any:
    """``triton.jit``, and nothing where Triton is missing: the sources can be read there, too.

    An argument named ``magnitudes`` chooses tiles and no more: nothing is compiled anew for it.
    """
    try:
        import triton
    except ImportError:
        return function
    return triton.jit(function, do_not_specialize=["magnitudes"])


def magnitudes(*sizes: int) -> int:
    """One number for sizes of which each may grow up to twofold: what shares the choice of tiles.

    Choosing takes seconds, and every batch of texts has another length.

    Examples
    --------
    >>> magnitudes(50, 1000) == magnitudes(33, 513), magnitudes(50, 1000) == magnitudes(50, 1024)
    (True, False)
    """
    number = 0
    for size in sizes:
        number = number << 6 | size.bit_length()
    return number


def autotune(configs: Sequence[dict[str, int]], small: dict[str, int], key: Sequence[str]) -> Any:
    """``triton.autotune`` over configurations; the interpreter gets `small`, its only one.

    Parameters
    ----------
    configs : sequence of dict
        Tile sizes by name, with ``num_warps`` and ``num_stages``.
    small : dict
        Tile sizes under the interpreter.
    key : sequence of str
        Arguments whose values choose anew.
    """

    def decorate(kernel: Any) -> Any:
        try:
            import triton
        except ImportError:
            return kernel
        chosen = [{**small, "num_warps": 4, "num_stages": 1}] if interpreted() else configs
        options = [
            triton.Config(
                {name: size for name, size in config.items() if not name.startswith("num_")},
                num_warps=config["num_warps"],
                num_stages=config["num_stages"],
            )
            for config in chosen
        ]
        fits = {"early_config_prune": _fitting}
        return triton.autotune(options, key=list(key), prune_configs_by=fits)(kernel)

    return decorate


def _fitting(configs: list[Any], arguments: dict[str, Any], **_: Any) -> list[Any]:
    """Those whose sums fit into registers: products of float32 take many more than those of 16."""
    wide = any(t.dtype == torch.float32 for name, t in arguments.items() if name in ("u", "late"))
    return [c for c in configs if not wide or max(c.kwargs["ROWS"], c.kwargs["BLOCK"]) <= 64]


def _asked() -> bool:
    return os.environ.get("MRBOOK_TRITON", "").lower() == "on"


def _loads() -> bool:
    return _check() is None


# The mark of torch.compiler.assume_constant_result, which would import the compiler at once: 0.8 s.
for _constant in (_asked, _loads, interpreted):
    _constant.__dict__["_dynamo_marked_constant"] = True


@functools.cache
def _check() -> str | None:
    """What is missing, None if nothing is; warns about it once."""
    if os.environ.get("MRBOOK_NATIVE", "").lower() == "off":
        return "switched off"
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "no NVIDIA card"
    missing = None
    try:
        import triton  # noqa: F401
    except ImportError as error:
        missing = str(error)
    else:
        capability = torch.cuda.get_device_capability()
        if capability < (8, 0):
            missing = "the card has compute capability {}.{}, 8.0 is needed".format(*capability)
    if missing is not None:
        warnings.warn(
            f"the fused kernels for CUDA are not available ({missing}); everything works without "
            "them, but long convolutions on the GPU take the slower FFT",
            NativeWarning,
            stacklevel=4,
        )
    return missing
