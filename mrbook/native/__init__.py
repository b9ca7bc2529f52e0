"""Fused kernels in C++: compiled once, on first use, and kept in the user's cache.

The sources lie beside this file and have a plain C interface, so a C++ compiler is all they need
and `ctypes` loads them. Without a compiler everything in the package still works, only slower.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

__all__ = ["NativeWarning", "available", "cache_folder", "call"]

_SOURCES = sorted(Path(__file__).parent.glob("*.cpp"))
_HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# No -ffast-math: loading a library that was linked with it switches denormal numbers off for the
# whole process. These flags keep infinities, NaN and denormals as they are.
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
# Tried in this order: some compilers know no OpenMP (Apple's), some no -march=native.
_EXTRAS = (
    ("-march=native", "-fopenmp"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)


class NativeWarning(RuntimeWarning):
    """The fused kernels can't be built here; slower methods take their place."""


def available(dtype: torch.dtype = torch.float32, device: str = "cpu") -> bool:
    """Whether fused kernels serve this dtype on this device; builds them the first time.

    The first call without a working compiler warns once, with `NativeWarning`. The environment
    variable ``MRBOOK_NATIVE=off`` does without the kernels, and without the warning.

    Examples
    --------
    >>> available(torch.float16), available(device="cuda")
    (False, False)
    """
    fits = device == "cpu" and dtype in (torch.float32, torch.float64)
    return fits and _loads()


def cache_folder() -> Path:
    """Folder of the compiled kernels: ``MRBOOK_CACHE``, or ``mrbook`` in the user's cache."""
    if chosen := os.environ.get("MRBOOK_CACHE"):
        return Path(chosen).expanduser() / "native"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mrbook" / "native"


def call(name: str, shape: Sequence[int], *tensors: torch.Tensor) -> None:
    """Call the kernel ``name`` for the dtype of the first tensor.

    Parameters
    ----------
    name : str
        The C function's name without its dtype.
    shape : sequence of int
        What it is told about sizes, as its source says.
    *tensors : Tensor
        Contiguous tensors on the CPU, inputs and outputs, in its order.
    """
    for tensor in tensors:
        assert tensor.is_contiguous() and tensor.device.type == "cpu"
    function = _function(name, tensors[0].dtype, len(tensors))
    function(_int64s(tuple(shape)), *(tensor.data_ptr() for tensor in tensors))


@functools.cache
def _function(name: str, dtype: torch.dtype, tensors: int) -> Callable[..., None]:
    function = getattr(_library(), f"{name}_{str(dtype).removeprefix('torch.')}")
    function.argtypes = [ctypes.c_void_p] * (1 + tensors)
    function.restype = None
    return function


@functools.lru_cache(maxsize=256)
def _int64s(numbers: tuple[int, ...]) -> ctypes.Array:
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _loads() -> bool:
    return _library() is not None


# The mark of torch.compiler.assume_constant_result, which would import the compiler at once: 0.8 s.
_loads.__dict__["_dynamo_marked_constant"] = True


@functools.cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get("MRBOOK_NATIVE", "").lower() == "off":
        return None
    try:
        return _build()
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"the fused kernels are not available ({error}); everything works without them, but "
            "long convolutions and MultiresConv on the CPU are several times slower",
            NativeWarning,
            stacklevel=4,
        )
        return None


def _build() -> ctypes.CDLL:
    """Load the compiled library, compiling it first where the cache has none that fits."""
    compiler = _compiler()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    key = hashlib.sha256("\0".join([compiler, version, *_FLAGS, str(_EXTRAS), _cpu()]).encode())
    for source in [*_SOURCES, *_HEADERS]:
        key.update(source.read_bytes())
    path = cache_folder() / f"kernels-{key.hexdigest()[:20]}.so"
    if not path.exists():
        path = _compile(compiler, path)
    return ctypes.CDLL(str(path))


def _compile(compiler: str, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(suffix=".so", dir=path.parent)
    except OSError:  # the cache can't be written: build for this process alone
        handle, part = tempfile.mkstemp(suffix=".so")
        path = Path(part)
    os.close(handle)
    name = Path(compiler).name
    print(f"mrbook: compiling the fused kernels with {name}, once ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    for extra in _EXTRAS:
        command = [compiler, *_FLAGS, *extra, "-shared", "-fPIC", "-o", part, *map(str, _SOURCES)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0:
            os.replace(part, path)  # whole or not at all, whoever else builds at the same time
            seconds = time.perf_counter() - start
            print(f"mrbook: done in {seconds:.1f} s, kept as {path}", file=sys.stderr, flush=True)
            return path
    os.unlink(part)
    raise RuntimeError(f"{name} failed: {result.stderr.strip()[-500:]}")


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")):
        if found := shutil.which(name):
            return found
    raise RuntimeError("no C++ compiler is installed: tried $CXX, g++, clang++ and c++")


def _cpu() -> str:
    """The processor with its instruction sets: -march=native compiles for it alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    except OSError:
        return f"{platform.processor()} {platform.machine()} {platform.node()}"
